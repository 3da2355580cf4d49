//! `gan translate`: images of one label, made into another.

use std::path::{Path, PathBuf};

use clap::Args;
use imaging::decode::{Limits, first_frame};
use serde_json::json;
use tch::Tensor;
use trainer::progress::Progress;
use trainer::training::gan::trained::Trained;
use trainer::training::run::RunFolder;

use super::failure;
use super::made::{Folder, Made};
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;
use crate::cli::steps;

/// Arguments of `gan translate`.
#[derive(Debug, Args)]
pub struct TranslateArgs {
    /// Run folder, the --out of `gan train`.
    run: PathBuf,
    /// Images: PNG, JPEG, TIFF or DICOM.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Folder to make, with the translations and their manifest.csv.
    #[arg(long)]
    out: PathBuf,
    /// Keep dropout on, as the paper does, drawn from this seed: another seed gives another translation.
    #[arg(long, value_name = "SEED")]
    noise: Option<u64>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Translates; a refused image does not stop the others.
///
/// # Errors
/// The worst that happened, with its exit code.
pub fn run(arguments: &TranslateArgs, output: &Output) -> Result<(), Failure> {
    let device = steps::device(&arguments.device)?;
    let run = RunFolder::open(&arguments.run).code(Code::Usage)?;
    let trained = Trained::load(&run, device).map_err(failure)?;
    let Some(translate) = &trained.recipe.translate else {
        let message = "this run makes images of noise; use `gan sample`";
        return Err(Failure::new(Code::Usage, message));
    };
    let mut folder = Folder::create(&arguments.out, &trained.digest)?;
    let (mut done, mut worst) = (0, None);
    output.begin("translating", arguments.images.len() as u64, "image");
    for (number, path) in arguments.images.iter().enumerate() {
        match read(&trained, path) {
            Ok(image) => {
                let made = trained.translate(&image, arguments.noise).map_err(failure)?;
                let stem = path
                    .file_stem()
                    .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
                let row = Made {
                    path: format!("{}/{number:05}-{stem}.png", translate.to),
                    label: translate.to.clone(),
                    seed: arguments.noise.unwrap_or(0),
                    number: number as u64,
                    made_from: path.display().to_string(),
                };
                folder.add(&made, vec![row])?;
                done += 1;
            }
            Err(refused) => {
                output.line(&refused.message());
                worst = Some(refused);
            }
        }
        output.advance(1, "");
    }
    output.end();
    let manifest = folder.finish()?;
    output.result(
        &json!({ "record": "translated", "images": done, "manifest": manifest, "generator": trained.digest }),
        &format!(
            "{done} of {} images translated, manifest {}",
            arguments.images.len(),
            manifest.display()
        ),
    );
    worst.map_or(Ok(()), Err)
}

fn read(trained: &Trained, path: &Path) -> Result<Tensor, Failure> {
    let spec = &trained.recipe.preprocess;
    let image = first_frame(path, &Limits::default()).code(Code::Refused)?;
    let [height, width] = spec.size.map(i64::from);
    let mut pixels = vec![0.0; usize::from(spec.channels) * (height * width) as usize];
    spec.apply_into(&image, &mut pixels).code(Code::Refused)?;
    Ok(Tensor::f_from_slice(&pixels)?.f_reshape([1, i64::from(spec.channels), height, width])?)
}

//! `gan sample`: images of each label, from noise.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use trainer::interrupt::Interrupt;
use trainer::recipes::Model;
use trainer::training::gan::trained::Trained;
use trainer::training::run::RunFolder;

use super::failure;
use super::made::{Folder, Wanted};
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;
use crate::cli::steps;

/// Arguments of `gan sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// Run folder, the --out of `gan train`.
    run: PathBuf,
    /// Images of each label; in all, for a generator without labels.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    per_class: u64,
    /// Folder to make, with the images and their manifest.csv.
    #[arg(long)]
    out: PathBuf,
    /// Draws the noise: the same seed gives the same images on a CPU.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these labels.
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Makes images.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &SampleArgs, output: &Output) -> Result<(), Failure> {
    let device = steps::device(&arguments.device)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let run = RunFolder::open(&arguments.run).code(Code::Usage)?;
    let trained = Trained::load(&run, device).map_err(failure)?;
    if trained.model() != Model::Dcgan {
        let message = "this run translates images; use `gan translate`";
        return Err(Failure::new(Code::Usage, message));
    }
    let classes = classes(&trained, &arguments.label)?;
    let mut folder = Folder::create(&arguments.out, &trained.digest)?;
    let wanted = Wanted {
        trained: &trained,
        per_class: arguments.per_class,
        seed: arguments.seed,
    };
    wanted.draw(&classes, &mut folder, output, &interrupt)?;
    let manifest = folder.finish()?;
    if interrupt.is_raised() {
        let message = format!("interrupted; the images so far are in {}", manifest.display());
        return Err(Failure::new(Code::Failed, message));
    }
    let made = arguments.per_class * classes.len() as u64;
    output.result(
        &json!({ "record": "sampled", "images": made, "manifest": manifest, "generator": trained.digest }),
        &format!("{made} images, manifest {}", manifest.display()),
    );
    Ok(())
}

/// Class and label of what is wanted.
fn classes(trained: &Trained, wanted: &[String]) -> Result<Vec<(usize, String)>, Failure> {
    let labels = &trained.record.labels;
    if !trained.recipe.generator.conditional {
        if !wanted.is_empty() {
            let message = "this generator knows no labels (generator.conditional = false)";
            return Err(Failure::new(Code::Usage, message));
        }
        // What it learnt from, all together.
        return Ok(vec![(0, labels.join("+"))]);
    }
    if let Some(unknown) = wanted.iter().find(|label| !labels.contains(label)) {
        let message = format!("--label {unknown} is none of the run's; allowed: {}", labels.join(", "));
        return Err(Failure::new(Code::Usage, message));
    }
    let all = labels.iter().cloned().enumerate();
    Ok(all
        .filter(|(_, label)| wanted.is_empty() || wanted.contains(label))
        .collect())
}

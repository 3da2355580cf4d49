//! `explain`: Grad-CAM overlays of a run's network, by autograd at any layer.

use std::path::{Path, PathBuf};

use clap::Args;
use imaging::colormap::Colormap;
use imaging::decode::{Limits, first_frame};
use imaging::grey::GreyImage;
use imaging::overlay::{OverlayTable, paint, upsample_heatmap};
use imaging::preprocess::PreprocessSpec;
use serde_json::json;
use tch::Tensor;
use trainer::explain::{ExplainError, Explanation, explain};
use trainer::native;
use trainer::progress::Progress;
use trainer::training::network;
use trainer::training::run::RunFolder;
use trainer::training::step::Network;

use super::failure::{Code, Failure, WithCode};
use super::output::Output;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Run folder, the --out of `train`.
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// Images: PNG, JPEG, TIFF or DICOM.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Layer whose map is shown, such as layer3 or layer4.0; without it the last one.
    #[arg(long)]
    layer: Option<String>,
    /// Label to explain; without it the most probable one.
    #[arg(long)]
    class: Option<String>,
    /// Folder for the overlays.
    #[arg(long)]
    out: PathBuf,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Writes an overlay for every image; a refused image does not stop the others.
///
/// # Errors
/// The worst that happened, with its exit code.
pub fn run(arguments: &ExplainArgs, output: &Output) -> Result<(), Failure> {
    let device = native::device(&arguments.device).code(Code::Native)?;
    let run = RunFolder::open(&arguments.run).code(Code::Usage)?;
    let (recipe, record) = (run.recipe().code(Code::Usage)?, run.record().code(Code::Usage)?);
    let class = arguments
        .class
        .as_deref()
        .map(|label| class_of(label, &record.labels))
        .transpose()?;
    let network = network::load(&run, device)?;
    std::fs::create_dir_all(&arguments.out)?;
    let mut worst: Option<Failure> = None;
    for path in &arguments.images {
        let done = one(
            path,
            arguments,
            &network,
            &recipe.preprocess,
            &record.labels,
            class,
            output,
        );
        if let Err(failure) = done {
            output.line(&format!("{}: {:#}", path.display(), failure.error));
            if worst.as_ref().is_none_or(|worst| failure.code > worst.code) {
                worst = Some(failure);
            }
        }
    }
    worst.map_or(Ok(()), Err)
}

fn class_of(label: &str, labels: &[String]) -> Result<usize, Failure> {
    labels.iter().position(|known| known == label).ok_or_else(|| {
        let message = format!("--class {label} is no label of the run; allowed: {}", labels.join(", "));
        Failure::new(Code::Usage, message)
    })
}

fn one(
    path: &Path,
    arguments: &ExplainArgs,
    network: &Network,
    spec: &PreprocessSpec,
    labels: &[String],
    class: Option<usize>,
    output: &Output,
) -> Result<(), Failure> {
    let image = first_frame(path, &Limits::default()).code(Code::Refused)?;
    let prepared = spec.apply(&image).code(Code::Refused)?;
    let shape: Vec<i64> = std::iter::once(1)
        .chain(prepared.shape().iter().map(|extent| *extent as i64))
        .collect();
    let values: Vec<f32> = prepared.iter().copied().collect();
    let tensor = Tensor::f_from_slice(&values)?.f_reshape(shape)?;
    let explained = explain(network, &tensor, arguments.layer.as_deref(), class).map_err(|error| match error {
        ExplainError::Layer { .. } | ExplainError::Class { .. } => Failure {
            code: Code::Usage,
            error: error.into(),
        },
        other => Failure::from(other),
    })?;
    let label = &labels[explained.class];
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let layer = arguments.layer.as_deref().unwrap_or("last");
    let target = arguments.out.join(format!("{stem}.{layer}.{label}.png"));
    write_overlay(&image, spec, &explained, &target)?;
    let probability = explained.probabilities[explained.class];
    output.result(
        &json!({
            "image": path, "overlay": target, "class": label, "layer": layer,
            "probabilities": explained.probabilities,
        }),
        &format!("{}: {label} {probability:.3}, {}", path.display(), target.display()),
    );
    Ok(())
}

fn write_overlay(
    image: &GreyImage,
    spec: &PreprocessSpec,
    explained: &Explanation,
    target: &Path,
) -> Result<(), Failure> {
    let size = [image.height(), image.width()];
    let field = spec.source_rect(size[0], size[1])?;
    let heat = upsample_heatmap(explained.heat().view(), field, size, size);
    let rgb = paint(
        image.display_u8().view(),
        heat.view(),
        &OverlayTable::new(&Colormap::viridis()),
    );
    let picture = image::RgbImage::from_raw(size[1] as u32, size[0] as u32, rgb)
        .ok_or_else(|| Failure::new(Code::Failed, "the overlay is not of the image's size"))?;
    Ok(picture.save(target)?)
}

//! `explain`: Grad-CAM overlays of a run's network, by autograd at any layer.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use imaging::colormap::Colormap;
use imaging::decode::{DecodeError, Limits, first_frame};
use imaging::grey::GreyImage;
use imaging::overlay::{OverlayTable, paint, upsample_heatmap};
use imaging::preprocess::PreprocessSpec;
use serde_json::json;
use tch::Tensor;
use trainer::explain::{ExplainError, Explanation, explain};
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
    let device = super::steps::device(&arguments.device)?;
    let run = RunFolder::open(&arguments.run).code(Code::Usage)?;
    let (recipe, record) = (run.recipe().code(Code::Usage)?, run.record().code(Code::Usage)?);
    let class = arguments
        .class
        .as_deref()
        .map(|label| class_of(label, &record.labels))
        .transpose()?;
    let network = network::load(&run, device)?;
    std::fs::create_dir_all(&arguments.out).map_err(|error| cannot_write(&arguments.out, error))?;
    let task = Explaining {
        arguments,
        network,
        spec: recipe.preprocess,
        labels: record.labels,
        class,
    };
    let mut failures = Vec::new();
    for (path, stem) in arguments.images.iter().zip(stems(&arguments.images)) {
        failures.extend(task.one(path, &stem, output).err());
    }
    all_but(failures, arguments.images.len(), output)
}

/// One failure ends the verb as it is; of several each gets its line, and the worst gives the code.
fn all_but(mut failures: Vec<Failure>, images: usize, output: &Output) -> Result<(), Failure> {
    if failures.len() < 2 {
        return failures.pop().map_or(Ok(()), Err);
    }
    failures.iter().for_each(|failure| output.line(&failure.message()));
    let message = format!("{} of {images} images could not be explained", failures.len());
    let worst = failures
        .iter()
        .map(|failure| failure.code)
        .max()
        .unwrap_or(Code::Failed);
    Err(Failure::new(worst, message))
}

/// A name for each image's overlay: its stem, with a number where a stem comes again.
fn stems(images: &[PathBuf]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut unique = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = std::iter::once(stem.clone()).chain((2..).map(|number| format!("{stem}-{number}")));
        names.find(|name| seen.insert(name.clone())).unwrap_or(stem)
    };
    images.iter().map(&mut unique).collect()
}

/// A file that cannot be read is a failure, one that is no image is refused.
fn unreadable(error: DecodeError) -> Failure {
    Failure {
        code: if error.is_refusal() {
            Code::Refused
        } else {
            Code::Failed
        },
        error: error.into(),
    }
}

fn cannot_write(path: &Path, error: impl std::fmt::Display) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new(Code::Failed, message)
}

fn class_of(label: &str, labels: &[String]) -> Result<usize, Failure> {
    labels.iter().position(|known| known == label).ok_or_else(|| {
        let message = format!("--class {label} is no label of the run; allowed: {}", labels.join(", "));
        Failure::new(Code::Usage, message)
    })
}

/// What is the same for every image.
struct Explaining<'a> {
    arguments: &'a ExplainArgs,
    network: Network,
    spec: PreprocessSpec,
    labels: Vec<String>,
    class: Option<usize>,
}

impl Explaining<'_> {
    fn one(&self, path: &Path, stem: &str, output: &Output) -> Result<(), Failure> {
        let layer = self.arguments.layer.as_deref();
        let image = first_frame(path, &Limits::default()).map_err(unreadable)?;
        let prepared = self.spec.apply(&image).code(Code::Refused)?;
        let shape: Vec<i64> = std::iter::once(1)
            .chain(prepared.shape().iter().map(|extent| *extent as i64))
            .collect();
        let values: Vec<f32> = prepared.iter().copied().collect();
        let tensor = Tensor::f_from_slice(&values)?.f_reshape(shape)?;
        let explained = explain(&self.network, &tensor, layer, self.class).map_err(|error| match error {
            ExplainError::Layer { .. } | ExplainError::Class { .. } => Failure {
                code: Code::Usage,
                error: error.into(),
            },
            other => Failure::from(other),
        })?;
        let label = &self.labels[explained.class];
        let layer = layer.unwrap_or("last");
        let target = self.arguments.out.join(format!("{stem}.{layer}.{label}.png"));
        write_overlay(&image, &self.spec, &explained, &target)?;
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
    picture.save(target).map_err(|error| cannot_write(target, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_one_stem_get_overlays_of_their_own() {
        let images = ["a/x.png", "b/x.dcm", "x-2.png", "y.png"].map(PathBuf::from);
        assert_eq!(stems(&images), ["x", "x-2", "x-2-2", "y"]);
    }
}

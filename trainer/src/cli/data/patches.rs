//! `data patches`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use imaging::preprocess::GreyRange;
use serde_json::json;
use trainer::data::Manifest;
use trainer::data::patches::{Marks, PatchError, PatchRequest, write};
use trainer::interrupt::Interrupt;

use super::super::failure::{Code, Failure};
use super::super::output::Output;
use super::{failure, shown};

/// Where the marks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MarkSource {
    /// Pascal VOC annotations, XML files with the names of the images; an object's name becomes the label.
    Voc,
    /// The manifest's columns xmin, ymin, xmax, ymax.
    Boxes,
    /// The pictures of the manifest's column mask.
    Masks,
}

/// Arguments of `data patches`.
#[derive(Debug, Args)]
pub struct PatchArgs {
    /// Manifest CSV, or a folder with one folder of images a class.
    data: PathBuf,
    /// Where the marks stand.
    #[arg(long, value_enum)]
    from: MarkSource,
    /// Folder of the annotations, where they do not lie beside the images (with --from voc).
    #[arg(long, value_name = "FOLDER")]
    annotations: Option<PathBuf>,
    /// Folder to make; one that is there must be empty.
    #[arg(long)]
    out: PathBuf,
    /// Side of the patches in pixels.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=4096))]
    size: u32,
    /// Side of the square that is cut, relative to the longer side of the box.
    #[arg(long, default_value_t = 1.5)]
    context: f64,
    /// Grey window in modality values (HU for CT), such as -600,1500; else what the file says.
    #[arg(long, value_name = "CENTER,WIDTH", value_parser = window, allow_hyphen_values = true)]
    window: Option<GreyRange>,
}

pub fn run(arguments: &PatchArgs, output: &Output) -> Result<(), Failure> {
    let request = request(arguments)?;
    let manifest = Manifest::load(&arguments.data).map_err(failure)?;
    let summary = write(&manifest, &request, output, &Interrupt::on_ctrl_c()?).map_err(refused)?;
    let patches: usize = summary.counts.values().sum();
    let counts: Vec<String> = summary.counts.iter().map(|(label, n)| format!("{label} {n}")).collect();
    let result = json!({
        "manifest": shown(&summary.manifest),
        "patches": patches,
        "counts": summary.counts,
        "unmarked": summary.unmarked,
    });
    let text = format!(
        "{patches} patches ({}), {} images without a mark: {}",
        counts.join(", "),
        summary.unmarked,
        summary.manifest.display()
    );
    output.result(&result, &text);
    Ok(())
}

fn request(arguments: &PatchArgs) -> Result<PatchRequest, Failure> {
    if arguments.annotations.is_some() && arguments.from != MarkSource::Voc {
        return Err(Failure::new(Code::Usage, "--annotations is for --from voc"));
    }
    if !(1.0..=10.0).contains(&arguments.context) {
        let message = format!("--context {}: allowed is 1 to 10", arguments.context);
        return Err(Failure::new(Code::Usage, message));
    }
    Ok(PatchRequest {
        out: arguments.out.clone(),
        marks: match arguments.from {
            MarkSource::Voc => Marks::Voc {
                folder: arguments.annotations.clone(),
            },
            MarkSource::Boxes => Marks::Boxes,
            MarkSource::Masks => Marks::Masks,
        },
        size: arguments.size,
        context: arguments.context,
        grey: arguments.window.unwrap_or_default(),
    })
}

fn refused(error: PatchError) -> Failure {
    match error {
        PatchError::Data(error) => failure(error),
        PatchError::Preprocess(_) => Failure {
            code: Code::Usage,
            error: error.into(),
        },
        _ => Failure {
            code: Code::Refused,
            error: error.into(),
        },
    }
}

fn window(text: &str) -> Result<GreyRange, String> {
    let (center, width) = text.split_once(',').unwrap_or((text, ""));
    let number = |text: &str| text.trim().parse::<f32>().ok().filter(|value| value.is_finite());
    match (number(center), number(width).filter(|width| *width >= 1.0)) {
        (Some(center), Some(width)) => Ok(GreyRange::Window { center, width }),
        _ => Err("allowed: centre and width (1 and more) of the window, such as -600,1500".to_owned()),
    }
}

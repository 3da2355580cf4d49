//! `data transforms`.

use std::path::PathBuf;

use clap::Args;
use imaging::decode::{Limits, first_frame};
use ndarray::Array2;
use serde_json::json;
use trainer::data::expansion::Transform;
use trainer::data::phantom::{Request, render};
use trainer::report::plots::contact;

use super::super::failure::{Code, Failure, WithCode};
use super::super::output::Output;
use super::shown;

/// Pictures in a row of the sheet.
const COLUMNS: usize = 6;

/// Arguments of `data transforms`.
#[derive(Debug, Args)]
pub struct TransformArgs {
    /// Write a contact sheet: the image and what each transform makes of it, as PNG.
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// The image; without it a phantom.
    #[arg(long, requires = "out")]
    image: Option<PathBuf>,
}

/// Lists the 17 transforms, and draws them.
///
/// # Errors
/// The image cannot be read, or the sheet cannot be written.
pub fn run(arguments: &TransformArgs, output: &Output) -> Result<(), Failure> {
    let table: Vec<String> = Transform::ALL
        .iter()
        .map(|one| format!("{:16} {}", one.name(), one.words()))
        .collect();
    let names: Vec<_> = Transform::ALL
        .iter()
        .map(|one| json!({ "name": one.name(), "words": one.words() }))
        .collect();
    let mut text = table.join("\n");
    if let Some(path) = &arguments.out {
        contact(path, &pictures(arguments)?, COLUMNS).code(Code::Failed)?;
        text += &format!("\nwrote {}", path.display());
    }
    let sheet = arguments.out.as_deref().map(shown);
    output.result(&json!({ "transforms": names, "sheet": sheet }), &text);
    Ok(())
}

fn pictures(arguments: &TransformArgs) -> Result<Vec<(String, Array2<f32>)>, Failure> {
    let original = match &arguments.image {
        Some(path) => first_frame(path, &Limits::default()).code(Code::Refused)?.display(),
        None => phantom(),
    };
    let changed = Transform::ALL.map(|transform| (transform.to_string(), transform.apply(&original)));
    Ok(std::iter::once(("original".to_owned(), original.clone()))
        .chain(changed)
        .collect())
}

fn phantom() -> Array2<f32> {
    let request = Request {
        seed: 17,
        patient: 1,
        image: 0,
        size: 120,
        lesion: None,
    };
    render(&request).picture
}

//! `data check`, `split`, `patches`, `phantoms`, `sign-phantoms`, `transforms`: everything about images before anything is learnt.

mod check;
mod patches;
mod phantoms;
mod sign_phantoms;
mod split;
mod transforms;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use trainer::data::phantom::set::SetSummary;
use trainer::data::{DataError, Dataset};
use trainer::recipes::{DataSection, Recipe, RecipeError};

use super::failure::{Code, Failure};
use super::output::Output;

/// The verbs under `data`.
#[derive(Debug, Subcommand)]
pub enum DataVerb {
    /// Look for corrupt and missing files, duplicates, and patients in several classes.
    Check(check::CheckArgs),
    /// Draw training, validation and test, and write them as a CSV file.
    Split(split::SplitArgs),
    /// Make chest phantoms: pictures, lesion masks and a manifest.
    Phantoms(phantoms::PhantomArgs),
    /// Make patches of lung CT that show one of the nine common imaging signs each: pictures, masks, boxes and a manifest.
    SignPhantoms(sign_phantoms::SignPhantomArgs),
    /// Cut square patches around the boxes or masks of a data set, with a manifest.
    Patches(patches::PatchArgs),
    /// List and draw the 17 transforms by which `data.expand` of a recipe expands a class.
    Transforms(transforms::TransformArgs),
}

/// Runs a verb.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(verb: &DataVerb, output: &Output) -> Result<(), Failure> {
    match verb {
        DataVerb::Check(arguments) => check::run(arguments, output),
        DataVerb::Split(arguments) => split::run(arguments, output),
        DataVerb::Phantoms(arguments) => phantoms::run(arguments, output),
        DataVerb::SignPhantoms(arguments) => sign_phantoms::run(arguments, output),
        DataVerb::Patches(arguments) => patches::run(arguments, output),
        DataVerb::Transforms(arguments) => transforms::run(arguments, output),
    }
}

/// A fault of the data is an input refused; what the disk refuses is a failure.
pub fn failure(error: DataError) -> Failure {
    let code = match error {
        DataError::Io { .. } | DataError::Write { .. } | DataError::Interrupted | DataError::WorkerLost { .. } => {
            Code::Failed
        }
        DataError::NotEmpty { .. } => Code::Usage,
        _ => Code::Refused,
    };
    Failure {
        code,
        error: error.into(),
    }
}

/// Tells what set of phantoms was written.
fn tell_set(summary: &SetSummary, what: &str, output: &Output) {
    let SetSummary {
        manifest,
        images,
        labels,
    } = summary;
    let result = json!({ "manifest": shown(manifest), "images": images, "labels": labels });
    let text = format!("{images} {what} ({}): {}", labels.join(", "), manifest.display());
    output.result(&result, &text);
}

/// The data that a run began with, as its recipe's `[data]` wants it.
///
/// # Errors
/// It cannot be loaded, or its digest is not the run's.
pub fn of_run(path: &Path, section: &DataSection, digest: &str) -> Result<Dataset, Failure> {
    let dataset = Dataset::load(path, section).map_err(failure)?;
    if dataset.digest == digest {
        return Ok(dataset);
    }
    let message = format!(
        "{}: SHA-256 {} is not that of the data the run began with ({digest}); begin a new run",
        path.display(),
        dataset.digest,
    );
    Err(Failure::new(Code::Verification, message))
}

fn recipe(name_or_path: &str) -> Result<Recipe, Failure> {
    Recipe::load(name_or_path).map_err(|error: RecipeError| Failure {
        code: Code::Usage,
        error: error.into(),
    })
}

/// A path as JSON holds it.
fn shown(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}

//! `turing make`, `turing score`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use trainer::turing::TuringError;
use trainer::turing::make::{KitRequest, make};
use trainer::turing::score::score;

use super::failure::{Code, Failure};
use super::output::Output;

/// The verbs under `turing`.
#[derive(Debug, Subcommand)]
pub enum TuringVerb {
    /// Make the page for the readers and its key.
    Make(MakeArgs),
    /// Score answer files against the key.
    Score(ScoreArgs),
}

/// Arguments of `turing make`.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// Manifest, or folder, of real images.
    #[arg(long, value_name = "MANIFEST_OR_FOLDER")]
    real: PathBuf,
    /// Manifest, or folder, of generated images, such as `gan sample` writes.
    #[arg(long, value_name = "MANIFEST_OR_FOLDER")]
    generated: PathBuf,
    /// Only images with this label, of both.
    #[arg(long)]
    label: Option<String>,
    /// Images of each kind.
    #[arg(long, default_value_t = 30)]
    count: usize,
    /// Images that are shown a second time, half of them real: they tell whether a reader keeps to an answer.
    #[arg(long, default_value_t = 10)]
    repeats: usize,
    /// Draws images and order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Side of the shown images in pixels; by default the shortest side of all of them.
    #[arg(long)]
    side: Option<u32>,
    /// Folder to make test.html and key.json in.
    #[arg(long)]
    out: PathBuf,
}

/// Arguments of `turing score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The kit's key.json.
    #[arg(long)]
    key: PathBuf,
    /// Answer files, one a reader.
    #[arg(required = true, value_name = "ANSWERS")]
    answers: Vec<PathBuf>,
}

/// Runs a verb.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(verb: &TuringVerb, output: &Output) -> Result<(), Failure> {
    match verb {
        TuringVerb::Make(arguments) => run_make(arguments, output),
        TuringVerb::Score(arguments) => {
            let score = score(&arguments.key, &arguments.answers).map_err(failure)?;
            output.result(&json!(score), &score.table());
            Ok(())
        }
    }
}

fn run_make(arguments: &MakeArgs, output: &Output) -> Result<(), Failure> {
    let request = KitRequest {
        real: arguments.real.clone(),
        generated: arguments.generated.clone(),
        label: arguments.label.clone(),
        count: arguments.count,
        repeats: arguments.repeats,
        seed: arguments.seed,
        side: arguments.side,
    };
    let kit = make(&request, &arguments.out).map_err(failure)?;
    output.result(
        &json!({ "page": kit.page, "key": kit.key, "kit": kit.digest, "items": kit.items }),
        &format!(
            "{}: {} images; give it to the readers, who send back answers-NAME.json\n{}: keep it from them; score with \
             `scanside-trainer turing score --key {} ANSWERS...`",
            kit.page.display(),
            kit.items,
            kit.key.display(),
            kit.key.display()
        ),
    );
    Ok(())
}

fn failure(error: TuringError) -> Failure {
    let error = match error {
        TuringError::Data(error) => return super::data::failure(error),
        other => other,
    };
    let code = match &error {
        TuringError::Setting { .. } => Code::Usage,
        TuringError::File { .. } | TuringError::Write(_) => Code::Failed,
        TuringError::OtherKey { .. } => Code::Verification,
        _ => Code::Refused,
    };
    Failure {
        code,
        error: error.into(),
    }
}

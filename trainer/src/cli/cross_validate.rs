//! `cross-validate`: a recipe on every fold of its data.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use trainer::data::Dataset;
use trainer::interrupt::Interrupt;
use trainer::recipes::Recipe;
use trainer::training::folds::{CrossValidation, FoldsError};
use trainer::training::run::{self, FirstWeights, RunRecord};
use trainer::training::stages;
use trainer::training::weights::Taken;

use super::failure::{Code, Failure, WithCode};
use super::output::Output;

/// Arguments of `cross-validate`.
#[derive(Debug, Args)]
pub struct CrossValidateArgs {
    /// A recipe's TOML file, or the name of a shipped one. Its data.split.fractions do not count; its seed deals the folds.
    recipe: String,
    /// Manifest CSV, or a folder with one folder of images a class.
    #[arg(long, value_name = "MANIFEST_OR_FOLDER")]
    data: PathBuf,
    /// Number of folds: one tests, one validates, the others train.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=20))]
    folds: u8,
    /// Folder of the folds' runs. Given again, it goes on where it was stopped.
    #[arg(long)]
    out: PathBuf,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Overrides train.seed of the recipe.
    #[arg(long)]
    seed: Option<u64>,
}

/// Trains every fold, and evaluates all test images together.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &CrossValidateArgs, output: &Output) -> Result<(), Failure> {
    let device = super::steps::device(&arguments.device)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let mut recipe = Recipe::load(&arguments.recipe).code(Code::Usage)?;
    recipe.train.seed = arguments.seed.unwrap_or(recipe.train.seed);
    let name = PathBuf::from(&arguments.recipe);
    let dataset = Dataset::load(&arguments.data, &recipe.data).map_err(super::data::failure)?;
    let weights = recipe.find_weights(&name, &dataset.root).code(Code::Usage)?;
    let record = RunRecord {
        seed: recipe.train.seed,
        data: std::path::absolute(&arguments.data)?,
        data_digest: dataset.digest.clone(),
        labels: dataset.labels.clone(),
        git_revision: run::git_revision(),
        versions: run::versions(),
        device: format!("{device:?}"),
        stage_weights: recipe.find_stage_weights(&name, &dataset.root).code(Code::Usage)?,
        weights: weights.map(|path| FirstWeights {
            path,
            taken: Taken::default(),
        }),
        ..RunRecord::default()
    };
    stages::check(&recipe, &record).code(Code::Usage)?;
    let validation = CrossValidation {
        recipe: &recipe,
        record: &record,
        dataset: &Arc::new(dataset),
        folds: usize::from(arguments.folds),
        out: &arguments.out,
        device,
    };
    let Some(evaluation) = validation.run(output, &interrupt).map_err(failure)? else {
        let message = "interrupted; the same command goes on where it was stopped";
        return Err(Failure::new(Code::Failed, message));
    };
    let file = arguments.out.join("cross-validation.json");
    output.result(
        &json!({ "record": "cross-validation", "file": file, "evaluation": evaluation }),
        &format!("{}\nwrote {}", evaluation.table(), file.display()),
    );
    Ok(())
}

fn failure(error: FoldsError) -> Failure {
    match error {
        FoldsError::Data(error) => super::data::failure(error),
        FoldsError::NoImages { .. } => Failure {
            code: Code::Refused,
            error: error.into(),
        },
        other => other.into(),
    }
}

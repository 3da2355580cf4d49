//! `train`: from a recipe and a data set to a run folder with a signed bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use trainer::data::{Dataset, Part, Split};
use trainer::export::{Finished, SigningKey, context, finish_run};
use trainer::interrupt::Interrupt;
use trainer::native;
use trainer::progress::Progress;
use trainer::recipes::Recipe;
use trainer::training::classifier::{self, Outcome, Task, TrainError};
use trainer::training::network::NetworkError;
use trainer::training::run::{self, RunError, RunFolder, RunRecord};
use trainer::training::source::SplitSource;

use super::failure::{Code, Failure, WithCode};
use super::output::Output;
use super::pack::SignArgs;

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// A recipe's TOML file, or the name of a shipped one (phantom-demo, phantom-pointing, xray-3class, folder).
    #[arg(required_unless_present = "resume")]
    recipe: Option<String>,
    /// Manifest CSV, or a folder with one folder of images a class.
    #[arg(long, required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// Run folder to make (or, with --resume, to go on with).
    #[arg(long)]
    out: PathBuf,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Go on with the run in --out from its last checkpoint; recipe and data are those of the run.
    #[arg(long)]
    resume: bool,
    /// Stop after training; `export`, `quantize`, `gate` and `pack` can make the bundle later.
    #[arg(long)]
    no_bundle: bool,
    #[command(flatten)]
    sign: SignArgs,
    /// Overrides train.epochs of the recipe.
    #[arg(long, conflicts_with = "resume")]
    epochs: Option<usize>,
    /// Overrides train.seed of the recipe.
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
}

/// Trains.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &TrainArgs, output: &Output) -> Result<(), Failure> {
    let device = native::device(&arguments.device).code(Code::Native)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let prepared = if arguments.resume {
        resumed(arguments)?
    } else {
        begun(arguments)?
    };
    let Prepared {
        recipe,
        run,
        record,
        dataset,
        split,
        weights,
    } = prepared;
    let mut key = None;
    if !arguments.no_bundle {
        // What the bundle at the end needs: better missed now than after hours of training.
        context::runtime().map_err(super::steps::failure)?;
        key = Some(match arguments.sign.given()? {
            Some(given) => given,
            None => SigningKey::of_run(run.path(), output).map_err(super::steps::failure)?,
        });
    }
    let [train, validation, test] = record.rows;
    output.line(&format!(
        "{}: {} on {device:?}, {train} training, {validation} validation and {test} test images of {}",
        run.path().display(),
        recipe.network.architecture,
        record.labels.join(", "),
    ));
    let source = SplitSource::new(&dataset, &split, &recipe).code(Code::Usage)?;
    let record = RunRecord {
        device: format!("{device:?}"),
        ..record
    };
    let task = Task {
        recipe: &recipe,
        run: &run,
        record,
        weights: weights.as_deref(),
        device,
        resume: arguments.resume,
    };
    let outcome = classifier::train(task, &source, output, &interrupt).map_err(failure)?;
    for refused in source.failures() {
        output.line(&format!("not used: {refused}"));
    }
    told(&outcome, &run, output)?;
    if let Some(key) = key {
        let data = arguments.data.as_deref();
        let finished = finish_run(run.path(), &key, data, output, &interrupt).map_err(super::steps::failure)?;
        announce(&finished, output);
    }
    Ok(())
}

fn announce(finished: &Finished, output: &Output) {
    // The last one is test, unless there are no test rows.
    if let Some(evaluation) = finished.evaluations.last() {
        output.line(&evaluation.table());
    }
    output.result(
        &json!({
            "record": "finished", "bundle": finished.bundle, "public_key": finished.public_key,
            "report": finished.report,
        }),
        &format!(
            "bundle {}, verifies with {}\nreport {}",
            finished.bundle.display(),
            finished.public_key.display(),
            finished.report.display()
        ),
    );
}

struct Prepared {
    recipe: Recipe,
    run: RunFolder,
    record: RunRecord,
    dataset: Arc<Dataset>,
    split: Split,
    weights: Option<PathBuf>,
}

/// Everything is checked before the run folder is made.
fn begun(arguments: &TrainArgs) -> Result<Prepared, Failure> {
    let (Some(name), Some(data)) = (&arguments.recipe, &arguments.data) else {
        return Err(Failure::new(Code::Usage, "give a recipe and --data, or --resume"));
    };
    let mut recipe = Recipe::load(name).code(Code::Usage)?;
    recipe.train.epochs = arguments.epochs.unwrap_or(recipe.train.epochs);
    recipe.train.seed = arguments.seed.unwrap_or(recipe.train.seed);
    recipe.check(Path::new(name)).code(Code::Usage)?;
    let dataset = Dataset::load(data, &recipe.data).code(Code::Refused)?;
    let weights = recipe.find_weights(Path::new(name), &dataset.root).code(Code::Usage)?;
    let split = Split::draw(&dataset, &recipe.data.split).code(Code::Refused)?;
    let run = RunFolder::create(&arguments.out, &recipe).map_err(|error| match error {
        RunError::NotEmpty { .. } => Failure {
            code: Code::Usage,
            error: error.into(),
        },
        other => Failure::from(other),
    })?;
    split.write(&dataset, recipe.data.split.by, &run.split())?;
    let record = RunRecord {
        seed: recipe.train.seed,
        data: std::path::absolute(data)?,
        data_digest: dataset.digest.clone(),
        labels: dataset.labels.clone(),
        rows: Part::SIDES.map(|part| split.rows(part).len()),
        git_revision: run::git_revision(),
        versions: run::versions(),
        ..RunRecord::default()
    };
    Ok(Prepared {
        recipe,
        run,
        record,
        dataset: Arc::new(dataset),
        split,
        weights,
    })
}

fn resumed(arguments: &TrainArgs) -> Result<Prepared, Failure> {
    let run = RunFolder::open(&arguments.out).code(Code::Usage)?;
    let (recipe, record) = (run.recipe().code(Code::Usage)?, run.record().code(Code::Usage)?);
    if let Some(name) = &arguments.recipe {
        let mut given = Recipe::load(name).code(Code::Usage)?;
        (given.train.epochs, given.train.seed) = (recipe.train.epochs, recipe.train.seed);
        if given != recipe {
            let message = format!(
                "{name} is not the recipe of {}; leave it out, or give another --out",
                run.path().display()
            );
            return Err(Failure::new(Code::Usage, message));
        }
    }
    let data = arguments.data.clone().unwrap_or_else(|| record.data.clone());
    let dataset = Dataset::load(&data, &recipe.data).code(Code::Refused)?;
    if dataset.digest != record.data_digest {
        let message = format!(
            "{}: SHA-256 {} is not that of the data the run began with ({}); begin a new run",
            data.display(),
            dataset.digest,
            record.data_digest
        );
        return Err(Failure::new(Code::Verification, message));
    }
    let split = Split::read(&dataset, recipe.data.split.by, &run.split()).code(Code::Refused)?;
    Ok(Prepared {
        recipe,
        run,
        record,
        dataset: Arc::new(dataset),
        split,
        weights: None,
    })
}

fn failure(error: TrainError) -> Failure {
    let code = match &error {
        TrainError::Network(NetworkError::Weights(_)) => Code::Refused,
        TrainError::Network(_) | TrainError::NoBatches => Code::Usage,
        TrainError::Source(_) => Code::Refused,
        _ => Code::Failed,
    };
    Failure {
        code,
        error: error.into(),
    }
}

fn told(outcome: &Outcome, run: &RunFolder, output: &Output) -> Result<(), Failure> {
    if outcome.interrupted {
        let message = format!("interrupted; go on with: train --resume --out {}", run.path().display());
        return Err(Failure::new(Code::Failed, message));
    }
    let best = outcome
        .best_value
        .map_or(String::new(), |value| format!(" with {value:.4}"));
    let epoch = outcome.best_epoch.unwrap_or(outcome.epochs_done);
    output.line(&format!(
        "trained {} epochs; the best is epoch {epoch}{best}",
        outcome.epochs_done
    ));
    output.record(
        "trained",
        &json!({
            "run": run.path(), "epochs": outcome.epochs_done,
            "best_epoch": outcome.best_epoch, "best_value": outcome.best_value,
        }),
    );
    Ok(())
}

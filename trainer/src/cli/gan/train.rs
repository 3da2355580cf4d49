//! `gan train`: from a recipe and a data set to a run folder with a generator.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use trainer::data::{Dataset, Split};
use trainer::interrupt::Interrupt;
use trainer::native::CudaNumerics;
use trainer::progress::Progress;
use trainer::recipes::{GanRecipe, Precision, find_weights};
use trainer::training::gan::build;
use trainer::training::gan::prepare::{Prepared, prepare};
use trainer::training::gan::train::{Outcome, Training};
use trainer::training::gan::trained::GanRecord;
use trainer::training::run::{self, FirstWeights, RunFolder};

use super::failure;
use crate::cli::data as data_set;
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;
use crate::cli::steps;

/// Arguments of `gan train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// A recipe's TOML file, or the name of a shipped one (ct-dcgan, ct-dcgan-pretrained, ct-nodule, ct-signs,
    /// xray-cycle, xray-pix2pix).
    #[arg(required_unless_present = "resume")]
    recipe: Option<String>,
    /// Manifest CSV, or a folder with one folder of images a label.
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
    /// Overrides train.steps of the recipe; with --resume it may lengthen a run.
    #[arg(long)]
    steps: Option<u64>,
    /// Overrides train.seed of the recipe.
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
}

/// A training that nothing speaks against, before anything of it is written.
struct Plan {
    recipe: GanRecipe,
    record: GanRecord,
    dataset: Arc<Dataset>,
    split: Split,
    weights: Option<PathBuf>,
    /// The folder, if an earlier run made it.
    folder: Option<RunFolder>,
}

/// Trains.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &TrainArgs, output: &Output) -> Result<(), Failure> {
    let device = steps::device(&arguments.device)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let mut plan = match arguments.resume {
        true => resumed(arguments)?,
        false => begun(arguments)?,
    };
    CudaNumerics {
        deterministic: false,
        tf32: plan.recipe.train.precision != Precision::F32,
    }
    .apply();
    let Prepared { source, shown, counts } = prepare(&plan.recipe, &plan.dataset, &plan.split).map_err(failure)?;
    plan.record.device = format!("{device:?}");
    plan.record.training_images = plan.record.labels.iter().cloned().zip(counts).collect();
    let labels = plan.record.labels.len();
    // With --resume the checkpoint has the discriminator's weights.
    let weights = plan.weights.as_deref().filter(|_| !arguments.resume);
    let (game, taken) = build::game(&plan.recipe, labels, weights, shown, device).map_err(failure)?;
    if let (Some(taken), Some(path)) = (taken, weights) {
        output.line(&format!("weights of {}", path.display()));
        taken.lines().iter().for_each(|line| output.line(&format!("  {line}")));
        let path = path.to_owned();
        plan.record.weights = Some(FirstWeights { path, taken });
    }
    let folder = plan.folder(arguments)?;
    announce(&plan, &folder, output);
    let training = Training::begin(&plan.recipe.train, &folder, game, arguments.resume, output).map_err(failure)?;
    let outcome = training.run(source.as_ref(), &interrupt).map_err(failure)?;
    for refused in source.failures() {
        output.line(&format!("not used: {refused}"));
    }
    ended(&mut plan.record, &folder, &outcome, output)
}

fn announce(plan: &Plan, folder: &RunFolder, output: &Output) {
    let counted: Vec<String> = plan
        .record
        .training_images
        .iter()
        .map(|(label, count)| format!("{label} {count}"))
        .collect();
    output.line(&format!(
        "{}: {} steps on {}, training images: {}; sheets of samples in {}",
        folder.path().display(),
        plan.recipe.train.steps,
        plan.record.device,
        counted.join(", "),
        folder.samples().display(),
    ));
}

fn ended(record: &mut GanRecord, folder: &RunFolder, outcome: &Outcome, output: &Output) -> Result<(), Failure> {
    (record.steps_done, record.back_offs) = (outcome.state.step, outcome.state.back_offs);
    folder.write_record(record)?;
    let run = folder.path();
    if outcome.interrupted {
        let message = format!(
            "interrupted; go on with: scanside-trainer gan train --resume --out {}",
            run.display()
        );
        return Err(Failure::new(Code::Failed, message));
    }
    output.result(
        &json!({ "record": "trained", "run": run, "steps": outcome.state.step, "back_offs": outcome.state.back_offs,
                 "generator": folder.generator() }),
        &format!(
            "trained {} steps; generator {}\nsamples {}, curves {}",
            outcome.state.step,
            folder.generator().display(),
            folder.samples().display(),
            folder.plots().display()
        ),
    );
    Ok(())
}

impl Plan {
    /// The run folder, which is made if it is not there.
    fn folder(&self, arguments: &TrainArgs) -> Result<RunFolder, Failure> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => {
                let folder = RunFolder::create(&arguments.out, &self.recipe)?;
                std::fs::create_dir_all(folder.samples())?;
                self.split
                    .write(&self.dataset, self.recipe.data.split.by, &folder.split())?;
                folder
            }
        };
        folder.write_record(&self.record)?;
        Ok(folder)
    }
}

fn begun(arguments: &TrainArgs) -> Result<Plan, Failure> {
    let (Some(name), Some(data)) = (&arguments.recipe, &arguments.data) else {
        return Err(Failure::new(Code::Usage, "give a recipe and --data, or --resume"));
    };
    RunFolder::check_free(&arguments.out).code(Code::Usage)?;
    let mut recipe = GanRecipe::load(name).code(Code::Usage)?;
    recipe.train.steps = arguments.steps.unwrap_or(recipe.train.steps);
    recipe.train.seed = arguments.seed.unwrap_or(recipe.train.seed);
    let origin = PathBuf::from(name);
    recipe.check(&origin).code(Code::Usage)?;
    let dataset = Dataset::load(data, &recipe.data).map_err(data_set::failure)?;
    let weights = find_weights(recipe.discriminator.weights.as_deref(), &origin, &dataset.root).code(Code::Usage)?;
    let split = Split::draw(&dataset, &recipe.data.split).code(Code::Refused)?;
    let record = GanRecord {
        seed: recipe.train.seed,
        data: std::path::absolute(data)?,
        data_digest: dataset.digest.clone(),
        labels: dataset.labels.clone(),
        git_revision: run::git_revision(),
        versions: run::versions(),
        ..GanRecord::default()
    };
    Ok(Plan {
        recipe,
        record,
        dataset: Arc::new(dataset),
        split,
        weights: weights.map(std::path::absolute).transpose()?,
        folder: None,
    })
}

fn resumed(arguments: &TrainArgs) -> Result<Plan, Failure> {
    let folder = RunFolder::open(&arguments.out).code(Code::Usage)?;
    let mut recipe = folder.gan_recipe().code(Code::Usage)?;
    recipe.train.steps = arguments.steps.unwrap_or(recipe.train.steps);
    let record: GanRecord = folder.read_record().code(Code::Usage)?;
    let data = arguments.data.clone().unwrap_or_else(|| record.data.clone());
    let dataset = data_set::of_run(&data, &recipe.data, &record.data_digest)?;
    let split = Split::read(&dataset, recipe.data.split.by, &folder.split()).code(Code::Refused)?;
    Ok(Plan {
        recipe,
        record,
        dataset: Arc::new(dataset),
        split,
        weights: None,
        folder: Some(folder),
    })
}

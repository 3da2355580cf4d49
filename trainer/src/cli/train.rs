//! `train`: from a recipe and a data set to a run folder with a signed bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tch::Device;
use trainer::data::{Dataset, Part, Sides, Split, generated};
use trainer::export::{Finished, SigningKey, context, finish_run, pack};
use trainer::interrupt::Interrupt;
use trainer::progress::Progress;
use trainer::recipes::Recipe;
use trainer::training::base::{self, Base};
use trainer::training::batches::BatchSource;
use trainer::training::classifier::Outcome;
use trainer::training::error::TrainError;
use trainer::training::network::{self, NetworkError};
use trainer::training::run::{self, FirstWeights, RunFolder, RunRecord};
use trainer::training::source::SplitSource;
use trainer::training::stages::{self, Course};
use trainer::training::weights::Taken;

use super::failure::{Code, Failure, WithCode};
use super::output::Output;
use super::pack::SignArgs;

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// A recipe's TOML file, or the name of a shipped one (phantom-demo, phantom-pointing, xray-3class,
    /// xray-covidnet, xray-fusion, xray-fusion-101-152, folder, folder-quick).
    ///
    /// With --from it may be left out: then the recipe of that run is taken.
    #[arg(required_unless_present_any = ["resume", "from"])]
    recipe: Option<String>,
    /// Manifest CSV, or a folder with one folder of images a class.
    #[arg(long, required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// Run folder to make (or, with --resume, to go on with).
    #[arg(long)]
    out: PathBuf,
    /// Fine-tune the network of this finished run: begin with the parameters of its best epoch, and keep its images on
    /// their sides of the split. The last layer begins anew if there are more or fewer labels.
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// With --from: only the last layer learns. The quantized layers stay as they were, and so does the line time of the
    /// update: a few percent of a bundle.
    #[arg(long, requires = "from")]
    head_only: bool,
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
    /// Overrides train.epochs and train.max_steps of the recipe and of its stages.
    #[arg(long, conflicts_with = "resume")]
    epochs: Option<usize>,
    /// Overrides train.seed of the recipe.
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
    /// Overrides train.learning_rate of the recipe, not of its stages; a fine-tuning wants less than a tenth of the first training's.
    #[arg(long, value_name = "RATE", conflicts_with = "resume")]
    learning_rate: Option<f64>,
    /// Overrides bundle.version of the recipe.
    #[arg(long, value_name = "VERSION", conflicts_with = "resume")]
    bundle_version: Option<String>,
}

impl TrainArgs {
    /// The command line that goes on with this run and ends as this one would have.
    fn resuming(&self) -> String {
        let mut words = vec!["scanside-trainer train --resume --out".to_owned(), quoted(&self.out)];
        let mut option = |name: &str, path: Option<&PathBuf>| {
            words.extend(path.map(|path| format!("{name} {}", quoted(path))));
        };
        // A run remembers its data; only what was given for a resumed one stands in for it.
        option("--data", self.data.as_ref().filter(|_| self.resume));
        option("--secret-key", self.sign.secret_key.as_ref());
        option("--password-file", self.sign.password_file.as_ref());
        if self.device != "auto" {
            words.push(format!("--device {}", self.device));
        }
        if self.no_bundle {
            words.push("--no-bundle".to_owned());
        }
        words.join(" ")
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Trains.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &TrainArgs, output: &Output) -> Result<(), Failure> {
    let device = super::steps::device(&arguments.device)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let plan = if arguments.resume {
        resumed(arguments)?
    } else {
        begun(arguments)?
    };
    let source = plan.source()?;
    let given = match arguments.no_bundle {
        true => None,
        false => bundle_to_be(arguments, &plan)?,
    };
    let run = plan.folder(&arguments.out)?;
    let key = match given {
        None if !arguments.no_bundle => Some(SigningKey::of_run(run.path(), output).map_err(super::steps::failure)?),
        given => given,
    };
    let outcome = train(&plan, &run, device, &source, output, &interrupt)?;
    told(&outcome, arguments, output)?;
    if let Some(key) = key {
        let data = arguments.data.as_deref();
        let finished = finish_run(run.path(), &key, data, output, &interrupt).map_err(super::steps::failure)?;
        announce(&finished, output);
    }
    Ok(())
}

/// What the bundle at the end needs: better missed now than after hours of training. Gives the key that was named.
fn bundle_to_be(arguments: &TrainArgs, plan: &Plan) -> Result<Option<SigningKey>, Failure> {
    pack::labels(&plan.recipe, &plan.dataset.labels).map_err(super::steps::failure)?;
    if plan.split.rows(Part::Validation).is_empty() {
        let message = "the bundle's thresholds are chosen on validation images, and data.split.fractions.validation \
                       is 0; give it a share, or train with --no-bundle";
        return Err(Failure::new(Code::Usage, message));
    }
    let key = arguments.sign.given()?;
    context::runtime().map_err(super::steps::failure)?;
    Ok(key)
}

fn train(
    plan: &Plan,
    run: &RunFolder,
    device: Device,
    source: &SplitSource,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Outcome, Failure> {
    let [train, validation, test] = plan.record.rows;
    output.line(&format!(
        "{}: {} on {device:?}, {train} training, {validation} validation and {test} test images of {}",
        run.path().display(),
        plan.recipe.network.architecture,
        plan.record.labels.join(", "),
    ));
    plan.dataset.left_out.lines().iter().for_each(|line| output.line(line));
    let course = Course {
        recipe: &plan.recipe,
        record: &plan.record,
        run,
        dataset: &plan.dataset,
        split: &plan.split,
        device,
    };
    let outcome = course.train(source, output, interrupt).map_err(failure)?;
    for refused in source.failures() {
        output.line(&format!("not used: {refused}"));
    }
    Ok(outcome)
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

/// A training that nothing speaks against, before anything of it is written.
struct Plan {
    recipe: Recipe,
    record: RunRecord,
    dataset: Arc<Dataset>,
    split: Split,
    /// The folder, if an earlier run made it.
    folder: Option<RunFolder>,
}

impl Plan {
    /// The batches; refuses a recipe whose batches or network cannot be made.
    fn source(&self) -> Result<SplitSource, Failure> {
        let source = SplitSource::new(&self.dataset, &self.split, &self.recipe).code(Code::Usage)?;
        if source.training_batches() == 0 {
            return Err(failure(TrainError::NoBatches));
        }
        if self.folder.is_none() {
            stages::check(&self.recipe, &self.record).map_err(|error| failure(error.into()))?;
        }
        Ok(source)
    }

    /// The run folder, which is made if it is not there.
    fn folder(&self, out: &Path) -> Result<RunFolder, Failure> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let folder = RunFolder::create(out, &self.recipe)?;
        self.split
            .write(&self.dataset, self.recipe.data.split.by, &folder.split())?;
        folder.write_record(&self.record)?;
        Ok(folder)
    }
}

fn begun(arguments: &TrainArgs) -> Result<Plan, Failure> {
    let Some(data) = &arguments.data else {
        return Err(Failure::new(Code::Usage, "give --data, or --resume"));
    };
    RunFolder::check_free(&arguments.out).code(Code::Usage)?;
    let base = arguments
        .from
        .as_deref()
        .map(Base::open)
        .transpose()
        .code(Code::Usage)?;
    let (name, mut recipe) = wanted_recipe(arguments, base.as_ref())?;
    let dataset = Dataset::load(data, &recipe.data).map_err(super::data::failure)?;
    if arguments.head_only {
        let graph = network::build(&recipe, dataset.labels.len()).code(Code::Usage)?;
        recipe.network.freeze = base::all_but_head(&graph).code(Code::Usage)?;
        recipe.network.unfreeze_after_epochs = None;
    }
    let weights = recipe.find_weights(&name, &dataset.root).code(Code::Usage)?;
    let weights = weights.map(std::path::absolute).transpose()?;
    let mut stage_weights = recipe.find_stage_weights(&name, &dataset.root).code(Code::Usage)?;
    for path in stage_weights.values_mut() {
        *path = std::path::absolute(&path)?;
    }
    let earlier = match &base {
        Some(base) => Sides::read(&base.folder().split()).code(Code::Refused)?,
        None => Sides::default(),
    };
    let mut split = Split::draw_after(&earlier, &dataset, &recipe.data.split).code(Code::Refused)?;
    generated::fill(&mut split, &dataset, &recipe.data).code(Code::Refused)?;
    let dataset = Arc::new(dataset);
    let steps = SplitSource::new(&dataset, &split, &recipe)
        .code(Code::Usage)?
        .training_batches();
    recipe.train.epochs = recipe.train.epochs_within(steps as usize);
    recipe.check(&name).code(Code::Usage)?;
    let fine_tuning = base.map(|base| base.fine_tuning(&recipe, dataset.labels.len()));
    let record = RunRecord {
        seed: recipe.train.seed,
        data: std::path::absolute(data)?,
        data_digest: dataset.digest.clone(),
        labels: dataset.labels.clone(),
        rows: Part::SIDES.map(|part| split.rows(part).len()),
        git_revision: run::git_revision(),
        versions: run::versions(),
        stage_weights,
        weights: weights.map(|path| FirstWeights {
            path,
            taken: Taken::default(),
        }),
        fine_tuning: fine_tuning.transpose().code(Code::Usage)?,
        ..RunRecord::default()
    };
    Ok(Plan {
        recipe,
        record,
        dataset,
        split,
        folder: None,
    })
}

/// The recipe of a new run with what the command line says otherwise, and the file that messages name.
fn wanted_recipe(arguments: &TrainArgs, base: Option<&Base>) -> Result<(PathBuf, Recipe), Failure> {
    let (name, mut recipe) = match (&arguments.recipe, base) {
        (Some(name), _) => (PathBuf::from(name), Recipe::load(name).code(Code::Usage)?),
        (None, Some(base)) => (base.folder().recipe_path(), base.recipe.clone()),
        (None, None) => {
            return Err(Failure::new(
                Code::Usage,
                "give a recipe and --data, --from, or --resume",
            ));
        }
    };
    if let Some(epochs) = arguments.epochs {
        let of_stages = recipe.stages.iter_mut().filter_map(|stage| stage.train.as_mut());
        for section in of_stages.chain([&mut recipe.train]) {
            (section.epochs, section.max_steps) = (epochs, None);
            section.warmup_epochs = section.warmup_epochs.min(epochs as f64);
        }
    }
    recipe.train.seed = arguments.seed.unwrap_or(recipe.train.seed);
    recipe.train.learning_rate = arguments.learning_rate.unwrap_or(recipe.train.learning_rate);
    if let Some(version) = &arguments.bundle_version {
        recipe.bundle.version.clone_from(version);
    }
    if let Some(base) = base {
        base.begin(&mut recipe);
    }
    recipe.check(&name).code(Code::Usage)?;
    Ok((name, recipe))
}

fn resumed(arguments: &TrainArgs) -> Result<Plan, Failure> {
    let run = RunFolder::open(&arguments.out).code(Code::Usage)?;
    let (recipe, record) = (run.recipe().code(Code::Usage)?, run.record().code(Code::Usage)?);
    if let Some(name) = &arguments.recipe {
        same_recipe(name, &recipe, record.fine_tuning.is_some(), &run)?;
    }
    let data = arguments.data.clone().unwrap_or_else(|| record.data.clone());
    let dataset = super::data::of_run(&data, &recipe.data, &record.data_digest)?;
    let split = Split::read(&dataset, recipe.data.split.by, &run.split()).code(Code::Refused)?;
    Ok(Plan {
        recipe,
        record,
        dataset: Arc::new(dataset),
        split,
        folder: Some(run),
    })
}

fn same_recipe(name: &str, of_run: &Recipe, fine_tuned: bool, run: &RunFolder) -> Result<(), Failure> {
    let mut given = Recipe::load(name).code(Code::Usage)?;
    // What the command line may have said otherwise.
    (given.train.epochs, given.train.seed) = (of_run.train.epochs, of_run.train.seed);
    given.train.max_steps = of_run.train.max_steps;
    given.train.warmup_epochs = of_run.train.warmup_epochs;
    for (given, of_run) in given.stages.iter_mut().zip(&of_run.stages) {
        if let (Some(given), Some(of_run)) = (&mut given.train, &of_run.train) {
            (given.epochs, given.max_steps) = (of_run.epochs, of_run.max_steps);
            given.warmup_epochs = of_run.warmup_epochs;
        }
    }
    given.train.learning_rate = of_run.train.learning_rate;
    given.bundle.version.clone_from(&of_run.bundle.version);
    if fine_tuned {
        given.network = of_run.network.clone();
        given.stages.clone_from(&of_run.stages);
    }
    if given == *of_run {
        return Ok(());
    }
    let message = format!(
        "{name} is not the recipe of {}; leave it out, or give another --out",
        run.path().display()
    );
    Err(Failure::new(Code::Usage, message))
}

/// An error of training with its exit code.
pub fn failure(error: TrainError) -> Failure {
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

fn told(outcome: &Outcome, arguments: &TrainArgs, output: &Output) -> Result<(), Failure> {
    let run = &arguments.out;
    if outcome.interrupted {
        let message = format!("interrupted; go on with: {}", arguments.resuming());
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
            "run": run, "epochs": outcome.epochs_done,
            "best_epoch": outcome.best_epoch, "best_value": outcome.best_value,
        }),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        train: TrainArgs,
    }

    #[test]
    fn the_command_that_goes_on_ends_as_this_one_would_have() {
        for (given, wanted) in [
            ("folder --data d --out run", ""),
            (
                "folder --data d --out run --no-bundle --device cpu",
                " --device cpu --no-bundle",
            ),
            (
                "folder --data d --out run --secret-key site.key --password-file word",
                " --secret-key site.key --password-file word",
            ),
            ("--resume --data moved --out run", " --data moved"),
        ] {
            let line = Line::try_parse_from([&["train"], &given.split(' ').collect::<Vec<_>>()[..]].concat());
            let resuming = line.unwrap_or_else(|error| panic!("{error}")).train.resuming();
            assert_eq!(resuming, format!("scanside-trainer train --resume --out run{wanted}"));
        }
        assert_eq!(quoted(Path::new("my run's")), r"'my run'\''s'");
    }
}

//! `gan utility`: whether generated images make a classifier better.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Device;
use trainer::data::{Dataset, Loader, LoaderOptions, Manifest, Part, Pass, Sides, Split};
use trainer::export::evaluation::cluster_key;
use trainer::interrupt::Interrupt;
use trainer::progress::Progress;
use trainer::recipes::Recipe;
use trainer::training::batches::{BatchSource, images_tensor};
use trainer::training::checkpoint::load_state;
use trainer::training::classifier::{self, Task};
use trainer::training::gan::trained::Trained;
use trainer::training::network;
use trainer::training::run::{self, RunFolder, RunRecord, write_atomically};
use trainer::training::source::SplitSource;
use trainer::utility::arms::{AUGMENTED, Addition, Arm, GENERATED, REAL, arms, leaked, recipe_of, with_generated};
use trainer::utility::compare::{ArmOutputs, TestSet, compare};
use trainer::utility::{arms::write_manifest, report};

use super::failure as gan_failure;
use super::made;
use crate::cli::data;
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;
use crate::cli::steps;
use crate::cli::train::failure as train_failure;

/// Arguments of `gan utility`.
#[derive(Debug, Args)]
pub struct UtilityArgs {
    /// The classifier: a recipe's TOML file, or the name of a shipped one. Its [augment] is one of the arms.
    recipe: String,
    /// Manifest CSV, or a folder with one folder of images a label: the data that the generators learnt from.
    #[arg(long)]
    data: PathBuf,
    /// A generator whose images are added to the real ones, the --out of `gan train`, with the name of its arm, such as
    /// plain=runs/dcgan (may be given more than once).
    #[arg(long = "generator", value_name = "NAME=RUN", required = true, value_parser = named)]
    generators: Vec<(String, PathBuf)>,
    /// Generated images of each label.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    per_class: u64,
    /// Trainings of each arm; each draws its weights, order and generated images anew.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Folder for the runs, the generated images, the report and the figures. The same command goes on with what was
    /// interrupted.
    #[arg(long)]
    out: PathBuf,
    /// Overrides train.epochs and train.max_steps of the recipe, for the arm of real images; the others take as many steps.
    #[arg(long)]
    epochs: Option<usize>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, run) = text.split_once('=').ok_or("give it as NAME=RUN")?;
    let plain = |c: char| c.is_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("the name {name:?} may hold letters, digits, - and _ only"));
    }
    if [REAL, AUGMENTED].contains(&name) {
        return Err(format!("{name:?} is the name of another arm"));
    }
    Ok((name.to_owned(), run.into()))
}

/// What a folder was begun with: it is gone on with for the same alone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    recipe: String,
    data_digest: String,
    generators: Vec<(String, String)>,
    per_class: u64,
    seeds: u64,
}

/// All that is decided before anything is made.
struct Study<'a> {
    arguments: &'a UtilityArgs,
    recipe: Recipe,
    weights: Option<PathBuf>,
    real: Dataset,
    split: Split,
    generators: Vec<(String, Trained)>,
    /// Steps of the arm of real images.
    steps: u64,
    device: Device,
}

/// Trains all arms and compares them.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &UtilityArgs, output: &Output) -> Result<(), Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let study = Study::plan(arguments)?;
    study.claim_folder()?;
    let all = arms(study.generators.iter().map(|(name, _)| name.as_str()));
    let mut outputs = Vec::new();
    for arm in &all {
        let mut of_arm = ArmOutputs {
            name: arm.name.clone(),
            real_images: study.split.rows(Part::Train).len(),
            generated_images: 0,
            steps: 0,
            seeds: Vec::new(),
            probabilities: Vec::new(),
        };
        for seed in 1..=study.arguments.seeds {
            output.line(&format!("arm {}, seed {seed} of {}", arm.name, arguments.seeds));
            let (dataset, split) = study.images(arm, seed, output, &interrupt)?;
            of_arm.generated_images = dataset.samples.len() - study.real.samples.len();
            let folder = arguments.out.join("runs").join(&arm.name).join(format!("seed-{seed}"));
            of_arm.steps = study.train(arm, seed, &folder, (dataset, split), output, &interrupt)?;
            of_arm.probabilities.push(study.probabilities(&folder)?);
            of_arm.seeds.push(seed);
        }
        outputs.push(of_arm);
    }
    study.tell(&outputs, output)
}

impl<'a> Study<'a> {
    fn plan(arguments: &'a UtilityArgs) -> Result<Self, Failure> {
        let device = steps::device(&arguments.device)?;
        let origin = PathBuf::from(&arguments.recipe);
        let mut recipe = Recipe::load(&arguments.recipe).code(Code::Usage)?;
        if let Some(epochs) = arguments.epochs {
            (recipe.train.epochs, recipe.train.max_steps) = (epochs, None);
        }
        recipe.check(&origin).code(Code::Usage)?;
        if recipe.augment == Default::default() {
            let message = format!(
                "{}: [augment] changes nothing, and it is one of the arms",
                arguments.recipe
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let real = Dataset::load(&arguments.data, &recipe.data).map_err(data::failure)?;
        let weights = recipe.find_weights(&origin, &real.root).code(Code::Usage)?;
        let (generators, split) = generators(arguments, &recipe, &real, device)?;
        recipe.data.labels.clone_from(&real.labels);
        if !recipe.data.sources.is_empty() {
            recipe.data.sources.push(GENERATED.to_owned());
        }
        let batches = SplitSource::new(&Arc::new(real.clone()), &split, &recipe).code(Code::Usage)?;
        let an_epoch = batches.training_batches();
        let steps = an_epoch * recipe.train.epochs_within(an_epoch as usize) as u64;
        network::check(&recipe, real.labels.len(), weights.as_deref()).map_err(|error| train_failure(error.into()))?;
        Ok(Self {
            arguments,
            recipe,
            weights,
            real,
            split,
            generators,
            steps,
            device,
        })
    }

    /// The folder is new, or was begun with the same.
    fn claim_folder(&self) -> Result<(), Failure> {
        let out = &self.arguments.out;
        let settings = Settings {
            recipe: self.recipe.to_toml()?,
            data_digest: self.real.digest.clone(),
            generators: self
                .generators
                .iter()
                .map(|(name, trained)| (name.clone(), trained.digest.clone()))
                .collect(),
            per_class: self.arguments.per_class,
            seeds: self.arguments.seeds,
        };
        let path = out.join("settings.json");
        if path.is_file() {
            let begun: Settings = serde_json::from_slice(&std::fs::read(&path)?)?;
            if begun != settings {
                let message = format!(
                    "{}: begun with another recipe, data, generators or numbers; give another --out",
                    out.display()
                );
                return Err(Failure::new(Code::Usage, message));
            }
            return Ok(());
        }
        RunFolder::check_free(out).code(Code::Usage)?;
        std::fs::create_dir_all(out.join("data"))?;
        self.split
            .write(&self.real, self.recipe.data.split.by, &out.join("split.csv"))?;
        Ok(write_atomically(
            &path,
            serde_json::to_string_pretty(&settings)?.as_bytes(),
        )?)
    }

    /// What an arm learns from and is judged by, written as a manifest of its own.
    fn images(
        &self,
        arm: &Arm,
        seed: u64,
        output: &Output,
        interrupt: &Interrupt,
    ) -> Result<(Dataset, Split), Failure> {
        let generated = match arm.addition {
            Addition::Generated => Some(self.generated(arm, seed, output, interrupt)?),
            _ => None,
        };
        let (dataset, split) = with_generated(&self.real, &self.split, generated.as_ref()).map_err(data::failure)?;
        let path = self.arguments.out.join("data").join(format!("{}-{seed}.csv", arm.name));
        write_manifest(&dataset, &path).map_err(data::failure)?;
        let written = Dataset::load(&path, &self.recipe.data).map_err(data::failure)?;
        // Whatever was put together: nothing generated is evaluated, and no patient stands on two sides.
        split
            .check(&written, self.recipe.data.split.by, &path)
            .map_err(data::failure)?;
        Ok((written, split))
    }

    /// The images of a generator for a seed, made unless an earlier start has made them.
    fn generated(&self, arm: &Arm, seed: u64, output: &Output, interrupt: &Interrupt) -> Result<Manifest, Failure> {
        let folder = self
            .arguments
            .out
            .join("generated")
            .join(&arm.name)
            .join(format!("seed-{seed}"));
        if !folder.join("manifest.csv").is_file() {
            if folder.exists() {
                // Without a manifest it is what an interruption left.
                std::fs::remove_dir_all(&folder)?;
            }
            let trained = self.generators.iter().find(|(name, _)| *name == arm.name);
            let (_, trained) = trained.ok_or_else(|| Failure::new(Code::Failed, "an arm without its generator"))?;
            let wanted = made::Wanted {
                trained,
                per_class: self.arguments.per_class,
                seed,
            };
            wanted.make(&folder, &self.real, &self.split, output, interrupt)?;
        }
        Manifest::load(&folder).map_err(data::failure)
    }

    /// Trains an arm's network, or goes on with it; gives its steps.
    fn train(
        &self,
        arm: &Arm,
        seed: u64,
        folder: &Path,
        (dataset, split): (Dataset, Split),
        output: &Output,
        interrupt: &Interrupt,
    ) -> Result<u64, Failure> {
        let dataset = Arc::new(dataset);
        let mut recipe = self.recipe.clone();
        recipe.train.seed = seed;
        let an_epoch = SplitSource::new(&dataset, &split, &recipe)
            .code(Code::Usage)?
            .training_batches();
        let recipe = recipe_of(&recipe, arm, seed, self.steps, an_epoch);
        let source = SplitSource::new(&dataset, &split, &recipe).code(Code::Usage)?;
        let run = match folder.join("recipe.toml").is_file() {
            true => RunFolder::open(folder).code(Code::Usage)?,
            false => RunFolder::create(folder, &recipe)?,
        };
        split.write(&dataset, recipe.data.split.by, &run.split())?;
        let resume = run.last_checkpoint().is_file();
        if !resume || !load_state(&run.last_checkpoint())?.state.finished {
            let task = Task {
                recipe: &recipe,
                run: &run,
                record: self.record(&recipe, &dataset, &split),
                weights: self.weights.as_deref(),
                device: self.device,
                resume,
            };
            let outcome = classifier::train(task, &source, output, interrupt).map_err(train_failure)?;
            if outcome.interrupted {
                return Err(Failure::new(Code::Failed, "interrupted; the same command goes on"));
            }
        }
        Ok(load_state(&run.last_checkpoint())?.state.step)
    }

    fn record(&self, recipe: &Recipe, dataset: &Dataset, split: &Split) -> RunRecord {
        RunRecord {
            seed: recipe.train.seed,
            data: dataset.origin.clone(),
            data_digest: dataset.digest.clone(),
            labels: dataset.labels.clone(),
            rows: Part::SIDES.map(|part| split.rows(part).len()),
            git_revision: run::git_revision(),
            versions: run::versions(),
            device: format!("{:?}", self.device),
            ..RunRecord::default()
        }
    }

    /// What the network of a run says of the real test images.
    fn probabilities(&self, folder: &Path) -> Result<Array2<f32>, Failure> {
        let network = network::load(&RunFolder::open(folder).code(Code::Usage)?, self.device)?;
        let options = LoaderOptions {
            cache_bytes: 0,
            max_failed: 0.0,
            ..LoaderOptions::of(&self.recipe.data, self.recipe.train.batch, 0)
        };
        let rows = self.split.rows(Part::Test);
        let loader = Loader::new(Arc::new(self.real.clone()), rows, &self.recipe.preprocess, options)?;
        let mut sets = Vec::new();
        for batch in loader.batches(Pass::Evaluate, 0) {
            let mut logits = network.logits(&images_tensor(&batch.map_err(data::failure)?.images)?)?;
            for mut row in logits.rows_mut() {
                let largest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
                row.mapv_inplace(|value| (value - largest).exp());
                let sum = row.sum();
                row /= sum;
            }
            sets.push(logits);
        }
        let views: Vec<_> = sets.iter().map(|set| set.view()).collect();
        Ok(ndarray::concatenate(Axis(0), &views)?)
    }

    fn test_set(&self) -> TestSet {
        let rows = self.split.rows(Part::Test);
        let samples = || rows.iter().map(|row| (*row, &self.real.samples[*row]));
        TestSet {
            labels: self.real.labels.clone(),
            truth: samples().map(|(_, sample)| sample.class).collect(),
            patients: samples().map(|(row, sample)| cluster_key(row, sample)).collect(),
            sources: samples().map(|(_, sample)| sample.row.source.clone()).collect(),
        }
    }

    fn tell(&self, outputs: &[ArmOutputs], output: &Output) -> Result<(), Failure> {
        let found = compare(&self.test_set(), outputs, 1).ok_or_else(|| {
            let message = "the test side lacks a label; give data.split.fractions.test a larger share";
            Failure::new(Code::Refused, message)
        })?;
        let classifier = format!(
            "{} at {} px",
            self.recipe.network.architecture, self.recipe.preprocess.size[0]
        );
        let generator = |(name, trained): &(String, Trained)| {
            format!(
                "{name}: generator {}, {} steps",
                &trained.digest[..12],
                trained.record.steps_done
            )
        };
        let generators: Vec<String> = self.generators.iter().map(generator).collect();
        let out = &self.arguments.out;
        let (page, figures) = (out.join("index.html"), out.join("utility.json"));
        write_atomically(&page, report::page(&found, &classifier, &generators).as_bytes())?;
        let value = json!({ "record": "utility", "utility": found, "generators": generators, "report": page });
        write_atomically(&figures, serde_json::to_string_pretty(&value)?.as_bytes())?;
        output.result(&value, &format!("{}\nreport {}", report::table(&found), page.display()));
        Ok(())
    }
}

/// The generators, and a split on whose training side all that they learnt from stands.
fn generators(
    arguments: &UtilityArgs,
    recipe: &Recipe,
    real: &Dataset,
    device: Device,
) -> Result<(Vec<(String, Trained)>, Split), Failure> {
    let mut generators: Vec<(String, Trained)> = Vec::new();
    let mut sides = Vec::new();
    for (name, path) in &arguments.generators {
        let run = RunFolder::open(path).code(Code::Usage)?;
        let trained = Trained::load(&run, device).map_err(gan_failure)?;
        if generators.iter().any(|(known, _)| known == name) {
            return Err(Failure::new(Code::Usage, format!("two generators are called {name}")));
        }
        if trained.record.data_digest != real.digest {
            let message = format!(
                "{}: learnt from other data than {}; whether it has seen a test image cannot be told",
                path.display(),
                arguments.data.display()
            );
            return Err(Failure::new(Code::Verification, message));
        }
        sides.push(Sides::read(&run.split()).code(Code::Refused)?);
        generators.push((name.clone(), trained));
    }
    let first = sides.first().cloned().unwrap_or_default();
    let split = Split::draw_after(&first, real, &recipe.data.split).code(Code::Refused)?;
    for ((name, _), learnt) in generators.iter().zip(&sides) {
        let seen: usize = leaked(real, &split, learnt).values().sum();
        if seen > 0 {
            let message = format!(
                "{name}: learnt from {seen} images that stand in validation or test here; train it with the [data.split] of \
                 the other generators"
            );
            return Err(Failure::new(Code::Verification, message));
        }
    }
    Ok((generators, split))
}

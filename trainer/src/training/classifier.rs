//! The training loop of a classifier: epochs of steps, validation, the best checkpoint, early stopping, resuming.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tch::{Device, TchError, Tensor};

use super::batches::BatchSource;
use super::checkpoint::{self, CheckpointError, EpochSums, Saved, State};
use super::error::TrainError;
use super::fusion::{self, RatioPoint};
use super::history::{EpochRecord, History};
use super::network::{self, NetworkError};
use super::optimizer::{Optimizer, Rule};
use super::pace::{self, Pace, Remaining};
use super::run::{FirstWeights, RunFolder, RunRecord};
use super::schedule::RateSchedule;
use super::step::{Evaluation, Network, StepFigures, StepSettings};
use crate::autograd::{Interpreter, ParameterError};
use crate::data::order::class_weights;
use crate::interrupt::Interrupt;
use crate::native::{AdamW, CudaNumerics};
use crate::progress::Progress;
use crate::recipes::{Balance, OptimizerKind, Precision, Recipe, Schedule, TrainSection, WatchedMetric};
use crate::seed;

/// Points an epoch in the path of a fusion's ratio.
const RATIO_POINTS: u64 = 20;

/// A classifier to train.
#[derive(Debug)]
pub struct Task<'a> {
    /// How.
    pub recipe: &'a Recipe,
    /// Where it leaves what it makes; its `run.json` is kept up to date.
    pub run: &'a RunFolder,
    /// The beginning of `run.json`: seed, data, labels.
    pub record: RunRecord,
    /// File of the first weights.
    pub weights: Option<&'a Path>,
    /// Device.
    pub device: Device,
    /// Go on from the run's last checkpoint.
    pub resume: bool,
}

/// How training ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it was stopped from outside; the state is saved then.
    pub interrupted: bool,
    /// Whole epochs done.
    pub epochs_done: u64,
    /// Epoch (from 1) of `best.safetensors`.
    pub best_epoch: Option<u64>,
    /// Its validation figure.
    pub best_value: Option<f64>,
}

impl Outcome {
    /// A training that was stopped before its first epoch.
    #[must_use]
    pub fn interrupted_before() -> Self {
        Self {
            interrupted: true,
            epochs_done: 0,
            best_epoch: None,
            best_value: None,
        }
    }
}

/// Trains until the epochs are done, the watched figure no longer gains, or `interrupt` is raised.
///
/// # Errors
/// [`TrainError`]; the checkpoint of the last whole epoch stays.
pub fn train(
    task: Task<'_>,
    source: &dyn BatchSource,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Outcome, TrainError> {
    if source.training_batches() == 0 {
        return Err(TrainError::NoBatches);
    }
    let section = &task.recipe.train;
    CudaNumerics {
        deterministic: false,
        tf32: section.precision != Precision::F32,
    }
    .apply();
    let mut training = Training::begin(&task, source, progress)?;
    let mut record = RunRecord {
        ..training.record.clone()
    };
    task.run.write_record(&record)?;
    while !training.state.finished {
        let ended = training.epoch(source, progress, interrupt)?;
        if !ended {
            training.save(task.run)?;
            progress.line(&format!(
                "interrupted in epoch {}; the state is saved, --resume goes on from it",
                training.state.epochs_done + 1
            ));
            return Ok(training.outcome(true));
        }
        (record.epochs_done, record.best_epoch, record.best_value) = (
            training.state.epochs_done,
            training.state.best_epoch,
            training.state.best_value,
        );
        task.run.write_record(&record)?;
    }
    training.history.plot()?;
    Ok(training.outcome(false))
}

/// A run under way.
struct Training<'a> {
    recipe: &'a Recipe,
    run: &'a RunFolder,
    network: Network,
    optimizer: Optimizer,
    schedule: RateSchedule,
    class_weights: Option<Tensor>,
    state: State,
    history: History,
    record: RunRecord,
    pace: Pace,
}

impl<'a> Training<'a> {
    fn begin(task: &Task<'a>, source: &dyn BatchSource, progress: &dyn Progress) -> Result<Self, TrainError> {
        let (recipe, section) = (task.recipe, &task.recipe.train);
        let graph = network::build(recipe, task.record.labels.len()).map_err(NetworkError::from)?;
        // A wrong name in network.freeze is told before anything is read.
        network::training_modes(&recipe.network, &graph, 0)?;
        let weights = if task.resume { None } else { task.weights };
        let (parameters, taken) = network::first_parameters(recipe, &graph, weights, task.device)?;
        let mut record = task.record.clone();
        record.trainable_elements = parameters.trainable_elements();
        if let (Some(taken), Some(path)) = (taken, weights) {
            progress.line(&format!("weights of {}", path.display()));
            taken
                .lines()
                .iter()
                .for_each(|line| progress.line(&format!("  {line}")));
            record.weights = Some(FirstWeights {
                path: path.to_owned(),
                taken,
            });
        }
        let optimizer = Optimizer::new(rule(section), &parameters, section.weight_decay, |name| {
            section.layer_rate(name)
        })?;
        let interpreter = Interpreter::new(graph, task.device)?;
        let network = Network {
            interpreter,
            parameters,
            device: task.device,
        };
        let saved = match task.resume {
            true => Some(checkpoint::load_state(&task.run.last_checkpoint())?),
            false => None,
        };
        let epochs_done = saved.as_ref().map_or(0, |saved| saved.state.epochs_done);
        let mut training = Self {
            recipe,
            run: task.run,
            network,
            optimizer,
            schedule: rate_schedule(section, source.training_batches()),
            class_weights: weights_in_loss(section, source, task.device)?,
            state: State::default(),
            history: History::open(task.run, epochs_done)?,
            record,
            pace: Pace::default(),
        };
        if let Some(saved) = saved {
            training.restore(saved)?;
            progress.line(&format!(
                "resumed after {} epochs and {} batches",
                training.state.epochs_done, training.state.batches_done
            ));
        }
        Ok(training)
    }

    fn restore(&mut self, saved: Saved) -> Result<(), TrainError> {
        let names: Vec<String> = self
            .network
            .parameters
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            let tensor = saved
                .parameters
                .get(&name)
                .ok_or(ParameterError::Unknown { name: name.clone() })?;
            self.network.parameters.set(&name, tensor)?;
        }
        self.optimizer.restore(&saved.optimizer)?;
        self.state = saved.state;
        Ok(())
    }

    /// One epoch, or the rest of it. Says whether it came to its end.
    fn epoch(
        &mut self,
        source: &dyn BatchSource,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<bool, TrainError> {
        let (begun, whole) = (Instant::now(), self.state.batches_done == 0);
        if !self.train_batches(source, progress, interrupt)? {
            return Ok(false);
        }
        let batches = source.validation_batches();
        let evaluation = match batches {
            0 => None,
            _ => self
                .network
                .evaluate(source.validation(), batches, progress, interrupt)?,
        };
        if interrupt.is_raised() && evaluation.is_none() {
            return Ok(false);
        }
        let took = whole.then(|| begun.elapsed());
        self.close_epoch(evaluation, took, progress)?;
        Ok(true)
    }

    fn train_batches(
        &mut self,
        source: &dyn BatchSource,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<bool, TrainError> {
        let (epoch, total) = (self.state.epochs_done, source.training_batches());
        let modes = network::training_modes(&self.recipe.network, self.network.interpreter.graph(), epoch)?;
        progress.begin(
            &format!("epoch {}/{}", epoch + 1, self.recipe.train.epochs),
            total,
            "batch",
        );
        progress.skip(self.state.batches_done);
        if self.state.batches_done >= total {
            return Ok(true);
        }
        if self.state.step == 0 {
            self.note_ratio(total)?;
        }
        let mut begun = Instant::now();
        for batch in source.training(epoch, self.state.batches_done) {
            let batch = batch.map_err(TrainError::Source)?;
            let section = &self.recipe.train;
            if batch.labels.is_empty() {
                // None of its images could be decoded; the step is counted, so that the order of the others stays.
                self.state.step += 1;
                self.state.batches_done += 1;
                continue;
            }
            let settings = StepSettings {
                modes: &modes,
                class_weights: self.class_weights.as_ref(),
                label_smoothing: section.label_smoothing,
                bf16: section.precision.is_bf16_on(self.network.device),
                learning_rate: self.schedule.rate(self.state.step),
                clip_norm: section.clip_norm,
            };
            seed::seed_step(section.seed, self.state.step);
            let figures = self.network.train_step(&mut self.optimizer, &batch, &settings)?;
            self.state.step += 1;
            self.state.batches_done += 1;
            self.state
                .sums
                .add(&figures, batch.labels.len(), begun.elapsed().as_secs_f64());
            self.note_ratio(total)?;
            begun = Instant::now();
            progress.advance(1, &format!("loss {:.4}", self.state.sums.mean_loss()));
            self.estimate(source, progress);
            if interrupt.is_raised() {
                return Ok(false);
            }
        }
        progress.end();
        Ok(true)
    }

    /// Of a fusion: keeps in mind where the ratio stands, some times in an epoch of `total` batches.
    fn note_ratio(&mut self, total: u64) -> Result<(), TrainError> {
        let Some(section) = &self.recipe.network.fusion else {
            return Ok(());
        };
        let done = self.state.batches_done;
        if done.is_multiple_of(total.div_ceil(RATIO_POINTS)) || done == total {
            let shares = fusion::ratio(&self.network.parameters, section.members.len())?;
            let step = self.state.step;
            self.state.sums.ratio_path.push(RatioPoint { step, shares });
        }
        Ok(())
    }

    /// Says once, after the first steps, how long the rest will take.
    fn estimate(&mut self, source: &dyn BatchSource, progress: &dyn Progress) {
        let epochs = self.recipe.train.epochs as u64 - self.state.epochs_done.min(self.recipe.train.epochs as u64);
        let remaining = Remaining {
            training_batches: (epochs * source.training_batches()).saturating_sub(self.state.batches_done),
            validation_batches: epochs * source.validation_batches(),
        };
        let Some(time) = self.pace.step(Instant::now(), remaining) else {
            return;
        };
        let time_words = pace::in_words(time);
        progress.line(&format!(
            "training will take about {time_words} at most; Ctrl-C saves it, and --resume goes on"
        ));
        progress.record("estimate", &json!({ "seconds": time.as_secs(), "epochs": epochs }));
    }

    /// `took` is the time of the whole epoch; none for the rest of one that was resumed.
    fn close_epoch(
        &mut self,
        evaluation: Option<Evaluation>,
        took: Option<Duration>,
        progress: &dyn Progress,
    ) -> Result<(), TrainError> {
        let epoch = self.state.epochs_done + 1;
        let record = self.epoch_record(epoch, evaluation.as_ref());
        let section = &self.recipe.train;
        let figure = evaluation
            .as_ref()
            .and_then(|evaluation| watched(section.watch, evaluation));
        if self.is_best(figure) {
            (self.state.best_epoch, self.state.best_value) = (Some(epoch), figure);
            checkpoint::save_parameters(&self.run.best_checkpoint(), &self.network.parameters)?;
        }
        self.history.add(&record)?;
        self.state.epochs_done = epoch;
        self.state.batches_done = 0;
        self.state.sums = EpochSums::default();
        let stalled = |patience: usize| {
            self.state
                .best_epoch
                .is_some_and(|best| epoch.saturating_sub(best) >= patience as u64)
        };
        let stopped = section
            .early_stopping
            .as_ref()
            .is_some_and(|stopping| stalled(stopping.patience));
        self.state.finished = stopped || epoch >= section.epochs as u64;
        self.save(self.run)?;
        let star = if self.state.best_epoch == Some(epoch) {
            "  *"
        } else {
            ""
        };
        let epochs_left = match self.state.finished {
            true => 0,
            false => section.epochs as u64 - epoch,
        };
        let left = pace::left(took, epochs_left);
        progress.line(&format!("{}{left}{star}", record.line(section.epochs)));
        progress.record("epoch", &json!(record));
        if stopped && epoch < section.epochs as u64 {
            progress.line(&format!(
                "stopped early: no gain since epoch {}",
                self.state.best_epoch.unwrap_or(0)
            ));
        }
        Ok(())
    }

    fn epoch_record(&self, epoch: u64, evaluation: Option<&Evaluation>) -> EpochRecord {
        let sums = &self.state.sums;
        let images = sums.images.max(1) as f64;
        EpochRecord {
            epoch,
            step: self.state.step,
            learning_rate: self.schedule.rate(self.state.step.saturating_sub(1)),
            train_loss: sums.mean_loss(),
            train_accuracy: sums.correct as f64 / images,
            validation_loss: evaluation.map(|evaluation| evaluation.loss),
            validation_accuracy: evaluation.map(|evaluation| evaluation.accuracy),
            validation_balanced_accuracy: evaluation.and_then(|evaluation| evaluation.balanced_accuracy),
            validation_auroc: evaluation.and_then(|evaluation| evaluation.auroc),
            gradient_norm: sums.gradient_norm / sums.steps.max(1) as f64,
            seconds: sums.seconds,
            ratio_path: sums.ratio_path.clone(),
            images_per_second: if sums.seconds > 0.0 {
                sums.images as f64 / sums.seconds
            } else {
                0.0
            },
        }
    }

    /// Without a figure (no validation rows, or one class only) the latest epoch counts as the best.
    fn is_best(&self, figure: Option<f64>) -> bool {
        let section = &self.recipe.train;
        let least = section
            .early_stopping
            .as_ref()
            .map_or(0.0, |stopping| stopping.min_change);
        match (figure, self.state.best_value) {
            (Some(figure), Some(best)) if section.watch == WatchedMetric::Loss => figure < best - least,
            (Some(figure), Some(best)) => figure > best + least,
            (None, Some(_)) => false,
            (_, None) => true,
        }
    }

    fn save(&self, run: &RunFolder) -> Result<(), CheckpointError> {
        let state = self.optimizer.state();
        checkpoint::save_state(&run.last_checkpoint(), &self.network.parameters, &state, &self.state)
    }

    fn outcome(&self, interrupted: bool) -> Outcome {
        Outcome {
            interrupted,
            epochs_done: self.state.epochs_done,
            best_epoch: self.state.best_epoch,
            best_value: self.state.best_value,
        }
    }
}

impl EpochSums {
    fn add(&mut self, figures: &StepFigures, images: usize, seconds: f64) {
        self.loss += figures.loss * images as f64;
        self.correct += figures.correct;
        self.images += images as u64;
        self.gradient_norm += figures.gradient_norm;
        self.steps += 1;
        self.seconds += seconds;
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }
}

fn watched(metric: WatchedMetric, evaluation: &Evaluation) -> Option<f64> {
    match metric {
        WatchedMetric::Auroc => evaluation.auroc,
        WatchedMetric::BalancedAccuracy => evaluation.balanced_accuracy,
        WatchedMetric::Loss => Some(evaluation.loss),
    }
}

fn rule(section: &TrainSection) -> Rule {
    match section.optimizer {
        OptimizerKind::Adamw => Rule::AdamW(AdamW {
            beta1: section.momentum,
            beta2: 0.999,
            epsilon: 1e-8,
        }),
        OptimizerKind::Sgd => Rule::Sgd {
            momentum: section.momentum,
        },
    }
}

fn rate_schedule(section: &TrainSection, batches: u64) -> RateSchedule {
    RateSchedule {
        peak: section.learning_rate,
        warmup_steps: (section.warmup_epochs * batches as f64).round() as u64,
        total_steps: section.epochs as u64 * batches,
        cosine_end: match section.schedule {
            Schedule::Cosine => Some(section.final_rate),
            Schedule::Constant => None,
        },
    }
}

fn weights_in_loss(
    section: &TrainSection,
    source: &dyn BatchSource,
    device: Device,
) -> Result<Option<Tensor>, TchError> {
    if section.balance != Balance::Weights {
        return Ok(None);
    }
    let weights: Vec<f32> = class_weights(&source.class_counts())
        .iter()
        .map(|weight| *weight as f32)
        .collect();
    Tensor::f_from_slice(&weights)?.f_to_device(device).map(Some)
}

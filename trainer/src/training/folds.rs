//! Cross-validation: the same recipe on every split of a stratified k-fold, and the figures of all test images together.
//!
//! ```text
//! OUT/fold-1/ ...           a run each, with its stages
//! OUT/predictions.csv       path, label, fold, and a probability for each label, of every image that was tested on
//! OUT/cross-validation.json the pooled figures
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Axis};
use tch::Device;

use super::batches::images_tensor;
use super::classifier::Outcome;
use super::error::TrainError;
use super::network::{self, LoadError};
use super::run::{RunError, RunFolder, RunRecord, write_atomically};
use super::source::SplitSource;
use super::stages::Course;
use crate::data::{DataError, Dataset, Part, Split, generated};
use crate::export::evaluation::{Evaluation, Labelled, evaluate};
use crate::export::images::Images;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::recipes::Recipe;

/// Why a cross-validation ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldsError {
    /// The folds cannot be dealt.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A fold cannot be trained.
    #[error("fold {fold}: {source}")]
    Train {
        /// Which, from 1.
        fold: usize,
        /// Why.
        source: TrainError,
    },
    /// A trained fold cannot be read.
    #[error("fold {fold}: {source}")]
    Load {
        /// Which, from 1.
        fold: usize,
        /// Why.
        source: LoadError,
    },
    /// A folder or file.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No test image can be read.
    #[error("fold {fold}: no test image can be read; the first: {first}")]
    NoImages {
        /// Which, from 1.
        fold: usize,
        /// Path and reason of the first that failed.
        first: String,
    },
}

/// A cross-validation to run, or to go on with.
#[derive(Debug)]
pub struct CrossValidation<'a> {
    /// How each fold is trained.
    pub recipe: &'a Recipe,
    /// The beginning of each fold's `run.json`.
    pub record: &'a RunRecord,
    /// The images.
    pub dataset: &'a Arc<Dataset>,
    /// Number of folds, at least 3: one tests, one validates, the others train.
    pub folds: usize,
    /// Where the folds' runs are made; what stands there finished is taken as it is.
    pub out: &'a Path,
    /// Device.
    pub device: Device,
}

/// Outputs for test images.
struct Tested {
    rows: Vec<usize>,
    folds: Vec<usize>,
    probabilities: Array2<f32>,
}

impl CrossValidation<'_> {
    /// Trains what is not trained, and evaluates all test images together; none if it was interrupted. The intervals of
    /// the pooled figures are drawn over patients or groups, each of which was tested on once.
    ///
    /// # Errors
    /// [`FoldsError`].
    pub fn run(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<Option<Evaluation>, FoldsError> {
        let splits = Split::folds(self.dataset, &self.recipe.data.split, self.folds)?;
        let mut tested = Tested {
            rows: Vec::new(),
            folds: Vec::new(),
            probabilities: Array2::zeros((0, self.dataset.labels.len())),
        };
        for (number, mut split) in (1..).zip(splits) {
            generated::fill(&mut split, self.dataset, &self.recipe.data)?;
            progress.line(&format!("fold {number} of {}", self.folds));
            let run = self.folder(number, &split)?;
            let outcome = self.train(number, &run, &split, progress, interrupt)?;
            if outcome.interrupted {
                return Ok(None);
            }
            self.test(number, &run, &split, &mut tested)?;
        }
        let labels = &self.dataset.labels;
        let evaluation = evaluate(
            &format!("{} folds", self.folds),
            Labelled {
                probabilities: tested.probabilities.view(),
                rows: &tested.rows,
                samples: &self.dataset.samples,
                labels,
                thresholds: &vec![None; labels.len()],
            },
        );
        self.write(&tested, &evaluation)?;
        Ok(Some(evaluation))
    }

    fn folder(&self, number: usize, split: &Split) -> Result<RunFolder, FoldsError> {
        let path = self.out.join(format!("fold-{number}"));
        if let Ok(run) = RunFolder::open(&path) {
            return Ok(run);
        }
        let run = RunFolder::create(&path, self.recipe)?;
        split.write(self.dataset, self.recipe.data.split.by, &run.split())?;
        Ok(run)
    }

    fn train(
        &self,
        number: usize,
        run: &RunFolder,
        split: &Split,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Outcome, FoldsError> {
        let record = RunRecord {
            rows: Part::SIDES.map(|part| split.rows(part).len()),
            ..self.record.clone()
        };
        let course = Course {
            recipe: self.recipe,
            record: &record,
            run,
            dataset: self.dataset,
            split,
            device: self.device,
        };
        let source = SplitSource::new(self.dataset, split, self.recipe)?;
        let outcome = course.train(&source, progress, interrupt);
        outcome.map_err(|source| FoldsError::Train { fold: number, source })
    }

    /// Runs the fold's network over its test images, in eval mode and float32.
    fn test(&self, number: usize, run: &RunFolder, split: &Split, tested: &mut Tested) -> Result<(), FoldsError> {
        let network = network::load(run, self.device).map_err(|source| FoldsError::Load { fold: number, source })?;
        let rows = split.rows(Part::Test);
        let mut images = Images::new(&self.dataset.samples, &rows, &self.recipe.preprocess);
        let before = tested.rows.len();
        for batch in images.by_ref() {
            let failed = |source| FoldsError::Train { fold: number, source };
            let tensor = images_tensor(&batch.images).map_err(|error| failed(error.into()))?;
            let probabilities = softmax(network.logits(&tensor).map_err(failed)?.view());
            // Every row has one value a label, as the network was built for them.
            let _ = tested.probabilities.append(Axis(0), probabilities.view());
            tested.folds.extend(std::iter::repeat_n(number, batch.rows.len()));
            tested.rows.extend(batch.rows);
        }
        match (tested.rows.len() > before, images.unreadable().first()) {
            (false, Some(first)) => Err(FoldsError::NoImages {
                fold: number,
                first: format!("{}: {}", first.path.display(), first.reason),
            }),
            _ => Ok(()),
        }
    }

    fn write(&self, tested: &Tested, evaluation: &Evaluation) -> Result<(), FoldsError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let path: PathBuf = self.out.join("predictions.csv");
        let failed = |reason: String| RunError::Malformed {
            path: path.clone(),
            reason,
        };
        let heads = ["path", "label", "fold"]
            .into_iter()
            .chain(self.dataset.labels.iter().map(String::as_str));
        writer.write_record(heads).map_err(|error| failed(error.to_string()))?;
        for ((row, fold), probabilities) in tested
            .rows
            .iter()
            .zip(&tested.folds)
            .zip(tested.probabilities.outer_iter())
        {
            let sample = &self.dataset.samples[*row];
            let facts = [
                sample.row.path.clone(),
                self.dataset.labels[sample.class].clone(),
                fold.to_string(),
            ];
            let line = facts
                .into_iter()
                .chain(probabilities.iter().map(|value| format!("{value:.6}")));
            writer.write_record(line).map_err(|error| failed(error.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
        write_atomically(&path, &bytes)?;
        let json = serde_json::to_vec_pretty(evaluation).map_err(|error| failed(error.to_string()))?;
        write_atomically(&self.out.join("cross-validation.json"), &json)?;
        Ok(())
    }
}

fn softmax(logits: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut probabilities = logits.to_owned();
    for mut row in probabilities.rows_mut() {
        let largest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        row.mapv_inplace(|value| (value - largest).exp());
        let sum = row.sum();
        row /= sum;
    }
    probabilities
}

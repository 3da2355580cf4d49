//! Figures by epoch: JSON lines, TensorBoard events, plots.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tensorboard_rs::summary_writer::SummaryWriter;

use super::fusion::RatioPoint;
use super::run::{RunError, RunFolder, write_atomically};
use crate::report::plots::{PlotError, Series, curves};

/// One line of `metrics.jsonl`. Figures of the training rows are running means over the epoch, on augmented images;
/// those of the validation rows are absent where there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: u64,
    /// Optimizer steps in all.
    pub step: u64,
    /// Rate of the epoch's last step.
    pub learning_rate: f64,
    /// Mean loss.
    pub train_loss: f64,
    /// Share of the images classified rightly.
    pub train_accuracy: f64,
    /// Mean cross-entropy.
    pub validation_loss: Option<f64>,
    /// Share classified rightly.
    pub validation_accuracy: Option<f64>,
    /// Mean sensitivity over the classes.
    pub validation_balanced_accuracy: Option<f64>,
    /// Mean one-against-rest area under the ROC curve.
    pub validation_auroc: Option<f64>,
    /// Mean norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Seconds of training, without validation.
    pub seconds: f64,
    /// Training images a second.
    pub images_per_second: f64,
    /// Of a fusion: where the ratio between its members stood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ratio_path: Vec<RatioPoint>,
}

impl EpochRecord {
    /// The record in one line for people.
    pub fn line(&self, epochs: usize) -> String {
        let figure =
            |name: &str, value: Option<f64>| value.map_or(String::new(), |value| format!("  {name} {value:.3}"));
        format!(
            "epoch {:>3}/{epochs}  loss {:.4}  accuracy {:.3} | validation{}{}{}{} | {:.0} s, {:.0} images/s",
            self.epoch,
            self.train_loss,
            self.train_accuracy,
            figure("loss", self.validation_loss),
            figure("accuracy", self.validation_accuracy),
            figure("balanced", self.validation_balanced_accuracy),
            figure("AUROC", self.validation_auroc),
            self.seconds,
            self.images_per_second,
        ) + &self.ratio_words()
    }
}

impl EpochRecord {
    /// Shares of a fusion's members at the end of the epoch, the mean over the classes; nothing of other networks.
    fn ratio_words(&self) -> String {
        let Some(last) = self.ratio_path.last() else {
            return String::new();
        };
        let share = |of_member: &Vec<f64>| of_member.iter().sum::<f64>() / of_member.len().max(1) as f64;
        let shares: Vec<String> = last
            .shares
            .iter()
            .map(|of_member| format!("{:.3}", share(of_member)))
            .collect();
        format!(", ratio {}", shares.join(" : "))
    }
}

/// Reads `metrics.jsonl`; a line that a crash cut off is left out.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<Vec<EpochRecord>, RunError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|source| RunError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Writes the figures of a run as they come.
pub struct History {
    run: RunFolder,
    records: Vec<EpochRecord>,
    board: SummaryWriter,
}

impl History {
    /// Opens the history of a run that has done `epochs_done` epochs; what stands there of later ones (a crash came
    /// before their checkpoint) is dropped.
    ///
    /// # Errors
    /// Input and output.
    pub fn open(run: &RunFolder, epochs_done: u64) -> Result<Self, RunError> {
        let mut records = read(&run.metrics())?;
        records.retain(|record| record.epoch <= epochs_done);
        let mut text = String::new();
        for record in &records {
            text.push_str(&json(&run.metrics(), record)?);
            text.push('\n');
        }
        write_atomically(&run.metrics(), text.as_bytes())?;
        Ok(Self {
            run: run.clone(),
            records,
            board: SummaryWriter::new(run.path()),
        })
    }

    /// All records so far.
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// Adds an epoch to the file and to TensorBoard's.
    ///
    /// # Errors
    /// Input and output.
    pub fn add(&mut self, record: &EpochRecord) -> Result<(), RunError> {
        let path = self.run.metrics();
        let line = json(&path, record)?;
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|source| RunError::File { path, source })?;
        let step = record.epoch as usize;
        for (tag, value) in scalars(record) {
            self.board.add_scalar(tag, value as f32, step);
        }
        self.board.flush();
        self.records.push(record.clone());
        Ok(())
    }

    /// Draws loss, accuracy and learning rate over the epochs into the run's plots.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn plot(&self) -> Result<(), PlotError> {
        let folder = self.run.plots();
        let series = |name: &str, value: fn(&EpochRecord) -> Option<f64>| Series {
            name: name.to_owned(),
            points: self
                .records
                .iter()
                .filter_map(|r| Some((r.epoch as f64, value(r)?)))
                .collect(),
        };
        let drawn = |file: &str, title: &str, y: &str, series: Vec<Series>| {
            let series: Vec<Series> = series.into_iter().filter(|series| !series.points.is_empty()).collect();
            curves(&folder.join(file), title, "epoch", y, &series)
        };
        drawn(
            "loss.png",
            "Loss",
            "cross-entropy",
            vec![
                series("training", |r| Some(r.train_loss)),
                series("validation", |r| r.validation_loss),
            ],
        )?;
        drawn(
            "accuracy.png",
            "Accuracy",
            "share of the images",
            vec![
                series("training accuracy", |r| Some(r.train_accuracy)),
                series("validation accuracy", |r| r.validation_accuracy),
                series("validation balanced accuracy", |r| r.validation_balanced_accuracy),
                series("validation AUROC", |r| r.validation_auroc),
            ],
        )?;
        drawn(
            "learning_rate.png",
            "Learning rate",
            "rate",
            vec![series("rate", |r| Some(r.learning_rate))],
        )
    }
}

fn json(path: &Path, record: &EpochRecord) -> Result<String, RunError> {
    serde_json::to_string(record).map_err(|error| RunError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn scalars(record: &EpochRecord) -> Vec<(&'static str, f64)> {
    let always = [
        ("loss/train", record.train_loss),
        ("accuracy/train", record.train_accuracy),
        ("rate/learning_rate", record.learning_rate),
        ("rate/gradient_norm", record.gradient_norm),
        ("rate/images_per_second", record.images_per_second),
    ];
    let validation = [
        ("loss/validation", record.validation_loss),
        ("accuracy/validation", record.validation_accuracy),
        ("accuracy/validation_balanced", record.validation_balanced_accuracy),
        ("accuracy/validation_auroc", record.validation_auroc),
    ];
    let validation = validation.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
    always.into_iter().chain(validation).collect()
}

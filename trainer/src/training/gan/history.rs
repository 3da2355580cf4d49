//! Figures of a generative training: JSON lines, TensorBoard events, curves.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use tensorboard_rs::summary_writer::SummaryWriter;

use super::error::GanError;
use super::game::{
    CYCLE, DISCRIMINATOR, DISCRIMINATOR_BACK, DISTANCE, Figures, GENERATED_SCORE, GENERATOR, GENERATOR_BACK, REAL_SCORE,
};
use crate::report::plots::{Series, curves};
use crate::training::run::{RunError, RunFolder, write_atomically};

/// Steps whose figures are averaged to one line.
pub const STEPS_A_LINE: u64 = 50;

/// One line of `metrics.jsonl`: means over the steps since the line before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done.
    pub step: u64,
    /// Figures by name.
    #[serde(flatten)]
    pub figures: BTreeMap<String, f64>,
}

/// Writes the figures of a run as they come.
pub struct History {
    run: RunFolder,
    records: Vec<StepRecord>,
    sums: BTreeMap<&'static str, f64>,
    summed: u64,
    board: SummaryWriter,
}

impl History {
    /// Opens the history of a run that has done `steps`; what stands there of later ones is dropped.
    ///
    /// # Errors
    /// Input and output.
    pub fn open(run: &RunFolder, steps: u64) -> Result<Self, RunError> {
        let path = run.metrics();
        let text = match path.exists() {
            true => std::fs::read_to_string(&path).map_err(|source| RunError::File {
                path: path.clone(),
                source,
            })?,
            false => String::new(),
        };
        let mut records: Vec<StepRecord> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        records.retain(|record| record.step <= steps);
        let mut history = Self {
            run: run.clone(),
            records,
            sums: BTreeMap::new(),
            summed: 0,
            board: SummaryWriter::new(run.path()),
        };
        history.rewrite()?;
        Ok(history)
    }

    /// Forgets what came after so many steps: training goes back there.
    ///
    /// # Errors
    /// Input and output.
    pub fn go_back(&mut self, steps: u64) -> Result<(), RunError> {
        self.records.retain(|record| record.step <= steps);
        self.sums.clear();
        self.summed = 0;
        self.rewrite()
    }

    fn rewrite(&mut self) -> Result<(), RunError> {
        let mut text = String::new();
        for record in &self.records {
            text.push_str(&self.line(record)?);
        }
        write_atomically(&self.run.metrics(), text.as_bytes())
    }

    fn line(&self, record: &StepRecord) -> Result<String, RunError> {
        let text = serde_json::to_string(record).map_err(|error| RunError::Malformed {
            path: self.run.metrics(),
            reason: error.to_string(),
        })?;
        Ok(text + "\n")
    }

    /// Adds a step's figures. A line is written when [`STEPS_A_LINE`] came together, at step numbers that are multiples
    /// of it.
    ///
    /// # Errors
    /// Input and output.
    pub fn add(&mut self, step: u64, figures: &Figures) -> Result<(), RunError> {
        for (name, value) in figures {
            *self.sums.entry(name).or_insert(0.0) += value;
        }
        self.summed += 1;
        if !step.is_multiple_of(STEPS_A_LINE) {
            return Ok(());
        }
        let means = self
            .sums
            .iter()
            .map(|(name, sum)| ((*name).to_owned(), sum / self.summed as f64));
        let record = StepRecord {
            step,
            figures: means.collect(),
        };
        (self.sums, self.summed) = (BTreeMap::new(), 0);
        let (path, line) = (self.run.metrics(), self.line(&record)?);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|source| RunError::File { path, source })?;
        for (name, value) in &record.figures {
            self.board
                .add_scalar(&format!("gan/{name}"), *value as f32, step as usize);
        }
        self.board.flush();
        self.records.push(record);
        Ok(())
    }

    /// Shows a sheet of samples `[height, width, 3]` in TensorBoard.
    pub fn add_sheet(&mut self, sheet: &image::RgbImage, step: u64) {
        let (width, height) = sheet.dimensions();
        let dimensions = [3, height as usize, width as usize];
        self.board
            .add_image("samples", sheet.as_raw(), &dimensions, step as usize);
        self.board.flush();
    }

    /// Draws the losses and scores over the steps into the run's plots.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn plot(&self) -> Result<(), GanError> {
        let series = |names: &[&str]| -> Vec<Series> {
            let one = |name: &&str| Series {
                name: name.replace('_', " "),
                points: self
                    .records
                    .iter()
                    .filter_map(|record| Some((record.step as f64, *record.figures.get(*name)?)))
                    .collect(),
            };
            let drawn = names.iter().map(one);
            drawn.filter(|series| !series.points.is_empty()).collect()
        };
        let folder = self.run.plots();
        let losses = series(&[DISCRIMINATOR, GENERATOR, DISCRIMINATOR_BACK, GENERATOR_BACK]);
        curves(
            &folder.join("losses.png"),
            "Adversarial losses",
            "step",
            "loss",
            &losses,
        )?;
        let scores = series(&[REAL_SCORE, GENERATED_SCORE]);
        curves(
            &folder.join("scores.png"),
            "Mean scores of the discriminator",
            "step",
            "score",
            &scores,
        )?;
        let distance = series(&[DISTANCE, CYCLE]);
        if !distance.is_empty() {
            curves(
                &folder.join("distance.png"),
                "Distance to what the image is held to",
                "step",
                "mean absolute difference",
                &distance,
            )?;
        }
        Ok(())
    }
}

//! A run as the steps of export see it: its folder, recipe, data and split, and the files that the steps hand on.

use std::path::{Path, PathBuf};

use onnx::runtime::Runtime;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::error::ExportError;
use crate::data::dataset::Dataset;
use crate::data::split::{Part, Split};
use crate::recipes::Recipe;
use crate::training::run::{RunFolder, RunRecord, write_atomically};

/// `model.onnx`, float.
pub const FLOAT_FILE: &str = "model.onnx";
/// `model.int8.onnx`.
pub const INT8_FILE: &str = "model.int8.onnx";
/// The quantizer's report.
pub const QUANTIZATION_FILE: &str = "quantization.json";
/// Temperature, operating points, conformal quantiles, novelty limit.
pub const CALIBRATION_FILE: &str = "calibration.json";
/// The parity gate.
pub const GATE_FILE: &str = "gate.json";
/// What the bundle reaches on validation and test.
pub const EVALUATION_FILE: &str = "evaluation.json";
/// The signed bundle.
pub const BUNDLE_FILE: &str = "model.scanside";

/// A finished training run.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its folder.
    pub folder: RunFolder,
    /// Its recipe.
    pub recipe: Recipe,
    /// Its record.
    pub record: RunRecord,
    /// Its data.
    pub dataset: Dataset,
    /// Who stood where.
    pub split: Split,
}

impl Context {
    /// Opens a run; `data` stands in for the place that the run remembers, if the data was moved.
    ///
    /// # Errors
    /// The folder is no run, or its data is gone or has changed.
    pub fn open(run: &Path, data: Option<&Path>) -> Result<Self, ExportError> {
        let folder = RunFolder::open(run)?;
        let (recipe, record) = (folder.recipe()?, folder.record()?);
        let place = data.unwrap_or(&record.data);
        let dataset = Dataset::for_labels(place, &record.labels, &recipe.data.mapping, &recipe.data.sources)?;
        if dataset.digest != record.data_digest {
            return Err(ExportError::DataChanged {
                path: place.to_owned(),
                wanted: record.data_digest,
                found: dataset.digest,
            });
        }
        let split = Split::read(&dataset, recipe.data.split.by, &folder.split())?;
        Ok(Self {
            folder,
            recipe,
            record,
            dataset,
            split,
        })
    }

    /// The rows of a side, without those that the last training did not learn from, and without the expanded copies of
    /// others, which only train.
    pub fn rows(&self, part: Part) -> Vec<usize> {
        let mut rows = self.split.rows(part);
        let learnt = self.recipe.train.rows;
        rows.retain(|row| {
            let sample = &self.dataset.samples[*row];
            sample.expanded.is_none() && (part != Part::Train || learnt.hold(sample.row.provenance))
        });
        rows
    }

    /// Classes of rows.
    pub fn truth(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|&row| self.dataset.samples[row].class).collect()
    }

    /// A file of the run folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Reads a file that the step `verb` makes.
    ///
    /// # Errors
    /// [`ExportError::StepMissing`] where it is not there.
    pub fn read(&self, file: &str, verb: &'static str) -> Result<Vec<u8>, ExportError> {
        let path = self.path(file);
        std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ExportError::StepMissing {
                path: path.clone(),
                verb,
                run: self.folder.path().to_owned(),
            },
            _ => ExportError::file(&path, source),
        })
    }

    /// Reads a JSON file that the step `verb` makes.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn read_json<T: DeserializeOwned>(&self, file: &str, verb: &'static str) -> Result<T, ExportError> {
        serde_json::from_slice(&self.read(file, verb)?).map_err(|error| ExportError::Malformed {
            path: self.path(file),
            reason: error.to_string(),
        })
    }

    /// Writes a file into the run folder; a reader sees the old content or the new.
    ///
    /// # Errors
    /// Input and output.
    pub fn write(&self, file: &str, content: &[u8]) -> Result<PathBuf, ExportError> {
        let path = self.path(file);
        write_atomically(&path, content)?;
        Ok(path)
    }

    /// Removes files of the run folder that are there.
    ///
    /// # Errors
    /// Input and output.
    pub fn remove(&self, files: &[&str]) -> Result<(), ExportError> {
        for file in files {
            let path = self.path(file);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ExportError::file(&path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes `value` as JSON into the run folder.
    ///
    /// # Errors
    /// Input and output.
    pub fn write_json<T: Serialize>(&self, file: &str, value: &T) -> Result<PathBuf, ExportError> {
        let text = serde_json::to_vec_pretty(value).map_err(|error| ExportError::Malformed {
            path: self.path(file),
            reason: error.to_string(),
        })?;
        self.write(file, &text)
    }
}

/// ONNX Runtime, found as `onnx::runtime` does.
///
/// # Errors
/// It is missing or too old.
pub fn runtime() -> Result<&'static Runtime, ExportError> {
    Ok(onnx::runtime::load(None)?)
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    crate::data::manifest::hex(&Sha256::digest(bytes))
}

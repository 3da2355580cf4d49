//! What backs a model: evaluation, quantization, provenance, audit.

use serde::{Deserialize, Serialize};

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f32,
    /// Lower end of the 95 % interval.
    pub low: f32,
    /// Upper end of the 95 % interval.
    pub high: f32,
    /// Number of images it rests on.
    pub n: u64,
}

impl From<crate::intervals::Estimate> for Estimate {
    fn from(from: crate::intervals::Estimate) -> Self {
        Self {
            value: from.value as f32,
            low: from.low as f32,
            high: from.high as f32,
            n: from.n,
        }
    }
}

/// The figures on one set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which images, such as `test` or `test/kermany`.
    pub dataset: String,
    /// Number of images.
    pub n: u64,
    /// The figures.
    pub metrics: Vec<Metric>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `accuracy`, `balanced-accuracy`, `auroc`, `sensitivity`, `specificity` ...
    pub name: String,
    /// The label it is about; absent if it is about all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The value with its interval.
    pub estimate: Estimate,
}

/// What quantization cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizationSummary {
    /// How ranges were found: `minmax` or `percentile`.
    pub method: String,
    /// Number of calibration images.
    pub calibration_images: u64,
    /// Lowest signal to quantization noise ratio of any layer, in dB.
    pub worst_layer_db: f32,
    /// The parity gate: INT8 against float on validation images.
    pub gate: Vec<GateFigure>,
    /// Payload file with the figures of every layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

/// One figure of the parity gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateFigure {
    /// `auroc-loss`, `sensitivity-loss`, `specificity-loss`, `cam-pearson-median`, `cam-iou-median` ...
    pub name: String,
    /// What was measured.
    pub value: f32,
    /// What was allowed: at most this for a loss, at least this for an agreement.
    pub limit: f32,
    /// Number of images.
    pub n: u64,
}

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the recipe.
    pub recipe: String,
    /// SHA-256 of the recipe file, hexadecimal.
    pub recipe_sha256: String,
    /// SHA-256 of the data manifest, hexadecimal.
    pub data_sha256: String,
    /// Number of training images.
    pub training_images: u64,
    /// The sources of the images, such as hospitals or data sets.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Whether generated or drawn images were among them.
    #[serde(default)]
    pub synthetic: bool,
    /// Git revision of the trainer, or `unknown`.
    pub git_revision: String,
    /// Version of the trainer.
    pub trainer_version: String,
    /// The seed of the run.
    pub seed: u64,
}

/// Whether somebody looked for leaks between the splits and for shortcuts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Audit {
    /// How it ended.
    pub state: AuditState,
    /// What is to be known, in words.
    pub remarks: Vec<String>,
    /// Payload file with the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

/// How an audit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditState {
    /// Nobody looked.
    #[default]
    NotAudited,
    /// Nothing was found.
    Passed,
    /// Something was found that a user must know: see the remarks.
    Remarks,
    /// A leak or a shortcut was found.
    Failed,
}

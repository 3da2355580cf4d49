//! The manifest: everything a bundle says about itself, as JSON inside the signed header.
//!
//! [`Manifest::check`] is the contract in code: a manifest that passes has labels, operating points, files and
//! golden cases that fit each other. The packer and the reader both call it.

mod check;
mod decision;
mod evidence;
mod intended_use;

use imaging::preprocess::PreprocessSpec;
use imaging::quality::QualityLimits;
use serde::{Deserialize, Serialize};

use crate::version::Version;

pub use check::{ManifestError, check_labels};
pub use decision::{Conformal, ConformalQuantile, Novelty, OperatingPoint};
pub use evidence::{Audit, AuditState, Estimate, Evaluation, GateFigure, Metric, Provenance, QuantizationSummary};
pub use intended_use::{AgeRange, IntendedUse};

/// What the signed header says; see `docs/bundle-format.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model: lower-case letters, digits and hyphens, such as `chest-triage`.
    pub name: String,
    /// Version of the model, also in the MCUboot header.
    pub version: Version,
    /// The slot pair it belongs to: `chest-xray`, `chest-ct` or another name of the same form.
    pub role: String,
    /// Monotonic; an appliance refuses a counter lower than the highest it ran. Also in the MCUboot trailer.
    pub security_counter: u32,
    /// When it was packed, RFC 3339 in UTC.
    pub created: String,
    /// What the appliance must have.
    #[serde(default)]
    pub hardware: HardwareRequirement,
    /// The classes in the order of the network's outputs.
    pub labels: Vec<Label>,
    /// How an image becomes the network's input.
    pub preprocess: PreprocessSpec,
    /// The ONNX file and the names of its input and outputs.
    pub model: Model,
    /// When a label is flagged; one entry for each label that is a finding.
    pub operating_points: Vec<OperatingPoint>,
    /// The temperature that the graph divides its logits by; for the record, the graph applies it.
    pub temperature: f32,
    /// Prediction sets; without it the appliance shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conformal: Option<Conformal>,
    /// The limit of the graph's `novelty` output; needed if the model has that output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// What an image must have to be read at all.
    #[serde(default)]
    pub quality: QualityLimits,
    /// Inputs whose outputs every appliance must reproduce.
    #[serde(default)]
    pub golden: Vec<GoldenCase>,
    /// How well it did, on which images.
    #[serde(default)]
    pub evaluation: Vec<Evaluation>,
    /// What quantization cost; absent for a float model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<QuantizationSummary>,
    /// Where the data, the recipe and the program came from.
    pub provenance: Provenance,
    /// Whether somebody looked for leaks and shortcuts.
    #[serde(default)]
    pub audit: Audit,
    /// Which images it may be asked about.
    pub intended_use: IntendedUse,
    /// The payload, in the order in which it stands in the file. The packer fills it in.
    #[serde(default)]
    pub files: Vec<FileEntry>,
}

/// One class of the classifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Stable name in JSON and reports: lower-case letters, digits, hyphens and underscores.
    pub id: String,
    /// What a screen says, in English.
    pub name: String,
    /// What a screen says in other languages, by language tag (`de`, `vi` ...).
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub translations: std::collections::BTreeMap<String, String>,
    /// The one label that means "no finding flagged"; it has no operating point.
    #[serde(default)]
    pub no_finding: bool,
}

impl Label {
    /// A label with an English name.
    #[must_use]
    pub fn new(id: &str, name: &str, no_finding: bool) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            translations: std::collections::BTreeMap::new(),
            no_finding,
        }
    }

    /// The name in `language`, or in English.
    #[must_use]
    pub fn name_in(&self, language: &str) -> &str {
        self.translations.get(language).unwrap_or(&self.name)
    }
}

/// What the appliance must have to run the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct HardwareRequirement {
    /// Memory that the model may take on the appliance, in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// Processor architectures as Rust names them (`x86_64`, `aarch64`); empty for any.
    pub architectures: Vec<String>,
    /// Execution providers of ONNX Runtime of which one must be there (`cpu`, `tensorrt`); empty for the CPU.
    pub providers: Vec<String>,
}

/// The ONNX file and its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Path of the ONNX file in the payload.
    pub file: String,
    /// The network, such as `resnet18`.
    pub architecture: String,
    /// Numbers in the file: `int8-u8s8`, `int8-s8s8` or `float32`.
    pub precision: String,
    /// Name of the input, f32 `[N,C,H,W]`.
    pub input: String,
    /// Names of the outputs.
    pub outputs: Outputs,
}

/// Names of the network's outputs; N images, K labels, k maps of h x w.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    /// f32 `[N,K]`, before temperature.
    pub logits: String,
    /// f32 `[N,K]`, calibrated.
    pub probabilities: String,
    /// f32 `[N,k,h,w]`, Grad-CAM after ReLU.
    pub cam: String,
    /// i64 `[N,k]`, the label index of each map.
    pub cam_class: String,
    /// f32 `[N]`, distance to the training features; absent if the graph has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<String>,
}

impl Default for Outputs {
    /// The names that exported graphs have, without novelty.
    fn default() -> Self {
        Self {
            logits: "logits".to_owned(),
            probabilities: "probabilities".to_owned(),
            cam: "cam".to_owned(),
            cam_class: "cam_class".to_owned(),
            novelty: None,
        }
    }
}

/// An input and what the network made of it where it was packed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenCase {
    /// What it shows, for messages.
    pub name: String,
    /// Payload file: the prepared tensor, f32 little endian, `[C,H,W]`.
    pub input: String,
    /// Payload file: a [`GoldenOutputs`] as JSON.
    pub expected: String,
    /// How far an appliance may be from it.
    pub tolerance: GoldenTolerance,
}

/// The named tolerances of a golden case: INT8 sums saturate on x86 without VNNI, and float kernels differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GoldenTolerance {
    /// Largest absolute difference of any probability.
    pub probability: f32,
    /// Largest L2 difference of a Grad-CAM map, relative to the expected map's L2 norm.
    pub cam_relative: f32,
    /// Largest relative difference of the novelty.
    pub novelty_relative: f32,
}

impl Default for GoldenTolerance {
    fn default() -> Self {
        Self {
            probability: 0.02,
            cam_relative: 0.05,
            novelty_relative: 0.05,
        }
    }
}

/// Expected outputs of a golden case for one image; a payload file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenOutputs {
    /// `[K]`.
    pub probabilities: Vec<f32>,
    /// `[k]`, label indices.
    pub cam_class: Vec<i64>,
    /// k, h and w.
    pub cam_shape: [usize; 3],
    /// `[k,h,w]`, row by row.
    pub cam: Vec<f32>,
    /// Absent if the graph has no such output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<f32>,
}

/// What a payload file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileKind {
    /// The network, ONNX.
    Model,
    /// A prepared tensor of a golden case.
    GoldenInput,
    /// What the network made of it.
    GoldenOutput,
    /// A table of numbers, such as a confusion matrix.
    Matrix,
    /// A report for people.
    Report,
    /// A licence or another notice.
    Notice,
}

/// One file of the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative path with `/`: letters, digits, `.`, `_`, `-`; no part is `.` or `..`.
    pub path: String,
    /// What it is for.
    pub kind: FileKind,
    /// Length in bytes.
    pub length: u64,
    /// Length of its zstd frame in the payload, in bytes.
    pub stored: u64,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// The index of the "no finding" label, which [`Manifest::check`] makes sure exists.
    #[must_use]
    pub fn no_finding_index(&self) -> Option<usize> {
        self.labels.iter().position(|l| l.no_finding)
    }

    /// The index of the label with this id.
    #[must_use]
    pub fn label_index(&self, id: &str) -> Option<usize> {
        self.labels.iter().position(|l| l.id == id)
    }

    /// The operating point of a label, by its index.
    #[must_use]
    pub fn operating_point(&self, label: usize) -> Option<&OperatingPoint> {
        let id = &self.labels.get(label)?.id;
        self.operating_points.iter().find(|p| &p.label == id)
    }

    /// The payload entry at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Number of f32 values of one input image, C x H x W.
    #[must_use]
    pub fn input_values(&self) -> u64 {
        let [height, width] = self.preprocess.size;
        u64::from(self.preprocess.channels) * u64::from(height) * u64::from(width)
    }
}

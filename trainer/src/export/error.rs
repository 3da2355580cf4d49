//! What can go wrong between a checkpoint and a bundle.

use std::path::{Path, PathBuf};

use super::gate::GateReport;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The run folder.
    #[error(transparent)]
    Run(#[from] crate::training::run::RunError),
    /// The data set or its split.
    #[error(transparent)]
    Data(#[from] crate::data::error::DataError),
    /// The data is not what the run was trained on.
    #[error(
        "{path}: the data set has changed since training (digest {found:.12}, the run says {wanted:.12}); \
         give the old one with --data, or train anew"
    )]
    DataChanged {
        /// Manifest or folder.
        path: PathBuf,
        /// Digest of the run.
        wanted: String,
        /// Digest of what is there now.
        found: String,
    },
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] crate::training::checkpoint::CheckpointError),
    /// The graph of the network or its heads.
    #[error("network: {0}")]
    Graph(#[from] onnx::graph::GraphError),
    /// The ONNX file.
    #[error(transparent)]
    Onnx(#[from] onnx::export::ExportError),
    /// A value could not be set in the finished file.
    #[error(transparent)]
    Patch(#[from] onnx::export::patch::PatchError),
    /// A file of the run is no ONNX model.
    #[error("{path}: not an ONNX model: {reason}; make it anew with `export` or `quantize`")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// The decoder's words.
        reason: String,
    },
    /// ONNX Runtime is missing or too old.
    #[error(transparent)]
    Library(#[from] onnx::runtime::LibraryError),
    /// ONNX Runtime refused a model or an image.
    #[error(transparent)]
    Session(#[from] onnx::runtime::SessionError),
    /// Quantization.
    #[error(transparent)]
    Quantize(#[from] onnx::quantize::QuantizeError),
    /// Linear algebra in libtorch.
    #[error("novelty statistics: {0}")]
    Torch(#[from] tch::TchError),
    /// A step before this one was not taken.
    #[error("{path} is missing; run `scanside-trainer {verb} --run {run}` first", path = .path.display(), run = .run.display())]
    StepMissing {
        /// What is not there.
        path: PathBuf,
        /// The verb that makes it.
        verb: &'static str,
        /// The run folder.
        run: PathBuf,
    },
    /// A side of the split has nothing that can be read.
    #[error("the {side} side of the split has no readable image{detail}; {side} images decide {purpose}")]
    NoImages {
        /// `training`, `validation`.
        side: &'static str,
        /// What they are needed for.
        purpose: &'static str,
        /// The first reason, if images were there.
        detail: String,
    },
    /// A label has no validation image, so that nothing can be chosen for it.
    #[error(
        "no validation image {which} `{label}`: its operating point cannot be chosen; give more data, or a larger \
         share to validation (data.split.fractions)"
    )]
    NoOperatingPoint {
        /// The label.
        label: String,
        /// `of` or `of another label than`.
        which: &'static str,
    },
    /// No label means "no finding".
    #[error(
        "none of the labels {labels} means `no finding flagged`; name it in the recipe as operating_point.no_finding"
    )]
    NoFindingLabel {
        /// The labels.
        labels: String,
    },
    /// Two labels have the same stable name.
    #[error("the labels `{first}` and `{second}` would both be called `{id}` in the bundle; rename one (data.mapping)")]
    LabelTwice {
        /// One label.
        first: String,
        /// The other.
        second: String,
        /// The name.
        id: String,
    },
    /// A bundle cannot hold the labels.
    #[error("the labels {labels} cannot stand in a bundle: {source}; rename them in the recipe with data.mapping")]
    Labels {
        /// The labels of the data.
        labels: String,
        /// What is wrong.
        source: bundle::manifest::ManifestError,
    },
    /// INT8 lost more than the recipe allows.
    #[error("the parity gate does not hold, so no bundle is written: {}", .0.message())]
    GateFailed(Box<GateReport>),
    /// The gate was judged on another file than the one to pack.
    #[error("{path}: the INT8 file is not the one that the gate was judged on; run `scanside-trainer gate` again", path = .path.display())]
    GateStale {
        /// The INT8 file.
        path: PathBuf,
    },
    /// Preprocessing of a phantom.
    #[error("golden case: {0}")]
    Golden(#[from] imaging::preprocess::PreprocessError),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::BundleError),
    /// A bundle was refused.
    #[error("{path}: {source}", path = .path.display())]
    BundleFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: bundle::BundleError,
    },
    /// The key that signs or verifies.
    #[error(transparent)]
    Key(#[from] bundle::sign::SignError),
    /// A plot.
    #[error(transparent)]
    Plot(#[from] crate::report::plots::PlotError),
    /// Input and output.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file of the run folder cannot be understood.
    #[error("{path}: {reason}; make it anew", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted; go on with `scanside-trainer export`, `quantize`, `gate` and `pack`")]
    Interrupted,
}

/// The kinds of failure that have an exit code of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Input and output, and what has no kind of its own.
    Failed,
    /// Command line, recipe, order of the steps.
    Usage,
    /// The data was refused.
    Refused,
    /// A gate, signature or digest did not hold.
    Verification,
    /// A native library.
    Native,
}

impl ExportError {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(_)
            | Self::StepMissing { .. }
            | Self::NoFindingLabel { .. }
            | Self::LabelTwice { .. }
            | Self::Labels { .. }
            | Self::Key(_)
            | Self::Graph(_) => Kind::Usage,
            Self::Data(_) | Self::NoImages { .. } | Self::NoOperatingPoint { .. } => Kind::Refused,
            Self::DataChanged { .. } | Self::GateFailed(_) | Self::GateStale { .. } => Kind::Verification,
            Self::Bundle(source) | Self::BundleFile { source, .. } if !source.is_io() => Kind::Verification,
            Self::Library(_) | Self::Session(_) => Kind::Native,
            _ => Kind::Failed,
        }
    }

    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

//! What can go wrong with a session.

use std::path::{Path, PathBuf};

use crate::runtime::library::Runtime;

/// What can go wrong with a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The model file cannot be read.
    #[error("cannot read the model {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// ONNX Runtime refuses the model.
    #[error("ONNX Runtime {version} cannot load the model{}: {reason}", named(.path))]
    Load {
        /// The file, where the model came from one.
        path: Option<PathBuf>,
        /// Version of the library.
        version: String,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// An option or a provider that this library does not have.
    #[error("ONNX Runtime {version} refuses {what}: {reason}")]
    Option {
        /// The option or provider.
        what: String,
        /// Version of the library.
        version: String,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// The inputs are not those of the model.
    #[error("the model takes the inputs [{expected}], not [{found}]")]
    Inputs {
        /// Names that the model has.
        expected: String,
        /// Names that were given.
        found: String,
    },
    /// An input has a shape that the model does not take.
    #[error("input `{name}` has shape {found:?}, the model takes {expected:?} (None: any extent)")]
    Shape {
        /// Name of the input.
        name: String,
        /// Extents of the model.
        expected: Vec<Option<usize>>,
        /// Extents that were given.
        found: Vec<usize>,
    },
    /// An input is not in row-major order.
    #[error("input `{name}` is not contiguous in row-major order; copy it with `as_standard_layout`")]
    Layout {
        /// Name of the input.
        name: String,
    },
    /// There is no such output, or it has another element type.
    #[error("no output `{name}` of type {wanted}; the model gives [{known}]")]
    Output {
        /// Name that was asked for.
        name: String,
        /// Element type that was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A run failed inside ONNX Runtime.
    #[error("inference failed: {reason}")]
    Run {
        /// ONNX Runtime's words.
        reason: String,
    },
    /// The record of which provider ran cannot be read.
    #[error("the profile of the first inference cannot be read: {reason}")]
    Profile {
        /// Why.
        reason: String,
    },
}

fn named(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default()
}

pub(super) fn run_error<R>(error: ort::Error<R>) -> SessionError {
    SessionError::Run {
        reason: error.to_string(),
    }
}

pub(super) fn load_error(runtime: &Runtime, path: Option<&Path>) -> impl FnOnce(ort::Error) -> SessionError {
    let version = runtime.library().version.clone();
    let path = path.map(Path::to_path_buf);
    move |error| SessionError::Load {
        path,
        version,
        reason: error.to_string(),
    }
}

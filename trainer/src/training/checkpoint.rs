//! Parameters alone (`best.safetensors`, torchvision's names) and the whole state of a run (`last.safetensors`), both
//! written so that a crash leaves the old file or the new one.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::fusion::RatioPoint;
use super::weights::{self, WeightsError};
use crate::autograd::Parameters;
use crate::autograd::parameters::array_of;
use crate::replace::replace;

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Input and output.
    #[error("checkpoint {path}: {source}{hint}", path = path.display(), hint = hint(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Reason of the operating system.
        source: std::io::Error,
    },
    /// A tensor could not be brought from or to the device.
    #[error("checkpoint {path}, tensor {name:?}: {source}", path = path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// libtorch's message.
        source: TchError,
    },
    /// The file is no checkpoint of this program, or is damaged.
    #[error("checkpoint {path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be read as weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Where a run stands, apart from its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whole epochs done.
    pub epochs_done: u64,
    /// Batches of the epoch under way that are done.
    pub batches_done: u64,
    /// Optimizer steps done in all.
    pub step: u64,
    /// Sums over the epoch under way.
    pub sums: EpochSums,
    /// Epoch (from 1) of the best validation figure.
    pub best_epoch: Option<u64>,
    /// That figure.
    #[serde(with = "exact::optional")]
    pub best_value: Option<f64>,
    /// Whether training ended: all epochs done, or stopped early.
    pub finished: bool,
}

/// Running sums over the batches of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Sum of the losses, each weighted by its batch.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Images classified rightly.
    pub correct: u64,
    /// Images seen.
    pub images: u64,
    /// Sum of the gradient's norms.
    #[serde(with = "exact")]
    pub gradient_norm: f64,
    /// Steps taken.
    pub steps: u64,
    /// Seconds of work.
    pub seconds: f64,
    /// Of a fusion: where the ratio between its members stood.
    #[serde(default)]
    pub ratio_path: Vec<RatioPoint>,
}

/// Numbers as their bits: a resumed run must go on with the very same, and decimal JSON may be read one bit off.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }

    /// The same for a number that may be absent.
    pub mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
            value.map(f64::to_bits).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(f64::from_bits))
        }
    }
}

const PARAMETER: &str = "parameter/";
const OPTIMIZER: &str = "optimizer/";
const STATE: &str = "scanside.training_state";

/// Writes the parameters alone, under their own names, in float32.
///
/// # Errors
/// [`CheckpointError`]; the old file then stands unchanged.
pub fn save_parameters(path: &Path, parameters: &Parameters) -> Result<(), CheckpointError> {
    let tensors = parameters
        .iter()
        .map(|(name, entry)| (name.to_owned(), entry.tensor.shallow_clone()));
    save_tensors(path, tensors.collect())
}

/// Writes tensors alone, under these names, in float32.
///
/// # Errors
/// [`CheckpointError`]; the old file then stands unchanged.
pub fn save_tensors(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<(), CheckpointError> {
    write(path, tensors, None)
}

/// Reads parameters that [`save_parameters`] wrote.
///
/// # Errors
/// [`CheckpointError`].
pub fn load_parameters(path: &Path) -> Result<onnx::parameters::Parameters, CheckpointError> {
    weights::read(path)?
        .into_iter()
        .map(|(name, tensor)| match array_of(&tensor) {
            Ok(array) => Ok((name, array)),
            Err(source) => Err(CheckpointError::Tensor {
                path: path.to_owned(),
                name,
                source,
            }),
        })
        .collect()
}

/// Writes tensors by name, and where the run stands beside them.
///
/// # Errors
/// [`CheckpointError`]; the old file then stands unchanged.
pub fn save<S: Serialize>(path: &Path, tensors: Vec<(String, Tensor)>, state: &S) -> Result<(), CheckpointError> {
    let text = serde_json::to_string(state).map_err(|error| malformed(path, error))?;
    write(path, tensors, Some((STATE.to_owned(), text)))
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// [`CheckpointError`].
pub fn load<S: DeserializeOwned>(path: &Path) -> Result<(IndexMap<String, Tensor>, S), CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::File {
        path: path.to_owned(),
        source,
    })?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| malformed(path, error))?;
    let state = header
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(STATE))
        .ok_or_else(|| malformed(path, "it holds weights but no state of a run"))?;
    let state = serde_json::from_str(state).map_err(|error| malformed(path, error))?;
    Ok((weights::read(path)?, state))
}

/// Writes everything that the training of a classifier needs to go on.
///
/// # Errors
/// As [`save`].
pub fn save_state(
    path: &Path,
    parameters: &Parameters,
    optimizer: &IndexMap<String, Tensor>,
    state: &State,
) -> Result<(), CheckpointError> {
    let parameters = parameters
        .iter()
        .map(|(name, entry)| (format!("{PARAMETER}{name}"), entry.tensor.shallow_clone()));
    let optimizer = optimizer
        .iter()
        .map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor.shallow_clone()));
    save(path, parameters.chain(optimizer).collect(), state)
}

/// What [`save_state`] wrote.
#[derive(Debug)]
pub struct Saved {
    /// Parameters by name.
    pub parameters: IndexMap<String, Tensor>,
    /// The optimizer's state.
    pub optimizer: IndexMap<String, Tensor>,
    /// Where the run stood.
    pub state: State,
}

/// Reads a whole state.
///
/// # Errors
/// [`CheckpointError`].
pub fn load_state(path: &Path) -> Result<Saved, CheckpointError> {
    let (tensors, state) = load(path)?;
    let mut saved = Saved {
        parameters: IndexMap::new(),
        optimizer: IndexMap::new(),
        state,
    };
    for (name, tensor) in tensors {
        if let Some(name) = name.strip_prefix(PARAMETER) {
            saved.parameters.insert(name.to_owned(), tensor);
        } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
            saved.optimizer.insert(name.to_owned(), tensor);
        }
    }
    Ok(saved)
}

/// What to do about a full disk.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; the checkpoint before it is whole: make room, and go on with --resume"
        }
        _ => "",
    }
}

fn malformed(path: &Path, reason: impl std::fmt::Display) -> CheckpointError {
    CheckpointError::Malformed {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Writes float32 tensors beside the file and renames: a reader sees the old file or the new one, whole.
fn write(
    path: &Path,
    tensors: Vec<(String, Tensor)>,
    metadata: Option<(String, String)>,
) -> Result<(), CheckpointError> {
    let mut blobs = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let bytes = bytes_of(&tensor).map_err(|source| CheckpointError::Tensor {
            path: path.to_owned(),
            name: name.clone(),
            source,
        })?;
        let shape: Vec<usize> = tensor.size().iter().map(|extent| *extent as usize).collect();
        blobs.push((name, shape, bytes));
    }
    let views = blobs
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(|error| malformed(path, error))?;
    let metadata = metadata.map(|entry| HashMap::from([entry]));
    replace(path, |_, new| {
        safetensors::serialize_to_file(views, metadata, new).map_err(|error| match error {
            SafeTensorError::IoError(error) => error,
            other => io::Error::other(other),
        })
    })
    .map_err(|source| CheckpointError::File {
        path: path.to_owned(),
        source,
    })
}

fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let flat = tensor
        .detach()
        .f_to_device(tch::Device::Cpu)?
        .f_to_kind(Kind::Float)?
        .f_contiguous()?
        .f_reshape([-1])?;
    let mut bytes = vec![0; flat.numel() * size_of::<f32>()];
    flat.f_copy_data_u8(&mut bytes, flat.numel())?;
    Ok(bytes)
}

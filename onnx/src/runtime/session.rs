//! A model loaded into ONNX Runtime, run again and again into the same buffers.

mod error;
mod kept;
mod options;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use ndarray::ArrayViewD;
use ort::session::{SessionInputValue, SessionOutputs};
use ort::value::{Outlet, PrimitiveTensorElementType, TensorRef, ValueType};

use self::error::{load_error, run_error};
use self::kept::KeptOutputs;
use self::options::configure;
use super::library::Runtime;
use super::provider::ProviderUse;

pub use error::SessionError;
pub use options::{Optimisation, SessionOptions};

/// What is known of an input or output before it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Element type in ONNX Runtime's words, such as `f32` or `i64`.
    pub element: String,
    /// Extents; None for one that the model leaves open, such as the batch.
    pub shape: Vec<Option<usize>>,
}

/// A model that is ready to run.
pub struct Session {
    session: ort::session::Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    kept: Option<KeptOutputs>,
    profile: Profile,
}

#[derive(Debug)]
enum Profile {
    Off,
    /// The folder lives as long as ONNX Runtime writes to it.
    Running {
        _folder: tempfile::TempDir,
    },
    Known(ProviderUse),
}

impl Session {
    /// Loads a model from memory; the bytes are not needed afterwards.
    ///
    /// # Errors
    /// [`SessionError::Option`] for a provider or option that the library lacks,
    /// [`SessionError::Load`] for a model that it does not accept.
    pub fn from_bytes(runtime: &Runtime, model: &[u8], options: &SessionOptions) -> Result<Self, SessionError> {
        let (mut builder, profile) = configure(runtime, options)?;
        let session = builder.commit_from_memory(model).map_err(load_error(runtime, None))?;
        Ok(Self::new(session, profile))
    }

    /// Loads a model from a file.
    ///
    /// # Errors
    /// As [`Session::from_bytes`], and [`SessionError::Read`] for a file that cannot be read.
    pub fn from_path(runtime: &Runtime, path: &Path, options: &SessionOptions) -> Result<Self, SessionError> {
        std::fs::File::open(path).map_err(|source| SessionError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let (mut builder, profile) = configure(runtime, options)?;
        let session = builder
            .commit_from_file(path)
            .map_err(load_error(runtime, Some(path)))?;
        Ok(Self::new(session, profile))
    }

    fn new(session: ort::session::Session, profile: Profile) -> Self {
        let ports = |outlets: &[Outlet]| outlets.iter().map(port).collect();
        Self {
            inputs: ports(session.inputs()),
            outputs: ports(session.outputs()),
            session,
            kept: None,
            profile,
        }
    }

    /// Inputs of the model, in its order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// Outputs of the model, in its order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The model's own named text values (`metadata_props`).
    ///
    /// # Errors
    /// [`SessionError::Run`] if ONNX Runtime does not give them.
    pub fn metadata(&self) -> Result<HashMap<String, String>, SessionError> {
        let metadata = self.session.metadata().map_err(run_error)?;
        let keys = metadata.custom_keys().map_err(run_error)?;
        Ok(keys
            .into_iter()
            .filter_map(|k| metadata.custom(&k).map(|v| (k, v)))
            .collect())
    }

    /// Runs the model once. `inputs` are the model's inputs by name, contiguous in row-major order.
    ///
    /// The outputs lie in buffers of this session, and the next run writes over them.
    ///
    /// # Errors
    /// [`SessionError`] with the input or output at fault.
    pub fn run(&mut self, inputs: &[(&str, ArrayViewD<'_, f32>)]) -> Result<Outputs<'_>, SessionError> {
        self.check(inputs)?;
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, array) in inputs {
            let slice = array.as_slice().ok_or_else(|| SessionError::Layout {
                name: (*name).to_owned(),
            })?;
            let tensor = TensorRef::from_array_view((array.shape().to_vec(), slice));
            values.push((name, tensor.map_err(run_error)?.into()));
        }
        let same_shape = self.kept.as_ref().is_some_and(|kept| {
            kept.input_shapes
                .iter()
                .map(Vec::as_slice)
                .eq(inputs.iter().map(|(_, a)| a.shape()))
        });
        if matches!(self.profile, Profile::Running { .. }) {
            drop(self.session.run(values).map_err(run_error)?);
            self.finish_profile()?;
            // The profiled run only answers which provider ran; the results come from a plain one.
            return self.run(inputs);
        }
        if !same_shape {
            let outputs = self.session.run(values).map_err(run_error)?;
            let shapes = inputs.iter().map(|(_, array)| array.shape().to_vec()).collect();
            self.kept = KeptOutputs::of(&outputs, shapes);
            return Ok(Outputs { values: outputs });
        }
        let outputs = match &mut self.kept {
            Some(kept) => self.session.run_with_options(values, kept.buffers()?),
            None => self.session.run(values),
        };
        Ok(Outputs {
            values: outputs.map_err(run_error)?,
        })
    }

    fn check(&self, inputs: &[(&str, ArrayViewD<'_, f32>)]) -> Result<(), SessionError> {
        let expected = |port: &Port| inputs.iter().any(|(name, _)| *name == port.name);
        if inputs.len() != self.inputs.len() || !self.inputs.iter().all(expected) {
            let own: Vec<&str> = self.inputs.iter().map(|port| port.name.as_str()).collect();
            let given: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
            return Err(SessionError::Inputs {
                expected: own.join(", "),
                found: given.join(", "),
            });
        }
        for (name, array) in inputs {
            let fits = self.inputs.iter().find(|port| port.name == *name).is_none_or(|port| {
                port.shape.len() == array.ndim()
                    && port
                        .shape
                        .iter()
                        .zip(array.shape())
                        .all(|(e, f)| e.is_none_or(|e| e == *f))
            });
            if !fits {
                let port = self.inputs.iter().find(|port| port.name == *name);
                return Err(SessionError::Shape {
                    name: (*name).to_owned(),
                    expected: port.map(|port| port.shape.clone()).unwrap_or_default(),
                    found: array.shape().to_vec(),
                });
            }
        }
        Ok(())
    }

    fn finish_profile(&mut self) -> Result<(), SessionError> {
        let file = self.session.end_profiling().map_err(run_error)?;
        let used = ProviderUse::from_profile(Path::new(&file)).map_err(|reason| SessionError::Profile { reason })?;
        tracing::info!(providers = ?used.nodes, "providers that ran");
        self.profile = Profile::Known(used);
        Ok(())
    }

    /// What the first run showed: None before it, and where nothing but the processor was asked for
    /// (unless [`SessionOptions::profile_first_run`]).
    pub fn provider_use(&self) -> Option<&ProviderUse> {
        match &self.profile {
            Profile::Known(used) => Some(used),
            Profile::Off | Profile::Running { .. } => None,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

/// The outputs of one run.
pub struct Outputs<'a> {
    values: SessionOutputs<'a>,
}

impl Outputs<'_> {
    /// The output `name`, viewed where it lies.
    ///
    /// # Errors
    /// [`SessionError::Output`] if there is no such output of this element type.
    pub fn array<T: PrimitiveTensorElementType>(&self, name: &str) -> Result<ArrayViewD<'_, T>, SessionError> {
        let value = (!name.is_empty()).then(|| self.values.get(name)).flatten();
        let array = value.and_then(|value| value.try_extract_array::<T>().ok());
        array.ok_or_else(|| SessionError::Output {
            name: name.to_owned(),
            wanted: T::into_tensor_element_type().to_string(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// Names of the outputs, in the model's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys()
    }
}

fn port(outlet: &Outlet) -> Port {
    let (element, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let extents = shape.iter().map(|extent| usize::try_from(*extent).ok());
            (ty.to_string(), extents.collect())
        }
        other => (other.to_string(), Vec::new()),
    };
    Port {
        name: outlet.name().to_owned(),
        element,
        shape,
    }
}

#[cfg(test)]
mod tests;

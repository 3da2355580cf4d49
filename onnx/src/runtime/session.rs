//! A model loaded into ONNX Runtime, run again and again into the same buffers.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ndarray::ArrayViewD;
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue, SessionOutputs};
use ort::value::{DynTensor, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use super::library::Runtime;
use super::provider::{Provider, ProviderUse};

/// How much ONNX Runtime rewrites a graph before running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Optimisation {
    /// Nothing: the graph as written.
    None,
    /// Constant folding and removal of what is redundant.
    Basic,
    /// Fusions too; the graph can still be saved and run on any machine.
    Extended,
    /// Layouts of this processor too. The appliance runs this.
    #[default]
    All,
}

/// How a session is built.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Threads inside one operator; 0 lets ONNX Runtime take one a core.
    pub intra_threads: usize,
    /// Operators that run at once; 1 runs them one after the other.
    pub inter_threads: usize,
    /// How much the graph is rewritten.
    pub optimisation: Optimisation,
    /// Weights are laid out for the kernels once, at load: faster runs for more memory.
    pub prepacking: bool,
    /// Idle threads of the pool busy-wait for work: faster with several threads, at a core's cost each.
    pub spinning: bool,
    /// Memory of a run is kept for the next one instead of going back to the system.
    pub memory_arena: bool,
    /// Providers in order of preference; one that is named and missing is an error. The processor
    /// ([`Provider::Cpu`]) takes whatever the others leave, named or not.
    pub providers: Vec<Provider>,
    /// Records which providers the first run used even where only the processor is asked for.
    pub profile_first_run: bool,
    /// Writes the rewritten graph to this file, for a look at what was fused.
    pub optimised_model_path: Option<PathBuf>,
}

impl Default for SessionOptions {
    /// One thread on the processor, everything optimised.
    fn default() -> Self {
        Self {
            intra_threads: 1,
            inter_threads: 1,
            optimisation: Optimisation::All,
            prepacking: true,
            spinning: false,
            memory_arena: true,
            providers: vec![Provider::Cpu],
            profile_first_run: false,
            optimised_model_path: None,
        }
    }
}

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

/// A model that is ready to run.
pub struct Session {
    session: ort::session::Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    kept: Option<KeptOutputs>,
    profile: Profile,
}

/// Outputs of the last shape of input, and buffers for them once that shape comes again: a model
/// that is run once, or with another batch each time, needs none.
struct KeptOutputs {
    input_shapes: Vec<Vec<usize>>,
    outputs: Vec<(String, TensorElementType, Vec<i64>)>,
    buffers: Option<RunOptions<HasSelectedOutputs>>,
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

impl KeptOutputs {
    /// Notes the outputs' types and shapes. None if one of them has no plain buffer.
    fn of(outputs: &SessionOutputs<'_>, input_shapes: Vec<Vec<usize>>) -> Option<Self> {
        let described = outputs.iter().map(|(name, value)| match value.dtype() {
            ValueType::Tensor { ty, shape, .. } if *ty != TensorElementType::String && shape.num_elements() > 0 => {
                Some((name.to_owned(), *ty, shape.to_vec()))
            }
            _ => None,
        });
        Some(Self {
            input_shapes,
            outputs: described.collect::<Option<_>>()?,
            buffers: None,
        })
    }

    /// Run options that write into the buffers, which are made the first time.
    fn buffers(&mut self) -> Result<&RunOptions<HasSelectedOutputs>, SessionError> {
        let options = match self.buffers.take() {
            Some(options) => options,
            None => {
                let allocator = Allocator::default();
                let mut selector = OutputSelector::default();
                for (name, ty, shape) in &self.outputs {
                    let tensor = DynTensor::new(&allocator, *ty, shape.clone()).map_err(run_error)?;
                    selector = selector.preallocate(name, tensor);
                }
                RunOptions::new().map_err(run_error)?.with_outputs(selector)
            }
        };
        Ok(self.buffers.insert(options))
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

fn run_error<R>(error: ort::Error<R>) -> SessionError {
    SessionError::Run {
        reason: error.to_string(),
    }
}

fn load_error(runtime: &Runtime, path: Option<&Path>) -> impl FnOnce(ort::Error) -> SessionError {
    let version = runtime.library().version.clone();
    let path = path.map(Path::to_path_buf);
    move |error| SessionError::Load {
        path,
        version,
        reason: error.to_string(),
    }
}

/// A builder with the options set, and the place of the profile if one is taken.
fn configure(runtime: &Runtime, options: &SessionOptions) -> Result<(SessionBuilder, Profile), SessionError> {
    let refuse = |what: &str, reason: String| SessionError::Option {
        what: what.to_owned(),
        version: runtime.library().version.clone(),
        reason,
    };
    let named = |what: &'static str| move |e: ort::Error<SessionBuilder>| refuse(what, e.to_string());
    let level = match options.optimisation {
        Optimisation::None => GraphOptimizationLevel::Disable,
        Optimisation::Basic => GraphOptimizationLevel::Level1,
        Optimisation::Extended => GraphOptimizationLevel::Level2,
        Optimisation::All => GraphOptimizationLevel::All,
    };
    let mut builder = SessionBuilder::new(runtime.environment())
        .map_err(|e| refuse("session options", e.to_string()))?
        .with_log_level(LogLevel::Error)
        .map_err(named("the log level"))?
        .with_optimization_level(level)
        .map_err(named("the optimisation level"))?
        .with_prepacking(options.prepacking)
        .map_err(named("prepacking"))?;
    builder = threads(builder, options).map_err(|e| refuse("the thread counts", e.to_string()))?;
    builder =
        providers(builder, options).map_err(|(provider, e)| refuse(&format!("provider {provider}"), e.to_string()))?;
    if let Some(path) = &options.optimised_model_path {
        builder = builder
            .with_optimized_model_path(path)
            .map_err(named("the optimised model's path"))?;
    }
    let only_processor = options.providers.iter().all(|p| *p == Provider::Cpu);
    if only_processor && !options.profile_first_run {
        return Ok((builder, Profile::Off));
    }
    let folder = tempfile::tempdir().map_err(|e| SessionError::Profile { reason: e.to_string() })?;
    let builder = builder
        .with_profiling(folder.path().join("run"))
        .map_err(named("profiling"))?;
    Ok((builder, Profile::Running { _folder: folder }))
}

fn threads(builder: SessionBuilder, options: &SessionOptions) -> ort::Result<SessionBuilder> {
    let builder = builder
        .with_intra_threads(options.intra_threads)?
        .with_inter_threads(options.inter_threads)?
        .with_parallel_execution(options.inter_threads > 1)?
        .with_intra_op_spinning(options.spinning)?
        .with_inter_op_spinning(options.spinning)?;
    Ok(builder)
}

fn providers(mut builder: SessionBuilder, options: &SessionOptions) -> Result<SessionBuilder, (Provider, ort::Error)> {
    for provider in &options.providers {
        builder = builder
            .with_execution_providers([provider.dispatch(options.memory_arena)])
            .map_err(|e| (*provider, e.into()))?;
    }
    if !options.providers.contains(&Provider::Cpu) {
        let processor = [Provider::Cpu.dispatch(options.memory_arena)];
        builder = builder
            .with_execution_providers(processor)
            .map_err(|e| (Provider::Cpu, e.into()))?;
    }
    Ok(builder)
}

#[cfg(test)]
mod tests;

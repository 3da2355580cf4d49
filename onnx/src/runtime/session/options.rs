//! How a session is built.

use std::path::PathBuf;

use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::{Profile, SessionError};
use crate::runtime::library::Runtime;
use crate::runtime::provider::{Provider, saturates_u8s8};

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

/// ONNX Runtime's key for slower 8-bit products (U8U8) that are exact on x86 without VNNI. Exact is what every other processor
/// is; saturated ones cost a small network most of its sense (docs/decisions/0018).
const WIDE_8_BIT: &str = "session.x64quantprecision";

/// A builder with the options set, and the place of the profile if one is taken.
pub(super) fn configure(
    runtime: &Runtime,
    options: &SessionOptions,
) -> Result<(SessionBuilder, Profile), SessionError> {
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
    if saturates_u8s8() {
        builder = builder
            .with_config_entry(WIDE_8_BIT, "1")
            .map_err(named("8-bit products that do not saturate"))?;
    }
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

//! A recipe's network: its graph, which parts learn, and its first weights.

use std::path::Path;

use onnx::graph::{Graph, GraphError};
use onnx::networks::small_cnn::{DEFAULT_WIDTH, SmallCnnConfig, small_cnn};
use onnx::networks::{ImageClassifier, Ratio, covid_net, fusion::fusion, resnet::resnet};
use tch::{Device, TchError};

use super::checkpoint::{self, CheckpointError};
use super::run::{RunError, RunFolder};
use super::step::Network;
use super::weights::{self, Taken, WeightsError};
use crate::autograd::{Interpreter, InterpreterError, MemoryOrder, Mode, Modes, ParameterError, Parameters};
use crate::recipes::{Architecture, FusionRatio, NetworkSection, Recipe};

/// Why a recipe's network cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The architecture does not take this configuration.
    #[error("network: {0}")]
    Graph(#[from] GraphError),
    /// `network.freeze` names nothing.
    #[error("network.freeze = {name:?} fits no part of {network}; allowed: the stages {stages}, or a module's path")]
    NoSuchPart {
        /// What the recipe names.
        name: String,
        /// The architecture.
        network: String,
        /// Its stages.
        stages: String,
    },
    /// Parameters cannot be made.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The first weights cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The first weights cannot be copied.
    #[error("the weights cannot be copied: {0}")]
    Copy(#[from] TchError),
    /// A file does not hold the whole of a fused network.
    #[error(
        "{path}: is no trained {network}: {name:?} is missing or has another shape; a member of a fusion is trained on \
         the same labels and channels", path = path.display()
    )]
    Member {
        /// The file.
        path: std::path::PathBuf,
        /// The member's architecture.
        network: String,
        /// The first parameter that is missing.
        name: String,
    },
    /// None of the file's tensors fits.
    #[error("{path}: no tensor fits {network} and what is to be taken (`take`); its tensors begin with: {found}", path = path.display())]
    NothingTaken {
        /// The file.
        path: std::path::PathBuf,
        /// The architecture.
        network: String,
        /// First names in the file.
        found: String,
    },
}

/// The recipe's network for this many classes, without heads.
///
/// # Errors
/// [`GraphError`] for a size that the architecture does not take.
pub fn build(recipe: &Recipe, classes: usize) -> Result<Graph, GraphError> {
    let image = ImageClassifier {
        classes,
        channels: usize::from(recipe.preprocess.channels),
        size: recipe.preprocess.size.map(|extent| extent as usize),
    };
    let Some(section) = &recipe.network.fusion else {
        return one(recipe.network.architecture, image);
    };
    let members = section.members.iter().map(|member| one(member.architecture, image));
    let ratio = match section.ratio {
        FusionRatio::Global => Ratio::Global,
        FusionRatio::PerClass => Ratio::PerClass,
    };
    fusion(&members.collect::<Result<Vec<_>, _>>()?, ratio)
}

/// A network that is not made of others.
fn one(architecture: Architecture, image: ImageClassifier) -> Result<Graph, GraphError> {
    match architecture {
        Architecture::SmallCnn => small_cnn(&SmallCnnConfig {
            image,
            width: DEFAULT_WIDTH,
        }),
        Architecture::CovidNet => covid_net(&image),
        // A recipe without members does not pass its check; this says what is missing.
        Architecture::Fusion => fusion(&[], Ratio::Global),
        Architecture::Resnet18 => resnet(18, &image),
        Architecture::Resnet34 => resnet(34, &image),
        Architecture::Resnet50 => resnet(50, &image),
        Architecture::Resnet101 => resnet(101, &image),
        Architecture::Resnet152 => resnet(152, &image),
    }
}

/// The modes of training in the epoch after `epochs_done`: what `network.freeze` names (a stage, or a module's path) is
/// frozen until `network.unfreeze_after_epochs`.
///
/// # Errors
/// [`NetworkError::NoSuchPart`].
pub fn training_modes(section: &NetworkSection, graph: &Graph, epochs_done: u64) -> Result<Modes, NetworkError> {
    let thawed = section
        .unfreeze_after_epochs
        .is_some_and(|epochs| epochs_done >= epochs as u64);
    let frozen = frozen_modules(graph, &section.freeze)?;
    let modes = Modes::all(Mode::Train);
    Ok(match thawed {
        true => modes,
        false => frozen
            .into_iter()
            .fold(modes, |modes, module| modes.with(module, Mode::Frozen)),
    })
}

/// The modules that these names mean: stages, or modules' paths.
///
/// # Errors
/// [`NetworkError::NoSuchPart`].
pub fn frozen_modules(graph: &Graph, names: &[String]) -> Result<Vec<String>, NetworkError> {
    let found = names.iter().map(|name| modules(graph, name));
    Ok(found.collect::<Result<Vec<_>, _>>()?.concat())
}

fn modules(graph: &Graph, name: &str) -> Result<Vec<String>, NetworkError> {
    if let Some(stage) = graph.stages().iter().find(|stage| stage.name == name) {
        return Ok(stage.modules.clone());
    }
    if graph.nodes().iter().any(|node| onnx::graph::is_under(&node.name, name)) {
        return Ok(vec![name.to_owned()]);
    }
    let stages: Vec<&str> = graph.stages().iter().map(|stage| stage.name.as_str()).collect();
    Err(NetworkError::NoSuchPart {
        name: name.to_owned(),
        network: graph.name().to_owned(),
        stages: stages.join(", "),
    })
}

/// Fresh parameters, and over them what `network.take` chooses of the weights file.
///
/// # Errors
/// [`NetworkError`].
pub fn first_parameters(
    recipe: &Recipe,
    graph: &Graph,
    weights: Option<&Path>,
    device: Device,
) -> Result<(Parameters, Option<Taken>), NetworkError> {
    let order = match recipe.train.channels_last {
        true => MemoryOrder::ChannelsLast,
        false => MemoryOrder::ChannelsFirst,
    };
    let mut parameters = Parameters::initialise(graph, recipe.train.seed, device, order)?;
    let Some(path) = weights else {
        return Ok((parameters, None));
    };
    let taken = take(&mut parameters, graph, path, &recipe.network.take)?;
    Ok((parameters, Some(taken)))
}

/// Copies what `prefixes` choose of a weights file into the parameters, and says what was taken.
///
/// # Errors
/// The file cannot be read, or nothing of it fits.
pub fn take(
    parameters: &mut Parameters,
    graph: &Graph,
    path: &Path,
    prefixes: &[String],
) -> Result<Taken, NetworkError> {
    let file = weights::read(path)?;
    let taken = weights::take(parameters, &file, prefixes)?;
    if taken.taken.is_empty() {
        let found: Vec<&str> = file.keys().take(4).map(String::as_str).collect();
        return Err(NetworkError::NothingTaken {
            path: path.to_owned(),
            network: graph.name().to_owned(),
            found: found.join(", "),
        });
    }
    Ok(taken)
}

/// Whether training can begin: the network, the parts that are frozen, and its first weights.
///
/// # Errors
/// [`NetworkError`], as training itself would end with.
pub fn check(recipe: &Recipe, classes: usize, weights: Option<&Path>) -> Result<(), NetworkError> {
    let graph = build(recipe, classes)?;
    training_modes(&recipe.network, &graph, 0)?;
    first_parameters(recipe, &graph, weights, Device::Cpu).map(drop)
}

/// The network of a finished run with the parameters of its best epoch.
///
/// # Errors
/// [`LoadError`].
pub fn load(run: &RunFolder, device: Device) -> Result<Network, LoadError> {
    let (recipe, record) = (run.recipe()?, run.record()?);
    let graph = build(&recipe, record.labels.len()).map_err(NetworkError::from)?;
    let saved = checkpoint::load_parameters(&run.best_checkpoint())?;
    let order = MemoryOrder::ChannelsFirst;
    let mut parameters = Parameters::initialise(&graph, 0, device, order).map_err(NetworkError::from)?;
    parameters.set_arrays(&saved).map_err(NetworkError::from)?;
    let interpreter = Interpreter::new(graph, device)?;
    Ok(Network {
        interpreter,
        parameters,
        device,
    })
}

/// Why the network of a run cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The graph's constants.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
}

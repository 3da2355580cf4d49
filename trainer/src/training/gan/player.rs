//! One side of the game: a network with its optimizer, and what bounds its weights.

use indexmap::IndexMap;
use onnx::graph::Graph;
use tch::{Device, Kind, Tensor};

use super::error::GanError;
use super::spectral::SpectralNorm;
use crate::autograd::{Interpreter, MemoryOrder, Modes, ParameterSource, Parameters};
use crate::native::Autocast;
use crate::training::optimizer::{Optimizer, Rule};
use crate::training::step::Network;

/// One side of the game.
#[derive(Debug)]
pub struct Player {
    /// Runs the graph with its parameters.
    pub network: Network,
    modes: Modes,
    optimizer: Optimizer,
    spectral: Option<SpectralNorm>,
    bf16: bool,
}

/// How a player learns.
#[derive(Clone, Debug)]
pub struct PlayerSettings {
    /// The optimizer.
    pub rule: Rule,
    /// Which parts learn.
    pub modes: Modes,
    /// Whether weights are bounded by their singular value.
    pub spectral_norm: bool,
    /// Convolutions and products in bfloat16.
    pub bf16: bool,
    /// Draws the first power iterations.
    pub seed: u64,
}

impl Player {
    /// A player with these first parameters.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(
        graph: Graph,
        parameters: Parameters,
        device: Device,
        settings: PlayerSettings,
    ) -> Result<Self, GanError> {
        let optimizer = Optimizer::new(settings.rule, &parameters, 0.0, |_| 1.0)?;
        let spectral = match settings.spectral_norm {
            true => Some(SpectralNorm::new(&parameters, settings.seed)?),
            false => None,
        };
        let interpreter = Interpreter::new(graph, device)?;
        Ok(Self {
            network: Network {
                interpreter,
                parameters,
                device,
            },
            modes: settings.modes,
            optimizer,
            spectral,
            bf16: settings.bf16,
        })
    }

    /// The output for these inputs while training, in float32.
    ///
    /// # Errors
    /// [`GanError`].
    pub fn run(&self, inputs: &[Tensor]) -> Result<Tensor, GanError> {
        self.run_in(self.bf16, inputs)
    }

    /// As [`Player::run`], in float32 throughout: second derivatives need it.
    ///
    /// # Errors
    /// [`GanError`].
    pub fn run_exactly(&self, inputs: &[Tensor]) -> Result<Tensor, GanError> {
        self.run_in(false, inputs)
    }

    fn run_in(&self, bf16: bool, inputs: &[Tensor]) -> Result<Tensor, GanError> {
        let _autocast = Autocast::begin(self.network.device, bf16);
        let normalised = match &self.spectral {
            Some(spectral) => Some(spectral.normalised(&self.network.parameters)?),
            None => None,
        };
        let source: &dyn ParameterSource = match &normalised {
            Some(normalised) => normalised,
            None => &self.network.parameters,
        };
        let values = self.network.interpreter.run(inputs, source, &self.modes, &[])?;
        Ok(values.first().f_to_kind(Kind::Float)?)
    }

    /// Begins a step: no gradients, and bounds that follow the weights.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn begin_step(&mut self) -> Result<(), GanError> {
        self.network.parameters.zero_gradients();
        if let Some(spectral) = &mut self.spectral {
            spectral.follow(&self.network.parameters)?;
        }
        Ok(())
    }

    /// Whether gradients reach the parameters; off while the other side learns through this one.
    pub fn set_learning(&self, learning: bool) {
        for (_, tensor) in self.network.parameters.trainable() {
            let _same = tensor.set_requires_grad(learning);
        }
    }

    /// Moves the parameters along the gradients at this rate.
    ///
    /// # Errors
    /// A gradient that is not finite; the parameters are then as they were.
    pub fn end_step(&mut self, rate: f64) -> Result<(), GanError> {
        self.optimizer.step(&self.network.parameters, rate, None)?;
        Ok(())
    }

    /// The parameters as they are used and exported: bounded, where they are.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn in_use(&self) -> Result<IndexMap<String, Tensor>, GanError> {
        let mut tensors = IndexMap::new();
        let normalised = match &self.spectral {
            Some(spectral) => Some(spectral.normalised(&self.network.parameters)?),
            None => None,
        };
        for (name, entry) in self.network.parameters.iter() {
            let bounded = normalised.as_ref().and_then(|bounded| bounded.tensor(name));
            tensors.insert(name.to_owned(), bounded.unwrap_or(&entry.tensor).detach());
        }
        Ok(tensors)
    }

    /// All that must be saved to go on, under this prefix.
    pub fn tensors(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for (name, entry) in self.network.parameters.iter() {
            tensors.push((format!("{prefix}/parameter/{name}"), entry.tensor.shallow_clone()));
        }
        for (name, tensor) in self.optimizer.state() {
            tensors.push((format!("{prefix}/optimizer/{name}"), tensor));
        }
        for (name, u) in self.spectral.iter().flat_map(SpectralNorm::vectors) {
            tensors.push((format!("{prefix}/spectral/{name}"), u.shallow_clone()));
        }
        tensors
    }

    /// Takes back what [`Player::tensors`] gave.
    ///
    /// # Errors
    /// [`GanError::State`] if it is of another network.
    pub fn restore(&mut self, prefix: &str, saved: &IndexMap<String, Tensor>) -> Result<(), GanError> {
        let missing = |name: String| GanError::State { name };
        let names: Vec<String> = self
            .network
            .parameters
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            let key = format!("{prefix}/parameter/{name}");
            let tensor = saved.get(&key).ok_or_else(|| missing(key.clone()))?;
            self.network.parameters.set(&name, tensor)?;
        }
        self.optimizer.restore(&under(saved, &format!("{prefix}/optimizer/")))?;
        if let Some(spectral) = &mut self.spectral {
            let vectors = under(saved, &format!("{prefix}/spectral/"));
            spectral.restore(&vectors).map_err(missing)?;
        }
        Ok(())
    }

    /// How its tensors lie in memory.
    #[must_use]
    pub fn order(&self) -> MemoryOrder {
        self.network.parameters.order()
    }
}

/// The tensors whose names begin so, without that beginning.
pub fn under(saved: &IndexMap<String, Tensor>, prefix: &str) -> IndexMap<String, Tensor> {
    let own =
        |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()));
    saved.iter().filter_map(own).collect()
}

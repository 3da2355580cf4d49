//! Images as features of a named network: the pooled output of a stage of a ResNet-18.

use std::path::Path;

use ndarray::{Array2, Axis};
use onnx::networks::{ResNetCriticConfig, resnet_critic};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use tch::{Device, TchError, Tensor};

use super::AssessError;
use crate::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};
use crate::data::manifest::hex;
use crate::training::network::{self, NetworkError};

/// Images at once.
const BATCH: i64 = 64;
/// Name of the pooled features in the graph.
const POOLED: &str = "pooled";

/// A network that gives features.
#[derive(Debug)]
pub struct Extractor {
    interpreter: Interpreter,
    parameters: Parameters,
    /// What it is, for the report: architecture, stage, and SHA-256 of its weights' file.
    pub name: String,
}

impl Extractor {
    /// A ResNet-18 up to stage `stages` (1 to 4) with these weights, for images of this size and number of channels.
    ///
    /// # Errors
    /// The weights cannot be read or do not fit.
    pub fn resnet18(
        weights: &Path,
        stages: usize,
        size: usize,
        channels: usize,
        device: Device,
    ) -> Result<Self, NetworkError> {
        let graph = resnet_critic(&ResNetCriticConfig {
            depth: 18,
            stages,
            size,
            channels,
            classes: None,
        })?;
        let mut parameters = Parameters::initialise(&graph, 0, device, MemoryOrder::ChannelsFirst)?;
        let used: Vec<String> = graph
            .stages()
            .iter()
            .filter(|stage| stage.name != "fc")
            .flat_map(|stage| stage.modules.clone())
            .collect();
        let taken = network::take(&mut parameters, &graph, weights, &used)?;
        let bytes = std::fs::read(weights).map_err(|error| TchError::FileFormat(error.to_string()))?;
        let missing = taken.missing.iter().filter(|name| !name.starts_with("fc.")).count();
        let digest = hex(&Sha256::digest(&bytes));
        let lacking = match missing {
            0 => String::new(),
            missing => format!(", {missing} of its tensors missing"),
        };
        let interpreter = Interpreter::new(graph, device).map_err(|error| TchError::Torch(error.to_string()))?;
        Ok(Self {
            interpreter,
            parameters,
            name: format!("ResNet-18, mean over layer{stages}, weights {}{lacking}", &digest[..16]),
        })
    }

    /// Features `[n,d]` of images `[n,C,H,W]` in [-1, 1].
    ///
    /// # Errors
    /// [`AssessError`].
    pub fn features(&self, images: &Tensor) -> Result<Array2<f64>, AssessError> {
        let mut rows = Vec::new();
        let (count, mut width) = (images.size()[0], 0);
        for from in (0..count).step_by(BATCH as usize) {
            let batch = images.f_narrow(0, from, BATCH.min(count - from))?;
            let values = tch::no_grad(|| {
                let modes = Modes::all(Mode::Eval);
                self.interpreter.run(&[batch], &self.parameters, &modes, &[POOLED])
            })?;
            let pooled = values
                .get(POOLED)
                .ok_or_else(|| TchError::Shape("no pooled features".into()))?;
            width = pooled.size()[1] as usize;
            let flat = pooled
                .f_to_device(Device::Cpu)?
                .f_to_kind(tch::Kind::Double)?
                .f_flatten(0, -1)?;
            rows.extend(Vec::<f64>::try_from(flat)?);
        }
        let shape = (count as usize, width);
        Array2::from_shape_vec(shape, rows).map_err(|error| TchError::Shape(error.to_string()).into())
    }
}

/// The rows in two halves, drawn from the seed.
#[must_use]
pub fn halves(rows: &Array2<f64>, seed: u64) -> (Array2<f64>, Array2<f64>) {
    let mut order: Vec<usize> = (0..rows.nrows()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let (one, other) = order.split_at(order.len() / 2);
    (rows.select(Axis(0), one), rows.select(Axis(0), other))
}

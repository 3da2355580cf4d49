//! A trained generator, ready to make or translate images.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

use tch::{Device, Kind, Tensor};

use super::build::graphs;
use super::error::GanError;
use crate::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};
use crate::data::manifest::hex;
use crate::recipes::{GanRecipe, Model};
use crate::seed;
use crate::training::checkpoint;
use crate::training::network::NetworkError;
use crate::training::run::{FirstWeights, RunError, RunFolder};

/// `run.json` of a generative run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GanRecord {
    /// Seed of weights, order, noise and augmentation.
    pub seed: u64,
    /// Manifest or folder that the images came from, absolute.
    pub data: PathBuf,
    /// SHA-256 of the manifest, in hex.
    pub data_digest: String,
    /// Labels in the order of the classes.
    pub labels: Vec<String>,
    /// Training images by label.
    pub training_images: BTreeMap<String, usize>,
    /// Revision of the source tree, if there is one.
    pub git_revision: Option<String>,
    /// Versions by name.
    pub versions: BTreeMap<String, String>,
    /// Device that trained.
    pub device: String,
    /// The discriminator's first weights and what was taken of them.
    pub weights: Option<FirstWeights>,
    /// Steps done.
    pub steps_done: u64,
    /// Returns to an earlier checkpoint.
    pub back_offs: u32,
}

/// A generator with what made it.
#[derive(Debug)]
pub struct Trained {
    /// Its recipe.
    pub recipe: GanRecipe,
    /// Its run.
    pub record: GanRecord,
    /// SHA-256 of its parameters' file, in hex: which generator made an image.
    pub digest: String,
    interpreter: Interpreter,
    parameters: Parameters,
}

impl Trained {
    /// The generator of a run.
    ///
    /// # Errors
    /// The run cannot be read, or has no generator yet.
    pub fn load(run: &RunFolder, device: Device) -> Result<Self, GanError> {
        let (recipe, record) = (run.gan_recipe()?, run.read_record::<GanRecord>()?);
        let path = run.generator();
        let bytes = std::fs::read(&path).map_err(|source| RunError::File {
            path: path.clone(),
            source,
        })?;
        let graph = graphs(&recipe, record.labels.len())
            .map_err(NetworkError::from)?
            .generator;
        let mut parameters = Parameters::initialise(&graph, 0, device, MemoryOrder::ChannelsFirst)?;
        let saved = checkpoint::load_parameters(&path)?;
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !saved.contains_key(*name)) {
            return Err(GanError::State { name: name.to_owned() });
        }
        parameters.set_arrays(&saved)?;
        Ok(Self {
            recipe,
            record,
            digest: hex(&Sha256::digest(&bytes)),
            interpreter: Interpreter::new(graph, device)?,
            parameters,
        })
    }

    /// The generator as an ONNX file.
    ///
    /// # Errors
    /// A parameter cannot be read.
    pub fn to_onnx(&self) -> Result<Vec<u8>, GanError> {
        let arrays = self.parameters.to_arrays()?;
        Ok(onnx::export::export(self.interpreter.graph(), &arrays)?)
    }

    /// Whether it makes images of noise, or translates them.
    #[must_use]
    pub fn model(&self) -> Model {
        self.recipe.model
    }

    /// So many images of a class (which a generator without classes does not look at), `[n,C,H,W]` in [-1, 1]. Image
    /// number `first + i` depends on the seed, the class and that number alone.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn sample(&self, class: usize, first: u64, count: usize, drawn: u64) -> Result<Tensor, GanError> {
        let latent = self.recipe.generator.latent as i64;
        let mut noise = Vec::with_capacity(count);
        for number in first..first + count as u64 {
            tch::manual_seed(seed::mix(drawn, &format!("sample {class} {number}")) as i64);
            noise.push(Tensor::f_randn([1, latent], (Kind::Float, Device::Cpu))?);
        }
        let noise = Tensor::f_cat(&noise, 0)?;
        let inputs = match self.recipe.generator.conditional {
            true => vec![
                noise,
                Tensor::f_full([count as i64], class as i64, (Kind::Int64, Device::Cpu))?,
            ],
            false => vec![noise],
        };
        self.run(&inputs, Mode::Eval)
    }

    /// Images `[n,C,H,W]` translated. With `noise`, dropout stays on as in the paper, drawn from the seed.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn translate(&self, images: &Tensor, noise: Option<u64>) -> Result<Tensor, GanError> {
        let mode = match noise {
            // Instances are normalised alike in both modes: only dropout differs.
            Some(drawn) => {
                tch::manual_seed(seed::mix(drawn, "translate") as i64);
                Mode::Train
            }
            None => Mode::Eval,
        };
        self.run(&[images.shallow_clone()], mode)
    }

    /// Images of this noise `[n, latent]`, of a generator without classes.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn of_noise(&self, noise: &Tensor) -> Result<Tensor, GanError> {
        self.run(&[noise.shallow_clone()], Mode::Eval)
    }

    fn run(&self, inputs: &[Tensor], mode: Mode) -> Result<Tensor, GanError> {
        tch::no_grad(|| {
            let on_device = inputs.iter().map(|input| input.f_to_device(self.parameters.device()));
            let inputs = on_device.collect::<Result<Vec<_>, _>>()?;
            let values = self
                .interpreter
                .run(&inputs, &self.parameters, &Modes::all(mode), &[])?;
            Ok(values.first().f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?)
        })
    }
}

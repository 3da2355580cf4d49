//! A trained discriminator, to be asked what it takes for real.

use tch::{Device, Tensor};

use super::build::graphs;
use super::error::GanError;
use super::trained::GanRecord;
use crate::autograd::{Interpreter, MemoryOrder, Parameters};
use crate::recipes::{GanRecipe, Model};
use crate::training::checkpoint;
use crate::training::network::NetworkError;
use crate::training::run::RunFolder;
use crate::training::step::Network;

/// A discriminator with what made it.
#[derive(Debug)]
pub struct TrainedDiscriminator {
    /// Its recipe.
    pub recipe: GanRecipe,
    /// Its run.
    pub record: GanRecord,
    /// The network.
    pub network: Network,
}

impl TrainedDiscriminator {
    /// The discriminator of a run.
    ///
    /// # Errors
    /// The run cannot be read, or has no discriminator yet.
    pub fn load(run: &RunFolder, device: Device) -> Result<Self, GanError> {
        let (recipe, record) = (run.gan_recipe()?, run.read_record::<GanRecord>()?);
        let graph = graphs(&recipe, record.labels.len())
            .map_err(NetworkError::from)?
            .discriminator;
        let mut parameters = Parameters::initialise(&graph, 0, device, MemoryOrder::ChannelsFirst)?;
        parameters.set_arrays(&checkpoint::load_parameters(&run.discriminator())?)?;
        Ok(Self {
            recipe,
            record,
            network: Network {
                interpreter: Interpreter::new(graph, device)?,
                parameters,
                device,
            },
        })
    }

    /// What it is asked with: an image `[1,C,H,W]` in [-1, 1], and its class where it is told one. `None` for one that
    /// judges pairs of images.
    #[must_use]
    pub fn inputs(&self, image: &Tensor, class: usize) -> Option<Vec<Tensor>> {
        match self.recipe.model {
            Model::Dcgan if self.recipe.generator.conditional => {
                Some(vec![image.shallow_clone(), Tensor::from_slice(&[class as i64])])
            }
            Model::Dcgan | Model::Cyclegan => Some(vec![image.shallow_clone()]),
            Model::Pix2pix => None,
        }
    }
}

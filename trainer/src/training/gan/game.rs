//! What every game has in common: a step of both sides, samples to look at, a state to save.

use indexmap::IndexMap;
use ndarray::Array4;
use tch::{TchError, Tensor};

use super::error::GanError;
use super::pair::Pair;
use crate::training::batches::images_tensor;

/// What a step learns from.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Real images `[N,C,H,W]` in [-1, 1]; of the wanted label, for a translation.
    pub images: Array4<f32>,
    /// Their classes.
    pub labels: Vec<i64>,
    /// The images that are translated, as many.
    pub sources: Option<Array4<f32>>,
}

impl Round {
    /// What is translated and images of the wanted label, where these networks want them.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn placed(&self, pair: &Pair) -> Result<[Tensor; 2], GanError> {
        let (device, order) = (pair.generator.network.device, pair.discriminator.order());
        let placed = |array: &Array4<f32>| order.apply(&images_tensor(array)?.f_to_device(device)?);
        let image = placed(&self.images)?;
        let source = match &self.sources {
            Some(sources) => placed(sources)?,
            None => image.shallow_clone(),
        };
        Ok([source, image])
    }
}

/// Figures of a step, by name, for the curves.
pub type Figures = Vec<(&'static str, f64)>;

/// The discriminator's loss.
pub const DISCRIMINATOR: &str = "discriminator";
/// The generator's adversarial loss.
pub const GENERATOR: &str = "generator";
/// Mean score of real images.
pub const REAL_SCORE: &str = "real_score";
/// Mean score of generated images.
pub const GENERATED_SCORE: &str = "generated_score";
/// Mean pixel-wise distance to the partner, of a translation.
pub const DISTANCE: &str = "distance";
/// Mean pixel-wise distance of an image to what a cycle makes of it.
pub const CYCLE: &str = "cycle";
/// The loss of the discriminator of the way back, of a cycle.
pub const DISCRIMINATOR_BACK: &str = "discriminator_back";
/// The adversarial loss of the way back, of a cycle.
pub const GENERATOR_BACK: &str = "generator_back";

/// Rates of both sides at this moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The generator's.
    pub generator: f64,
    /// The discriminator's.
    pub discriminator: f64,
}

/// A generator against a discriminator. libtorch's random numbers are seeded before each step and each sheet.
pub trait Game {
    /// One step of both sides.
    ///
    /// # Errors
    /// [`GanError`]; a figure that is not finite is no error here.
    fn step(&mut self, round: &Round, step: u64, rates: Rates) -> Result<Figures, GanError>;

    /// Images to look at and to judge the training's health by, `[n,C,H,W]` in [-1, 1]: always of the same noise or
    /// sources.
    ///
    /// # Errors
    /// [`GanError`].
    fn samples(&self) -> Result<Tensor, GanError>;

    /// Makes the generator ready to be used as it is now: to be called before [`Game::samples`] and before it is saved.
    ///
    /// # Errors
    /// [`GanError`].
    fn settle(&self) -> Result<(), GanError>;

    /// How much [`Game::samples`] differ from each other, as a share of how much real images do; with classes that of the
    /// class where they differ least.
    ///
    /// # Errors
    /// libtorch's own.
    fn diversity(&self, samples: &Tensor) -> Result<f64, TchError>;

    /// What stands beside each sample on the sheet: the source of a translation.
    fn sources(&self) -> Option<&Tensor>;

    /// Both sides: those that are used and exported.
    fn pair(&self) -> &Pair;

    /// Both sides, to be restored.
    fn pair_mut(&mut self) -> &mut Pair;

    /// All that must be saved to go on.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        self.pair().tensors()
    }

    /// Takes back what [`Game::tensors`] gave.
    ///
    /// # Errors
    /// [`GanError::State`] if it is of other networks.
    fn restore(&mut self, saved: &IndexMap<String, Tensor>) -> Result<(), GanError> {
        self.pair_mut().restore(saved)
    }
}

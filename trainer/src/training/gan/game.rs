//! What every game has in common: a step of both sides, samples to look at, a state to save.

use ndarray::Array4;
use tch::Tensor;

use super::error::GanError;
use super::pair::Pair;

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

    /// What the samples are to be compared with: real images, as many or more.
    fn references(&self) -> &Tensor;

    /// What stands beside each sample on the sheet: the source of a translation.
    fn sources(&self) -> Option<&Tensor>;

    /// Both sides.
    fn pair(&self) -> &Pair;

    /// Both sides, to be restored.
    fn pair_mut(&mut self) -> &mut Pair;
}

//! A turn of each side, the same in every game.

use tch::{Kind, TchError, Tensor};

use super::diff_augment::{self, Change};
use super::error::GanError;
use super::game::{DISCRIMINATOR, Figures, GENERATED_SCORE, REAL_SCORE};
use super::losses::AdversarialLoss;
use super::player::Player;

/// How images are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The adversarial loss.
    pub loss: AdversarialLoss,
    /// Taken from the target of real images.
    pub label_smoothing: f64,
    /// Changes before images are judged.
    pub changes: Vec<Change>,
}

impl Judgement {
    /// Images `[n,C,H,W]` as the discriminator gets to see them.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn changed(&self, images: &Tensor) -> Result<Tensor, TchError> {
        diff_augment::apply(images, &self.changes)
    }

    /// One step of a discriminator: `scores` gives those of real and of generated images, whose loss counts `weight`
    /// times; `penalise` may add to the gradient.
    ///
    /// # Errors
    /// [`GanError`].
    pub fn discriminator(
        &self,
        discriminator: &mut Player,
        [weight, rate]: [f64; 2],
        scores: impl FnOnce(&Player) -> Result<[Tensor; 2], GanError>,
        penalise: impl FnOnce(&Player) -> Result<(), GanError>,
    ) -> Result<Figures, GanError> {
        discriminator.begin_step()?;
        let [of_real, of_made] = scores(discriminator)?;
        let loss = self.loss.discriminator(&of_real, &of_made, self.label_smoothing)?;
        loss.f_mul_scalar(weight)?.f_backward()?;
        penalise(discriminator)?;
        let figures = vec![
            (DISCRIMINATOR, f64::try_from(&loss)?),
            (REAL_SCORE, f64::try_from(of_real.f_mean(Kind::Float)?)?),
            (GENERATED_SCORE, f64::try_from(of_made.f_mean(Kind::Float)?)?),
        ];
        discriminator.end_step(rate)?;
        Ok(figures)
    }
}

/// One step of generators on one loss. `losses` gives it, and what of it is to be shown.
///
/// # Errors
/// [`GanError`].
pub fn generators<const SHOWN: usize>(
    generators: &mut [&mut Player],
    discriminators: &[&Player],
    rate: f64,
    losses: impl FnOnce() -> Result<(Tensor, [Tensor; SHOWN]), GanError>,
) -> Result<[f64; SHOWN], GanError> {
    for generator in generators.iter_mut() {
        generator.begin_step()?;
    }
    // Gradients of the discriminators would be thrown away.
    discriminators.iter().for_each(|player| player.set_learning(false));
    let played = losses().and_then(|(loss, shown)| {
        loss.f_backward()?;
        Ok(shown)
    });
    discriminators.iter().for_each(|player| player.set_learning(true));
    let mut figures = [0.0; SHOWN];
    for (figure, loss) in figures.iter_mut().zip(played?) {
        *figure = f64::try_from(&loss)?;
    }
    for generator in generators.iter_mut() {
        generator.end_step(rate)?;
    }
    Ok(figures)
}

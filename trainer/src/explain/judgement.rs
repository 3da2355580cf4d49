//! Grad-CAM of a discriminator: what in an image speaks for it being real.

use ndarray::Array2;
use tch::{Kind, Tensor};

use super::gradcam::{ExplainError, activation_map, chosen_layer, layers, no_layer};
use crate::autograd::{Mode, Modes};
use crate::training::step::Network;

/// A discriminator's score of one image, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The score, above 0 for what is taken for real; of a map of scores their mean.
    pub score: f64,
    /// The map `[h,w]` before ReLU: positive where the image speaks for being real, negative where against.
    pub map: Array2<f32>,
}

impl Judgement {
    /// Grad-CAM's map: what speaks for being real.
    #[must_use]
    pub fn heat(&self) -> Array2<f32> {
        self.map.mapv(|value| value.max(0.0))
    }
}

/// Explains a discriminator's score of one image: `inputs` are those of its graph (`[1,C,H,W]` in [-1, 1], and the class
/// `[1]` where it is told one), `layer` names a map of it, or is the last one.
///
/// # Errors
/// [`ExplainError`].
pub fn explain_judgement(
    discriminator: &Network,
    inputs: &[Tensor],
    layer: Option<&str>,
) -> Result<Judgement, ExplainError> {
    let layer = chosen_layer(discriminator, layer)?;
    // The activation needs a gradient even where every parameter before it is frozen.
    let watched = |input: &Tensor| match input.is_floating_point() {
        true => input.detach().set_requires_grad(true),
        false => input.shallow_clone(),
    };
    let inputs: Vec<Tensor> = inputs.iter().map(watched).collect();
    let modes = Modes::all(Mode::Eval);
    let values = discriminator
        .interpreter
        .run(&inputs, &discriminator.parameters, &modes, &[layer])?;
    let score = values.first().f_mean(Kind::Float)?;
    let activation = values
        .get(layer)
        .ok_or_else(|| no_layer(discriminator, Some(layer), &layers(discriminator)))?;
    Ok(Judgement {
        score: f64::try_from(&score)?,
        map: activation_map(&score, activation)?,
    })
}

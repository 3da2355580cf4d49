//! Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) by autograd.

use ndarray::Array2;
use tch::{IndexOp, Kind, TchError, Tensor};

use crate::autograd::parameters::array_of;
use crate::autograd::{InterpreterError, Mode, Modes};
use crate::training::step::Network;

/// Why an image cannot be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The layer is none that gives a map.
    #[error("layer {layer:?} is no map of {network}; allowed: {allowed}")]
    Layer {
        /// What was asked for.
        layer: String,
        /// The architecture.
        network: String,
        /// Layers that give maps.
        allowed: String,
    },
    /// There is no such class.
    #[error("class {class} is not among the {classes} classes of the model")]
    Class {
        /// What was asked for.
        class: usize,
        /// How many there are.
        classes: usize,
    },
    /// The network cannot be run.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

/// Where the network looked for one class in one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The class that is explained.
    pub class: usize,
    /// Probability of every class (softmax of the logits, temperature 1).
    pub probabilities: Vec<f32>,
    /// The map `[h,w]` before ReLU: positive where the image speaks for the class, negative where against.
    pub map: Array2<f32>,
}

impl Explanation {
    /// Grad-CAM's map: what speaks for the class.
    pub fn heat(&self) -> Array2<f32> {
        self.map.mapv(|value| value.max(0.0))
    }
}

/// The names of the layers that give maps `[C,h,w]`, from the image to the output.
pub fn layers(network: &Network) -> Vec<&str> {
    let graph = network.interpreter.graph();
    let maps = graph
        .intermediates()
        .iter()
        .filter(|(_, id)| graph.value(**id).shape.len() == 4);
    maps.map(|(name, _)| name.as_str()).collect()
}

/// Explains `class` (or the most probable class) of one image `[1,C,H,W]` at `layer` (or the last one): the layer's
/// channels, each weighted by the mean of the logit's gradient over it, summed.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(
    network: &Network,
    image: &Tensor,
    layer: Option<&str>,
    class: Option<usize>,
) -> Result<Explanation, ExplainError> {
    let layer = chosen_layer(network, layer)?;
    let modes = Modes::all(Mode::Eval);
    // The activation needs a gradient even where every parameter before it is frozen.
    let image = image.detach().set_requires_grad(true);
    let values = network
        .interpreter
        .run(&[image], &network.parameters, &modes, &[layer])?;
    let logits = values.first();
    let classes = logits.size()[1] as usize;
    let class = match class {
        Some(class) if class >= classes => return Err(ExplainError::Class { class, classes }),
        Some(class) => class,
        None => i64::try_from(&logits.i(0).f_argmax(0, false)?)? as usize,
    };
    let activation = values
        .get(layer)
        .ok_or_else(|| no_layer(network, Some(layer), &layers(network)))?;
    let score = logits.f_get(0)?.f_get(class as i64)?;
    let probabilities = logits.detach().f_softmax(1, Kind::Float)?;
    Ok(Explanation {
        class,
        probabilities: array_of(&probabilities)?.iter().copied().collect(),
        map: activation_map(&score, activation)?,
    })
}

/// The layer of this name, or the last one that gives a map.
pub(super) fn chosen_layer<'a>(network: &'a Network, wanted: Option<&'a str>) -> Result<&'a str, ExplainError> {
    let allowed = layers(network);
    match (wanted, allowed.last()) {
        (Some(name), _) if allowed.contains(&name) => Ok(name),
        (None, Some(last)) => Ok(last),
        _ => Err(no_layer(network, wanted, &allowed)),
    }
}

/// The activation's channels `[1,C,h,w]`, each weighted by the mean of the score's gradient over it, summed: `[h,w]`.
pub(super) fn activation_map(score: &Tensor, activation: &Tensor) -> Result<Array2<f32>, TchError> {
    let gradients = Tensor::f_run_backward(&[score], &[activation], false, false)?;
    let weights = gradients[0].f_mean_dim([2_i64, 3].as_slice(), true, None::<Kind>)?;
    let map = weights
        .f_mul(&activation.detach())?
        .f_sum_dim_intlist([1_i64].as_slice(), false, None::<Kind>)?;
    array_of(&map.f_get(0)?)?
        .into_dimensionality()
        .map_err(|error| TchError::Shape(error.to_string()))
}

pub(super) fn no_layer(network: &Network, layer: Option<&str>, allowed: &[&str]) -> ExplainError {
    ExplainError::Layer {
        layer: layer.unwrap_or_default().to_owned(),
        network: network.interpreter.graph().name().to_owned(),
        allowed: allowed.join(", "),
    }
}

//! What the networks of a GAN share: names, initial weights, normalisation, the class condition.
//!
//! Images are in [-1, 1] on both sides: what a generator gives is what a discriminator takes.

use crate::graph::layers::Conv2d;
use crate::graph::operator::Reduction;
use crate::graph::{ElementType, GraphBuilder, GraphError, Initializer, Operator, Shape, ValueId};

/// Name of a generator's noise input, `[N, latent]`, standard normal.
pub const LATENT: &str = "latent";
/// Name of the class input of a conditional network, i64 `[N]`, from 0.
pub const CLASS: &str = "class";
/// Name of the image that a translation starts from.
pub const SOURCE: &str = "source";
/// Name of a discriminator's output, higher for real images: `[N, 1]`, or a map `[N, 1, h, w]`.
pub const SCORE: &str = "score";

/// Weights of convolutions: normal with this deviation (Radford et al. 2015, arXiv 1511.06434, section 4).
const WEIGHT: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };
/// Weights of normalisations, as the authors' code has them.
const SCALE: Initializer = Initializer::Normal { mean: 1.0, std: 0.02 };
/// Slope of the discriminators' leaky ReLU (same section).
const SLOPE: f32 = 0.2;

/// What normalises between convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// By the batch; in use, by running statistics.
    Batch,
    /// By each image and channel, in training and use alike.
    Instance,
    /// Nothing; where spectral normalisation bounds the weights instead.
    None,
}

/// A convolution without bias, initialised as GANs are.
pub(super) fn conv(out_channels: usize, kernel: usize, stride: usize, padding: usize) -> Conv2d {
    let layer = Conv2d::new(out_channels, kernel).stride(stride).padding(padding);
    layer.initializer(WEIGHT)
}

/// Normalises, or gives x back.
pub(super) fn normalise(b: &mut GraphBuilder, name: &str, x: ValueId, norm: Norm) -> Result<ValueId, GraphError> {
    match norm {
        Norm::Batch => b.batch_norm_from(name, x, SCALE),
        Norm::Instance => b.instance_norm_from(name, x, SCALE),
        Norm::None => Ok(x),
    }
}

pub(super) fn leaky_relu(b: &mut GraphBuilder, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
    b.node(name, Operator::LeakyRelu { slope: SLOPE }, &[x])
}

/// An image input `[N, channels, height, width]`.
pub(super) fn image_input(
    b: &mut GraphBuilder,
    name: &str,
    channels: usize,
    size: usize,
) -> Result<ValueId, GraphError> {
    b.input(name, ElementType::F32, Shape::batch(&[channels, size, size]))
}

/// The class input.
pub(super) fn class_input(b: &mut GraphBuilder) -> Result<ValueId, GraphError> {
    b.input(CLASS, ElementType::I64, Shape::batch(&[]))
}

/// `x` `[N, C, H, W]`, normalised by the layer `norm`, times a gain and plus a shift of each channel that the class has learnt
/// (conditional batch normalisation, Dumoulin et al. 2017, arXiv 1610.07629). `class` is the input and how many there are.
pub(super) fn by_class(
    b: &mut GraphBuilder,
    norm: &str,
    x: ValueId,
    (class, classes): (ValueId, usize),
) -> Result<ValueId, GraphError> {
    let channels = b.shape(x).get(1).and_then(|dim| dim.fixed()).unwrap_or(0);
    let mut of_class = |what: &str, rule: Initializer| {
        let name = format!("{norm}.class_{what}");
        let values = b.embedding(&name, class, classes, channels, rule)?;
        let axes = Operator::Unsqueeze { axes: vec![2, 3] };
        b.node(&format!("{name}.map"), axes, &[values])
    };
    let (gain, shift) = (of_class("gain", SCALE)?, of_class("shift", Initializer::Zeros)?);
    let scaled = b.node(&format!("{norm}.scaled"), Operator::Mul, &[x, gain])?;
    b.node(&format!("{norm}.shifted"), Operator::Add, &[scaled, shift])
}

/// How well features `[N, C]` suit a class: their product with a learnt direction of the class, `[N, 1]` (projection
/// discriminator, Miyato and Koyama 2018, arXiv 1802.05637, equation 4).
pub(super) fn projection(b: &mut GraphBuilder, features: ValueId, classes: usize) -> Result<ValueId, GraphError> {
    let width = b.shape(features).get(1).and_then(|dim| dim.fixed()).unwrap_or(0);
    let class = class_input(b)?;
    // As small as other fresh weights, or the class would outshout the image.
    let direction = b.embedding("embed", class, classes, width, WEIGHT)?;
    let product = b.node("projection.product", Operator::Mul, &[features, direction])?;
    let sum = Operator::Reduce {
        reduction: Reduction::Sum,
        axes: vec![1],
        keep_dims: true,
    };
    b.node("projection", sum, &[product])
}

/// Refuses a number that is not among those that a network takes.
pub(super) fn check<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    found: &T,
    allowed: &[T],
) -> Result<(), GraphError> {
    if allowed.contains(found) {
        return Ok(());
    }
    let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    Err(GraphError::Config {
        what,
        found: found.to_string(),
        allowed: allowed.join(", "),
    })
}

/// Refuses a count outside of limits.
pub(super) fn check_within(
    what: &'static str,
    found: usize,
    limits: std::ops::RangeInclusive<usize>,
) -> Result<(), GraphError> {
    if limits.contains(&found) {
        return Ok(());
    }
    Err(GraphError::Config {
        what,
        found: found.to_string(),
        allowed: format!("{} to {}", limits.start(), limits.end()),
    })
}

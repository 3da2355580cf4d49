//! The PatchGAN discriminator of Pix2Pix (Isola et al. 2017, arXiv 1611.07004, appendix 6.1), with the layers and names
//! of the authors' PyTorch code: every element of its output judges one overlapping patch, of 70 x 70 pixels with three
//! layers.

use super::IMAGE;
use super::generative::{Norm, SCORE, SOURCE, check, check_within, conv, image_input, leaky_relu, normalise};
use crate::graph::{Graph, GraphBuilder, GraphError, Operator};

/// Which discriminator to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchGanConfig {
    /// Side of the image in pixels.
    pub size: usize,
    /// Channels of the image, and of the source.
    pub channels: usize,
    /// Whether it sees the source beside the image; a cycle's discriminator does not.
    pub conditional: bool,
    /// Channels of the first layer.
    pub width: usize,
    /// Layers that halve the image: 3 judge patches of 70 x 70 pixels.
    pub layers: usize,
    /// What normalises.
    pub norm: Norm,
}

impl Default for PatchGanConfig {
    fn default() -> Self {
        Self {
            size: 256,
            channels: 1,
            conditional: true,
            width: 64,
            layers: 3,
            norm: Norm::Instance,
        }
    }
}

/// (`source`,) `image` `[N, channels, size, size]` in [-1, 1] -> `score` `[N, 1, h, w]`.
///
/// Intermediates: `level1` (half the size) and on.
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn patch_gan(config: &PatchGanConfig) -> Result<Graph, GraphError> {
    check("number of image channels", &config.channels, &[1, 3])?;
    check_within("layers of the PatchGAN", config.layers, 1..=5)?;
    check_within("width of the PatchGAN", config.width, 4..=256)?;
    check_within("image size of the PatchGAN", config.size, 16..=1024)?;
    let mut b = GraphBuilder::new("patch_gan");
    let mut x = if config.conditional {
        let source = image_input(&mut b, SOURCE, config.channels, config.size)?;
        let image = image_input(&mut b, IMAGE, config.channels, config.size)?;
        b.node("pair", Operator::Concat { axis: 1 }, &[source, image])?
    } else {
        image_input(&mut b, IMAGE, config.channels, config.size)?
    };
    x = b.conv2d("model.0", x, conv(config.width, 4, 2, 1).with_bias())?;
    x = leaky_relu(&mut b, "model.1", x)?;
    b.intermediate("level1", x)?;
    for layer in 1..=config.layers {
        // The last of them does not halve.
        let stride = if layer < config.layers { 2 } else { 1 };
        let name = |part: usize| format!("model.{}", 3 * layer - 1 + part);
        x = b.conv2d(&name(0), x, conv(config.width << layer.min(3), 4, stride, 1))?;
        x = normalise(&mut b, &name(1), x, config.norm)?;
        x = leaky_relu(&mut b, &name(2), x)?;
        b.intermediate(&format!("level{}", layer + 1), x)?;
    }
    let last = format!("model.{}", 3 * config.layers + 2);
    let score = b.conv2d(&last, x, conv(1, 4, 1, 1).with_bias())?;
    b.output(SCORE, score)?;
    b.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authors' code counts 2.77 million with three and three channels.
    #[test]
    fn its_size_is_the_papers() {
        let config = PatchGanConfig {
            channels: 3,
            norm: Norm::Batch,
            ..PatchGanConfig::default()
        };
        assert_eq!(patch_gan(&config).unwrap().cost().parameters, 2_768_705);
    }

    #[test]
    fn a_score_judges_70_pixels() {
        let graph = patch_gan(&PatchGanConfig::default()).unwrap();
        let score = graph.value(graph.outputs()[0]);
        assert_eq!(score.shape.to_string(), "[N, 1, 30, 30]");
        // From the last layer back: r = (r - 1) stride + 4.
        let seen = [1, 1, 2, 2, 2].iter().fold(1, |r, stride| (r - 1) * stride + 4);
        assert_eq!(seen, 70);
        for name in ["model.0.bias", "model.2.weight", "model.9.weight", "model.11.bias"] {
            assert!(graph.parameter(name).is_some(), "{name}");
        }
    }
}

//! The U-Net generator of Pix2Pix (Isola et al. 2017, arXiv 1611.07004, appendix 6.1), with the layers and names of the
//! authors' PyTorch code: each level halves the image down to one pixel, and a skip joins its mirror image on the way up.

use super::IMAGE;
use super::generative::{Norm, SOURCE, check, check_within, conv, image_input, leaky_relu, normalise};
use crate::graph::{Graph, GraphBuilder, GraphError, Operator, ValueId};

/// Probability of a zero in the three innermost ways up; in the paper this is the generator's noise.
const DROPOUT: f32 = 0.5;

/// Which generator to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnetConfig {
    /// Side of the image in pixels, a power of two: 32 to 512. The paper's U-Net is of 256.
    pub size: usize,
    /// Channels of the source and of the image.
    pub channels: usize,
    /// Channels of the outermost level; inner ones have up to 8 times as many.
    pub width: usize,
    /// What normalises. With one image a step use [`Norm::Instance`]: statistics of a batch of one in training are not
    /// those that BatchNorm uses later.
    pub norm: Norm,
    /// Whether the three innermost ways up drop half of their features.
    pub dropout: bool,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            size: 256,
            channels: 1,
            width: 64,
            norm: Norm::Instance,
            dropout: true,
        }
    }
}

impl UnetConfig {
    fn levels(&self) -> u32 {
        self.size.ilog2()
    }

    /// Channels inside of level `depth` (from 1, the outermost).
    fn channels_at(&self, depth: u32) -> usize {
        self.width << (depth - 1).min(3)
    }

    fn drops(&self, depth: u32) -> bool {
        // The innermost level itself never drops, and the three around it do, if they are of full width.
        self.dropout && depth > 4 && depth < self.levels()
    }
}

/// `source` `[N, channels, size, size]` -> `image` of the same shape, both in [-1, 1].
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn unet(config: &UnetConfig) -> Result<Graph, GraphError> {
    check("image size of the U-Net", &config.size, &[32, 64, 128, 256, 512])?;
    check("number of image channels", &config.channels, &[1, 3])?;
    check_within("width of the U-Net", config.width, 4..=256)?;
    let mut b = GraphBuilder::new(&format!("unet{}", config.size));
    let source = image_input(&mut b, SOURCE, config.channels, config.size)?;
    let inside = level(&mut b, config, "model", 1, source)?;
    let image = b.node("image.tanh", Operator::Tanh, &[inside])?;
    b.output(IMAGE, image)?;
    b.finish()
}

/// Names of a level's parts, which depend on whether it is the outermost, the innermost, or between.
struct Names {
    activation: String,
    down: String,
    down_norm: String,
    inner: String,
    relu: String,
    up: String,
    up_norm: String,
    dropout: String,
}

impl Names {
    fn new(path: &str, outermost: bool, innermost: bool) -> Self {
        let numbers = match (outermost, innermost) {
            (true, _) => [9, 0, 9, 1, 2, 3, 9, 9],
            (_, true) => [0, 1, 9, 9, 2, 3, 4, 9],
            _ => [0, 1, 2, 3, 4, 5, 6, 7],
        };
        let [activation, down, down_norm, inner, relu, up, up_norm, dropout] =
            numbers.map(|number| format!("{path}.model.{number}"));
        Self {
            activation,
            down,
            down_norm,
            inner,
            relu,
            up,
            up_norm,
            dropout,
        }
    }
}

/// One level with all inside of it: what it gives is joined with what it got, but for the outermost.
fn level(b: &mut GraphBuilder, config: &UnetConfig, path: &str, depth: u32, x: ValueId) -> Result<ValueId, GraphError> {
    let (outermost, innermost) = (depth == 1, depth == config.levels());
    let names = Names::new(path, outermost, innermost);
    let mut y = x;
    if !outermost {
        y = leaky_relu(b, &names.activation, y)?;
    }
    y = b.conv2d(&names.down, y, conv(config.channels_at(depth), 4, 2, 1))?;
    if !innermost {
        // One pixel has no statistics of its own, so the innermost level is not normalised.
        if !outermost {
            y = normalise(b, &names.down_norm, y, config.norm)?;
        }
        b.intermediate(&format!("down{depth}"), y)?;
        y = level(b, config, &names.inner, depth + 1, y)?;
    }
    y = b.relu(&names.relu, y)?;
    if outermost {
        return b.conv_transpose2d(&names.up, y, conv(config.channels, 4, 2, 1).with_bias());
    }
    y = b.conv_transpose2d(&names.up, y, conv(config.channels_at(depth - 1), 4, 2, 1))?;
    y = normalise(b, &names.up_norm, y, config.norm)?;
    if config.drops(depth) {
        y = b.node(&names.dropout, Operator::Dropout { p: DROPOUT }, &[y])?;
    }
    b.intermediate(&format!("up{depth}"), y)?;
    b.node(&format!("{path}.skip"), Operator::Concat { axis: 1 }, &[x, y])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authors' code counts 54.41 million with three channels and BatchNorm.
    #[test]
    fn its_size_is_the_papers() {
        for norm in [Norm::Batch, Norm::Instance] {
            let config = UnetConfig {
                channels: 3,
                norm,
                ..UnetConfig::default()
            };
            assert_eq!(unet(&config).unwrap().cost().parameters, 54_413_955);
        }
    }

    #[test]
    fn names_and_shapes_are_the_authors() {
        let graph = unet(&UnetConfig::default()).unwrap();
        for name in [
            "model.model.0.weight",
            "model.model.3.bias",
            "model.model.1.model.1.weight",
            "model.model.1.model.6.bias",
            "model.model.1.model.3.model.3.model.3.model.3.model.3.model.3.model.4.weight",
        ] {
            assert!(graph.parameter(name).is_some(), "{name}");
        }
        let image = graph.value(graph.outputs()[0]);
        assert_eq!(image.shape.to_string(), "[N, 1, 256, 256]");
        let dropouts = |graph: &Graph| {
            let is = |node: &&crate::graph::Node| matches!(node.operator, Operator::Dropout { .. });
            graph.nodes().iter().filter(is).count()
        };
        assert_eq!(dropouts(&graph), 3);
        let small = UnetConfig {
            size: 128,
            ..UnetConfig::default()
        };
        assert_eq!(dropouts(&unet(&small).unwrap()), 2);
    }

    #[test]
    fn a_size_that_cannot_be_halved_is_refused() {
        let odd = UnetConfig {
            size: 200,
            ..UnetConfig::default()
        };
        assert!(unet(&odd).unwrap_err().to_string().contains("32, 64, 128, 256, 512"));
    }
}

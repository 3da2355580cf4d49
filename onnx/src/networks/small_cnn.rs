//! A small residual network for grey images, made to localise. About a tenth of ResNet-18's work.
//!
//! - Its last stage has stride 8: the Grad-CAM map of a 224 x 224 image has 28 x 28 cells, fine enough for a lesion of
//!   a few percent of the image.
//! - It sees 73 pixels around a cell and no more: global average pooling rewards a network for answering wherever it
//!   sees a lesion, so a wide view puts the map's maximum beside the lesion.
//! - Its features are averaged over a quarter of the map before they are pooled. The evidence for a lesion lies on its
//!   edges; the mean over a window as large as a lesion has its maximum in the middle. Grad-CAM is taken behind this
//!   mean, and is exact there.
//!
//! What each of these does for the pointing game stands in `docs/results/pointing-game.md`.

use super::{ImageClassifier, basic_block, conv_bn};
use crate::graph::layers::Conv2d;
use crate::graph::operator::Window;
use crate::graph::{Graph, GraphBuilder, GraphError, Operator, ValueId};

/// Which small network to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallCnnConfig {
    /// Classes, channels and size of the image.
    pub image: ImageClassifier,
    /// Channels of the stem; the stages have 2, 4 and 6 times as many. [`DEFAULT_WIDTH`] fits
    /// two CPU cores.
    pub width: usize,
}

/// Channels of the stem unless a recipe says otherwise.
pub const DEFAULT_WIDTH: usize = 16;

/// The residual block of each stage after the stem: (multiple of the width, stride).
const STAGES: [(usize, usize); 3] = [(2, 2), (4, 2), (6, 1)];
/// Strides of the stem and the stages together.
const STRIDE: usize = 8;

/// The small network: `[N, channels, H, W]` -> `logits` `[N, classes]`.
///
/// Intermediates: `relu`, `layer1` to `layer3`, and `smooth`, the features that Grad-CAM explains.
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn small_cnn(config: &SmallCnnConfig) -> Result<Graph, GraphError> {
    if !(4..=128).contains(&config.width) {
        return Err(GraphError::Config {
            what: "width of the small network",
            found: config.width.to_string(),
            allowed: "4 to 128".to_owned(),
        });
    }
    let mut b = GraphBuilder::new("small_cnn");
    let image = config.image.input(&mut b)?;
    let stem = Conv2d::new(config.width, 5).stride(2).padding(2);
    let mut x = conv_bn(&mut b, "conv1", "bn1", image, stem)?;
    x = b.relu("relu", x)?;
    b.intermediate("relu", x)?;
    b.stage("stem", &["conv1", "bn1", "relu"]);
    for (index, (multiple, stride)) in STAGES.iter().enumerate() {
        let name = format!("layer{}", index + 1);
        x = basic_block(&mut b, &format!("{name}.0"), x, config.width * multiple, *stride)?;
        b.intermediate(&name, x)?;
        b.stage(&name, &[&name]);
    }
    let smooth = smooth(&mut b, x, config.image.size)?;
    b.intermediate("smooth", smooth)?;
    config.image.finish(b, smooth)
}

/// The mean over a quarter of the map, down and then across; what lies outside counts as nothing.
fn smooth(b: &mut GraphBuilder, x: ValueId, size: [usize; 2]) -> Result<ValueId, GraphError> {
    let [height, width] = size.map(|side| (side.div_ceil(STRIDE) / 4) | 1);
    let down = mean_over(b, "smooth.down", x, [height, 1])?;
    mean_over(b, "smooth.across", down, [1, width])
}

/// The mean over a window with odd sides, the size kept.
fn mean_over(b: &mut GraphBuilder, name: &str, x: ValueId, kernel: [usize; 2]) -> Result<ValueId, GraphError> {
    let operator = Operator::AveragePool {
        window: Window {
            kernel,
            padding: kernel.map(|side| side / 2),
            ..Window::square(1)
        },
        count_include_pad: true,
    };
    b.node(name, operator, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_fine() {
        let image = ImageClassifier {
            classes: 2,
            channels: 1,
            size: [224, 224],
        };
        let graph = small_cnn(&SmallCnnConfig {
            image,
            width: DEFAULT_WIDTH,
        })
        .unwrap();
        let parts = graph.classifier().unwrap();
        assert_eq!(graph.value(parts.features).shape.to_string(), "[N, 96, 28, 28]");
        let cost = graph.cost();
        assert!((150_000..300_000).contains(&cost.parameters), "{cost:?}");
        assert!(cost.macs < 300_000_000, "{cost:?}");
    }

    #[test]
    fn the_width_is_bounded() {
        let image = ImageClassifier {
            classes: 2,
            channels: 1,
            size: [64, 64],
        };
        let error = small_cnn(&SmallCnnConfig { image, width: 2 }).unwrap_err().to_string();
        assert_eq!(error, "width of the small network is 2; allowed: 4 to 128");
    }
}

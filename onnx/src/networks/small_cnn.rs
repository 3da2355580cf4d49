//! A small residual network for grey images, made to localise: its last stage has stride 8, so
//! that the Grad-CAM map of a 224 x 224 image has 28 x 28 cells, fine enough for a lesion of a
//! few percent of the image. About a tenth of ResNet-18's work.

use super::{ImageClassifier, basic_block, conv_bn};
use crate::graph::layers::Conv2d;
use crate::graph::{Graph, GraphBuilder, GraphError};

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

/// Residual blocks of each stage after the stem: (multiple of the width, stride).
const STAGES: [&[(usize, usize)]; 3] = [&[(2, 2)], &[(4, 2), (4, 1)], &[(6, 1)]];

/// The small network: `[N, channels, H, W]` -> `logits` `[N, classes]`.
///
/// Intermediates: `relu`, every block (`layer1.0` ...), and `layer1` to `layer3`.
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
    for (index, blocks) in STAGES.iter().enumerate() {
        let name = format!("layer{}", index + 1);
        for (number, (multiple, stride)) in blocks.iter().enumerate() {
            let block = format!("{name}.{number}");
            x = basic_block(&mut b, &block, x, config.width * multiple, *stride)?;
        }
        b.intermediate(&name, x)?;
        b.stage(&name, &[&name]);
    }
    config.image.finish(b, x)
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
        assert!((250_000..400_000).contains(&cost.parameters), "{cost:?}");
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

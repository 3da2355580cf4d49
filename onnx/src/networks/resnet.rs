//! ResNet-18, 34, 50, 101 and 152 (He et al. 2015, arXiv 1512.03385) as torchvision has them:
//! same names, and in bottlenecks the stride at the 3 x 3 convolution ("V1.5").

use super::{ImageClassifier, basic_block, conv_bn, join};
use crate::graph::layers::Conv2d;
use crate::graph::operator::Window;
use crate::graph::{Graph, GraphBuilder, GraphError, Operator, ValueId};

/// The depths that [`resnet`] knows.
pub const DEPTHS: [u32; 5] = [18, 34, 50, 101, 152];

/// Which classifier to describe.
pub type ResNetConfig = ImageClassifier;

/// Output channels of a bottleneck over its inner ones.
const EXPANSION: usize = 4;

/// The ResNet of this depth: `[N, channels, H, W]` -> `logits` `[N, classes]`, stride 32.
///
/// Intermediates: `relu`, `maxpool`, every block (`layer1.0` ...), and `layer1` to `layer4`.
///
/// # Errors
/// [`GraphError::Config`] for an unknown depth or a configuration out of range.
pub fn resnet(depth: u32, config: &ResNetConfig) -> Result<Graph, GraphError> {
    let mut b = GraphBuilder::new(&format!("resnet{depth}"));
    let image = config.input(&mut b)?;
    let x = body(&mut b, image, depth, 4)?;
    config.finish(b, x)
}

/// Stem and the first `stages` stages over an image of three channels, or of as many as the stem then gets.
pub(super) fn body(b: &mut GraphBuilder, image: ValueId, depth: u32, stages: usize) -> Result<ValueId, GraphError> {
    let blocks: [usize; 4] = match depth {
        18 => [2, 2, 2, 2],
        34 | 50 => [3, 4, 6, 3],
        101 => [3, 4, 23, 3],
        152 => [3, 8, 36, 3],
        _ => {
            return Err(GraphError::Config {
                what: "ResNet depth",
                found: depth.to_string(),
                allowed: "18, 34, 50, 101, 152".to_owned(),
            });
        }
    };
    let mut x = stem(b, image)?;
    for (index, count) in blocks.into_iter().enumerate().take(stages) {
        x = stage(b, x, index, count, depth >= 50)?;
    }
    Ok(x)
}

fn stem(b: &mut GraphBuilder, image: ValueId) -> Result<ValueId, GraphError> {
    let x = conv_bn(b, "conv1", "bn1", image, Conv2d::new(64, 7).stride(2).padding(3))?;
    let x = b.relu("relu", x)?;
    b.intermediate("relu", x)?;
    let window = Window::square(3).stride(2).padding(1);
    let x = b.node("maxpool", Operator::MaxPool { window }, &[x])?;
    b.intermediate("maxpool", x)?;
    b.stage("stem", &["conv1", "bn1", "relu", "maxpool"]);
    Ok(x)
}

/// Stage `layer{index + 1}`: its first block halves the image, but for `layer1`.
fn stage(b: &mut GraphBuilder, mut x: ValueId, index: usize, count: usize, deep: bool) -> Result<ValueId, GraphError> {
    let name = format!("layer{}", index + 1);
    let channels = 64 << index;
    for number in 0..count {
        let stride = if number == 0 && index > 0 { 2 } else { 1 };
        let block = format!("{name}.{number}");
        x = if deep {
            bottleneck(b, &block, x, channels, stride)?
        } else {
            basic_block(b, &block, x, channels, stride)?
        };
    }
    b.intermediate(&name, x)?;
    b.stage(&name, &[&name]);
    Ok(x)
}

/// 1 x 1, 3 x 3 with the stride, 1 x 1 to four times the channels (figure 5 right).
fn bottleneck(
    b: &mut GraphBuilder,
    block: &str,
    x: ValueId,
    channels: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let name = |part: &str| format!("{block}.{part}");
    let out = channels * EXPANSION;
    let y = conv_bn(b, &name("conv1"), &name("bn1"), x, Conv2d::new(channels, 1))?;
    let y = b.relu(&name("relu1"), y)?;
    let middle = Conv2d::new(channels, 3).stride(stride).padding(1);
    let y = conv_bn(b, &name("conv2"), &name("bn2"), y, middle)?;
    let y = b.relu(&name("relu2"), y)?;
    let y = conv_bn(b, &name("conv3"), &name("bn3"), y, Conv2d::new(out, 1))?;
    join(b, block, x, y, out, stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(size: usize) -> ResNetConfig {
        ResNetConfig {
            classes: 1000,
            channels: 3,
            size: [size; 2],
        }
    }

    /// Parameters and MACs at 224 x 224 as torchvision publishes them ("GFLOPS" in its model
    /// table counts multiply-accumulates).
    #[test]
    fn sizes_are_the_published_ones() {
        let published = [
            (18, 11_689_512, 1.81),
            (34, 21_797_672, 3.66),
            (50, 25_557_032, 4.09),
            (101, 44_549_160, 7.80),
            (152, 60_192_808, 11.51),
        ];
        for (depth, parameters, giga_macs) in published {
            let cost = resnet(depth, &config(224)).unwrap().cost();
            assert_eq!(cost.parameters, parameters, "resnet{depth}");
            let macs = cost.macs as f64 / 1e9;
            assert!((macs - giga_macs).abs() < 0.01, "resnet{depth}: {macs} GMAC");
        }
    }

    #[test]
    fn stages_cover_every_parameter_once() {
        let graph = resnet(50, &config(64)).unwrap();
        let names: Vec<_> = graph.stages().iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]);
        for parameter in graph.parameters() {
            let owners = graph.stages().iter().filter(|stage| stage.contains(&parameter.name));
            assert_eq!(owners.count(), 1, "{}", parameter.name);
        }
    }

    #[test]
    fn the_last_stage_has_stride_32() {
        let graph = resnet(18, &config(224)).unwrap();
        let parts = graph.classifier().unwrap();
        assert_eq!(graph.value(parts.features).shape.to_string(), "[N, 512, 7, 7]");
        assert_eq!(graph.find("layer4").unwrap(), parts.features);
        assert_eq!(graph.find("layer4.1").unwrap(), parts.features);
        assert_eq!(graph.value(parts.logits).name, "logits");
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let depth = resnet(20, &config(64)).unwrap_err().to_string();
        assert_eq!(depth, "ResNet depth is 20; allowed: 18, 34, 50, 101, 152");
        assert!(resnet(18, &config(16)).unwrap_err().to_string().contains("16 x 16"));
        let two_channels = ResNetConfig {
            channels: 2,
            ..config(64)
        };
        assert!(resnet(18, &two_channels).is_err());
    }
}

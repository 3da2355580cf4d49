//! A network of light projection-expansion-projection-extension blocks with selective long-range connections, after
//! COVID-Net (Wang, Lin, Wong 2020, arXiv 2003.09871, section 2.1 and figure 2).
//!
//! A block projects by a 1 x 1 convolution to few channels, expands by another to more, looks around in each of them by
//! a depth-wise 3 x 3 convolution, projects again, and extends to the output's channels: little work, for the 3 x 3
//! convolutions, which cost most elsewhere, run within one channel. Within a stage every block reads the sum of all that
//! was computed before it, and a 1 x 1 convolution carries the stage's input to all of its blocks.
//!
//! Numbers of blocks are the paper's: 3, 4, 6, 3. It gives no widths in words; those here make 8.0 million parameters.
//! Where the paper ends in two wide linear layers, this ends as every classifier here, in global average pooling and one
//! linear layer: Grad-CAM is then exact without a backward pass, and the network takes any image size.

use super::{ImageClassifier, conv_bn};
use crate::graph::layers::Conv2d;
use crate::graph::operator::Window;
use crate::graph::{Graph, GraphBuilder, GraphError, Operator, ValueId};

/// Channels of the stem.
const STEM: usize = 64;
/// Blocks and output channels of the stages.
const STAGES: [(usize, usize); 4] = [(3, 128), (4, 256), (6, 512), (3, 1024)];

/// The network: `[N, channels, H, W]` -> `logits` `[N, classes]`, stride 32.
///
/// Intermediates: `relu`, every block (`layer1.0` ...), and `layer1` to `layer4`.
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn covid_net(config: &ImageClassifier) -> Result<Graph, GraphError> {
    let mut b = GraphBuilder::new("covid_net");
    let image = config.input(&mut b)?;
    let x = conv_bn(&mut b, "conv1", "bn1", image, Conv2d::new(STEM, 7).stride(2).padding(3))?;
    let mut x = b.relu("relu", x)?;
    b.intermediate("relu", x)?;
    b.stage("stem", &["conv1", "bn1", "relu"]);
    for (index, (blocks, channels)) in STAGES.into_iter().enumerate() {
        x = stage(&mut b, x, &format!("layer{}", index + 1), blocks, channels)?;
    }
    config.finish(b, x)
}

/// Halves the image, then `blocks` blocks, each on the sum of the stage's input and all blocks before.
fn stage(b: &mut GraphBuilder, x: ValueId, name: &str, blocks: usize, channels: usize) -> Result<ValueId, GraphError> {
    let window = Window::square(2).stride(2);
    let x = b.node(&format!("{name}.pool"), Operator::MaxPool { window }, &[x])?;
    let [reach, norm] = ["reach.0", "reach.1"].map(|part| format!("{name}.{part}"));
    let mut sum = conv_bn(b, &reach, &norm, x, Conv2d::new(channels, 1))?;
    for number in 0..blocks {
        let path = format!("{name}.{number}");
        let block = pepx(b, &path, if number == 0 { x } else { sum }, channels)?;
        b.intermediate(&path, block)?;
        sum = b.node(&format!("{path}.add"), Operator::Add, &[block, sum])?;
    }
    // What the next stage and the map of Grad-CAM read is not negative, as behind the blocks of a ResNet.
    let sum = b.relu(&format!("{name}.relu"), sum)?;
    b.intermediate(name, sum)?;
    b.stage(name, &[name]);
    Ok(sum)
}

/// Projection, expansion, depth-wise 3 x 3, projection, extension. The projections are linear, as a narrow layer loses
/// what a ReLU cuts (Sandler et al. 2018, arXiv 1801.04381, section 3.2).
fn pepx(b: &mut GraphBuilder, block: &str, x: ValueId, out: usize) -> Result<ValueId, GraphError> {
    let input = b.shape(x).get(1).and_then(|dim| dim.fixed()).unwrap_or(out);
    let (narrow, wide) = (input / 2, input * 3 / 4);
    let around = Conv2d {
        groups: wide,
        ..Conv2d::new(wide, 3).padding(1)
    };
    let layers = [
        ("projection1", Conv2d::new(narrow, 1), false),
        ("expansion", Conv2d::new(wide, 1), true),
        ("depthwise", around, true),
        ("projection2", Conv2d::new(narrow, 1), false),
        ("extension", Conv2d::new(out, 1), true),
    ];
    let mut x = x;
    for (layer, conv, active) in layers {
        let name = |part: &str| format!("{block}.{layer}.{part}");
        x = conv_bn(b, &name("0"), &name("1"), x, conv)?;
        if active {
            x = b.relu(&name("2"), x)?;
        }
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(size: usize) -> ImageClassifier {
        ImageClassifier {
            classes: 3,
            channels: 3,
            size: [size; 2],
        }
    }

    /// Weights of a block and the two tensors of each of its five BatchNorms.
    fn block(input: u64, out: u64) -> u64 {
        let (narrow, wide) = (input / 2, input * 3 / 4);
        let weights = input * narrow + narrow * wide + 9 * wide + wide * narrow + narrow * out;
        weights + 2 * (2 * narrow + 2 * wide + out)
    }

    #[test]
    fn parameters_are_those_of_the_layers_by_hand() {
        let stem = 3 * 49 * 64 + 2 * 64;
        let stages: u64 = [(64, 128, 3), (128, 256, 4), (256, 512, 6), (512, 1024, 3)]
            .into_iter()
            .map(|(input, out, blocks)| (input * out + 2 * out) + block(input, out) + (blocks - 1) * block(out, out))
            .sum();
        let linear = 1024 * 3 + 3;
        let graph = covid_net(&config(224)).unwrap();
        assert_eq!(graph.cost().parameters, stem + stages + linear);
        assert!(
            (7_000_000..8_000_000).contains(&graph.cost().parameters),
            "{}",
            graph.cost().parameters
        );
        let giga_macs = graph.cost().macs as f64 / 1e9;
        assert!((0.5..2.5).contains(&giga_macs), "{giga_macs}");
    }

    #[test]
    fn the_maps_have_stride_32_and_stages_cover_every_parameter_once() {
        let graph = covid_net(&config(224)).unwrap();
        let parts = graph.classifier().unwrap();
        assert_eq!(graph.value(parts.features).shape.to_string(), "[N, 1024, 7, 7]");
        for parameter in graph.parameters() {
            let owners = graph.stages().iter().filter(|stage| stage.contains(&parameter.name));
            assert_eq!(owners.count(), 1, "{}", parameter.name);
        }
    }
}

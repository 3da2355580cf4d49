//! A ResNet as discriminator, to be begun from ImageNet weights. It takes the images of a generator, in [-1, 1] and of
//! one or three channels, and brings them to what those weights are used to.

use ndarray::{ArrayD, IxDyn};

use super::generative::{SCORE, check, check_within, image_input, projection};
use super::{IMAGE, resnet};
use crate::graph::{Graph, GraphBuilder, GraphError, Operator, ValueId};

/// Means of ImageNet's red, green and blue in [0, 1], as torchvision's weights were trained with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their deviations.
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Which discriminator to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetCriticConfig {
    /// Depth of the ResNet.
    pub depth: u32,
    /// How many of its four stages are used. Early features carry over best, and a partial weights file may lack the
    /// last.
    pub stages: usize,
    /// Side of the image in pixels.
    pub size: usize,
    /// Channels of the image: 1 or 3.
    pub channels: usize,
    /// Number of classes; none without a condition.
    pub classes: Option<usize>,
}

/// `image` `[N, channels, size, size]` in [-1, 1] (and `class`) -> `score` `[N, 1]`, under torchvision's names and
/// with `fc` as its last layer.
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn resnet_critic(config: &ResNetCriticConfig) -> Result<Graph, GraphError> {
    check("number of image channels", &config.channels, &[1, 3])?;
    check_within("stages of the ResNet", config.stages, 1..=4)?;
    check_within("image size of the discriminator", config.size, 32..=1024)?;
    let mut b = GraphBuilder::new(&format!("resnet{}_critic", config.depth));
    let image = image_input(&mut b, IMAGE, config.channels, config.size)?;
    let image = as_imagenet(&mut b, image, config.channels)?;
    let features = resnet::body(&mut b, image, config.depth, config.stages)?;
    let pooled = b.global_pool(features)?;
    let real = b.linear("fc", pooled, 1)?;
    let score = match config.classes {
        None => real,
        Some(classes) => {
            let suits = projection(&mut b, pooled, classes)?;
            b.node("sum", Operator::Add, &[real, suits])?
        }
    };
    b.stage("fc", &["avgpool", "pooled", "fc", "embed"]);
    b.output(SCORE, score)?;
    b.finish()
}

/// [-1, 1] to ImageNet's normalisation; grey to three equal channels.
fn as_imagenet(b: &mut GraphBuilder, image: ValueId, channels: usize) -> Result<ValueId, GraphError> {
    let rgb = match channels {
        1 => b.node("rgb", Operator::Concat { axis: 1 }, &[image; 3])?,
        _ => image,
    };
    let per_channel =
        |value: &dyn Fn(usize) -> f32| ArrayD::from_shape_fn(IxDyn(&[1, 3, 1, 1]), |index| value(index[1]));
    let scale = b.constant("imagenet.scale", per_channel(&|c| 0.5 / DEVIATION[c]))?;
    let shift = b.constant("imagenet.shift", per_channel(&|c| (0.5 - MEAN[c]) / DEVIATION[c]))?;
    let scaled = b.node("imagenet.scaled", Operator::Mul, &[rgb, scale])?;
    b.node("imagenet", Operator::Add, &[scaled, shift])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ResNetCriticConfig {
        ResNetCriticConfig {
            depth: 18,
            stages: 3,
            size: 64,
            channels: 1,
            classes: None,
        }
    }

    #[test]
    fn it_has_torchvisions_names_and_the_wanted_stages() {
        let graph = resnet_critic(&config()).unwrap();
        assert!(graph.parameter("layer3.1.conv2.weight").is_some());
        assert!(graph.parameter("layer4.0.conv1.weight").is_none());
        assert_eq!(
            graph.value(graph.find("layer3").unwrap()).shape.to_string(),
            "[N, 256, 4, 4]"
        );
        let conditional = ResNetCriticConfig {
            stages: 4,
            classes: Some(3),
            channels: 3,
            ..config()
        };
        let graph = resnet_critic(&conditional).unwrap();
        assert_eq!(graph.parameter("embed.weight").unwrap().shape, [3, 512]);
        let whole = graph.stages().iter().map(|stage| stage.name.as_str());
        assert_eq!(
            whole.collect::<Vec<_>>(),
            ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
        );
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let none = ResNetCriticConfig { stages: 0, ..config() };
        assert!(resnet_critic(&none).unwrap_err().to_string().contains("1 to 4"));
    }
}

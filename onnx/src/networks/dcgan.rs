//! DCGAN (Radford et al. 2015, arXiv 1511.06434), with the layers and names of PyTorch's example: strided and transposed
//! convolutions only, no linear layer.
//!
//! With classes, the generator scales and shifts what it has normalised as the class has learnt, and the discriminator adds
//! a projection of its features on a direction of the class (both: Miyato and Koyama 2018, arXiv 1802.05637). A class that
//! is read beside the noise instead lets the generator forget the noise: one image a class deceives as long as the batch,
//! which holds several classes, still varies (docs/decisions/0015-generative-training.md).

use super::IMAGE;
use super::generative::{
    LATENT, Norm, SCORE, by_class, check, check_within, class_input, conv, image_input, leaky_relu, normalise,
    projection,
};
use crate::graph::operator::Reduction;
use crate::graph::{ElementType, Graph, GraphBuilder, GraphError, Operator, Shape, ValueId};

/// Which pair of networks to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DcganConfig {
    /// Side of the image in pixels: 64 or 128.
    pub size: usize,
    /// Channels of the image: 1 or 3.
    pub channels: usize,
    /// Length of the noise vector.
    pub latent: usize,
    /// Channels of the layers next to the image; those further away have up to 8 (16 at 128 px) times as many.
    pub width: usize,
    /// Number of classes; none without a condition.
    pub classes: Option<usize>,
    /// What normalises the discriminator; the generator is normalised by the batch.
    pub discriminator_norm: Norm,
}

impl Default for DcganConfig {
    fn default() -> Self {
        Self {
            size: 64,
            channels: 1,
            latent: 100,
            width: 64,
            classes: None,
            discriminator_norm: Norm::Batch,
        }
    }
}

impl DcganConfig {
    fn check(&self) -> Result<(), GraphError> {
        check("image size of the DCGAN", &self.size, &[64, 128])?;
        check("number of image channels", &self.channels, &[1, 3])?;
        check_within("length of the noise vector", self.latent, 1..=4096)?;
        check_within("width of the DCGAN", self.width, 4..=512)?;
        self.classes
            .map_or(Ok(()), |classes| check_within("number of classes", classes, 1..=1000))
    }

    /// Times that the image is halved down to 4 x 4.
    fn halvings(&self) -> u32 {
        self.size.ilog2() - 2
    }
}

/// `latent` `[N, latent]` (and `class`) -> `image` `[N, channels, size, size]` in [-1, 1].
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn dcgan_generator(config: &DcganConfig) -> Result<Graph, GraphError> {
    config.check()?;
    let mut b = GraphBuilder::new("dcgan_generator");
    let latent = b.input(LATENT, ElementType::F32, Shape::batch(&[config.latent]))?;
    let class = config.classes.map(|_| class_input(&mut b)).transpose()?;
    let mut x = b.node("seed", Operator::Unsqueeze { axes: vec![2, 3] }, &[latent])?;
    let halvings = config.halvings();
    for level in 0..halvings {
        let channels = config.width << (halvings - 1 - level);
        let layer = match level {
            0 => conv(channels, 4, 1, 0),
            _ => conv(channels, 4, 2, 1),
        };
        let [up, norm, relu] = [0, 1, 2].map(|part| format!("main.{}", 3 * level + part));
        x = b.conv_transpose2d(&up, x, layer)?;
        x = normalise(&mut b, &norm, x, Norm::Batch)?;
        if let Some((class, classes)) = class.zip(config.classes) {
            x = by_class(&mut b, &norm, x, (class, classes))?;
        }
        x = b.relu(&relu, x)?;
        b.intermediate(&format!("level{}", level + 1), x)?;
    }
    let last = format!("main.{}", 3 * halvings);
    x = b.conv_transpose2d(&last, x, conv(config.channels, 4, 2, 1))?;
    let image = b.node(&format!("main.{}", 3 * halvings + 1), Operator::Tanh, &[x])?;
    b.output(IMAGE, image)?;
    b.finish()
}

/// `image` `[N, channels, size, size]` in [-1, 1] (and `class`) -> `score` `[N, 1]`.
///
/// Intermediates: `level1` (half the size) and on.
///
/// # Errors
/// [`GraphError::Config`] for a configuration out of range.
pub fn dcgan_discriminator(config: &DcganConfig) -> Result<Graph, GraphError> {
    config.check()?;
    let mut b = GraphBuilder::new("dcgan_discriminator");
    let mut x = image_input(&mut b, IMAGE, config.channels, config.size)?;
    let mut number = 0;
    for level in 0..config.halvings() {
        let [down, norm] = [0, 1].map(|part| format!("main.{}", number + part));
        x = b.conv2d(&down, x, conv(config.width << level, 4, 2, 1))?;
        // The first layer is not normalised: it would lose the image's brightness (section 3 of the paper).
        if level > 0 {
            x = normalise(&mut b, &norm, x, config.discriminator_norm)?;
        }
        let relu = number + if level > 0 { 2 } else { 1 };
        x = leaky_relu(&mut b, &format!("main.{relu}"), x)?;
        b.intermediate(&format!("level{}", level + 1), x)?;
        b.stage(&format!("level{}", level + 1), &[&down, &norm, &format!("main.{relu}")]);
        number = relu + 1;
    }
    let last = format!("main.{number}");
    let real = b.conv2d(&last, x, conv(1, 4, 1, 0))?;
    let real = b.node("real", Operator::Flatten { axis: 1 }, &[real])?;
    let score = match config.classes {
        None => real,
        Some(classes) => {
            let features = pooled(&mut b, x)?;
            let suits = projection(&mut b, features, classes)?;
            b.node("sum", Operator::Add, &[real, suits])?
        }
    };
    b.stage("head", &[&last, "embed"]);
    b.output(SCORE, score)?;
    b.finish()
}

/// The sum over the map, `[N, C]`.
fn pooled(b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, GraphError> {
    let sum = Operator::Reduce {
        reduction: Reduction::Sum,
        axes: vec![2, 3],
        keep_dims: false,
    };
    b.node("pooled", sum, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters of PyTorch's example with three channels, counted there.
    #[test]
    fn sizes_are_the_examples() {
        let config = DcganConfig {
            channels: 3,
            ..DcganConfig::default()
        };
        assert_eq!(dcgan_generator(&config).unwrap().cost().parameters, 3_576_704);
        assert_eq!(dcgan_discriminator(&config).unwrap().cost().parameters, 2_765_568);
    }

    /// A class costs the generator a gain and a shift of each normalised channel, the discriminator a direction.
    #[test]
    fn classes_cost_what_the_condition_says() {
        let plain = DcganConfig::default();
        let nine = DcganConfig {
            classes: Some(9),
            ..plain
        };
        let more = |network: fn(&DcganConfig) -> Result<Graph, GraphError>| {
            network(&nine).unwrap().cost().parameters - network(&plain).unwrap().cost().parameters
        };
        assert_eq!(more(dcgan_generator), 9 * 2 * (512 + 256 + 128 + 64));
        assert_eq!(more(dcgan_discriminator), 9 * 512);
    }

    #[test]
    fn both_sizes_meet_at_the_image() {
        for (size, levels) in [(64, 4), (128, 5)] {
            let config = DcganConfig {
                size,
                classes: Some(9),
                discriminator_norm: Norm::None,
                ..DcganConfig::default()
            };
            let generator = dcgan_generator(&config).unwrap();
            let image = generator.value(generator.outputs()[0]);
            assert_eq!(image.shape.to_string(), format!("[N, 1, {size}, {size}]"));
            let discriminator = dcgan_discriminator(&config).unwrap();
            let last = discriminator.find(&format!("level{levels}")).unwrap();
            assert!(discriminator.value(last).shape.to_string().ends_with("4, 4]"));
            let score = discriminator.value(discriminator.outputs()[0]);
            assert_eq!(score.shape.to_string(), "[N, 1]");
        }
    }

    #[test]
    fn names_are_the_examples() {
        let graph = dcgan_discriminator(&DcganConfig::default()).unwrap();
        for name in ["main.0.weight", "main.2.weight", "main.3.running_var", "main.11.weight"] {
            assert!(graph.parameter(name).is_some(), "{name}");
        }
        let graph = dcgan_generator(&DcganConfig::default()).unwrap();
        for name in ["main.0.weight", "main.1.weight", "main.12.weight"] {
            assert!(graph.parameter(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let config = DcganConfig {
            size: 96,
            ..DcganConfig::default()
        };
        let error = dcgan_generator(&config).unwrap_err().to_string();
        assert_eq!(error, "image size of the DCGAN is 96; allowed: 64, 128");
    }
}

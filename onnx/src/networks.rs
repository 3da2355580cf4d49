//! The architectures, each described once, one a file.

pub mod covid_net;
pub mod dcgan;
pub mod fusion;
pub mod patch_gan;
pub mod resnet;
pub mod resnet_critic;
pub mod small_cnn;
pub mod unet;

mod generative;

pub use covid_net::covid_net;
pub use dcgan::{DcganConfig, dcgan_discriminator, dcgan_generator};
pub use fusion::{Ratio, fusion};
pub use generative::{CLASS, LATENT, Norm, SCORE, SOURCE};
pub use patch_gan::{PatchGanConfig, patch_gan};
pub use resnet::{ResNetConfig, resnet};
pub use resnet_critic::{ResNetCriticConfig, resnet_critic};
pub use small_cnn::{SmallCnnConfig, small_cnn};
pub use unet::{UnetConfig, unet};

use crate::graph::layers::Conv2d;
use crate::graph::{Classifier, ElementType, Graph, GraphBuilder, GraphError, Shape, ValueId};

/// Name of the image input of every network.
pub const IMAGE: &str = "image";
/// Name of the class scores of every classifier.
pub const LOGITS: &str = "logits";

/// What every classifier can be asked for: `[N, channels, H, W]` in, `[N, classes]` out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageClassifier {
    /// Number of classes K.
    pub classes: usize,
    /// Channels of the image: 1 grey, 3 as ImageNet's weights want it.
    pub channels: usize,
    /// Size of the image, `[height, width]`.
    pub size: [usize; 2],
}

impl ImageClassifier {
    fn input(&self, b: &mut GraphBuilder) -> Result<ValueId, GraphError> {
        if self.classes == 0 {
            return Err(GraphError::Config {
                what: "number of classes",
                found: self.classes.to_string(),
                allowed: "1 and more".to_owned(),
            });
        }
        if ![1, 3].contains(&self.channels) {
            return Err(GraphError::Config {
                what: "number of image channels",
                found: self.channels.to_string(),
                allowed: "1 or 3".to_owned(),
            });
        }
        let [height, width] = self.size;
        // Five halvings must leave a pixel.
        if height < 32 || width < 32 {
            return Err(GraphError::Config {
                what: "image size",
                found: format!("{height} x {width}"),
                allowed: "32 x 32 pixels and more".to_owned(),
            });
        }
        b.input(IMAGE, ElementType::F32, Shape::batch(&[self.channels, height, width]))
    }

    /// Global average pooling and the linear layer `fc` over the last stage.
    fn finish(&self, mut b: GraphBuilder, features: ValueId) -> Result<Graph, GraphError> {
        let pooled = b.global_pool(features)?;
        let logits = b.linear("fc", pooled, self.classes)?;
        b.stage("fc", &["avgpool", "pooled", "fc"]);
        b.output(LOGITS, logits)?;
        let weight = b.graph().find("fc.weight")?;
        b.classifier(Classifier {
            features,
            pooled,
            logits,
            weight,
            linear: "fc".to_owned(),
        });
        b.finish()
    }
}

/// Convolution `conv`, BatchNorm `bn`, and no activation.
fn conv_bn(b: &mut GraphBuilder, conv: &str, bn: &str, x: ValueId, layer: Conv2d) -> Result<ValueId, GraphError> {
    let x = b.conv2d(conv, x, layer)?;
    b.batch_norm(bn, x)
}

/// A residual block of two 3 x 3 convolutions (He et al. 2015, arXiv 1512.03385, figure 5 left)
/// with torchvision's names: `conv1`, `bn1`, `conv2`, `bn2`, `downsample.0`, `downsample.1`.
fn basic_block(
    b: &mut GraphBuilder,
    block: &str,
    x: ValueId,
    channels: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let name = |part: &str| format!("{block}.{part}");
    let layer = Conv2d::new(channels, 3).padding(1);
    let y = conv_bn(b, &name("conv1"), &name("bn1"), x, layer.stride(stride))?;
    let y = b.relu(&name("relu"), y)?;
    let y = conv_bn(b, &name("conv2"), &name("bn2"), y, layer)?;
    join(b, block, x, y, channels, stride)
}

/// Adds the shortcut, projected where extents differ, and applies ReLU.
fn join(
    b: &mut GraphBuilder,
    block: &str,
    x: ValueId,
    y: ValueId,
    channels: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let name = |part: &str| format!("{block}.{part}");
    let same = stride == 1 && b.shape(x).get(1) == b.shape(y).get(1);
    let shortcut = if same {
        x
    } else {
        let projection = Conv2d::new(channels, 1).stride(stride);
        conv_bn(b, &name("downsample.0"), &name("downsample.1"), x, projection)?
    };
    let sum = b.node(&name("add"), crate::graph::Operator::Add, &[y, shortcut])?;
    let out = b.relu(&name("relu_out"), sum)?;
    b.intermediate(block, out)?;
    Ok(out)
}

//! Layers: operators with their parameters, named and initialised as torch and torchvision do.

use super::operator::Window;
use super::{GraphBuilder, GraphError, Initializer, Operator, ParameterKind, ValueId};

/// Epsilon of torch's normalisation layers.
pub const NORM_EPSILON: f32 = 1e-5;
/// Momentum of torch's BatchNorm.
pub const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// A convolution with `<name>.weight` and, if asked for, `<name>.bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Output channels.
    pub out_channels: usize,
    /// Kernel, stride, padding, dilation.
    pub window: Window,
    /// Groups.
    pub groups: usize,
    /// Whether there is a bias; not before BatchNorm.
    pub bias: bool,
    /// What a fresh weight holds.
    pub initializer: Initializer,
}

impl Conv2d {
    /// A square kernel, stride 1, no padding, no bias, for ReLU.
    pub const fn new(out_channels: usize, kernel: usize) -> Self {
        Self {
            out_channels,
            window: Window::square(kernel),
            groups: 1,
            bias: false,
            initializer: Initializer::KaimingNormalFanOut,
        }
    }

    /// With this stride.
    pub const fn stride(mut self, stride: usize) -> Self {
        self.window = self.window.stride(stride);
        self
    }

    /// With this padding.
    pub const fn padding(mut self, padding: usize) -> Self {
        self.window = self.window.padding(padding);
        self
    }

    /// With a bias.
    pub const fn with_bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// With this rule for the weight.
    pub const fn initializer(mut self, initializer: Initializer) -> Self {
        self.initializer = initializer;
        self
    }
}

impl GraphBuilder {
    /// `[N,C,H,W]` -> `[N,O,H',W']`.
    ///
    /// # Errors
    /// [`GraphError`] for taken names or extents that do not fit.
    pub fn conv2d(&mut self, name: &str, x: ValueId, layer: Conv2d) -> Result<ValueId, GraphError> {
        let Conv2d {
            out_channels,
            window,
            groups,
            bias,
            initializer,
        } = layer;
        let per_group = self.channels(x) / groups.max(1);
        let [kh, kw] = window.kernel;
        let shape = [out_channels, per_group, kh, kw];
        let mut inputs = vec![x, self.trainable(&format!("{name}.weight"), &shape, initializer)?];
        if bias {
            let rule = Initializer::UniformFanIn {
                fan_in: per_group * kh * kw,
            };
            inputs.push(self.trainable(&format!("{name}.bias"), &[out_channels], rule)?);
        }
        self.node(name, Operator::Conv { window, groups }, &inputs)
    }

    /// `[N,C,H,W]` -> `[N,O,H',W']`, stride as enlargement; `layer.groups` must be 1.
    ///
    /// # Errors
    /// As [`GraphBuilder::conv2d`].
    pub fn conv_transpose2d(&mut self, name: &str, x: ValueId, layer: Conv2d) -> Result<ValueId, GraphError> {
        let Conv2d {
            out_channels,
            window,
            groups,
            bias,
            initializer,
        } = layer;
        let [kh, kw] = window.kernel;
        let shape = [self.channels(x), out_channels / groups.max(1), kh, kw];
        let mut inputs = vec![x, self.trainable(&format!("{name}.weight"), &shape, initializer)?];
        if bias {
            // Torch computes this layer's fan from the second axis of the weight.
            let rule = Initializer::UniformFanIn {
                fan_in: shape[1] * kh * kw,
            };
            inputs.push(self.trainable(&format!("{name}.bias"), &[out_channels], rule)?);
        }
        self.node(
            name,
            Operator::ConvTranspose {
                window,
                output_padding: [0, 0],
                groups,
            },
            &inputs,
        )
    }

    /// BatchNorm over `[N,C,...]` with torch's four tensors.
    ///
    /// # Errors
    /// [`GraphError`] for taken names.
    pub fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.batch_norm_from(name, x, Initializer::Ones)
    }

    /// As [`GraphBuilder::batch_norm`], with this rule for a fresh weight.
    ///
    /// # Errors
    /// As [`GraphBuilder::batch_norm`].
    pub fn batch_norm_from(&mut self, name: &str, x: ValueId, weight: Initializer) -> Result<ValueId, GraphError> {
        let [weight, bias] = self.affine(name, x, weight)?;
        let shape = [self.channels(x)];
        let running = ParameterKind::RunningStatistic;
        let mean = self.parameter(&format!("{name}.running_mean"), &shape, running, Initializer::Zeros)?;
        let var = self.parameter(&format!("{name}.running_var"), &shape, running, Initializer::Ones)?;
        let operator = Operator::BatchNormalization {
            epsilon: NORM_EPSILON,
            momentum: BATCH_NORM_MOMENTUM,
        };
        self.node(name, operator, &[x, weight, bias, mean, var])
    }

    /// InstanceNorm over `[N,C,H,W]` with a weight and a bias a channel.
    ///
    /// # Errors
    /// [`GraphError`] for taken names.
    pub fn instance_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.instance_norm_from(name, x, Initializer::Ones)
    }

    /// As [`GraphBuilder::instance_norm`], with this rule for a fresh weight.
    ///
    /// # Errors
    /// As [`GraphBuilder::instance_norm`].
    pub fn instance_norm_from(&mut self, name: &str, x: ValueId, weight: Initializer) -> Result<ValueId, GraphError> {
        let [weight, bias] = self.affine(name, x, weight)?;
        self.node(
            name,
            Operator::InstanceNormalization { epsilon: NORM_EPSILON },
            &[x, weight, bias],
        )
    }

    /// Linear layer `[N,I]` -> `[N,O]` with torch's weight `[O,I]` and bias.
    ///
    /// # Errors
    /// [`GraphError`] for taken names, or if x is not `[N,I]`.
    pub fn linear(&mut self, name: &str, x: ValueId, out_features: usize) -> Result<ValueId, GraphError> {
        let fan_in = self.channels(x);
        let rule = Initializer::UniformFanIn { fan_in };
        let weight = self.trainable(&format!("{name}.weight"), &[out_features, fan_in], rule)?;
        let bias = self.trainable(&format!("{name}.bias"), &[out_features], rule)?;
        self.node(name, Operator::Gemm, &[x, weight, bias])
    }

    /// Table `[classes, width]` read by indices i64 `[N]`: -> `[N, width]`; `rule` is for a fresh table.
    ///
    /// # Errors
    /// [`GraphError`] for taken names, or if the indices are not integers.
    pub fn embedding(
        &mut self,
        name: &str,
        indices: ValueId,
        classes: usize,
        width: usize,
        rule: Initializer,
    ) -> Result<ValueId, GraphError> {
        let table = self.trainable(&format!("{name}.weight"), &[classes, width], rule)?;
        self.node(name, Operator::Gather { axis: 0 }, &[table, indices])
    }

    /// max(x, 0).
    ///
    /// # Errors
    /// [`GraphError`] for a taken name.
    pub fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, Operator::Relu, &[x])
    }

    /// `[N,C,H,W]` -> `[N,C]`: `avgpool`, then flattened as `pooled`.
    ///
    /// # Errors
    /// [`GraphError`] for taken names, or if x is no image.
    pub fn global_pool(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        let pooled = self.node("avgpool", Operator::GlobalAveragePool, &[x])?;
        self.node("pooled", Operator::Flatten { axis: 1 }, &[pooled])
    }

    fn affine(&mut self, name: &str, x: ValueId, weight: Initializer) -> Result<[ValueId; 2], GraphError> {
        let shape = [self.channels(x)];
        let weight = self.trainable(&format!("{name}.weight"), &shape, weight)?;
        let bias = self.trainable(&format!("{name}.bias"), &shape, Initializer::Zeros)?;
        Ok([weight, bias])
    }

    fn trainable(&mut self, name: &str, shape: &[usize], initializer: Initializer) -> Result<ValueId, GraphError> {
        self.parameter(name, shape, ParameterKind::Trainable, initializer)
    }

    /// Extent of axis 1; 0 if there is none, which shape inference then refuses with the node's
    /// name.
    fn channels(&self, x: ValueId) -> usize {
        self.shape(x).get(1).and_then(|dim| dim.fixed()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ElementType, Shape};

    #[test]
    fn layers_carry_torchs_names() {
        let mut b = GraphBuilder::new("layers");
        let image = b.input("image", ElementType::F32, Shape::batch(&[4, 8, 8])).unwrap();
        let classes = b.input("classes", ElementType::I64, Shape::batch(&[])).unwrap();
        let x = b.conv2d("conv", image, Conv2d::new(6, 3).with_bias()).unwrap();
        let x = b.instance_norm("norm", x).unwrap();
        let x = b.conv_transpose2d("up", x, Conv2d::new(2, 4).stride(2)).unwrap();
        let x = b.batch_norm("bn", x).unwrap();
        let pooled = b.global_pool(x).unwrap();
        let embedded = b.embedding("embed", classes, 3, 5, Initializer::Ones).unwrap();
        let linear = b.linear("fc", pooled, 5).unwrap();
        let sum = b.node("sum", Operator::Add, &[linear, embedded]).unwrap();
        assert_eq!(b.shape(sum).to_string(), "[N, 5]");
        let names: Vec<&str> = b.graph().parameters().iter().map(|p| p.name.as_str()).collect();
        let torchs = "conv.weight conv.bias norm.weight norm.bias up.weight bn.weight bn.bias bn.running_mean \
                      bn.running_var embed.weight fc.weight fc.bias";
        assert_eq!(names.join(" "), torchs);
        // A bias is drawn with the fan of its layer: 4 channels of 3 x 3 pixels.
        let bias = b.graph().parameter("conv.bias").unwrap();
        assert_eq!(bias.initializer, Initializer::UniformFanIn { fan_in: 36 });
    }

    #[test]
    fn an_image_without_channels_is_refused_by_the_node() {
        let mut b = GraphBuilder::new("flat");
        let x = b.input("x", ElementType::F32, Shape::batch(&[])).unwrap();
        let error = b.conv2d("conv", x, Conv2d::new(6, 3)).unwrap_err().to_string();
        assert!(
            error.starts_with("node `conv` (Conv): input 0 has shape [N]"),
            "{error}"
        );
    }
}

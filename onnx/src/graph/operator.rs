//! The operators: ONNX's standard ones with typed attributes.
//!
//! Spatial operators are two-dimensional over `[N, C, H, W]`. Attributes that ONNX holds as extra
//! inputs (the k of TopK, the axes of Squeeze) are attributes here; export writes the inputs.

use super::shape::Shape;

/// Window of a convolution or pooling over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Extents of the kernel, `[height, width]`.
    pub kernel: [usize; 2],
    /// Steps, `[vertical, horizontal]`.
    pub stride: [usize; 2],
    /// Padding on both sides, `[top and bottom, left and right]`.
    pub padding: [usize; 2],
    /// Distance of the kernel's taps, `[vertical, horizontal]`.
    pub dilation: [usize; 2],
}

impl Window {
    /// A square kernel with stride 1, no padding, no dilation.
    pub const fn square(kernel: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
        }
    }

    /// With this stride in both directions.
    pub const fn stride(mut self, stride: usize) -> Self {
        self.stride = [stride; 2];
        self
    }

    /// With this padding on all four sides.
    pub const fn padding(mut self, padding: usize) -> Self {
        self.padding = [padding; 2];
        self
    }

    /// With this dilation in both directions.
    pub const fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = [dilation; 2];
        self
    }
}

/// How a reduction combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum.
    Sum,
    /// Arithmetic mean.
    Mean,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

/// What [`Operator::Pad`] fills the border with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The image mirrored at its outermost pixels, which are not repeated.
    Reflect,
    /// The outermost pixel.
    Edge,
}

/// How [`Operator::Resize`] interpolates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// Nearest neighbour: output pixel i reads input pixel i / scale, rounded down.
    Nearest,
    /// Bilinear at half-pixel centres, torch's `align_corners=False`.
    Bilinear,
}

/// An operator with its attributes. Axes count from 0; negative ones are not used.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// (x `[N,C,H,W]`, weight `[O,C/groups,kh,kw]`, bias `[O]`?) -> `[N,O,H',W']`.
    Conv {
        /// Kernel, stride, padding, dilation.
        window: Window,
        /// Number of groups.
        groups: usize,
    },
    /// (x `[N,C,H,W]`, weight `[C,O/groups,kh,kw]`, bias `[O]`?) -> `[N,O,H',W']`.
    ConvTranspose {
        /// Kernel, stride, padding, dilation.
        window: Window,
        /// Rows and columns added at the bottom and right of the output.
        output_padding: [usize; 2],
        /// Number of groups.
        groups: usize,
    },
    /// (x `[N,C,...]`, weight `[C]`, bias `[C]`, running_mean `[C]`, running_var `[C]`) -> like x.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
        /// Weight of the new batch in the running average: torch's convention, one minus ONNX's.
        momentum: f32,
    },
    /// (x `[N,C,H,W]`, weight `[C]`, bias `[C]`) -> like x; statistics of each image and channel.
    InstanceNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// max(x, 0).
    Relu,
    /// x, or slope x where negative.
    LeakyRelu {
        /// Slope of the negative part.
        slope: f32,
    },
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Square root.
    Sqrt,
    /// x limited to `[min, max]`.
    Clip {
        /// Lower limit.
        min: f32,
        /// Upper limit.
        max: f32,
    },
    /// exp(x) normalised to sum 1 along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Largest element in the window; padding never wins.
    MaxPool {
        /// Kernel, stride, padding, dilation.
        window: Window,
    },
    /// Mean in the window; dilation is 1.
    AveragePool {
        /// Kernel, stride, padding.
        window: Window,
        /// Whether padded zeros count.
        count_include_pad: bool,
    },
    /// `[N,C,H,W]` -> `[N,C,1,1]`.
    GlobalAveragePool,
    /// Linear layer: (x `[N,I]`, weight `[O,I]`, bias `[O]`?) -> x weightᵀ + bias `[N,O]`.
    Gemm,
    /// Matrix product over the last two axes, leading axes broadcast.
    MatMul,
    /// a + b, broadcast.
    Add,
    /// a - b, broadcast.
    Sub,
    /// a b, broadcast.
    Mul,
    /// a / b, broadcast.
    Div,
    /// Joins any number of inputs along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// The same elements in another shape; the batch keeps its axis.
    Reshape {
        /// The new shape.
        shape: Shape,
    },
    /// Joins the axes before `axis`, and those from `axis` on: always two axes.
    Flatten {
        /// First axis of the second group.
        axis: usize,
    },
    /// Permutes axes: axis i of the output is axis `order[i]` of the input.
    Transpose {
        /// A permutation.
        order: Vec<usize>,
    },
    /// Removes axes of extent 1.
    Squeeze {
        /// Axes of the input, ascending.
        axes: Vec<usize>,
    },
    /// Adds axes of extent 1.
    Unsqueeze {
        /// Axes of the output, ascending.
        axes: Vec<usize>,
    },
    /// (data, indices i64) -> data with `axis` replaced by the axes of the indices.
    Gather {
        /// Axis of the data.
        axis: usize,
    },
    /// Elements `start..end` along an axis.
    Slice {
        /// The axis; not the batch.
        axis: usize,
        /// First index.
        start: usize,
        /// One past the last index.
        end: usize,
    },
    /// The k largest along an axis, sorted descending, equal ones by ascending index: (values,
    /// indices i64).
    TopK {
        /// How many.
        k: usize,
        /// The axis.
        axis: usize,
    },
    /// Combines the elements along axes.
    Reduce {
        /// How.
        reduction: Reduction,
        /// Axes, ascending.
        axes: Vec<usize>,
        /// Whether the axes stay, with extent 1.
        keep_dims: bool,
    },
    /// Adds a border to `[N,C,H,W]`.
    Pad {
        /// What fills it.
        mode: PadMode,
        /// Rows and columns: `[top, left, bottom, right]`.
        padding: [usize; 4],
    },
    /// Enlarges `[N,C,H,W]` by whole factors.
    Resize {
        /// Interpolation.
        mode: ResizeMode,
        /// Factors of height and width.
        scale: [usize; 2],
    },
    /// Train mode: zeroes elements with probability `p` and divides the others by 1 - p. Eval
    /// mode: the identity.
    Dropout {
        /// Probability of a zero.
        p: f32,
    },
    /// x itself.
    Identity,
}

impl Operator {
    /// Name in the ONNX operator set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "Conv",
            Self::ConvTranspose { .. } => "ConvTranspose",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::InstanceNormalization { .. } => "InstanceNormalization",
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
            Self::Sqrt => "Sqrt",
            Self::Clip { .. } => "Clip",
            Self::Softmax { .. } => "Softmax",
            Self::MaxPool { .. } => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::Gemm => "Gemm",
            Self::MatMul => "MatMul",
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::Concat { .. } => "Concat",
            Self::Reshape { .. } => "Reshape",
            Self::Flatten { .. } => "Flatten",
            Self::Transpose { .. } => "Transpose",
            Self::Squeeze { .. } => "Squeeze",
            Self::Unsqueeze { .. } => "Unsqueeze",
            Self::Gather { .. } => "Gather",
            Self::Slice { .. } => "Slice",
            Self::TopK { .. } => "TopK",
            Self::Reduce { reduction, .. } => match reduction {
                Reduction::Sum => "ReduceSum",
                Reduction::Mean => "ReduceMean",
                Reduction::Max => "ReduceMax",
                Reduction::Min => "ReduceMin",
            },
            Self::Pad { .. } => "Pad",
            Self::Resize { .. } => "Resize",
            Self::Dropout { .. } => "Dropout",
            Self::Identity => "Identity",
        }
    }

    /// Whether the operator computes otherwise in train mode than in eval mode.
    pub fn has_modes(&self) -> bool {
        matches!(self, Self::BatchNormalization { .. } | Self::Dropout { .. })
    }
}

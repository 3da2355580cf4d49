//! Shapes, and one inference function per operator.

mod convolution;
mod elementwise;
mod layout;
mod matrix;
mod normalization;
mod reduction;
mod spatial;

use std::fmt;
use std::ops::Deref;

use super::{ElementType, Operator};

/// Extent of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// The batch, the only extent that is not known before the graph runs: `N` in the file.
    Batch,
    /// A known extent.
    Fixed(usize),
}

impl Dim {
    /// The extent, unless it is the batch.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Self::Batch => None,
            Self::Fixed(extent) => Some(extent),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("N"),
            Self::Fixed(extent) => write!(f, "{extent}"),
        }
    }
}

/// Extents of a tensor; empty for a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<Dim>);

impl Shape {
    /// These extents.
    pub fn new(dims: impl Into<Vec<Dim>>) -> Self {
        Self(dims.into())
    }

    /// Known extents only.
    pub fn fixed(extents: &[usize]) -> Self {
        Self(extents.iter().map(|extent| Dim::Fixed(*extent)).collect())
    }

    /// The batch, then known extents.
    pub fn batch(extents: &[usize]) -> Self {
        let known = extents.iter().map(|extent| Dim::Fixed(*extent));
        Self(std::iter::once(Dim::Batch).chain(known).collect())
    }

    /// The extents of a batch of this size.
    pub fn with_batch(&self, batch: usize) -> Vec<usize> {
        self.0.iter().map(|dim| dim.fixed().unwrap_or(batch)).collect()
    }

    /// Product of the known extents: the elements of one image of the batch.
    pub fn elements_per_image(&self) -> usize {
        self.0.iter().filter_map(|dim| dim.fixed()).product()
    }
}

impl Deref for Shape {
    type Target = [Dim];

    fn deref(&self) -> &[Dim] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.0.iter().enumerate() {
            let comma = if axis == 0 { "" } else { ", " };
            write!(f, "{comma}{dim}")?;
        }
        f.write_str("]")
    }
}

/// Why an operator does not accept its inputs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Too few or too many inputs.
    #[error("takes {wanted} inputs, got {found}")]
    InputCount {
        /// Inputs given.
        found: usize,
        /// Inputs allowed.
        wanted: &'static str,
    },
    /// An input has the wrong shape.
    #[error("input {input} has shape {found}, wanted {wanted}")]
    Input {
        /// Number of the input, from 0.
        input: usize,
        /// Its shape.
        found: Shape,
        /// What would fit.
        wanted: String,
    },
    /// An input has the wrong element type.
    #[error("input {input} has element type {found:?}, wanted {wanted:?}")]
    Element {
        /// Number of the input, from 0.
        input: usize,
        /// Its element type.
        found: ElementType,
        /// The one wanted.
        wanted: ElementType,
    },
    /// An attribute does not fit the inputs.
    #[error("{attribute} {reason}")]
    Attribute {
        /// The attribute.
        attribute: &'static str,
        /// Why.
        reason: String,
    },
}

/// Element type and shape of a value, as inference sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Element type.
    pub element: ElementType,
    /// Shape.
    pub shape: Shape,
}

impl Typed {
    /// A float value.
    pub fn f32(shape: Shape) -> Self {
        Self {
            element: ElementType::F32,
            shape,
        }
    }

    /// An index value.
    pub fn i64(shape: Shape) -> Self {
        Self {
            element: ElementType::I64,
            shape,
        }
    }
}

/// Element types and shapes of the outputs of `operator` on these inputs.
///
/// # Errors
/// [`ShapeError`] if the operator does not accept them.
pub fn infer(operator: &Operator, inputs: &[Typed]) -> Result<Vec<Typed>, ShapeError> {
    let inputs = Inputs(inputs);
    let shape = match operator {
        Operator::Conv { window, groups } => convolution::conv(&inputs, window, *groups),
        Operator::ConvTranspose {
            window,
            output_padding,
            groups,
        } => convolution::conv_transpose(&inputs, window, *output_padding, *groups),
        Operator::BatchNormalization { epsilon, momentum } => normalization::batch(&inputs, *epsilon, *momentum),
        Operator::InstanceNormalization { epsilon } => normalization::instance(&inputs, *epsilon),
        Operator::Relu | Operator::LeakyRelu { .. } | Operator::Sigmoid | Operator::Tanh | Operator::Sqrt => {
            elementwise::unary(&inputs)
        }
        Operator::Identity => return elementwise::identity(&inputs),
        Operator::Clip { min, max } => elementwise::clip(&inputs, *min, *max),
        Operator::Dropout { p } => elementwise::dropout(&inputs, *p),
        Operator::Softmax { axis } => elementwise::softmax(&inputs, *axis),
        Operator::MaxPool { window } => spatial::max_pool(&inputs, window),
        Operator::AveragePool { window, .. } => spatial::average_pool(&inputs, window),
        Operator::GlobalAveragePool => spatial::global_average_pool(&inputs),
        Operator::Pad { mode, padding } => spatial::pad(&inputs, *mode, *padding),
        Operator::Resize { scale, .. } => spatial::resize(&inputs, *scale),
        Operator::Gemm => matrix::gemm(&inputs),
        Operator::MatMul => matrix::matmul(&inputs),
        Operator::Add | Operator::Sub | Operator::Mul | Operator::Div => elementwise::binary(&inputs),
        Operator::Concat { axis } => layout::concat(&inputs, *axis),
        Operator::Reshape { shape } => layout::reshape(&inputs, shape),
        Operator::Flatten { axis } => layout::flatten(&inputs, *axis),
        Operator::Transpose { order } => layout::transpose(&inputs, order),
        Operator::Squeeze { axes } => layout::squeeze(&inputs, axes),
        Operator::Unsqueeze { axes } => layout::unsqueeze(&inputs, axes),
        Operator::Gather { axis } => layout::gather(&inputs, *axis),
        Operator::Slice { axis, start, end } => layout::slice(&inputs, *axis, *start..*end),
        Operator::TopK { k, axis } => return reduction::top_k(&inputs, *k, *axis),
        Operator::Reduce { axes, keep_dims, .. } => reduction::reduce(&inputs, axes, *keep_dims),
    };
    Ok(vec![Typed::f32(shape?)])
}

/// Inputs of a node, with the checks that many operators share.
struct Inputs<'a>(&'a [Typed]);

impl Inputs<'_> {
    /// Refuses a number of inputs outside `allowed`, and inputs that are not floats.
    fn floats(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<(), ShapeError> {
        self.count(allowed)?;
        (0..self.0.len()).try_for_each(|input| self.element(input, ElementType::F32))
    }

    fn count(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<(), ShapeError> {
        let found = self.0.len();
        if allowed.contains(&found) {
            return Ok(());
        }
        let wanted = match (*allowed.start(), *allowed.end()) {
            (1, 1) => "1",
            (2, 2) => "2",
            (2, 3) => "2 or 3",
            (3, 3) => "3",
            (5, 5) => "5",
            _ => "1 or more",
        };
        Err(ShapeError::InputCount { found, wanted })
    }

    fn element(&self, input: usize, wanted: ElementType) -> Result<(), ShapeError> {
        let found = self.0[input].element;
        if found == wanted {
            Ok(())
        } else {
            Err(ShapeError::Element { input, found, wanted })
        }
    }

    fn shape(&self, input: usize) -> &Shape {
        &self.0[input].shape
    }

    /// The error that this input has the wrong shape.
    fn misfit(&self, input: usize, wanted: impl Into<String>) -> ShapeError {
        ShapeError::Input {
            input,
            found: self.shape(input).clone(),
            wanted: wanted.into(),
        }
    }

    /// Batch and known extents of an `[N,C,H,W]` input.
    fn image(&self, input: usize) -> Result<(Dim, [usize; 3]), ShapeError> {
        match **self.shape(input) {
            [batch, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)] => Ok((batch, [c, h, w])),
            _ => Err(self.misfit(input, "[N, C, H, W]")),
        }
    }

    /// Requires an input, if present, to have these known extents.
    fn exactly(&self, input: usize, extents: &[usize]) -> Result<(), ShapeError> {
        let wanted = Shape::fixed(extents);
        if self.0.len() <= input || *self.shape(input) == wanted {
            return Ok(());
        }
        Err(self.misfit(input, wanted.to_string()))
    }

    /// Requires `axis` to be an axis of the input.
    fn axis(&self, input: usize, axis: usize) -> Result<(), ShapeError> {
        let rank = self.shape(input).len();
        if axis < rank {
            return Ok(());
        }
        Err(attribute(
            "axis",
            format!("is {axis}, but input {input} has {rank} axes"),
        ))
    }
}

/// An image shape `[N,C,H,W]`.
fn image_shape(batch: Dim, [c, h, w]: [usize; 3]) -> Shape {
    Shape::new([batch, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)])
}

fn attribute(attribute: &'static str, reason: impl Into<String>) -> ShapeError {
    ShapeError::Attribute {
        attribute,
        reason: reason.into(),
    }
}

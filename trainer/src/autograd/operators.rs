//! One ONNX operator as libtorch calls, differentiable where libtorch is.

use onnx::graph::operator::{PadMode, Reduction, ResizeMode, Window};
use onnx::graph::{Operator, Shape};
use tch::{Kind, TchError, Tensor};

use super::modes::Mode;
use crate::native;

/// Applies an operator to its inputs (in ONNX order, trailing optional ones absent) and gives its outputs. The inputs'
/// shapes are those that the graph's shape inference accepted.
///
/// # Errors
/// libtorch's own: out of memory, or inputs that the graph did not promise.
pub fn apply(operator: &Operator, inputs: &[Tensor], mode: Mode) -> Result<Vec<Tensor>, TchError> {
    let input = |position: usize| {
        inputs
            .get(position)
            .ok_or_else(|| TchError::Shape(format!("{} lacks input {position}", operator.name())))
    };
    let x = input(0)?;
    let output = match operator {
        Operator::Conv { window, groups } => convolution(inputs, window, *groups)?,
        Operator::ConvTranspose {
            window,
            output_padding,
            groups,
        } => transposed_convolution(inputs, window, *output_padding, *groups)?,
        Operator::BatchNormalization { epsilon, momentum } => batch_normalization(inputs, mode, *epsilon, *momentum)?,
        Operator::InstanceNormalization { epsilon } => x.f_instance_norm(
            Some(input(1)?),
            Some(input(2)?),
            None,
            None,
            true,
            0.1,
            f64::from(*epsilon),
            true,
        )?,
        Operator::Relu => x.f_relu()?,
        Operator::LeakyRelu { slope } => native::leaky_relu(x, f64::from(*slope))?,
        Operator::Sigmoid => x.f_sigmoid()?,
        Operator::Tanh => x.f_tanh()?,
        Operator::Sqrt => x.f_sqrt()?,
        Operator::Clip { min, max } => x.f_clamp(f64::from(*min), f64::from(*max))?,
        Operator::Softmax { axis } => x.f_softmax(*axis as i64, None::<Kind>)?,
        Operator::MaxPool { window } => x.f_max_pool2d(
            pair(window.kernel),
            pair(window.stride),
            pair(window.padding),
            pair(window.dilation),
            false,
        )?,
        Operator::AveragePool {
            window,
            count_include_pad,
        } => x.f_avg_pool2d(
            pair(window.kernel),
            pair(window.stride),
            pair(window.padding),
            false,
            *count_include_pad,
            None::<i64>,
        )?,
        Operator::GlobalAveragePool => x.f_adaptive_avg_pool2d([1, 1])?,
        Operator::Gemm => x.f_linear(input(1)?, inputs.get(2))?,
        Operator::MatMul => x.f_matmul(input(1)?)?,
        Operator::Add => x.f_add(input(1)?)?,
        Operator::Sub => x.f_sub(input(1)?)?,
        Operator::Mul => x.f_mul(input(1)?)?,
        Operator::Div => x.f_div(input(1)?)?,
        Operator::Concat { axis } => Tensor::f_cat(inputs, *axis as i64)?,
        Operator::Reshape { shape } => x.f_reshape(extents(shape))?,
        Operator::Flatten { axis } => flatten(x, *axis)?,
        Operator::Transpose { order } => x.f_permute(axes(order))?,
        Operator::Squeeze { axes } => squeeze(x, axes)?,
        Operator::Unsqueeze { axes } => unsqueeze(x, axes)?,
        Operator::Gather { axis } => gather(x, input(1)?, *axis)?,
        Operator::Slice { axis, start, end } => {
            x.f_narrow(*axis as i64, *start as i64, end.saturating_sub(*start) as i64)?
        }
        Operator::TopK { k, axis } => return top_k(x, *k, *axis),
        Operator::Reduce {
            reduction,
            axes,
            keep_dims,
        } => reduce(x, *reduction, axes, *keep_dims)?,
        Operator::Pad { mode, padding } => pad(x, *mode, *padding)?,
        Operator::Resize { mode, scale } => resize(x, *mode, *scale)?,
        Operator::Dropout { p } => x.f_dropout(f64::from(*p), mode == Mode::Train)?,
        Operator::Identity => x.shallow_clone(),
    };
    Ok(vec![output])
}

fn pair(values: [usize; 2]) -> [i64; 2] {
    values.map(|value| value as i64)
}

fn axes(axes: &[usize]) -> Vec<i64> {
    axes.iter().map(|axis| *axis as i64).collect()
}

/// libtorch's extents for a shape: the batch is what is left.
fn extents(shape: &Shape) -> Vec<i64> {
    shape
        .iter()
        .map(|dim| dim.fixed().map_or(-1, |extent| extent as i64))
        .collect()
}

fn convolution(inputs: &[Tensor], window: &Window, groups: usize) -> Result<Tensor, TchError> {
    inputs[0].f_conv2d(
        weight(inputs)?,
        inputs.get(2),
        pair(window.stride),
        pair(window.padding),
        pair(window.dilation),
        groups as i64,
    )
}

fn transposed_convolution(
    inputs: &[Tensor],
    window: &Window,
    output_padding: [usize; 2],
    groups: usize,
) -> Result<Tensor, TchError> {
    inputs[0].f_conv_transpose2d(
        weight(inputs)?,
        inputs.get(2),
        pair(window.stride),
        pair(window.padding),
        pair(output_padding),
        groups as i64,
        pair(window.dilation),
    )
}

fn weight(inputs: &[Tensor]) -> Result<&Tensor, TchError> {
    inputs
        .get(1)
        .ok_or_else(|| TchError::Shape("a convolution without a weight".into()))
}

fn batch_normalization(inputs: &[Tensor], mode: Mode, epsilon: f32, momentum: f32) -> Result<Tensor, TchError> {
    let [x, weight, bias, mean, variance] = inputs else {
        return Err(TchError::Shape("BatchNormalization takes five inputs".into()));
    };
    // libtorch moves the running statistics in place, the variance by its unbiased estimate.
    x.f_batch_norm(
        Some(weight),
        Some(bias),
        Some(mean),
        Some(variance),
        mode == Mode::Train,
        f64::from(momentum),
        f64::from(epsilon),
        true,
    )
}

fn flatten(x: &Tensor, axis: usize) -> Result<Tensor, TchError> {
    let size = x.size();
    let (outer, inner) = size.split_at(axis.min(size.len()));
    x.f_reshape([outer.iter().product::<i64>(), inner.iter().product::<i64>()])
}

fn squeeze(x: &Tensor, axes: &[usize]) -> Result<Tensor, TchError> {
    // From the last axis, so that the earlier ones keep their numbers.
    axes.iter()
        .rev()
        .try_fold(x.shallow_clone(), |x, axis| x.f_squeeze_dim(*axis as i64))
}

fn unsqueeze(x: &Tensor, axes: &[usize]) -> Result<Tensor, TchError> {
    axes.iter()
        .try_fold(x.shallow_clone(), |x, axis| x.f_unsqueeze(*axis as i64))
}

fn gather(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor, TchError> {
    let size = x.size();
    let mut shape = size[..axis].to_vec();
    shape.extend(indices.size());
    shape.extend(&size[axis + 1..]);
    x.f_index_select(axis as i64, &indices.f_reshape([-1])?)?
        .f_reshape(shape)
}

fn top_k(x: &Tensor, k: usize, axis: usize) -> Result<Vec<Tensor>, TchError> {
    // torch's own topk leaves the order of equal elements open; ONNX wants ascending indices.
    let (values, indices) = x.f_sort_stable(true, axis as i64, true)?;
    let first = |tensor: &Tensor| tensor.f_narrow(axis as i64, 0, k as i64);
    Ok(vec![first(&values)?, first(&indices)?])
}

fn reduce(x: &Tensor, reduction: Reduction, along: &[usize], keep_dims: bool) -> Result<Tensor, TchError> {
    let along = axes(along);
    match reduction {
        Reduction::Sum => x.f_sum_dim_intlist(along, keep_dims, None::<Kind>),
        Reduction::Mean => x.f_mean_dim(along, keep_dims, None::<Kind>),
        Reduction::Max => x.f_amax(along, keep_dims),
        Reduction::Min => x.f_amin(along, keep_dims),
    }
}

fn pad(x: &Tensor, mode: PadMode, padding: [usize; 4]) -> Result<Tensor, TchError> {
    let [top, left, bottom, right] = padding.map(|count| count as i64);
    // libtorch counts from the last axis.
    let border = [left, right, top, bottom];
    match mode {
        PadMode::Constant(value) => x.f_pad(border, "constant", f64::from(value)),
        PadMode::Reflect => x.f_pad(border, "reflect", None::<f64>),
        PadMode::Edge => x.f_pad(border, "replicate", None::<f64>),
    }
}

fn resize(x: &Tensor, mode: ResizeMode, scale: [usize; 2]) -> Result<Tensor, TchError> {
    let (_, _, height, width) = x.size4()?;
    let size = [height * scale[0] as i64, width * scale[1] as i64];
    match mode {
        ResizeMode::Nearest => x.f_upsample_nearest2d(size, None::<f64>, None::<f64>),
        ResizeMode::Bilinear => x.f_upsample_bilinear2d(size, false, None::<f64>, None::<f64>),
    }
}

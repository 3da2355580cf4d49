//! Operators that work element by element, and Softmax, which keeps the shape too.

use super::{Dim, Inputs, Shape, ShapeError, Typed, attribute};

/// One float input, output like it.
pub(super) fn unary(inputs: &Inputs) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    Ok(inputs.shape(0).clone())
}

/// One input of any element type, output like it.
pub(super) fn identity(inputs: &Inputs) -> Result<Vec<Typed>, ShapeError> {
    inputs.count(1..=1)?;
    Ok(vec![inputs.0[0].clone()])
}

/// As [`unary`], with min not above max.
pub(super) fn clip(inputs: &Inputs, min: f32, max: f32) -> Result<Shape, ShapeError> {
    if min.is_nan() || max.is_nan() || min > max {
        return Err(attribute("min", format!("is {min}, above max {max}")));
    }
    unary(inputs)
}

/// As [`unary`], with a probability below 1.
pub(super) fn dropout(inputs: &Inputs, p: f32) -> Result<Shape, ShapeError> {
    if !(0.0..1.0).contains(&p) {
        return Err(attribute("p", format!("is {p}, wanted 0 up to, not including, 1")));
    }
    unary(inputs)
}

/// As [`unary`], with the axis in range.
pub(super) fn softmax(inputs: &Inputs, axis: usize) -> Result<Shape, ShapeError> {
    let shape = unary(inputs)?;
    inputs.axis(0, axis)?;
    Ok(shape)
}

/// Two float inputs, broadcast.
pub(super) fn binary(inputs: &Inputs) -> Result<Shape, ShapeError> {
    inputs.floats(2..=2)?;
    broadcast(inputs.shape(0), inputs.shape(1))
        .ok_or_else(|| inputs.misfit(1, format!("one that broadcasts with {}", inputs.shape(0))))
}

/// The common shape by numpy's rule: aligned at the last axis, extent 1 stretches.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let aligned = |dims: &[Dim], axis: usize| {
        (axis + dims.len())
            .checked_sub(rank)
            .map_or(Dim::Fixed(1), |axis| dims[axis])
    };
    let dims: Option<Vec<Dim>> = (0..rank)
        .map(|axis| match (aligned(a, axis), aligned(b, axis)) {
            (left, right) if left == right => Some(left),
            (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => Some(dim),
            _ => None,
        })
        .collect();
    dims.map(Shape::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let merge = |a: &Shape, b: &Shape| broadcast(a, b).map(|shape| shape.to_string());
        let image = Shape::batch(&[8, 4, 4]);
        assert_eq!(merge(&image, &Shape::fixed(&[8, 1, 1])).unwrap(), "[N, 8, 4, 4]");
        assert_eq!(merge(&Shape::fixed(&[]), &image).unwrap(), "[N, 8, 4, 4]");
        assert_eq!(merge(&Shape::fixed(&[1, 8]), &Shape::batch(&[1])).unwrap(), "[N, 8]");
        assert_eq!(merge(&image, &Shape::fixed(&[4, 1, 1])), None);
        // A batch must not silently meet a fixed extent: it would break for any other batch.
        assert_eq!(merge(&Shape::batch(&[8]), &Shape::fixed(&[2, 8])), None);
    }
}

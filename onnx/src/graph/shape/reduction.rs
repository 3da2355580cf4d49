//! Reductions and TopK.

use super::layout::check_ascending;
use super::{Dim, Inputs, Shape, ShapeError, Typed, attribute};

/// One float input; the axes go, or stay with extent 1.
pub(super) fn reduce(inputs: &Inputs, axes: &[usize], keep_dims: bool) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    check_ascending(axes)?;
    // ONNX reads an empty list as "all axes"; here it can only be a mistake.
    if axes.is_empty() {
        return Err(attribute("axes", "are none"));
    }
    axes.iter().try_for_each(|axis| inputs.axis(0, *axis))?;
    let dims = inputs.shape(0).iter().enumerate().filter_map(|(axis, dim)| {
        if !axes.contains(&axis) {
            return Some(*dim);
        }
        keep_dims.then_some(Dim::Fixed(1))
    });
    Ok(Shape::new(dims.collect::<Vec<_>>()))
}

/// One float input; values and i64 indices with extent k along the axis.
pub(super) fn top_k(inputs: &Inputs, k: usize, axis: usize) -> Result<Vec<Typed>, ShapeError> {
    inputs.floats(1..=1)?;
    inputs.axis(0, axis)?;
    let mut dims = inputs.shape(0).to_vec();
    match dims[axis].fixed() {
        Some(extent) if (1..=extent).contains(&k) => dims[axis] = Dim::Fixed(k),
        _ => {
            return Err(attribute(
                "k",
                format!("is {k}, wanted 1 to the {} of axis {axis}", dims[axis]),
            ));
        }
    }
    let shape = Shape::new(dims);
    Ok(vec![Typed::f32(shape.clone()), Typed::i64(shape)])
}

#[cfg(test)]
mod tests {
    use super::super::infer;
    use super::*;
    use crate::graph::operator::{Operator, Reduction};

    #[test]
    fn reductions_drop_or_keep_axes() {
        let input = [Typed::f32(Shape::batch(&[8, 4, 4]))];
        let run = |axes: &[usize], keep_dims| {
            let axes = axes.to_vec();
            infer(
                &Operator::Reduce {
                    reduction: Reduction::Mean,
                    axes,
                    keep_dims,
                },
                &input,
            )
            .map(|outputs| outputs[0].shape.to_string())
        };
        assert_eq!(run(&[2, 3], false).unwrap(), "[N, 8]");
        assert_eq!(run(&[2, 3], true).unwrap(), "[N, 8, 1, 1]");
        assert!(run(&[], false).is_err());
        assert!(run(&[4], false).is_err());
        assert!(run(&[3, 2], false).is_err());
    }

    #[test]
    fn top_k_is_bounded_by_its_axis() {
        let input = [Typed::f32(Shape::batch(&[3]))];
        let outputs = infer(&Operator::TopK { k: 2, axis: 1 }, &input).unwrap();
        assert_eq!(
            outputs,
            [Typed::f32(Shape::batch(&[2])), Typed::i64(Shape::batch(&[2]))]
        );
        assert!(infer(&Operator::TopK { k: 4, axis: 1 }, &input).is_err());
        assert!(infer(&Operator::TopK { k: 0, axis: 1 }, &input).is_err());
    }
}

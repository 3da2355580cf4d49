//! Operators that move elements without computing.

use std::ops::Range;

use super::{Dim, ElementType, Inputs, Shape, ShapeError, attribute};

/// Any number of inputs, equal but along `axis`.
pub(super) fn concat(inputs: &Inputs, axis: usize) -> Result<Shape, ShapeError> {
    inputs.floats(1..=usize::MAX)?;
    inputs.axis(0, axis)?;
    let first = inputs.shape(0);
    let mut total = 0;
    for input in 0..inputs.0.len() {
        let shape = inputs.shape(input);
        let alike = shape.len() == first.len() && (0..first.len()).all(|a| a == axis || shape[a] == first[a]);
        let extent = shape.get(axis).and_then(|dim| dim.fixed());
        match extent {
            Some(extent) if alike => total += extent,
            _ => return Err(inputs.misfit(input, format!("{first} but for axis {axis}"))),
        }
    }
    let mut dims = first.to_vec();
    dims[axis] = Dim::Fixed(total);
    Ok(Shape::new(dims))
}

/// One input with as many elements per image as the new shape; the batch keeps its axis.
pub(super) fn reshape(inputs: &Inputs, shape: &Shape) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let from = inputs.shape(0);
    let batch = |shape: &Shape| -> Vec<usize> {
        let axes = shape.iter().enumerate().filter(|(_, dim)| **dim == Dim::Batch);
        axes.map(|(axis, _)| axis).collect()
    };
    if batch(from) != batch(shape) || shape.elements_per_image() != from.elements_per_image() {
        return Err(attribute(
            "shape",
            format!("{shape} cannot hold the elements of {from} with the batch in its place"),
        ));
    }
    Ok(shape.clone())
}

/// Two axes: those before `axis` joined, and those from it on.
pub(super) fn flatten(inputs: &Inputs, axis: usize) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let shape = inputs.shape(0);
    if axis > shape.len() {
        return Err(attribute("axis", format!("is {axis}, beyond the last of {shape}")));
    }
    let join = |dims: &[Dim]| match dims {
        [Dim::Batch] => Some(Dim::Batch),
        [Dim::Batch, rest @ ..] if rest.iter().all(|dim| *dim == Dim::Fixed(1)) => Some(Dim::Batch),
        _ => dims
            .iter()
            .map(|dim| dim.fixed())
            .product::<Option<usize>>()
            .map(Dim::Fixed),
    };
    match (join(&shape[..axis]), join(&shape[axis..])) {
        (Some(left), Some(right)) => Ok(Shape::new([left, right])),
        _ => Err(attribute(
            "axis",
            format!("{axis} would join the batch of {shape} with other axes"),
        )),
    }
}

/// The input's axes in another order.
pub(super) fn transpose(inputs: &Inputs, order: &[usize]) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let shape = inputs.shape(0);
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(attribute(
            "order",
            format!("{order:?} is no permutation of the axes of {shape}"),
        ));
    }
    Ok(Shape::new(order.iter().map(|axis| shape[*axis]).collect::<Vec<_>>()))
}

/// Without `axes`, which must have extent 1.
pub(super) fn squeeze(inputs: &Inputs, axes: &[usize]) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let shape = inputs.shape(0);
    check_ascending(axes)?;
    for axis in axes {
        inputs.axis(0, *axis)?;
        if shape[*axis] != Dim::Fixed(1) {
            return Err(attribute(
                "axes",
                format!("name axis {axis} of {shape}, which is not 1"),
            ));
        }
    }
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    Ok(Shape::new(kept.map(|axis| shape[axis]).collect::<Vec<_>>()))
}

/// With new axes of extent 1 at these places of the output.
pub(super) fn unsqueeze(inputs: &Inputs, axes: &[usize]) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    check_ascending(axes)?;
    let mut dims = inputs.shape(0).to_vec();
    for axis in axes {
        if *axis > dims.len() {
            return Err(attribute("axes", format!("name axis {axis} beyond the output's last")));
        }
        dims.insert(*axis, Dim::Fixed(1));
    }
    Ok(Shape::new(dims))
}

/// (float data, i64 indices): the axis gives way to the axes of the indices.
pub(super) fn gather(inputs: &Inputs, axis: usize) -> Result<Shape, ShapeError> {
    inputs.count(2..=2)?;
    inputs.element(0, ElementType::F32)?;
    inputs.element(1, ElementType::I64)?;
    inputs.axis(0, axis)?;
    let (data, indices) = (inputs.shape(0), inputs.shape(1));
    let dims = [&data[..axis], indices, &data[axis + 1..]].concat();
    Ok(Shape::new(dims))
}

/// A range of one axis that is not the batch.
pub(super) fn slice(inputs: &Inputs, axis: usize, range: Range<usize>) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    inputs.axis(0, axis)?;
    let mut dims = inputs.shape(0).to_vec();
    match dims[axis].fixed() {
        Some(extent) if range.start < range.end && range.end <= extent => {
            dims[axis] = Dim::Fixed(range.len());
            Ok(Shape::new(dims))
        }
        _ => Err(attribute(
            "range",
            format!("{range:?} is not within axis {axis} of {}", inputs.shape(0)),
        )),
    }
}

/// Requires axes to be named once each, in order.
pub(super) fn check_ascending(axes: &[usize]) -> Result<(), ShapeError> {
    if axes.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(attribute("axes", format!("{axes:?} are not ascending")))
}

#[cfg(test)]
mod tests {
    use super::super::{Typed, infer};
    use super::*;
    use crate::graph::Operator;

    fn run(operator: Operator, inputs: &[Typed]) -> Result<String, ShapeError> {
        infer(&operator, inputs).map(|outputs| outputs[0].shape.to_string())
    }

    fn image() -> Typed {
        Typed::f32(Shape::batch(&[8, 4, 6]))
    }

    #[test]
    fn axes_move_as_asked() {
        let order = Operator::Transpose {
            order: vec![0, 2, 3, 1],
        };
        assert_eq!(run(order, &[image()]).unwrap(), "[N, 4, 6, 8]");
        assert_eq!(run(Operator::Flatten { axis: 1 }, &[image()]).unwrap(), "[N, 192]");
        let axes = Operator::Unsqueeze { axes: vec![1, 5] };
        assert_eq!(run(axes, &[image()]).unwrap(), "[N, 1, 8, 4, 6, 1]");
        let rows = Operator::Gather { axis: 0 };
        let weight = Typed::f32(Shape::fixed(&[3, 512]));
        assert_eq!(
            run(rows, &[weight, Typed::i64(Shape::batch(&[2]))]).unwrap(),
            "[N, 2, 512]"
        );
        let slice = Operator::Slice {
            axis: 2,
            start: 1,
            end: 3,
        };
        assert_eq!(run(slice, &[image()]).unwrap(), "[N, 8, 2, 6]");
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let shape = Shape::batch(&[191]);
        assert!(run(Operator::Reshape { shape }, &[image()]).is_err());
        assert!(
            run(
                Operator::Reshape {
                    shape: Shape::fixed(&[192])
                },
                &[image()]
            )
            .is_err()
        );
        assert!(run(Operator::Flatten { axis: 2 }, &[image()]).is_err());
        assert!(run(Operator::Flatten { axis: 5 }, &[image()]).is_err());
        assert!(
            run(
                Operator::Transpose {
                    order: vec![0, 1, 1, 2]
                },
                &[image()]
            )
            .is_err()
        );
        assert!(run(Operator::Squeeze { axes: vec![1] }, &[image()]).is_err());
        assert!(
            run(
                Operator::Slice {
                    axis: 0,
                    start: 0,
                    end: 1
                },
                &[image()]
            )
            .is_err()
        );
        assert!(run(Operator::Concat { axis: 0 }, &[image()]).is_err());
        let other = Typed::f32(Shape::batch(&[8, 4, 5]));
        assert!(run(Operator::Concat { axis: 1 }, &[image(), other]).is_err());
        assert!(run(Operator::Gather { axis: 0 }, &[image(), image()]).is_err());
    }
}

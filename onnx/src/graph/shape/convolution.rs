//! Conv and ConvTranspose.

use super::{Dim, Inputs, Shape, ShapeError, attribute, image_shape};
use crate::graph::operator::Window;

/// (x `[N,C,H,W]`, weight `[O,C/groups,kh,kw]`, bias `[O]`?) -> `[N,O,H',W']` with
/// H' = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1.
pub(super) fn conv(inputs: &Inputs, window: &Window, groups: usize) -> Result<Shape, ShapeError> {
    inputs.floats(2..=3)?;
    let (batch, [c, h, w]) = inputs.image(0)?;
    let out = weight_extents(inputs, window, 0)?;
    check_groups(groups, c, out)?;
    inputs.exactly(1, &[out, c / groups, window.kernel[0], window.kernel[1]])?;
    inputs.exactly(2, &[out])?;
    let height = window_positions(h, window, 0)?;
    let width = window_positions(w, window, 1)?;
    Ok(image_shape(batch, [out, height, width]))
}

/// (x `[N,C,H,W]`, weight `[C,O/groups,kh,kw]`, bias `[O]`?) -> `[N,O,H',W']` with
/// H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output padding.
pub(super) fn conv_transpose(
    inputs: &Inputs,
    window: &Window,
    output_padding: [usize; 2],
    groups: usize,
) -> Result<Shape, ShapeError> {
    inputs.floats(2..=3)?;
    check_window(window)?;
    let (batch, [c, h, w]) = inputs.image(0)?;
    let out = weight_extents(inputs, window, 1)? * groups;
    check_groups(groups, c, out)?;
    inputs.exactly(1, &[c, out / groups, window.kernel[0], window.kernel[1]])?;
    inputs.exactly(2, &[out])?;
    let extent = |input: usize, axis: usize| {
        let reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        if output_padding[axis] >= window.stride[axis].max(window.dilation[axis]) {
            return Err(attribute("output_padding", "must be below the stride or the dilation"));
        }
        ((input.max(1) - 1) * window.stride[axis] + reach + output_padding[axis])
            .checked_sub(2 * window.padding[axis])
            .filter(|extent| *extent > 0)
            .ok_or_else(|| attribute("padding", "leaves no output"))
    };
    Ok(image_shape(batch, [out, extent(h, 0)?, extent(w, 1)?]))
}

/// Number of positions of a window along one spatial axis (0 height, 1 width).
pub(super) fn window_positions(extent: usize, window: &Window, axis: usize) -> Result<usize, ShapeError> {
    check_window(window)?;
    let reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
    let room = extent + 2 * window.padding[axis];
    let last = room.checked_sub(reach).ok_or_else(|| {
        attribute(
            "kernel",
            format!("reaches over {reach} pixels, but there are {room} with padding"),
        )
    })?;
    Ok(last / window.stride[axis] + 1)
}

fn check_window(window: &Window) -> Result<(), ShapeError> {
    let positive = [
        ("kernel", window.kernel),
        ("stride", window.stride),
        ("dilation", window.dilation),
    ];
    for (name, extents) in positive {
        if extents.contains(&0) {
            return Err(attribute(name, "must be at least 1"));
        }
    }
    Ok(())
}

/// Extent of one axis of the weight, which must be `[_, _, kh, kw]`.
fn weight_extents(inputs: &Inputs, window: &Window, axis: usize) -> Result<usize, ShapeError> {
    let [kh, kw] = window.kernel;
    match inputs.shape(1).get(axis) {
        Some(Dim::Fixed(extent)) if inputs.shape(1).len() == 4 && *extent > 0 => Ok(*extent),
        _ => Err(inputs.misfit(1, format!("[., ., {kh}, {kw}]"))),
    }
}

fn check_groups(groups: usize, channels: usize, out: usize) -> Result<(), ShapeError> {
    if groups == 0 || !channels.is_multiple_of(groups) || !out.is_multiple_of(groups) {
        let reason = format!("is {groups}, which must divide {channels} input and {out} output channels");
        return Err(attribute("groups", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Typed, infer};
    use super::*;
    use crate::graph::Operator;

    fn run(operator: Operator, shapes: &[Shape]) -> Result<String, ShapeError> {
        let inputs: Vec<_> = shapes.iter().cloned().map(Typed::f32).collect();
        infer(&operator, &inputs).map(|outputs| outputs[0].shape.to_string())
    }

    #[test]
    fn conv_follows_its_formula() {
        let stem = Operator::Conv {
            window: Window::square(7).stride(2).padding(3),
            groups: 1,
        };
        let shapes = [
            Shape::batch(&[3, 224, 225]),
            Shape::fixed(&[64, 3, 7, 7]),
            Shape::fixed(&[64]),
        ];
        assert_eq!(run(stem, &shapes).unwrap(), "[N, 64, 112, 113]");
        let dilated = Operator::Conv {
            window: Window::square(3).dilation(2),
            groups: 2,
        };
        let shapes = [Shape::batch(&[4, 9, 9]), Shape::fixed(&[6, 2, 3, 3])];
        assert_eq!(run(dilated, &shapes).unwrap(), "[N, 6, 5, 5]");
    }

    #[test]
    fn conv_transpose_undoes_the_stride() {
        let up = Operator::ConvTranspose {
            window: Window::square(4).stride(2).padding(1),
            output_padding: [0, 0],
            groups: 1,
        };
        let shapes = [Shape::batch(&[100, 4, 4]), Shape::fixed(&[100, 64, 4, 4])];
        assert_eq!(run(up, &shapes).unwrap(), "[N, 64, 8, 8]");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let conv = |groups| Operator::Conv {
            window: Window::square(5),
            groups,
        };
        let image = Shape::batch(&[3, 8, 8]);
        let wrong_channels = run(conv(1), &[image.clone(), Shape::fixed(&[8, 4, 5, 5])]);
        assert_eq!(
            wrong_channels.unwrap_err().to_string(),
            "input 1 has shape [8, 4, 5, 5], wanted [8, 3, 5, 5]"
        );
        let groups = run(conv(2), &[image, Shape::fixed(&[8, 3, 5, 5])]).unwrap_err();
        assert!(groups.to_string().starts_with("groups is 2"), "{groups}");
        let small = [Shape::batch(&[3, 4, 8]), Shape::fixed(&[8, 3, 5, 5])];
        assert!(run(conv(1), &small).unwrap_err().to_string().contains("reaches over 5"));
        let bias = [
            Shape::batch(&[3, 8, 8]),
            Shape::fixed(&[8, 3, 5, 5]),
            Shape::fixed(&[7]),
        ];
        assert!(matches!(run(conv(1), &bias), Err(ShapeError::Input { input: 2, .. })));
    }
}

//! Pooling, padding and resizing of `[N,C,H,W]`.

use super::convolution::window_positions;
use super::{Inputs, Shape, ShapeError, attribute, image_shape};
use crate::graph::operator::{PadMode, Window};

/// `[N,C,H,W]` -> `[N,C,H',W']`, extents as a convolution's.
pub(super) fn max_pool(inputs: &Inputs, window: &Window) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let (batch, [c, h, w]) = inputs.image(0)?;
    let size = [window_positions(h, window, 0)?, window_positions(w, window, 1)?];
    // Torch's rule; a wider border would give windows without any pixel.
    if (0..2).any(|axis| 2 * window.padding[axis] > window.kernel[axis]) {
        return Err(attribute("padding", "is more than half the kernel"));
    }
    Ok(image_shape(batch, [c, size[0], size[1]]))
}

/// As [`max_pool`], without dilation.
pub(super) fn average_pool(inputs: &Inputs, window: &Window) -> Result<Shape, ShapeError> {
    if window.dilation != [1, 1] {
        return Err(attribute("dilation", "is not known to AveragePool in operator set 17"));
    }
    max_pool(inputs, window)
}

/// `[N,C,H,W]` -> `[N,C,1,1]`.
pub(super) fn global_average_pool(inputs: &Inputs) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let (batch, [c, _, _]) = inputs.image(0)?;
    Ok(image_shape(batch, [c, 1, 1]))
}

/// `[N,C,H,W]` with rows and columns `[top, left, bottom, right]` added.
pub(super) fn pad(inputs: &Inputs, mode: PadMode, padding: [usize; 4]) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let (batch, [c, h, w]) = inputs.image(0)?;
    let [top, left, bottom, right] = padding;
    if mode == PadMode::Reflect && (top.max(bottom) >= h || left.max(right) >= w) {
        return Err(attribute(
            "padding",
            format!("{padding:?} reflects beyond {h} x {w} pixels"),
        ));
    }
    Ok(image_shape(batch, [c, h + top + bottom, w + left + right]))
}

/// `[N,C,H,W]` -> `[N,C,H scale,W scale]`.
pub(super) fn resize(inputs: &Inputs, scale: [usize; 2]) -> Result<Shape, ShapeError> {
    inputs.floats(1..=1)?;
    let (batch, [c, h, w]) = inputs.image(0)?;
    if scale.contains(&0) {
        return Err(attribute("scale", "must be at least 1"));
    }
    Ok(image_shape(batch, [c, h * scale[0], w * scale[1]]))
}

#[cfg(test)]
mod tests {
    use super::super::{Typed, infer};
    use super::*;
    use crate::graph::Operator;

    fn run(operator: Operator) -> Result<String, ShapeError> {
        let input = [Typed::f32(Shape::batch(&[8, 112, 113]))];
        infer(&operator, &input).map(|outputs| outputs[0].shape.to_string())
    }

    #[test]
    fn spatial_extents() {
        let window = Window::square(3).stride(2).padding(1);
        assert_eq!(run(Operator::MaxPool { window }).unwrap(), "[N, 8, 56, 57]");
        assert_eq!(run(Operator::GlobalAveragePool).unwrap(), "[N, 8, 1, 1]");
        let pad = |padding| Operator::Pad {
            mode: PadMode::Reflect,
            padding,
        };
        assert_eq!(run(pad([3, 2, 1, 0])).unwrap(), "[N, 8, 116, 115]");
        let resize = Operator::Resize {
            mode: crate::graph::operator::ResizeMode::Nearest,
            scale: [2, 3],
        };
        assert_eq!(run(resize).unwrap(), "[N, 8, 224, 339]");
    }

    #[test]
    fn impossible_windows_are_refused() {
        let wide = Window::square(3).padding(2);
        assert!(run(Operator::MaxPool { window: wide }).is_err());
        let dilated = Window::square(3).dilation(2);
        assert!(
            run(Operator::AveragePool {
                window: dilated,
                count_include_pad: true
            })
            .is_err()
        );
        assert!(
            run(Operator::Pad {
                mode: PadMode::Reflect,
                padding: [112, 0, 0, 0]
            })
            .is_err()
        );
    }
}

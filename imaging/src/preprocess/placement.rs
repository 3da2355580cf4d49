//! Which part of the image fills which part of the tensor.

use serde::{Deserialize, Serialize};

use super::{CropRule, PreprocessError, PreprocessSpec};
use crate::resample::{Part, fit_size};

/// Sides of an image that can be resized, in pixels.
const MAXIMUM_IMAGE_SIDE: usize = 65_535;

/// A rectangle in pixels of an image; it may reach beyond the image where the tensor was padded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    /// Left border, 0 at the image's left edge.
    pub left: f64,
    /// Top border, 0 at the image's top edge.
    pub top: f64,
    /// Width, above zero.
    pub width: f64,
    /// Height, above zero.
    pub height: f64,
}

/// Where a part of the image lands in the tensor, both in whole pixels.
pub(super) struct Placement {
    pub(super) source: Part,
    pub(super) target: Part,
}

impl PreprocessSpec {
    /// Where the tensor's field lies in an image of `height` x `width` pixels; for heatmaps. With padding it reaches
    /// beyond the image.
    pub fn source_rect(&self, height: usize, width: usize) -> Result<Rect, PreprocessError> {
        self.check()?;
        let Placement { source, target } = self.placement(height, width)?;
        let step_x = source.width as f64 / target.width as f64;
        let step_y = source.height as f64 / target.height as f64;
        Ok(Rect {
            left: source.left as f64 - target.left as f64 * step_x,
            top: source.top as f64 - target.top as f64 * step_y,
            width: f64::from(self.size[1]) * step_x,
            height: f64::from(self.size[0]) * step_y,
        })
    }

    pub(super) fn placement(&self, height: usize, width: usize) -> Result<Placement, PreprocessError> {
        if !(2..=MAXIMUM_IMAGE_SIDE).contains(&height) || !(2..=MAXIMUM_IMAGE_SIDE).contains(&width) {
            return Err(PreprocessError::ImageSize { width, height });
        }
        let whole = Part::whole([height, width]);
        let [tensor_height, tensor_width] = self.size.map(|side| side as usize);
        let full = Part::whole([tensor_height, tensor_width]);
        Ok(match self.crop {
            CropRule::Whole => Placement {
                source: whole,
                target: full,
            },
            CropRule::CentreSquare => Placement {
                source: centre_square(whole),
                target: full,
            },
            CropRule::CropTop { fraction, square } => {
                // At most half is cut (`check`), so at least one row stays.
                let top = (height as f64 * fraction).floor() as usize;
                let rest = Part {
                    top,
                    height: height - top,
                    ..whole
                };
                Placement {
                    source: if square { centre_square(rest) } else { rest },
                    target: full,
                }
            }
            CropRule::FitPadded => {
                let [inner_height, inner_width] = fit_size([height, width], [tensor_height, tensor_width]);
                let target = Part {
                    left: (tensor_width - inner_width) / 2,
                    top: (tensor_height - inner_height) / 2,
                    width: inner_width,
                    height: inner_height,
                };
                Placement { source: whole, target }
            }
        })
    }
}

fn centre_square(part: Part) -> Part {
    let side = part.width.min(part.height);
    Part {
        left: part.left + (part.width - side) / 2,
        top: part.top + (part.height - side) / 2,
        width: side,
        height: side,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{plain, ramp};
    use super::*;

    #[test]
    fn crop_rules_take_the_stated_part() {
        // The network's size is the crop's size, so that no resize blurs the answer.
        let image = ramp(100, 60);
        let value = |y: usize, x: usize| ((3 * y + 5 * x) % 256) as f32 / 255.0;
        let cases = [
            (plain([100, 60], CropRule::Whole), (0, 0)),
            (plain([60, 60], CropRule::CentreSquare), (20, 0)),
            (
                plain(
                    [92, 60],
                    CropRule::CropTop {
                        fraction: 0.08,
                        square: false,
                    },
                ),
                (8, 0),
            ),
            (
                plain(
                    [60, 60],
                    CropRule::CropTop {
                        fraction: 0.08,
                        square: true,
                    },
                ),
                (24, 0),
            ),
        ];
        for (spec, (top, left)) in cases {
            let tensor = spec.apply(&image).expect("a tensor");
            let [height, width] = spec.size.map(|side| side as usize);
            for (y, x) in [(0, 0), (height - 1, width - 1), (height / 2, 3)] {
                assert!(
                    (tensor[[0, y, x]] - value(top + y, left + x)).abs() < 1e-6,
                    "{:?} {y} {x}",
                    spec.crop
                );
            }
            let rect = spec.source_rect(100, 60).expect("a rectangle");
            assert_eq!((rect.left, rect.top), (left as f64, top as f64));
            assert_eq!((rect.width, rect.height), (width as f64, height as f64));
        }
    }
}

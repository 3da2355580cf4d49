//! Boxes in an image: where they come from, and the square that is cut around one.

use std::collections::BTreeMap;

use ndarray::Array2;

/// Pixels of a mask that touch each other count as a region from this number on.
const LEAST_PIXELS: usize = 12;

/// A box in pixels, counted from 0; the last row and column belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub xmin: usize,
    /// First row.
    pub ymin: usize,
    /// Last column.
    pub xmax: usize,
    /// Last row.
    pub ymax: usize,
}

/// The part of an image that a patch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Region {
    /// Whether it lies in an image of this height and width.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, [height, width]: [usize; 2]) -> Result<(), String> {
        let Self { xmin, ymin, xmax, ymax } = *self;
        if xmin > xmax || ymin > ymax {
            return Err(format!("the box {self} ends before it begins"));
        }
        if xmax >= width || ymax >= height {
            return Err(format!(
                "the box {self} reaches out of the image of {width} x {height} pixels; is it of another image, or of \
                 this one before it was made smaller?"
            ));
        }
        Ok(())
    }

    /// The square around it whose side is its longer side times `context`, moved to lie in the image. Where the image is
    /// too small for it, what there is of it.
    #[must_use]
    pub fn frame(&self, context: f64, [height, width]: [usize; 2]) -> Frame {
        let longer = (self.xmax - self.xmin).max(self.ymax - self.ymin) + 1;
        let side = ((longer as f64 * context).ceil() as usize).max(2);
        let place = |first: usize, last: usize, extent: usize| {
            let start = ((first + last + 1) as f64 / 2.0 - side as f64 / 2.0).round().max(0.0) as usize;
            start.min(extent.saturating_sub(side))
        };
        Frame {
            left: place(self.xmin, self.xmax, width),
            top: place(self.ymin, self.ymax, height),
            width: side.min(width),
            height: side.min(height),
        }
    }
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { xmin, ymin, xmax, ymax } = self;
        write!(f, "x {xmin} to {xmax}, y {ymin} to {ymax}")
    }
}

/// The box in the columns `xmin`, `ymin`, `xmax`, `ymax` of a row, counted from 0; `None` where all four are empty.
///
/// # Errors
/// A column is missing or no number.
pub fn of_columns(columns: &BTreeMap<String, String>) -> Result<Option<Region>, String> {
    let text = |name: &str| columns.get(name).map(|text| text.trim()).unwrap_or_default();
    let names = ["xmin", "ymin", "xmax", "ymax"];
    if names.iter().all(|name| text(name).is_empty()) {
        return Ok(None);
    }
    let side = |name: &str| {
        let parsed = text(name).parse::<usize>();
        parsed.map_err(|_| {
            format!(
                "the column `{name}` is `{}`; allowed: a whole number from 0",
                text(name)
            )
        })
    };
    Ok(Some(Region {
        xmin: side("xmin")?,
        ymin: side("ymin")?,
        xmax: side("xmax")?,
        ymax: side("ymax")?,
    }))
}

/// The boxes of the connected parts of a mask (grey 0..1, white inside), larger than a few pixels, from the top down.
#[must_use]
pub fn of_mask(mask: &Array2<f32>) -> Vec<Region> {
    let mut unseen = mask.mapv(|value| value > 0.5);
    let mut regions = Vec::new();
    for ((y, x), _) in mask.indexed_iter() {
        if unseen[[y, x]] {
            let (region, pixels) = connected(&mut unseen, [y, x]);
            if pixels >= LEAST_PIXELS {
                regions.push(region);
            }
        }
    }
    regions
}

/// The box and size of the part that this pixel belongs to, which is taken out of `unseen`.
fn connected(unseen: &mut Array2<bool>, [y, x]: [usize; 2]) -> (Region, usize) {
    let mut region = Region {
        xmin: x,
        ymin: y,
        xmax: x,
        ymax: y,
    };
    let (mut found, mut pixels) = (vec![[y, x]], 0);
    unseen[[y, x]] = false;
    while let Some([y, x]) = found.pop() {
        pixels += 1;
        region.xmin = region.xmin.min(x);
        region.ymin = region.ymin.min(y);
        region.xmax = region.xmax.max(x);
        region.ymax = region.ymax.max(y);
        for near_y in y.saturating_sub(1)..(y + 2).min(unseen.nrows()) {
            for near_x in x.saturating_sub(1)..(x + 2).min(unseen.ncols()) {
                if std::mem::take(&mut unseen[[near_y, near_x]]) {
                    found.push([near_y, near_x]);
                }
            }
        }
    }
    (region, pixels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(xmin: usize, ymin: usize, xmax: usize, ymax: usize) -> Region {
        Region { xmin, ymin, xmax, ymax }
    }

    proptest! {
        #[test]
        fn a_frame_is_square_holds_its_box_and_lies_in_the_image(
            (height, width) in (2usize..300, 2usize..300),
            places in prop::array::uniform4(0.0f64..1.0),
            context in 1.0f64..4.0,
        ) {
            let place = |share: f64, extent: usize| (share * extent as f64) as usize;
            let (x, y) = ([place(places[0], width), place(places[1], width)], [place(places[2], height), place(places[3], height)]);
            let region = region(x[0].min(x[1]), y[0].min(y[1]), x[0].max(x[1]), y[0].max(y[1]));
            let frame = region.frame(context, [height, width]);
            prop_assert!(frame.left + frame.width <= width && frame.top + frame.height <= height);
            prop_assert!(frame.left <= region.xmin && region.xmax < frame.left + frame.width);
            prop_assert!(frame.top <= region.ymin && region.ymax < frame.top + frame.height);
            let whole = frame.width == width || frame.height == height;
            prop_assert!(frame.width == frame.height || whole);
        }
    }

    #[test]
    fn a_box_in_the_middle_stays_in_the_middle_and_one_at_the_edge_moves() {
        let frame = region(40, 45, 59, 54).frame(1.5, [100, 100]);
        assert_eq!(
            frame,
            Frame {
                left: 35,
                top: 35,
                width: 30,
                height: 30
            }
        );
        let frame = region(90, 0, 99, 9).frame(2.0, [100, 100]);
        assert_eq!(
            frame,
            Frame {
                left: 80,
                top: 0,
                width: 20,
                height: 20
            }
        );
    }

    #[test]
    fn boxes_that_do_not_fit_are_refused() {
        let message = region(5, 5, 20, 9).check([10, 20]).unwrap_err();
        assert!(
            message.contains("x 5 to 20") && message.contains("20 x 10"),
            "{message}"
        );
        assert!(region(5, 5, 19, 9).check([10, 20]).is_ok());
        assert!(region(5, 5, 4, 9).check([10, 20]).unwrap_err().contains("ends before"));
    }

    #[test]
    fn columns_are_all_there_or_none() {
        let columns = |text: &[(&str, &str)]| {
            text.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert_eq!(of_columns(&columns(&[("xmin", ""), ("ymax", "")])).unwrap(), None);
        let four = [("xmin", "1"), ("ymin", "2"), ("xmax", "3"), ("ymax", "4")];
        assert_eq!(of_columns(&columns(&four)).unwrap(), Some(region(1, 2, 3, 4)));
        assert!(of_columns(&columns(&four[..3])).unwrap_err().contains("`ymax`"));
    }

    #[test]
    fn each_part_of_a_mask_is_a_region_and_specks_are_not() {
        let mut mask = Array2::zeros((20, 30));
        mask.slice_mut(ndarray::s![2..6, 3..8]).fill(1.0);
        mask.slice_mut(ndarray::s![10..18, 20..30]).fill(1.0);
        mask[[18, 19]] = 1.0;
        mask[[0, 29]] = 1.0;
        assert_eq!(of_mask(&mask), [region(3, 2, 7, 5), region(19, 10, 29, 18)]);
    }
}

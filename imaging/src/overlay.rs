//! A class activation map over the image: upsampled where the network looked, blended through
//! 256-entry tables.
//!
//! The steps for one picture of the whole image (a screen panel, a PNG):
//! [`upsample_heatmap`] turns the map `[h,w]` into one byte a pixel, [`OverlayTable::blend`] mixes
//! it over the grey picture.

use ndarray::{Array2, ArrayView2};

use crate::colormap::Colormap;
use crate::preprocess::Rect;

/// Opacity of the hottest spot: the anatomy below stays visible.
const PEAK_OPACITY: f32 = 0.62;
/// Share of the maximum below which nothing is painted.
const FADE_IN_START: f32 = 0.12;
/// Share of the maximum from which the opacity is full.
const FADE_IN_END: f32 = 0.60;

/// One byte a pixel of a picture of the whole image: 0 where the map is zero (or negative) or the
/// network did not look, 255 at the map's maximum.
///
/// `cam` is `[h,w]`, any scale; `field` is where it lies in the image
/// ([`PreprocessSpec::source_rect`](crate::preprocess::PreprocessSpec::source_rect)), in pixels of
/// the `image` size `[H,W]`; the result has the size `picture` `[H',W']`. Bilinear between cell
/// centres, the border cells continued to the border of the field. A map without a positive finite
/// maximum gives zeros.
pub fn upsample_heatmap(cam: ArrayView2<f32>, field: Rect, image: [usize; 2], picture: [usize; 2]) -> Array2<u8> {
    let mut heat = Array2::zeros(picture);
    let peak = cam.iter().copied().filter(|v| v.is_finite()).fold(0.0_f32, f32::max);
    if peak <= 0.0 || cam.is_empty() || heat.is_empty() {
        return heat;
    }
    let rows = interpolation(cam.nrows(), field.top, field.height, image[0], picture[0]);
    let columns = interpolation(cam.ncols(), field.left, field.width, image[1], picture[1]);
    let (first, last) = covered(&columns);
    let scale = 255.0 / peak;
    let clean = cam.mapv(|value| if value.is_finite() { value.max(0.0) * scale } else { 0.0 });
    let mut line = vec![0.0_f32; cam.ncols()];
    for (row, mut out) in rows.iter().zip(heat.rows_mut()) {
        let Some(row) = row else { continue };
        for (column, value) in line.iter_mut().enumerate() {
            let (above, below) = (clean[[row.low, column]], clean[[row.high, column]]);
            *value = above + (below - above) * row.share;
        }
        let Some(out) = out.as_slice_mut() else { continue };
        for (column, out) in columns[first..last].iter().zip(&mut out[first..last]) {
            let Some(column) = column else { continue };
            let (left, right) = (line[column.low], line[column.high]);
            *out = (left + (right - left) * column.share + 0.5) as u8;
        }
    }
    heat
}

/// Between which two cells a picture's row or column lies, and how far from the first.
#[derive(Clone, Copy)]
struct Between {
    low: usize,
    high: usize,
    share: f32,
}

/// For each of `picture` pixels the cells around it; `None` outside the field.
fn interpolation(cells: usize, start: f64, extent: f64, image: usize, picture: usize) -> Vec<Option<Between>> {
    let step = image as f64 / picture as f64;
    (0..picture)
        .map(|pixel| {
            let within = ((pixel as f64 + 0.5) * step - start) / extent;
            if !(0.0..=1.0).contains(&within) {
                return None;
            }
            let position = (within * cells as f64 - 0.5).clamp(0.0, (cells - 1) as f64);
            let low = position as usize;
            Some(Between {
                low,
                high: (low + 1).min(cells - 1),
                share: (position - low as f64) as f32,
            })
        })
        .collect()
}

/// The half-open range that holds every covered column.
fn covered(columns: &[Option<Between>]) -> (usize, usize) {
    let first = columns.iter().position(Option::is_some).unwrap_or(0);
    let last = columns.iter().rposition(Option::is_some).map_or(0, |index| index + 1);
    (first.min(last), last)
}

/// Colour and opacity of every heat value, ready for `grey x keep + colour`.
#[derive(Debug, Clone)]
pub struct OverlayTable {
    /// Colour times opacity, 8.8 fixed point.
    colour: Box<[[u16; 3]; 256]>,
    /// One minus the opacity, 0..=256.
    keep: Box<[u16; 256]>,
}

impl OverlayTable {
    /// Heat painted by `map`: clear below 12 % of the maximum, fading in to 62 % opacity at 60 %.
    pub fn new(map: &Colormap) -> Self {
        Self::with_opacity(map, heat_opacity)
    }

    /// Heat painted by `map` with the opacity (0..=1) that `opacity` gives for heat 0..=1.
    pub fn with_opacity(map: &Colormap, opacity: impl Fn(f32) -> f32) -> Self {
        let mut table = Self {
            colour: Box::new([[0; 3]; 256]),
            keep: Box::new([256; 256]),
        };
        for index in 0..=u8::MAX {
            let share = (opacity(f32::from(index) / 255.0).clamp(0.0, 1.0) * 256.0).round() as u16;
            let colour = map.at(index).map(|component| u16::from(component) * share);
            table.colour[usize::from(index)] = colour;
            table.keep[usize::from(index)] = 256 - share;
        }
        table
    }

    /// The RGB colour of a pixel of grey value `grey` under `heat`.
    #[inline]
    pub fn blend(&self, grey: u8, heat: u8) -> [u8; 3] {
        let keep = u16::from(grey) * self.keep[usize::from(heat)];
        // At most 255 x 256, so the sum of both products fits 16 bits.
        self.colour[usize::from(heat)].map(|colour| ((colour + keep) >> 8) as u8)
    }
}

/// Opacity of heat 0..=1: a smooth step, so that no contour is seen where it begins.
fn heat_opacity(heat: f32) -> f32 {
    let t = ((heat - FADE_IN_START) / (FADE_IN_END - FADE_IN_START)).clamp(0.0, 1.0);
    PEAK_OPACITY * t * t * (3.0 - 2.0 * t)
}

/// The overlay as interleaved RGB bytes, `[H,W,3]`; `grey` and `heat` have the same size `[H,W]`
/// (the common part is painted where they do not).
pub fn paint(grey: ArrayView2<u8>, heat: ArrayView2<u8>, table: &OverlayTable) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(grey.len() * 3);
    for (grey, heat) in grey.rows().into_iter().zip(heat.rows()) {
        for (&grey, &heat) in grey.iter().zip(heat) {
            rgb.extend_from_slice(&table.blend(grey, heat));
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    fn whole(height: usize, width: usize) -> Rect {
        Rect {
            left: 0.0,
            top: 0.0,
            width: width as f64,
            height: height as f64,
        }
    }

    #[test]
    fn maximum_is_255_and_lies_at_the_cell_centre() {
        let mut cam = Array2::zeros((7, 7));
        cam[[2, 5]] = 0.013_f32;
        let heat = upsample_heatmap(cam.view(), whole(700, 700), [700, 700], [70, 70]);
        let hottest = heat.indexed_iter().max_by_key(|(_, heat)| **heat).map(|(at, _)| at);
        let (row, column) = hottest.expect("the picture has pixels");
        // The cell's centre lies between pixels 24|25 and 54|55; 19/20 of the peak there.
        assert!(
            (24..=25).contains(&row) && (54..=55).contains(&column),
            "{row} {column}"
        );
        assert!(heat[[row, column]] >= 225, "{}", heat[[row, column]]);
        assert_eq!(heat[[60, 5]], 0);
    }

    #[test]
    fn equal_map_covers_the_field_and_nothing_else() {
        // A centre square of a 100 x 200 image: columns 50..150.
        let field = Rect {
            left: 50.0,
            top: 0.0,
            width: 100.0,
            height: 100.0,
        };
        let cam = Array2::from_elem((7, 7), 3.0_f32);
        let heat = upsample_heatmap(cam.view(), field, [100, 200], [100, 200]);
        for ((_, column), &value) in heat.indexed_iter() {
            assert_eq!(value, if (50..150).contains(&column) { 255 } else { 0 }, "{column}");
        }
    }

    #[test]
    fn padded_field_shows_only_its_part_of_the_map() {
        // A 100 x 200 image padded to a square: the field reaches 50 rows above and below.
        let field = Rect {
            left: 0.0,
            top: -50.0,
            width: 200.0,
            height: 200.0,
        };
        let cam = arr2(&[[1.0_f32, 1.0], [0.0, 0.0]]);
        let heat = upsample_heatmap(cam.view(), field, [100, 200], [100, 200]);
        assert_eq!(
            heat[[0, 0]],
            254,
            "exactly at the upper cells' centre, half a pixel below"
        );
        assert_eq!(heat[[99, 0]], 1);
        assert!((126..=129).contains(&heat[[49, 100]]), "{}", heat[[49, 100]]);
    }

    #[test]
    fn map_without_positive_maximum_paints_nothing() {
        for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let cam = Array2::from_elem((7, 7), value);
            let heat = upsample_heatmap(cam.view(), whole(9, 9), [9, 9], [9, 9]);
            assert!(heat.iter().all(|&heat| heat == 0), "{value}");
        }
    }

    #[test]
    fn blend_keeps_grey_without_heat_and_mixes_at_the_peak() {
        let table = OverlayTable::new(&Colormap::viridis());
        for grey in 0..=255 {
            assert_eq!(table.blend(grey, 0), [grey; 3]);
        }
        let share = f64::from(PEAK_OPACITY);
        for grey in [0.0, 100.0, 255.0] {
            let mixed = table.blend(grey as u8, 255);
            for (got, colour) in mixed.into_iter().zip([253.0, 231.0, 37.0]) {
                let wanted = colour * share + grey * (1.0 - share);
                assert!((f64::from(got) - wanted).abs() <= 1.5, "{got} {wanted}");
            }
        }
    }

    #[test]
    fn full_opacity_shows_the_map_itself() {
        let table = OverlayTable::with_opacity(&Colormap::viridis(), |_| 1.0);
        for heat in 0..=255 {
            assert_eq!(table.blend(77, heat), Colormap::viridis().at(heat));
        }
    }

    #[test]
    fn painted_picture_has_three_bytes_a_pixel() {
        let grey = arr2(&[[1_u8, 2], [3, 4]]);
        let heat = Array2::zeros((2, 2));
        let rgb = paint(grey.view(), heat.view(), &OverlayTable::new(&Colormap::viridis()));
        assert_eq!(rgb, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
    }
}

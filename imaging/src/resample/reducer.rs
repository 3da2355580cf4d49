//! A picture for people, made of an image's rows as they go by: means of square blocks first, a filter for the rest. The
//! blocks are as large as the picture allows, so that hardly anything is left for the filter (Pillow's `reducing_gap` is the
//! same idea).

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U16};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use ndarray::Array2;

/// A picture that is being made.
pub(crate) struct Reducer {
    /// `[H,W]` of the image.
    source: [usize; 2],
    /// `[H,W]` of the picture.
    size: [usize; 2],
    /// Side of a block.
    block: usize,
    /// Sums of each column's pixels since the last whole row of blocks.
    columns: Vec<u32>,
    /// Rows that went by.
    rows: usize,
    /// Means, row by row; the last row and column are of what is left of their blocks.
    means: Vec<U8>,
}

impl Reducer {
    /// A picture of `size` `[H,W]` of an image of `source` `[H,W]`, neither of them empty.
    pub fn new(source: [usize; 2], size: [usize; 2]) -> Self {
        let block = (source[0] / size[0]).min(source[1] / size[1]).max(1);
        Self {
            source,
            size,
            block,
            columns: vec![0; source[1]],
            rows: 0,
            means: Vec::with_capacity(source[0].div_ceil(block) * source[1].div_ceil(block)),
        }
    }

    /// The next row, as it is shown.
    pub fn take(&mut self, row: &[U16]) {
        for (sum, pixel) in self.columns.iter_mut().zip(row) {
            *sum += u32::from(pixel.0);
        }
        self.rows += 1;
        let of_block = match self.rows % self.block {
            0 => self.block,
            rest if self.rows == self.source[0] => rest,
            _ => return,
        };
        // Two roundings, to 16 bits and to 8, are what one would be: 257 is odd.
        let mean = |sums: &[u32]| {
            let sum: u64 = sums.iter().map(|sum| u64::from(*sum)).sum();
            U8::new((sum as f32 / ((sums.len() * of_block) as f32 * 257.0) + 0.5) as u8)
        };
        self.means.extend(self.columns.chunks(self.block).map(mean));
        self.columns.fill(0);
    }

    /// Whether all rows went by.
    pub fn is_whole(&self) -> bool {
        self.rows == self.source[0]
    }

    /// The picture `[H,W]` of all rows.
    pub fn finish(self) -> Option<Array2<u8>> {
        let [rows, columns] = self.source.map(|length| length.div_ceil(self.block) as u32);
        let means = TypedImageRef::new(columns, rows, &self.means).ok()?;
        let mut pixels = vec![U8::default(); self.size[0] * self.size[1]];
        let mut picture = TypedImage::from_pixels_slice(self.size[1] as u32, self.size[0] as u32, &mut pixels).ok()?;
        // The last row and column may stand for less than a block.
        let [height, width] = self.source.map(|length| length as f64 / self.block as f64);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(0.0, 0.0, width, height);
        Resizer::new().resize_typed(&means, &mut picture, &options).ok()?;
        Array2::from_shape_vec(self.size, pixels.into_iter().map(|pixel| pixel.0).collect()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(source: [usize; 2], size: [usize; 2], shown: impl Fn(usize, usize) -> u16) -> Array2<u8> {
        let mut reducer = Reducer::new(source, size);
        for y in 0..source[0] {
            assert!(!reducer.is_whole());
            let row: Vec<U16> = (0..source[1]).map(|x| U16::new(shown(y, x))).collect();
            reducer.take(&row);
        }
        assert!(reducer.is_whole());
        reducer.finish().expect("a picture")
    }

    #[test]
    fn whole_blocks_become_their_means() {
        let picture = reduced([6, 9], [2, 3], |y, x| ((y / 3 * 3 + x / 3) * 257 * 20) as u16);
        assert_eq!(picture, ndarray::array![[0, 20, 40], [60, 80, 100]]);
    }

    /// A ramp stays where it is also where blocks do not come out even.
    #[test]
    fn what_is_left_of_a_block_keeps_its_place() {
        for (source, size) in [
            ([1000, 1003], [300, 301]),
            ([517, 800], [100, 155]),
            ([40, 30], [40, 30]),
        ] {
            let picture = reduced(source, size, |_, x| {
                ((x as f64 + 0.5) / source[1] as f64 * 65535.0) as u16
            });
            for ((_, x), found) in picture
                .indexed_iter()
                .filter(|((_, x), _)| (2..size[1] - 2).contains(x))
            {
                let expected = (x as f64 + 0.5) / size[1] as f64 * 255.0;
                assert!(
                    (f64::from(*found) - expected).abs() < 1.0,
                    "{size:?} {x}: {found} {expected}"
                );
            }
        }
    }
}

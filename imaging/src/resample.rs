//! Part of an image, through its grey table, to another size: antialiased, on whole numbers.
//!
//! Windowing comes first and resizing second. A window clips, so the mean of windowed pixels is not the window of the
//! mean pixel: the second order would let one metal marker at 4095 darken its neighbours' share of a lung window, and
//! shows grey fringes along clipped borders. It is also what a viewer does, and what any peer sees that gets an 8-bit
//! picture. An 8-bit image whose display is itself is resized as it lies (8-bit result, as Pillow's `L` mode). For a
//! tensor everything else goes through its table to 16 bits first, so that a narrow window keeps its steps; a picture for
//! people has 8 bits before and after, which takes half the time.

use std::borrow::Cow;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U16};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use ndarray::{Array2, ArrayView2, s};

use crate::grey::{GreyImage, GreyTable, Pixels};

/// A part of an image in whole pixels; not empty and inside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

/// The result, row-major, with full scale at the type's maximum.
pub(crate) enum Resampled {
    U8(Vec<U8>),
    U16(Vec<U16>),
}

/// Resizes `part` of the image, shown through `table` (0..=1), to `size` `[H,W]`.
pub(crate) fn resample(
    image: &GreyImage,
    table: &GreyTable<f32>,
    part: Part,
    size: [usize; 2],
    filter: FilterType,
) -> Result<Resampled, ResizeError> {
    match &image.pixels {
        Pixels::U8(pixels) if is_identity(table) => resize_as_it_lies(pixels, part, size, filter).map(Resampled::U8),
        pixels => {
            // Rounded by hand: `round` is a call for each of the table's 65,536 entries.
            let value = |stored| U16::new((table.get(stored) * f32::from(u16::MAX) + 0.5) as u16);
            resize_whole(&show(pixels, part, value), part, size, filter).map(Resampled::U16)
        }
    }
}

fn resize<P: PixelTrait + InnerPixel>(
    source: &impl ImageView<Pixel = P>,
    size: [usize; 2],
    filter: FilterType,
) -> Result<Vec<P>, ResizeError> {
    let mut pixels = vec![P::default(); size[0] * size[1]];
    let mut target = TypedImage::from_pixels_slice(size[1] as u32, size[0] as u32, &mut pixels)
        .map_err(|_| ResizeError::PixelTypesAreDifferent)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    Resizer::new().resize_typed(source, &mut target, &options)?;
    Ok(pixels)
}

/// Resizes a part of pixels that are shown as they are.
fn resize_as_it_lies(
    pixels: &Array2<u8>,
    part: Part,
    size: [usize; 2],
    filter: FilterType,
) -> Result<Vec<U8>, ResizeError> {
    let (height, width) = pixels.dim();
    let pixels = match pixels.as_slice() {
        Some(pixels) => Cow::Borrowed(pixels),
        None => Cow::Owned(pixels.iter().copied().collect()),
    };
    let source = TypedImageRef::<U8>::from_buffer(width as u32, height as u32, &pixels)
        .map_err(|_| ResizeError::PixelTypesAreDifferent)?;
    // A view of the part, not the resizer's crop box, whose kernels reach into pixels beyond the part.
    let [left, top, width, height] = [part.left, part.top, part.width, part.height].map(|side| side as u32);
    let source = TypedCroppedImage::new(source, left, top, width, height)?;
    resize(&source, size, filter)
}

/// Resizes a part's pixels, row-major.
fn resize_whole<P: PixelTrait + InnerPixel>(
    pixels: &[P],
    part: Part,
    size: [usize; 2],
    filter: FilterType,
) -> Result<Vec<P>, ResizeError> {
    let source = TypedImageRef::new(part.width as u32, part.height as u32, pixels)
        .map_err(|_| ResizeError::PixelTypesAreDifferent)?;
    resize(&source, size, filter)
}

/// Whether an 8-bit image shows its stored values as they are.
fn is_identity(table: &GreyTable<f32>) -> bool {
    (0..=255).all(|stored| (table.get(stored) * 255.0 - stored as f32).abs() < 1e-3)
}

/// The part's pixels as `shown` has their stored values.
fn show<P: Copy + Default>(pixels: &Pixels, part: Part, shown: impl Fn(i32) -> P) -> Vec<P> {
    // A table over every bit pattern needs no range check for each pixel.
    match pixels {
        Pixels::U8(pixels) => {
            let table: Vec<P> = (0..=255).map(shown).collect();
            through(pixels.view(), part, |stored| table[usize::from(stored)])
        }
        Pixels::U16(pixels) => {
            let table = boxed(|bits| shown(i32::from(bits)));
            through(pixels.view(), part, |stored| table[usize::from(stored)])
        }
        Pixels::I16(pixels) => {
            let table = boxed(|bits| shown(i32::from(bits as i16)));
            through(pixels.view(), part, |stored| table[usize::from(stored as u16)])
        }
    }
}

fn boxed<P: Copy + Default>(value: impl Fn(u16) -> P) -> Box<[P; 0x10000]> {
    let mut table = Box::new([P::default(); 0x10000]);
    for (bits, entry) in (0..=u16::MAX).zip(table.iter_mut()) {
        *entry = value(bits);
    }
    table
}

fn through<T: Copy, P>(pixels: ArrayView2<T>, part: Part, shown: impl Fn(T) -> P) -> Vec<P> {
    let mut target = Vec::with_capacity(part.width * part.height);
    let cropped = pixels.slice_move(s![part.top..part.top + part.height, part.left..part.left + part.width]);
    for row in cropped.rows() {
        match row.to_slice() {
            Some(row) => target.extend(row.iter().map(|&stored| shown(stored))),
            None => target.extend(row.iter().map(|&stored| shown(stored))),
        }
    }
    target
}

/// The whole image as a viewer shows it, 8 bits, at `size` `[H,W]`, antialiased; `None` if the image or `size` is empty
/// or a side is over 65535.
pub fn display_picture(image: &GreyImage, size: [usize; 2]) -> Option<Array2<u8>> {
    let [height, width] = image.pixels.shape();
    let limit = 1..=usize::from(u16::MAX);
    if ![height, width, size[0], size[1]]
        .iter()
        .all(|side| limit.contains(side))
    {
        return None;
    }
    let part = Part {
        left: 0,
        top: 0,
        width,
        height,
    };
    let table = image.display_table();
    let pixels = match &image.pixels {
        Pixels::U8(pixels) if is_identity(&table) => resize_as_it_lies(pixels, part, size, FilterType::Bilinear),
        pixels => {
            let table = table.to_u8();
            let shown = show(pixels, part, |stored| U8::new(table.get(stored)));
            resize_whole(&shown, part, size, FilterType::Bilinear)
        }
    };
    let bytes = pixels.ok()?.into_iter().map(|pixel| pixel.0).collect();
    Array2::from_shape_vec(size, bytes).ok()
}

/// A picture of the image for people, 8 bits, at most `side` pixels a side: what stands in for it where the whole image
/// would be too much. `None` if the image is no larger than that, or empty.
pub fn small_image(image: &GreyImage, side: usize) -> Option<GreyImage> {
    let size = image.pixels.shape();
    if size.iter().all(|length| *length <= side) {
        return None;
    }
    let picture = display_picture(image, fit_size(size, [side, side]))?;
    Some(GreyImage::new(Pixels::U8(picture), 8))
}

/// The largest size `[H,W]` of the image's aspect that fits `bounds` `[H,W]`; at least one pixel a side.
pub fn fit_size(image: [usize; 2], bounds: [usize; 2]) -> [usize; 2] {
    let scale = (bounds[0] as f64 / image[0].max(1) as f64).min(bounds[1] as f64 / image[1].max(1) as f64);
    let side = |axis: usize| ((image[axis] as f64 * scale).round() as usize).clamp(1, bounds[axis].max(1));
    [side(0), side(1)]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::grey::{Photometric, Voi, WindowFunction};

    #[test]
    fn same_size_is_what_a_viewer_shows() {
        let stored = Array2::from_shape_fn((9, 11), |(y, x)| (y * 300 + x * 31) as u16);
        let mut image = GreyImage::new(Pixels::U16(stored), 12);
        image.voi = Some(Voi::Window {
            center: 1500.0,
            width: 1800.0,
            function: WindowFunction::Linear,
        });
        image.photometric = Photometric::Monochrome1;
        let picture = display_picture(&image, [9, 11]).expect("a picture");
        assert_eq!(picture, image.display_u8());
    }

    #[test]
    fn eight_bit_and_sixteen_bit_ways_agree_within_a_step() {
        let stored = Array2::from_shape_fn((97, 83), |(y, x)| ((y * y + 7 * x) % 256) as u8);
        let eight = GreyImage::new(Pixels::U8(stored.clone()), 8);
        let sixteen = GreyImage::new(Pixels::U16(stored.mapv(|value| u16::from(value) * 257)), 16);
        let size = [31, 40];
        let (a, b) = (
            display_picture(&eight, size).expect("8 bit"),
            display_picture(&sixteen, size).expect("16 bit"),
        );
        assert!(a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= 1));
    }

    #[test]
    fn signed_pixels_find_their_table_entry() {
        let image = GreyImage::new(Pixels::I16(array![[-2048, 0], [1024, 2047]]), 12);
        assert_eq!(display_picture(&image, [2, 2]).expect("a picture"), image.display_u8());
    }

    #[test]
    fn window_clips_before_the_resize_mixes() {
        // Half the pixels far above the window: their weight in the mean must be white, not 16 times white.
        let stored = Array2::from_shape_fn((64, 64), |(_, x)| if x % 2 == 0 { 0 } else { 65535 });
        let mut image = GreyImage::new(Pixels::U16(stored), 16);
        image.voi = Some(Voi::Window {
            center: 2048.0,
            width: 4096.0,
            function: WindowFunction::Linear,
        });
        let picture = display_picture(&image, [4, 4]).expect("a picture");
        assert!(picture.iter().all(|&grey| (124..=131).contains(&grey)), "{picture}");
    }

    #[test]
    fn fitted_size_keeps_the_aspect() {
        assert_eq!(fit_size([1000, 1000], [296, 296]), [296, 296]);
        assert_eq!(fit_size([500, 1000], [296, 296]), [148, 296]);
        assert_eq!(fit_size([1000, 1], [296, 296]), [296, 1]);
        assert_eq!(fit_size([0, 10], [20, 20]), [1, 20]);
    }

    #[test]
    fn empty_sizes_give_no_picture() {
        let image = GreyImage::new(Pixels::U8(array![[1]]), 8);
        assert!(display_picture(&image, [0, 4]).is_none());
        assert!(display_picture(&GreyImage::new(Pixels::U8(Array2::zeros((0, 3))), 8), [4, 4]).is_none());
    }
}

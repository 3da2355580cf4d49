//! Part of an image, through its grey table, to another size: antialiased, on whole numbers.
//!
//! Windowing comes first and resizing second. A window clips, so the mean of windowed pixels is not the window of the
//! mean pixel: the second order would let one metal marker at 4095 darken its neighbours' share of a lung window, and
//! shows grey fringes along clipped borders. It is also what a viewer does, and what any peer sees that gets an 8-bit
//! picture. An 8-bit image whose display is itself is resized as it lies (8-bit result, as Pillow's `L` mode). For a
//! tensor everything else goes through its table to 16 bits first, so that a narrow window keeps its steps; a picture for
//! people has 8 bits before and after, which takes half the time.

use std::borrow::Cow;
use std::ops::Range;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U16};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use ndarray::{Array2, ArrayView2, s};

use crate::grey::{GreyImage, GreyTable, Pixels};

/// Pixels of a band, about: its 16-bit ones take 1 MiB.
const BAND_PIXELS: usize = 1 << 19;

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
            resize_shown(&Shown::new(pixels, value), part, size, filter).map(Resampled::U16)
        }
    }
}

fn resize<P: PixelTrait + InnerPixel>(
    source: &impl ImageView<Pixel = P>,
    size: [usize; 2],
    filter: FilterType,
) -> Result<Vec<P>, ResizeError> {
    let mut pixels = vec![P::default(); size[0] * size[1]];
    let mut target = target(size[1], &mut pixels)?;
    Resizer::new().resize_typed(source, &mut target, &options(filter))?;
    Ok(pixels)
}

fn options(filter: FilterType) -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter))
}

/// Whole rows of `width` pixels to write to.
fn target<P: PixelTrait + InnerPixel>(width: usize, pixels: &mut [P]) -> Result<TypedImage<'_, P>, ResizeError> {
    let height = pixels.len() / width;
    TypedImage::from_pixels_slice(width as u32, height as u32, pixels).map_err(|_| ResizeError::PixelTypesAreDifferent)
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

/// Resizes a part in bands of rows. A band's pixels as they are shown stay in the processor's cache, where those of a whole
/// radiograph would be 10 MiB of memory that the system hands out, page by page, for every image. Tensor and small picture
/// of 2560 x 2048 pixels, each time on a new thread: 25 MB at the peak instead of 35, in 12.0 ms at best instead of 13.4.
fn resize_shown<P: PixelTrait + InnerPixel>(
    shown: &Shown<'_, P>,
    part: Part,
    size: [usize; 2],
    filter: FilterType,
) -> Result<Vec<P>, ResizeError> {
    let bands = Bands::new(part, size[0], filter);
    let mut pixels = vec![P::default(); size[0] * size[1]];
    let (mut resizer, mut rows) = (Resizer::new(), Vec::new());
    for (number, pixels) in pixels.chunks_mut(bands.height * size[1]).enumerate() {
        let band = bands.band(number * bands.height, pixels.len() / size[1]);
        rows.clear();
        shown.extend(&mut rows, part, band.rows.clone());
        let source = TypedImageRef::new(part.width as u32, band.rows.len() as u32, &rows)
            .map_err(|_| ResizeError::PixelTypesAreDifferent)?;
        let options = options(filter).crop(0.0, band.top, part.width as f64, band.height);
        resizer.resize_typed(&source, &mut target(size[1], pixels)?, &options)?;
    }
    Ok(pixels)
}

/// How a part is cut into bands.
struct Bands {
    /// Rows of the part.
    part: usize,
    /// Rows of the part for one of the result.
    scale: f64,
    /// Rows that the filter's kernel reaches beyond those of its own row.
    reach: f64,
    /// Rows of the result in a band; the last may have fewer.
    height: usize,
}

/// Rows of the part that make rows of the result.
struct Band {
    /// With those that the kernel reaches.
    rows: Range<usize>,
    /// Where the rows' own ones begin in them.
    top: f64,
    /// How many their own ones are.
    height: f64,
}

impl Bands {
    fn new(part: Part, height: usize, filter: FilterType) -> Self {
        let support = match filter {
            FilterType::Bilinear => 1.0,
            FilterType::CatmullRom => 2.0,
            _ => 3.0,
        };
        let scale = part.height as f64 / height as f64;
        let reach = support * scale.max(1.0);
        // What two bands share is shown twice: never more than what is shown once.
        let rows = ((BAND_PIXELS / part.width) as f64 - 2.0 * reach).max(2.0 * reach);
        Self {
            part: part.height,
            scale,
            reach,
            height: ((rows / scale) as usize).clamp(1, height),
        }
    }

    /// `count` rows of the result from row `first` on.
    fn band(&self, first: usize, count: usize) -> Band {
        let (begin, height) = (first as f64 * self.scale, count as f64 * self.scale);
        // A row more than the kernel reaches, so that rounding never leaves one out.
        let from = (begin - self.reach - 1.0).max(0.0) as usize;
        let to = ((begin + height + self.reach + 1.0).ceil() as usize).min(self.part);
        let top = begin - from as f64;
        Band {
            rows: from..to,
            top,
            height: height.min((to - from) as f64 - top),
        }
    }
}

/// Whether an 8-bit image shows its stored values as they are.
fn is_identity(table: &GreyTable<f32>) -> bool {
    (0..=255).all(|stored| (table.get(stored) * 255.0 - stored as f32).abs() < 1e-3)
}

/// Pixels, and what is shown for each bit pattern: such a table needs no range check for each pixel.
enum Shown<'a, P> {
    U8(ArrayView2<'a, u8>, Box<[P; 0x100]>),
    U16(ArrayView2<'a, u16>, Box<[P; 0x10000]>),
    I16(ArrayView2<'a, i16>, Box<[P; 0x10000]>),
}

impl<'a, P: Copy + Default> Shown<'a, P> {
    /// The pixels with `shown` of their stored values.
    fn new(pixels: &'a Pixels, shown: impl Fn(i32) -> P) -> Self {
        match pixels {
            Pixels::U8(pixels) => Self::U8(pixels.view(), table(|bits| shown(bits as i32))),
            Pixels::U16(pixels) => Self::U16(pixels.view(), table(|bits| shown(bits as i32))),
            Pixels::I16(pixels) => Self::I16(pixels.view(), table(|bits| shown(i32::from(bits as u16 as i16)))),
        }
    }

    /// Adds rows of a part, counted from its top.
    fn extend(&self, target: &mut Vec<P>, part: Part, rows: Range<usize>) {
        match self {
            Self::U8(pixels, table) => extend(target, pixels, part, rows, |stored| table[usize::from(stored)]),
            Self::U16(pixels, table) => extend(target, pixels, part, rows, |stored| table[usize::from(stored)]),
            Self::I16(pixels, table) => extend(target, pixels, part, rows, |stored| table[usize::from(stored as u16)]),
        }
    }
}

fn table<P: Copy + Default, const N: usize>(value: impl Fn(usize) -> P) -> Box<[P; N]> {
    let mut table = Box::new([P::default(); N]);
    for (bits, entry) in table.iter_mut().enumerate() {
        *entry = value(bits);
    }
    table
}

fn extend<T: Copy, P>(
    target: &mut Vec<P>,
    pixels: &ArrayView2<'_, T>,
    part: Part,
    rows: Range<usize>,
    shown: impl Fn(T) -> P,
) {
    let (top, bottom) = (part.top + rows.start, part.top + rows.end);
    for row in pixels.slice(s![top..bottom, part.left..part.left + part.width]).rows() {
        match row.to_slice() {
            Some(row) => target.extend(row.iter().map(|&stored| shown(stored))),
            None => target.extend(row.iter().map(|&stored| shown(stored))),
        }
    }
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
            let shown = Shown::new(pixels, |stored| U8::new(table.get(stored)));
            resize_shown(&shown, part, size, FilterType::Bilinear)
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

    /// Bands give what the resizer gives for the whole part at once.
    #[test]
    fn bands_are_seamless() {
        let stored = Array2::from_shape_fn((1900, 1030), |(y, x)| ((y * y * 13 + x * 7919 + y * x) % 65_536) as u16);
        let pixels = Pixels::U16(stored.clone());
        let part = Part {
            left: 3,
            top: 7,
            width: 1021,
            height: 1871,
        };
        let whole: Vec<U16> = stored
            .slice(s![7..1878, 3..1024])
            .iter()
            .map(|&stored| U16::new(stored))
            .collect();
        let source = TypedImageRef::new(1021, 1871, &whole).expect("a view");
        for filter in [FilterType::Bilinear, FilterType::CatmullRom, FilterType::Lanczos3] {
            for size in [[224, 224], [935, 30], [1871, 1021], [2000, 64], [37, 1021], [8, 8]] {
                let shown = Shown::new(&pixels, |stored| U16::new(stored as u16));
                let banded = resize_shown(&shown, part, size, filter).expect("resized");
                let expected = resize(&source, size, filter).expect("resized");
                let most = banded.iter().zip(&expected).map(|(a, b)| a.0.abs_diff(b.0)).max();
                assert!(most <= Some(1), "{filter:?} {size:?}: {most:?}");
            }
        }
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

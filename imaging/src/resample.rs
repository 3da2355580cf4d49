//! Part of an image, through its grey table, to another size: antialiased, on whole numbers.
//!
//! Windowing comes first and resizing second. A window clips, so the mean of windowed pixels is not the window of the
//! mean pixel: the second order would let one metal marker at 4095 darken its neighbours' share of a lung window, and
//! shows grey fringes along clipped borders. It is also what a viewer does, and what any peer sees that gets an 8-bit
//! picture. An 8-bit image whose display is itself is resized as it lies (8-bit result, as Pillow's `L`
//! mode); everything else goes through its table to 16 bits first, so that a narrow window keeps its steps. The small picture of
//! a large image is made of means of whole blocks first ([`Reducer`]), which can be done in the same pass.

mod bands;
mod reducer;
mod shown;

use std::borrow::Cow;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U16};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use ndarray::Array2;

use bands::Bands;
pub(crate) use reducer::Reducer;
use shown::Shown;

use crate::grey::{GreyImage, GreyTable, Pixels};

/// Rows that a picture for people takes from the image at a time.
const PICTURE_ROWS: usize = 32;

/// A part of an image in whole pixels; not empty and inside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

impl Part {
    /// All of an image of this size `[H,W]`.
    pub fn whole([height, width]: [usize; 2]) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// The result, row-major, with full scale at the type's maximum.
pub(crate) enum Resampled {
    U8(Vec<U8>),
    U16(Vec<U16>),
}

/// Resizes `part` of the image, shown through `table` (0..=1), to `size` `[H,W]`. `beside` takes the rows that go by, if they
/// go by with 16 bits.
pub(crate) fn resample(
    image: &GreyImage,
    table: &GreyTable<f32>,
    part: Part,
    size: [usize; 2],
    filter: FilterType,
    beside: Option<&mut Reducer>,
) -> Result<Resampled, ResizeError> {
    match &image.pixels {
        Pixels::U8(pixels) if is_identity(table) => resize_as_it_lies(pixels, part, size, filter).map(Resampled::U8),
        pixels => resize_shown(&in_16_bits(pixels, table), part, size, filter, beside).map(Resampled::U16),
    }
}

/// Pixels through a table (0..=1).
fn in_16_bits<'a>(pixels: &'a Pixels, table: &GreyTable<f32>) -> Shown<'a> {
    // Rounded by hand: `round` is a call for each of the table's 65,536 entries.
    Shown::new(pixels, |stored| {
        U16::new((table.get(stored) * f32::from(u16::MAX) + 0.5) as u16)
    })
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
/// radiograph would be 10 MiB of memory that the system hands out, page by page, for every image.
fn resize_shown(
    shown: &Shown<'_>,
    part: Part,
    size: [usize; 2],
    filter: FilterType,
    mut beside: Option<&mut Reducer>,
) -> Result<Vec<U16>, ResizeError> {
    let bands = Bands::new(part, size[0], filter);
    let mut pixels = vec![U16::default(); size[0] * size[1]];
    let (mut resizer, mut rows, mut seen) = (Resizer::new(), Vec::new(), 0);
    for (number, pixels) in pixels.chunks_mut(bands.height * size[1]).enumerate() {
        let band = bands.band(number * bands.height, pixels.len() / size[1]);
        rows.clear();
        shown.extend(&mut rows, part, band.rows.clone());
        if let Some(reducer) = &mut beside {
            // The first ones were in the band before.
            let new = rows.chunks_exact(part.width).skip(seen - band.rows.start.min(seen));
            new.for_each(|row| reducer.take(row));
            seen = band.rows.end;
        }
        let source = TypedImageRef::new(part.width as u32, band.rows.len() as u32, &rows)
            .map_err(|_| ResizeError::PixelTypesAreDifferent)?;
        let options = options(filter).crop(0.0, band.top, part.width as f64, band.height);
        resize_band(&mut resizer, &source, &options, size[1], pixels)?;
    }
    Ok(pixels)
}

/// Much lower bands are made lower first: the resizer by itself begins with the width of all rows, which takes half as long
/// again. Not with filters that overshoot: in between, that is cut off at other places.
fn resize_band(
    resizer: &mut Resizer,
    source: &TypedImageRef<'_, U16>,
    options: &ResizeOptions,
    width: usize,
    pixels: &mut [U16],
) -> Result<(), ResizeError> {
    let height = pixels.len() / width;
    let overshoots = options.algorithm != ResizeAlg::Convolution(FilterType::Bilinear);
    if overshoots || (source.height() as usize) < 2 * height {
        return resizer.resize_typed(source, &mut target(width, pixels)?, options);
    }
    let mut lower = vec![U16::default(); source.width() as usize * height];
    resizer.resize_typed(source, &mut target(source.width() as usize, &mut lower)?, options)?;
    let lower =
        TypedImageRef::new(source.width(), height as u32, &lower).map_err(|_| ResizeError::PixelTypesAreDifferent)?;
    let whole = ResizeOptions::new().resize_alg(options.algorithm);
    resizer.resize_typed(&lower, &mut target(width, pixels)?, &whole)
}

/// Whether an 8-bit image shows its stored values as they are.
fn is_identity(table: &GreyTable<f32>) -> bool {
    (0..=255).all(|stored| (table.get(stored) * 255.0 - stored as f32).abs() < 1e-3)
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
    let (part, table) = (Part::whole([height, width]), image.display_table());
    let bytes = match resample(image, &table, part, size, FilterType::Bilinear, None).ok()? {
        Resampled::U8(pixels) => pixels.into_iter().map(|pixel| pixel.0).collect(),
        Resampled::U16(pixels) => pixels.into_iter().map(|pixel| rounded(pixel.0)).collect(),
    };
    Array2::from_shape_vec(size, bytes).ok()
}

/// Full scale of 16 bits to full scale of 8.
fn rounded(pixel: u16) -> u8 {
    ((u32::from(pixel) + 128) / 257) as u8
}

/// A picture of the image for people, 8 bits, at most `side` pixels a side: what stands in for it where the whole image
/// would be too much. `None` if the image is no larger than that, or empty.
pub fn small_image(image: &GreyImage, side: usize) -> Option<GreyImage> {
    let source = image.pixels.shape();
    let (size, table) = (small_size(source, side)?, image.display_table());
    let picture = match &image.pixels {
        Pixels::U8(_) if is_identity(&table) => display_picture(image, size)?,
        pixels => reduced(&in_16_bits(pixels, &table), source, size)?,
    };
    Some(GreyImage::new(Pixels::U8(picture), 8))
}

/// The picture that a [`Reducer`] makes of all rows.
fn reduced(shown: &Shown<'_>, source: [usize; 2], size: [usize; 2]) -> Option<Array2<u8>> {
    let (mut reducer, mut rows) = (Reducer::new(source, size), Vec::new());
    for top in (0..source[0]).step_by(PICTURE_ROWS) {
        rows.clear();
        shown.extend(&mut rows, Part::whole(source), top..(top + PICTURE_ROWS).min(source[0]));
        rows.chunks_exact(source[1]).for_each(|row| reducer.take(row));
    }
    reducer.finish()
}

/// The size of the [`small_image`] of an image of this size; `None` if there is none.
pub(crate) fn small_size(image: [usize; 2], side: usize) -> Option<[usize; 2]> {
    let is_larger = !image.contains(&0) && image.iter().any(|length| *length > side);
    is_larger.then(|| fit_size(image, [side, side]))
}

/// The largest size `[H,W]` of the image's aspect that fits `bounds` `[H,W]`; at least one pixel a side.
pub fn fit_size(image: [usize; 2], bounds: [usize; 2]) -> [usize; 2] {
    let scale = (bounds[0] as f64 / image[0].max(1) as f64).min(bounds[1] as f64 / image[1].max(1) as f64);
    let side = |axis: usize| ((image[axis] as f64 * scale).round() as usize).clamp(1, bounds[axis].max(1));
    [side(0), side(1)]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array, s};

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
                let banded = resize_shown(&shown, part, size, filter, None).expect("resized");
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

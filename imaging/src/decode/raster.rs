//! PNG, JPEG and TIFF: grey pictures of 8 and 16 bits, and grey pictures that were saved as RGB.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader};
use ndarray::Array2;

use super::error::DecodeError;
use super::jpeg_header::JpegHeader;
use super::limits::Limits;
use super::tiff_header;
use crate::grey::{GreyImage, ImageMeta, Pixels};

/// Channels that differ by more than this share of full scale count as coloured; chroma subsampling stays below.
const NOTICEABLE_DIFFERENCE: f32 = 24.0 / 255.0;
/// A picture is a colour photograph from this share of coloured pixels; a coloured arrow or label stays below.
const COLOURED_SHARE: f32 = 0.01;
/// A colour decoder's working memory for one pixel, next to the picture itself.
const DECODER_BYTES_PER_PIXEL: u64 = 16;

/// A raster file whose header was read and accepted.
#[derive(Debug)]
pub(super) struct RasterSource {
    bytes: Vec<u8>,
    format: ImageFormat,
    limits: Limits,
    meta: ImageMeta,
}

/// The format by its first bytes, if it is one that is read here.
pub(super) fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(ImageFormat::Png),
        [0xFF, 0xD8, 0xFF, ..] => Some(ImageFormat::Jpeg),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(ImageFormat::Tiff),
        _ => None,
    }
}

impl RasterSource {
    pub(super) fn open(bytes: Vec<u8>, format: ImageFormat, limits: &Limits) -> Result<Self, DecodeError> {
        let meta = ImageMeta {
            encoding: Some(format_name(format).to_owned()),
            ..ImageMeta::default()
        };
        let mut source = RasterSource {
            bytes,
            format,
            limits: *limits,
            meta,
        };
        match format {
            // The marker segments say it all; a decoder would copy the file to read them once more.
            ImageFormat::Jpeg => check_jpeg(&source.bytes, limits)?,
            ImageFormat::Tiff => {
                if tiff_header::check_directory(&source.bytes)?.another_follows {
                    let warning = "the TIFF file has more than one page: the first one was read";
                    source.meta.warnings.push(warning.to_owned());
                }
                source.check_header()?;
            }
            _ => source.check_header()?,
        }
        Ok(source)
    }

    fn check_header(&self) -> Result<(), DecodeError> {
        let decoder = self.decoder()?;
        let (width, height) = decoder.dimensions();
        self.limits.check_pixels(u64::from(height), u64::from(width))?;
        grey_kind(decoder.color_type(), &format!("{:?}", decoder.original_color_type())).map(|_| ())
    }

    pub(super) fn meta(&self) -> &ImageMeta {
        &self.meta
    }

    pub(super) fn decode(&self) -> Result<GreyImage, DecodeError> {
        let decoder = self.decoder()?;
        let (width, height) = decoder.dimensions();
        let size = (height as usize, width as usize);
        let kind = grey_kind(decoder.color_type(), "")?;
        let count = usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX) / kind.bytes;
        let read = |samples: &mut [u8]| {
            let done = decoder.read_image(samples);
            done.map_err(|error| damaged(self.format, error))
        };
        let mut meta = self.meta.clone();
        let pixels = match kind.bytes {
            1 => {
                let mut samples = vec![0_u8; count];
                read(&mut samples)?;
                let unit = |sample| f32::from(sample) / f32::from(u8::MAX);
                Pixels::U8(shaped(size, kind.to_grey(samples, unit, &mut meta)?)?)
            }
            _ => {
                // Read in place: a second copy of a large image is memory that a small appliance lacks.
                let mut samples = vec![0_u16; count];
                read(bytemuck::cast_slice_mut(&mut samples))?;
                let unit = |sample| f32::from(sample) / f32::from(u16::MAX);
                Pixels::U16(shaped(size, kind.to_grey(samples, unit, &mut meta)?)?)
            }
        };
        let bits = pixels.bits_allocated();
        let mut image = GreyImage::new(pixels, bits);
        image.meta = meta;
        Ok(image)
    }

    fn decoder(&self) -> Result<Box<dyn ImageDecoder + '_>, DecodeError> {
        let mut reader = ImageReader::with_format(Cursor::new(self.bytes.as_slice()), self.format);
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(self.limits.max_pixels.saturating_mul(DECODER_BYTES_PER_PIXEL));
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(|error| damaged(self.format, error))?;
        Ok(Box::new(decoder))
    }
}

/// The stream must be complete, of 8 bits and of a bearable size before the decoder sees it.
fn check_jpeg(bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    let header = JpegHeader::read(bytes)?;
    limits.check_pixels(u64::from(header.height), u64::from(header.width))?;
    if header.is_lossless() || header.process > 2 {
        return Err(DecodeError::unsupported(format!(
            "JPEG process {} outside DICOM",
            header.process
        )));
    }
    if header.precision != 8 {
        return Err(DecodeError::LossyBits { bits: header.precision });
    }
    if !matches!(header.components, 1 | 3) {
        return Err(DecodeError::unsupported(format!(
            "JPEG with {} components",
            header.components
        )));
    }
    Ok(())
}

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "TIFF",
    }
}

/// How the samples of one pixel stand in the decoder's output.
#[derive(Clone, Copy)]
struct SampleLayout {
    /// Bytes of a sample: 1 or 2.
    bytes: usize,
    /// Samples of a pixel: grey, grey and alpha, RGB, RGBA.
    channels: usize,
}

fn grey_kind(colour: ColorType, original: &str) -> Result<SampleLayout, DecodeError> {
    let (bytes, channels) = match colour {
        ColorType::L8 => (1, 1),
        ColorType::La8 => (1, 2),
        ColorType::Rgb8 => (1, 3),
        ColorType::Rgba8 => (1, 4),
        ColorType::L16 => (2, 1),
        ColorType::La16 => (2, 2),
        ColorType::Rgb16 => (2, 3),
        ColorType::Rgba16 => (2, 4),
        other => {
            return Err(DecodeError::unsupported(format!(
                "samples of type {other:?} {original}"
            )));
        }
    };
    Ok(SampleLayout { bytes, channels })
}

impl SampleLayout {
    /// One sample a pixel. Alpha is left out; red, green and blue must nearly agree, and give their luma (BT.601).
    fn to_grey<T>(self, samples: Vec<T>, unit: impl Fn(T) -> f32, meta: &mut ImageMeta) -> Result<Vec<T>, DecodeError>
    where
        T: Copy + Into<u32> + TryFrom<u32> + Ord + Default,
    {
        if self.channels == 1 {
            return Ok(samples);
        }
        if self.channels == 2 {
            return Ok(samples.chunks_exact(2).map(|pixel| pixel[0]).collect());
        }
        let pixels = samples.len() / self.channels;
        let coloured = samples
            .chunks_exact(self.channels)
            .filter(|pixel| {
                let (low, high) = (
                    pixel[0].min(pixel[1]).min(pixel[2]),
                    pixel[0].max(pixel[1]).max(pixel[2]),
                );
                unit(high) - unit(low) > NOTICEABLE_DIFFERENCE
            })
            .count();
        let share = coloured as f32 / pixels.max(1) as f32;
        if share > COLOURED_SHARE {
            return Err(DecodeError::ColourPhotograph {
                coloured_percent: 100.0 * share,
            });
        }
        if coloured > 0 {
            meta.warnings.push(format!(
                "{coloured} coloured pixels (a mark or label) were read as grey"
            ));
        }
        Ok(samples.chunks_exact(self.channels).map(luma).collect())
    }
}

/// BT.601 with weights that add up to 256, so that equal channels keep their value.
fn luma<T: Copy + Into<u32> + TryFrom<u32> + Default>(pixel: &[T]) -> T {
    let [red, green, blue] = [pixel[0].into(), pixel[1].into(), pixel[2].into()];
    T::try_from((77 * red + 150 * green + 29 * blue + 128) >> 8).unwrap_or_default()
}

fn shaped<T>(size: (usize, usize), samples: Vec<T>) -> Result<Array2<T>, DecodeError> {
    Array2::from_shape_vec(size, samples).map_err(|_| {
        DecodeError::damaged(
            "picture",
            format!("the decoder did not give {} x {} samples", size.0, size.1),
        )
    })
}

fn damaged(format: ImageFormat, error: image::ImageError) -> DecodeError {
    let part = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "TIFF",
    };
    match error {
        image::ImageError::Limits(limit) => DecodeError::unsupported(format!("{part} needs too much memory: {limit}")),
        image::ImageError::Unsupported(feature) => DecodeError::unsupported(format!("{part}: {feature}")),
        image::ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::cut(format!("{part} data"))
        }
        other => {
            let text = other.to_string();
            if is_about_the_end(&text) {
                DecodeError::cut(format!("{part} data"))
            } else {
                DecodeError::damaged(part, text)
            }
        }
    }
}

/// The png and tiff crates report a cut file inside their format error.
fn is_about_the_end(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "unexpected end",
        "unexpected eof",
        "failed to fill whole buffer",
        "end of file",
        "before all data",
    ]
    .iter()
    .any(|hint| text.contains(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decode(bytes: &[u8]) -> Result<GreyImage, DecodeError> {
        let format = sniff(bytes).expect("a known signature");
        RasterSource::open(bytes.to_vec(), format, &Limits::default())?.decode()
    }

    fn ramp8() -> GrayImage {
        ImageBuffer::from_fn(24, 20, |x, y| Luma([(x * 7 + y * 3) as u8]))
    }

    #[test]
    fn grey_of_8_and_16_bits_keeps_every_value() {
        let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(24, 20, |x, y| Luma([(x * 2600 + y) as u16]));
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            let shallow = decode(&encoded(&DynamicImage::ImageLuma8(ramp8()), format)).unwrap();
            assert_eq!((shallow.height(), shallow.width(), shallow.bits_stored), (20, 24, 8));
            assert_eq!(shallow.pixels.value(5, 7), 64);
            assert_eq!(shallow.meta.encoding.as_deref(), Some(format_name(format)));
            let image = decode(&encoded(&DynamicImage::ImageLuma16(deep.clone()), format)).unwrap();
            assert_eq!((image.pixels.value(19, 23), image.bits_stored), (23 * 2600 + 19, 16));
        }
    }

    #[test]
    fn jpeg_is_within_its_loss() {
        let image = decode(&encoded(&DynamicImage::ImageLuma8(ramp8()), ImageFormat::Jpeg)).unwrap();
        assert!(
            (image.pixels.value(5, 7) - 64).abs() < 12,
            "{}",
            image.pixels.value(5, 7)
        );
    }

    #[test]
    fn grey_saved_as_rgb_is_accepted_and_unchanged() {
        let rgb = DynamicImage::ImageLuma8(ramp8()).to_rgb8();
        let image = decode(&encoded(&DynamicImage::ImageRgb8(rgb), ImageFormat::Png)).unwrap();
        assert_eq!(
            image.pixels,
            decode(&encoded(&DynamicImage::ImageLuma8(ramp8()), ImageFormat::Png))
                .unwrap()
                .pixels
        );
        assert!(image.meta.warnings.is_empty());
    }

    #[test]
    fn a_coloured_mark_is_noted_and_a_photograph_refused() {
        let mut marked = DynamicImage::ImageLuma8(ramp8()).to_rgb8();
        marked.put_pixel(3, 3, Rgb([250, 20, 20]));
        let image = decode(&encoded(&DynamicImage::ImageRgb8(marked), ImageFormat::Png)).unwrap();
        assert_eq!(image.meta.warnings.len(), 1);
        let photo = RgbImage::from_fn(24, 20, |x, y| Rgb([(x * 10) as u8, (y * 12) as u8, 90]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff] {
            let error = decode(&encoded(&DynamicImage::ImageRgb8(photo.clone()), format)).unwrap_err();
            assert_eq!(error.code(), "colour-photograph", "{format:?}");
        }
    }

    #[test]
    fn truncated_files_are_refused_not_filled() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff] {
            let bytes = encoded(&DynamicImage::ImageLuma8(ramp8()), format);
            for kept in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 60] {
                let error = decode(&bytes[..kept]).expect_err(&format!("{format:?} cut to {kept}"));
                assert!(
                    matches!(error.code(), "truncated" | "damaged"),
                    "{format:?} {kept}: {error}"
                );
            }
        }
    }

    #[test]
    fn a_cut_file_is_told_without_numbers_that_nobody_knows() {
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            let bytes = encoded(&DynamicImage::ImageLuma8(ramp8()), format);
            let errors = (8..bytes.len())
                .filter_map(|kept| decode(&bytes[..kept]).err())
                .filter(|error| error.code() == "truncated")
                .map(|error| error.to_string());
            let mut told = 0;
            for text in errors.filter(|text| text.contains("data")) {
                assert!(!text.contains("at byte 0") && !text.contains("needs 1 bytes"), "{text}");
                assert!(text.ends_with("; send the file again"), "{text}");
                told += 1;
            }
            assert!(told > 0, "{format:?}: {told}");
        }
    }

    /// The same directory once more, at the end of the file.
    fn with_second_page(mut tiff: Vec<u8>) -> Vec<u8> {
        let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let start = number(&tiff, 4) as usize;
        let entries = usize::from(u16::from_le_bytes([tiff[start], tiff[start + 1]]));
        let next = start + 2 + 12 * entries;
        assert_eq!(number(&tiff, next), 0, "one page until now");
        let second = (tiff.len() as u32).to_le_bytes();
        let directory = tiff[start..next + 4].to_vec();
        tiff[next..next + 4].copy_from_slice(&second);
        tiff.extend(directory);
        tiff
    }

    #[test]
    fn further_pages_of_a_tiff_are_not_passed_over_silently() {
        let one = encoded(&DynamicImage::ImageLuma8(ramp8()), ImageFormat::Tiff);
        assert!(decode(&one).unwrap().meta.warnings.is_empty());
        let image = decode(&with_second_page(one)).unwrap();
        assert_eq!(image.pixels.value(5, 7), 64);
        let [warning] = image.meta.warnings.as_slice() else {
            panic!("one warning: {:?}", image.meta.warnings)
        };
        assert!(warning.contains("more than one page"), "{warning}");
    }

    #[test]
    fn absurd_sizes_are_refused_by_the_header() {
        let mut png = encoded(&DynamicImage::ImageLuma8(ramp8()), ImageFormat::Png);
        let (width, height) = (&60_000u32.to_be_bytes(), &60_000u32.to_be_bytes());
        png[16..20].copy_from_slice(width);
        png[20..24].copy_from_slice(height);
        let checksum = crc32(&png[12..29]).to_be_bytes();
        png[29..33].copy_from_slice(&checksum);
        assert_eq!(decode(&png).unwrap_err().code(), "too-large");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }
}

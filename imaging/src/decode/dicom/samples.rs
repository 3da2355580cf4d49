//! From decoded code words to stored values: position of the bits, mask, sign (PS3.5 section 8.1).

use ndarray::Array2;

use super::element::Element;
use super::image_header::ImageHeader;
use crate::decode::error::DecodeError;
use crate::grey::{Pixels, bit_mask};

/// What a codec gives: one code word a pixel, row by row.
#[derive(Debug)]
pub(super) enum CodeWords {
    /// 8 bits a pixel
    Bytes(Vec<u8>),
    /// 16 bits a pixel
    Words(Vec<u16>),
    /// The codec knows the sign itself (JPEG 2000).
    Signed(Vec<i16>),
}

/// What stands in code words beside the bits stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnusedBits {
    /// Anything, such as overlays: the value lies below the high bit (native, RLE).
    Around,
    /// The sign or nothing: the value lies at the bottom (lossless JPEG).
    Above,
    /// Overshoot of a lossy codec beyond white.
    Overshoot,
}

/// Native samples of one frame, which begins `frame_start` bytes into the pixel data, as stored values in one pass.
pub(super) fn native(
    frame: &[u8],
    frame_start: usize,
    order: &NativeOrder,
    header: &ImageHeader,
) -> Result<Pixels, DecodeError> {
    if header.sample_bytes == 1 {
        let bytes = if order.swapped_bytes {
            swapped(frame, frame_start)
        } else {
            frame.to_vec()
        };
        return to_pixels(CodeWords::Bytes(bytes), header, UnusedBits::Around);
    }
    let stored = header.bits_stored;
    let (shift, mask) = (header.high_bit + 1 - stored, bit_mask(stored));
    let big_endian = order.big_endian;
    Ok(match (header.signed, stored) {
        (true, 16) => Pixels::I16(shaped(header, words(frame, big_endian, |word| word as i16))?),
        (true, _) => Pixels::I16(shaped(
            header,
            words(frame, big_endian, |word| extended((word >> shift) & mask, stored)),
        )?),
        (false, ..=8) => Pixels::U8(shaped(
            header,
            words(frame, big_endian, |word| ((word >> shift) & mask) as u8),
        )?),
        (false, 16) => Pixels::U16(shaped(header, words(frame, big_endian, |word| word))?),
        (false, _) => Pixels::U16(shaped(header, words(frame, big_endian, |word| (word >> shift) & mask))?),
    })
}

fn words<T>(frame: &[u8], big_endian: bool, value: impl Fn(u16) -> T) -> Vec<T> {
    let (pairs, _) = frame.as_chunks::<2>();
    match big_endian {
        false => pairs.iter().map(|&pair| value(u16::from_le_bytes(pair))).collect(),
        true => pairs.iter().map(|&pair| value(u16::from_be_bytes(pair))).collect(),
    }
}

/// How native samples lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NativeOrder {
    pub(super) big_endian: bool,
    /// 8-bit samples in big-endian 16-bit words: each pair of bytes is swapped.
    pub(super) swapped_bytes: bool,
}

impl NativeOrder {
    pub(super) fn of(pixel_data: &Element, header: &ImageHeader) -> Self {
        let big_endian = pixel_data.syntax.big_endian;
        let swapped_bytes = big_endian && header.sample_bytes == 1 && pixel_data.vr == Some(*b"OW");
        NativeOrder {
            big_endian,
            swapped_bytes,
        }
    }
}

/// Bytes of a frame that begins `frame_start` bytes into the pixel data, each pair of the whole swapped back.
fn swapped(frame: &[u8], frame_start: usize) -> Vec<u8> {
    let first = frame_start % 2;
    (0..frame.len())
        .map(|index| {
            let partner = ((index + first) ^ 1).wrapping_sub(first);
            *frame.get(partner).unwrap_or(&frame[index])
        })
        .collect()
}

/// Stored values, `[H, W]`: signed values are `I16`; unsigned ones `U8` up to 8 bits stored, else `U16`.
pub(super) fn to_pixels(words: CodeWords, header: &ImageHeader, unused: UnusedBits) -> Result<Pixels, DecodeError> {
    let stored = header.bits_stored;
    let shift = if unused == UnusedBits::Around {
        header.high_bit + 1 - stored
    } else {
        0
    };
    let mask = bit_mask(stored);
    let unsigned = |word: u16| match unused {
        UnusedBits::Overshoot => word.min(mask),
        _ => (word >> shift) & mask,
    };
    // In-place collection keeps the allocation for 16-bit words.
    Ok(match (words, header.signed) {
        (CodeWords::Signed(values), _) => {
            let (low, high) = (-(1i32 << (stored - 1)), (1i32 << (stored - 1)) - 1);
            Pixels::I16(shaped(
                header,
                values
                    .into_iter()
                    .map(|value| i32::from(value).clamp(low, high) as i16)
                    .collect(),
            )?)
        }
        (CodeWords::Words(words), true) => Pixels::I16(shaped(
            header,
            words
                .into_iter()
                .map(|word| extended((word >> shift) & mask, stored))
                .collect(),
        )?),
        (CodeWords::Bytes(bytes), true) => {
            let values = bytes
                .into_iter()
                .map(|byte| extended((u16::from(byte) >> shift) & mask, stored.min(8)))
                .collect();
            Pixels::I16(shaped(header, values)?)
        }
        (CodeWords::Words(words), false) if stored <= 8 => Pixels::U8(shaped(
            header,
            words.into_iter().map(|word| unsigned(word) as u8).collect(),
        )?),
        (CodeWords::Words(words), false) if stored == 16 => Pixels::U16(shaped(header, words)?),
        (CodeWords::Words(words), false) => Pixels::U16(shaped(header, words.into_iter().map(unsigned).collect())?),
        (CodeWords::Bytes(bytes), false) if stored == 8 => Pixels::U8(shaped(header, bytes)?),
        (CodeWords::Bytes(bytes), false) if stored < 8 => Pixels::U8(shaped(
            header,
            bytes.into_iter().map(|byte| unsigned(u16::from(byte)) as u8).collect(),
        )?),
        (CodeWords::Bytes(bytes), false) => Pixels::U16(shaped(header, bytes.into_iter().map(u16::from).collect())?),
    })
}

/// Two's complement of `bits` as 16 bits.
fn extended(word: u16, bits: u16) -> i16 {
    let up = 16 - bits;
    ((word << up) as i16) >> up
}

fn shaped<T>(header: &ImageHeader, values: Vec<T>) -> Result<Array2<T>, DecodeError> {
    let (found, needed) = (values.len(), header.pixels());
    Array2::from_shape_vec((header.rows, header.columns), values).map_err(|_| {
        DecodeError::damaged(
            "pixel data",
            format!("{found} pixels were decoded, the header says {needed}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grey::Photometric;
    use ndarray::array;

    fn header(bits_stored: u16, high_bit: u16, signed: bool) -> ImageHeader {
        let photometric = Photometric::Monochrome2;
        ImageHeader {
            rows: 1,
            columns: 3,
            sample_bytes: 2,
            high_bit,
            bits_stored,
            signed,
            photometric,
            frames: 1,
        }
    }

    fn pixels(words: [u16; 3], header: &ImageHeader, unused: UnusedBits) -> Pixels {
        to_pixels(CodeWords::Words(words.to_vec()), header, unused).unwrap()
    }

    #[test]
    fn overlay_bits_are_masked_and_high_bits_shifted() {
        let low = pixels([0xF123, 0x0FFF, 0x8000], &header(12, 11, false), UnusedBits::Around);
        assert_eq!(low, Pixels::U16(array![[0x123, 0xFFF, 0]]));
        let high = pixels([0x123F, 0xFFF0, 0x0008], &header(12, 15, false), UnusedBits::Around);
        assert_eq!(high, Pixels::U16(array![[0x123, 0xFFF, 0]]));
    }

    #[test]
    fn the_sign_is_extended_from_bits_stored() {
        let twelve = pixels([0x0FFF, 0x0800, 0x07FF], &header(12, 11, true), UnusedBits::Above);
        assert_eq!(twelve, Pixels::I16(array![[-1, -2048, 2047]]));
        let sixteen = pixels([0xFFFF, 0x8000, 0x7FFF], &header(16, 15, true), UnusedBits::Around);
        assert_eq!(sixteen, Pixels::I16(array![[-1, -32768, 32767]]));
    }

    #[test]
    fn overshoot_is_white_not_black() {
        let clipped = pixels([4096, 4095, 7], &header(12, 11, false), UnusedBits::Overshoot);
        assert_eq!(clipped, Pixels::U16(array![[4095, 4095, 7]]));
    }

    #[test]
    fn pairs_are_swapped_over_frame_borders() {
        // Pixel data 1 0 3 2 5 4 holds 0 1 2 3 4 5; frames of 3 bytes.
        assert_eq!(swapped(&[1, 0, 3, 2], 0), [0, 1, 2, 3]);
        assert_eq!(swapped(&[9, 5, 4], 3), [9, 4, 5]);
    }

    #[test]
    fn a_wrong_number_of_pixels_is_refused() {
        let error = to_pixels(CodeWords::Words(vec![0; 4]), &header(16, 15, false), UnusedBits::Around).unwrap_err();
        assert_eq!(error.code(), "damaged");
    }
}

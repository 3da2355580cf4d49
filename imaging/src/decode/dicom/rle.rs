//! RLE Lossless (PS3.5 Annex G): PackBits, one segment a byte of the sample, most significant first.

use super::image_header::ImageHeader;
use super::samples::CodeWords;
use crate::decode::error::DecodeError;

const HEADER_BYTES: usize = 64;

/// Decodes one frame.
///
/// # Errors
/// `truncated` if a segment has too few pixels, `damaged` if the segment table makes no sense.
pub(super) fn decode(frame: &[u8], header: &ImageHeader) -> Result<CodeWords, DecodeError> {
    let segments = segments(frame, header.sample_bytes)?;
    if header.sample_bytes == 1 {
        let mut bytes = vec![0; header.pixels()];
        unpack(segments[0], &mut bytes, |target, byte| *target = byte)?;
        return Ok(CodeWords::Bytes(bytes));
    }
    let mut words = vec![0u16; header.pixels()];
    unpack(segments[0], &mut words, |target, byte| *target = u16::from(byte) << 8)?;
    unpack(segments[1], &mut words, |target, byte| *target |= u16::from(byte))?;
    Ok(CodeWords::Words(words))
}

fn segments(frame: &[u8], expected: usize) -> Result<Vec<&[u8]>, DecodeError> {
    let table = frame
        .get(..HEADER_BYTES)
        .ok_or_else(|| DecodeError::truncated("RLE header", 0, HEADER_BYTES as u64, frame.len() as u64))?;
    let number = |index: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| table[4 * index + byte])) as usize;
    if number(0) != expected {
        let reason = format!("{} segments for {expected} bytes a pixel", number(0));
        return Err(DecodeError::damaged("RLE header", reason));
    }
    (1..=expected)
        .map(|index| {
            let start = number(index);
            let end = if index < expected {
                number(index + 1)
            } else {
                frame.len()
            };
            (start >= HEADER_BYTES)
                .then(|| frame.get(start..end))
                .flatten()
                .ok_or_else(|| {
                    DecodeError::damaged("RLE header", format!("segment {index} spans bytes {start} to {end}"))
                })
        })
        .collect()
}

/// PackBits: a control byte, then one byte to repeat or a literal run. Surplus bytes of the last run are padding.
fn unpack<T>(mut segment: &[u8], pixels: &mut [T], put: impl Fn(&mut T, u8)) -> Result<(), DecodeError> {
    let needed = pixels.len();
    let mut done = 0;
    while done < needed {
        let Some((&control, rest)) = segment.split_first() else {
            return Err(cut(done, needed));
        };
        segment = rest;
        let left = needed - done;
        match control {
            0..=127 => {
                let length = usize::from(control) + 1;
                let Some(run) = segment.get(..length.min(left)) else {
                    return Err(cut(done + segment.len(), needed));
                };
                pixels[done..]
                    .iter_mut()
                    .zip(run)
                    .for_each(|(target, &byte)| put(target, byte));
                done += run.len();
                segment = segment.get(length..).unwrap_or_default();
            }
            // 128 is no operation.
            128 => {}
            129.. => {
                let Some((&byte, rest)) = segment.split_first() else {
                    return Err(cut(done, needed));
                };
                let length = (257 - usize::from(control)).min(left);
                pixels[done..done + length]
                    .iter_mut()
                    .for_each(|target| put(target, byte));
                done += length;
                segment = rest;
            }
        }
    }
    Ok(())
}

fn cut(pixels: usize, needed: usize) -> DecodeError {
    DecodeError::cut(format!("RLE segment with {pixels} of {needed} pixels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Annex G.3 is PackBits' own: literal and repeated runs.
    #[test]
    fn packbits_example() {
        let packed = [
            0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x80, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA,
        ];
        let mut bytes = [0; 24];
        unpack(&packed, &mut bytes, |target, byte| *target = byte).unwrap();
        let expected = [
            [0xAA; 3].as_slice(),
            &[0x80, 0, 0x2A],
            &[0xAA; 4],
            &[0x80, 0, 0x2A, 0x22],
            &[0xAA; 10],
        ]
        .concat();
        assert_eq!(bytes.as_slice(), expected);
        for length in 0..packed.len() {
            assert_eq!(
                unpack(&packed[..length], &mut [0u8; 24], |target, byte| *target = byte)
                    .unwrap_err()
                    .code(),
                "truncated"
            );
        }
    }

    #[test]
    fn segment_tables_that_lie_are_refused() {
        let mut frame = vec![0; 80];
        let at = |frame: &mut Vec<u8>, index: usize, value: u32| {
            frame[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes())
        };
        for (count, first, second) in [(3, 64, 70), (2, 10, 70), (2, 70, 64), (2, 64, 90), (2, u32::MAX, 70)] {
            at(&mut frame, 0, count);
            at(&mut frame, 1, first);
            at(&mut frame, 2, second);
            assert_eq!(
                segments(&frame, 2).unwrap_err().code(),
                "damaged",
                "{count} {first} {second}"
            );
        }
        assert_eq!(segments(&frame[..60], 2).unwrap_err().code(), "truncated");
    }
}

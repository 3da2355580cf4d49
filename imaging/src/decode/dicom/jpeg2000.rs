//! JPEG 2000 in DICOM (PS3.5 A.4.4): the codestream's headers are checked first, then decoded at native depth.
//!
//! The decoder is written in safe Rust; it fills what a cut stream lacks with a blur and takes memory as the headers
//! say, so both are settled here.

use dicom_toolkit_jpeg2000::{DecodeSettings, Image};

use super::image_header::ImageHeader;
use super::samples::CodeWords;
use crate::decode::error::DecodeError;

const START_AND_SIZE: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
const TILE_PART: u8 = 0x90;
const END: u8 = 0xD9;
/// A JP2 wrapper, which DICOM forbids and some writers use, has its boxes before the codestream.
const WRAPPER_BYTES: usize = 4096;
/// Tiles of a frame; medical images have one, whole slides hundreds.
const MAX_TILES: u64 = 16_384;

/// Image and tile size (SIZ, ISO/IEC 15444-1 A.5.1) of a codestream with one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeSegment {
    width: u32,
    height: u32,
    precision: u8,
    signed: bool,
    tiles: u64,
}

/// Decodes one frame.
///
/// # Errors
/// `truncated` if a tile part reaches beyond the frame, `damaged` if the stream contradicts the DICOM header.
pub(super) fn decode(frame: &[u8], header: &ImageHeader) -> Result<CodeWords, DecodeError> {
    let stream = codestream(frame)?;
    let size = read_size(stream)?;
    check_size(&size, header)?;
    check_complete(stream)?;
    let failed = |error| DecodeError::damaged("JPEG 2000 stream", format!("{error}"));
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let raw = Image::new(stream, &settings).and_then(|image| image.decode_native()).map_err(failed)?;
    if raw.num_components != 1 {
        return Err(DecodeError::damaged("JPEG 2000 stream", format!("{} components were decoded", raw.num_components)));
    }
    if raw.bytes_per_sample == 1 && !size.signed {
        return Ok(CodeWords::Bytes(raw.data));
    }
    let words = raw.data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    if !size.signed {
        return Ok(CodeWords::Words(words.collect()));
    }
    // The decoder raises every component by half its range, as the standard says of unsigned ones only.
    let half = 1i32 << (size.precision - 1);
    let lowered = |word: i32| (word - half) as i16;
    Ok(CodeWords::Signed(match raw.bytes_per_sample {
        1 => raw.data.iter().map(|&byte| lowered(i32::from(byte))).collect(),
        _ => words.map(|word| lowered(i32::from(word))).collect(),
    }))
}

fn codestream(frame: &[u8]) -> Result<&[u8], DecodeError> {
    let head = &frame[..frame.len().min(WRAPPER_BYTES)];
    head.windows(4)
        .position(|bytes| bytes == START_AND_SIZE)
        .map(|start| &frame[start..])
        .ok_or_else(|| DecodeError::damaged("JPEG 2000 header", "no start of codestream (FF 4F FF 51)"))
}

fn read_size(stream: &[u8]) -> Result<SizeSegment, DecodeError> {
    let cut = || DecodeError::truncated("JPEG 2000 header", 0, 47, stream.len() as u64);
    let word = |at: usize| stream.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let [right, bottom, left, top, tile_width, tile_height, tile_left, tile_top] = {
        let mut words = [0; 8];
        for (index, target) in words.iter_mut().enumerate() {
            *target = word(8 + 4 * index).ok_or_else(cut)?;
        }
        words
    };
    let Some(&[c1, c0, depth, step_x, step_y]) = stream.get(40..45) else { return Err(cut()) };
    let components = u16::from_be_bytes([c1, c0]);
    if components != 1 {
        return Err(DecodeError::Colour { photometric: format!("JPEG 2000 with {components} components") });
    }
    let sane = right > left && bottom > top && tile_left <= left && tile_top <= top && tile_width > 0 && tile_height > 0;
    if !sane || (step_x, step_y) != (1, 1) {
        return Err(DecodeError::damaged("JPEG 2000 header", "image and tile sizes contradict each other"));
    }
    let across = u64::from(right - tile_left).div_ceil(u64::from(tile_width));
    let down = u64::from(bottom - tile_top).div_ceil(u64::from(tile_height));
    Ok(SizeSegment {
        width: right - left,
        height: bottom - top,
        precision: (depth & 0x7F) + 1,
        signed: depth & 0x80 != 0,
        tiles: across.saturating_mul(down),
    })
}

fn check_size(size: &SizeSegment, header: &ImageHeader) -> Result<(), DecodeError> {
    if (size.height as usize, size.width as usize) != (header.rows, header.columns) {
        let (rows, columns) = (header.rows, header.columns);
        let reason = format!("the stream has {} x {} pixels, the file {rows} x {columns}", size.height, size.width);
        return Err(DecodeError::damaged("JPEG 2000 header", reason));
    }
    if size.precision > 16 {
        return Err(DecodeError::unsupported(format!("JPEG 2000 with {} bits", size.precision)));
    }
    if size.tiles > MAX_TILES {
        return Err(DecodeError::TooLarge { what: "number of JPEG 2000 tiles", value: size.tiles, limit: MAX_TILES });
    }
    Ok(())
}

/// Walks the main header and the tile parts to the end of the codestream.
fn check_complete(stream: &[u8]) -> Result<(), DecodeError> {
    let cut = |at: usize| DecodeError::truncated("JPEG 2000 stream", at, 2, stream.len().saturating_sub(at) as u64);
    let mut at = 2;
    let mut tile_parts = 0;
    loop {
        let Some(&[0xFF, code]) = stream.get(at..at + 2) else {
            // A missing end marker after whole tile parts costs nothing.
            return if tile_parts > 0 && (at..=at + 1).contains(&stream.len()) { Ok(()) } else { Err(cut(at)) };
        };
        let length = stream.get(at + 2..at + 4).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
        match code {
            END => return if tile_parts > 0 { Ok(()) } else { Err(cut(at)) },
            TILE_PART => {
                let part = stream.get(at + 6..at + 10).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
                tile_parts += 1;
                at = match part.ok_or_else(|| cut(at))? as usize {
                    // The last tile part may leave its length open.
                    0 => return if stream.ends_with(&[0xFF, END]) || stream.ends_with(&[0xFF, END, 0]) { Ok(()) } else { Err(cut(at)) },
                    part if part >= 14 => at.saturating_add(part),
                    _ => return Err(DecodeError::damaged("JPEG 2000 stream", format!("tile part of no length at byte {at}"))),
                };
            }
            _ if tile_parts == 0 => at += 2 + length.filter(|&length| length >= 2).ok_or_else(|| cut(at))?,
            _ => return Err(DecodeError::damaged("JPEG 2000 stream", format!("no tile part at byte {at}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_bytes(image: [u32; 4], tile: [u32; 4], components: u16) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        bytes.extend(image.into_iter().chain(tile).flat_map(u32::to_be_bytes));
        bytes.extend(components.to_be_bytes());
        bytes.extend([0x80 | 11, 1, 1]);
        bytes
    }

    #[test]
    fn the_size_segment_is_read_with_offsets_and_sign() {
        let size = read_size(&size_bytes([110, 60, 10, 10], [50, 60, 0, 0], 1)).unwrap();
        assert_eq!(size, SizeSegment { width: 100, height: 50, precision: 12, signed: true, tiles: 3 });
    }

    #[test]
    fn absurd_sizes_and_colour_are_refused() {
        assert_eq!(read_size(&size_bytes([10, 10, 10, 0], [5, 5, 0, 0], 1)).unwrap_err().code(), "damaged");
        assert_eq!(read_size(&size_bytes([10, 10, 0, 0], [0, 5, 0, 0], 1)).unwrap_err().code(), "damaged");
        assert_eq!(read_size(&size_bytes([10, 10, 0, 0], [5, 5, 0, 0], 3)).unwrap_err().code(), "colour-image");
        assert_eq!(read_size(&[0xFF, 0x4F]).unwrap_err().code(), "truncated");
        assert!(read_size(&size_bytes([u32::MAX, u32::MAX, 0, 0], [1, 1, 0, 0], 1)).unwrap().tiles > MAX_TILES);
    }

    #[test]
    fn a_cut_tile_part_is_noticed() {
        let mut stream = size_bytes([10, 10, 0, 0], [10, 10, 0, 0], 1);
        stream.extend([0xFF, TILE_PART, 0, 10, 0, 0, 0, 0, 0, 16, 0, 1, 0xFF, 0x93, 1, 2]);
        assert!(check_complete(&stream).is_ok());
        let whole = [stream.clone(), vec![0xFF, END]].concat();
        assert!(check_complete(&whole).is_ok());
        for length in 4..stream.len() {
            assert_eq!(check_complete(&stream[..length]).unwrap_err().code(), "truncated", "{length}");
        }
    }
}

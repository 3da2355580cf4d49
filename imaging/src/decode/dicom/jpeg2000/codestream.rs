//! Headers of a JPEG 2000 codestream with one component (ISO/IEC 15444-1 Annex A).

use crate::decode::error::DecodeError;

const PART: &str = "JPEG 2000 header";
const START_AND_SIZE: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
const CODING_STYLE: u8 = 0x52;
const COMPONENT_CODING_STYLE: u8 = 0x53;
const TILE_PART: u8 = 0x90;
const DATA: u8 = 0x93;
const END: u8 = 0xD9;
/// A JP2 wrapper, which DICOM forbids and some writers use, has its boxes before the codestream.
const WRAPPER_BYTES: usize = 4096;
/// Tiles of a frame; medical images have one, whole slides hundreds.
const MAX_TILES: u64 = 16_384;
/// Code blocks and precincts of a frame, for each of which the decoder keeps some hundred bytes.
const MAX_BLOCKS: u64 = 1 << 20;
/// Pixels that a stream of any length may claim; the decoder takes about 6 bytes for each before it sees any.
const PIXELS_OF_ANY_STREAM: u64 = 4 << 20;
/// Pixels that each byte of a stream justifies beyond that. Lossy radiographs hold 5 to 50, so what claims more is
/// either empty or a lie.
const PIXELS_A_BYTE: u64 = 1000;

/// A codestream whose tile parts are all there.
#[derive(Debug)]
pub(super) struct Codestream<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bits of a sample, 1 to 16.
    pub(super) precision: u8,
    pub(super) signed: bool,
}

/// Image and tile size (SIZ, A.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeSegment {
    width: u32,
    height: u32,
    tile_width: u32,
    tile_height: u32,
    tiles: u64,
    precision: u8,
    signed: bool,
}

impl<'a> Codestream<'a> {
    /// Finds the codestream in a frame and checks its headers and its length.
    pub(super) fn read(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let head = &frame[..frame.len().min(WRAPPER_BYTES)];
        let start = head
            .windows(4)
            .position(|bytes| bytes == START_AND_SIZE)
            .ok_or_else(|| DecodeError::damaged(PART, "no start of codestream (FF 4F FF 51)"))?;
        let bytes = &frame[start..];
        let size = read_size(bytes)?;
        if size.precision > 16 {
            return Err(DecodeError::unsupported(format!(
                "JPEG 2000 with {} bits",
                size.precision
            )));
        }
        bounded("number of JPEG 2000 tiles", size.tiles, MAX_TILES)?;
        let justified = PIXELS_OF_ANY_STREAM.saturating_add(PIXELS_A_BYTE.saturating_mul(bytes.len() as u64));
        let claimed = u64::from(size.width) * u64::from(size.height);
        bounded("pixels for so short a JPEG 2000 stream", claimed, justified)?;
        walk(bytes, &size)?;
        let SizeSegment {
            width,
            height,
            precision,
            signed,
            ..
        } = size;
        Ok(Codestream {
            bytes,
            width,
            height,
            precision,
            signed,
        })
    }
}

fn bounded(what: &'static str, value: u64, limit: u64) -> Result<(), DecodeError> {
    if value > limit {
        Err(DecodeError::TooLarge { what, value, limit })
    } else {
        Ok(())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes)
}

fn read_size(stream: &[u8]) -> Result<SizeSegment, DecodeError> {
    let cut = || DecodeError::truncated(PART, 0, 45, stream.len() as u64);
    let mut words = [0; 8];
    for (index, target) in words.iter_mut().enumerate() {
        *target = word(stream, 8 + 4 * index).ok_or_else(cut)?;
    }
    let [right, bottom, left, top, tile_width, tile_height, tile_left, tile_top] = words;
    let Some(&[c1, c0, depth, step_x, step_y]) = stream.get(40..45) else {
        return Err(cut());
    };
    let components = u16::from_be_bytes([c1, c0]);
    if components != 1 {
        return Err(DecodeError::Colour {
            photometric: format!("JPEG 2000 with {components} components"),
        });
    }
    let sane =
        right > left && bottom > top && tile_left <= left && tile_top <= top && tile_width > 0 && tile_height > 0;
    if !sane || (step_x, step_y) != (1, 1) {
        return Err(DecodeError::damaged(PART, "image and tile sizes contradict each other"));
    }
    let across = u64::from(right - tile_left).div_ceil(u64::from(tile_width));
    let down = u64::from(bottom - tile_top).div_ceil(u64::from(tile_height));
    Ok(SizeSegment {
        width: right - left,
        height: bottom - top,
        tile_width: tile_width.min(right - tile_left),
        tile_height: tile_height.min(bottom - tile_top),
        tiles: across.saturating_mul(down),
        precision: (depth & 0x7F) + 1,
        signed: depth & 0x80 != 0,
    })
}

/// From the main header over the tile parts to the end.
fn walk(stream: &[u8], size: &SizeSegment) -> Result<(), DecodeError> {
    let mut at = 2;
    let mut tile_parts = 0;
    loop {
        let Some(&[0xFF, code]) = stream.get(at..at + 2) else {
            // A missing end marker after whole tile parts costs nothing.
            let whole = tile_parts > 0 && (at..=at + 1).contains(&stream.len());
            return if whole { Ok(()) } else { Err(cut()) };
        };
        match code {
            END if tile_parts > 0 => return Ok(()),
            TILE_PART => {
                tile_parts += 1;
                check_tile_header(stream, at)?;
                at = match word(stream, at + 6).ok_or_else(cut)? as usize {
                    // The last tile part may leave its length open; padding may follow the end marker.
                    0 if stream.ends_with(&[0xFF, END]) || stream.ends_with(&[0xFF, END, 0]) => return Ok(()),
                    length if length >= 14 => at.saturating_add(length),
                    0 => return Err(cut()),
                    _ => {
                        return Err(DecodeError::damaged(
                            PART,
                            format!("tile part of no length at byte {at}"),
                        ));
                    }
                };
            }
            _ if tile_parts == 0 => {
                let (content, next) = segment(stream, at)?;
                match code {
                    CODING_STYLE => check_coding_style(content, size)?,
                    COMPONENT_CODING_STYLE => return Err(own_coding_style()),
                    _ => {}
                }
                at = next;
            }
            _ => return Err(DecodeError::damaged(PART, format!("no tile part at byte {at}"))),
        }
    }
}

/// Segments between the start of a tile part and its data.
fn check_tile_header(stream: &[u8], start: usize) -> Result<(), DecodeError> {
    let mut at = start + 12;
    loop {
        match stream.get(at..at + 2) {
            Some(&[0xFF, DATA]) => return Ok(()),
            Some(&[0xFF, CODING_STYLE | COMPONENT_CODING_STYLE]) => return Err(own_coding_style()),
            Some(&[0xFF, _]) => at = segment(stream, at)?.1,
            Some(_) => return Err(DecodeError::damaged(PART, format!("no marker at byte {at}"))),
            None => return Err(cut()),
        }
    }
}

/// One component in one coding style is all that grey images need, and what is bounded below.
fn own_coding_style() -> DecodeError {
    DecodeError::unsupported("JPEG 2000 with a coding style of its own for a component or tile")
}

fn segment(stream: &[u8], at: usize) -> Result<(&[u8], usize), DecodeError> {
    let length = stream.get(at + 2..at + 4).ok_or_else(cut)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length < 2 {
        return Err(DecodeError::damaged(
            PART,
            format!("segment at byte {at} has length {length}"),
        ));
    }
    let content = stream.get(at + 4..at + 2 + length).ok_or_else(cut)?;
    Ok((content, at + 2 + length))
}

/// COD (A.6.1): code blocks and precincts, which the decoder allocates before it sees a pixel.
fn check_coding_style(content: &[u8], size: &SizeSegment) -> Result<(), DecodeError> {
    let &[
        style,
        _,
        _,
        _,
        _,
        levels,
        block_width,
        block_height,
        _,
        _,
        ref precincts @ ..,
    ] = content
    else {
        return Err(DecodeError::damaged(PART, "the coding style is cut"));
    };
    if levels > 32 || block_width > 8 || block_height > 8 || block_width + block_height > 8 {
        return Err(DecodeError::damaged(
            PART,
            format!("{levels} levels, code blocks 2^{block_width} x 2^{block_height}"),
        ));
    }
    let own_precincts = style & 1 != 0;
    if own_precincts && precincts.len() <= usize::from(levels) {
        return Err(DecodeError::damaged(PART, "the precinct sizes are cut"));
    }
    let (mut blocks, mut all_precincts) = (0u64, 0u64);
    for resolution in 0..=levels {
        let reduction = u32::from(levels - resolution);
        let reduced = |length: u32| (u64::from(length) >> reduction) + 1;
        let (width, height) = (reduced(size.tile_width), reduced(size.tile_height));
        let (px, py) = match own_precincts {
            true => (
                precincts[usize::from(resolution)] & 15,
                precincts[usize::from(resolution)] >> 4,
            ),
            false => (15, 15),
        };
        // Each precinct has at least one block in each of three bands.
        let in_tile = ((width >> px) + 1) * ((height >> py) + 1);
        all_precincts = all_precincts.saturating_add(in_tile.saturating_mul(size.tiles));
        let block_area = (width >> (block_width + 2)).saturating_add(1) * ((height >> (block_height + 2)) + 1);
        blocks = blocks.saturating_add(block_area.saturating_mul(size.tiles));
    }
    bounded("number of JPEG 2000 precincts", all_precincts, MAX_BLOCKS)?;
    bounded("number of JPEG 2000 code blocks", blocks, MAX_BLOCKS)
}

fn cut() -> DecodeError {
    DecodeError::cut("JPEG 2000 stream")
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

    fn small() -> Vec<u8> {
        let mut stream = size_bytes([10, 10, 0, 0], [10, 10, 0, 0], 1);
        stream.extend([0xFF, CODING_STYLE, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, 1]);
        stream.extend([0xFF, TILE_PART, 0, 10, 0, 0, 0, 0, 0, 16, 0, 1, 0xFF, DATA, 1, 2]);
        stream
    }

    #[test]
    fn the_size_segment_is_read_with_offsets_and_sign() {
        let size = read_size(&size_bytes([110, 60, 10, 10], [50, 60, 0, 0], 1)).unwrap();
        assert_eq!(
            (size.width, size.height, size.precision, size.signed, size.tiles),
            (100, 50, 12, true, 3)
        );
    }

    #[test]
    fn absurd_sizes_and_colour_are_refused() {
        assert_eq!(
            read_size(&size_bytes([10, 10, 10, 0], [5, 5, 0, 0], 1))
                .unwrap_err()
                .code(),
            "damaged"
        );
        assert_eq!(
            read_size(&size_bytes([10, 10, 0, 0], [0, 5, 0, 0], 1))
                .unwrap_err()
                .code(),
            "damaged"
        );
        assert_eq!(
            read_size(&size_bytes([10, 10, 0, 0], [5, 5, 0, 0], 3))
                .unwrap_err()
                .code(),
            "colour-image"
        );
        let tiny_tiles = size_bytes([u32::MAX, u32::MAX, 0, 0], [1, 1, 0, 0], 1);
        assert_eq!(Codestream::read(&tiny_tiles).unwrap_err().code(), "too-large");
    }

    #[test]
    fn a_cut_anywhere_is_noticed() {
        let stream = small();
        assert!(Codestream::read(&stream).is_ok());
        assert!(Codestream::read(&[stream.clone(), vec![0xFF, END]].concat()).is_ok());
        for length in 4..stream.len() {
            assert_eq!(
                Codestream::read(&stream[..length]).unwrap_err().code(),
                "truncated",
                "{length}"
            );
        }
    }

    #[test]
    fn tiny_precincts_and_blocks_of_large_images_are_refused() {
        let size = read_size(&size_bytes([8192, 8192, 0, 0], [8192, 8192, 0, 0], 1)).unwrap();
        assert!(check_coding_style(&[0, 0, 0, 1, 0, 5, 4, 4, 0, 1], &size).is_ok());
        for refused in [
            &[1, 0, 0, 1, 0, 0, 4, 4, 0, 1, 0x00][..],
            &[0, 0, 0, 1, 0, 5, 0, 0, 0, 1],
        ] {
            assert_eq!(check_coding_style(refused, &size).unwrap_err().code(), "too-large");
        }
        for damaged in [
            &[0, 0, 0, 1, 0, 33, 4, 4, 0, 1][..],
            &[1, 0, 0, 1, 0, 5, 4, 4, 0, 1, 0x88],
            &[0, 0],
        ] {
            assert_eq!(check_coding_style(damaged, &size).unwrap_err().code(), "damaged");
        }
    }
}

//! Where the bytes of each frame lie (PS3.5 Annex A.4): in one block, or in fragments with an offset table.

use std::borrow::Cow;
use std::ops::Range;

use dicom_dictionary_std::tags;

use super::dataset::{DataSet, fragments};
use super::element::Element;
use super::image_header::ImageHeader;
use crate::decode::error::DecodeError;

/// The encoded frames of a file, as ranges of its bytes.
#[derive(Debug)]
pub(super) enum Frames {
    /// Uncompressed: equal blocks from `start`.
    Native {
        /// Where the first frame begins.
        start: usize,
        /// Bytes of a frame.
        length: usize,
    },
    /// Encapsulated: the fragments of each frame.
    Encapsulated(Vec<Vec<Range<usize>>>),
}

impl Frames {
    /// Uncompressed frames.
    ///
    /// # Errors
    /// `truncated` if the value is shorter than the header says.
    pub(super) fn native(
        pixel_data: Element,
        header: &ImageHeader,
        warnings: &mut Vec<String>,
    ) -> Result<Self, DecodeError> {
        if pixel_data.undefined_length {
            return Err(DecodeError::damaged(
                "pixel data",
                "fragments in an uncompressed transfer syntax",
            ));
        }
        let length = header.pixels() * header.sample_bytes;
        let needed = length as u64 * header.frames as u64;
        let available = pixel_data.value.len() as u64;
        if available < needed {
            return Err(DecodeError::truncated(
                "pixel data (7FE0,0010)",
                pixel_data.offset,
                needed,
                available,
            ));
        }
        if available > needed + 1 {
            warnings.push(format!(
                "pixel data has {} bytes more than its header says",
                available - needed
            ));
        }
        Ok(Frames::Native {
            start: pixel_data.offset,
            length,
        })
    }

    /// Encapsulated frames: by the offset tables, or one fragment a frame, or all fragments for a single frame.
    ///
    /// # Errors
    /// `truncated` if there are fewer fragments than frames, `damaged` if the frames cannot be told apart.
    pub(super) fn encapsulated(set: &DataSet, pixel_data: Element, frames: usize) -> Result<Self, DecodeError> {
        if !pixel_data.undefined_length {
            return Err(DecodeError::damaged(
                "pixel data",
                "no fragments in a compressed transfer syntax",
            ));
        }
        let mut items = fragments(pixel_data)?.into_iter();
        let Some(table) = items.next() else {
            return Err(DecodeError::truncated(
                "pixel data (7FE0,0010)",
                pixel_data.offset,
                8,
                0,
            ));
        };
        let fragments: Vec<Range<usize>> = items.map(|(start, end)| start..end).collect();
        if fragments.len() < frames {
            let what = format!("pixel data with {} fragments for {frames} frames", fragments.len());
            return Err(DecodeError::cut(what));
        }
        if frames == 1 {
            return Ok(Frames::Encapsulated(vec![fragments]));
        }
        if fragments.len() == frames {
            return Ok(Frames::Encapsulated(
                fragments.into_iter().map(|fragment| vec![fragment]).collect(),
            ));
        }
        let base = fragments[0].start - 8;
        let basic = pixel_data
            .value
            .get(table.0 - pixel_data.offset..table.1 - pixel_data.offset)
            .unwrap_or_default();
        by_offsets(fragments, &offsets(set, basic, frames), base, frames)
    }

    /// The bytes of one frame; joined only if they lie in several fragments.
    pub(super) fn bytes<'a>(&self, file: &'a [u8], frame: usize) -> Result<Cow<'a, [u8]>, DecodeError> {
        let missing = || DecodeError::damaged("pixel data", format!("frame {frame} lies outside the file"));
        match self {
            Frames::Native { start, length } => {
                let start = start + frame * length;
                file.get(start..start + length).map(Cow::Borrowed).ok_or_else(missing)
            }
            Frames::Encapsulated(frames) => match frames.get(frame).ok_or_else(missing)?.as_slice() {
                [only] => file.get(only.clone()).map(Cow::Borrowed).ok_or_else(missing),
                several => {
                    let mut joined = Vec::with_capacity(several.iter().map(ExactSizeIterator::len).sum());
                    for fragment in several {
                        joined.extend_from_slice(file.get(fragment.clone()).ok_or_else(missing)?);
                    }
                    Ok(Cow::Owned(joined))
                }
            },
        }
    }
}

/// Frame starts, counted from the first fragment's item tag: the extended table (64 bit) before the basic one (32 bit).
/// Of a table with more entries than `frames` one too many is read, which shows it.
fn offsets(set: &DataSet, basic: &[u8], frames: usize) -> Vec<u64> {
    match set.get(tags::EXTENDED_OFFSET_TABLE) {
        Some(extended) => extended
            .value
            .chunks_exact(8)
            .take(frames.saturating_add(1))
            .filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes))
            .collect(),
        None => basic
            .chunks_exact(4)
            .take(frames.saturating_add(1))
            .filter_map(|bytes| bytes.try_into().ok().map(u32::from_le_bytes).map(u64::from))
            .collect(),
    }
}

fn by_offsets(
    fragments: Vec<Range<usize>>,
    offsets: &[u64],
    base: usize,
    frames: usize,
) -> Result<Frames, DecodeError> {
    let rising = offsets.windows(2).all(|pair| pair[0] < pair[1]);
    if offsets.len() != frames || offsets.first() != Some(&0) || !rising {
        let reason = format!(
            "{} fragments for {frames} frames and no usable offset table",
            fragments.len()
        );
        return Err(DecodeError::damaged("pixel data", reason));
    }
    let mut result: Vec<Vec<Range<usize>>> = vec![Vec::new(); frames];
    for fragment in fragments {
        let offset = (fragment.start - 8 - base) as u64;
        let frame = offsets.partition_point(|&start| start <= offset) - 1;
        result[frame].push(fragment);
    }
    match result.iter().position(Vec::is_empty) {
        Some(frame) => Err(DecodeError::damaged(
            "pixel data",
            format!("no fragment belongs to frame {frame}"),
        )),
        None => Ok(Frames::Encapsulated(result)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::dicom::element::Syntax;

    fn item(content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xFE, 0xFF, 0x00, 0xE0];
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(content);
        bytes
    }

    fn pixel_data(table: &[u32], fragments: &[&[u8]]) -> Vec<u8> {
        let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let mut bytes = b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF".to_vec();
        bytes.extend(item(&table));
        for fragment in fragments {
            bytes.extend(item(fragment));
        }
        bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        bytes
    }

    fn frames(bytes: &[u8], count: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
        let set = DataSet::read(bytes, 0, Syntax::EXPLICIT_LITTLE)?;
        let frames = Frames::encapsulated(&set, set.get(tags::PIXEL_DATA).unwrap(), count)?;
        (0..count)
            .map(|frame| frames.bytes(bytes, frame).map(Cow::into_owned))
            .collect()
    }

    #[test]
    fn fragments_are_joined_by_count_or_table() {
        let plain = pixel_data(&[], &[b"ab", b"cd", b"ef"]);
        assert_eq!(frames(&plain, 1).unwrap(), [b"abcdef"]);
        assert_eq!(frames(&plain, 3).unwrap(), [b"ab", b"cd", b"ef"]);
        let table = pixel_data(&[0, 20], &[b"ab", b"cd", b"ef"]);
        assert_eq!(frames(&table, 2).unwrap(), [&b"abcd"[..], b"ef"]);
    }

    #[test]
    fn frames_that_cannot_be_told_apart_are_refused() {
        for table in [&[][..], &[0], &[0, 0], &[0, 900], &[4, 20]] {
            let error = frames(&pixel_data(table, &[b"ab", b"cd", b"ef"]), 2).unwrap_err();
            assert_eq!(error.code(), "damaged", "{table:?}");
        }
        assert_eq!(frames(&pixel_data(&[], &[b"ab"]), 2).unwrap_err().code(), "truncated");
        assert_eq!(frames(&pixel_data(&[], &[]), 1).unwrap_err().code(), "truncated");
    }
}

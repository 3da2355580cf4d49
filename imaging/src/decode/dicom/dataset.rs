//! The elements of a DICOM data set (PS3.5 section 7), read in place.
//!
//! Values are slices of the file: no length that the file claims is ever allocated, and an element that reaches beyond
//! the end is an error at its offset.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::element::{Element, Syntax};
use crate::decode::error::{DecodeError, Shortage};

const UNDEFINED_LENGTH: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
/// Sequences within sequences: an enhanced multi-frame image needs 4.
const MAX_DEPTH: u8 = 24;
/// Elements of a data set, items of a sequence, fragments of pixel data: real files have a few hundred of each.
const MAX_ENTRIES: usize = 65_536;

/// Bytes of a file that hold elements, with the place of the first one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// From the start of the file, so that offsets in messages are the file's.
    data: &'a [u8],
    syntax: Syntax,
    depth: u8,
}

/// The elements of a data set or item in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct DataSet<'a> {
    elements: Vec<Element<'a>>,
}

impl<'a> DataSet<'a> {
    /// Reads from `start` to the pixel data or to the end of `data`.
    ///
    /// # Errors
    /// `truncated` or `damaged`, with tag and offset.
    pub(super) fn read(data: &'a [u8], start: usize, syntax: Syntax) -> Result<Self, DecodeError> {
        Reader { data, syntax, depth: 0 }.elements(start, |element| element.tag == tags::PIXEL_DATA)
    }

    /// Reads from `start` to the first element whose tag is `end` or greater, which is not read and need not be whole. Also
    /// gives whether there was one: `data` may be the beginning of a file only.
    ///
    /// # Errors
    /// `truncated` or `damaged`, with tag and offset.
    pub(super) fn read_before(
        data: &'a [u8],
        start: usize,
        syntax: Syntax,
        end: Tag,
    ) -> Result<(Self, bool), DecodeError> {
        let reader = Reader { data, syntax, depth: 0 };
        let mut elements = Vec::new();
        let mut at = start;
        while data.len().saturating_sub(at) >= 8 {
            if Tag(reader.u16(at)?, reader.u16(at + 2)?) >= end {
                return Ok((DataSet { elements }, true));
            }
            let (element, next) = reader.element(at)?;
            push(&mut elements, element, "data set", "elements")?;
            at = next;
        }
        Ok((DataSet { elements }, false))
    }

    /// Reads the file meta information as far as it is there.
    pub(super) fn read_before_cut(data: &'a [u8], start: usize, syntax: Syntax) -> Self {
        let reader = Reader { data, syntax, depth: 0 };
        let mut elements = Vec::new();
        let mut at = start;
        while let Ok((element, next)) = reader.element(at) {
            if element.tag.group() != 0x0002 || elements.len() == MAX_ENTRIES {
                break;
            }
            elements.push(element);
            at = next;
        }
        DataSet { elements }
    }

    /// Reads the group of `start` only: the file meta information.
    pub(super) fn read_group(
        data: &'a [u8],
        start: usize,
        syntax: Syntax,
        group: u16,
    ) -> Result<(Self, usize), DecodeError> {
        let reader = Reader { data, syntax, depth: 0 };
        let mut elements = Vec::new();
        let mut at = start;
        while at < data.len() && reader.u16(at)? == group {
            let (element, next) = reader.element(at)?;
            push(&mut elements, element, "file meta information", "elements")?;
            at = next;
        }
        Ok((DataSet { elements }, at))
    }

    /// The element of this tag; the first if the file has it twice.
    pub(super) fn get(&self, tag: Tag) -> Option<Element<'a>> {
        self.elements.iter().find(|element| element.tag == tag).copied()
    }

    /// The elements in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = Element<'a>> + '_ {
        self.elements.iter().copied()
    }

    /// The text of an element, without padding; `None` if absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        self.get(tag).and_then(|element| element.text())
    }

    /// The first value of a US element (or UL, or the text of an IS).
    pub(super) fn unsigned(&self, tag: Tag) -> Option<u32> {
        self.get(tag).and_then(|element| element.unsigned())
    }

    /// The values of a DS or IS element, or of an FD one.
    pub(super) fn numbers(&self, tag: Tag) -> Vec<f64> {
        self.get(tag).map(|element| element.numbers()).unwrap_or_default()
    }

    /// The first item of a sequence.
    pub(super) fn first_item(&self, tag: Tag) -> Result<Option<DataSet<'a>>, DecodeError> {
        match self.get(tag) {
            None => Ok(None),
            Some(element) => item_ranges(element)?.first().map(|range| range.read()).transpose(),
        }
    }
}

/// An item of a sequence that was found but not yet read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemRange<'a> {
    value: &'a [u8],
    offset: usize,
    syntax: Syntax,
}

impl<'a> ItemRange<'a> {
    pub(super) fn read(&self) -> Result<DataSet<'a>, DecodeError> {
        Reader {
            data: self.value,
            syntax: self.syntax,
            depth: 1,
        }
        .elements(0, |_| false)
        .map_err(|error| match error {
            // Offsets of an item's reader count from the item.
            DecodeError::Truncated {
                what,
                shortage: Some(shortage),
            } => DecodeError::Truncated {
                what,
                shortage: Some(Shortage {
                    offset: shortage.offset + self.offset,
                    ..shortage
                }),
            },
            other => other,
        })
    }
}

/// Where the items of a sequence lie.
pub(super) fn item_ranges(sequence: Element<'_>) -> Result<Vec<ItemRange<'_>>, DecodeError> {
    let reader = Reader {
        data: sequence.value,
        syntax: sequence.syntax,
        depth: 1,
    };
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < sequence.value.len() {
        let (tag, length) = reader.item_header(at)?;
        if tag == SEQUENCE_END {
            break;
        }
        if tag != ITEM {
            return Err(damaged_item(tag, sequence.offset + at));
        }
        let (start, end, next) = reader.item_extent(at + 8, length)?;
        let value = &sequence.value[start..end];
        let range = ItemRange {
            value,
            offset: sequence.offset + start,
            syntax: sequence.syntax,
        };
        push(&mut ranges, range, "sequence", "items")?;
        at = next;
    }
    Ok(ranges)
}

/// Adds an entry to what grows with the file; `part` and `entries` say of what there are too many.
fn push<T>(list: &mut Vec<T>, entry: T, part: &'static str, entries: &str) -> Result<(), DecodeError> {
    if list.len() == MAX_ENTRIES {
        return Err(DecodeError::damaged(part, format!("more than {MAX_ENTRIES} {entries}")));
    }
    list.push(entry);
    Ok(())
}

impl<'a> Reader<'a> {
    fn elements(&self, start: usize, last: impl Fn(&Element) -> bool) -> Result<DataSet<'a>, DecodeError> {
        let mut elements = Vec::new();
        let mut at = start;
        // Some writers pad the file with a few zero bytes, which are no element.
        while self.data.len().saturating_sub(at) >= 8 {
            let (element, next) = self.element(at)?;
            push(&mut elements, element, "data set", "elements")?;
            if last(&element) {
                break;
            }
            at = next;
        }
        Ok(DataSet { elements })
    }

    /// The element at `at`, and where the next one begins.
    fn element(&self, at: usize) -> Result<(Element<'a>, usize), DecodeError> {
        let tag = Tag(self.u16(at)?, self.u16(at + 2)?);
        if tag.group() == 0xFFFE {
            return Err(damaged_item(tag, at));
        }
        let letters = [self.byte(at + 4)?, self.byte(at + 5)?];
        // Some writers mix implicit elements into explicit data sets; two capital letters are no sane length.
        let explicit = self.syntax.explicit_vr && letters.iter().all(u8::is_ascii_uppercase);
        let (vr, length, start) = match (explicit, has_long_length(letters)) {
            (false, _) => (None, self.u32(at + 4)?, at + 8),
            (true, true) => (Some(letters), self.u32(at + 8)?, at + 12),
            (true, false) => (Some(letters), u32::from(self.u16(at + 6)?), at + 8),
        };
        let (end, next, syntax) = match length {
            UNDEFINED_LENGTH => self.undefined_extent(tag, vr, start)?,
            _ => {
                let end = self.defined_end(tag, start, length)?;
                (end, end, self.syntax)
            }
        };
        let value = &self.data[start..end];
        let undefined_length = length == UNDEFINED_LENGTH;
        Ok((
            Element {
                tag,
                vr,
                value,
                offset: start,
                undefined_length,
                syntax,
            },
            next,
        ))
    }

    fn defined_end(&self, tag: Tag, start: usize, length: u32) -> Result<usize, DecodeError> {
        let available = self.data.len().saturating_sub(start);
        match usize::try_from(length) {
            Ok(length) if length <= available => Ok(start + length),
            _ => {
                let what = format!("element ({:04X},{:04X})", tag.group(), tag.element());
                Err(DecodeError::truncated(what, start, u64::from(length), available as u64))
            }
        }
    }

    /// End of the content, start of what follows, and the syntax of the content.
    fn undefined_extent(
        &self,
        tag: Tag,
        vr: Option<[u8; 2]>,
        start: usize,
    ) -> Result<(usize, usize, Syntax), DecodeError> {
        let encapsulated = tag == tags::PIXEL_DATA || matches!(vr, Some([b'O', b'B' | b'W']));
        // An unknown sequence is written in implicit VR little endian (PS3.5 6.2.2, note 2).
        let syntax = if vr == Some(*b"UN") {
            Syntax::IMPLICIT_LITTLE
        } else {
            self.syntax
        };
        let inner = Reader {
            data: self.data,
            syntax,
            depth: self.depth + 1,
        };
        if inner.depth > MAX_DEPTH {
            return Err(DecodeError::damaged(
                "data set",
                format!("sequences nest deeper than {MAX_DEPTH} at byte {start}"),
            ));
        }
        let mut at = start;
        loop {
            // Encapsulated pixels may end the file without their delimiter; frames are checked one by one later.
            if encapsulated && at == self.data.len() {
                return Ok((at, at, syntax));
            }
            let (found, length) = inner.item_header(at)?;
            match found {
                SEQUENCE_END => return Ok((at, at + 8, syntax)),
                ITEM if encapsulated => at = inner.defined_end(tag, at + 8, length)?,
                ITEM => at = inner.item_extent(at + 8, length)?.2,
                other => return Err(damaged_item(other, at)),
            }
        }
    }

    /// Start and end of an item's content, and where the next item begins.
    fn item_extent(&self, start: usize, length: u32) -> Result<(usize, usize, usize), DecodeError> {
        if length != UNDEFINED_LENGTH {
            let end = self.defined_end(ITEM, start, length)?;
            return Ok((start, end, end));
        }
        let mut at = start;
        loop {
            if Tag(self.u16(at)?, self.u16(at + 2)?) == ITEM_END {
                return Ok((start, at, at + 8));
            }
            at = self.element(at)?.1;
        }
    }

    fn item_header(&self, at: usize) -> Result<(Tag, u32), DecodeError> {
        Ok((Tag(self.u16(at)?, self.u16(at + 2)?), self.u32(at + 4)?))
    }

    fn byte(&self, at: usize) -> Result<u8, DecodeError> {
        self.data.get(at).copied().ok_or_else(|| self.ends(at, 1))
    }

    fn u16(&self, at: usize) -> Result<u16, DecodeError> {
        match self.data.get(at..at + 2) {
            Some(&[a, b]) => Ok(self.syntax.u16([a, b])),
            _ => Err(self.ends(at, 2)),
        }
    }

    fn u32(&self, at: usize) -> Result<u32, DecodeError> {
        match self.data.get(at..at + 4) {
            Some(&[a, b, c, d]) => Ok(self.syntax.u32([a, b, c, d])),
            _ => Err(self.ends(at, 4)),
        }
    }

    fn ends(&self, at: usize, needed: u64) -> DecodeError {
        DecodeError::truncated("data set", at, needed, self.data.len().saturating_sub(at) as u64)
    }
}

/// Items of encapsulated pixel data as (start, end) in the file; the first is the basic offset table.
pub(super) fn fragments(pixel_data: Element<'_>) -> Result<Vec<(usize, usize)>, DecodeError> {
    let reader = Reader {
        data: pixel_data.value,
        syntax: pixel_data.syntax,
        depth: 1,
    };
    let mut fragments = Vec::new();
    let mut at = 0;
    while at < pixel_data.value.len() {
        let (tag, length) = reader.item_header(at)?;
        if tag != ITEM {
            return Err(damaged_item(tag, pixel_data.offset + at));
        }
        let end = reader.defined_end(tags::PIXEL_DATA, at + 8, length)?;
        let fragment = (pixel_data.offset + at + 8, pixel_data.offset + end);
        push(&mut fragments, fragment, "pixel data", "fragments")?;
        at = end;
    }
    Ok(fragments)
}

fn damaged_item(tag: Tag, offset: usize) -> DecodeError {
    let found = format!("({:04X},{:04X})", tag.group(), tag.element());
    DecodeError::damaged("data set", format!("unexpected {found} at byte {offset}"))
}

/// Value representations with a 32-bit length (PS3.5 table 7.1-1).
fn has_long_length(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODALITY: [u8; 10] = [0x08, 0, 0x60, 0, b'C', b'S', 2, 0, b'C', b'T'];

    fn explicit(bytes: &[u8]) -> Result<DataSet<'_>, DecodeError> {
        DataSet::read(bytes, 0, Syntax::EXPLICIT_LITTLE)
    }

    /// (0028,3010) with one item of undefined length that holds the modality.
    fn nested(vr: &[u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0x28, 0, 0x10, 0x30, vr[0], vr[1], 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        bytes.extend([0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
        match vr {
            b"UN" => bytes.extend([0x08, 0, 0x60, 0, 2, 0, 0, 0, b'C', b'T']),
            _ => bytes.extend(MODALITY),
        }
        bytes.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn the_three_syntaxes_give_the_same_value() {
        let implicit = [0x08, 0, 0x60, 0, 2, 0, 0, 0, b'C', b'T'];
        let big = [0, 0x08, 0, 0x60, b'C', b'S', 0, 2, b'C', b'T'];
        let sets = [
            explicit(&MODALITY),
            DataSet::read(&implicit, 0, Syntax::IMPLICIT_LITTLE),
            DataSet::read(&big, 0, Syntax::EXPLICIT_BIG),
            explicit(&implicit),
        ];
        for set in sets {
            assert_eq!(set.unwrap().text(tags::MODALITY).as_deref(), Some("CT"));
        }
    }

    #[test]
    fn nested_items_are_found_and_skipped() {
        for vr in [b"SQ", b"UN"] {
            let mut bytes = nested(vr);
            bytes.extend(MODALITY);
            let set = explicit(&bytes).unwrap();
            assert_eq!(set.text(tags::MODALITY).as_deref(), Some("CT"));
            let item = set.first_item(tags::VOILUT_SEQUENCE).unwrap().unwrap();
            assert_eq!(item.text(tags::MODALITY).as_deref(), Some("CT"));
        }
    }

    #[test]
    fn a_cut_at_any_byte_is_an_error_or_a_shorter_set_never_a_panic() {
        let bytes = [nested(b"SQ"), MODALITY.to_vec()].concat();
        for length in 0..bytes.len() {
            if let Ok(set) = explicit(&bytes[..length]) {
                assert!(set.text(tags::MODALITY).is_none(), "cut at {length}");
            }
        }
    }

    #[test]
    fn lengths_beyond_the_file_are_refused_with_their_tag() {
        let lie = [0x08, 0, 0x60, 0, b'U', b'T', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF, b'x', b'y'];
        let error = explicit(&lie).unwrap_err();
        assert_eq!(error.code(), "truncated");
        assert!(
            error.to_string().contains("(0008,0060)") && error.to_string().contains("at byte 12"),
            "{error}"
        );
    }

    #[test]
    fn endless_nesting_is_refused() {
        let open = [
            0x28, 0, 0x10, 0x30, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF,
        ];
        let error = explicit(&open.repeat(100_000)).unwrap_err();
        assert!(error.to_string().contains("nest deeper"), "{error}");
    }

    #[test]
    fn millions_of_empty_elements_are_refused() {
        let empty = [0x08, 0, 0x60, 0, b'C', b'S', 0, 0].repeat(100_000);
        assert!(explicit(&empty).unwrap_err().to_string().contains("more than 65536"));
    }
}

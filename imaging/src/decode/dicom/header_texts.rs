//! What a file says about patient, study and request: texts by tag, without a look at the pixels.

use std::collections::BTreeMap;
use std::io::Read;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::text::SpecificCharacterSet;

use super::dataset::DataSet;
use super::file::{DicomFile, sniff};
use crate::decode::error::DecodeError;
use crate::decode::limits::Limits;

/// Bytes that are read first: the groups of interest lie before the pixels and seldom fill more.
const BEGINNING_BYTES: u64 = 64 << 10;
/// The first group that is not read: what follows describes waveforms, overlays, frames and pixels.
const END: Tag = Tag(0x0041, 0);

/// Texts of a DICOM file by tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderTexts {
    /// Transfer Syntax UID (0002,0010), or the one that the file looks like.
    pub transfer_syntax_uid: String,
    /// Where the data set begins behind the file meta information, in bytes; 0 in a deflated file, whose data set begins
    /// nowhere in it.
    pub dataset_offset: u64,
    texts: BTreeMap<(u16, u16), String>,
}

impl HeaderTexts {
    /// The text of an element that was asked for, decoded by the file's character set, without padding and control
    /// characters; values of one element stand apart by `\`.
    #[must_use]
    pub fn text(&self, group: u16, element: u16) -> Option<&str> {
        self.texts.get(&(group, element)).map(String::as_str)
    }
}

/// Reads the header of a file of `length` bytes; `None` if it is no DICOM.
pub(in crate::decode) fn read_header_texts(
    mut file: impl Read,
    length: u64,
    wanted: &[(u16, u16)],
    limits: &Limits,
) -> Result<Option<HeaderTexts>, DecodeError> {
    let mut bytes = Vec::new();
    file.by_ref().take(BEGINNING_BYTES).read_to_end(&mut bytes)?;
    if !sniff(&bytes) {
        return Ok(None);
    }
    let is_whole = bytes.len() as u64 >= length;
    if !is_whole {
        // The beginning may end within an element, and a deflated one within its stream.
        if let Ok((header, true)) = texts(bytes.clone(), wanted, limits) {
            return Ok(Some(header));
        }
        limits.check_bytes(length)?;
        file.take(limits.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let (header, _) = texts(bytes, wanted, limits)?;
    Ok(Some(header))
}

/// The wanted texts, and whether the end of the groups of interest was seen.
fn texts(bytes: Vec<u8>, wanted: &[(u16, u16)], limits: &Limits) -> Result<(HeaderTexts, bool), DecodeError> {
    let DicomFile {
        bytes,
        start,
        syntax,
        transfer_syntax,
        ..
    } = DicomFile::open(bytes, limits)?;
    let (set, ended) = DataSet::read_before(&bytes, start, syntax, END)?;
    let charset = character_set(&set);
    let text = |&(group, element): &(u16, u16)| {
        let text = set.get(Tag(group, element))?.text_in(charset.as_ref())?;
        Some(((group, element), text))
    };
    let header = HeaderTexts {
        transfer_syntax_uid: transfer_syntax,
        dataset_offset: start as u64,
        texts: wanted.iter().filter_map(text).collect(),
    };
    Ok((header, ended))
}

/// Specific Character Set (0008,0005). Of several the last one counts: the first is ASCII or empty where there are more.
fn character_set(set: &DataSet<'_>) -> Option<SpecificCharacterSet> {
    let text = set.text(tags::SPECIFIC_CHARACTER_SET)?;
    text.rsplit('\\')
        .find_map(|code| SpecificCharacterSet::from_code(code.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: (u16, u16) = (0x0010, 0x0010);
    const PRIORITY: (u16, u16) = (0x0040, 0x1003);

    fn element(tag: (u16, u16), vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        bytes.extend(vr);
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(b' ');
        }
        if [b"OW", b"OB", b"UN"].contains(&vr) {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
        bytes
    }

    /// A file whose patient's name is `name` in `charset`, with `filler` bytes before its priority.
    fn file(charset: &str, name: &[u8], filler: usize) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        bytes.extend(element((2, 0x10), b"UI", b"1.2.840.10008.1.2.1\0"));
        bytes.extend(element((8, 5), b"CS", charset.as_bytes()));
        bytes.extend(element(NAME, b"PN", name));
        bytes.extend(element((0x0029, 0x1010), b"OB", &vec![7; filler]));
        bytes.extend(element(PRIORITY, b"SH", b"STAT"));
        bytes.extend(element((0x7fe0, 0x10), b"OW", &vec![0; 100_000]));
        bytes
    }

    fn read(bytes: &[u8], length: u64) -> Result<Option<HeaderTexts>, DecodeError> {
        read_header_texts(bytes, length, &[NAME, PRIORITY], &Limits::default())
    }

    #[test]
    fn names_are_read_in_their_character_set() {
        for (charset, name) in [
            ("ISO_IR 100", &b"L\xe9gar\xe9^Zo\xeb"[..]),
            ("\\ISO 2022 IR 100", b"L\xe9gar\xe9^Zo\xeb"),
            ("ISO_IR 192", "Légaré^Zoë".as_bytes()),
            ("", "Légaré^Zoë".as_bytes()),
        ] {
            let bytes = file(charset, name, 0);
            let header = read(&bytes, bytes.len() as u64).unwrap().unwrap();
            assert_eq!(header.text(NAME.0, NAME.1), Some("Légaré^Zoë"), "{charset}");
            assert_eq!(header.dataset_offset, 132 + 28);
        }
    }

    #[test]
    fn a_beginning_is_enough_unless_the_groups_go_on() {
        let bytes = file("", b"A^B", 100);
        let only_beginning = &bytes[..BEGINNING_BYTES as usize];
        let header = read(only_beginning, bytes.len() as u64).unwrap().unwrap();
        assert_eq!(header.text(PRIORITY.0, PRIORITY.1), Some("STAT"));
        // The element that is skipped ends at every place around the end of the beginning.
        for filler in (0..40).map(|n| BEGINNING_BYTES as usize - 240 + n * 2) {
            let bytes = file("", b"A^B", filler);
            let header = read(&bytes, bytes.len() as u64).unwrap().unwrap();
            assert_eq!(header.text(PRIORITY.0, PRIORITY.1), Some("STAT"), "{filler}");
        }
    }

    #[test]
    fn what_is_no_dicom_has_no_header_and_damage_is_told() {
        assert_eq!(read(b"Dear colleague,", 15).unwrap(), None);
        let bytes = file("", b"A^B", 300);
        assert_eq!(read(&bytes[..260], 260).unwrap_err().code(), "truncated");
        for length in 0..bytes.len().min(500) {
            let _ = read(&bytes[..length], length as u64);
        }
    }
}

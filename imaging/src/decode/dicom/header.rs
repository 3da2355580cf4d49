//! What a file says beside its pixels, copied as it stands: an object that is derived from an image belongs to the same
//! patient and study, in the same bytes and character set.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::dataset::{DataSet, item_ranges};
use super::element::Element;
use super::file::DicomFile;
use crate::decode::error::DecodeError;
use crate::decode::limits::Limits;

/// Sequences within sequences that are copied: codes with their equivalents and modifiers have 3.
const MAX_DEPTH: usize = 8;

/// Elements of a DICOM file before its pixels: texts and sequences of them. Numbers in binary are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DicomHeader {
    transfer_syntax: String,
    elements: Vec<HeaderElement>,
}

/// One element as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderElement {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation: a text, or `SQ`.
    pub vr: VR,
    /// Its value.
    pub value: HeaderValue,
}

/// The value of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// A text in the file's Specific Character Set (0008,0005), without the padding at its end.
    Text(Vec<u8>),
    /// The items of a sequence.
    Items(Vec<Vec<HeaderElement>>),
}

impl DicomHeader {
    /// Reads the elements with a `wanted` tag; those in sequences come with all of their texts.
    pub(in crate::decode) fn read(bytes: Vec<u8>, limits: &Limits, wanted: &[Tag]) -> Result<Self, DecodeError> {
        let file = DicomFile::open_header(bytes, limits)?;
        let (set, _) = DataSet::read_before(&file.bytes, file.start, file.syntax, tags::PIXEL_DATA)?;
        let wanted = set.iter().filter(|element| wanted.contains(&element.tag));
        Ok(Self {
            elements: copies(wanted, 0)?,
            transfer_syntax: file.transfer_syntax,
        })
    }

    /// Transfer Syntax UID (0002,0010).
    #[must_use]
    pub fn transfer_syntax(&self) -> &str {
        &self.transfer_syntax
    }

    /// The element of this tag; the first if the file has it twice.
    #[must_use]
    pub fn get(&self, tag: Tag) -> Option<&HeaderElement> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// The text of an element that is no sequence.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<&[u8]> {
        match &self.get(tag)?.value {
            HeaderValue::Text(text) => Some(text),
            HeaderValue::Items(_) => None,
        }
    }
}

/// Copies of texts and sequences; what is neither is left out.
fn copies<'a>(elements: impl Iterator<Item = Element<'a>>, depth: usize) -> Result<Vec<HeaderElement>, DecodeError> {
    let mut copies = Vec::new();
    for element in elements {
        let Some(vr) = representation(&element) else { continue };
        let value = match vr {
            VR::SQ => HeaderValue::Items(items(element, depth + 1)?),
            _ => HeaderValue::Text(without_padding(element.value).to_vec()),
        };
        let tag = element.tag;
        copies.push(HeaderElement { tag, vr, value });
    }
    Ok(copies)
}

fn items(sequence: Element<'_>, depth: usize) -> Result<Vec<Vec<HeaderElement>>, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::damaged(
            "data set",
            format!("sequences nest deeper than {MAX_DEPTH} at byte {}", sequence.offset),
        ));
    }
    let ranges = item_ranges(sequence)?;
    ranges.iter().map(|range| copies(range.read()?.iter(), depth)).collect()
}

/// The representation of a text or sequence, from the dictionary where the file does not tell it.
fn representation(element: &Element<'_>) -> Option<VR> {
    let told = element.vr.filter(|vr| vr != b"UN").and_then(VR::from_binary);
    let vr = match told {
        Some(vr) => vr,
        None => StandardDataDictionary.by_tag(element.tag)?.vr().exact()?,
    };
    match vr {
        // Unknown with a length may be written in either way; without one it is implicit, and was read as that.
        VR::SQ if told.is_none() && element.vr.is_some() && !element.undefined_length => None,
        VR::AE | VR::AS | VR::CS | VR::DA | VR::DS | VR::DT | VR::IS | VR::LO | VR::LT | VR::PN => Some(vr),
        VR::SH | VR::ST | VR::TM | VR::UC | VR::UI | VR::UR | VR::UT | VR::SQ => Some(vr),
        _ => None,
    }
}

/// No character set has a character of several bytes that ends with a space or a zero byte.
fn without_padding(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|&byte| byte != 0 && byte != b' ');
    &value[..end.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [Tag; 4] = [
        tags::MODALITY,
        tags::PATIENT_NAME,
        tags::PROCEDURE_CODE_SEQUENCE,
        tags::SERIES_NUMBER,
    ];

    fn file(uid: &str, data_set: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\x10\0UI");
        let padded = format!("{uid}{}", if uid.len() % 2 == 1 { "\0" } else { "" });
        bytes.extend((padded.len() as u16).to_le_bytes());
        bytes.extend(padded.as_bytes());
        bytes.extend(data_set);
        bytes
    }

    fn read(bytes: Vec<u8>) -> Result<DicomHeader, DecodeError> {
        DicomHeader::read(bytes, &Limits::default(), &WANTED)
    }

    /// A sequence of one item with a Code Value, explicit.
    const CODES: &[u8] = b"\x08\0\x32\x10SQ\0\0\x14\0\0\0\xFE\xFF\0\xE0\x0C\0\0\0\x08\0\0\x01SH\x04\0R-1 ";
    const NAME: &[u8] = b"\x10\0\x10\0PN\x06\0M\xFCller";
    const PIXELS_CUT: &[u8] = b"\xE0\x7F\x10\0OW\0\0\0\x80\0\0pixels";

    #[test]
    fn texts_and_sequences_are_copied_byte_by_byte_before_cut_pixels() {
        let set = [b"\x08\0\x60\0CS\x02\0CT".as_slice(), CODES, NAME, PIXELS_CUT].concat();
        for uid in [
            "1.2.840.10008.1.2.1",
            "1.2.840.10008.1.2.4.102",
            "1.2.840.10008.1.2.4.999",
        ] {
            let header = read(file(uid, &set)).unwrap();
            assert_eq!(header.transfer_syntax(), uid);
            assert_eq!(header.text(tags::MODALITY), Some(b"CT".as_slice()));
            assert_eq!(header.text(tags::PATIENT_NAME), Some(b"M\xFCller".as_slice()));
            let codes = header.get(tags::PROCEDURE_CODE_SEQUENCE).unwrap();
            let HeaderValue::Items(items) = &codes.value else {
                panic!("{codes:?}")
            };
            assert_eq!(items[0][0].value, HeaderValue::Text(b"R-1".to_vec()));
            assert_eq!((items[0][0].vr, header.text(tags::PATIENT_ID)), (VR::SH, None));
        }
    }

    #[test]
    fn implicit_elements_get_their_representation_from_the_dictionary() {
        let implicit = b"\x08\0\x60\0\x02\0\0\0CT\x20\0\x11\0\x02\0\0\x007 ";
        let header = read(file("1.2.840.10008.1.2", implicit)).unwrap();
        assert_eq!(header.get(tags::MODALITY).map(|element| element.vr), Some(VR::CS));
        let number = header.get(tags::SERIES_NUMBER).unwrap();
        assert_eq!((number.vr, &number.value), (VR::IS, &HeaderValue::Text(b"7".to_vec())));
    }

    #[test]
    fn nesting_with_lengths_ends_somewhere() {
        let mut nested = Vec::new();
        for _ in 0..2000 {
            let length = (nested.len() as u32).to_le_bytes();
            let item = [b"\xFE\xFF\0\xE0".as_slice(), &length, &nested].concat();
            let length = (item.len() as u32).to_le_bytes();
            nested = [b"\x08\0\x32\x10SQ\0\0".as_slice(), &length, &item].concat();
        }
        let error = read(file("1.2.840.10008.1.2.1", &nested)).unwrap_err();
        assert!(error.to_string().contains("deeper than 8"), "{error}");
    }

    #[test]
    fn a_cut_at_any_byte_never_panics() {
        let whole = file("1.2.840.10008.1.2.1", &[CODES, NAME, PIXELS_CUT].concat());
        for length in 0..whole.len() {
            let _ = read(whole[..length].to_vec());
        }
        assert!(read(whole[..whole.len() - PIXELS_CUT.len() - 3].to_vec()).is_err());
    }
}

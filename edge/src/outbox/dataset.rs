//! Building and writing data sets.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::uids;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::BuildError;
use crate::implementation;

/// Puts a text of our own: ASCII, cut to what its representation allows. Backslashes part values.
pub fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, text: &str) {
    let text = match vr {
        VR::LO => limited(text, 64),
        VR::SH | VR::CS | VR::AE => limited(text, 16),
        VR::ST => limited(text, 1024),
        _ => ascii(text),
    };
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
}

/// Puts a number of 16 bits.
pub fn put_number(object: &mut InMemDicomObject, tag: Tag, number: u16) {
    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number)));
}

/// Puts bytes as they are, padded to an even length as the representation asks for.
pub fn put_bytes(object: &mut InMemDicomObject, tag: Tag, vr: VR, mut bytes: Vec<u8>) {
    if bytes.len() % 2 == 1 {
        bytes.push(if matches!(vr, VR::UI | VR::OB) { 0 } else { b' ' });
    }
    object.put(DataElement::new(tag, vr, PrimitiveValue::U8(bytes.into())));
}

/// Puts a sequence.
pub fn put_items(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

/// A text in the characters that every character set has. Nothing of ours needs more: the words of reports are English.
#[must_use]
pub fn ascii(text: &str) -> String {
    let folded = |letter: char| match letter {
        '–' | '—' => "-".to_owned(),
        '…' => "...".to_owned(),
        '·' => ",".to_owned(),
        '’' | '‘' => "'".to_owned(),
        letter if letter.is_ascii() && (!letter.is_ascii_control() || letter == '\n') => letter.to_string(),
        _ => "?".to_owned(),
    };
    text.chars().map(folded).collect()
}

/// An ASCII text of at most `most` characters in each of its values.
#[must_use]
pub fn limited(text: &str, most: usize) -> String {
    let values = ascii(text);
    let cut = |value: &str| value[..value.len().min(most)].trim_end().to_owned();
    values.split('\\').map(cut).collect::<Vec<_>>().join("\\")
}

/// A whole DICOM file, explicit VR little endian.
///
/// # Errors
/// [`BuildError::Encode`].
pub fn file(object: InMemDicomObject, sop_class: &str, sop_instance: &str) -> Result<Vec<u8>, BuildError> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(sop_class)
        .media_storage_sop_instance_uid(sop_instance)
        .implementation_class_uid(implementation::CLASS_UID)
        .implementation_version_name(implementation::VERSION_NAME);
    let encode = |reason: String| BuildError::Encode { reason };
    let file = object.with_meta(meta).map_err(|error| encode(error.to_string()))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| encode(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_ascii_and_fit_their_element() {
        assert_eq!(ascii("PA · 54 y – “a”…\u{1b}"), "PA , 54 y - ?a?...?");
        assert_eq!(limited("chest\\a much longer value", 6), "chest\\a much");
        assert_eq!(limited("ü 4567", 2), "?");
    }
}

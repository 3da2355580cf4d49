//! What an object that is derived from an image takes over from it: patient, study, identity.

use std::path::Path;

use dicom_core::{DataElement, Tag, VR, value::PrimitiveValue};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use imaging::Limits;
use imaging::decode::{DicomHeader, HeaderElement, HeaderValue, dicom_header};

use super::BuildError;
use super::dataset::{put_bytes, put_items};

/// Elements of the Patient, Patient Study and General Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2) that are taken
/// over. Those of type 2 are there in any case, empty where the image lacks them.
const PATIENT_AND_STUDY: [(Tag, VR, bool); 28] = [
    (tags::STUDY_DATE, VR::DA, true),
    (tags::STUDY_TIME, VR::TM, true),
    (tags::ACCESSION_NUMBER, VR::SH, true),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, true),
    (tags::STUDY_ID, VR::SH, true),
    (tags::PATIENT_NAME, VR::PN, true),
    (tags::PATIENT_ID, VR::LO, true),
    (tags::PATIENT_BIRTH_DATE, VR::DA, true),
    (tags::PATIENT_SEX, VR::CS, true),
    (tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, false),
    (tags::INSTITUTION_NAME, VR::LO, false),
    (tags::STUDY_DESCRIPTION, VR::LO, false),
    (tags::PROCEDURE_CODE_SEQUENCE, VR::SQ, false),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO, false),
    (tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, VR::SQ, false),
    (tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, VR::SQ, false),
    (tags::PATIENT_BIRTH_TIME, VR::TM, false),
    (tags::PATIENT_AGE, VR::AS, false),
    (tags::PATIENT_SIZE, VR::DS, false),
    (tags::PATIENT_WEIGHT, VR::DS, false),
    (tags::PATIENT_SPECIES_DESCRIPTION, VR::LO, false),
    (tags::PATIENT_SEX_NEUTERED, VR::CS, false),
    (tags::PATIENT_BREED_DESCRIPTION, VR::LO, false),
    (tags::RESPONSIBLE_PERSON, VR::PN, false),
    (tags::RESPONSIBLE_PERSON_ROLE, VR::CS, false),
    (tags::RESPONSIBLE_ORGANIZATION, VR::LO, false),
    (tags::PATIENT_IDENTITY_REMOVED, VR::CS, false),
    (tags::DEIDENTIFICATION_METHOD, VR::LO, false),
];

/// What else is read of an image.
const IDENTITY: [Tag; 10] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::MODALITY,
    tags::BODY_PART_EXAMINED,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
];

/// The data set of an image, beside its pixels.
#[derive(Debug, Clone)]
pub struct Original {
    header: DicomHeader,
    sop_class: String,
    sop_instance: String,
    study: String,
    series: String,
}

impl Original {
    /// Reads the data set of an image.
    ///
    /// # Errors
    /// [`BuildError::Header`] if there is none; [`BuildError::Nameless`] if it has no identifiers to be filed under.
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, BuildError> {
        let copied = PATIENT_AND_STUDY.iter().map(|(tag, ..)| *tag);
        let wanted: Vec<Tag> = copied.chain(IDENTITY).collect();
        Self::new(dicom_header(path, limits, &wanted)?)
    }

    fn new(header: DicomHeader) -> Result<Self, BuildError> {
        let uid = |tag, name| {
            let text = header.text(tag).filter(|text| is_valid(VR::UI, text));
            let text = text.and_then(|text| String::from_utf8(text.to_vec()).ok());
            text.ok_or(BuildError::Nameless { missing: name })
        };
        Ok(Self {
            sop_class: uid(tags::SOP_CLASS_UID, "SOP Class UID (0008,0016)")?,
            sop_instance: uid(tags::SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)")?,
            study: uid(tags::STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)")?,
            series: uid(tags::SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)")?,
            header,
        })
    }

    /// SOP Class UID.
    #[must_use]
    pub fn sop_class(&self) -> &str {
        &self.sop_class
    }

    /// SOP Instance UID.
    #[must_use]
    pub fn sop_instance(&self) -> &str {
        &self.sop_instance
    }

    /// Study Instance UID.
    #[must_use]
    pub fn study(&self) -> &str {
        &self.study
    }

    /// Series Instance UID.
    #[must_use]
    pub fn series(&self) -> &str {
        &self.series
    }

    /// A text of plain characters: a code, a date, a time zone.
    pub(super) fn plain(&self, tag: Tag) -> Option<&str> {
        let element = self.header.get(tag)?;
        let text = self.header.text(tag).filter(|text| is_valid(element.vr, text))?;
        std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// Puts the character set and what makes an object part of the same patient and study.
    pub(super) fn put_patient_and_study(&self, object: &mut InMemDicomObject) {
        self.put_copy(object, tags::SPECIFIC_CHARACTER_SET);
        object.put(DataElement::new(
            tags::STUDY_INSTANCE_UID,
            VR::UI,
            PrimitiveValue::from(self.study.as_str()),
        ));
        for (tag, vr, always) in PATIENT_AND_STUDY {
            let put = self.put_copy(object, tag);
            if always && !put {
                object.put(DataElement::new(tag, vr, PrimitiveValue::Empty));
            }
        }
        // Type 1C: who says that the identity was removed must say how.
        if object.get(tags::DEIDENTIFICATION_METHOD).is_none() {
            object.remove_element(tags::PATIENT_IDENTITY_REMOVED);
        }
    }

    /// Puts the image's element, if it has it and it is valid; says whether it did.
    pub(super) fn put_copy(&self, object: &mut InMemDicomObject, tag: Tag) -> bool {
        self.header.get(tag).is_some_and(|element| put_copy(object, element))
    }

    /// The procedure as the image codes it.
    pub(super) fn procedure(&self) -> Option<InMemDicomObject> {
        match &self.header.get(tags::PROCEDURE_CODE_SEQUENCE)?.value {
            HeaderValue::Items(items) => items.iter().find_map(|item| code(item)),
            HeaderValue::Text(_) => None,
        }
    }

    /// How the image was compressed with loss (PS3.3 C.7.6.1.1.5), if it was: the method, if it is known.
    pub(super) fn lossy(&self) -> Option<Option<&'static str>> {
        #[allow(deprecated, reason = "retired syntaxes are still sent")]
        let method = match self.header.transfer_syntax() {
            uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT => Some("ISO_10918_1"),
            uids::JPEGLS_NEAR_LOSSLESS => Some("ISO_14495_1"),
            // This syntax may be without loss: then the image says so.
            uids::JPEG2000 if self.plain(tags::LOSSY_IMAGE_COMPRESSION) != Some("00") => Some("ISO_15444_1"),
            _ => None,
        };
        (method.is_some() || self.plain(tags::LOSSY_IMAGE_COMPRESSION) == Some("01")).then_some(method)
    }
}

/// A code of a sequence, if it is complete (PS3.3 table 8.8-1).
fn code(item: &[HeaderElement]) -> Option<InMemDicomObject> {
    let mut code = InMemDicomObject::new_empty();
    let needed = [tags::CODE_VALUE, tags::CODING_SCHEME_DESIGNATOR, tags::CODE_MEANING];
    let complete = needed.iter().all(|tag| {
        let element = item.iter().find(|element| element.tag == *tag);
        element.is_some_and(|element| put_copy(&mut code, element))
    });
    complete.then_some(code)
}

fn put_copy(object: &mut InMemDicomObject, element: &HeaderElement) -> bool {
    match &element.value {
        HeaderValue::Text(text) if !text.is_empty() && is_valid(element.vr, text) && is_allowed(element.tag, text) => {
            match std::str::from_utf8(text) {
                // Numbers in text are written from text; the rest goes as it came, in whatever character set.
                Ok(plain) if text.is_ascii() => {
                    object.put(DataElement::new(element.tag, element.vr, PrimitiveValue::from(plain)));
                }
                _ => put_bytes(object, element.tag, element.vr, text.clone()),
            }
            true
        }
        HeaderValue::Text(_) => false,
        HeaderValue::Items(items) => {
            let copies: Vec<_> = match element.tag {
                tags::PROCEDURE_CODE_SEQUENCE => items.iter().filter_map(|item| code(item)).collect(),
                _ => items.iter().filter_map(|item| copy_item(item)).collect(),
            };
            let any = !copies.is_empty();
            if any {
                put_items(object, element.tag, copies);
            }
            any
        }
    }
}

/// An item with what is valid of it; `None` if that is nothing.
fn copy_item(item: &[HeaderElement]) -> Option<InMemDicomObject> {
    let mut copy = InMemDicomObject::new_empty();
    let copied = item.iter().filter(|element| put_copy(&mut copy, element)).count();
    (copied > 0).then_some(copy)
}

/// Whether each value of a text is one of its representation (PS3.5 table 6.2-1). Names and identifiers are taken as
/// they are: the archive that has the image has them too.
fn is_valid(vr: VR, text: &[u8]) -> bool {
    let values = || text.split(|&byte| byte == b'\\');
    let only = |value: &[u8], allowed: fn(&u8) -> bool| value.iter().all(allowed);
    match vr {
        VR::UI => {
            text.len() <= 64
                && text.split(|&byte| byte == b'.').all(|part| {
                    !part.is_empty() && only(part, u8::is_ascii_digit) && (part.len() == 1 || part[0] != b'0')
                })
        }
        VR::DA => values().all(|value| value.len() == 8 && only(value, u8::is_ascii_digit)),
        VR::TM => values().all(is_time),
        VR::AS => {
            text.len() == 4 && only(&text[..3], u8::is_ascii_digit) && matches!(text[3], b'D' | b'W' | b'M' | b'Y')
        }
        VR::CS => values().all(|value| {
            value.len() <= 16
                && value
                    .iter()
                    .all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'_'))
        }),
        VR::DS | VR::IS => values().all(|value| {
            let text = std::str::from_utf8(value).unwrap_or_default().trim();
            text.len() <= 16 && text.parse::<f64>().is_ok_and(f64::is_finite)
        }),
        // Bytes below a space are control characters; ESC switches character sets.
        _ => text.iter().all(|&byte| byte >= b' ' || byte == 0x1B),
    }
}

/// `HH`, `HHMM`, `HHMMSS` with a fraction of up to six digits.
fn is_time(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next();
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    matches!(whole.len(), 2 | 4 | 6)
        && digits(whole)
        && fraction.is_none_or(|part| whole.len() == 6 && (1..=6).contains(&part.len()) && digits(part))
}

/// Whether a value is one of those that the standard enumerates for the element.
fn is_allowed(tag: Tag, text: &[u8]) -> bool {
    match tag {
        tags::PATIENT_SEX => matches!(text, b"M" | b"F" | b"O"),
        tags::PATIENT_IDENTITY_REMOVED => text == b"YES",
        tags::LOSSY_IMAGE_COMPRESSION => matches!(text, b"00" | b"01"),
        tags::TIMEZONE_OFFSET_FROM_UTC => {
            matches!(text, [b'+' | b'-', rest @ ..] if rest.len() == 4 && rest.iter().all(u8::is_ascii_digit))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_held_to_their_representation() {
        let good: [(VR, &[u8]); 9] = [
            (VR::UI, b"1.2.840.0"),
            (VR::DA, b"20260131"),
            (VR::TM, b"14"),
            (VR::TM, b"143200.123456"),
            (VR::AS, b"054Y"),
            (VR::CS, b"ISO_IR 100"),
            (VR::CS, b"\\ISO 2022 IR 87"),
            (VR::DS, b"-1.5e2\\3"),
            (VR::PN, b"M\xFCller\x1B$B^"),
        ];
        let bad: [(VR, &[u8]); 11] = [
            (VR::UI, b"1.02"),
            (VR::UI, b"1..2"),
            (VR::UI, b"1.2a"),
            (VR::DA, b"2026.01.31"),
            (VR::TM, b"14:32:00"),
            (VR::TM, b"1432.5"),
            (VR::TM, b"143200.1234567"),
            (VR::AS, b"54"),
            (VR::CS, b"chest"),
            (VR::IS, b"1 2"),
            (VR::LO, b"a\nb"),
        ];
        for (vr, text) in good {
            assert!(is_valid(vr, text), "{vr} {text:?}");
        }
        for (vr, text) in bad {
            assert!(!is_valid(vr, text), "{vr} {text:?}");
        }
    }

    #[test]
    fn values_that_are_enumerated_are_one_of_them() {
        assert!(is_allowed(tags::PATIENT_SEX, b"F") && !is_allowed(tags::PATIENT_SEX, b"W"));
        let zone = |text: &[u8]| is_allowed(tags::TIMEZONE_OFFSET_FROM_UTC, text);
        assert!(zone(b"+0100") && zone(b"-0330") && !zone(b"0100") && !zone(b"+1") && !zone(b""));
    }
}

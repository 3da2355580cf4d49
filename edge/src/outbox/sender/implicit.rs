//! A data set from explicit to implicit VR little endian (PS3.5 7.1), for an archive that takes nothing else. Values
//! stay as they are, byte by byte, in whatever character set they are written.

/// Group of items and delimiters, which have no value representation.
const ITEMS: [u8; 2] = [0xFE, 0xFF];
const UNDEFINED: u32 = u32::MAX;

/// The data set in implicit VR; `None` if it is not one that this program writes: a sequence with a length would have
/// another one here.
#[must_use]
pub fn from_explicit(explicit: &[u8]) -> Option<Vec<u8>> {
    let mut implicit = Vec::with_capacity(explicit.len());
    let mut rest = explicit;
    while !rest.is_empty() {
        let (tag, after) = rest.split_at_checked(4)?;
        implicit.extend(tag);
        if tag[..2] == ITEMS {
            let (length, after) = after.split_at_checked(4)?;
            let is_delimiter = length == [0; 4];
            if !is_delimiter && u32_of(length)? != UNDEFINED {
                return None;
            }
            implicit.extend(length);
            rest = after;
            continue;
        }
        let (vr, after) = after.split_at_checked(2)?;
        let (length, after) = match vr {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV" => {
                let (length, after) = after.split_at_checked(6)?;
                (u32_of(&length[2..])?, after)
            }
            _ => {
                let (length, after) = after.split_at_checked(2)?;
                (u32::from(u16::from_le_bytes(length.try_into().ok()?)), after)
            }
        };
        implicit.extend(length.to_le_bytes());
        rest = after;
        match (vr, length) {
            (b"SQ", UNDEFINED | 0) => {}
            (b"SQ", _) | (_, UNDEFINED) => return None,
            _ => {
                let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
                implicit.extend(value);
                rest = after;
            }
        }
    }
    Some(implicit)
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;
    use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};

    use super::*;
    use crate::outbox::dataset::{put, put_bytes, put_items, put_number};
    use crate::outbox::structured_report::codes::{dcm, reason};

    fn example() -> InMemDicomObject {
        let mut object = InMemDicomObject::new_empty();
        put(&mut object, tags::MODALITY, VR::CS, "OT");
        put_number(&mut object, tags::ROWS, 800);
        put_items(&mut object, tags::REFERENCED_SERIES_SEQUENCE, vec![]);
        let mut item = dcm("121071", "Finding").item();
        put_items(
            &mut item,
            tags::CONCEPT_CODE_SEQUENCE,
            vec![reason("conformal-set-ambiguous").item()],
        );
        put_items(&mut object, tags::CONTENT_SEQUENCE, vec![item]);
        put_bytes(&mut object, tags::PIXEL_DATA, VR::OB, vec![7; 70_001]);
        object
    }

    fn explicit(object: &InMemDicomObject) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = object.write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased());
        written.expect("written");
        bytes
    }

    #[test]
    fn it_is_what_another_writer_writes() {
        let object = example();
        let mut implicit = Vec::new();
        let written = object.write_dataset_with_ts(&mut implicit, &IMPLICIT_VR_LITTLE_ENDIAN.erased());
        written.expect("written");
        assert_eq!(from_explicit(&explicit(&object)), Some(implicit));
    }

    #[test]
    fn a_cut_data_set_is_none_and_nothing_panics() {
        let explicit = explicit(&example());
        for length in 1..400 {
            let _ = from_explicit(&explicit[..length]);
        }
        assert_eq!(from_explicit(&explicit[..explicit.len() - 1]), None);
        assert_eq!(from_explicit(&[0xFF; 12]), None);
    }
}

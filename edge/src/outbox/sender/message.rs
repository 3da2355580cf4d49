//! What an archive is asked for (PS3.7 9.3), and what it answers.

use dicom_dictionary_std::uids;

use crate::dimse::{self, CommandSet, Elements};

/// Priority (0000,0700) of every request.
const MEDIUM: u16 = 0x0000;

/// C-STORE-RQ.
#[must_use]
pub fn store_request(message: u16, sop_class: &str, sop_instance: &str) -> Vec<u8> {
    CommandSet::default()
        .uid(dimse::AFFECTED_SOP_CLASS_UID, sop_class)
        .number(dimse::COMMAND_FIELD, dimse::C_STORE_RQ)
        .number(dimse::MESSAGE_ID, message)
        .number(dimse::PRIORITY, MEDIUM)
        .number(dimse::DATA_SET_TYPE, dimse::WITH_DATA_SET)
        .uid(dimse::AFFECTED_SOP_INSTANCE_UID, sop_instance)
        .into_bytes()
}

/// C-ECHO-RQ.
#[must_use]
pub fn echo_request(message: u16) -> Vec<u8> {
    CommandSet::default()
        .uid(dimse::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION)
        .number(dimse::COMMAND_FIELD, dimse::C_ECHO_RQ)
        .number(dimse::MESSAGE_ID, message)
        .number(dimse::DATA_SET_TYPE, dimse::NO_DATA_SET)
        .into_bytes()
}

/// What an archive answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The message that it answers.
    pub message: u16,
    /// Status (PS3.7 Annex C).
    pub status: u16,
}

impl Answer {
    /// Reads a command set; `None` if it is no answer or broken.
    #[must_use]
    pub fn read(command_set: &[u8]) -> Option<Self> {
        let elements: Vec<(u16, &[u8])> = Elements::of(command_set).collect::<Result<_, _>>().ok()?;
        let value = |wanted| {
            elements
                .iter()
                .find(|(element, _)| *element == wanted)
                .map(|(_, value)| *value)
        };
        let word = |element| value(element).and_then(dimse::number);
        (word(dimse::COMMAND_FIELD)? & dimse::RESPONSE != 0).then_some(Self {
            message: word(dimse::MESSAGE_ID_RESPONDED_TO)?,
            status: word(dimse::STATUS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;
    use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;

    use super::*;

    /// As a crate that is not ours reads it.
    fn read(set: &[u8]) -> InMemDicomObject {
        let read = InMemDicomObject::read_dataset_with_ts(set, &IMPLICIT_VR_LITTLE_ENDIAN.erased());
        read.expect("a command set")
    }

    #[test]
    fn requests_are_read_by_others() {
        let set = read(&store_request(7, uids::COMPREHENSIVE3_DSR_STORAGE, "2.25.123"));
        let number = |tag| set.get(tag).unwrap().to_int::<u32>().unwrap();
        assert_eq!((number(tags::COMMAND_FIELD), number(tags::MESSAGE_ID)), (1, 7));
        assert_ne!(number(tags::COMMAND_DATA_SET_TYPE), 0x0101);
        let instance = set.get(tags::AFFECTED_SOP_INSTANCE_UID).unwrap().to_str().unwrap();
        assert_eq!(instance, "2.25.123");
        let echo = read(&echo_request(1));
        assert_eq!(echo.get(tags::COMMAND_FIELD).unwrap().to_int::<u16>().unwrap(), 0x30);
    }

    #[test]
    fn an_answer_is_read_and_nothing_breaks_it() {
        let answer = CommandSet::default()
            .number(dimse::COMMAND_FIELD, 0x8001)
            .number(dimse::MESSAGE_ID_RESPONDED_TO, 7)
            .number(dimse::STATUS, 0xA700)
            .text(dimse::ERROR_COMMENT, "disk \x1B[2Jfull ")
            .into_bytes();
        let read = Answer::read(&answer).unwrap();
        assert_eq!((read.message, read.status), (7, 0xA700));
        assert_eq!(Answer::read(&store_request(7, "1.2", "1.3")), None);
        for length in 0..answer.len() {
            let _ = Answer::read(&answer[..length]);
            let mut damaged = answer.clone();
            damaged[length] ^= 0xFF;
            let _ = Answer::read(&damaged);
        }
        assert_eq!(Answer::read(&[0xFF; 8]), None);
    }
}

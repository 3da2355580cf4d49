//! DIMSE messages (PS3.7 9.3): a command set is implicit VR little endian, of group 0000 only.

use dicom_dictionary_std::uids;

const GROUP_LENGTH: u16 = 0x0000;
const AFFECTED_SOP_CLASS: u16 = 0x0002;
const COMMAND: u16 = 0x0100;
const MESSAGE: u16 = 0x0110;
const ANSWERED_MESSAGE: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const ERROR_COMMENT: u16 = 0x0902;
const AFFECTED_SOP_INSTANCE: u16 = 0x1000;

const STORE_REQUEST: u16 = 0x0001;
const ECHO_REQUEST: u16 = 0x0030;
/// Of a command, in its answer.
const ANSWER: u16 = 0x8000;
const MEDIUM: u16 = 0x0000;
const NO_DATA_SET: u16 = 0x0101;
const WITH_DATA_SET: u16 = 0x0000;

/// C-STORE-RQ.
#[must_use]
pub fn store_request(message: u16, sop_class: &str, sop_instance: &str) -> Vec<u8> {
    command_set(&[
        (AFFECTED_SOP_CLASS, uid(sop_class)),
        (COMMAND, number(STORE_REQUEST)),
        (MESSAGE, number(message)),
        (PRIORITY, number(MEDIUM)),
        (DATA_SET_TYPE, number(WITH_DATA_SET)),
        (AFFECTED_SOP_INSTANCE, uid(sop_instance)),
    ])
}

/// C-ECHO-RQ.
#[must_use]
pub fn echo_request(message: u16) -> Vec<u8> {
    command_set(&[
        (AFFECTED_SOP_CLASS, uid(uids::VERIFICATION)),
        (COMMAND, number(ECHO_REQUEST)),
        (MESSAGE, number(message)),
        (DATA_SET_TYPE, number(NO_DATA_SET)),
    ])
}

/// What an archive answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The message that it answers.
    pub message: u16,
    /// Status (PS3.7 Annex C).
    pub status: u16,
    /// Error Comment, if there is one.
    pub comment: Option<String>,
}

impl Answer {
    /// Reads a command set; `None` if it is no answer or broken.
    #[must_use]
    pub fn read(command_set: &[u8]) -> Option<Self> {
        let value = |element| value_of(command_set, element);
        let word = |element| value(element).and_then(|bytes| Some(u16::from_le_bytes(bytes.try_into().ok()?)));
        let comment = value(ERROR_COMMENT).map(|bytes| {
            // Another program's words: they go to screens and logs.
            let text = String::from_utf8_lossy(bytes);
            text.chars()
                .filter(|c| !c.is_control())
                .collect::<String>()
                .trim()
                .to_owned()
        });
        (word(COMMAND)? & ANSWER != 0).then_some(Self {
            message: word(ANSWERED_MESSAGE)?,
            status: word(STATUS)?,
            comment: comment.filter(|comment| !comment.is_empty()),
        })
    }
}

/// Elements of group 0000 in ascending order, behind their length.
fn command_set(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (element, value) in elements {
        put(&mut body, *element, value);
    }
    let mut set = Vec::new();
    put(&mut set, GROUP_LENGTH, &(body.len() as u32).to_le_bytes());
    set.append(&mut body);
    set
}

fn put(set: &mut Vec<u8>, element: u16, value: &[u8]) {
    set.extend([0, 0]);
    set.extend(element.to_le_bytes());
    set.extend((value.len() as u32).to_le_bytes());
    set.extend(value);
}

fn number(number: u16) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn uid(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

fn value_of(mut set: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (header, rest) = set.split_at_checked(8)?;
        let tag = [0, 1, 2, 3].map(|at| header[at]);
        let length = [4, 5, 6, 7].map(|at| header[at]);
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        if tag[..2] == [0, 0] && u16::from_le_bytes([tag[2], tag[3]]) == wanted {
            return Some(value);
        }
        set = rest;
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
        let length = store_request(7, uids::COMPREHENSIVE3_DSR_STORAGE, "2.25.123").len() as u32;
        assert_eq!(number(tags::COMMAND_GROUP_LENGTH), length - 12);
        let instance = set.get(tags::AFFECTED_SOP_INSTANCE_UID).unwrap().to_str().unwrap();
        assert_eq!(instance, "2.25.123");
        let echo = read(&echo_request(1));
        assert_eq!(echo.get(tags::COMMAND_FIELD).unwrap().to_int::<u16>().unwrap(), 0x30);
    }

    #[test]
    fn an_answer_is_read_and_nothing_breaks_it() {
        let answer = command_set(&[
            (COMMAND, number(0x8001)),
            (ANSWERED_MESSAGE, number(7)),
            (STATUS, number(0xA700)),
            (ERROR_COMMENT, b"disk \x1B[2Jfull ".to_vec()),
        ]);
        let read = Answer::read(&answer).unwrap();
        assert_eq!((read.message, read.status), (7, 0xA700));
        assert_eq!(read.comment.as_deref(), Some("disk [2Jfull"));
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

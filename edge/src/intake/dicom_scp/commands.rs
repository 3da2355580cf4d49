//! What senders ask for (PS3.7 9.3), and the answers.

use super::status::Status;
use super::uid;
use crate::dimse::{self, CommandSet, Elements};

/// Longest Error Comment (0000,0902), in characters.
const LONGEST_COMMENT: usize = 64;

/// Why a command set is none: nothing can be answered to it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// It is malformed.
    #[error(transparent)]
    Malformed(#[from] dimse::Malformed),
    /// What every command has is missing.
    #[error("the command set has no {0}")]
    Missing(&'static str),
    /// An answer came where nothing was asked.
    #[error("a response (command field {0:04X}) came, but nothing was asked")]
    Response(u16),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) field: u16,
    pub(super) message_id: u16,
    /// A data set follows.
    pub(super) has_data_set: bool,
    pub(super) sop_class_uid: Option<String>,
    pub(super) sop_instance_uid: Option<String>,
}

impl Request {
    /// Reads a command set, which is always in implicit VR little endian.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CommandError> {
        let (mut field, mut message_id, mut data_set) = (None, None, None);
        let (mut sop_class_uid, mut sop_instance_uid) = (None, None);
        for element in Elements::of(bytes) {
            let (element, value) = element?;
            match element {
                dimse::AFFECTED_SOP_CLASS_UID => sop_class_uid = text(value),
                dimse::AFFECTED_SOP_INSTANCE_UID => sop_instance_uid = text(value),
                dimse::COMMAND_FIELD => field = dimse::number(value),
                dimse::MESSAGE_ID => message_id = dimse::number(value),
                dimse::DATA_SET_TYPE => data_set = dimse::number(value),
                _ => {}
            }
        }
        let field = field.ok_or(CommandError::Missing("Command Field (0000,0100)"))?;
        if field & dimse::RESPONSE != 0 {
            return Err(CommandError::Response(field));
        }
        let data_set = data_set.ok_or(CommandError::Missing("Command Data Set Type (0000,0800)"))?;
        // A C-CANCEL names the message that it cancels in the place of an answer's, and has no id.
        let message_id = message_id.or((field == dimse::C_CANCEL_RQ).then_some(0));
        Ok(Self {
            field,
            message_id: message_id.ok_or(CommandError::Missing("Message ID (0000,0110)"))?,
            has_data_set: data_set != dimse::NO_DATA_SET,
            sop_class_uid,
            sop_instance_uid,
        })
    }

    /// The command set that answers this request. `comment` goes to whoever looks after the sender.
    pub(super) fn response(&self, status: Status, comment: &str) -> Vec<u8> {
        let mut set = CommandSet::default();
        if let Some(class) = &self.sop_class_uid {
            set = set.uid(dimse::AFFECTED_SOP_CLASS_UID, class);
        }
        set = set
            .number(dimse::COMMAND_FIELD, self.field | dimse::RESPONSE)
            .number(dimse::MESSAGE_ID_RESPONDED_TO, self.message_id)
            .number(dimse::DATA_SET_TYPE, dimse::NO_DATA_SET)
            .number(dimse::STATUS, status.code());
        if !comment.is_empty() {
            set = set.text(dimse::ERROR_COMMENT, cut(comment));
        }
        if let Some(instance) = &self.sop_instance_uid {
            set = set.uid(dimse::AFFECTED_SOP_INSTANCE_UID, instance);
        }
        set.into_bytes()
    }
}

/// `None` for what is no UID.
fn text(value: &[u8]) -> Option<String> {
    let text = uid::trimmed(std::str::from_utf8(value).ok()?);
    uid::is_well_formed(text).then(|| text.to_owned())
}

/// The beginning of a comment; ours are ASCII.
fn cut(comment: &str) -> &str {
    let end = (0..=LONGEST_COMMENT.min(comment.len()))
        .rev()
        .find(|&at| comment.is_char_boundary(at));
    &comment[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;

    use super::*;
    use crate::dimse::{C_CANCEL_RQ, C_STORE_RQ};

    type Element = DataElement<InMemDicomObject>;

    fn us(tag: dicom_core::Tag, value: u16) -> Element {
        DataElement::new(tag, VR::US, dicom_value!(U16, [value]))
    }

    fn ui(tag: dicom_core::Tag, value: &str) -> Element {
        DataElement::new(tag, VR::UI, PrimitiveValue::from(value))
    }

    /// Written by dicom-object.
    fn encoded(elements: Vec<Element>) -> Vec<u8> {
        let command = InMemDicomObject::command_from_element_iter(elements);
        let mut bytes = Vec::new();
        let syntax = dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
        command.write_dataset_with_ts(&mut bytes, &syntax).unwrap();
        bytes
    }

    fn store() -> Vec<Element> {
        vec![
            ui(tags::AFFECTED_SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
            us(tags::COMMAND_FIELD, C_STORE_RQ),
            us(tags::MESSAGE_ID, 7),
            us(tags::PRIORITY, 0),
            us(tags::COMMAND_DATA_SET_TYPE, 1),
            ui(tags::AFFECTED_SOP_INSTANCE_UID, "1.2.3"),
        ]
    }

    #[test]
    fn a_request_is_read_and_answered_as_dicom_object_has_it() {
        let request = Request::read(&encoded(store())).unwrap();
        assert_eq!(
            (request.field, request.message_id, request.has_data_set),
            (C_STORE_RQ, 7, true)
        );
        assert_eq!(request.sop_instance_uid.as_deref(), Some("1.2.3"));
        let comment = "the disk is full ".repeat(8);
        let answer = request.response(Status::OutOfResources, &comment);
        let syntax = dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
        let read = InMemDicomObject::read_dataset_with_ts(answer.as_slice(), &syntax).unwrap();
        let number = |tag| read.element(tag).unwrap().to_int::<u32>().unwrap();
        assert_eq!(number(tags::COMMAND_FIELD), 0x8001);
        assert_eq!(number(tags::MESSAGE_ID_BEING_RESPONDED_TO), 7);
        assert_eq!(number(tags::COMMAND_DATA_SET_TYPE), 0x0101);
        assert_eq!(number(tags::STATUS), 0xA700);
        let text = |tag| {
            read.element(tag)
                .unwrap()
                .to_str()
                .unwrap()
                .trim_end_matches('\0')
                .to_owned()
        };
        assert_eq!(text(tags::AFFECTED_SOP_INSTANCE_UID), "1.2.3");
        assert!(comment.starts_with(&text(tags::ERROR_COMMENT)) && text(tags::ERROR_COMMENT).len() <= 64);
    }

    #[test]
    fn what_nobody_can_answer_is_refused() {
        let without = |tag| {
            Request::read(&encoded(
                store().into_iter().filter(|e| e.header().tag != tag).collect(),
            ))
        };
        assert_eq!(
            without(tags::COMMAND_FIELD),
            Err(CommandError::Missing("Command Field (0000,0100)"))
        );
        assert_eq!(
            without(tags::MESSAGE_ID),
            Err(CommandError::Missing("Message ID (0000,0110)"))
        );
        assert!(matches!(
            without(tags::COMMAND_DATA_SET_TYPE),
            Err(CommandError::Missing(_))
        ));
        assert_eq!(without(tags::AFFECTED_SOP_INSTANCE_UID).unwrap().sop_instance_uid, None);
        let answer = encoded(vec![us(tags::COMMAND_FIELD, 0x8030)]);
        assert_eq!(Request::read(&answer), Err(CommandError::Response(0x8030)));
        let cancel = encoded(vec![
            us(tags::COMMAND_FIELD, C_CANCEL_RQ),
            us(tags::COMMAND_DATA_SET_TYPE, 0x0101),
        ]);
        assert_eq!(Request::read(&cancel).unwrap().field, C_CANCEL_RQ);
        let group = dimse::Malformed::Group { group: 8 };
        assert_eq!(Request::read(&[8, 0, 0, 0, 0, 0, 0, 0]), Err(group.into()));
    }

    #[test]
    fn no_cut_and_no_length_makes_it_panic() {
        let whole = encoded(store());
        for at in 0..whole.len() {
            let _ = Request::read(&whole[..at]);
            for value in [0, 0x7F, 0xFF] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = Request::read(&damaged);
            }
        }
    }

    #[test]
    fn a_uid_that_is_a_path_is_none() {
        let mut elements = store();
        elements.pop();
        elements.push(ui(tags::AFFECTED_SOP_INSTANCE_UID, "../../etc/passwd"));
        assert_eq!(Request::read(&encoded(elements)).unwrap().sop_instance_uid, None);
    }
}

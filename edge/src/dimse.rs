//! Command sets of DIMSE messages (PS3.7 6.3.1, 9.3 and Annex E), as the DICOM port hears them and the outbox says them:
//! implicit VR little endian, elements of group 0000 only, in ascending order behind their length.
//!
//! They are read in place, because a length that a sender claims is no reason to take memory.

/// Elements of group 0000.
pub const AFFECTED_SOP_CLASS_UID: u16 = 0x0002;
/// Command Field (0000,0100)
pub const COMMAND_FIELD: u16 = 0x0100;
/// Message ID (0000,0110)
pub const MESSAGE_ID: u16 = 0x0110;
/// Message ID Being Responded To (0000,0120)
pub const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
/// Priority (0000,0700)
pub const PRIORITY: u16 = 0x0700;
/// Command Data Set Type (0000,0800)
pub const DATA_SET_TYPE: u16 = 0x0800;
/// Status (0000,0900)
pub const STATUS: u16 = 0x0900;
/// Error Comment (0000,0902)
pub const ERROR_COMMENT: u16 = 0x0902;
/// Affected SOP Instance UID (0000,1000)
pub const AFFECTED_SOP_INSTANCE_UID: u16 = 0x1000;
const GROUP_LENGTH: u16 = 0x0000;

/// Command Field of C-STORE-RQ.
pub const C_STORE_RQ: u16 = 0x0001;
/// Command Field of C-ECHO-RQ.
pub const C_ECHO_RQ: u16 = 0x0030;
/// Command Field of C-CANCEL-RQ.
pub const C_CANCEL_RQ: u16 = 0x0FFF;
/// The bit of Command Field that makes a request's value that of its answer.
pub const RESPONSE: u16 = 0x8000;

/// Command Data Set Type of a message without data set; every other value means that there is one.
pub const NO_DATA_SET: u16 = 0x0101;
/// Command Data Set Type of a message with a data set.
pub const WITH_DATA_SET: u16 = 0x0000;

/// Why bytes are no command set.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// An element reaches beyond the end.
    #[error("the command set ends within element (0000,{element:04X})")]
    Cut {
        /// The element's number.
        element: u16,
    },
    /// An element of another group.
    #[error("the command set holds an element of group {group:04X}")]
    Group {
        /// The group.
        group: u16,
    },
}

/// The elements of a command set, each with its number and value; ends with the first that is malformed.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Of the bytes of a command set.
    #[must_use]
    pub fn of(set: &'a [u8]) -> Self {
        Self { rest: set }
    }

    fn first(&self) -> Result<(u16, &'a [u8], &'a [u8]), Malformed> {
        let &[g0, g1, e0, e1, a, b, c, d, ref rest @ ..] = self.rest else {
            return Err(Malformed::Cut { element: 0 });
        };
        let (group, element) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
        if group != 0 {
            return Err(Malformed::Group { group });
        }
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let (value, next) = rest.split_at_checked(length).ok_or(Malformed::Cut { element })?;
        Ok((element, value, next))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let first = self.first();
        self.rest = first.as_ref().map_or(&[], |(_, _, next)| next);
        Some(first.map(|(element, value, _)| (element, value)))
    }
}

/// The number that a value of VR US holds; `None` for what is too short.
#[must_use]
pub fn number(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|&bytes| u16::from_le_bytes(bytes))
}

/// A command set that is written, element by element in ascending order.
#[derive(Debug, Clone, Default)]
pub struct CommandSet {
    elements: Vec<u8>,
}

impl CommandSet {
    /// Adds an element of VR US.
    #[must_use]
    pub fn number(self, element: u16, value: u16) -> Self {
        self.element(element, &value.to_le_bytes(), 0)
    }

    /// Adds an element of VR UI.
    #[must_use]
    pub fn uid(self, element: u16, value: &str) -> Self {
        self.element(element, value.as_bytes(), 0)
    }

    /// Adds an element of VR LO.
    #[must_use]
    pub fn text(self, element: u16, value: &str) -> Self {
        self.element(element, value.as_bytes(), b' ')
    }

    fn element(mut self, element: u16, value: &[u8], padding: u8) -> Self {
        let is_odd = !value.len().is_multiple_of(2);
        let length = value.len() + usize::from(is_odd);
        put_header(&mut self.elements, element, length);
        self.elements.extend(value);
        self.elements.extend(is_odd.then_some(padding));
        self
    }

    /// The bytes, behind their length.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let mut set = Vec::with_capacity(self.elements.len() + 12);
        put_header(&mut set, GROUP_LENGTH, 4);
        set.extend((self.elements.len() as u32).to_le_bytes());
        set.extend(self.elements);
        set
    }
}

fn put_header(out: &mut Vec<u8>, element: u16, length: usize) {
    out.extend([0, 0]);
    out.extend(element.to_le_bytes());
    out.extend((length as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::{tags, uids};
    use dicom_object::InMemDicomObject;
    use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;

    use super::*;

    fn example() -> Vec<u8> {
        CommandSet::default()
            .uid(AFFECTED_SOP_CLASS_UID, uids::VERIFICATION)
            .number(COMMAND_FIELD, C_ECHO_RQ | RESPONSE)
            .text(ERROR_COMMENT, "odd")
            .into_bytes()
    }

    #[test]
    fn dicom_object_reads_what_is_written() {
        let bytes = example();
        let read =
            InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), &IMPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
        let number = |tag| read.element(tag).unwrap().to_int::<u32>().unwrap();
        assert_eq!(number(tags::COMMAND_GROUP_LENGTH) as usize, bytes.len() - 12);
        assert_eq!(number(tags::COMMAND_FIELD), 0x8030);
        let text = |tag| read.element(tag).unwrap().value().to_raw_str().unwrap().into_owned();
        assert_eq!(text(tags::AFFECTED_SOP_CLASS_UID), format!("{}\0", uids::VERIFICATION));
        assert_eq!(text(tags::ERROR_COMMENT), "odd ");
    }

    #[test]
    fn elements_come_in_order_and_end_with_the_first_fault() {
        let bytes = example();
        let read: Vec<_> = Elements::of(&bytes).collect::<Result<_, _>>().unwrap();
        let numbers: Vec<_> = read.iter().map(|(element, _)| *element).collect();
        assert_eq!(
            numbers,
            [GROUP_LENGTH, AFFECTED_SOP_CLASS_UID, COMMAND_FIELD, ERROR_COMMENT]
        );
        assert_eq!(number(read[2].1), Some(0x8030));
        assert_eq!(number(&[1]), None);
        let cut: Vec<_> = Elements::of(&bytes[..bytes.len() - 1]).collect();
        assert_eq!(cut.last(), Some(&Err(Malformed::Cut { element: ERROR_COMMENT })));
        let claims = [0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0];
        let read: Vec<_> = Elements::of(&claims).collect();
        assert_eq!(read, [Err(Malformed::Cut { element: COMMAND_FIELD })]);
        let other: Vec<_> = Elements::of(&[8, 0, 0, 0, 0, 0, 0, 0]).collect();
        assert_eq!(other, [Err(Malformed::Group { group: 8 })]);
    }
}

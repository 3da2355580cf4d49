//! The header of a message of the Simple Management Protocol (SMP), and a request as a whole.
//!
//! Eight bytes, big endian: operation and version, flags, length of the body, group, sequence, command; then a body in
//! CBOR. Layout: Zephyr, "SMP Protocol Specification".

use super::cbor::MapWriter;
use super::refusal::{Code, Refusal};

/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 8;

/// Numbers of the groups that this server answers.
pub mod group {
    /// Operating system: echo, restart, time, parameters, information.
    pub const OS: u16 = 0;
    /// Images and their states.
    pub const IMAGE: u16 = 1;
    /// Counters.
    pub const STATISTICS: u16 = 2;
    /// Files.
    pub const FILES: u16 = 8;
    /// Scanside's own commands: the first number that SMP leaves to its users.
    pub const SCANSIDE: u16 = 64;

    /// Groups that SMP defines, answered or not, and ours: what a raw header may name.
    #[must_use]
    pub fn known(group: u16) -> bool {
        matches!(group, 0..=11 | 63 | SCANSIDE)
    }
}

/// What a message asks for, or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A request that reads.
    Read,
    /// The answer to one.
    ReadAnswer,
    /// A request that writes.
    Write,
    /// The answer to one.
    WriteAnswer,
    /// A number (4 to 7) that SMP does not define.
    Reserved(u8),
}

impl Operation {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Read,
            1 => Self::ReadAnswer,
            2 => Self::Write,
            3 => Self::WriteAnswer,
            other => Self::Reserved(other),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::ReadAnswer => 1,
            Self::Write => 2,
            Self::WriteAnswer => 3,
            Self::Reserved(bits) => bits & 0b111,
        }
    }
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked for.
    pub operation: Operation,
    /// 0 is SMP version 1, 1 is version 2; 2 and 3 do not exist.
    pub version: u8,
    /// Always 0.
    pub flags: u8,
    /// Length of the body in bytes.
    pub length: u16,
    /// The group of the command, see [`group`].
    pub group: u16,
    /// Chosen by the client, repeated in the answer.
    pub sequence: u8,
    /// The command within the group.
    pub command: u8,
}

impl Header {
    /// Reads a header; every pattern of bits is one.
    #[must_use]
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [first, flags, length @ .., g1, g0, sequence, command] = bytes;
        Self {
            operation: Operation::from_bits(first & 0b111),
            version: first >> 3 & 0b11,
            flags,
            length: u16::from_be_bytes(length),
            group: u16::from_be_bytes([g1, g0]),
            sequence,
            command,
        }
    }

    /// The header as it stands on the line.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [l1, l0] = self.length.to_be_bytes();
        let [g1, g0] = self.group.to_be_bytes();
        let first = self.operation.bits() | (self.version & 0b11) << 3;
        [first, self.flags, l1, l0, g1, g0, self.sequence, self.command]
    }

    /// The header of the answer: same version, group, sequence and command. `None` if this is no request.
    #[must_use]
    pub fn answer(self, length: u16) -> Option<Self> {
        let operation = match self.operation {
            Operation::Read => Operation::ReadAnswer,
            Operation::Write => Operation::WriteAnswer,
            _ => return None,
        };
        Some(Self {
            operation,
            version: self.version.min(1),
            flags: 0,
            length,
            ..self
        })
    }
}

/// A whole message: header and body.
#[must_use]
pub fn message(header: Header, body: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// Splits a message; `None` if it is shorter than a header.
#[must_use]
pub fn split(message: &[u8]) -> Option<(Header, &[u8])> {
    let (header, body) = message.split_first_chunk::<HEADER_BYTES>()?;
    Some((Header::parse(*header), body))
}

/// The body of a refusal's answer.
///
/// Version 1: `rc` and `rsn`. Version 2: `err` with group and code where the group has one for it, otherwise `rc` and
/// `rsn` as for every error that is not a group's. Strict clients take all three forms for either version.
#[must_use]
pub fn refusal_body(header: Header, refusal: &Refusal) -> Vec<u8> {
    let own = refusal.code.of_group(header.group).filter(|_| header.version > 0);
    if let Some(code) = own {
        let err = MapWriter::new()
            .uint("group", header.group.into())
            .uint("rc", code.into());
        return MapWriter::new().map("err", err).finish();
    }
    let body = MapWriter::new().uint("rc", refusal.code.rc().into());
    if refusal.message.is_empty() {
        return body.finish();
    }
    body.text("rsn", refusal.short_message()).finish()
}

/// Refuses a command that the group does not have.
pub(crate) fn unknown_command(header: Header) -> Refusal {
    Refusal::new(
        Code::NotSupported,
        format!("group {} has no command {} of that kind", header.group, header.command),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_has_smps_layout() {
        // The example of smp.packet.decode: an image upload, version 2, 116 bytes, sequence 154.
        let bytes = [0x0a, 0, 0, 0x74, 0, 1, 0x9a, 1];
        let header = Header::parse(bytes);
        assert_eq!(header.operation, Operation::Write);
        assert_eq!((header.version, header.length), (1, 116));
        assert_eq!((header.group, header.sequence, header.command), (group::IMAGE, 154, 1));
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.answer(2).unwrap().to_bytes(), [0x0b, 0, 0, 2, 0, 1, 0x9a, 1]);
        assert_eq!(header.answer(2).unwrap().answer(2), None);
    }

    #[test]
    fn refusals_have_the_form_of_the_clients_version() {
        let mut header = Header::parse([2, 0, 0, 0, 0, 1, 0, 1]);
        let refusal = Refusal::new(Code::NoOffset, "off is missing");
        assert_eq!(
            refusal_body(header, &refusal),
            b"\xa2\x62rc\x03\x63rsn\x6eoff is missing"
        );
        header.version = 1;
        assert_eq!(
            refusal_body(header, &refusal),
            b"\xa1\x63err\xa2\x65group\x01\x62rc\x14"
        );
        // A code that is not the group's.
        header.group = group::SCANSIDE;
        assert_eq!(
            refusal_body(header, &refusal),
            b"\xa2\x62rc\x03\x63rsn\x6eoff is missing"
        );
    }

    proptest! {
        #[test]
        fn headers_survive_a_round_trip(bytes: [u8; HEADER_BYTES]) {
            let mut canonical = bytes;
            canonical[0] &= 0b1_1111;
            prop_assert_eq!(Header::parse(bytes).to_bytes(), canonical);
        }
    }
}

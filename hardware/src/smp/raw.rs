//! The raw framing: the message as it is, eight bytes of header and the body.
//!
//! There is no delimiter and no checksum, so a beginning is recognised by being plausible: an operation of a request,
//! flags 0, a length within the bounds, a known group, and a body that begins as a map in CBOR does. Random bytes pass
//! for that once in 10^10. Layout: Zephyr, "SMP over raw UART".

use super::message::{HEADER_BYTES, group};

/// What the bytes at a place may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// No message begins here.
    No,
    /// Perhaps; more bytes will tell.
    Perhaps,
    /// A message of this length, header included, which may not have arrived completely.
    Message(usize),
}

/// Whose messages are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A client's: requests.
    Client,
    /// A device's: answers.
    Device,
}

impl Sender {
    /// Operation and version as they begin a message: read or write, version 1 or 2.
    fn first_bytes(self) -> [u8; 4] {
        match self {
            // 0x0a is also a line feed.
            Self::Client => [0x00, 0x02, 0x08, 0x0a],
            Self::Device => [0x01, 0x03, 0x09, 0x0b],
        }
    }
}

/// Judges the bytes at a place as the beginning of a message of at most `max_message` bytes.
pub(crate) fn judge(bytes: &[u8], sender: Sender, max_message: usize) -> Candidate {
    let at = |index: usize| bytes.get(index).copied();
    let word = |index: usize| Some(u16::from_be_bytes([at(index)?, at(index + 1)?]));
    if !at(0).is_some_and(|first| sender.first_bytes().contains(&first)) {
        return Candidate::No;
    }
    let length = word(2).map(usize::from);
    let impossible = [
        at(1).is_some_and(|flags| flags != 0),
        length.is_some_and(|length| length == 0 || length + HEADER_BYTES > max_message),
        // The high byte alone may tell already.
        at(2).is_some_and(|high| (usize::from(high) << 8) + HEADER_BYTES > max_message),
        word(4).is_some_and(|number| !group::known(number)),
        at(HEADER_BYTES).is_some_and(|first| first >> 5 != 5),
    ];
    if impossible.contains(&true) {
        return Candidate::No;
    }
    match length {
        Some(length) if bytes.len() > HEADER_BYTES => Candidate::Message(HEADER_BYTES + length),
        _ => Candidate::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the parameters: version 2, sequence 66, empty map.
    const PARAMETERS: [u8; 9] = [8, 0, 0, 1, 0, 0, 66, 6, 0xa0];

    #[test]
    fn a_request_is_recognised_from_any_beginning_of_it() {
        for end in 1..PARAMETERS.len() {
            assert_eq!(
                judge(&PARAMETERS[..end], Sender::Client, 8192),
                Candidate::Perhaps,
                "{end}"
            );
        }
        assert_eq!(judge(&PARAMETERS, Sender::Client, 8192), Candidate::Message(9));
    }

    #[test]
    fn each_field_must_be_plausible() {
        let changed = |index: usize, value: u8| {
            let mut bytes = PARAMETERS;
            bytes[index] = value;
            judge(&bytes, Sender::Client, 8192)
        };
        for (index, value) in [
            (0, 9),
            (0, 0x10),
            (0, 6),
            (1, 1),
            (2, 0x20),
            (3, 0),
            (4, 1),
            (5, 20),
            (8, 0x80),
            (8, 0xc0),
        ] {
            assert_eq!(changed(index, value), Candidate::No, "byte {index} = {value:#x}");
        }
        for op in [0, 2, 8, 10] {
            assert_eq!(changed(0, op), Candidate::Message(9));
        }
        assert_eq!(changed(5, 64), Candidate::Message(9));
        assert_eq!(
            judge(&[8, 0, 0x1f, 0xf8, 0, 0, 0, 0, 0xa0], Sender::Client, 8192),
            Candidate::Message(8192)
        );
        assert_eq!(
            judge(&[8, 0, 0x1f, 0xf9, 0, 0, 0, 0, 0xa0], Sender::Client, 8192),
            Candidate::No
        );
    }

    #[test]
    fn a_client_looks_for_answers_only() {
        let mut answer = PARAMETERS;
        assert_eq!(judge(&answer, Sender::Device, 8192), Candidate::No);
        answer[0] = 9;
        assert_eq!(judge(&answer, Sender::Device, 8192), Candidate::Message(9));
        assert_eq!(judge(&answer, Sender::Client, 8192), Candidate::No);
    }

    #[test]
    fn a_newline_before_a_header_is_not_one() {
        // Every operation behind a line feed, with the shifted reading that the line feed gives.
        for op in [0_u8, 2, 8, 10] {
            for length in [1_u16, 2, 255, 256, 512, 8000] {
                for number in [0_u16, 1, 2, 8, 64] {
                    let [l1, l0] = length.to_be_bytes();
                    let [g1, g0] = number.to_be_bytes();
                    let line = [b'\n', op, 0, l1, l0, g1, g0, 77, 1, 0xa1];
                    assert_eq!(judge(&line, Sender::Client, 8192), Candidate::No, "{line:02x?}");
                }
            }
        }
    }
}

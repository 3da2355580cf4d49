//! The console framing: lines of base64 that share a port with text.
//!
//! A frame is `[length, 2 bytes][message][CRC-16, 2 bytes]`, big endian, where length counts message and CRC, and the
//! CRC is CRC-16/XMODEM of the message. It is written as lines: the first begins with 06 09, the others with 04 14,
//! then base64, then a line feed. Layout: Zephyr, "SMP over console".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum};

/// What the first line of a frame begins with.
pub const FIRST: [u8; 2] = [0x06, 0x09];
/// What the other lines of a frame begin with.
pub const NEXT: [u8; 2] = [0x04, 0x14];
/// The longest line that is sent, with delimiter and line feed: Zephyr's clients have buffers of this length.
pub const LINE_BYTES: usize = 127;
/// Bytes of a frame on one line that is sent.
const LINE_PAYLOAD: usize = (LINE_BYTES - 3) / 4 * 3;
/// Length and CRC.
const OVERHEAD: usize = 4;

/// CRC-16/XMODEM.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    // 16 bits of the crate's 64.
    checksum(CrcAlgorithm::Crc16Xmodem, bytes) as u16
}

/// Writes a message as lines. A message longer than 65,533 bytes has no frame; nothing is written.
pub fn encode(message: &[u8], out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(message.len() + 2) else {
        return;
    };
    let mut frame = Vec::with_capacity(message.len() + OVERHEAD);
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    frame.extend(crc16(message).to_be_bytes());
    for (index, piece) in frame.chunks(LINE_PAYLOAD).enumerate() {
        out.extend(if index == 0 { FIRST } else { NEXT });
        let mut text = [0; LINE_BYTES];
        // The buffer is larger than the longest piece's text.
        let written = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        out.extend(&text[..written]);
        out.push(b'\n');
    }
}

/// The longest line that a client may send: a whole frame of `message_bytes` on it, with carriage return and line feed.
#[must_use]
pub fn longest_line(message_bytes: usize) -> usize {
    4 + (message_bytes + OVERHEAD).div_ceil(3) * 4
}

/// Whether a byte may stand in a line behind its delimiter. All others end it.
pub(crate) fn in_line(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\r')
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The frame is not complete yet.
    More,
    /// The message, its CRC is right.
    Message(Vec<u8>),
    /// No base64, or a continuation that continues nothing: the frame is given up.
    Bad,
    /// The frame is longer than allowed: it is given up.
    TooLong,
    /// The frame is complete, but its CRC or length is wrong.
    Crc,
}

/// Puts lines together.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    frame: Vec<u8>,
    active: bool,
}

impl Assembly {
    /// Gives up what has been put together.
    pub fn reset(&mut self) {
        self.frame.clear();
        self.active = false;
    }

    /// Whether lines are missing.
    pub fn active(&self) -> bool {
        self.active
    }

    /// Takes one line: what stood between delimiter and line feed.
    pub fn line(&mut self, first: bool, text: &[u8], max_message: usize) -> Line {
        if first {
            self.reset();
            self.active = true;
        } else if !self.active {
            return Line::Bad;
        }
        let line = self.append(text, max_message);
        if line != Line::More {
            self.reset();
        }
        line
    }

    fn append(&mut self, text: &[u8], max_message: usize) -> Line {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > longest_line(max_message) || STANDARD.decode_vec(text, &mut self.frame).is_err() {
            return Line::Bad;
        }
        let Some((length, rest)) = self.frame.split_first_chunk::<2>() else {
            return Line::More;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > max_message + 2 {
            return Line::TooLong;
        }
        if rest.len() < length {
            return Line::More;
        }
        match rest.split_last_chunk::<2>() {
            Some((message, crc)) if rest.len() == length && crc16(message) == u16::from_be_bytes(*crc) => {
                Line::Message(message.to_vec())
            }
            _ => Line::Crc,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(lines: &[u8], max_message: usize) -> Vec<Line> {
        let mut assembly = Assembly::default();
        lines
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| assembly.line(line[..2] == FIRST, &line[2..line.len() - 1], max_message))
            .collect()
    }

    #[test]
    fn a_frame_is_what_others_write() {
        // From the documentation of Python's smp.packet.encode.
        let mut out = Vec::new();
        encode(b"Hello, world!", &mut out);
        assert_eq!(out, b"\x06\x09AA9IZWxsbywgd29ybGQhet4=\n");
        let split = b"\x06\x09AA9I\n\x04\x14ZWxs\n\x04\x14bywg\n\x04\x14d29y\n\x04\x14bGQh\n\x04\x14et4=\n";
        let lines = decode(split, 100);
        assert_eq!(lines.last(), Some(&Line::Message(b"Hello, world!".to_vec())));
        assert!(lines[..5].iter().all(|line| *line == Line::More));
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn bad_lines_give_the_frame_up() {
        assert_eq!(decode(b"\x04\x14AAAA\n", 100), [Line::Bad]);
        assert_eq!(decode(b"\x06\x09AA9I!WxsbywgdZZZ\n", 100), [Line::Bad]);
        assert_eq!(
            decode(b"\x06\x09AA9I\n\x04\x14A\n\x04\x14ZWxs\n", 100)[1..],
            [Line::Bad, Line::Bad]
        );
        assert_eq!(decode(b"\x06\x09AA9IZWxsbywgd29ybGQhet4=\n", 12), [Line::TooLong]);
        assert_eq!(decode(b"\x06\x09AA9IZWxsbywgd29ybGQhet5=\n", 100), [Line::Bad]);
        assert_eq!(decode(b"\x06\x09AA9IZWxsbywgd29ybGQhetw=\n", 100), [Line::Crc]);
        assert_eq!(decode(b"\x06\x09AAAA\n", 100), [Line::Crc]);
        assert_eq!(decode(b"\x06\x09AA9IZWxsbywgd29ybGQhet4=\r\n", 100).len(), 1);
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_is_identity(message in prop::collection::vec(any::<u8>(), 0..9000)) {
            let mut out = Vec::new();
            encode(&message, &mut out);
            prop_assert!(out.split_inclusive(|byte| *byte == b'\n').all(|line| line.len() <= LINE_BYTES));
            let lines = decode(&out, message.len());
            prop_assert_eq!(lines.last(), Some(&Line::Message(message.clone())));
            // The same on one line, as `smpmgr --line-length 8192` sends it.
            let one: Vec<u8> = out.split(|byte| *byte == b'\n').filter(|l| l.len() > 2).flat_map(|l| &l[2..]).copied().collect();
            prop_assert!(one.len() + 4 <= longest_line(message.len()));
            let mut assembly = Assembly::default();
            prop_assert_eq!(assembly.line(true, &one, message.len()), Line::Message(message));
        }

        #[test]
        fn any_text_is_taken_without_a_panic(first: bool, text in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut assembly = Assembly::default();
            let _ = assembly.line(true, b"AAA=", 50);
            let _ = assembly.line(first, &text, 50);
            prop_assert!(assembly.frame.len() <= 300);
        }
    }
}

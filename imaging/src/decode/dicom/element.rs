//! One DICOM element and the values in it (PS3.5 sections 6 and 7).

use dicom_core::Tag;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

/// Bytes of a text that are read: the longest texts of interest (LO, UI) have 64 characters.
const MAX_TEXT_BYTES: usize = 256;
/// Numbers of a value that are read: nothing here asks for more than two.
const MAX_NUMBERS: usize = 16;

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Elements carry their value representation.
    pub(super) explicit_vr: bool,
    /// Numbers are big endian.
    pub(super) big_endian: bool,
}

impl Syntax {
    pub(super) const IMPLICIT_LITTLE: Syntax = Syntax {
        explicit_vr: false,
        big_endian: false,
    };
    pub(super) const EXPLICIT_LITTLE: Syntax = Syntax {
        explicit_vr: true,
        big_endian: false,
    };
    pub(super) const EXPLICIT_BIG: Syntax = Syntax {
        explicit_vr: true,
        big_endian: true,
    };

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

/// One element; `value` of a sequence or of encapsulated pixels is their items, without the closing delimiter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: Tag,
    pub(super) vr: Option<[u8; 2]>,
    pub(super) value: &'a [u8],
    /// Where `value` begins in the data.
    pub(super) offset: usize,
    /// The length was written as FFFFFFFF: a sequence, or encapsulated pixels.
    pub(super) undefined_length: bool,
    /// How the numbers in `value` are written.
    pub(super) syntax: Syntax,
}

impl<'a> Element<'a> {
    /// The text without padding and control characters, cut at [`MAX_TEXT_BYTES`]; `None` if nothing is left.
    ///
    /// Texts go to terminals, screens and logs: nothing in them may act there, or fill them.
    pub(super) fn text(&self) -> Option<String> {
        let value = without_padding(self.value);
        let end = text_end(value);
        let read = String::from_utf8_lossy(&value[..end]);
        let shown: String = read.chars().filter(|c| !c.is_control()).collect();
        let shown = shown.trim();
        let ellipsis = if end < value.len() { "…" } else { "" };
        (!shown.is_empty()).then(|| format!("{shown}{ellipsis}"))
    }

    /// As [`text`](Self::text), for texts in the file's character set. What the set cannot decode is read as UTF-8.
    pub(super) fn text_in(&self, set: Option<&SpecificCharacterSet>) -> Option<String> {
        let value = without_padding(self.value);
        let decoded = set
            .filter(|_| value.len() <= MAX_TEXT_BYTES)
            .and_then(|set| set.decode(value).ok());
        match decoded {
            None => self.text(),
            Some(text) => {
                let shown: String = text.chars().filter(|c| !c.is_control()).collect();
                Some(shown.trim().to_owned()).filter(|shown| !shown.is_empty())
            }
        }
    }

    /// The 16-bit words of the value.
    pub(super) fn words(&self) -> impl Iterator<Item = u16> + 'a {
        let syntax = self.syntax;
        self.value
            .chunks_exact(2)
            .map(move |pair| syntax.u16([pair[0], pair[1]]))
    }

    pub(super) fn unsigned(&self) -> Option<u32> {
        match (self.vr.as_ref(), self.value) {
            (Some(b"IS" | b"DS"), _) => self.numbers().first().map(|&number| number.max(0.0) as u32),
            (_, &[a, b]) => Some(u32::from(self.syntax.u16([a, b]))),
            (Some(b"UL"), &[a, b, c, d, ..]) => Some(self.syntax.u32([a, b, c, d])),
            (_, &[a, b, ..]) => Some(u32::from(self.syntax.u16([a, b]))),
            _ => None,
        }
    }

    /// The first [`MAX_NUMBERS`] numbers, up to what is none.
    pub(super) fn numbers(&self) -> Vec<f64> {
        match self.vr.as_ref() {
            Some(b"FD") => self
                .value
                .chunks_exact(8)
                .take(MAX_NUMBERS)
                .filter_map(|bytes| self.double(bytes))
                .collect(),
            _ => self
                .value
                .split(|&byte| byte == b'\\')
                .take(MAX_NUMBERS)
                .map_while(|text| std::str::from_utf8(without_padding(text)).ok()?.parse().ok())
                .collect(),
        }
    }

    fn double(&self, bytes: &[u8]) -> Option<f64> {
        let bytes: [u8; 8] = bytes.try_into().ok()?;
        Some(if self.syntax.big_endian {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        })
    }
}

/// Values are padded to an even length with a space or a zero byte, by some writers with more of them.
fn without_padding(mut value: &[u8]) -> &[u8] {
    let padding = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    while let Some((_, rest)) = value.split_first().filter(|(first, _)| padding(first)) {
        value = rest;
    }
    while let Some((_, rest)) = value.split_last().filter(|(last, _)| padding(last)) {
        value = rest;
    }
    value
}

/// Where a text is cut: at its end or at [`MAX_TEXT_BYTES`], and then before a character of UTF-8 that goes on beyond.
fn text_end(value: &[u8]) -> usize {
    if value.len() <= MAX_TEXT_BYTES {
        return value.len();
    }
    let continues = |at: usize| value[at] & 0xC0 == 0x80;
    let earliest = MAX_TEXT_BYTES - 3;
    (earliest..=MAX_TEXT_BYTES)
        .rev()
        .find(|&at| !continues(at))
        .unwrap_or(MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(value: &[u8]) -> Option<String> {
        let element = Element {
            tag: Tag(0x0028, 0x0004),
            vr: Some(*b"CS"),
            value,
            offset: 0,
            undefined_length: false,
            syntax: Syntax::EXPLICIT_LITTLE,
        };
        element.text()
    }

    #[test]
    fn a_text_holds_nothing_that_a_terminal_obeys() {
        let hostile = b" \x1B[2J\x1B]0;owned\x07PALETTE\r\n\xC2\x9B31m\x7F COLOR\0";
        assert_eq!(of_text(hostile).as_deref(), Some("[2J]0;ownedPALETTE31m COLOR"));
        assert_eq!(of_text(b"\x1B\0 "), None);
        assert_eq!(of_text("Ärztehaus Süd ".as_bytes()).as_deref(), Some("Ärztehaus Süd"));
    }

    #[test]
    fn a_text_is_cut_where_no_real_one_ends() {
        assert_eq!(of_text(&[b'x'; 256]).as_deref(), Some("x".repeat(256).as_str()));
        let long = of_text("é".repeat(60_000).as_bytes()).unwrap();
        assert_eq!(long, "é".repeat(128) + "…");
        let odd = of_text(format!("x{}", "é".repeat(60_000)).as_bytes()).unwrap();
        assert_eq!(odd, "x".to_owned() + &"é".repeat(127) + "…");
    }

    #[test]
    fn numbers_stop_at_what_is_no_number() {
        let value = b"40.5 \\-1e2\\x";
        let (tag, syntax) = (Tag(0x0028, 0x1050), Syntax::EXPLICIT_LITTLE);
        let element = Element {
            tag,
            vr: Some(*b"DS"),
            value,
            offset: 0,
            undefined_length: false,
            syntax,
        };
        assert_eq!(element.numbers(), [40.5, -100.0]);
        let double = Element {
            vr: Some(*b"FD"),
            value: &2.5f64.to_le_bytes(),
            ..element
        };
        assert_eq!(double.numbers(), [2.5]);
    }
}

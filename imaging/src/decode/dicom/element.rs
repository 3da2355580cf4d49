//! One DICOM element and the values in it (PS3.5 sections 6 and 7).

use dicom_core::Tag;

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
    pub(super) fn text(&self) -> Option<String> {
        let text = String::from_utf8_lossy(self.value);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
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

    pub(super) fn numbers(&self) -> Vec<f64> {
        match self.vr.as_ref() {
            Some(b"FD") => self
                .value
                .chunks_exact(8)
                .filter_map(|bytes| self.double(bytes))
                .collect(),
            _ => String::from_utf8_lossy(self.value)
                .split('\\')
                .map_while(|text| text.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse().ok())
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

#[cfg(test)]
mod tests {
    use super::*;

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

//! The marker segments of a JPEG stream (ISO/IEC 10918-1 Annex B), read before a decoder is let near it.
//!
//! Decoders fill what is missing with grey; an image for triage must be complete. So the end marker is looked for here,
//! and size, precision and components are compared with what the container says before memory is taken.

use memchr::memchr;

use super::error::DecodeError;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

/// What the frame header (SOFn) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JpegHeader {
    /// n of SOFn: 0 baseline, 1 extended, 2 progressive, 3 lossless.
    pub(super) process: u8,
    /// Bits of a sample.
    pub(super) precision: u8,
    /// Lines.
    pub(super) height: u16,
    /// Samples a line.
    pub(super) width: u16,
    /// Components (channels).
    pub(super) components: u8,
}

impl JpegHeader {
    /// Reads all markers up to the end of the image.
    ///
    /// # Errors
    /// `damaged` without a start or frame header, `truncated` without an end marker.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.get(..2) != Some(&[0xFF, SOI]) {
            return Err(DecodeError::damaged("JPEG header", "no start marker (FF D8)"));
        }
        let mut header = None;
        let mut at = 2;
        loop {
            let marker = next_marker(bytes, at)?;
            at = marker.after;
            match marker.code {
                EOI => break,
                // Restart markers and TEM stand alone.
                0x01 | 0xD0..=0xD7 => continue,
                code => {
                    let segment = segment(bytes, at, code)?;
                    if let Some(process) = frame_process(code) {
                        header = Some(read_frame(segment, process)?);
                    }
                    at += segment.len() + 2;
                    if code == SOS {
                        at = end_of_scan(bytes, at)?;
                    }
                }
            }
        }
        header.ok_or_else(|| DecodeError::damaged("JPEG header", "no frame header (SOF)"))
    }

    /// Whether the coding is lossless (SOF3, SOF7, SOF11, SOF15).
    pub(super) fn is_lossless(&self) -> bool {
        self.process % 4 == 3
    }
}

struct Marker {
    code: u8,
    after: usize,
}

/// Fill bytes (FF) may stand before a marker's code.
fn next_marker(bytes: &[u8], at: usize) -> Result<Marker, DecodeError> {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first() {
        None => return Err(cut()),
        Some(0xFF) => {}
        Some(_) => return Err(DecodeError::damaged("JPEG stream", format!("no marker at byte {at}"))),
    }
    let fill = rest.iter().take_while(|&&byte| byte == 0xFF).count();
    let code = *rest.get(fill).ok_or_else(cut)?;
    Ok(Marker {
        code,
        after: at + fill + 1,
    })
}

/// The content of a segment, without its two length bytes.
fn segment(bytes: &[u8], at: usize, code: u8) -> Result<&[u8], DecodeError> {
    let length = bytes.get(at..at + 2).ok_or_else(cut)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length < 2 {
        return Err(DecodeError::damaged(
            "JPEG stream",
            format!("segment FF {code:02X} at byte {at} has length {length}"),
        ));
    }
    bytes.get(at + 2..at + length).ok_or_else(cut)
}

fn frame_process(code: u8) -> Option<u8> {
    // C4 is DHT, C8 reserved, CC is DAC; the rest of C0..CF are frame headers.
    matches!(code, 0xC0..=0xCF if !matches!(code, 0xC4 | 0xC8 | 0xCC)).then(|| code - 0xC0)
}

fn read_frame(segment: &[u8], process: u8) -> Result<JpegHeader, DecodeError> {
    let [precision, y1, y0, x1, x0, components, ..] = *segment else {
        return Err(DecodeError::damaged("JPEG header", "the frame header is too short"));
    };
    Ok(JpegHeader {
        process,
        precision,
        height: u16::from_be_bytes([y1, y0]),
        width: u16::from_be_bytes([x1, x0]),
        components,
    })
}

/// The next marker after entropy-coded data: not FF 00 and not a restart.
fn end_of_scan(bytes: &[u8], mut at: usize) -> Result<usize, DecodeError> {
    while let Some(offset) = bytes.get(at..).and_then(|rest| memchr(0xFF, rest)) {
        at += offset;
        match bytes.get(at + 1) {
            None => break,
            Some(0x00 | 0xD0..=0xD7) => at += 2,
            Some(0xFF) => at += 1,
            Some(_) => return Ok(at),
        }
    }
    Err(cut())
}

fn cut() -> DecodeError {
    DecodeError::cut("JPEG stream without its end marker (FF D9)")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &[u8] = &[
        0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC1, 0, 11, 12, 0, 24, 0, 20, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1,
        0, 0, 63, 0, 0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD0, 0x56, 0xFF, 0xFF, 0xD9,
    ];

    #[test]
    fn frame_header_is_read_through_the_whole_stream() {
        let header = JpegHeader::read(SMALL).unwrap();
        assert_eq!(
            header,
            JpegHeader {
                process: 1,
                precision: 12,
                height: 24,
                width: 20,
                components: 1
            }
        );
        assert!(!header.is_lossless());
    }

    #[test]
    fn every_truncation_is_refused() {
        for length in 0..SMALL.len() {
            let error = JpegHeader::read(&SMALL[..length]).unwrap_err();
            assert!(matches!(error.code(), "truncated" | "damaged"), "{length}: {error}");
        }
        assert_eq!(
            JpegHeader::read(&SMALL[..SMALL.len() - 3]).unwrap_err().code(),
            "truncated"
        );
    }

    #[test]
    fn a_lying_segment_length_is_refused() {
        let mut bytes = SMALL.to_vec();
        bytes[5] = 1;
        assert_eq!(JpegHeader::read(&bytes).unwrap_err().code(), "damaged");
        bytes[4] = 0xFF;
        assert_eq!(JpegHeader::read(&bytes).unwrap_err().code(), "truncated");
        for code in 0..=255 {
            let mut other = SMALL.to_vec();
            other[9] = code;
            assert!(
                JpegHeader::read(&other).is_ok() == matches!(code, 0xC0..=0xCF if !matches!(code, 0xC4 | 0xC8 | 0xCC))
            );
        }
    }
}

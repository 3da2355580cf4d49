//! Marker segments before the scan (ISO/IEC 14495-1 Annex C).

use crate::decode::error::DecodeError;

const PART: &str = "JPEG-LS header";
const FRAME: u8 = 0xF7;
const SCAN: u8 = 0xDA;
const PRESET: u8 = 0xF8;
const RESTART_INTERVAL: u8 = 0xDD;
/// Default RESET (C.2.4.1.1)
const DEFAULT_RESET: i32 = 64;

/// Everything that a scan of one component needs, within the ranges of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamHeader {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Bits of a sample, 2 to 16.
    pub(super) precision: u8,
    /// MAXVAL, 1 to 65535.
    pub(super) max_value: i32,
    /// NEAR, 0 to min(255, MAXVAL / 2).
    pub(super) near: i32,
    /// T1 <= T2 <= T3 <= MAXVAL
    pub(super) thresholds: [i32; 3],
    /// RESET, 3 to max(255, MAXVAL).
    pub(super) reset: i32,
    /// Where the entropy-coded bits begin.
    pub(super) scan_start: usize,
}

#[derive(Clone, Copy, Default)]
struct Preset {
    max_value: i32,
    thresholds: [i32; 3],
    reset: i32,
}

impl StreamHeader {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.get(..2) != Some(&[0xFF, 0xD8]) {
            return Err(DecodeError::damaged(PART, "no start marker (FF D8)"));
        }
        let mut frame = None;
        let mut preset = Preset::default();
        let mut at = 2;
        loop {
            let (code, content, next) = segment(bytes, at)?;
            match code {
                FRAME => frame = Some(content),
                PRESET => preset = read_preset(content)?,
                RESTART_INTERVAL if content.iter().any(|&byte| byte != 0) => {
                    return Err(DecodeError::unsupported("JPEG-LS with restart intervals"));
                }
                SCAN => {
                    let frame = frame.ok_or_else(|| DecodeError::damaged(PART, "a scan before the frame header"))?;
                    return finish(frame, content, preset, next);
                }
                0xC0..=0xCF => return Err(DecodeError::damaged(PART, "the stream is JPEG, not JPEG-LS")),
                _ => {}
            }
            at = next;
        }
    }
}

/// Marker code, content without length bytes, and the place after it.
fn segment(bytes: &[u8], at: usize) -> Result<(u8, &[u8], usize), DecodeError> {
    let cut = |needed: usize| DecodeError::truncated(PART, at, needed as u64, bytes.len().saturating_sub(at) as u64);
    let fill = bytes
        .get(at..)
        .unwrap_or_default()
        .iter()
        .take_while(|&&byte| byte == 0xFF)
        .count();
    let Some(&[code, high, low]) = bytes.get(at + fill..at + fill + 3) else {
        return Err(cut(fill + 3));
    };
    if fill == 0 {
        return Err(DecodeError::damaged(PART, format!("no marker at byte {at}")));
    }
    let start = at + fill + 1;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 {
        return Err(DecodeError::damaged(
            PART,
            format!("segment FF {code:02X} at byte {at} has length {length}"),
        ));
    }
    let content = bytes
        .get(start + 2..start + length)
        .ok_or_else(|| cut(fill + 1 + length))?;
    Ok((code, content, start + length))
}

/// LSE (C.2.4.1): only type 1; mapping tables are palettes, type 4 is for more than 65535 lines.
fn read_preset(content: &[u8]) -> Result<Preset, DecodeError> {
    match content {
        &[1, m1, m0, a1, a0, b1, b0, c1, c0, r1, r0, ..] => {
            let value = |high, low| i32::from(u16::from_be_bytes([high, low]));
            Ok(Preset {
                max_value: value(m1, m0),
                thresholds: [value(a1, a0), value(b1, b0), value(c1, c0)],
                reset: value(r1, r0),
            })
        }
        [kind @ 2..=4, ..] => Err(DecodeError::unsupported(format!("JPEG-LS preset of type {kind}"))),
        _ => Err(DecodeError::damaged(PART, "preset parameters are cut")),
    }
}

fn finish(frame: &[u8], scan: &[u8], preset: Preset, scan_start: usize) -> Result<StreamHeader, DecodeError> {
    let &[precision, y1, y0, x1, x0, components, ..] = frame else {
        return Err(DecodeError::damaged(PART, "the frame header is too short"));
    };
    if components != 1 {
        return Err(DecodeError::Colour {
            photometric: format!("JPEG-LS with {components} components"),
        });
    }
    let &[1, _, _, near, _, transform, ..] = scan else {
        return Err(DecodeError::damaged(
            PART,
            "the scan header is not that of one component",
        ));
    };
    if !(2..=16).contains(&precision) {
        return Err(DecodeError::damaged(PART, format!("{precision} bits a sample")));
    }
    if transform & 0x0F != 0 {
        return Err(DecodeError::unsupported("JPEG-LS with a point transform"));
    }
    let full = (1 << precision) - 1;
    let max_value = if preset.max_value == 0 { full } else { preset.max_value };
    let near = i32::from(near);
    if max_value > full || near > 255.min(max_value / 2) {
        return Err(DecodeError::damaged(
            PART,
            format!("MAXVAL {max_value}, NEAR {near} with {precision} bits"),
        ));
    }
    let thresholds = thresholds(preset.thresholds, max_value, near)?;
    let reset = if preset.reset == 0 { DEFAULT_RESET } else { preset.reset };
    if !(3..=255.max(max_value)).contains(&reset) {
        return Err(DecodeError::damaged(PART, format!("RESET {reset}")));
    }
    let (height, width) = (u16::from_be_bytes([y1, y0]).into(), u16::from_be_bytes([x1, x0]).into());
    Ok(StreamHeader {
        height,
        width,
        precision,
        max_value,
        near,
        thresholds,
        reset,
        scan_start,
    })
}

/// Zero stands for the default (C.2.4.1.1); the others must rise from NEAR + 1 to MAXVAL.
fn thresholds(given: [i32; 3], max_value: i32, near: i32) -> Result<[i32; 3], DecodeError> {
    let defaults = default_thresholds(max_value, near);
    let mut chosen = [0; 3];
    for ((target, given), default) in chosen.iter_mut().zip(given).zip(defaults) {
        *target = if given == 0 { default } else { given };
    }
    let [t1, t2, t3] = chosen;
    if near < t1 && t1 <= t2 && t2 <= t3 && t3 <= max_value {
        Ok(chosen)
    } else {
        Err(DecodeError::damaged(
            PART,
            format!("thresholds {t1}, {t2}, {t3} with MAXVAL {max_value}, NEAR {near}"),
        ))
    }
}

fn default_thresholds(max_value: i32, near: i32) -> [i32; 3] {
    let clamped = |value: i32, low: i32| if value > max_value || value < low { low } else { value };
    if max_value >= 128 {
        let factor = (max_value.min(4095) + 128) / 256;
        let t1 = clamped(factor + 2 + 3 * near, near + 1);
        let t2 = clamped(4 * factor + 3 + 5 * near, t1);
        [t1, t2, clamped(17 * factor + 4 + 7 * near, t2)]
    } else {
        let factor = 256 / (max_value + 1);
        let t1 = clamped((3 / factor + 3 * near).max(2), near + 1);
        let t2 = clamped((7 / factor + 5 * near).max(3), t1);
        [t1, t2, clamped((21 / factor + 7 * near).max(4), t2)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(frame: [u8; 9], preset: &[u8], scan: [u8; 6]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, FRAME, 0, 11];
        bytes.extend(frame);
        bytes.extend(preset);
        bytes.extend([0xFF, SCAN, 0, 8]);
        bytes.extend(scan);
        bytes
    }

    const TWELVE_BITS: [u8; 9] = [12, 0, 24, 0, 20, 1, 1, 0x11, 0];

    #[test]
    fn defaults_of_the_standard() {
        assert_eq!(default_thresholds(255, 0), [3, 7, 21]);
        assert_eq!(default_thresholds(4095, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(65_535, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(255, 2), [9, 17, 35]);
        let read = StreamHeader::read(&header(TWELVE_BITS, &[], [1, 1, 0, 0, 0, 0])).unwrap();
        assert_eq!(
            (read.height, read.width, read.max_value, read.reset, read.scan_start),
            (24, 20, 4095, 64, 25)
        );
    }

    #[test]
    fn presets_replace_defaults_and_lies_are_refused() {
        let preset = [0xFF, PRESET, 0, 13, 1, 0x0F, 0xFF, 0, 9, 0, 0, 0, 0, 0, 31];
        let read = StreamHeader::read(&header(TWELVE_BITS, &preset, [1, 1, 0, 0, 0, 0])).unwrap();
        assert_eq!((read.thresholds, read.reset), ([9, 67, 276], 31));
        for (at, value) in [(5, 0x1F), (7, 0xFF), (14, 1)] {
            let mut lie = preset;
            lie[at] = value;
            assert_eq!(
                StreamHeader::read(&header(TWELVE_BITS, &lie, [1, 1, 0, 0, 0, 0]))
                    .unwrap_err()
                    .code(),
                "damaged",
                "{at}"
            );
        }
        let mut palette = preset;
        palette[4] = 2;
        assert_eq!(
            StreamHeader::read(&header(TWELVE_BITS, &palette, [1, 1, 0, 0, 0, 0]))
                .unwrap_err()
                .code(),
            "unsupported"
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for (at, value, code) in [(0, 1, "damaged"), (0, 17, "damaged"), (5, 3, "colour-image")] {
            let mut frame = TWELVE_BITS;
            frame[at] = value;
            assert_eq!(
                StreamHeader::read(&header(frame, &[], [1, 1, 0, 0, 0, 0]))
                    .unwrap_err()
                    .code(),
                code
            );
        }
        let mut shallow = TWELVE_BITS;
        shallow[0] = 2;
        assert_eq!(
            StreamHeader::read(&header(shallow, &[], [1, 1, 0, 2, 0, 0]))
                .unwrap_err()
                .code(),
            "damaged"
        );
        let whole = header(TWELVE_BITS, &[], [1, 1, 0, 0, 0, 0]);
        for length in 0..whole.len() {
            assert!(StreamHeader::read(&whole[..length]).is_err(), "{length}");
        }
    }
}

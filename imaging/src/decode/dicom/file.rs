//! The outside of a DICOM file (PS3.10 section 7): preamble, file meta information, transfer syntax, deflate.
//!
//! Files without preamble, without meta information, and with a wrong transfer syntax exist in archives; they are read
//! by what their first element looks like, with a warning.

use std::io::Read;

use dicom_dictionary_std::{tags, uids};
use flate2::read::DeflateDecoder;

use super::dataset::DataSet;
use super::element::Syntax;
use crate::decode::error::DecodeError;
use crate::decode::limits::Limits;

const PREAMBLE_BYTES: usize = 128;
const META_GROUP: u16 = 0x0002;
/// Groups that a data set begins with: identifying, or command groups of old network dumps.
const FIRST_GROUPS: [u16; 2] = [0x0008, META_GROUP];

/// How pixels are coded (PS3.5 Annex A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PixelCoding {
    /// Uncompressed, in the byte order of the data set.
    Native,
    /// RLE Lossless
    Rle,
    /// JPEG baseline, extended and lossless: the stream's own header says which.
    Jpeg,
    /// JPEG-LS lossless and near-lossless
    JpegLs,
    /// JPEG 2000 Part 1
    Jpeg2000,
}

/// A DICOM file down to its data set.
#[derive(Debug)]
pub(super) struct DicomFile {
    /// The whole file; for deflated files the inflated data set.
    pub(super) bytes: Vec<u8>,
    /// Where the data set begins in `bytes`.
    pub(super) start: usize,
    pub(super) syntax: Syntax,
    pub(super) coding: PixelCoding,
    pub(super) transfer_syntax: String,
    pub(super) warnings: Vec<String>,
}

/// Whether this is DICOM: the prefix after the preamble, or a plausible first element.
pub(in crate::decode) fn sniff(bytes: &[u8]) -> bool {
    bytes.get(PREAMBLE_BYTES..PREAMBLE_BYTES + 4) == Some(b"DICM") || guess_syntax(bytes).is_some()
}

/// Whether this is the directory of a medium (DICOMDIR): an object of Media Storage Directory Storage, without pixels.
pub(in crate::decode) fn is_directory(bytes: &[u8]) -> bool {
    let start = PREAMBLE_BYTES + 4;
    // The class stands before what a beginning may cut off.
    let class = DataSet::read_before_cut(bytes, start, Syntax::EXPLICIT_LITTLE).text(tags::MEDIA_STORAGE_SOP_CLASS_UID);
    class.as_deref() == Some(uids::MEDIA_STORAGE_DIRECTORY_STORAGE)
}

impl DicomFile {
    /// Finds the data set.
    ///
    /// # Errors
    /// `unsupported-transfer-syntax`, `video`, `too-large` for what inflates beyond the limit, `truncated`, `damaged`.
    pub(super) fn open(bytes: Vec<u8>, limits: &Limits) -> Result<Self, DecodeError> {
        Self::open_as(bytes, limits, coding_of)
    }

    /// As [`open`](Self::open), but for its header only: whatever its pixels are coded in, its elements can be read,
    /// because every coding but the native ones has explicit VR little endian around it (PS3.5 A.4).
    pub(super) fn open_header(bytes: Vec<u8>, limits: &Limits) -> Result<Self, DecodeError> {
        Self::open_as(bytes, limits, |uid| {
            Ok(coding_of(uid).unwrap_or((Syntax::EXPLICIT_LITTLE, PixelCoding::Native)))
        })
    }

    fn open_as(
        bytes: Vec<u8>,
        limits: &Limits,
        coding_of: impl Fn(&str) -> Result<(Syntax, PixelCoding), DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut warnings = Vec::new();
        let has_preamble = bytes.get(PREAMBLE_BYTES..PREAMBLE_BYTES + 4) == Some(b"DICM");
        let meta_start = if has_preamble { PREAMBLE_BYTES + 4 } else { 0 };
        if !has_preamble {
            warnings.push("the file has no DICOM preamble".to_owned());
        }
        let (meta, start) = DataSet::read_group(&bytes, meta_start, Syntax::EXPLICIT_LITTLE, META_GROUP)?;
        let transfer_syntax = meta.text(tags::TRANSFER_SYNTAX_UID);
        let rest = bytes.get(start..).unwrap_or_default();
        let Some(uid) = transfer_syntax else {
            let syntax = guess_syntax(rest)
                .ok_or_else(|| DecodeError::damaged("file meta information", "no transfer syntax (0002,0010)"))?;
            warnings.push("no transfer syntax: read by the look of the first element".to_owned());
            let transfer_syntax = native_uid(syntax).to_owned();
            return Ok(DicomFile {
                bytes,
                start,
                syntax,
                coding: PixelCoding::Native,
                transfer_syntax,
                warnings,
            });
        };
        let (mut syntax, coding) = coding_of(&uid)?;
        if uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            let bytes = inflate(rest, limits)?;
            return Ok(DicomFile {
                bytes,
                start: 0,
                syntax,
                coding,
                transfer_syntax: uid,
                warnings,
            });
        }
        if let Some(seen) = guess_syntax(rest).filter(|&seen| seen != syntax) {
            warnings.push(format!(
                "the data set is not written in its transfer syntax {uid}; read as it looks"
            ));
            syntax = seen;
        }
        Ok(DicomFile {
            bytes,
            start,
            syntax,
            coding,
            transfer_syntax: uid,
            warnings,
        })
    }
}

/// What is decoded, in the order of PS3.6 Table A-1: transfer syntax, how elements are written, how pixels are coded.
#[allow(deprecated, reason = "explicit big endian is retired, and still sent")]
const CODINGS: [(&str, Syntax, PixelCoding); 13] = [
    (
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        Syntax::IMPLICIT_LITTLE,
        PixelCoding::Native,
    ),
    (
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        Syntax::EXPLICIT_LITTLE,
        PixelCoding::Native,
    ),
    (
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        Syntax::EXPLICIT_LITTLE,
        PixelCoding::Native,
    ),
    (uids::EXPLICIT_VR_BIG_ENDIAN, Syntax::EXPLICIT_BIG, PixelCoding::Native),
    (uids::JPEG_BASELINE8_BIT, Syntax::EXPLICIT_LITTLE, PixelCoding::Jpeg),
    (uids::JPEG_EXTENDED12_BIT, Syntax::EXPLICIT_LITTLE, PixelCoding::Jpeg),
    (uids::JPEG_LOSSLESS, Syntax::EXPLICIT_LITTLE, PixelCoding::Jpeg),
    (uids::JPEG_LOSSLESS_SV1, Syntax::EXPLICIT_LITTLE, PixelCoding::Jpeg),
    (uids::JPEGLS_LOSSLESS, Syntax::EXPLICIT_LITTLE, PixelCoding::JpegLs),
    (uids::JPEGLS_NEAR_LOSSLESS, Syntax::EXPLICIT_LITTLE, PixelCoding::JpegLs),
    (uids::JPEG2000_LOSSLESS, Syntax::EXPLICIT_LITTLE, PixelCoding::Jpeg2000),
    (uids::JPEG2000, Syntax::EXPLICIT_LITTLE, PixelCoding::Jpeg2000),
    (uids::RLE_LOSSLESS, Syntax::EXPLICIT_LITTLE, PixelCoding::Rle),
];

/// The transfer syntaxes that are decoded.
pub(in crate::decode) fn transfer_syntaxes() -> impl Iterator<Item = &'static str> {
    CODINGS.iter().map(|&(uid, _, _)| uid)
}

pub(super) fn coding_of(uid: &str) -> Result<(Syntax, PixelCoding), DecodeError> {
    match CODINGS.iter().find(|(known, _, _)| *known == uid) {
        Some(&(_, syntax, coding)) => Ok((syntax, coding)),
        None if is_video(uid) => Err(DecodeError::Video { uid: uid.to_owned() }),
        None => Err(DecodeError::UnsupportedTransferSyntax { uid: uid.to_owned() }),
    }
}

/// MPEG-2, MPEG-4 AVC and HEVC: 1.2.840.10008.1.2.4.100 to .108, some with a suffix.
fn is_video(uid: &str) -> bool {
    uid.strip_prefix("1.2.840.10008.1.2.4.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|number| number.parse::<u16>().ok())
        .is_some_and(|number| (100..=108).contains(&number))
}

fn native_uid(syntax: Syntax) -> &'static str {
    match (syntax.explicit_vr, syntax.big_endian) {
        (false, _) => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        (true, false) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        #[allow(deprecated)]
        (true, true) => uids::EXPLICIT_VR_BIG_ENDIAN,
    }
}

/// The syntax in which the first element makes sense; `None` if in none.
pub(super) fn guess_syntax(bytes: &[u8]) -> Option<Syntax> {
    let &[g0, g1, e0, e1, v0, v1, l0, l1, ..] = bytes else {
        return None;
    };
    let big_endian = match (FIRST_GROUPS.contains(&u16::from_le_bytes([g0, g1])), g0) {
        (true, _) => false,
        (false, 0) if FIRST_GROUPS.contains(&u16::from_be_bytes([g0, g1])) => true,
        _ => return None,
    };
    // The first elements of these groups have low numbers, and short values.
    let element = if big_endian {
        u16::from_be_bytes([e0, e1])
    } else {
        u16::from_le_bytes([e0, e1])
    };
    if element > 0x0100 {
        return None;
    }
    if matches!(
        &[v0, v1],
        b"UL" | b"UI" | b"CS" | b"SH" | b"LO" | b"DA" | b"TM" | b"OB" | b"SQ" | b"UN" | b"PN"
    ) {
        return Some(Syntax {
            explicit_vr: true,
            big_endian,
        });
    }
    let length = u32::from_le_bytes([v0, v1, l0, l1]) as usize;
    (!big_endian && length <= 1024 && length <= bytes.len()).then_some(Syntax::IMPLICIT_LITTLE)
}

/// Raw deflate (RFC 1951) of everything after the meta information; stops at the limit.
fn inflate(deflated: &[u8], limits: &Limits) -> Result<Vec<u8>, DecodeError> {
    let mut inflated = Vec::new();
    let bound = limits.max_bytes.saturating_add(1);
    DeflateDecoder::new(deflated)
        .take(bound)
        .read_to_end(&mut inflated)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => DecodeError::cut("deflated data set"),
            _ => DecodeError::damaged("deflated data set", error.to_string()),
        })?;
    limits.check_bytes(inflated.len() as u64)?;
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::Write;

    fn with_meta(uid: &str, data_set: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; PREAMBLE_BYTES];
        bytes.extend(b"DICM\x02\0\x10\0UI");
        let padded = if uid.len().is_multiple_of(2) {
            uid.to_owned()
        } else {
            format!("{uid}\0")
        };
        bytes.extend((padded.len() as u16).to_le_bytes());
        bytes.extend(padded.as_bytes());
        bytes.extend(data_set);
        bytes
    }

    const DATA_SET: &[u8] = b"\x08\0\x60\0CS\x02\0CT";

    #[test]
    fn syntax_and_coding_follow_the_uid() {
        let file = DicomFile::open(with_meta("1.2.840.10008.1.2.4.80", DATA_SET), &Limits::default()).unwrap();
        assert_eq!(
            (file.coding, file.syntax),
            (PixelCoding::JpegLs, Syntax::EXPLICIT_LITTLE)
        );
        assert_eq!(&file.bytes[file.start..], DATA_SET);
        assert!(file.warnings.is_empty());
        for (uid, code) in [
            ("1.2.840.10008.1.2.4.102.1", "video"),
            ("1.2.840.10008.1.2.4.201", "unsupported-transfer-syntax"),
        ] {
            assert_eq!(
                DicomFile::open(with_meta(uid, DATA_SET), &Limits::default())
                    .unwrap_err()
                    .code(),
                code
            );
        }
    }

    #[test]
    fn a_file_without_preamble_is_read_by_its_look() {
        let implicit = b"\x08\0\x60\0\x02\0\0\0CT".to_vec();
        assert!(sniff(&implicit));
        let file = DicomFile::open(implicit, &Limits::default()).unwrap();
        assert_eq!(file.syntax, Syntax::IMPLICIT_LITTLE);
        assert_eq!(file.warnings.len(), 2);
        assert!(!sniff(b"The quick brown fox") && !sniff(b"") && !sniff(&[0; 200]));
    }

    #[test]
    fn a_wrong_transfer_syntax_is_corrected() {
        let file = DicomFile::open(with_meta("1.2.840.10008.1.2", DATA_SET), &Limits::default()).unwrap();
        assert_eq!(file.syntax, Syntax::EXPLICIT_LITTLE);
        assert_eq!(file.warnings.len(), 1);
    }

    #[test]
    fn a_deflate_bomb_stops_at_the_limit() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 4 << 20]).unwrap();
        let bomb = with_meta("1.2.840.10008.1.2.1.99", &encoder.finish().unwrap());
        assert!(bomb.len() < 8192);
        let limits = Limits {
            max_bytes: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(DicomFile::open(bomb.clone(), &limits).unwrap_err().code(), "too-large");
        assert_eq!(DicomFile::open(bomb, &Limits::default()).unwrap().bytes.len(), 4 << 20);
    }
}

//! Which object a data set is: its SOP Common Module (PS3.3 C.12.1), which stands at its beginning.

use std::io::Read;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use flate2::read::DeflateDecoder;

use super::dataset::DataSet;
use super::file::{coding_of, guess_syntax};
use crate::decode::error::DecodeError;

/// Bytes that a deflated beginning is inflated to, at most: the elements of interest end within the first few hundred.
const INFLATED_BYTES: u64 = 64 << 10;

/// The tag behind SOP Instance UID.
const BEHIND_INSTANCE_UID: Tag = Tag(0x0008, 0x0019);

/// What a data set says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// SOP Class UID (0008,0016)
    pub sop_class_uid: Option<String>,
    /// SOP Instance UID (0008,0018)
    pub sop_instance_uid: Option<String>,
}

/// Reads the elements up to SOP Instance UID (0008,0018) or, where it is missing, to the one behind its place.
///
/// # Errors
/// `unsupported-transfer-syntax`, `video`; `truncated` or `damaged` if these elements are.
pub(in crate::decode) fn identify(beginning: &[u8], transfer_syntax: &str) -> Result<Identity, DecodeError> {
    let (syntax, _) = coding_of(transfer_syntax)?;
    let inflated;
    let data = if transfer_syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        inflated = inflate_beginning(beginning)?;
        &inflated
    } else {
        beginning
    };
    let syntax = guess_syntax(data).unwrap_or(syntax);
    let (set, _) = DataSet::read_before(data, 0, syntax, BEHIND_INSTANCE_UID)?;
    Ok(Identity {
        sop_class_uid: set.text(tags::SOP_CLASS_UID),
        sop_instance_uid: set.text(tags::SOP_INSTANCE_UID),
    })
}

/// As much as comes out of a stream whose end is missing.
fn inflate_beginning(deflated: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut inflated = Vec::new();
    match DeflateDecoder::new(deflated)
        .take(INFLATED_BYTES)
        .read_to_end(&mut inflated)
    {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(DecodeError::damaged("deflated data set", error.to_string()))
        }
        _ => Ok(inflated),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::DeflateEncoder};

    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    /// SOP Class UID, SOP Instance UID, then a value of 200 bytes.
    fn explicit() -> Vec<u8> {
        let mut bytes = b"\x08\0\x16\0UI\x1a\0".to_vec();
        bytes.extend(format!("{CT}\0").bytes());
        bytes.extend(b"\x08\0\x18\0UI\x06\x001.2.3\0");
        bytes.extend(b"\x08\0\x70\0LO\xc8\0");
        bytes.extend([b'x'; 200]);
        bytes
    }

    #[test]
    fn the_beginning_of_a_data_set_tells_which_object_it_is() {
        let whole = explicit();
        let wanted = Identity {
            sop_class_uid: Some(CT.to_owned()),
            sop_instance_uid: Some("1.2.3".to_owned()),
        };
        for length in [48, 60, whole.len()] {
            assert_eq!(
                identify(&whole[..length], uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap(),
                wanted
            );
        }
        // As files are: what the elements look like goes before what the transfer syntax says.
        assert_eq!(identify(&whole, uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap(), wanted);
        assert_eq!(identify(&whole[..47], uids::JPEG2000).unwrap_err().code(), "truncated");
        assert_eq!(identify(&whole, uids::MPEG2MPML).unwrap_err().code(), "video");
        let without = identify(&whole[..34], uids::JPEG2000).unwrap();
        assert_eq!(
            (without.sop_class_uid.as_deref(), without.sop_instance_uid),
            (Some(CT), None)
        );
    }

    #[test]
    fn a_deflated_beginning_needs_no_end() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(&explicit()).unwrap();
        let deflated = encoder.finish().unwrap();
        let uid = uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        let found = identify(&deflated[..100], uid).unwrap();
        assert_eq!(found.sop_instance_uid.as_deref(), Some("1.2.3"));
        assert_eq!(identify(b"\xff\xff\xff", uid).unwrap_err().code(), "damaged");
    }

    #[test]
    fn no_beginning_makes_it_panic() {
        let whole = explicit();
        for uid in [
            uids::EXPLICIT_VR_LITTLE_ENDIAN,
            uids::IMPLICIT_VR_LITTLE_ENDIAN,
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        ] {
            for length in 0..whole.len() {
                let _ = identify(&whole[..length], uid);
                let mut damaged = whole.clone();
                damaged[length] ^= 0xFF;
                let _ = identify(&damaged, uid);
            }
        }
    }
}

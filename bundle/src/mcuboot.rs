//! The MCUboot face of a bundle: a 32-byte header before the stream and two TLV areas behind it.
//!
//! Existing clients of the Simple Management Protocol ask for a well-formed MCUboot image and take the SHA-256
//! TLV for the name of the image. None of it is signed, so every field has exactly one acceptable value once
//! the signed manifest is known, and [`ImageHeader::parse`] and [`Trailer::parse`] refuse anything else.
//! Layout: MCUboot, `boot/bootutil/include/bootutil/image.h`.

use crate::version::Version;

/// Length of the image header, and the file offset of the stream.
pub const HEADER_BYTES: usize = 32;
/// Length of both TLV areas together.
pub const TRAILER_BYTES: usize = PROTECTED_BYTES + UNPROTECTED_BYTES;
/// Length of the TLV area that the SHA-256 covers: the security counter.
pub const PROTECTED_BYTES: usize = TLV_AREA_BYTES + TLV_BYTES + 4;
const UNPROTECTED_BYTES: usize = TLV_AREA_BYTES + TLV_BYTES + 32;

const IMAGE_MAGIC: u32 = 0x96f3_b83d;
const PROTECTED_MAGIC: u16 = 0x6908;
const UNPROTECTED_MAGIC: u16 = 0x6907;
const TLV_SHA256: u16 = 0x10;
const TLV_SECURITY_COUNTER: u16 = 0x50;
const TLV_AREA_BYTES: usize = 4;
const TLV_BYTES: usize = 4;

/// Why the MCUboot face was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The first four bytes are another file's.
    #[error("not a Scanside bundle: the file begins with {found:02x?} instead of an MCUboot image header")]
    Magic {
        /// The first four bytes of the file.
        found: [u8; 4],
    },
    /// A field of the header has a value that a bundle never has.
    #[error(
        "MCUboot header: the field {field} at offset {offset} is {found:#x} instead of {wanted:#x}; the file was changed after packing"
    )]
    Field {
        /// MCUboot's name of the field.
        field: &'static str,
        /// Offset in the file.
        offset: usize,
        /// What stands there.
        found: u32,
        /// What must stand there.
        wanted: u32,
    },
    /// A TLV area or entry behind the stream is not the one that a bundle has.
    #[error(
        "MCUboot trailer: {what} at offset {offset} of the trailer is {found:#x} instead of {wanted:#x}; the file was changed after packing"
    )]
    Trailer {
        /// What is wrong, in words.
        what: &'static str,
        /// Offset from the end of the stream.
        offset: usize,
        /// What stands there.
        found: u16,
        /// What must stand there.
        wanted: u16,
    },
}

/// What the 32-byte image header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// The version, which must equal the manifest's.
    pub version: Version,
    /// Length of the stream in bytes.
    pub body_bytes: u32,
}

impl ImageHeader {
    /// The header as it stands in the file.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&IMAGE_MAGIC.to_le_bytes());
        bytes[8..10].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        bytes[10..12].copy_from_slice(&(PROTECTED_BYTES as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.version.to_bytes());
        bytes
    }

    /// Reads a header; load address, flags and padding must be 0, and the lengths those of a bundle.
    ///
    /// # Errors
    /// [`ImageError::Magic`] for another kind of file, [`ImageError::Field`] for any other deviation.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, ImageError> {
        if u32_at(bytes, 0) != IMAGE_MAGIC {
            let [a, b, c, d, ..] = *bytes;
            return Err(ImageError::Magic { found: [a, b, c, d] });
        }
        let sizes = u32_at(bytes, 8);
        let fields = [
            ("ih_load_addr", 4, u32_at(bytes, 4), 0),
            ("ih_hdr_size", 8, sizes & 0xffff, HEADER_BYTES as u32),
            ("ih_protect_tlv_size", 10, sizes >> 16, PROTECTED_BYTES as u32),
            ("ih_flags", 16, u32_at(bytes, 16), 0),
            ("_pad1", 28, u32_at(bytes, 28), 0),
        ];
        for (field, offset, found, wanted) in fields {
            if found != wanted {
                return Err(ImageError::Field {
                    field,
                    offset,
                    found,
                    wanted,
                });
            }
        }
        let mut version = [0; 8];
        version.copy_from_slice(&bytes[20..28]);
        Ok(Self {
            version: Version::from_bytes(version),
            body_bytes: u32_at(bytes, 12),
        })
    }
}

/// What the TLV areas behind the stream say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The security counter, which must equal the manifest's.
    pub security_counter: u32,
    /// SHA-256 of everything before the unprotected area: the `hash` of SMP's image states.
    pub digest: [u8; 32],
}

impl Trailer {
    /// The protected area, which the digest covers.
    #[must_use]
    pub fn protected_bytes(security_counter: u32) -> [u8; PROTECTED_BYTES] {
        let mut bytes = [0; PROTECTED_BYTES];
        put_u16(&mut bytes, 0, PROTECTED_MAGIC);
        put_u16(&mut bytes, 2, PROTECTED_BYTES as u16);
        put_u16(&mut bytes, 4, TLV_SECURITY_COUNTER);
        put_u16(&mut bytes, 6, 4);
        bytes[8..12].copy_from_slice(&security_counter.to_le_bytes());
        bytes
    }

    /// The area that holds the digest.
    #[must_use]
    pub fn unprotected_bytes(digest: &[u8; 32]) -> [u8; TRAILER_BYTES - PROTECTED_BYTES] {
        let mut bytes = [0; UNPROTECTED_BYTES];
        put_u16(&mut bytes, 0, UNPROTECTED_MAGIC);
        put_u16(&mut bytes, 2, UNPROTECTED_BYTES as u16);
        put_u16(&mut bytes, 4, TLV_SHA256);
        put_u16(&mut bytes, 6, 32);
        bytes[8..].copy_from_slice(digest);
        bytes
    }

    /// Reads both areas; exactly these two entries, in this order.
    ///
    /// # Errors
    /// [`ImageError::Trailer`] for any deviation.
    pub fn parse(bytes: &[u8; TRAILER_BYTES]) -> Result<Self, ImageError> {
        let u = PROTECTED_BYTES;
        let fields = [
            ("the magic of the protected TLV area", 0, PROTECTED_MAGIC),
            ("the length of the protected TLV area", 2, PROTECTED_BYTES as u16),
            ("the type of the security counter TLV", 4, TLV_SECURITY_COUNTER),
            ("the length of the security counter TLV", 6, 4),
            ("the magic of the TLV area", u, UNPROTECTED_MAGIC),
            ("the length of the TLV area", u + 2, UNPROTECTED_BYTES as u16),
            ("the type of the SHA-256 TLV", u + 4, TLV_SHA256),
            ("the length of the SHA-256 TLV", u + 6, 32),
        ];
        for (what, offset, wanted) in fields {
            let found = u16::from_le_bytes([bytes[offset], bytes[offset + 1]]);
            if found != wanted {
                return Err(ImageError::Trailer {
                    what,
                    offset,
                    found,
                    wanted,
                });
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[u + 8..]);
        Ok(Self {
            security_counter: u32_at(bytes, 8),
            digest,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ImageHeader {
        ImageHeader {
            version: "1.2.3+4".parse().unwrap(),
            body_bytes: 0x0102_0304,
        }
    }

    fn trailer() -> ([u8; TRAILER_BYTES], Trailer) {
        let trailer = Trailer {
            security_counter: 9,
            digest: [7; 32],
        };
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..PROTECTED_BYTES].copy_from_slice(&Trailer::protected_bytes(9));
        bytes[PROTECTED_BYTES..].copy_from_slice(&Trailer::unprotected_bytes(&[7; 32]));
        (bytes, trailer)
    }

    #[test]
    fn the_header_has_mcuboots_layout() {
        let bytes = header().to_bytes();
        assert_eq!(bytes[..4], [0x3d, 0xb8, 0xf3, 0x96]);
        assert_eq!(bytes[8..12], [32, 0, 12, 0]);
        assert_eq!(bytes[12..16], [4, 3, 2, 1]);
        assert_eq!(bytes[20..28], [1, 2, 3, 0, 4, 0, 0, 0]);
        assert_eq!(ImageHeader::parse(&bytes), Ok(header()));
    }

    #[test]
    fn a_flipped_header_bit_is_refused_or_seen() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = header().to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(ImageHeader::parse(&bytes), Ok(header()), "bit {bit}");
        }
    }

    #[test]
    fn a_flipped_trailer_bit_is_refused_or_seen() {
        let (good, trailer) = trailer();
        assert_eq!(Trailer::parse(&good), Ok(trailer));
        for bit in 0..TRAILER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Trailer::parse(&bytes), Ok(trailer), "bit {bit}");
        }
    }
}

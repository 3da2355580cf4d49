//! What stands before the payload: enough to decide whether a bundle is acceptable before a slot is touched.

use std::io::Read;

use super::source::Source;
use super::{BundleError, FORMAT_VERSION, MAGIC, MAX_HEADER_BYTES, PROLOGUE_BYTES, Policy};
use crate::blocks::BlockTable;
use crate::manifest::Manifest;
use crate::mcuboot::{HEADER_BYTES, ImageHeader, TRAILER_BYTES};
use crate::sign::{MAX_SIGNATURE_BYTES, Signed, TrustedKeys};

/// A manifest of nothing still has its length, and an empty block table.
const MIN_HEADER_BYTES: usize = 4 + 4 + 12;
const HEADER: &str = "the signed header";
const SIGNATURE: &str = "the signature";

/// The front of a bundle as it was read: nothing in it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    image: ImageHeader,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Front {
    /// Reads the front of a bundle and leaves `reader` at the payload.
    ///
    /// # Errors
    /// [`BundleError`] for another kind of file, an unknown format version, absurd lengths, a missing signature.
    pub fn read<R: Read>(reader: R) -> Result<Self, BundleError> {
        Self::from_source(&mut Source::new(reader))
    }

    pub(super) fn from_source<R: Read>(source: &mut Source<R>) -> Result<Self, BundleError> {
        let image = ImageHeader::parse(&source.array("the MCUboot header")?)?;
        let prologue: [u8; PROLOGUE_BYTES] = source.array("the beginning of the stream")?;
        let length = header_length(&prologue)?;
        let mut signed = vec![0; PROLOGUE_BYTES + length];
        signed[..PROLOGUE_BYTES].copy_from_slice(&prologue);
        source.fill(&mut signed[PROLOGUE_BYTES..], HEADER)?;
        let length = u32::from_le_bytes(source.array(SIGNATURE)?);
        if length == 0 {
            return Err(BundleError::Unsigned);
        }
        if length as usize > MAX_SIGNATURE_BYTES {
            return Err(BundleError::SignatureLength { found: length });
        }
        let mut signature = vec![0; length as usize];
        source.fill(&mut signature, SIGNATURE)?;
        Ok(Self {
            image,
            signed,
            signature,
        })
    }

    /// The bytes that the signature covers: `minisign -V` checks a file of them.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// The signature, the content of a `.minisig` file.
    #[must_use]
    pub fn signature_bytes(&self) -> &[u8] {
        &self.signature
    }

    /// What the manifest says, without a check of who signed it: for a program that has no key and only carries the file
    /// to one that has. Nothing may rest on it.
    ///
    /// # Errors
    /// [`BundleError`] if the header does not hold what a header holds.
    pub fn unverified_manifest(&self) -> Result<Manifest, BundleError> {
        Ok(parse_header(&self.signed[PROLOGUE_BYTES..])?.0)
    }

    /// Length of the front in bytes: MCUboot header, signed header and signature.
    #[must_use]
    pub fn front_bytes(&self) -> usize {
        HEADER_BYTES + self.signed.len() + 4 + self.signature.len()
    }

    /// Checks the signature first, then everything else that the front says.
    ///
    /// # Errors
    /// [`BundleError::Signature`] for an unknown key or a wrong signature; then the manifest's, the block table's,
    /// the MCUboot header's and the policy's refusals.
    pub fn verify(self, keys: &TrustedKeys, policy: &Policy) -> Result<VerifiedFront, BundleError> {
        let text = std::str::from_utf8(&self.signature).map_err(|_| crate::sign::not_text())?;
        let signed_by = keys.verify(&self.signed, text)?;
        let (manifest, blocks) = parse_header(&self.signed[PROLOGUE_BYTES..])?;
        check_policy(&manifest, policy)?;
        check_lengths(&manifest, &blocks)?;
        let front = VerifiedFront {
            payload_offset: self.front_bytes() as u64,
            manifest,
            blocks,
            signed_by,
        };
        front.check_image(self.image)?;
        Ok(front)
    }
}

/// The front of a bundle whose signature was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedFront {
    /// What the bundle says about itself.
    pub manifest: Manifest,
    /// The checksums of the payload.
    pub blocks: BlockTable,
    /// Whose signature it is.
    pub signed_by: Signed,
    /// File offset of the payload, in bytes.
    pub payload_offset: u64,
}

impl VerifiedFront {
    /// Length of the whole file, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.payload_offset + self.blocks.payload_bytes() + TRAILER_BYTES as u64
    }

    fn check_image(&self, image: ImageHeader) -> Result<(), BundleError> {
        let body = self.file_bytes() - (HEADER_BYTES + TRAILER_BYTES) as u64;
        if u64::from(image.body_bytes) != body {
            return Err(mismatch("body size", image.body_bytes, body));
        }
        if image.version != self.manifest.version {
            return Err(mismatch("version", image.version, self.manifest.version));
        }
        Ok(())
    }
}

pub(super) fn mismatch(field: &'static str, image: impl ToString, signed: impl ToString) -> BundleError {
    BundleError::Mismatch {
        field,
        image: image.to_string(),
        signed: signed.to_string(),
    }
}

fn header_length(prologue: &[u8; PROLOGUE_BYTES]) -> Result<usize, BundleError> {
    let [m @ .., v0, v1, r0, r1, h0, h1, h2, h3] = *prologue;
    if m != MAGIC {
        return Err(BundleError::Magic { found: m });
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != FORMAT_VERSION {
        return Err(BundleError::FormatVersion { found: version });
    }
    let reserved = u16::from_le_bytes([r0, r1]);
    if reserved != 0 {
        return Err(BundleError::Reserved { found: reserved });
    }
    let length = u32::from_le_bytes([h0, h1, h2, h3]);
    if !(MIN_HEADER_BYTES..=MAX_HEADER_BYTES).contains(&(length as usize)) {
        return Err(BundleError::HeaderLength { found: length });
    }
    Ok(length as usize)
}

fn parse_header(header: &[u8]) -> Result<(Manifest, BlockTable), BundleError> {
    let refusal = |found| BundleError::ManifestLength {
        found,
        header: header.len(),
    };
    let (length, rest) = header.split_first_chunk::<4>().ok_or_else(|| refusal(0))?;
    let length = u32::from_le_bytes(*length);
    let (manifest, table) = rest.split_at_checked(length as usize).ok_or_else(|| refusal(length))?;
    Ok((Manifest::from_json(manifest)?, BlockTable::parse(table)?))
}

fn check_policy(manifest: &Manifest, policy: &Policy) -> Result<(), BundleError> {
    let (found, lowest) = (manifest.security_counter, policy.lowest_security_counter);
    if found < lowest {
        return Err(BundleError::SecurityCounter { found, lowest });
    }
    let mut total = 0_u64;
    for file in &manifest.files {
        too_large(&file.path, file.length, policy.max_file_bytes)?;
        total = total.saturating_add(file.length);
    }
    too_large("the payload", total, policy.max_total_bytes)
}

fn too_large(what: &str, found: u64, limit: u64) -> Result<(), BundleError> {
    if found <= limit {
        return Ok(());
    }
    Err(BundleError::TooLarge {
        what: what.to_owned(),
        found,
        limit,
    })
}

fn check_lengths(manifest: &Manifest, blocks: &BlockTable) -> Result<(), BundleError> {
    let found = manifest.files.iter().fold(0_u64, |sum, f| sum.saturating_add(f.stored));
    let payload = blocks.payload_bytes();
    if found != payload {
        return Err(BundleError::PayloadLength { found, payload });
    }
    Ok(())
}

//! Packing a bundle.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

use super::{BundleError, FORMAT_VERSION, MAGIC, MAX_HEADER_BYTES, PROLOGUE_BYTES, Policy, WINDOW_LOG, hexadecimal};
use crate::blocks::BlockTable;
use crate::manifest::{FileEntry, FileKind, Manifest};
use crate::mcuboot::{ImageHeader, Trailer};
use crate::sign::{self, SecretKey};

/// Weights hardly compress: higher levels gain nothing, and an appliance that rebuilds a frame from a
/// [delta](crate::delta) needs their tables in memory.
const COMPRESSION_LEVEL: i32 = 6;

/// A file to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadFile {
    /// Relative path in the payload.
    pub path: String,
    /// What it is for.
    pub kind: FileKind,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl PayloadFile {
    /// A file to pack.
    #[must_use]
    pub fn new(path: &str, kind: FileKind, bytes: Vec<u8>) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            bytes,
        }
    }
}

/// What was packed.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The manifest with the entries of the payload.
    pub manifest: Manifest,
    /// The MCUboot digest: the `hash` of SMP's image states.
    pub image_digest: [u8; 32],
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

/// Compresses `files`, signs the header and writes the bundle to `out`, from beginning to end.
///
/// `manifest.files` is replaced by the entries of `files`. The output differs from run to run only in the
/// signature, which Ed25519 as minisign does it draws with a random nonce.
///
/// # Errors
/// [`BundleError::Manifest`] if the manifest does not fit the files, [`BundleError::TooLarge`] for what no reader
/// takes, [`BundleError::Signature`], [`BundleError::Write`].
pub fn write<W: Write>(
    manifest: &Manifest,
    files: &[PayloadFile],
    secret: &SecretKey,
    mut out: W,
) -> Result<Packed, BundleError> {
    let (entries, payload) = compress(files)?;
    let manifest = Manifest {
        files: entries,
        ..manifest.clone()
    };
    let signed = signed_bytes(&manifest, &payload)?;
    let comment = format!(
        "{} {} security counter {}",
        manifest.name, manifest.version, manifest.security_counter
    );
    let signature = sign::sign(secret, &signed, &comment)?;
    let image = ImageHeader {
        version: manifest.version,
        body_bytes: body_bytes(&signed, &signature, &payload)?,
    };
    let mut image_out = HashingWriter {
        out: &mut out,
        digest: Sha256::new(),
        written: 0,
    };
    image_out.put(&image.to_bytes())?;
    image_out.put(&signed)?;
    image_out.put(&(signature.len() as u32).to_le_bytes())?;
    image_out.put(signature.as_bytes())?;
    image_out.put(&payload)?;
    image_out.put(&Trailer::protected_bytes(manifest.security_counter))?;
    let image_digest: [u8; 32] = image_out.digest.clone().finalize().into();
    image_out.put(&Trailer::unprotected_bytes(&image_digest))?;
    let file_bytes = image_out.written;
    out.flush().map_err(BundleError::Write)?;
    Ok(Packed {
        manifest,
        image_digest,
        file_bytes,
    })
}

/// The files' entries and their frames one after the other.
fn compress(files: &[PayloadFile]) -> Result<(Vec<FileEntry>, Vec<u8>), BundleError> {
    let limit = Policy::default().max_file_bytes;
    let mut payload = Vec::new();
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        let length = file.bytes.len() as u64;
        if length > limit {
            return Err(BundleError::TooLarge {
                what: file.path.clone(),
                found: length,
                limit,
            });
        }
        let before = payload.len();
        compress_into(&mut payload, &file.bytes).map_err(BundleError::Write)?;
        entries.push(FileEntry {
            path: file.path.clone(),
            kind: file.kind,
            length,
            stored: (payload.len() - before) as u64,
            sha256: hexadecimal(&Sha256::digest(&file.bytes)),
        });
    }
    Ok((entries, payload))
}

fn compress_into(payload: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let mut encoder = frame_encoder(payload, bytes.len() as u64)?;
    encoder.write_all(bytes)?;
    encoder.finish()?;
    Ok(())
}

/// One frame as a packer makes it.
pub(crate) fn compress_frame(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    compress_into(&mut frame, bytes)?;
    Ok(frame)
}

/// Compresses `length` bytes into the frame that a packer makes of them.
pub(crate) fn frame_encoder<W: Write>(out: W, length: u64) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(out, COMPRESSION_LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.set_pledged_src_size(Some(length))?;
    Ok(encoder)
}

/// Magic, format version, header length, header: what the signature covers.
fn signed_bytes(manifest: &Manifest, payload: &[u8]) -> Result<Vec<u8>, BundleError> {
    let json = manifest.to_json()?;
    let room = MAX_HEADER_BYTES.saturating_sub(4 + json.len());
    if room < 12 {
        return Err(BundleError::ManifestTooLong { found: json.len() });
    }
    let table = BlockTable::of(payload, room)?.to_bytes();
    let header_bytes = 4 + json.len() + table.len();
    let mut signed = Vec::with_capacity(PROLOGUE_BYTES + header_bytes);
    signed.extend(MAGIC);
    signed.extend(FORMAT_VERSION.to_le_bytes());
    signed.extend([0, 0]);
    signed.extend((header_bytes as u32).to_le_bytes());
    signed.extend((json.len() as u32).to_le_bytes());
    signed.extend(json);
    signed.extend(table);
    Ok(signed)
}

fn body_bytes(signed: &[u8], signature: &str, payload: &[u8]) -> Result<u32, BundleError> {
    let found = (signed.len() + 4 + signature.len() + payload.len()) as u64;
    u32::try_from(found).map_err(|_| BundleError::TooLarge {
        what: "the payload".to_owned(),
        found,
        limit: u64::from(u32::MAX),
    })
}

struct HashingWriter<W> {
    out: W,
    digest: Sha256,
    written: u64,
}

impl<W: Write> HashingWriter<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.out.write_all(bytes).map_err(BundleError::Write)?;
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }
}

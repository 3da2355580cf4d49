//! Reading a bundle as a stream.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;

use super::front::{Front, VerifiedFront, mismatch};
use super::payload::Payload;
use super::source::Source;
use super::{BundleError, Policy, WINDOW_LOG, hexadecimal};
use crate::manifest::{FileEntry, Manifest};
use crate::mcuboot::{PROTECTED_BYTES, TRAILER_BYTES, Trailer};
use crate::sign::{Signed, TrustedKeys};

const TRAILER: &str = "the MCUboot trailer";
/// Decompressed bytes handled at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A bundle whose signature was checked, read file by file in the order of the manifest.
///
/// A file that was read is as it was signed (SHA-256). [`Reader::finish`] checks what nothing rests on but
/// existing clients read: the MCUboot trailer, its digest, and that the file ends there.
pub struct Reader<R> {
    front: VerifiedFront,
    payload: Payload<R>,
    next: usize,
}

impl<R: Read> Reader<R> {
    /// Reads and verifies the front of a bundle.
    ///
    /// # Errors
    /// See [`Front::read`] and [`Front::verify`].
    pub fn new(reader: R, keys: &TrustedKeys, policy: &Policy) -> Result<Self, BundleError> {
        let mut source = Source::new(reader);
        let front = Front::from_source(&mut source)?.verify(keys, policy)?;
        let payload = Payload::new(source, front.blocks.clone());
        Ok(Self {
            front,
            payload,
            next: 0,
        })
    }

    /// What the signed header says.
    #[must_use]
    pub fn front(&self) -> &VerifiedFront {
        &self.front
    }

    /// The file that comes next; `None` at the end of the payload.
    #[must_use]
    pub fn next_file(&self) -> Option<&FileEntry> {
        self.front.manifest.files.get(self.next)
    }

    /// Decompresses the next file into `out` and checks its length and SHA-256; gives false at the end.
    ///
    /// What reaches `out` may be believed only after this returns.
    ///
    /// # Errors
    /// [`BundleError`]; [`BundleError::Write`] for what `out` says.
    pub fn copy_file(&mut self, out: &mut dyn Write) -> Result<bool, BundleError> {
        let Some(entry) = self.front.manifest.files.get(self.next) else {
            return Ok(false);
        };
        self.next += 1;
        self.payload.begin_file(entry.stored);
        decompress(&mut self.payload, entry, out)?;
        Ok(true)
    }

    /// Passes over the next file, checking its blocks only; gives false at the end.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn skip_file(&mut self) -> Result<bool, BundleError> {
        let Some(entry) = self.front.manifest.files.get(self.next) else {
            return Ok(false);
        };
        self.next += 1;
        self.payload.begin_file(entry.stored);
        self.payload.skip()?;
        Ok(true)
    }

    /// Passes over the remaining files and checks the trailer.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn finish(mut self) -> Result<Checked, BundleError> {
        while self.skip_file()? {}
        let mut source = self.payload.into_source();
        let mut bytes = [0; TRAILER_BYTES];
        source.fill(&mut bytes[..PROTECTED_BYTES], TRAILER)?;
        let found = source.digest();
        source.fill_unhashed(&mut bytes[PROTECTED_BYTES..], TRAILER)?;
        let trailer = Trailer::parse(&bytes)?;
        let counter = self.front.manifest.security_counter;
        if trailer.security_counter != counter {
            return Err(mismatch("security counter", trailer.security_counter, counter));
        }
        if trailer.digest != found {
            return Err(BundleError::ImageDigest {
                found: hexadecimal(&found),
                wanted: hexadecimal(&trailer.digest),
            });
        }
        source.expect_end()?;
        Ok(Checked {
            front: self.front,
            image_digest: found,
            file_bytes: source.offset(),
        })
    }
}

/// A bundle of which every byte was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What the signed header says.
    pub front: VerifiedFront,
    /// The MCUboot digest: the `hash` of SMP's image states.
    pub image_digest: [u8; 32],
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

/// A bundle in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What the bundle says about itself.
    pub manifest: Manifest,
    /// Whose signature it is.
    pub signed_by: Signed,
    /// The MCUboot digest: the `hash` of SMP's image states.
    pub image_digest: [u8; 32],
    /// The files that were asked for, by path.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Reads a whole bundle and keeps the files that `wanted` asks for.
///
/// # Errors
/// [`BundleError`]: nothing is returned of a bundle with any bit flipped, missing or added.
pub fn open<R: Read>(
    reader: R,
    keys: &TrustedKeys,
    policy: &Policy,
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<Bundle, BundleError> {
    let mut reader = Reader::new(reader, keys, policy)?;
    let mut files = BTreeMap::new();
    while let Some(entry) = reader.next_file() {
        if !wanted(entry) {
            reader.skip_file()?;
            continue;
        }
        let path = entry.path.clone();
        // The policy limits the length, and the system gives the memory only as it is written.
        let mut bytes = Vec::with_capacity(usize::try_from(entry.length).unwrap_or(0));
        reader.copy_file(&mut bytes)?;
        files.insert(path, bytes);
    }
    let checked = reader.finish()?;
    Ok(Bundle {
        manifest: checked.front.manifest,
        signed_by: checked.front.signed_by,
        image_digest: checked.image_digest,
        files,
    })
}

/// Checks every byte of a bundle, decompressing each file in turn and keeping none.
///
/// # Errors
/// [`BundleError`].
pub fn verify<R: Read>(reader: R, keys: &TrustedKeys, policy: &Policy) -> Result<Checked, BundleError> {
    let mut reader = Reader::new(reader, keys, policy)?;
    while reader.copy_file(&mut io::sink())? {}
    reader.finish()
}

fn decompress<R: Read>(payload: &mut Payload<R>, entry: &FileEntry, out: &mut dyn Write) -> Result<(), BundleError> {
    let result = copy_frame(&mut *payload, entry, out);
    // A damaged block explains zstd's complaint, not the other way round.
    if let Some(failure) = payload.take_failure() {
        return Err(failure);
    }
    let found = result?;
    if payload.left() > 0 {
        let reason = format!("{} bytes follow its zstd frame", payload.left());
        return Err(decompress_error(entry, &reason));
    }
    if found != entry.sha256 {
        return Err(BundleError::FileDigest {
            path: entry.path.clone(),
            found,
            wanted: entry.sha256.clone(),
        });
    }
    Ok(())
}

/// Copies exactly one frame of exactly the entry's length and gives the SHA-256 of what it holds.
fn copy_frame<R: Read>(
    payload: &mut Payload<R>,
    entry: &FileEntry,
    out: &mut dyn Write,
) -> Result<String, BundleError> {
    let zstd_error = |e: io::Error| decompress_error(entry, &e);
    let mut decoder = Decoder::with_buffer(payload).map_err(zstd_error)?.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(zstd_error)?;
    let wrong_length = || BundleError::FileLength {
        path: entry.path.clone(),
        wanted: entry.length,
    };
    let mut digest = Sha256::new();
    let mut left = entry.length;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = decoder.read(&mut chunk).map_err(zstd_error)?;
        if n == 0 {
            break;
        }
        left = left.checked_sub(n as u64).ok_or_else(wrong_length)?;
        digest.update(&chunk[..n]);
        out.write_all(&chunk[..n]).map_err(BundleError::Write)?;
    }
    if left > 0 {
        return Err(wrong_length());
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn decompress_error(entry: &FileEntry, reason: &impl ToString) -> BundleError {
    BundleError::Decompress {
        path: entry.path.clone(),
        reason: reason.to_string(),
    }
}

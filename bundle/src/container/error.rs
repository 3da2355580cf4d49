//! Why a bundle was refused, each reason with its own message.

use std::io;

use super::FORMAT_VERSION;
use crate::blocks::BlockError;
use crate::manifest::ManifestError;
use crate::mcuboot::ImageError;
use crate::sign::SignError;

/// Why a bundle was refused, or could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The system could not read.
    #[error("cannot read at offset {offset}: {source}")]
    Read {
        /// Offset in the file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The system could not write.
    #[error("cannot write: {0}")]
    Write(io::Error),
    /// The file ends early.
    #[error("truncated: the file ends at offset {offset}, within {part}; copy it again")]
    Truncated {
        /// What was being read.
        part: &'static str,
        /// Where the file ends.
        offset: u64,
    },
    /// Bytes follow the end of the bundle.
    #[error("bytes follow the end of the bundle at offset {offset}; it was appended to or joined with another file")]
    TrailingBytes {
        /// Where the bundle ends.
        offset: u64,
    },
    /// The MCUboot header or trailer is not a bundle's.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The stream does not begin with the magic.
    #[error("not a Scanside bundle: the stream begins with {found:02x?}")]
    Magic {
        /// What stands there.
        found: [u8; 8],
    },
    /// A format version that this program does not know.
    #[error("format version {found} is unknown; this program reads version {FORMAT_VERSION}, a newer one may read it")]
    FormatVersion {
        /// What the file says.
        found: u16,
    },
    /// A reserved field is not 0.
    #[error("the reserved field at offset 42 is {found:#06x} instead of 0; the file was changed after packing")]
    Reserved {
        /// What stands there.
        found: u16,
    },
    /// An absurd header length.
    #[error("a header of {found} bytes; it has at least 20 and at most 65536")]
    HeaderLength {
        /// What the file says.
        found: u32,
    },
    /// The signature is missing.
    #[error("the bundle is not signed")]
    Unsigned,
    /// An absurd signature length.
    #[error("a signature of {found} bytes; it has at most {}", crate::sign::MAX_SIGNATURE_BYTES)]
    SignatureLength {
        /// What the file says.
        found: u32,
    },
    /// The signature was refused.
    #[error(transparent)]
    Signature(#[from] SignError),
    /// The signed header does not hold what its lengths say.
    #[error("the header's manifest length {found} does not fit a header of {header} bytes")]
    ManifestLength {
        /// What the header says.
        found: u32,
        /// Length of the header.
        header: usize,
    },
    /// The manifest and block table do not fit into a header.
    #[error(
        "a manifest of {found} bytes leaves no room for a block table in a header of at most 65536 bytes; shorten its texts or move tables into payload files"
    )]
    ManifestTooLong {
        /// Length of the manifest.
        found: usize,
    },
    /// The manifest was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The block table or a block was refused.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The unsigned MCUboot face contradicts the signed manifest.
    #[error("the MCUboot {field} is {image} but the signed header says {signed}; the file was changed after packing")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// What the MCUboot face says.
        image: String,
        /// What the signed header says.
        signed: String,
    },
    /// An older bundle than the appliance accepts.
    #[error("the security counter {found} is lower than {lowest}: a bundle as old as this is not accepted any more")]
    SecurityCounter {
        /// The bundle's counter.
        found: u32,
        /// The lowest accepted.
        lowest: u32,
    },
    /// A file or the payload is longer than the policy allows, or than a bundle can hold.
    #[error("{what} has {found} bytes; at most {limit} are accepted")]
    TooLarge {
        /// The file's path, or "the payload".
        what: String,
        /// Its length.
        found: u64,
        /// The longest accepted.
        limit: u64,
    },
    /// The lengths of the files do not add up to the payload.
    #[error("the files' frames have {found} bytes but the payload has {payload}")]
    PayloadLength {
        /// Sum over the files.
        found: u64,
        /// What the block table says.
        payload: u64,
    },
    /// A file does not decompress.
    #[error("{path} does not decompress: {reason}")]
    Decompress {
        /// Path in the payload.
        path: String,
        /// What zstd said.
        reason: String,
    },
    /// A file decompresses to another length than the manifest says.
    #[error("{path} does not have the {wanted} bytes that the manifest says")]
    FileLength {
        /// Path in the payload.
        path: String,
        /// What the manifest says.
        wanted: u64,
    },
    /// A file's content is not what was signed.
    #[error("{path} has the SHA-256 {found} instead of {wanted}")]
    FileDigest {
        /// Path in the payload.
        path: String,
        /// Of the content.
        found: String,
        /// In the manifest.
        wanted: String,
    },
    /// The MCUboot digest does not fit the file.
    #[error("the MCUboot digest is {wanted} but the file has {found}; the file was changed after packing")]
    ImageDigest {
        /// Of the file.
        found: String,
        /// In the trailer.
        wanted: String,
    },
}

impl BundleError {
    /// Whether the system failed, not the bundle.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Write(_))
    }
}

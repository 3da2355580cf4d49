//! The difference between two bundles: what a slow line carries in place of a whole one.
//!
//! ```text
//!  0  magic, 8 bytes
//!  8  format version, u16; reserved, u16
//! 12  MCUboot digest of the base, 32 bytes
//! 44  length of the target, u64
//! 52  SHA-256 of the target, 32 bytes
//! 84  steps, each a byte and what follows; their outputs one after the other are the target
//! ```
//! | step | what follows | output |
//! |---|---|---|
//! | 1 copy | offset u64, length u64 | that range of the base |
//! | 2 plain | length u32, bytes | the bytes |
//! | 3 packed | length u32, a zstd frame of that length | what the frame holds |
//! | 4 difference | offset u64 and length u64 of a frame of the base, number u32 of parts, the parts, length u32, a zstd frame of that length | what the parts take of the base's content and what the second frame holds, added byte by byte (mod 256), compressed as a packer does |
//! | 0 end | nothing | nothing |
//!
//! A part is three u64: bytes of the base's content to pass over, bytes to take, and bytes behind those that are taken to be
//! 0. Two equally long files have one part. Where a network got one label more, all behind it is moved, and the parts say so.
//!
//! The last step is a plain one that ends with the target's MCUboot trailer, so that what a delta leads to can be read
//! without following it.
//!
//! All numbers are little endian. A fine-tuned network differs from its base in most weights by little: the differences
//! of equally long files compress well. The target is rebuilt bit by bit, so its signature and its block table hold; what
//! a packer of another version compressed differently is sent plain. Rebuilding needs no seeking in the delta and bounded
//! memory: two zstd windows of 2 MiB, the compressor's tables and the parts.

mod align;
mod make;
mod outline;
mod rebuild;

use std::io;

use crate::BundleError;

pub use make::make;
pub use outline::Outline;
pub use rebuild::{Prologue, rebuild};

/// The first bytes of a delta.
pub const MAGIC: [u8; 8] = *b"\x89SCND\r\n\x1a";
/// The only format version that this reader knows.
pub const FORMAT_VERSION: u16 = 1;
/// Length of what stands before the steps.
pub const PROLOGUE_BYTES: usize = 84;

const END: u8 = 0;
const COPY: u8 = 1;
const PLAIN: u8 = 2;
const PACKED: u8 = 3;
const DIFFERENCE: u8 = 4;
/// The most parts that a file may have.
const MAX_PARTS: u32 = 1024;

/// Why a delta cannot be made or followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A bundle is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The file does not begin as a delta does.
    #[error("not a delta between bundles; send the whole bundle")]
    Magic,
    /// A format version that this program does not know.
    #[error(
        "delta format version {found} is unknown; this program reads version {FORMAT_VERSION}; send the whole bundle"
    )]
    FormatVersion {
        /// What the file says.
        found: u16,
    },
    /// A step that does not exist, or one with impossible numbers.
    #[error("the delta is damaged at offset {offset}: {what}; send it again, or the whole bundle")]
    Damaged {
        /// Offset in the delta.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The steps give something else than the target.
    #[error("what the delta gives is not the bundle that it was made for; send the whole bundle")]
    Target,
    /// The delta or the base cannot be read.
    #[error("cannot read {what}: {source}")]
    Read {
        /// Which of them.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The target cannot be written.
    #[error("cannot write the rebuilt bundle: {0}")]
    Write(io::Error),
}

#[cfg(test)]
mod tests;

//! The file: MCUboot header, stream (magic, signed header, signature, payload), MCUboot trailer.
//!
//! ```text
//! file    0  MCUboot image header, 32 bytes
//! stream  0  magic, 8 bytes                      ┐
//!         8  format version, u16; reserved, u16  │ what the signature covers
//!        12  header length H, u32                │
//!        16  header, H bytes                     ┘
//!    16 + H  signature length S, u32
//!    20 + H  signature, S bytes: the text of a .minisig file
//!  20+H+S    payload: one zstd frame a file, in the order of the manifest
//!       end  MCUboot TLVs, 52 bytes
//! ```
//! The header is the manifest's length (u32), the manifest and the [block table](crate::blocks).
//! All numbers are little endian. Reading needs no seeking and memory for the header, one block, the zstd window
//! (at most 2 MiB) and the files that are asked for.

mod error;
mod front;
mod payload;
mod read;
mod source;
mod write;

pub use error::BundleError;
pub use front::{Front, VerifiedFront};
pub use read::{Bundle, Checked, Reader, open, verify};
pub use write::{Packed, PayloadFile, write};
pub(crate) use write::{compress_frame, frame_encoder};

/// The first bytes of the stream; as in PNG they show a transfer that changed line ends or lost the eighth bit.
pub const MAGIC: [u8; 8] = *b"\x89SCNS\r\n\x1a";
/// The only format version that this reader knows.
pub const FORMAT_VERSION: u16 = 1;
/// The longest header: manifest and block table.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Magic, format version, reserved, header length.
pub const PROLOGUE_BYTES: usize = 16;
/// zstd window of every frame: what a reader needs to decompress, 2 MiB.
pub const WINDOW_LOG: u32 = 21;

/// What a reader accepts beyond a valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Bundles with a lower security counter are refused.
    pub lowest_security_counter: u32,
    /// The longest single file, in bytes.
    pub max_file_bytes: u64,
    /// The longest payload after decompression, in bytes.
    pub max_total_bytes: u64,
}

impl Default for Policy {
    /// Any security counter, files up to 512 MiB, a payload up to 1 GiB.
    fn default() -> Self {
        Self {
            lowest_security_counter: 0,
            max_file_bytes: 512 << 20,
            max_total_bytes: 1 << 30,
        }
    }
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

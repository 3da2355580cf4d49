//! What a slot operation may be refused with.

use std::io;

use super::record::Side;
use super::record::hex;

/// Why a slot operation failed. After any of these the slots are as before, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// A role's name cannot be part of a file name.
    #[error(
        "the role {role:?} is not made of 1 to 48 lower-case letters, digits, hyphens and underscores, or stands twice"
    )]
    Role {
        /// The role.
        role: String,
    },
    /// There is no role with this number.
    #[error("there is no image {image}: this device has {images}, counted from 0")]
    NoSuchImage {
        /// What was asked for.
        image: u32,
        /// Number of roles.
        images: usize,
    },
    /// No slot holds an image with this hash.
    #[error("no slot holds an image with the hash {}; `image state` lists those that are here", hex(.hash))]
    NoSuchHash {
        /// What was asked for.
        hash: Vec<u8>,
    },
    /// The slot may not be written to or erased now.
    #[error("image {image}, slot {side}: {why}")]
    InUse {
        /// The role.
        image: u32,
        /// The slot.
        side: Side,
        /// What it is used for, and what to do.
        why: &'static str,
    },
    /// What was asked needs another state.
    #[error("image {image}: {why}")]
    WrongState {
        /// The role.
        image: u32,
        /// What is missing, and what to do.
        why: &'static str,
    },
    /// The image is older than one that was confirmed here.
    #[error("the security counter {found} is below {lowest}, the highest that was confirmed on this device")]
    Rollback {
        /// Counter of the image.
        found: u32,
        /// Lowest counter that is accepted.
        lowest: u32,
    },
    /// The image does not fit.
    #[error("{needed} bytes are needed and {free} are free; erase the slot's old image or remove files")]
    NoSpace {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The gatekeeper does not accept the image.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// An upload's chunk makes no sense.
    #[error("upload: {why}")]
    Chunk {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A block arrives wrong again and again.
    #[error("block {block} (offset {offset}) did not match its checksum {times} times: {why}")]
    BlockDamaged {
        /// Number of the block, from 0.
        block: usize,
        /// Its offset in the file.
        offset: u64,
        /// How often in a row.
        times: u32,
        /// The likely reason.
        why: &'static str,
    },
    /// The storage failed.
    #[error("cannot {doing} {name}: {source}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The file.
        name: String,
        /// What the storage says.
        source: io::Error,
    },
    /// The security counter could not be read or advanced.
    #[error("the security counter of {role} cannot be {doing}: {source}")]
    Counter {
        /// The role.
        role: String,
        /// `read` or `advanced`.
        doing: &'static str,
        /// What the counter says.
        source: io::Error,
    },
}

/// Why an image is not acceptable, in classes that a protocol can give codes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// Not a file of the kind, or one of an unknown version.
    Format,
    /// Not signed, or not by a trusted key, or changed after signing.
    Signature,
    /// For another role.
    Role,
    /// The security counter is below the lowest accepted one.
    SecurityCounter,
    /// Only an upgrade was wanted, and this is none.
    NotNewer,
    /// The device lacks memory, architecture or provider.
    Hardware,
    /// A length is over its limit.
    TooLarge,
    /// The content is not what was signed.
    Digest,
    /// The device itself failed.
    Device,
}

/// Why an image is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The class.
    pub code: RefusalCode,
    /// For people: what was found, what was wanted, what to try.
    pub message: String,
}

impl Refusal {
    /// A refusal of a class with its message.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

pub(super) fn storage<'a>(doing: &'static str, name: &'a str) -> impl Fn(io::Error) -> SlotError + use<'a> {
    move |source| SlotError::Storage {
        doing,
        name: name.to_owned(),
        source,
    }
}

//! Deltas: received into a file of their own, then rebuilt into the slot as an upload would be.

mod digesting;
mod file;
mod follow;
mod inbox;
#[cfg(test)]
mod tests;

use hardware::slots::UploadMark;

use super::board::Progress;

use file::DeltaFile;
pub use follow::rebuild;
pub use inbox::Inbox;

/// A delta whose every byte arrived.
#[derive(Debug, Clone)]
pub struct Received {
    file: DeltaFile,
    image: u32,
    base: [u8; 32],
    target: [u8; 32],
    target_bytes: u64,
    /// What was being uploaded when it was whole; anything else is an upload that came since.
    mark: Option<UploadMark>,
}

impl Received {
    /// The image that it is for.
    #[must_use]
    pub fn image(&self) -> u32 {
        self.image
    }

    /// How far following it is, with so many bytes written.
    #[must_use]
    pub fn progress(&self, done: u64) -> Progress {
        let total = self.target_bytes;
        Progress { done, total }
    }
}

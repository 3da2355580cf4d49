//! An image that arrived whole, and who takes it in.
//!
//! An intake (DICOM port, watched folder, medium) writes each object into a file in [`Acceptor::spool`] and hands it to
//! [`Acceptor::accept`]. Only after that returned may a sender hear of success: then the image is safe.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};

/// Ending of files in the spool that are still being written. A start of the service empties the spool: nobody heard of
/// success for what lies there.
pub const UNFINISHED: &str = "part";

/// An image that arrived whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// A whole file in [`Acceptor::spool`]: the acceptor moves it to its place and syncs it there.
    pub path: PathBuf,
    /// When its last byte was there.
    pub received: Received,
    /// Where it came from.
    pub origin: Origin,
    /// What the intake knows about it; what it does not know is read from the file.
    pub known: Known,
}

/// When the last byte of an image was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// On the steady clock: latencies are measured from here.
    pub at: Instant,
    /// On the appliance's clock ([`hardware::clock::Clock`]), which people set.
    pub time: DateTime<Utc>,
}

/// Where an image came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The DICOM port.
    Dicom {
        /// The sender's AE title.
        calling_ae: String,
        /// The sender's address.
        peer: String,
    },
    /// The watched folder.
    Folder {
        /// Name of the file. It may hold a patient's name: it goes where the privacy level lets it, and into no log.
        name: String,
    },
    /// A removable medium.
    Media {
        /// Name of the file, as in `Folder`.
        name: String,
    },
}

/// What an intake knows about an object without opening its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// DICOM SOP Instance UID.
    pub sop_instance_uid: Option<String>,
    /// DICOM SOP Class UID.
    pub sop_class_uid: Option<String>,
    /// The transfer syntax that the data set is encoded in.
    pub transfer_syntax_uid: Option<String>,
    /// Length of the file in bytes.
    pub bytes: Option<u64>,
    /// SHA-256 of the data set as it lies behind the file meta information, if it was computed on the way.
    pub dataset_digest: Option<[u8; 32]>,
}

/// Whether another object may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Free,
    /// As many images wait as may wait. An intake leaves the next object with its sender until there is room.
    QueueFull,
    /// Less than the reserve is free on the disk, and nothing there may be deleted.
    DiskFull,
}

/// What became of an image that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the queue.
    New,
    /// It was there already: nothing is done twice.
    Known,
}

/// Why an image was not accepted. If its file is still in the spool it is the intake's, to be removed or tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// No room on the disk (DICOM status A700).
    #[error("the disk is full: {0}; delete or send old cases, or lower the retention limits")]
    DiskFull(String),
    /// As many images wait as may wait (DICOM status A700): the sender tries again.
    #[error("the queue is full: {waiting} images wait")]
    Busy {
        /// Images that wait.
        waiting: u64,
    },
    /// The object is not what it says, or says nothing (DICOM status C000): another try will not help.
    #[error("the object is broken: {0}")]
    Broken(String),
    /// The store failed (DICOM status 0110).
    #[error("the image cannot be stored: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// Takes images in; what it accepted survives every crash and power cut.
pub trait Acceptor: Send + Sync {
    /// The folder that intakes write into; names of their own choosing, with [`UNFINISHED`] until a file is whole.
    fn spool(&self) -> &Path;

    /// Whether another object may come. Cheap: it may be asked before each one.
    fn room(&self) -> Room;

    /// Takes an image in. Returns when it is safe; from then on the file belongs to the store. Several threads may
    /// call at the same time.
    ///
    /// # Errors
    /// [`AcceptError`]; the file, if it is still there, is the caller's.
    fn accept(&self, arrival: Arrival) -> Result<Accepted, AcceptError>;
}

impl fmt::Display for Origin {
    /// Without names of files and media: they may hold patient data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dicom { calling_ae, peer } => write!(f, "dicom {calling_ae} {peer}"),
            Self::Folder { .. } => f.write_str("folder"),
            Self::Media { .. } => f.write_str("media"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_image_came_from_is_told_without_its_name() {
        let name = || "MUELLER_HANS.dcm".to_owned();
        let told = [Origin::Folder { name: name() }, Origin::Media { name: name() }].map(|origin| origin.to_string());
        assert_eq!(told, ["folder", "media"]);
    }
}

//! What waits to leave the appliance, behind a trait: the store keeps it through crashes and power cuts.

use std::time::Duration;

use super::Kind;

/// Why a queue cannot be read or written.
pub type QueueError = Box<dyn std::error::Error + Send + Sync>;

/// Where an object goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The archive, by C-STORE.
    Archive,
    /// The folder of JSON files.
    Folder,
}

impl Kind {
    /// Where objects of this kind go.
    #[must_use]
    pub const fn destination(self) -> Destination {
        match self {
            Self::SecondaryCapture | Self::StructuredReport => Destination::Archive,
            Self::Json => Destination::Folder,
        }
    }
}

/// An object that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// [`super::OutgoingObject::id`].
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// An attempt that failed for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    /// When, on the appliance's clock, since 1970-01-01T00:00:00 UTC.
    pub at: Duration,
    /// When it is tried again.
    pub due: Duration,
    /// Why; without patient data.
    pub reason: &'a str,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Waiting {
        /// Until when.
        due: Duration,
    },
    /// It is where it should be.
    Sent {
        /// Since when.
        at: Duration,
    },
    /// It was refused for good, and waits for a person.
    Parked {
        /// Since when.
        at: Duration,
    },
}

/// An object with its story, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// [`super::OutgoingObject::id`].
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// Number of the case.
    pub case_id: String,
    /// What became of it.
    pub state: State,
    /// How often it was tried in vain since it was queued.
    pub attempts: u32,
    /// Why it waits or was parked, or what the archive remarked.
    pub reason: Option<String>,
}

/// The queue. Every change is safe when its function returns; times are those of the appliance's clock, since
/// 1970-01-01T00:00:00 UTC.
///
/// Whoever stores a case adds its objects in the same transaction, due at once; an `id` that is there already stays as
/// it is. Objects that were not sent are never deleted, whatever the space.
pub trait Outbox: Send + Sync {
    /// At most `most` objects for a destination that are due by [`super::schedule::is_due`]: the longest due first, then
    /// in the order in which they were added.
    ///
    /// # Errors
    /// [`QueueError`].
    fn next_due(&self, destination: Destination, now: Duration, most: usize) -> Result<Vec<Waiting>, QueueError>;

    /// A number that changes whenever a person asks for another try at once: then no destination is left alone any longer.
    ///
    /// # Errors
    /// [`QueueError`].
    fn retries(&self) -> Result<u64, QueueError>;

    /// The bytes of a waiting object.
    ///
    /// # Errors
    /// [`QueueError`]; then the object stays, and the next one is tried.
    fn bytes(&self, id: &str) -> Result<Vec<u8>, QueueError>;

    /// It is where it should be; `remark` is what the archive said nevertheless.
    ///
    /// # Errors
    /// [`QueueError`]; then it will be sent once more, and is the same object there.
    fn sent(&self, id: &str, at: Duration, remark: Option<&str>) -> Result<(), QueueError>;

    /// It will be tried again. Adds one to its attempts.
    ///
    /// # Errors
    /// [`QueueError`].
    fn failed(&self, id: &str, failure: Failure<'_>) -> Result<(), QueueError>;

    /// It was refused for good.
    ///
    /// # Errors
    /// [`QueueError`].
    fn parked(&self, id: &str, at: Duration, reason: &str) -> Result<(), QueueError>;
}

//! What the edges of every screen tell of the appliance: queue, outbox, heat, what nobody has seen. Read once a second,
//! so that a screen is not drawn anew for each image that comes or goes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hardware::thermal;

use super::archive::Archive;
use super::heat::Heat;
use crate::daemon::board::Part;
use crate::daemon::shared::Shared;
use crate::screens::OutboxMark;
use crate::store::Store;
use crate::store::browse::{Queue, Unseen};

const EVERY: Duration = Duration::from_secs(1);
const HEAT_EVERY: Duration = Duration::from_secs(5);

/// What was read last.
pub struct Gauges {
    thermal: PathBuf,
    sends: bool,
    read: Option<(Instant, i64)>,
    heated: Option<Instant>,
    /// What waits for a model.
    pub queue: Queue,
    /// Whether an image is examined.
    pub at_work: bool,
    /// What nobody has acknowledged.
    pub unseen: Unseen,
    /// How the sending of results stands, if any are sent.
    pub outbox: Option<OutboxMark>,
    /// How warm it is.
    pub heat: Heat,
}

impl Gauges {
    /// Of nothing yet; `thermal` is where the kernel shows temperatures, `sends` whether results leave the appliance.
    #[must_use]
    pub fn new(thermal: PathBuf, sends: bool) -> Self {
        Self {
            thermal,
            sends,
            read: None,
            heated: None,
            queue: Queue::default(),
            at_work: false,
            unseen: Unseen::default(),
            outbox: None,
            heat: Heat::default(),
        }
    }

    /// Whether results leave the appliance.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.sends
    }

    /// Reads what is due.
    pub fn refresh(&mut self, archive: &Archive, version: i64, shared: &Shared) {
        if self.read.is_none_or(|(at, _)| at.elapsed() >= EVERY) {
            self.at_work = shared.work().is_some();
            if self.read.is_none_or(|(_, known)| known != version) {
                self.read_store(archive);
            }
            self.read = Some((Instant::now(), version));
        }
        if self.heated.is_none_or(|at| at.elapsed() >= HEAT_EVERY) {
            self.heated = Some(Instant::now());
            self.heat.read(thermal::read(&self.thermal));
            let mut board = shared.board();
            match self.heat.fault() {
                Some(problem) => board.set_fault(Part::Heat, problem),
                None => board.clear_fault(Part::Heat),
            }
        }
    }

    fn read_store(&mut self, archive: &Archive) {
        let read = |store: &Store| Ok((store.queue()?, store.unseen()?));
        if let Some((queue, unseen)) = archive.read(read) {
            (self.queue, self.unseen) = (queue, unseen);
        }
        if !self.sends {
            return;
        }
        let Some(counts) = archive.read(Store::outbox_counts) else {
            return;
        };
        self.outbox = Some(match (counts.failing + counts.parked, counts.owed + counts.waiting) {
            (0, 0) => OutboxMark::Sent,
            (0, _) => OutboxMark::Waiting,
            (unsent, _) => OutboxMark::Unsent(usize::try_from(unsent).unwrap_or(usize::MAX)),
        });
    }
}

//! One role with its pair of slots: the record, how it is written, and the upload in progress.

use std::sync::Arc;

use super::counter::SecurityCounter;
use super::error::{SlotError, storage as storage_error};
use super::gate::{Context, Gatekeeper};
use super::kept::Kept;
use super::pair::Load;
use super::record::{Image, ImageFacts, Record, Side, Slot};
use super::storage::Storage;
use super::upload::Upload;

/// What a start is to load for a role.
#[derive(Debug)]
pub struct Start {
    /// Number of the role.
    pub image: u32,
    /// What to load.
    pub load: Load,
    /// What could not be written down. The choice is safe all the same: no trial begins unrecorded.
    pub problem: Option<SlotError>,
}

/// What every role works with.
#[derive(Clone)]
pub(super) struct Means {
    pub storage: Arc<dyn Storage>,
    pub gatekeeper: Arc<dyn Gatekeeper>,
    pub counter: Arc<dyn SecurityCounter>,
}

pub(super) struct Role {
    /// Its number.
    pub image: u32,
    pub name: String,
    pub kept: Kept,
    /// What is true now. It is what is on the medium, but for an upload that was just completed.
    pub record: Record,
    /// The medium holds something else.
    pub unwritten: bool,
    /// What failed without keeping anybody from going on, for the log.
    pub problem: Option<SlotError>,
    /// Counts the changes of what lies in the slots: a verification of something older is void.
    pub generation: u64,
    pub upload: Upload,
}

impl Role {
    /// The file of a place.
    pub fn file(&self, side: Side) -> String {
        file_name(&self.name, side)
    }

    /// Writes a new state down, and only then makes it true.
    pub fn commit(&mut self, new: Record) -> Result<(), SlotError> {
        if new == self.record && !self.unwritten && self.kept.copies_agree() {
            return Ok(());
        }
        let failed = storage_error("write the record", &self.name);
        new.to_bytes()
            .and_then(|bytes| self.kept.write(&bytes))
            .map_err(failed)?;
        self.record = new;
        self.unwritten = false;
        Ok(())
    }

    /// Makes a new state true even if it cannot be written down: only for one that a start would come to by itself from
    /// what is on the medium.
    pub fn commit_or_hold(&mut self, new: Record) {
        if let Err(error) = self.commit(new.clone()) {
            self.problem = Some(error);
            (self.record, self.unwritten) = (new, true);
        }
    }

    /// The lowest security counter that is acceptable.
    pub fn lowest(&self, means: &Means) -> Result<u32, SlotError> {
        let counter = means.counter.read(&self.name).map_err(|source| SlotError::Counter {
            role: self.name.clone(),
            doing: "read",
            source,
        })?;
        Ok(counter.max(self.record.highest_counter))
    }

    /// As [`lowest`](Self::lowest), with what the record says if the counter cannot be read: what is here must go on
    /// serving without it.
    pub fn lowest_known(&self, means: &Means) -> u32 {
        self.lowest(means).unwrap_or(self.record.highest_counter)
    }

    /// Lets the counter follow what is confirmed. It is behind after a power cut between the two, or after damage; if it
    /// cannot follow now, the record still holds the value, and the next start tries again.
    pub fn advance_counter(&mut self, means: &Means) {
        let to = self.record.highest_counter;
        if to == 0 {
            return;
        }
        if let Err(source) = means.counter.advance(&self.name, to) {
            self.problem = Some(SlotError::Counter {
                role: self.name.clone(),
                doing: "advanced",
                source,
            });
        }
    }

    /// A new start of the service.
    pub fn begin_start(&mut self, means: &Means) -> Start {
        let lowest = self.lowest_known(means);
        let load = self.begin(self.record.clone(), lowest);
        let (image, problem) = (self.image, self.problem.take());
        Start { image, load, problem }
    }

    /// Begins with a record in which no trial serves, or one that the service did not end.
    pub fn begin(&mut self, before: Record, lowest: u32) -> Load {
        let mut new = before.clone();
        let load = new.begin_start(lowest);
        let Load::Trial(_) = load else {
            self.commit_or_hold(new);
            return load;
        };
        match self.commit(new) {
            Ok(()) => load,
            // What is not written down as begun is not begun.
            Err(error) => {
                self.commit_or_hold(before.without_trials());
                self.problem = Some(error);
                self.record.confirmed.map_or(Load::Nothing, Load::Confirmed)
            }
        }
    }

    pub fn context(&self, total: u64, upgrade: bool, lowest_counter: u32) -> Context<'_> {
        Context {
            image: self.image,
            role: &self.name,
            total,
            lowest_counter,
            upgrade,
            active: self.active_facts(),
        }
    }

    fn active_facts(&self) -> Option<&ImageFacts> {
        self.record
            .slot(self.record.active()?)
            .image()
            .map(|image| &image.facts)
    }

    /// A whole image for which `is` holds. One that did not load does not count: a new upload of it is welcome.
    pub fn complete(&self, is: impl Fn(&Image) -> bool) -> Option<&Image> {
        let whole = |slot| match slot {
            &Slot::Valid { damaged: true, .. } => None,
            slot => Slot::image(slot),
        };
        self.record.slots.iter().filter_map(whole).find(|image| is(image))
    }

    pub fn in_use(&self, side: Side, why: &'static str) -> SlotError {
        SlotError::InUse {
            image: self.image,
            side,
            why,
        }
    }

    pub fn wrong_state(&self, why: &'static str) -> SlotError {
        SlotError::WrongState { image: self.image, why }
    }
}

pub(super) fn file_name(role: &str, side: Side) -> String {
    format!("{role}.{side}")
}

/// Whether a role's name can be part of file names: 1 to 48 of `a` to `z`, digits, `-` and `_`.
#[must_use]
pub fn is_role_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=48).contains(&name.len()) && name.bytes().all(plain)
}

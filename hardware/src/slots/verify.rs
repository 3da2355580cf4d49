//! Reading a received file back from the medium, apart from the slots themselves: it takes seconds, and requests are
//! answered meanwhile.

use std::sync::Arc;

use super::error::{Refusal, RefusalCode, SlotError};
use super::reader::StorageReader;
use super::record::{Cause, Digest, Setback, Side, Slot};
use super::role::{Means, Role};
use super::storage::Storage;

/// A received file that waits to be read back. [`run`](Self::run) needs no lock on the slots.
pub struct Verification {
    image: u32,
    side: Side,
    generation: u64,
    storage: Arc<dyn Storage>,
    name: String,
    length: u64,
}

/// What reading back showed, for [`Slots::finish_verification`](super::Slots::finish_verification).
#[derive(Debug)]
#[must_use]
pub struct Verified {
    pub(super) image: u32,
    side: Side,
    generation: u64,
    found: Result<Digest, Refusal>,
}

/// What became of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image is bootable from now on; `pending` says whether it was asked for already, so that a restart would
    /// begin its trial.
    Bootable {
        /// It was asked for.
        pending: bool,
    },
    /// The file is not what was signed; the slot is empty.
    Refused(Refusal),
    /// The slot holds something else by now.
    Stale,
}

impl Verification {
    /// Number of the role.
    #[must_use]
    pub fn image(&self) -> u32 {
        self.image
    }

    /// Makes the file durable, then reads it back: `check` checks all of it and gives the image's hash.
    pub fn run(self, check: impl FnOnce(StorageReader) -> Result<Digest, Refusal>) -> Verified {
        let found = self.make_durable().and_then(|()| {
            self.storage.drop_cache(&self.name);
            check(StorageReader::new(self.storage.clone(), self.name.clone(), self.length))
        });
        Verified {
            image: self.image,
            side: self.side,
            generation: self.generation,
            found,
        }
    }

    fn make_durable(&self) -> Result<(), Refusal> {
        let synced = self.storage.sync(&self.name).and_then(|()| self.storage.sync_folder());
        synced.map_err(|e| {
            Refusal::new(
                RefusalCode::Device,
                format!("cannot write {} to the medium: {e}", self.name),
            )
        })
    }
}

impl Role {
    /// Received files that were not read back yet.
    pub fn verifications(&self, means: &Means) -> Vec<Verification> {
        let received = |&side: &Side| match self.record.slot(side) {
            Slot::Received { image, .. } => Some(Verification {
                image: self.image,
                side,
                generation: self.generation,
                storage: means.storage.clone(),
                name: self.file(side),
                length: image.total,
            }),
            _ => None,
        };
        Side::BOTH.iter().filter_map(received).collect()
    }

    pub fn finish_verification(&mut self, means: &Means, verified: Verified) -> Result<Outcome, SlotError> {
        let side = verified.side;
        let Slot::Received { image, .. } = self.record.slot(side) else {
            return Ok(Outcome::Stale);
        };
        if verified.generation != self.generation {
            return Ok(Outcome::Stale);
        }
        let found = verified.found.and_then(|found| {
            let refusal = || {
                Refusal::new(
                    RefusalCode::Digest,
                    "the file changed between receiving and reading back",
                )
            };
            (found == image.hash).then_some(image.clone()).ok_or_else(refusal)
        });
        match found {
            Ok(image) => {
                let mut new = self.record.clone();
                *new.slot_mut(side) = Slot::Valid {
                    image,
                    damaged: false,
                    rejected: false,
                };
                self.commit(new)?;
                let pending = self.record.request.is_some_and(|request| request.side == side);
                Ok(Outcome::Bootable { pending })
            }
            Err(refusal) => {
                self.discard(means, side, &refusal.message)?;
                Ok(Outcome::Refused(refusal))
            }
        }
    }

    /// Empties a slot whose file is no good.
    fn discard(&mut self, means: &Means, side: Side, message: &str) -> Result<(), SlotError> {
        let mut new = self.record.clone();
        let version = new
            .slot(side)
            .image()
            .map_or("", |image| &image.facts.version)
            .to_owned();
        new.setback = Some(Setback::new(Cause::Verification, &version, message));
        self.empty(means, side, new)
    }

    /// Records a slot as empty, then removes its file.
    pub fn empty(&mut self, means: &Means, side: Side, mut new: super::record::Record) -> Result<(), SlotError> {
        *new.slot_mut(side) = Slot::Empty;
        new.request = new.request.filter(|request| request.side != side);
        self.commit(new)?;
        self.upload.forget();
        self.generation += 1;
        // What the record calls empty is empty; that the file goes too only gives its space back.
        let _ = means.storage.remove(&self.file(side));
        Ok(())
    }
}

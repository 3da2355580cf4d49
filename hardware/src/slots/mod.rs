//! Two places for each role's model, so that a new one can arrive, be tried and be taken back while the old one serves.
//!
//! A place holds an opaque file. What it is and whether it is acceptable is for a [`Gatekeeper`]; what is here is where
//! it goes, whether it arrived, and which of two is served, whatever happens to the power meanwhile.
//!
//! The order of a start:
//! 1. [`Slots::open`], which takes up what a power cut left behind.
//! 2. Each of [`Slots::verifications`] is run and handed to [`Slots::finish_verification`]. (Those whose image is not
//!    asked for may also be run later.)
//! 3. [`Slots::begin_start`] says what to load for each role. A trial is recorded as begun before it is loaded.
//! 4. [`Slots::trial_passed`] after the self-test of a trial, or [`Slots::revert`] with its reason.
//!
//! And of a stop: [`Slots::stop_in_order`], the last thing before the service ends. A trial that finds itself stopped
//! in any other way is taken for a crash and reverts.
//!
//! Operations are short and made for a lock around [`Slots`]; a verification runs outside of it.

mod body;
mod counter;
mod error;
mod gate;
pub mod kept;
mod open;
mod pair;
mod reader;
mod record;
mod role;
pub mod simulated;
pub mod storage;
#[cfg(test)]
mod tests;
mod upload;
mod verify;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use counter::{FileCounter, SecurityCounter};
pub use error::{Refusal, RefusalCode, SlotError};
pub use gate::{Context, Examined, Gatekeeper, MAX_BLOCK_BYTES, MAX_FRONT_BYTES, MAX_TAIL_BYTES, Plan};
pub use pair::{Confirmed, Load};
pub use reader::StorageReader;
pub use record::{Cause, Digest, ImageFacts, Phase, Setback, Side};
use role::{Means, Role};
pub use role::{Start, is_role_name};
pub use storage::{Folder, Storage};
pub use upload::{Chunk, Reply, UploadMark};
pub use verify::{Outcome, Verification, Verified};
pub use view::{Activity, ImageState};

use pair::Unfit;
use record::{Slot, Trial};

/// The slots of all roles.
pub struct Slots {
    means: Means,
    roles: Vec<Role>,
}

impl Slots {
    /// Opens the slots of `roles`, numbered in this order, in one folder. Unfinished uploads are looked up block by
    /// block, which takes as long as reading them.
    ///
    /// # Errors
    /// [`SlotError::Role`] only: what is lost or damaged in the folder is no error.
    pub fn open(
        storage: Arc<dyn Storage>,
        roles: &[String],
        gatekeeper: Arc<dyn Gatekeeper>,
        counter: Arc<dyn SecurityCounter>,
    ) -> Result<Self, SlotError> {
        let mut seen = BTreeSet::new();
        if let Some(role) = roles.iter().find(|role| !is_role_name(role) || !seen.insert(*role)) {
            return Err(SlotError::Role { role: role.clone() });
        }
        let means = Means {
            storage,
            gatekeeper,
            counter,
        };
        let roles = (0..)
            .zip(roles)
            .map(|(image, name)| Role::open(&means, image, name))
            .collect();
        Ok(Self { means, roles })
    }

    fn role(&self, image: u32) -> Result<&Role, SlotError> {
        let images = self.roles.len();
        self.roles
            .get(image as usize)
            .ok_or(SlotError::NoSuchImage { image, images })
    }

    fn role_mut(&mut self, image: u32) -> Result<(&mut Role, &Means), SlotError> {
        let images = self.roles.len();
        let role = self.roles.get_mut(image as usize);
        role.map(|role| (role, &self.means))
            .ok_or(SlotError::NoSuchImage { image, images })
    }

    /// The images whose hash is known, by role and slot.
    #[must_use]
    pub fn states(&self) -> Vec<ImageState> {
        let mut states: Vec<_> = self.roles.iter().flat_map(|role| role.states(&self.means)).collect();
        states.sort_by_key(|state| (state.image, state.slot));
        states
    }

    /// What goes on in a role.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn activity(&self, image: u32) -> Result<Activity, SlotError> {
        Ok(self.role(image)?.activity())
    }

    /// Where the image on trial lies; `None` if no trial runs.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn on_trial(&self, image: u32) -> Result<Option<Side>, SlotError> {
        Ok(self.role(image)?.record.trial.map(|trial| trial.side))
    }

    /// Why the last image that was asked for, or uploaded, is not in use.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn setback(&self, image: u32) -> Result<Option<&Setback>, SlotError> {
        Ok(self.role(image)?.record.setback.as_ref())
    }

    /// The lowest security counter that an upload must have.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`], [`SlotError::Counter`].
    pub fn lowest_counter(&self, image: u32) -> Result<u32, SlotError> {
        self.role(image)?.lowest(&self.means)
    }

    /// Asks the gatekeeper about the beginning of a file without beginning an upload.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`], [`SlotError::Counter`], [`SlotError::InUse`], [`SlotError::NoSpace`].
    pub fn preflight(&self, image: u32, total: u64, beginning: &[u8]) -> Result<Examined, SlotError> {
        let role = self.role(image)?;
        let context = role.context(total, false, role.lowest(&self.means)?);
        let examined = self.means.gatekeeper.examine(&context, beginning);
        if let Examined::Accepted(plan) = &examined {
            if let Err(refusal) = plan.check(&context, beginning.len()) {
                return Ok(Examined::Refused(refusal));
            }
            role.room(&self.means, total, 0)?;
        }
        Ok(examined)
    }

    /// Whether a file of `total` bytes can go to the inactive slot, and `beside` more bytes beside the slots.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`], [`SlotError::InUse`], [`SlotError::NoSpace`], [`SlotError::Storage`].
    pub fn check_room(&self, image: u32, total: u64, beside: u64) -> Result<(), SlotError> {
        self.role(image)?.room(&self.means, total, beside).map(|_| ())
    }

    /// The size of a slot in bytes: the longest file that one ever holds. A slot takes no more space than its file.
    #[must_use]
    pub fn slot_bytes(&self) -> u64 {
        self.means.gatekeeper.longest()
    }

    /// The longest file that an upload may bring now, in bytes.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`], [`SlotError::Storage`].
    pub fn longest_upload(&self, image: u32) -> Result<u64, SlotError> {
        self.role(image)?.longest_upload(&self.means)
    }

    /// Which upload is at work in a role; `None` if there is none.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn upload_mark(&self, image: u32) -> Result<Option<UploadMark>, SlotError> {
        Ok(self.role(image)?.upload.mark())
    }

    /// Takes a piece of an upload.
    ///
    /// # Errors
    /// [`SlotError`]; what was stored before stays, and the upload can be gone on with. A refused front leaves the slot
    /// as it was.
    pub fn upload(&mut self, chunk: &Chunk<'_>) -> Result<Reply, SlotError> {
        let (role, means) = self.role_mut(chunk.image)?;
        role.take_chunk(means, chunk)
    }

    /// Received files that are to be read back, each by [`Verification::run`].
    #[must_use]
    pub fn verifications(&self) -> Vec<Verification> {
        self.roles
            .iter()
            .flat_map(|role| role.verifications(&self.means))
            .collect()
    }

    /// Takes note of what reading back showed. Only now can the image be bootable.
    ///
    /// # Errors
    /// [`SlotError::Storage`] if that cannot be written down; the file then waits to be read back again.
    pub fn finish_verification(&mut self, verified: Verified) -> Result<Outcome, SlotError> {
        let (role, means) = self.role_mut(verified.image)?;
        role.finish_verification(means, verified)
    }

    /// Asks for the image with this hash on the next start, to be confirmed as soon as its self-test passes if
    /// `permanent`. An image that was not read back yet stays asked for until it was.
    ///
    /// The confirmed image's hash takes back what was asked for: a pending image at once, a trial on the next start.
    ///
    /// # Errors
    /// [`SlotError::NoSuchHash`], [`SlotError::WrongState`], [`SlotError::Rollback`], [`SlotError::Storage`].
    pub fn request(&mut self, hash: &[u8], permanent: bool) -> Result<(), SlotError> {
        let is = |slot: &Slot| slot.image().is_some_and(|image| image.hash == *hash);
        let damaged = |slot: &Slot| matches!(slot, Slot::Valid { damaged: true, .. });
        // A damaged image may have been sent again, to the other place.
        let place = |role: &Role| {
            let places = Side::BOTH.into_iter().filter(|&side| is(role.record.slot(side)));
            places.min_by_key(|&side| damaged(role.record.slot(side)))
        };
        let found = self
            .roles
            .iter_mut()
            .find_map(|role| place(role).map(|side| (role, side)));
        let Some((role, side)) = found else {
            return Err(SlotError::NoSuchHash { hash: hash.to_vec() });
        };
        let lowest = role.lowest(&self.means)?;
        let mut new = role.record.clone();
        new.request(side, permanent, lowest).map_err(|unfit| match unfit {
            Unfit::State(why) => role.wrong_state(why),
            Unfit::Rollback { found, lowest } => SlotError::Rollback { found, lowest },
        })?;
        role.commit(new)
    }

    /// A new start of the service: what to load for each role. A trial is recorded as begun before this returns.
    pub fn begin_start(&mut self) -> Vec<Start> {
        let means = &self.means;
        self.roles.iter_mut().map(|role| role.begin_start(means)).collect()
    }

    /// The self-test of the image on trial passed. Gives true if that also confirmed it.
    ///
    /// # Errors
    /// [`SlotError::WrongState`], [`SlotError::Storage`].
    pub fn trial_passed(&mut self, image: u32) -> Result<bool, SlotError> {
        let (role, means) = self.role_mut(image)?;
        let mut new = role.record.clone();
        let confirmed = new.trial_passed().map_err(|why| role.wrong_state(why))?;
        role.commit(new)?;
        if confirmed {
            role.advance_counter(means);
        }
        Ok(confirmed)
    }

    /// Counts a good result of the image on trial and gives the number of them; 0 if no trial serves that somebody asked
    /// for.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn count_good_result(&mut self, image: u32) -> Result<u32, SlotError> {
        let (role, _) = self.role_mut(image)?;
        let counts = |trial: &&mut Trial| trial.phase == Phase::Serving && !trial.rescue && !trial.taken_back;
        let trial = role.record.trial.as_mut().filter(counts);
        let Some(trial) = trial else { return Ok(0) };
        trial.good_results = trial.good_results.saturating_add(1);
        // Written down when the service stops: a trial that ends otherwise does not go on.
        role.unwritten = true;
        Ok(role.record.trial.map_or(0, |trial| trial.good_results))
    }

    /// Makes the image on trial the confirmed one, and raises the security counter to its.
    ///
    /// # Errors
    /// As [`trial_passed`](Self::trial_passed).
    pub fn confirm(&mut self, image: u32) -> Result<Confirmed, SlotError> {
        let (role, means) = self.role_mut(image)?;
        let mut new = role.record.clone();
        let confirmed = new.confirm().map_err(|why| role.wrong_state(why))?;
        role.commit(new)?;
        if confirmed == Confirmed::Now {
            role.advance_counter(means);
        }
        Ok(confirmed)
    }

    /// Ends the trial, or withdraws what is pending, and gives what to serve instead. The reason is kept. That it cannot
    /// be written down keeps nobody from reverting: the next start would do the same.
    ///
    /// # Errors
    /// [`SlotError::WrongState`] if there is neither; [`SlotError::Storage`] if what was pending still is.
    pub fn revert(&mut self, image: u32, cause: Cause, message: &str) -> Result<Load, SlotError> {
        let (role, means) = self.role_mut(image)?;
        let lowest = role.lowest_known(means);
        let mut new = role.record.clone();
        if new.end_trial(cause, message) {
            return Ok(role.begin(new, lowest));
        }
        new.withdraw().map_err(|why| role.wrong_state(why))?;
        role.commit(new)?;
        Ok(role.record.confirmed.map_or(Load::Nothing, Load::Confirmed))
    }

    /// The confirmed image does not load. Gives what to try instead: the other image, if it is acceptable and was not taken
    /// back before. Which one is confirmed does not change: the other one serves until somebody decides or the service
    /// starts again, and its good results do not count. The same file may be uploaded again.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`], [`SlotError::Storage`].
    pub fn fall_back(&mut self, image: u32, message: &str) -> Result<Load, SlotError> {
        let (role, means) = self.role_mut(image)?;
        let lowest = role.lowest_known(means);
        let mut new = role.record.clone();
        let load = new.fall_back(message, lowest);
        role.commit(new)?;
        Ok(load)
    }

    /// The confirmed image loads: if it did not before, it is not held to be damaged any more.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn loaded(&mut self, image: u32) -> Result<(), SlotError> {
        let (role, _) = self.role_mut(image)?;
        let mut new = role.record.clone();
        if new.loaded() {
            role.commit_or_hold(new);
        }
        Ok(())
    }

    /// What went wrong since the last call without keeping anybody from going on: a record that waits to be written, a
    /// counter that is behind. With the number of the role, for the log.
    pub fn problems(&mut self) -> Vec<(u32, SlotError)> {
        let take = |role: &mut Role| role.problem.take().map(|problem| (role.image, problem));
        self.roles.iter_mut().filter_map(take).collect()
    }

    /// The service is about to stop because it was told to. A trial that serves goes on with the next start.
    ///
    /// # Errors
    /// [`SlotError::Storage`]; the trial then reverts.
    pub fn stop_in_order(&mut self) -> Result<(), SlotError> {
        let mut result = Ok(());
        for role in &mut self.roles {
            let mut new = role.record.clone();
            if new.stop_in_order() || role.unwritten {
                result = result.and(role.commit(new));
            }
        }
        result
    }

    /// Empties a slot, the other one unless its number is given.
    ///
    /// # Errors
    /// [`SlotError::InUse`] if it is active, confirmed, pending or on trial; [`SlotError::Storage`].
    pub fn erase(&mut self, image: u32, slot: Option<u32>) -> Result<(), SlotError> {
        let (role, means) = self.role_mut(image)?;
        let wanted = slot.unwrap_or(1);
        let side = Side::BOTH.into_iter().find(|&side| role.record.logical(side) == wanted);
        let side = side.ok_or_else(|| role.wrong_state("its slots are 0 and 1"))?;
        role.record.erasable(side).map_err(|why| role.in_use(side, why))?;
        role.empty(means, side, role.record.clone())
    }

    /// The file in a slot, whatever its state; `None` if it is not whole.
    ///
    /// # Errors
    /// [`SlotError::NoSuchImage`].
    pub fn reader(&self, image: u32, side: Side) -> Result<Option<StorageReader>, SlotError> {
        let role = self.role(image)?;
        let whole = role.record.slot(side).image();
        Ok(whole.map(|image| StorageReader::new(self.means.storage.clone(), role.file(side), image.total)))
    }

    /// Memory that uploads hold, in bytes.
    #[must_use]
    pub fn upload_memory_bytes(&self) -> usize {
        self.roles.iter().map(|role| role.upload.memory_bytes()).sum()
    }
}

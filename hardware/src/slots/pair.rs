//! The states of a pair of slots and what moves it from one to the next, as MCUboot's.
//!
//! Nothing here touches a file: each function changes a [`Record`], and whoever calls it writes that down before acting
//! on it.
//!
//! ```text
//!            upload          read back           request           start             self-test       confirm
//! empty -> receiving -> received -> valid ----> requested ----> trial: loading --> trial: serving --> confirmed
//!                                     ^                            |                  |   ^
//!                                     +---- revert (crash, power cut, watchdog, ------+   | start
//!                                           self-test, engineer), reason kept         v   |
//!                                                                              trial: stopped in order
//! ```

use super::record::{Cause, Phase, Record, Request, Setback, Side, Slot, Trial};

pub(super) const TRIAL_RUNS: &str = "a trial runs, and the other slot is what it returns to; confirm or revert first";
pub(super) const IS_PENDING: &str = "its image is pending; revert (or test the active image) to withdraw that first";
pub(super) const IS_ACTIVE: &str = "its image is in use";
pub(super) const IS_CONFIRMED: &str = "its image is the confirmed one";
const LOADING: &str =
    "the service ended while the new model was loading or in its self-test (power cut, crash or watchdog)";
const STOPPED: &str = "the service was stopped while the new model was loading or in its self-test";
const SERVING: &str =
    "the service ended during the trial without being stopped in order (power cut, crash or watchdog)";

/// What a start is to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The confirmed image.
    Confirmed(Side),
    /// An image on trial, already recorded as begun: report [`trial_passed`](super::Slots::trial_passed) when its
    /// self-test passes and [`revert`](super::Slots::revert) when anything fails.
    Trial(Side),
    /// There is no image to load.
    Nothing,
}

/// What a confirmation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The image on trial is the confirmed one from now on, or was already.
    Now,
    /// The image on trial is still in its self-test; it is confirmed as soon as that passes.
    WhenPassed,
}

/// Why an image cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    State(&'static str),
    Rollback { found: u32, lowest: u32 },
}

impl Record {
    /// The side that serves.
    pub fn active(&self) -> Option<Side> {
        self.trial.map(|trial| trial.side).or(self.confirmed)
    }

    /// The number of a slot as clients see it: 0 is the active one, or the one that an upload does not go to.
    pub fn logical(&self, side: Side) -> u32 {
        let first = self.active().unwrap_or_else(|| self.inactive().other());
        u32::from(side != first)
    }

    /// Where an upload goes.
    pub fn target(&self) -> Result<Side, (Side, &'static str)> {
        let side = self.inactive();
        self.writable(side).map_err(|why| (side, why))?;
        Ok(side)
    }

    /// Whether the place may be written to: the reason if not.
    pub fn writable(&self, side: Side) -> Result<(), &'static str> {
        if self.trial.is_some() {
            return Err(TRIAL_RUNS);
        }
        if self.confirmed == Some(side) {
            return Err(IS_CONFIRMED);
        }
        if self.request.is_some_and(|request| request.side == side) {
            return Err(IS_PENDING);
        }
        Ok(())
    }

    /// As [`writable`](Self::writable), in the words for erasing.
    pub fn erasable(&self, side: Side) -> Result<(), &'static str> {
        if self.active() == Some(side) {
            return Err(IS_ACTIVE);
        }
        self.writable(side)
    }

    /// The side that an upload goes to, if it may be written to.
    pub fn inactive(&self) -> Side {
        if let Some(active) = self.active() {
            return active.other();
        }
        if let Some(request) = self.request {
            return request.side.other();
        }
        // Nothing serves: what was tried in vain goes first, then what holds nothing, then the lower counter.
        let worth = |side: Side| {
            let tried = self.salvage.is_some_and(|tried| tried[side.index()]);
            let counter = self.slot(side).image().map(|image| image.facts.security_counter);
            (!tried && counter.is_some(), counter)
        };
        if worth(Side::B) < worth(Side::A) {
            Side::B
        } else {
            Side::A
        }
    }

    /// A new start of the service: what it is to load.
    ///
    /// A trial that is found here was not ended: it goes on only if the service was stopped in order while it served. One
    /// that nobody asked for ends here: the confirmed image may load this time.
    pub fn begin_start(&mut self, lowest: u32) -> Load {
        self.trial = self.trial.filter(|trial| !trial.rescue);
        if let Some(trial) = &mut self.trial {
            if trial.phase == Phase::Stopped && !trial.taken_back {
                trial.phase = Phase::Loading;
                return Load::Trial(trial.side);
            }
            let (cause, message) = match (trial.taken_back, trial.phase) {
                (true, _) => (Cause::Engineer, "the confirmed image was asked for"),
                (false, Phase::Loading) => (Cause::Interrupted, LOADING),
                (false, _) => (Cause::Interrupted, SERVING),
            };
            self.end_trial(cause, message);
        }
        if let Some(load) = self.take_request(lowest) {
            return load;
        }
        if let Some(side) = self.confirmed {
            return Load::Confirmed(side);
        }
        self.salvage(lowest)
    }

    fn take_request(&mut self, lowest: u32) -> Option<Load> {
        let Request { side, permanent } = self.request?;
        if let Slot::Received { .. } = self.slot(side) {
            // It waits until the image was read back.
            return None;
        }
        self.request = None;
        let image = self.slot(side).valid()?;
        let (found, version) = (image.facts.security_counter, image.facts.version.clone());
        if found < lowest {
            let message = format!("the security counter {found} is below {lowest}");
            self.setback = Some(Setback::new(Cause::Rollback, &version, &message));
            return None;
        }
        Some(self.begin_trial(Trial {
            permanent,
            ..Trial::new(side)
        }))
    }

    fn begin_trial(&mut self, trial: Trial) -> Load {
        self.trial = Some(trial);
        Load::Trial(trial.side)
    }

    /// After the loss of the record: tries the images that are here, the highest security counter first, each once.
    fn salvage(&mut self, lowest: u32) -> Load {
        let Some(mut tried) = self.salvage else {
            return Load::Nothing;
        };
        let acceptable = |side: &Side| {
            let image = self.slot(*side).valid();
            !tried[side.index()] && image.is_some_and(|image| image.facts.security_counter >= lowest)
        };
        let counter = |side: &Side| self.slot(*side).image().map(|image| image.facts.security_counter);
        // Of equals, max_by_key takes the last.
        let best = [Side::B, Side::A].into_iter().filter(acceptable).max_by_key(counter);
        let Some(side) = best else {
            return Load::Nothing;
        };
        tried[side.index()] = true;
        self.salvage = Some(tried);
        self.begin_trial(Trial {
            permanent: true,
            ..Trial::new(side)
        })
    }

    /// The self-test passed. Gives true if that also confirms the image.
    pub fn trial_passed(&mut self) -> Result<bool, &'static str> {
        let trial = self.trial.as_mut().ok_or("no trial runs")?;
        trial.phase = Phase::Serving;
        // Whoever took it back meanwhile has the last word.
        let permanent = trial.permanent && !trial.taken_back;
        if permanent {
            self.make_confirmed();
        }
        Ok(permanent)
    }

    /// The image on trial becomes the confirmed one.
    pub fn confirm(&mut self) -> Result<Confirmed, &'static str> {
        let Some(trial) = &mut self.trial else {
            return self
                .confirmed
                .map(|_| Confirmed::Now)
                .ok_or("there is no image to confirm");
        };
        if trial.phase == Phase::Loading {
            trial.permanent = true;
            trial.taken_back = false;
            return Ok(Confirmed::WhenPassed);
        }
        self.make_confirmed();
        Ok(Confirmed::Now)
    }

    fn make_confirmed(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        self.confirmed = Some(trial.side);
        self.salvage = None;
        self.setback = None;
        if let Some(image) = self.slot(trial.side).image() {
            self.highest_counter = self.highest_counter.max(image.facts.security_counter);
        }
    }

    /// Ends the trial and keeps the reason; gives false if none runs.
    pub fn end_trial(&mut self, cause: Cause, message: &str) -> bool {
        let Some(trial) = self.trial.take() else { return false };
        let version = self.slot(trial.side).image().map_or("", |image| &image.facts.version);
        self.setback = Some(Setback::new(cause, version, message));
        self.set_rejected(trial.side, cause.rejects());
        true
    }

    fn set_rejected(&mut self, side: Side, is: bool) {
        if let Slot::Valid { rejected, .. } = self.slot_mut(side) {
            *rejected = is;
        }
    }

    /// Takes back what is pending.
    pub fn withdraw(&mut self) -> Result<(), &'static str> {
        self.request
            .take()
            .map(|_| ())
            .ok_or("no trial runs and nothing is pending")
    }

    /// As it is, but for a trial, which cannot be begun or gone on with.
    pub fn without_trials(mut self) -> Self {
        self.end_trial(
            Cause::Interrupted,
            "the trial could not be written down, so it was not begun",
        );
        self
    }

    /// Asks for an image on the next start.
    ///
    /// To ask for the confirmed one takes back what was asked for before: a pending request at once, a trial on the
    /// next start.
    pub fn request(&mut self, side: Side, permanent: bool, lowest: u32) -> Result<(), Unfit> {
        if self.confirmed == Some(side) {
            self.request = None;
            if let Some(trial) = &mut self.trial {
                trial.taken_back = true;
            }
            return Ok(());
        }
        if let Some(trial) = &mut self.trial {
            if trial.side != side {
                return Err(Unfit::State(TRIAL_RUNS));
            }
            trial.taken_back = false;
            return Ok(());
        }
        self.requestable(side, lowest)?;
        self.request = Some(Request { side, permanent });
        self.setback = None;
        self.set_rejected(side, false);
        Ok(())
    }

    fn requestable(&self, side: Side, lowest: u32) -> Result<(), Unfit> {
        let image = match self.slot(side) {
            Slot::Received { image, .. }
            | Slot::Valid {
                image, damaged: false, ..
            } => image,
            _ => return Err(Unfit::State("the image is damaged or not complete; upload it again")),
        };
        let found = image.facts.security_counter;
        if found < lowest {
            return Err(Unfit::Rollback { found, lowest });
        }
        Ok(())
    }

    /// The confirmed image does not load: tries the other one, unless that was taken back before, without changing which is
    /// confirmed.
    pub fn fall_back(&mut self, message: &str, lowest: u32) -> Load {
        let (Some(side), None) = (self.confirmed, self.trial) else {
            return Load::Nothing;
        };
        if let Slot::Valid { damaged, image, .. } = self.slot_mut(side) {
            *damaged = true;
            let version = image.facts.version.clone();
            self.setback = Some(Setback::new(Cause::Load, &version, message));
        }
        let other = side.other();
        let rejected = matches!(self.slot(other), Slot::Valid { rejected: true, .. });
        if rejected || self.slot(other).valid().is_none() || self.requestable(other, lowest).is_err() {
            return Load::Nothing;
        }
        self.request = None;
        self.begin_trial(Trial {
            rescue: true,
            ..Trial::new(other)
        })
    }

    /// The confirmed image loads: if it did not before, that is over. Gives whether there is anything to write down.
    pub fn loaded(&mut self) -> bool {
        let Some(side) = self.confirmed else { return false };
        let Slot::Valid { damaged, image, .. } = self.slot_mut(side) else {
            return false;
        };
        let was = std::mem::take(damaged);
        let version = image.facts.version.clone();
        let over = |setback: &mut Setback| was && setback.cause == Cause::Load && setback.version == version;
        self.setback.take_if(over);
        was
    }

    /// The service stops in order. Gives whether there is anything to write down.
    pub fn stop_in_order(&mut self) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        if trial.phase == Phase::Loading {
            // It may well have hung there.
            return self.end_trial(Cause::Interrupted, STOPPED);
        }
        trial.phase = Phase::Stopped;
        true
    }
}

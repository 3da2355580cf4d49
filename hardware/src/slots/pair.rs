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

const TRIAL_RUNS: &str = "a trial runs, and the other slot is what it returns to; confirm or revert first";
const IS_PENDING: &str = "its image is pending; revert (or test the active image) to withdraw that first";
const IS_ACTIVE: &str = "its image is in use";
const IS_CONFIRMED: &str = "its image is the confirmed one";
const LOADING: &str =
    "the service ended while the new model was loading or in its self-test (power cut, crash or watchdog)";
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

    fn inactive(&self) -> Side {
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
    /// A trial that is found here was not ended: it goes on only if the service was stopped in order while it served.
    pub fn begin_start(&mut self, lowest: u32) -> Load {
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
        Some(self.begin_trial(side, permanent))
    }

    fn begin_trial(&mut self, side: Side, permanent: bool) -> Load {
        self.trial = Some(Trial {
            side,
            permanent,
            phase: Phase::Loading,
            good_results: 0,
            taken_back: false,
        });
        Load::Trial(side)
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
        self.begin_trial(side, true)
    }

    /// The self-test passed. Gives true if that also confirms the image.
    pub fn trial_passed(&mut self) -> Result<bool, &'static str> {
        let trial = self.trial.as_mut().ok_or("no trial runs")?;
        trial.phase = Phase::Serving;
        let permanent = trial.permanent;
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
        true
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
        Ok(())
    }

    fn requestable(&self, side: Side, lowest: u32) -> Result<(), Unfit> {
        let image = match self.slot(side) {
            Slot::Received { image, .. } | Slot::Valid { image, damaged: false } => image,
            _ => return Err(Unfit::State("the image is damaged or not complete; upload it again")),
        };
        let found = image.facts.security_counter;
        if found < lowest {
            return Err(Unfit::Rollback { found, lowest });
        }
        Ok(())
    }

    /// The confirmed image does not load: tries the other one if there is one, without changing which is confirmed.
    pub fn fall_back(&mut self, message: &str, lowest: u32) -> Load {
        let (Some(side), None) = (self.confirmed, self.trial) else {
            return Load::Nothing;
        };
        if let Slot::Valid { damaged, image } = self.slot_mut(side) {
            *damaged = true;
            let version = image.facts.version.clone();
            self.setback = Some(Setback::new(Cause::Load, &version, message));
        }
        let other = side.other();
        if self.slot(other).valid().is_none() || self.requestable(other, lowest).is_err() {
            return Load::Nothing;
        }
        self.request = None;
        self.begin_trial(other, false)
    }

    /// The service stops in order. Gives whether there is anything to write down.
    pub fn stop_in_order(&mut self) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        // A service that is stopped in its self-test may well have hung there: the next start reverts.
        if trial.phase == Phase::Serving {
            trial.phase = Phase::Stopped;
        }
        trial.phase == Phase::Stopped
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{image, valid};
    use super::*;

    /// Image 3 confirmed on A, image 4 valid on B.
    fn updated() -> Record {
        Record {
            slots: [valid(3), valid(4)],
            confirmed: Some(Side::A),
            highest_counter: 3,
            ..Record::default()
        }
    }

    fn on_trial(permanent: bool) -> Record {
        let mut record = updated();
        record.request(Side::B, permanent, 3).unwrap();
        assert_eq!(record.begin_start(3), Load::Trial(Side::B));
        record
    }

    fn serving() -> Record {
        let mut record = on_trial(false);
        assert_eq!(record.trial_passed(), Ok(false));
        record
    }

    fn cause(record: &Record) -> Option<Cause> {
        record.setback.as_ref().map(|setback| setback.cause)
    }

    #[test]
    fn an_image_is_tried_and_confirmed() {
        let mut record = updated();
        assert_eq!((record.active(), record.logical(Side::B)), (Some(Side::A), 1));
        record.request(Side::B, false, 3).unwrap();
        assert_eq!(record.active(), Some(Side::A));
        assert_eq!(record.begin_start(3), Load::Trial(Side::B));
        assert_eq!(
            (record.active(), record.confirmed, record.logical(Side::B)),
            (Some(Side::B), Some(Side::A), 0)
        );
        assert_eq!(record.trial_passed(), Ok(false));
        assert_eq!(record.confirm(), Ok(Confirmed::Now));
        assert_eq!((record.active(), record.confirmed), (Some(Side::B), Some(Side::B)));
        assert_eq!((record.highest_counter, record.trial), (4, None));
        assert_eq!(record.begin_start(4), Load::Confirmed(Side::B));
        assert_eq!(record.target(), Ok(Side::A));
    }

    #[test]
    fn a_permanent_request_confirms_itself_after_the_self_test() {
        let mut record = on_trial(true);
        assert_eq!(record.confirmed, Some(Side::A));
        assert_eq!(record.trial_passed(), Ok(true));
        assert_eq!(record.confirmed, Some(Side::B));
    }

    #[test]
    fn a_confirmation_during_the_self_test_waits_for_it() {
        let mut record = on_trial(false);
        assert_eq!(record.confirm(), Ok(Confirmed::WhenPassed));
        assert_eq!((record.confirmed, record.highest_counter), (Some(Side::A), 3));
        assert_eq!(record.trial_passed(), Ok(true));
        assert_eq!((record.confirmed, record.highest_counter), (Some(Side::B), 4));
        let mut record = on_trial(false);
        record.confirm().unwrap();
        assert!(record.end_trial(Cause::SelfTest, "differs"));
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    }

    #[test]
    fn a_start_that_finds_a_trial_reverts_unless_it_was_stopped_in_order() {
        for mut record in [on_trial(false), on_trial(true), serving()] {
            assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
            assert_eq!((cause(&record), record.trial), (Some(Cause::Interrupted), None));
            assert_eq!(record.setback.as_ref().unwrap().version, "4.0.0");
            // The image stays, and may be tried again.
            record.request(Side::B, false, 3).unwrap();
            assert_eq!((record.begin_start(3), record.setback), (Load::Trial(Side::B), None));
        }
        let mut record = serving();
        record.trial.as_mut().unwrap().good_results = 7;
        assert!(record.stop_in_order());
        assert_eq!(record.begin_start(3), Load::Trial(Side::B));
        assert_eq!(
            record.trial.map(|t| (t.phase, t.good_results)),
            Some((Phase::Loading, 7))
        );
        // This start, too, must reach the end of the self-test.
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    }

    #[test]
    fn a_stop_in_the_self_test_is_no_reason_to_go_on() {
        let mut record = on_trial(false);
        assert!(!record.stop_in_order());
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
        assert_eq!(cause(&record), Some(Cause::Interrupted));
        assert!(!updated().stop_in_order());
    }

    #[test]
    fn asking_for_the_confirmed_image_takes_back() {
        let mut record = updated();
        record.request(Side::B, true, 3).unwrap();
        record.request(Side::A, false, 3).unwrap();
        assert_eq!(
            (record.request, record.begin_start(3)),
            (None, Load::Confirmed(Side::A))
        );
        let mut record = serving();
        record.request(Side::A, false, 3).unwrap();
        assert_eq!(record.active(), Some(Side::B));
        record.stop_in_order();
        assert_eq!(
            (record.begin_start(3), cause(&record)),
            (Load::Confirmed(Side::A), Some(Cause::Engineer))
        );
        // Asked for once more, the trial goes on.
        let mut record = serving();
        record.request(Side::A, false, 3).unwrap();
        record.request(Side::B, false, 3).unwrap();
        record.stop_in_order();
        assert_eq!(record.begin_start(3), Load::Trial(Side::B));
    }

    #[test]
    fn revert_gives_what_to_serve_and_keeps_the_reason() {
        for cause in [Cause::Load, Cause::SelfTest, Cause::Results, Cause::Engineer] {
            let mut record = serving();
            assert!(record.end_trial(cause, &"x".repeat(9999)));
            assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
            let setback = record.setback.unwrap();
            assert_eq!((setback.cause, setback.message.len()), (cause, 500));
        }
        let mut record = updated();
        assert!(!record.end_trial(Cause::Engineer, ""));
        assert!(record.withdraw().is_err());
        record.request(Side::B, false, 3).unwrap();
        assert_eq!((record.withdraw(), record.request), (Ok(()), None));
    }

    #[test]
    fn what_is_used_or_asked_for_is_not_written_to() {
        let mut record = updated();
        assert_eq!(record.target(), Ok(Side::B));
        assert_eq!(
            (record.writable(Side::A), record.erasable(Side::A)),
            (Err(IS_CONFIRMED), Err(IS_ACTIVE))
        );
        record.request(Side::B, false, 3).unwrap();
        assert_eq!(record.target(), Err((Side::B, IS_PENDING)));
        record.begin_start(3);
        for side in Side::BOTH {
            assert_eq!(record.writable(side), Err(TRIAL_RUNS));
            assert!(record.erasable(side).is_err());
        }
        let mut first = Record {
            slots: [Slot::Empty, valid(1)],
            ..Record::default()
        };
        assert_eq!(first.target(), Ok(Side::A));
        first.request(Side::B, false, 0).unwrap();
        assert_eq!(first.target(), Ok(Side::A));
    }

    #[test]
    fn nothing_below_the_counter_is_tried() {
        let mut record = updated();
        assert_eq!(
            record.request(Side::B, false, 5),
            Err(Unfit::Rollback { found: 4, lowest: 5 })
        );
        record.request(Side::B, false, 4).unwrap();
        assert_eq!(record.begin_start(5), Load::Confirmed(Side::A));
        assert_eq!((cause(&record), record.request), (Some(Cause::Rollback), None));
        // What is confirmed is served whatever the counter says: there is nothing better.
        assert_eq!(updated().begin_start(99), Load::Confirmed(Side::A));
    }

    #[test]
    fn a_request_waits_until_the_image_was_read_back() {
        let mut record = updated();
        *record.slot_mut(Side::B) = Slot::Received {
            image: image(4),
            starts: 0,
        };
        record.request(Side::B, true, 3).unwrap();
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
        assert!(record.request.is_some());
        *record.slot_mut(Side::B) = valid(4);
        assert_eq!(record.begin_start(3), Load::Trial(Side::B));
    }

    #[test]
    fn a_confirmed_image_that_does_not_load_is_not_the_end() {
        let mut record = updated();
        *record.slot_mut(Side::B) = valid(3);
        assert_eq!(record.fall_back("damaged", 3), Load::Trial(Side::B));
        assert_eq!((record.confirmed, cause(&record)), (Some(Side::A), Some(Cause::Load)));
        assert_eq!(record.slot(Side::A).valid(), None);
        let mut record = updated();
        *record.slot_mut(Side::B) = valid(2);
        assert_eq!(record.fall_back("damaged", 3), Load::Nothing);
    }

    #[test]
    fn without_a_record_each_image_is_tried_once() {
        let lost = Record {
            slots: [valid(3), valid(4)],
            salvage: Some([false; 2]),
            ..Record::default()
        };
        let mut record = lost.clone();
        assert_eq!(record.begin_start(3), Load::Trial(Side::B));
        record.end_trial(Cause::SelfTest, "");
        assert_eq!(record.begin_start(3), Load::Trial(Side::A));
        assert_eq!(record.trial_passed(), Ok(true));
        assert_eq!((record.confirmed, record.salvage), (Some(Side::A), None));
        let mut record = lost.clone();
        assert_eq!(record.begin_start(4), Load::Trial(Side::B));
        assert_eq!(record.begin_start(4), Load::Nothing);
        assert_eq!(record.target(), Ok(Side::B));
        let mut record = lost.clone();
        record.begin_start(3);
        record.end_trial(Cause::SelfTest, "");
        assert_eq!((record.begin_start(4), record.target()), (Load::Nothing, Ok(Side::B)));
    }
}

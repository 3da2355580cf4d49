//! What goes on, in one place: the serial line reports it and the display shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hardware::smp::{Outcome, OutcomeKind, Problem};

/// How far a long step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub done: u64,
    /// What there is to do, in the same unit.
    pub total: u64,
}

/// A long step of the service itself; what an upload does, the slots know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A bundle, or a difference to one, arrives, in bytes.
    Receiving(Progress),
    /// A bundle is put together from its base and a difference, in bytes of the bundle.
    Rebuilding(Progress),
    /// A received bundle is read back, in bytes.
    Verifying(Progress),
    /// Golden cases run, in cases.
    SelfTest(Progress),
}

/// How many images came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images that were assessed.
    pub results: u64,
    /// Of those, flagged.
    pub flagged: u64,
    /// Of those, uncertain.
    pub uncertain: u64,
    /// Images without a result: no image, or not readable.
    pub refused: u64,
    /// Images that no model was there for; they wait.
    pub waiting: u64,
    /// Faults of the model or the storage.
    pub faults: u64,
}

/// Which part of the appliance has a fault; the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Files and database of the cases.
    Store,
    /// The disk is full.
    Disk,
    /// What is written beside the database: results, pictures, objects.
    Files,
    /// The slots of the models.
    Slots,
    /// The library that runs models.
    Library,
    /// A model.
    Models,
    /// It is too warm.
    Heat,
    /// The DICOM port.
    Dicom,
    /// The watched folder.
    Folder,
    /// Removable media.
    Media,
    /// The outbox.
    Outbox,
    /// The cases take more than they may.
    Quota,
}

impl Part {
    /// Whether a fault of it keeps the appliance from its work: what cannot be sent waits and has its mark, and a quota is an
    /// engineer's.
    #[must_use]
    pub const fn stops_work(self) -> bool {
        !matches!(self, Self::Outbox | Self::Quota)
    }
}

/// What goes on.
#[derive(Debug, Default)]
pub struct Board {
    steps: BTreeMap<u32, Step>,
    /// Roles whose self-test was asked for and is not over.
    self_tests: BTreeSet<u32>,
    outcomes: BTreeMap<u32, (Outcome, Option<Instant>)>,
    /// Counts since the service began.
    pub tally: Tally,
    faults: BTreeMap<Part, String>,
    /// What could not be written down since the service began; the state that is served is safe without it.
    unwritten: BTreeMap<u32, String>,
}

impl Board {
    /// Role `image` is at a long step.
    pub fn begin(&mut self, image: u32, step: Step) {
        self.steps.insert(image, step);
    }

    /// A difference that was arriving in role `image` is given up; other steps go on.
    pub fn give_up_receiving(&mut self, image: u32) {
        if matches!(self.step(image), Some(Step::Receiving(_))) {
            self.end(image);
        }
    }

    /// The long step of role `image` is over.
    pub fn end(&mut self, image: u32) {
        self.steps.remove(&image);
    }

    /// The long step of a role.
    #[must_use]
    pub fn step(&self, image: u32) -> Option<Step> {
        self.steps.get(&image).copied()
    }

    /// Something came to its end in role `image`.
    pub fn report(&mut self, image: u32, kind: OutcomeKind, reason: impl Into<String>, now: Instant) {
        let reason = reason.into();
        self.outcomes
            .insert(image, (Outcome { image, kind, reason }, Some(now)));
    }

    /// The long step of role `image` came to its end, at one moment for whoever looks.
    pub fn conclude(&mut self, image: u32, kind: OutcomeKind, reason: impl Into<String>, now: Instant) {
        self.report(image, kind, reason, now);
        self.end(image);
    }

    /// A self-test of role `image` was asked for. From now on it is going on, and how an earlier one came out is no answer.
    pub fn ask_for_self_test(&mut self, image: u32) {
        self.self_tests.insert(image);
        self.outcomes.remove(&image);
    }

    /// Whether a self-test of role `image` was asked for and is not over; it may not have begun yet.
    #[must_use]
    pub fn awaits_self_test(&self, image: u32) -> bool {
        self.self_tests.contains(&image)
    }

    /// The self-test of role `image` that was asked for came to its end, at one moment for whoever looks.
    pub fn conclude_self_test(&mut self, image: u32, kind: OutcomeKind, reason: impl Into<String>, now: Instant) {
        self.self_tests.remove(&image);
        self.conclude(image, kind, reason, now);
    }

    /// What came to its end before the service began: it is told, but is no news.
    pub fn remember(&mut self, image: u32, kind: OutcomeKind, reason: impl Into<String>) {
        let reason = reason.into();
        self.outcomes.insert(image, (Outcome { image, kind, reason }, None));
    }

    /// A part has a fault, until it is cleared.
    pub fn set_fault(&mut self, part: Part, problem: impl Into<String>) {
        self.faults.insert(part, problem.into());
    }

    /// A part is well.
    pub fn clear_fault(&mut self, part: Part) {
        self.faults.remove(&part);
    }

    /// Whether a part has a fault.
    #[must_use]
    pub fn has_fault(&self, part: Part) -> bool {
        self.faults.contains_key(&part)
    }

    /// The gravest fault of the appliance.
    #[must_use]
    pub fn fault(&self) -> Option<(Part, &str)> {
        self.faults.iter().next().map(|(part, text)| (*part, text.as_str()))
    }

    /// The state of role `image` could not be written down: a fault of the medium.
    pub fn unwritten(&mut self, image: u32, problem: String) {
        self.set_fault(Part::Slots, problem.clone());
        self.unwritten.insert(image, problem);
    }

    /// What is wrong with the appliance itself.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |image, problem: &String| Problem {
            image,
            problem: problem.clone(),
        };
        let of_roles = self.unwritten.iter().map(|(image, text)| problem(Some(*image), text));
        let told = |fault: &&String| !self.unwritten.values().any(|text| text == *fault);
        let faults = self.faults.values().filter(told);
        faults.map(|text| problem(None, text)).chain(of_roles).collect()
    }

    /// How the last update of each role came out.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.values().map(|(outcome, _)| outcome.clone()).collect()
    }

    /// What came to its end within `age` before `now`, the latest first.
    #[must_use]
    pub fn news(&self, now: Instant, age: Duration) -> Option<&Outcome> {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < age;
        let dated = self
            .outcomes
            .values()
            .filter_map(|(outcome, at)| Some((at.filter(recent)?, outcome)));
        dated.max_by_key(|(at, _)| *at).map(|(_, outcome)| outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_ends_are_news_and_the_latest_comes_first() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut board = Board::default();
        board.remember(2, OutcomeKind::Reverted, "long ago");
        board.report(0, OutcomeKind::Stored, "", start);
        board.report(1, OutcomeKind::Failed, "golden case 2", start + second);
        let news = board.news(start + 2 * second, 5 * second).unwrap();
        assert_eq!((news.image, news.reason.as_str()), (1, "golden case 2"));
        assert_eq!(board.news(start + 60 * second, 5 * second), None);
        assert_eq!(board.outcomes().len(), 3);
    }

    #[test]
    fn a_self_test_goes_on_from_the_moment_it_is_asked_for_and_earlier_ones_do_not_answer_for_it() {
        let now = Instant::now();
        let mut board = Board::default();
        board.report(0, OutcomeKind::Passed, "long ago", now);
        board.ask_for_self_test(0);
        assert!(board.awaits_self_test(0) && board.outcomes().is_empty());
        // What ends meanwhile does not end it.
        board.conclude(0, OutcomeKind::Stored, "", now);
        assert!(board.awaits_self_test(0));
        board.conclude_self_test(0, OutcomeKind::Failed, "golden case 2", now);
        assert!(!board.awaits_self_test(0));
        assert_eq!(board.outcomes()[0].kind, OutcomeKind::Failed);
    }

    #[test]
    fn what_was_not_written_down_stays_known_when_the_fault_is_over() {
        let mut board = Board::default();
        assert!(board.problems().is_empty());
        board.unwritten(1, "cannot write the record".to_owned());
        let problem = |image, problem: &str| Problem {
            image,
            problem: problem.to_owned(),
        };
        assert_eq!(board.problems(), [problem(Some(1), "cannot write the record")]);
        board.set_fault(Part::Models, "no library");
        board.clear_fault(Part::Slots);
        let both = [problem(None, "no library"), problem(Some(1), "cannot write the record")];
        assert_eq!(board.problems(), both);
        board.clear_fault(Part::Models);
        assert_eq!(board.problems(), both[1..]);
    }

    #[test]
    fn a_step_lasts_until_it_ends() {
        let mut board = Board::default();
        board.begin(0, Step::SelfTest(Progress { done: 1, total: 4 }));
        assert_eq!(board.step(0), Some(Step::SelfTest(Progress { done: 1, total: 4 })));
        board.end(0);
        assert_eq!(board.step(0), None);
    }
}

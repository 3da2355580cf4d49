//! The serving thread: starts the models, carries out wishes, examines what waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardware::slots::{Cause, SlotError, Start};
use hardware::smp::OutcomeKind;

use super::board::Part;
use super::models::Models;
use super::pulse::Doing;
use super::self_test;
use super::shared::{Shared, Wish};
use super::triage::{Looked, Triage, TriageError};
use crate::store::Store;

/// How long to rest when nothing waits; an image that comes ends it.
const REST: Duration = Duration::from_millis(100);
/// How often to look for other operating points while nothing waits.
const REFRESH: Duration = Duration::from_secs(1);
/// After a fault of a model an image is tried again, not at once.
const PAUSE_AFTER_MODEL: Duration = Duration::from_secs(1);
/// After a fault of the store.
const PAUSE_AFTER_STORE: Duration = Duration::from_secs(5);

/// The database is damaged.
struct Damaged;

/// The serving thread's own things.
pub struct Serving {
    shared: Arc<Shared>,
    store: Arc<Store>,
    models: Models,
    triage: Triage,
    doctor: PathBuf,
    not_before: Instant,
    refreshed: Instant,
}

impl Serving {
    /// With models to start and images to take; `doctor` is where the report of a self-test goes.
    #[must_use]
    pub fn new(shared: Arc<Shared>, store: Arc<Store>, models: Models, triage: Triage, doctor: PathBuf) -> Self {
        Self {
            shared,
            store,
            models,
            triage,
            doctor,
            not_before: Instant::now(),
            refreshed: Instant::now(),
        }
    }

    /// Starts what the slots name, then serves until the service ends.
    pub fn run(mut self) {
        self.start();
        self.shared.set_started();
        while !self.shared.is_ending() {
            self.shared.serving_pulse().at(Doing::Step);
            self.carry_out_wishes();
            self.tell_problems();
            match self.look() {
                Ok(Looked::Busy) => {}
                Ok(Looked::Rest) => self.rest(),
                // The next start looks through the database, and begins a new one if need be.
                Err(Damaged) => return self.store.suspect(),
            }
        }
    }

    /// Nothing waits.
    fn rest(&mut self) {
        if self.refreshed.elapsed() >= REFRESH {
            self.refreshed = Instant::now();
            self.models.refresh();
        }
        self.store.wait_for_arrival(REST);
    }

    fn start(&mut self) {
        let starts: Vec<Start> = self.shared.slots().begin_start();
        for Start { image, load, problem } in starts {
            if let Some(problem) = problem {
                self.tell_problem(image, &problem);
            }
            self.remember_setback(image);
            self.models.serve(image, load);
        }
    }

    /// What the slots could not write down, although what they serve is safe.
    fn tell_problems(&self) {
        let problems = self.shared.slots().problems();
        for (image, problem) in &problems {
            self.tell_problem(*image, problem);
        }
    }

    fn tell_problem(&self, image: u32, problem: &SlotError) {
        tracing::error!(image, "{problem}");
        self.shared.board().unwritten(image, problem.to_string());
    }

    /// A trial that the last run of the service did not survive was taken back by this start: that is news.
    fn remember_setback(&self, image: u32) {
        let slots = self.shared.slots();
        let Ok(Some(setback)) = slots.setback(image).map(Option::<&_>::cloned) else {
            return;
        };
        drop(slots);
        let mut board = self.shared.board();
        if setback.cause == Cause::Interrupted {
            board.report(image, OutcomeKind::Reverted, setback.message, Instant::now());
        } else {
            board.remember(image, OutcomeKind::Reverted, setback.message);
        }
    }

    fn carry_out_wishes(&mut self) {
        while let Some(wish) = self.shared.next_wish() {
            match wish {
                Wish::Serve(image, load) => self.models.serve(image, load),
                Wish::SelfTest(image) => self_test::run(&self.shared, &mut self.models, image, &self.doctor),
            }
        }
    }

    /// Deals with the next image, unless a fault was just now.
    fn look(&mut self) -> Result<Looked, Damaged> {
        // Work would make it warmer still; what waits is examined once it has cooled.
        if Instant::now() < self.not_before || self.shared.board().has_fault(Part::Heat) {
            return Ok(Looked::Rest);
        }
        let error = match self.triage.next(&mut self.models) {
            Ok(looked) => return Ok(looked),
            Err(error) => error,
        };
        let (part, pause) = match &error {
            TriageError::Model(_) => (Part::Models, PAUSE_AFTER_MODEL),
            TriageError::Store(_) => (Part::Store, PAUSE_AFTER_STORE),
        };
        tracing::error!("{error}");
        self.shared.board().set_fault(part, error.to_string());
        self.not_before = Instant::now() + pause;
        match error {
            TriageError::Store(error) if error.is_damaged() => Err(Damaged),
            _ => Ok(Looked::Rest),
        }
    }
}

//! The serving thread: starts the models, carries out wishes, examines images, keeps the display true.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hardware::slots::{Cause, SlotError, Start};
use hardware::smp::{OutcomeKind, Problem};
use serde::Serialize;

use super::Ended;
use super::models::{Models, ServeError};
use super::screen::Screen;
use super::shared::{Shared, Wish};
use super::triage::{Triage, TriageError};
use crate::golden::GoldenResult;

/// How long to rest when nothing waits.
const REST: Duration = Duration::from_millis(100);
/// After a fault the same image is tried again, not at once.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);

/// The serving thread's own things.
pub struct MainLoop {
    shared: Arc<Shared>,
    models: Models,
    triage: Option<Triage>,
    screen: Screen,
    doctor: PathBuf,
    not_before: Instant,
}

/// The report of a self-test, as `doctor.json`.
#[derive(Debug, Serialize)]
struct Report {
    time: String,
    image: u32,
    healthy: bool,
    problem: Option<String>,
    golden: Vec<GoldenResult>,
    /// What else is wrong with the appliance.
    problems: Vec<String>,
}

impl MainLoop {
    /// With models to start, images to take and a display; `doctor` is where the report of a self-test goes.
    #[must_use]
    pub fn new(shared: Arc<Shared>, models: Models, triage: Option<Triage>, screen: Screen, doctor: PathBuf) -> Self {
        Self {
            shared,
            models,
            triage,
            screen,
            doctor,
            not_before: Instant::now(),
        }
    }

    /// Starts what the slots name, then serves until `stop` or a restart that was asked for over the line.
    pub fn run(&mut self, stop: &dyn Fn() -> bool) -> Ended {
        self.start();
        loop {
            if stop() {
                return Ended::Stopped;
            }
            if self.shared.is_restarting() {
                return Ended::Restart;
            }
            self.carry_out_wishes();
            self.tell_problems();
            let busy = self.examine_next();
            self.screen.refresh(&self.shared, &self.models, self.now());
            if !busy {
                std::thread::sleep(REST);
            }
        }
    }

    fn start(&mut self) {
        self.screen.refresh(&self.shared, &self.models, self.now());
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
                Wish::SelfTest(image) => self.self_test(image),
            }
        }
    }

    fn self_test(&mut self, image: u32) {
        let tested = self.models.self_test(image);
        let (kind, reason) = match &tested {
            Ok(results) => (
                OutcomeKind::Passed,
                format!("self-test: {} golden cases agree", results.len()),
            ),
            Err(error) => (OutcomeKind::Failed, error.to_string()),
        };
        tracing::info!(image, "{reason}");
        self.shared.board().report(image, kind, reason, Instant::now());
        self.write_report(image, tested);
    }

    fn write_report(&self, image: u32, tested: Result<Vec<GoldenResult>, ServeError>) {
        let problems: Vec<String> = self.shared.board().problems().into_iter().map(words).collect();
        let report = Report {
            time: self.now().to_rfc3339(),
            image,
            healthy: tested.is_ok() && problems.is_empty(),
            problem: tested.as_ref().err().map(ToString::to_string),
            golden: tested.unwrap_or_default(),
            problems,
        };
        let written = serde_json::to_vec_pretty(&report).map(|text| fs::write(&self.doctor, text));
        if let Ok(Err(error)) = written {
            tracing::error!("the report of the self-test cannot be written: {error}");
        }
    }

    /// Examines the oldest image that waits; gives whether there was one.
    fn examine_next(&mut self) -> bool {
        if Instant::now() < self.not_before {
            return false;
        }
        let Some(triage) = &mut self.triage else { return false };
        let now = Self::wall_clock(&self.shared);
        let examined = triage.waiting().and_then(|waiting| match waiting.first() {
            Some(path) => triage.examine(path, &mut self.models, now).map(Some),
            None => Ok(None),
        });
        match examined {
            Ok(None) => false,
            Ok(Some(examination)) => {
                self.shared.board().fault = None;
                self.screen.show_result(&examination, &self.models);
                true
            }
            Err(TriageError::NoModel) => {
                self.not_before = Instant::now() + PAUSE_AFTER_FAULT;
                false
            }
            Err(error) => {
                tracing::error!("{error}");
                self.shared.board().fault = Some(error.to_string());
                self.not_before = Instant::now() + PAUSE_AFTER_FAULT;
                false
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        Self::wall_clock(&self.shared)
    }

    /// The time that results bear: the clock that engineers set.
    fn wall_clock(shared: &Shared) -> DateTime<Utc> {
        let time = shared.clock().now();
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, time.subsec_nanos()).unwrap_or_else(Utc::now)
    }
}

/// With the number of its image, if it has one.
fn words(Problem { image, problem }: Problem) -> String {
    match image {
        Some(image) => format!("image {image}: {problem}"),
        None => problem,
    }
}

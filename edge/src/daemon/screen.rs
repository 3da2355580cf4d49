//! What the display shows while the service runs: the last result, or what goes on.

use std::time::{Duration, Instant};

use bundle::Manifest;
use chrono::{DateTime, Local, Utc};
use embedded_graphics::geometry::OriginDimensions;
use hardware::display::{Canvas, Display, present};
use hardware::slots::Activity;
use hardware::smp::{Outcome, OutcomeKind};

use super::board::{Progress, Step};
use super::shared::{News, Shared};
use crate::examination::Examination;
use crate::presentation::result_view;
use crate::screens::{NoticeScreen, NoticeView, ResultScreen, Tone};

/// How long the end of an update stays on the display.
const NEWS: Duration = Duration::from_secs(20);
/// How long a result stays before the next step of an update may take its place.
const RESULT: Duration = Duration::from_secs(10);
const MEGABYTE: f64 = 1e6;

/// The display with what it shows.
pub struct Screen {
    display: Option<Box<dyn Display>>,
    canvas: Canvas,
    result_screen: ResultScreen,
    notice_screen: NoticeScreen,
    shown: Option<NoticeView>,
    result_since: Option<Instant>,
    roles: Vec<String>,
}

impl Screen {
    /// On a display, or nowhere.
    #[must_use]
    pub fn new(display: Option<Box<dyn Display>>, roles: Vec<String>) -> Self {
        let size = display.as_ref().map(|display| display.size()).unwrap_or_default();
        Self {
            display,
            canvas: Canvas::new(size),
            result_screen: ResultScreen::new(),
            notice_screen: NoticeScreen::new(),
            shown: None,
            result_since: None,
            roles,
        }
    }

    /// Shows a result, or why there is none.
    pub fn show(&mut self, news: &News) {
        if self.display.is_none() {
            return;
        }
        match news {
            News::Result {
                examination, manifest, ..
            } => self.show_result(examination, manifest),
            News::NoModel { case_number, kind } => self.show_notice(no_model_for_image_notice(case_number, kind)),
            News::GivenUp { case_number, problem } => self.show_notice(given_up_notice(case_number, problem)),
        }
        self.result_since = Some(Instant::now());
        self.flush();
    }

    fn show_result(&mut self, examination: &Examination, manifest: &Manifest) {
        let time = examination.finding.time.parse().map_or_else(|_| String::new(), local);
        let view = result_view(examination, manifest, &time);
        // A canvas takes every pixel.
        let Ok(()) = self.result_screen.draw(&view, &mut self.canvas);
        self.shown = None;
    }

    fn show_notice(&mut self, notice: NoticeView) {
        let Ok(()) = self.notice_screen.draw(&notice, &mut self.canvas);
        self.shown = Some(notice);
    }

    /// Shows what goes on, if that is news; a result stays until something happens.
    pub fn refresh(&mut self, shared: &Shared, now: DateTime<Utc>) {
        if self.display.is_none() {
            return;
        }
        let serving = shared.serving().values().next().map(|manifest| name(manifest));
        let fresh = self.result_since.is_some_and(|since| since.elapsed() < RESULT);
        let news = self.news(shared, serving.as_deref());
        let notice = match news {
            Some(notice) if !fresh => notice,
            None if self.result_since.is_none() => Self::idle(shared, serving.as_deref()),
            _ => return,
        };
        let notice = NoticeView {
            time: local(now),
            model: serving.unwrap_or_default(),
            ..notice
        };
        if self.shown.as_ref() == Some(&notice) {
            return;
        }
        self.result_since = None;
        self.show_notice(notice);
        self.flush();
    }

    /// Shows why the service cannot begin; nobody refreshes it.
    pub fn show_failure(&mut self, problem: &str) {
        if self.display.is_some() {
            self.show_notice(fault_notice(problem));
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(display) = &mut self.display else { return };
        if let Err(error) = present(&mut self.canvas, display.as_mut()) {
            // Results are stored; the display is tried again with the next change.
            tracing::error!("{error}");
        }
    }

    /// The most urgent thing: a fault, an update on its way, its end.
    fn news(&self, shared: &Shared, serving: Option<&str>) -> Option<NoticeView> {
        if let Some(fault) = shared.board().fault() {
            return Some(fault_notice(fault));
        }
        for image in 0..self.roles.len() as u32 {
            if let Some(step) = shared.board().step(image) {
                return Some(step_notice(step));
            }
            let activity = shared.slots().activity(image);
            if let Ok(Activity::Receiving { bytes, total }) = activity {
                return Some(step_notice(Step::Receiving(Progress { done: bytes, total })));
            }
        }
        let board = shared.board();
        let news = board.news(Instant::now(), NEWS);
        news.map(|outcome| outcome_notice(outcome, serving))
    }

    fn idle(shared: &Shared, serving: Option<&str>) -> NoticeView {
        let tally = shared.board().tally;
        let Some(model) = serving else {
            let mut notice = no_model_notice();
            if tally.waiting > 0 {
                notice.lines.push(format!("{} images wait for it.", tally.waiting));
            }
            return notice;
        };
        let mut lines = vec![format!("Model {model}")];
        let first = shared.serving().keys().next().copied();
        let on_trial = |image| matches!(shared.slots().activity(image), Ok(Activity::Trial { .. }));
        if first.is_some_and(on_trial) {
            lines.push("On trial until it is confirmed.".to_owned());
        }
        if tally.results > 0 {
            lines.push(format!(
                "{} images since the start, {} flagged",
                tally.results, tally.flagged
            ));
        }
        notice(Tone::Good, "Ready", lines, None)
    }
}

fn notice(tone: Tone, headline: &str, lines: Vec<String>, progress: Option<(f32, String)>) -> NoticeView {
    NoticeView {
        tone,
        headline: headline.to_owned(),
        lines,
        progress,
        model: String::new(),
        status: match tone {
            Tone::Good | Tone::Setback => "ready".to_owned(),
            Tone::Busy => "update".to_owned(),
            Tone::Fault => "fault".to_owned(),
        },
        time: String::new(),
    }
}

/// Name and version of a model.
fn name(manifest: &Manifest) -> String {
    format!("{} {}", manifest.name, manifest.version)
}

/// An image came that none of the models is for.
#[must_use]
pub fn no_model_for_image_notice(case_number: &str, kind: &str) -> NoticeView {
    let what = if kind.is_empty() {
        String::new()
    } else {
        format!(": {kind}")
    };
    let lines = vec![
        format!("Case {case_number}{what}. It was stored and not assessed."),
        "A clinician reads the image as always.".to_owned(),
    ];
    notice(Tone::Setback, "No model for this kind of image", lines, None)
}

/// An image could not be assessed, whatever was tried.
#[must_use]
pub fn given_up_notice(case_number: &str, problem: &str) -> NoticeView {
    let lines = vec![
        format!("Case {case_number}: {problem}"),
        "A clinician reads the image as always.".to_owned(),
    ];
    notice(Tone::Setback, "An image could not be assessed", lines, None)
}

/// Without a model: the appliance waits for its first one, or for a better one.
#[must_use]
pub fn no_model_notice() -> NoticeView {
    let lines = vec!["An engineer sends one over the serial line with scanside-flash.".to_owned()];
    NoticeView {
        status: "no model".to_owned(),
        ..notice(Tone::Setback, "No model yet", lines, None)
    }
}

/// Something is wrong with the appliance itself.
#[must_use]
pub fn fault_notice(fault: &str) -> NoticeView {
    notice(
        Tone::Fault,
        "The appliance needs attention",
        vec![sentence(fault)],
        None,
    )
}

/// A step of an update, with how far it is.
#[must_use]
pub fn step_notice(step: Step) -> NoticeView {
    match step {
        Step::Receiving(progress) => notice(
            Tone::Busy,
            "Receiving a new model",
            vec!["The present model goes on working.".to_owned()],
            Some(in_bytes(progress)),
        ),
        Step::Verifying(progress) => notice(
            Tone::Busy,
            "Verifying the new model",
            vec!["Every byte is read back and checked.".to_owned()],
            Some(in_bytes(progress)),
        ),
        Step::SelfTest(progress) => notice(
            Tone::Busy,
            "Self-test",
            vec!["The model must reproduce its golden cases on this device.".to_owned()],
            Some((
                share(progress),
                format!("{} of {} cases", progress.done, progress.total),
            )),
        ),
    }
}

/// The end of an update or of a self-test, with its reason, and for a setback the model that goes on `serving`.
#[must_use]
pub fn outcome_notice(outcome: &Outcome, serving: Option<&str>) -> NoticeView {
    let (tone, headline) = match outcome.kind {
        OutcomeKind::Stored => (Tone::Good, "New model stored"),
        OutcomeKind::Passed => (Tone::Good, "Self-test passed"),
        OutcomeKind::Confirmed => (Tone::Good, "New model confirmed"),
        OutcomeKind::Refused => (Tone::Setback, "A model was refused"),
        OutcomeKind::Damaged => (Tone::Setback, "A model arrived damaged"),
        OutcomeKind::Failed => (Tone::Setback, "Self-test failed"),
        OutcomeKind::Reverted => (Tone::Setback, "The new model was taken back"),
        _ => (Tone::Good, "Update"),
    };
    // The headline says already whose reason it is.
    let reason = outcome.reason.strip_prefix("self-test: ").unwrap_or(&outcome.reason);
    let reason = (!reason.is_empty()).then(|| sentence(reason));
    let goes_on = (tone == Tone::Setback).then(|| match serving {
        Some(model) => format!("Model {model} goes on working."),
        None => "No model serves.".to_owned(),
    });
    notice(tone, headline, reason.into_iter().chain(goes_on).collect(), None)
}

/// With a capital first and a stop last.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

fn share(progress: Progress) -> f32 {
    if progress.total == 0 {
        return 0.0;
    }
    (progress.done as f64 / progress.total as f64) as f32
}

fn in_bytes(progress: Progress) -> (f32, String) {
    let share = share(progress);
    let [done, total] = [progress.done, progress.total].map(|bytes| bytes as f64 / MEGABYTE);
    (share, format!("{done:.1} of {total:.1} MB, {:.0} %", share * 100.0))
}

fn local(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%H:%M").to_string()
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("size", &self.canvas.size())
            .finish_non_exhaustive()
    }
}

//! What the display shows while the service runs: the last result, or what goes on.

use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Utc};
use embedded_graphics::geometry::OriginDimensions;
use hardware::display::{Canvas, Display, present};
use hardware::slots::Activity;
use hardware::smp::{Outcome, OutcomeKind};

use super::board::{Progress, Step};
use super::models::Models;
use super::shared::Shared;
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

    /// Shows a result.
    pub fn show_result(&mut self, examination: &Examination, models: &Models) {
        let model = models
            .images()
            .first()
            .copied()
            .and_then(|image| models.manifest(image));
        let (Some(manifest), true) = (model, self.display.is_some()) else {
            return;
        };
        let time = examination.finding.time.parse().map_or_else(|_| String::new(), local);
        let view = result_view(examination, manifest, &time);
        // A canvas takes every pixel.
        let Ok(()) = self.result_screen.draw(&view, &mut self.canvas);
        self.shown = None;
        self.result_since = Some(Instant::now());
        self.flush();
    }

    /// Shows what goes on, if that is news; a result stays until something happens.
    pub fn refresh(&mut self, shared: &Shared, models: &Models, now: DateTime<Utc>) {
        if self.display.is_none() {
            return;
        }
        let fresh = self.result_since.is_some_and(|since| since.elapsed() < RESULT);
        let news = self.news(shared);
        let notice = match news {
            Some(notice) if !fresh => notice,
            None if self.result_since.is_none() => self.idle(shared, models),
            _ => return,
        };
        let notice = NoticeView {
            time: local(now),
            model: models.name(0).unwrap_or_default(),
            ..notice
        };
        if self.shown.as_ref() == Some(&notice) {
            return;
        }
        self.result_since = None;
        let Ok(()) = self.notice_screen.draw(&notice, &mut self.canvas);
        self.shown = Some(notice);
        self.flush();
    }

    fn flush(&mut self) {
        let Some(display) = &mut self.display else { return };
        if let Err(error) = present(&mut self.canvas, display.as_mut()) {
            // Results are stored; the display is tried again with the next change.
            tracing::error!("{error}");
        }
    }

    /// The most urgent thing: a fault, an update on its way, its end.
    fn news(&self, shared: &Shared) -> Option<NoticeView> {
        if let Some(fault) = shared.board().fault.clone() {
            return Some(notice(Tone::Fault, "The appliance needs attention", vec![fault], None));
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
        board.news(Instant::now(), NEWS).map(outcome_notice)
    }

    fn idle(&self, shared: &Shared, models: &Models) -> NoticeView {
        let Some(model) = models.images().first().copied().and_then(|image| models.name(image)) else {
            let lines = vec!["An engineer sends one over the serial line with scanside-flash.".to_owned()];
            return NoticeView {
                status: "no model".to_owned(),
                ..notice(Tone::Setback, "No model yet", lines, None)
            };
        };
        let tally = shared.board().tally;
        let mut lines = vec![format!("Model {model}")];
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

fn step_notice(step: Step) -> NoticeView {
    let goes_on = || vec!["The present model goes on working.".to_owned()];
    match step {
        Step::Receiving(progress) => notice(Tone::Busy, "Receiving a new model", goes_on(), Some(in_bytes(progress))),
        Step::Rebuilding(progress) => notice(
            Tone::Busy,
            "Putting the new model together",
            goes_on(),
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

fn outcome_notice(outcome: &Outcome) -> NoticeView {
    let (tone, headline) = match outcome.kind {
        OutcomeKind::Stored => (Tone::Good, "New model stored"),
        OutcomeKind::Passed => (Tone::Good, "New model on trial"),
        OutcomeKind::Confirmed => (Tone::Good, "New model confirmed"),
        OutcomeKind::Refused => (Tone::Setback, "A model was refused"),
        OutcomeKind::Damaged => (Tone::Setback, "A model arrived damaged"),
        OutcomeKind::Failed => (Tone::Setback, "Self-test failed: the old model goes on"),
        OutcomeKind::Reverted => (Tone::Setback, "Back to the old model"),
        _ => (Tone::Good, "Update"),
    };
    let lines = (!outcome.reason.is_empty()).then(|| sentence(&outcome.reason));
    notice(tone, headline, lines.into_iter().collect(), None)
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

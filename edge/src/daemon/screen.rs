//! What the display shows while the service runs: the last result, or what goes on.

use std::time::{Duration, Instant};

use bundle::Manifest;
use chrono::{DateTime, Local, Utc};
use embedded_graphics::geometry::OriginDimensions;
use hardware::display::{Canvas, Display, present};
use hardware::slots::Activity;

use super::board::{Part, Step};
use super::shared::{News, Shared};
use crate::examination::Examination;
use crate::finding::ImageSource;
use crate::presentation::faults::{FaultKind, fault_view};
use crate::presentation::{no_model_view, notices, result_view};
use crate::screens::{Edges, FaultView, NoticeView, Page, Screens, Tone, View};
use crate::text::words::{Language, Words};

/// How long the end of an update stays on the display.
const NEWS: Duration = Duration::from_secs(20);
/// How long a result stays before the next step of an update may take its place.
const RESULT: Duration = Duration::from_secs(10);

/// What stands on the display, if it is no result.
#[derive(Debug, PartialEq)]
enum Shown {
    Notice(NoticeView),
    Fault(FaultView),
}

/// The display with what it shows.
pub struct Screen {
    display: Option<Box<dyn Display>>,
    canvas: Canvas,
    screens: Screens,
    words: &'static Words,
    shown: Option<Shown>,
    result_since: Option<Instant>,
    /// The fault that is shown, and when it was seen first.
    fault_since: Option<(String, DateTime<Utc>)>,
    roles: Vec<String>,
}

impl Screen {
    /// On a display, or nowhere, in a language.
    #[must_use]
    pub fn new(display: Option<Box<dyn Display>>, roles: Vec<String>, language: Language) -> Self {
        let size = display.as_ref().map(|display| display.size()).unwrap_or_default();
        Self {
            display,
            canvas: Canvas::new(size),
            screens: Screens::new(language),
            words: language.words(),
            shown: None,
            result_since: None,
            fault_since: None,
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
            News::NoModel { case_number, kind } => self.show_no_model(case_number, kind),
            News::GivenUp { case_number, problem } => {
                let lines = vec![
                    format!("{case_number}: {problem}"),
                    self.words.steps.clinician.to_owned(),
                ];
                let notice = notice(Tone::Setback, self.words.results.not_readable, lines, self.words);
                self.draw(Shown::Notice(notice));
            }
        }
        self.result_since = Some(Instant::now());
        self.flush();
    }

    fn show_result(&mut self, examination: &Examination, manifest: &Manifest) {
        let time = examination.finding.time.parse().map_or_else(|_| String::new(), local);
        let view = result_view(examination, manifest, self.words, &time);
        // A canvas takes every pixel.
        let Ok(()) = self.screens.draw(View::Result(&view, Page::Pictures), &mut self.canvas);
        self.shown = None;
    }

    fn show_no_model(&mut self, case_number: &str, kind: &str) {
        let source = ImageSource {
            modality: (!kind.is_empty()).then(|| kind.to_owned()),
            ..ImageSource::default()
        };
        let mut view = no_model_view(&source, None, case_number, self.words);
        view.edges.status = self.words.status.ready.to_owned();
        let Ok(()) = self.screens.draw(View::Result(&view, Page::Pictures), &mut self.canvas);
        self.shown = None;
    }

    fn draw(&mut self, shown: Shown) {
        let view = match &shown {
            Shown::Notice(notice) => View::Notice(notice),
            Shown::Fault(fault) => View::Fault(fault),
        };
        let Ok(()) = self.screens.draw(view, &mut self.canvas);
        self.shown = Some(shown);
    }

    /// Shows what goes on, if that is news; a result stays until something happens.
    pub fn refresh(&mut self, shared: &Shared, now: DateTime<Utc>) {
        if self.display.is_none() {
            return;
        }
        let serving = shared.serving().values().next().map(|manifest| name(manifest));
        let fresh = self.result_since.is_some_and(|since| since.elapsed() < RESULT);
        let fault = self.fault(shared, now, serving.as_deref());
        let shown = match fault.or_else(|| self.news(shared, serving.as_deref()).map(Shown::Notice)) {
            Some(shown) if !fresh => shown,
            None if self.result_since.is_none() => Shown::Notice(self.idle(shared, serving.as_deref())),
            _ => return,
        };
        let shown = match shown {
            Shown::Notice(notice) => Shown::Notice(NoticeView {
                time: local(now),
                model: serving.unwrap_or_default(),
                ..notice
            }),
            fault @ Shown::Fault(_) => fault,
        };
        if self.shown.as_ref() == Some(&shown) {
            return;
        }
        self.result_since = None;
        self.draw(shown);
        self.flush();
    }

    /// Shows why the service cannot begin; nobody refreshes it.
    pub fn show_failure(&mut self, problem: &str) {
        if self.display.is_some() {
            let edges = Edges::default();
            let fault = fault_view(FaultKind::Other, &local(Utc::now()), problem, self.words, edges);
            self.draw(Shown::Fault(fault));
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

    /// The gravest fault, with the time at which it was seen first.
    fn fault(&mut self, shared: &Shared, now: DateTime<Utc>, serving: Option<&str>) -> Option<Shown> {
        let Some((part, problem)) = shared.board().fault().map(|(part, text)| (part, text.to_owned())) else {
            self.fault_since = None;
            return None;
        };
        let since = match &self.fault_since {
            Some((known, since)) if *known == problem => *since,
            _ => now,
        };
        self.fault_since = Some((problem.clone(), since));
        let edges = Edges {
            model: serving.unwrap_or_default().to_owned(),
            time: local(now),
            ..Edges::default()
        };
        let kind = kind_of(part);
        Some(Shown::Fault(fault_view(
            kind,
            &local(since),
            &problem,
            self.words,
            edges,
        )))
    }

    /// An update on its way, or its end.
    fn news(&self, shared: &Shared, serving: Option<&str>) -> Option<NoticeView> {
        for image in 0..self.roles.len() as u32 {
            if let Some(step) = shared.board().step(image) {
                return Some(match step {
                    Step::Receiving(bytes) => notices::receiving(bytes.done, bytes.total, self.words),
                    Step::Rebuilding(bytes) => notices::rebuilding(bytes.done, bytes.total, self.words),
                    Step::Verifying(bytes) => notices::verifying(bytes.done, bytes.total, self.words),
                    Step::SelfTest(cases) => notices::self_test(cases.done, cases.total, self.words),
                });
            }
            let activity = shared.slots().activity(image);
            if let Ok(Activity::Receiving { bytes, total }) = activity {
                return Some(notices::receiving(bytes, total, self.words));
            }
        }
        let board = shared.board();
        let news = board.news(Instant::now(), NEWS);
        news.map(|outcome| notices::outcome(outcome, serving, self.words))
    }

    fn idle(&self, shared: &Shared, serving: Option<&str>) -> NoticeView {
        let Some(model) = serving else {
            return notices::no_model(self.words);
        };
        let mut lines = vec![(self.words.updates.model)(model)];
        let first = shared.serving().keys().next().copied();
        let on_trial = |image| matches!(shared.slots().activity(image), Ok(Activity::Trial { .. }));
        if first.is_some_and(on_trial) {
            lines.push(self.words.updates.on_trial.to_owned());
        }
        let tally = shared.board().tally;
        if tally.results > 0 {
            lines.push((self.words.waiting.today)(
                tally.results as usize,
                tally.flagged as usize,
            ));
        }
        notice(Tone::Good, self.words.waiting.ready, lines, self.words)
    }
}

fn kind_of(part: Part) -> FaultKind {
    match part {
        Part::Store | Part::Slots => FaultKind::StorageFails,
        Part::Disk => FaultKind::StorageFull,
        Part::Models => FaultKind::ModelFails,
        Part::Dicom | Part::Folder | Part::Media => FaultKind::IntakeFails,
        Part::Outbox => FaultKind::Other,
    }
}

fn notice(tone: Tone, headline: &str, lines: Vec<String>, words: &Words) -> NoticeView {
    NoticeView {
        tone,
        headline: headline.to_owned(),
        lines,
        progress: None,
        model: String::new(),
        status: words.status.ready.to_owned(),
        time: String::new(),
    }
}

/// Name and version of a model.
fn name(manifest: &Manifest) -> String {
    format!("{} {}", manifest.name, manifest.version)
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

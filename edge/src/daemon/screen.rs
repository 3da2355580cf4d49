//! What the display shows while the service runs: the last result, or what goes on.

use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Utc};
use embedded_graphics::geometry::OriginDimensions;
use hardware::display::{Canvas, Display, present};
use hardware::slots::Activity;

use super::board::Step;
use super::models::Models;
use super::shared::Shared;
use crate::examination::Examination;
use crate::presentation::{notices, result_view};
use crate::screens::{NoticeView, Page, Screens, Tone, View};
use crate::text::words::{Language, Words};

/// How long the end of an update stays on the display.
const NEWS: Duration = Duration::from_secs(20);
/// How long a result stays before the next step of an update may take its place.
const RESULT: Duration = Duration::from_secs(10);

/// The display with what it shows.
pub struct Screen {
    display: Option<Box<dyn Display>>,
    canvas: Canvas,
    screens: Screens,
    words: &'static Words,
    shown: Option<NoticeView>,
    result_since: Option<Instant>,
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
        let view = result_view(examination, manifest, self.words, &time);
        // A canvas takes every pixel.
        let Ok(()) = self.screens.draw(View::Result(&view, Page::Pictures), &mut self.canvas);
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
        let news = self.news(shared, models);
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
        let Ok(()) = self.screens.draw(View::Notice(&notice), &mut self.canvas);
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
    fn news(&self, shared: &Shared, models: &Models) -> Option<NoticeView> {
        if let Some(fault) = shared.board().fault.clone() {
            return Some(NoticeView {
                status: self.words.status.fault.to_owned(),
                ..notice(Tone::Fault, self.words.faults.headline, vec![fault], self.words)
            });
        }
        for image in 0..self.roles.len() as u32 {
            if let Some(step) = shared.board().step(image) {
                return Some(match step {
                    Step::Receiving(bytes) => notices::receiving(bytes.done, bytes.total, self.words),
                    Step::Verifying(bytes) => notices::verifying(bytes.done, bytes.total, self.words),
                    Step::SelfTest(cases) => notices::self_test(cases.done, cases.total, self.words),
                });
            }
            let activity = shared.slots().activity(image);
            if let Ok(Activity::Receiving { bytes, total }) = activity {
                return Some(notices::receiving(bytes, total, self.words));
            }
        }
        let serving = models.images().first().and_then(|image| models.name(*image));
        let board = shared.board();
        let news = board.news(Instant::now(), NEWS);
        news.map(|outcome| notices::outcome(outcome, serving.as_deref(), self.words))
    }

    fn idle(&self, shared: &Shared, models: &Models) -> NoticeView {
        let Some(model) = models.images().first().copied().and_then(|image| models.name(image)) else {
            return notices::no_model(self.words);
        };
        let tally = shared.board().tally;
        let mut lines = vec![(self.words.updates.model)(&model)];
        let on_trial = |image: &u32| matches!(shared.slots().activity(*image), Ok(Activity::Trial { .. }));
        if models.images().first().is_some_and(on_trial) {
            lines.push(self.words.updates.on_trial.to_owned());
        }
        if tally.results > 0 {
            lines.push((self.words.waiting.today)(
                tally.results as usize,
                tally.flagged as usize,
            ));
        }
        notice(Tone::Good, self.words.waiting.ready, lines, self.words)
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

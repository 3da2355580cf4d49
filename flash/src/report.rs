//! What the engineer sees while something is going on, and what programs read.
//!
//! Results and, with `--json`, events go to the standard output; progress and remarks go to standard error.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::difference::Choice;
use crate::exit::Failure;

/// How often progress is told where nobody sees a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often progress is told to programs.
const EVENT_EVERY: Duration = Duration::from_millis(500);
/// The rate is that of this last while.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Who is listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A person at a terminal, or lines in a log.
    Text,
    /// A program: one JSON object a line on the standard output.
    Json,
    /// Nobody, until something fails.
    Quiet,
}

/// Tells what is going on.
pub struct Reporter {
    style: Style,
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: String,
    told: Option<Instant>,
    rate: Rate,
}

impl Reporter {
    /// A reporter in a style. A bar is drawn only where standard error is a terminal.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let bar = ProgressBar::no_length();
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        Self {
            style,
            bar,
            state: Mutex::default(),
        }
    }

    /// Whether programs listen.
    #[must_use]
    pub fn json(&self) -> bool {
        self.style == Style::Json
    }

    /// A result: an object for programs, a text for people.
    ///
    /// # Errors
    /// What the system says of the standard output.
    pub fn result(&self, event: &str, value: Value, text: &str) -> io::Result<()> {
        self.bar.finish_and_clear();
        let mut out = io::stdout().lock();
        match self.style {
            Style::Json => writeln!(out, "{}", named(event, value)),
            Style::Text | Style::Quiet if text.is_empty() => Ok(()),
            Style::Text | Style::Quiet => writeln!(out, "{text}"),
        }
    }

    /// A result that is told only where somebody listens: what was done.
    ///
    /// # Errors
    /// What the system says of the standard output.
    pub fn done(&self, event: &str, value: Value, text: &str) -> io::Result<()> {
        if self.style == Style::Quiet {
            self.bar.finish_and_clear();
            return Ok(());
        }
        self.result(event, value, text)
    }

    /// Something that went otherwise than usual, and goes on.
    pub fn remark(&self, text: &str) {
        match self.style {
            Style::Json => event("remark", json!({ "text": text })),
            Style::Text => self.line(text),
            Style::Quiet => {}
        }
    }

    /// What is sent, and why.
    pub fn choice(&self, choice: &Choice) {
        match self.style {
            Style::Json => event("choice", choice.fields()),
            Style::Text => self.line(&choice.text()),
            Style::Quiet => {}
        }
    }

    /// Another stage begins: "sending", "verifying", "self-test", "trial".
    pub fn stage(&self, stage: &str, detail: &str) {
        let mut state = self.lock();
        if state.stage == stage {
            return;
        }
        *state = State {
            stage: stage.to_owned(),
            ..State::default()
        };
        drop(state);
        match self.style {
            Style::Json => event("stage", json!({ "stage": stage, "detail": detail })),
            Style::Text if self.bar.is_hidden() && !self.show_bar() => self.line(&staged(stage, detail)),
            Style::Text => self.spin(&staged(stage, detail)),
            Style::Quiet => {}
        }
    }

    /// How far the stage is. A stage that does not know yet how much it has to do says nothing.
    pub fn progress(&self, done: u64, total: u64) {
        if total == 0 {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let rate = state.rate.at(now, done);
        let left = rate
            .filter(|rate| *rate > 0)
            .map(|rate| total.saturating_sub(done) / rate);
        let every = if self.json() { EVENT_EVERY } else { LINE_EVERY };
        let due = state.told.is_none_or(|told| now - told >= every) || done == total;
        if due {
            state.told = Some(now);
        }
        let stage = state.stage.clone();
        drop(state);
        match self.style {
            Style::Json if due => {
                let value = json!({ "stage": stage, "bytes": done, "total": total, "bytes_a_second": rate, "seconds_left": left });
                event("progress", value);
            }
            Style::Text if !self.bar.is_hidden() => self.draw(done, total, rate, left),
            Style::Text if due => self.line(&format!("{stage}: {}", measured(done, total, rate, left))),
            _ => {}
        }
    }

    /// The end of all: a failure.
    pub fn failure(&self, failure: &Failure) {
        self.bar.finish_and_clear();
        if self.json() {
            let value = json!({
                "code": failure.exit as u8,
                "class": failure.exit.name(),
                "message": failure.message,
                "try": failure.advice,
            });
            event("error", value);
            return;
        }
        // Nothing can be told where standard error is closed.
        let _ = writeln!(io::stderr(), "error: {}", failure.message);
        if !failure.advice.is_empty() {
            let _ = writeln!(io::stderr(), "  try: {}", failure.advice);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the bar from now on, if there is a terminal to draw it on.
    fn show_bar(&self) -> bool {
        self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        !self.bar.is_hidden()
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    fn spin(&self, text: &str) {
        self.bar.set_style(style("{spinner} {msg}"));
        self.bar.set_message(text.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    fn draw(&self, done: u64, total: u64, rate: Option<u64>, left: Option<u64>) {
        if self.bar.length() != Some(total) {
            self.bar.disable_steady_tick();
            self.bar.set_style(style("{wide_bar} {msg}"));
            self.bar.set_length(total);
        }
        self.bar.set_message(measured(done, total, rate, left));
        self.bar.set_position(done);
    }
}

fn staged(stage: &str, detail: &str) -> String {
    if detail.is_empty() {
        return stage.to_owned();
    }
    format!("{stage}: {detail}")
}

fn measured(done: u64, total: u64, rate: Option<u64>, left: Option<u64>) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let mut text = format!("{percent:3} % of {}", HumanBytes(total));
    if let Some(rate) = rate {
        text += &format!(", {}/s", HumanBytes(rate));
    }
    if let Some(left) = left {
        text += &format!(", {} left", HumanDuration(Duration::from_secs(left)));
    }
    text
}

/// The template is one of ours; a wrong one shows the default bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn named(name: &str, value: Value) -> Value {
    let mut object = serde_json::Map::from_iter([("event".to_owned(), Value::from(name))]);
    match value {
        Value::Object(fields) => object.extend(fields),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Value::Object(object)
}

/// An event that nobody depends on: a closed output is found by the result.
fn event(name: &str, value: Value) {
    let _ = writeln!(io::stdout().lock(), "{}", named(name, value));
}

/// Bytes a second over the last while.
#[derive(Default)]
struct Rate {
    marks: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    fn at(&mut self, now: Instant, done: u64) -> Option<u64> {
        if self.marks.back().is_some_and(|(_, last)| done < *last) {
            self.marks.clear();
        }
        self.marks.push_back((now, done));
        while self.marks.len() > 2 && self.marks.get(1).is_some_and(|(at, _)| now - *at >= RATE_OVER) {
            self.marks.pop_front();
        }
        let (since, before) = *self.marks.front()?;
        let millis = (now - since).as_millis();
        let rate = u128::from(done - before) * 1000;
        (millis >= 200).then(|| u64::try_from(rate / millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(rate.at(at(0), 0), None);
        assert_eq!(rate.at(at(1), 1000), Some(1000));
        assert_eq!(rate.at(at(10), 10_000), Some(1000));
        assert_eq!(rate.at(at(11), 30_000), Some(2900));
        // The device wanted bytes again.
        assert_eq!(rate.at(at(12), 20_000), None);
    }

    #[test]
    fn an_event_names_itself_first() {
        let text = named("stage", json!({ "stage": "trial" })).to_string();
        assert_eq!(text, r#"{"event":"stage","stage":"trial"}"#);
    }

    #[test]
    fn progress_is_told_with_rate_and_time_left() {
        assert_eq!(
            measured(50, 200, Some(10), Some(15)),
            " 25 % of 200 B, 10 B/s, 15 seconds left"
        );
        assert_eq!(measured(0, 0, None, None), "100 % of 0 B");
    }
}

//! What the programs print: a bar on a terminal, plain lines when piped, JSON lines with `--json`.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bundle::cli::answer;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use trainer::progress::Progress;
use trainer::training::pace;

/// A plain line about a running stage is printed at most this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The one place through which the verbs print. Lines for people go to standard error while `--json` is on, so that
/// standard output holds nothing but JSON lines.
#[derive(Debug)]
pub struct Output {
    json: bool,
    stage: Mutex<Option<Stage>>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    unit: String,
    total: u64,
    done: u64,
    skipped: u64,
    begun: Instant,
    last_print: Instant,
    bar: Option<ProgressBar>,
}

impl Output {
    /// An output for people, or with `json` for scripts.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            stage: Mutex::new(None),
        }
    }

    /// The result of a verb: `value` as one JSON line with `--json`, else `text`.
    pub fn result(&self, value: &Value, text: &str) {
        if self.json {
            self.print_json(value)
        } else {
            self.line(text)
        }
    }

    fn print_json(&self, value: &Value) {
        print_line(value);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stage>> {
        self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn print(&self, stage: Option<&Stage>, text: &str) {
        match stage.and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None if self.json => eprintln!("{text}"),
            None => print_line(text),
        }
    }
}

impl Stage {
    /// How long the rest takes, at the pace of what was done in this time.
    fn left(&self, elapsed: Duration) -> Duration {
        let done = self.done.saturating_sub(self.skipped).max(1) as f64;
        let left = self.total.saturating_sub(self.done) as f64;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() / done * left).unwrap_or(Duration::MAX)
    }
}

impl Progress for Output {
    fn begin(&self, stage: &str, total: u64, unit: &str) {
        self.end();
        let bar = (!self.json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:32}] {pos}/{len} {msg} ({eta} left)")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
            ProgressBar::new(total).with_style(style).with_prefix(stage.to_owned())
        });
        let now = Instant::now();
        *self.lock() = Some(Stage {
            name: stage.to_owned(),
            unit: unit.to_owned(),
            total,
            done: 0,
            skipped: 0,
            begun: now,
            last_print: now,
            bar,
        });
    }

    fn skip(&self, steps: u64) {
        let mut guard = self.lock();
        let Some(stage) = guard.as_mut() else { return };
        stage.done += steps;
        stage.skipped += steps;
        if let Some(bar) = &stage.bar {
            bar.inc(steps);
            // Else these steps would count as done in no time.
            bar.reset_eta();
        }
    }

    fn advance(&self, steps: u64, detail: &str) {
        let mut guard = self.lock();
        let Some(stage) = guard.as_mut() else { return };
        stage.done += steps;
        if let Some(bar) = &stage.bar {
            bar.set_message(detail.to_owned());
            bar.inc(steps);
        } else if stage.last_print.elapsed() >= PLAIN_INTERVAL {
            stage.last_print = Instant::now();
            let elapsed = stage.begun.elapsed();
            let left = stage.left(elapsed);
            if self.json {
                self.print_json(&json!({
                    "record": "progress", "stage": stage.name, "unit": stage.unit,
                    "done": stage.done, "total": stage.total, "seconds_left": left.as_secs(), "detail": detail,
                }));
            } else {
                print_line(format_args!(
                    "{}: {} of {} {}, {} s, {} left, {detail}",
                    stage.name,
                    stage.done,
                    stage.total,
                    plural(&stage.unit),
                    elapsed.as_secs(),
                    pace::in_words(left),
                ));
            }
        }
    }

    fn end(&self) {
        if let Some(bar) = self.lock().take().and_then(|stage| stage.bar) {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        self.print(self.lock().as_ref(), text);
    }

    fn record(&self, kind: &str, value: &Value) {
        if !self.json {
            return;
        }
        let mut line = json!({ "record": kind });
        if let (Some(line), Some(value)) = (line.as_object_mut(), value.as_object()) {
            line.extend(value.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        self.print_json(&line);
    }
}

/// A line on standard output. The program's work is worth more than its lines: were the disk full that they go to, it
/// still goes on.
fn print_line(text: impl Display) {
    let _ = writeln!(answer(), "{text}");
}

/// "batch" -> "batches", "image" -> "images".
fn plural(unit: &str) -> String {
    match unit.ends_with("ch") || unit.ends_with('s') {
        true => format!("{unit}es"),
        false => format!("{unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_judged_by_what_was_done_since_the_stage_began() {
        let output = Output::new(true);
        output.begin("training", 1000, "step");
        output.skip(400);
        output.advance(100, "");
        let guard = output.lock();
        let left = guard.as_ref().unwrap().left(Duration::from_secs(20));
        assert_eq!(left, Duration::from_secs(100));
    }
}

//! `doctor`: how good is the line, how is the device.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::files::{fetch, list};
use super::slots::ImageArg;
use super::status::{problem_lines, roles};
use crate::exit::{Exit, Failure};
use crate::refusal;
use crate::scanside::{self, Outcome};
use crate::session::{RETRIES, Session};

/// Echoes that are asked for.
const ECHOES: usize = 20;
/// Text of an echo: the answer has to fit Zephyr's smallest buffers.
const ECHO_BYTES: usize = 200;
/// Where the device keeps its own report.
const REPORT: &str = "doctor";
/// How often the self-test is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Run the golden cases of the running model now, and wait for them
    #[arg(long)]
    self_test: bool,
    #[command(flatten)]
    of: ImageArg,
    /// Write the device's own report into this file, if it has one [default: show it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(context: &Context<'_>, args: &DoctorArgs) -> Result<(), Failure> {
    let session = context.session()?;
    let line = check_line(&session)?;
    context.result("line", line.value(&session), &line.text(&session))?;
    let counters = counters(&session);
    for (name, fields) in &counters {
        let fields_text: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let text = format!("{name}: {}", fields_text.join(", "));
        context.result("counters", json!({ "name": name, "fields": fields }), &text)?;
    }
    problems(context, &session)?;
    if args.self_test {
        self_test(context, &session, args.of.image)?;
    }
    report(context, &session, args)?;
    match line.lost {
        0 => Ok(()),
        lost => Err(Failure::device(
            format!("{lost} of {ECHOES} echoes were lost or damaged"),
            "use a shorter or better cable, a lower --baud on both sides, or --framing console",
        )),
    }
}

struct LineCheck {
    lost: usize,
    times: Vec<Duration>,
}

/// Sends echoes without repeating lost ones.
fn check_line(session: &Session) -> Result<LineCheck, Failure> {
    session.reporter.stage("checking the line", "");
    session.client.set_retries(0);
    let mut check = LineCheck {
        lost: 0,
        times: Vec::new(),
    };
    for number in 0..ECHOES {
        let text: String = ('a'..='z').cycle().skip(number).take(ECHO_BYTES).collect();
        let begun = Instant::now();
        match session.client.os_echo(&text) {
            Ok(echo) if echo == text => check.times.push(begun.elapsed()),
            _ => check.lost += 1,
        }
    }
    session.client.set_retries(RETRIES);
    if check.times.is_empty() {
        return Err(refusal::unanswered());
    }
    check.times.sort();
    Ok(check)
}

impl LineCheck {
    fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or_default()
    }

    fn text(&self, session: &Session) -> String {
        let slowest = self.times.last().copied().unwrap_or_default();
        format!(
            "line: {} of {ECHOES} echoes, {} ms each, {} ms at most; the device holds {} requests of {} bytes",
            self.times.len(),
            self.median().as_millis(),
            slowest.as_millis(),
            session.buffers,
            session.buffer_bytes,
        )
    }

    fn value(&self, session: &Session) -> Value {
        json!({
            "echoes": self.times.len(),
            "lost": self.lost,
            "median_ms": self.median().as_secs_f64() * 1000.0,
            "slowest_ms": self.times.last().map(|time| time.as_secs_f64() * 1000.0),
            "buffer_bytes": session.buffer_bytes,
            "buffers": session.buffers,
        })
    }
}

/// The device's counters; a device without them has none.
fn counters(session: &Session) -> Vec<(String, BTreeMap<String, u64>)> {
    let names = session.client.stats_list_groups().unwrap_or_default();
    let fields = |name: String| {
        let fields = session.client.stats_get_group_data(&name).ok()?;
        Some((name, fields.into_iter().collect()))
    };
    names.into_iter().filter_map(fields).collect()
}

/// What the device says is wrong with it, if it is one of ours.
fn problems(context: &Context<'_>, session: &Session) -> Result<(), Failure> {
    let Some(status) = session.status()?.filter(|status| !status.problems.is_empty()) else {
        return Ok(());
    };
    let text = problem_lines(&status, roles(session)).join("\n");
    context.result("problems", json!({ "problems": status.problems }), &text)
}

fn self_test(context: &Context<'_>, session: &Session, image: u32) -> Result<(), Failure> {
    session
        .reporter
        .stage("self-test", "the device runs the golden cases of the running model");
    session.insist("cannot begin the self-test", |client| {
        client.raw_command(&scanside::self_test(image))
    })?;
    let begun = Instant::now();
    loop {
        let status = session.status()?.unwrap_or_default();
        if let Some(activity) = status.activity(image, "self-test") {
            if let (Some(done), Some(total)) = (activity.done, activity.total) {
                session.reporter.progress(done, total);
            }
        } else if let Some(outcome) = ended(status.outcome(image)) {
            return verdict(context, outcome);
        } else if begun.elapsed() >= session.reach.patience {
            let message = "the self-test does not begin";
            return Err(Failure::device(
                message,
                "read the device's log with `scanside-flash logs`",
            ));
        }
        sleep(EVERY);
    }
}

fn ended(outcome: Option<&Outcome>) -> Option<&Outcome> {
    outcome.filter(|outcome| outcome.outcome == "passed" || outcome.outcome == "failed")
}

fn verdict(context: &Context<'_>, outcome: &Outcome) -> Result<(), Failure> {
    if outcome.outcome == "passed" {
        return context.result("self-test", json!({ "passed": true }), "self-test: passed");
    }
    let message = format!("the self-test failed: {}", outcome.reason);
    let advice =
        "read the device's log; the model, its runtime library or the device has changed since it was confirmed";
    Err(Failure::new(Exit::Unverified, message, advice))
}

fn report(context: &Context<'_>, session: &Session, args: &DoctorArgs) -> Result<(), Failure> {
    if session.identity.is_none() {
        return Ok(());
    }
    let files = list(session, REPORT)?;
    let Some(file) = files.first() else {
        session.reporter.remark("the device has no report of its own");
        return Ok(());
    };
    let bytes = fetch(session, &file.name)?;
    if let Some(path) = &args.out {
        std::fs::write(path, &bytes).map_err(|error| Failure::file(path, &error))?;
        let text = format!("wrote {}", path.display());
        return context.done("report", json!({ "name": file.name, "path": path }), &text);
    }
    let text = String::from_utf8_lossy(&bytes);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref()));
    context.result("report", json!({ "name": file.name, "report": value }), text.trim_end())
}

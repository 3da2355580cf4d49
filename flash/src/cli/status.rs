//! `status`: who the device is, what is in its slots, what is going on.

use bundle::container::hexadecimal;
use mcumgr_toolkit::commands::image::ImageState;
use serde_json::{Value, json};

use super::Context;
use crate::exit::Failure;
use crate::scanside::{Activity, Identity, Outcome, Problem, Status};
use crate::session::Session;

pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.session()?;
    let states = session.states()?;
    let status = session.status()?;
    let value = json!({
        "identity": session.identity,
        "images": states,
        "activities": status.as_ref().map(|status| &status.activities),
        "outcomes": status.as_ref().map(|status| &status.outcomes),
        "problems": status.as_ref().map(|status| &status.problems),
        "buffer_bytes": session.buffer_bytes,
        "buffers": session.buffers,
    });
    context.result("status", value, &text(&session, &states, status.as_ref()))
}

/// The roles of a device, or none.
pub fn roles(session: &Session) -> &[String] {
    session.identity.as_ref().map_or(&[], |identity| &identity.roles)
}

fn text(session: &Session, states: &[ImageState], status: Option<&Status>) -> String {
    let mut lines = match &session.identity {
        Some(identity) => identity_lines(identity),
        None => vec!["a device that knows SMP, but not Scanside's commands".to_owned()],
    };
    if states.is_empty() {
        lines.push("no image in any slot".to_owned());
    }
    lines.extend(states.iter().map(|state| state_line(state, roles(session))));
    if let Some(status) = status {
        lines.extend(
            status
                .activities
                .iter()
                .map(|activity| activity_line(activity, roles(session))),
        );
        lines.extend(
            status
                .outcomes
                .iter()
                .map(|outcome| outcome_line(outcome, roles(session))),
        );
        lines.extend(problem_lines(status, roles(session)));
        if status.activities.is_empty() {
            lines.push("idle".to_owned());
        }
    }
    lines.join("\n")
}

fn identity_lines(identity: &Identity) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {}, serial {}",
        identity.product, identity.software, identity.serial
    )];
    lines.extend(
        identity
            .details
            .iter()
            .map(|(name, value)| format!("  {name}: {value}")),
    );
    lines
}

/// The role of an image, or its number.
pub fn role(image: u32, roles: &[String]) -> String {
    roles
        .get(image as usize)
        .cloned()
        .unwrap_or_else(|| format!("image {image}"))
}

/// What the flags of a slot mean, in words.
pub fn words(state: &ImageState) -> String {
    let flags = [
        (state.active && state.confirmed, "runs, confirmed"),
        (state.active && !state.confirmed, "runs on trial"),
        (!state.active && state.confirmed, "confirmed, to return to"),
        (
            state.pending && state.permanent,
            "pending, to be confirmed after its self-test",
        ),
        (
            state.pending && !state.permanent,
            "pending, to be tried on the next start",
        ),
        (!state.bootable, "not checked yet"),
    ];
    let words: Vec<&str> = flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if words.is_empty() {
        "stored, not in use".to_owned()
    } else {
        words.join("; ")
    }
}

fn state_line(state: &ImageState, roles: &[String]) -> String {
    let hash = state
        .hash
        .as_deref()
        .map_or("no hash".to_owned(), |hash| hexadecimal(hash.get(..6).unwrap_or(hash)));
    format!(
        "{} slot {}: {} {hash}, {}",
        role(state.image, roles),
        state.slot,
        state.version,
        words(state)
    )
}

fn activity_line(activity: &Activity, roles: &[String]) -> String {
    let mut line = activity.state.clone();
    if let Some(image) = activity.image {
        line = format!("{}: {line}", role(image, roles));
    }
    if let (Some(done), Some(total)) = (activity.bytes.or(activity.done), activity.total) {
        line += &format!(" {done} of {total}");
    }
    if let Some(left) = activity.left {
        line += &format!(", confirmed by itself after {left} more good results");
    }
    line
}

fn outcome_line(outcome: &Outcome, roles: &[String]) -> String {
    let line = format!("{}: last {}", role(outcome.image, roles), outcome.outcome);
    if outcome.reason.is_empty() {
        line
    } else {
        format!("{line}: {}", outcome.reason)
    }
}

/// What the device says is wrong with it.
pub fn problem_lines(status: &Status, roles: &[String]) -> Vec<String> {
    let line = |Problem { image, problem }: &Problem| match image {
        Some(image) => format!("PROBLEM with {}: {problem}", role(*image, roles)),
        None => format!("PROBLEM: {problem}"),
    };
    status.problems.iter().map(line).collect()
}

/// An image's state for programs.
pub fn object(state: &ImageState) -> Value {
    serde_json::to_value(state).unwrap_or_default()
}

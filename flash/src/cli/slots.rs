//! `test`, `confirm`, `revert`, `erase`: which of the images on the device is used.

use std::path::Path;

use bundle::cli::TrustArgs;
use bundle::container::hexadecimal;
use clap::Args;
use mcumgr_toolkit::commands::image::ImageState;
use serde_json::json;

use super::Context;
use super::status::{role, roles, words};
use crate::artifact::Artifact;
use crate::exit::{Exit, Failure};
use crate::follow::{self, Ending, Subject};
use crate::restart;
use crate::scanside;
use crate::session::Session;

const STATUS: &str = "see the images with `scanside-flash status`";

/// Which image is meant, and how far to go.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The image: a bundle file or the first digits of a hash [default: the only one that is stored]
    #[arg(value_name = "BUNDLE|HASH")]
    which: Option<String>,
    #[command(flatten)]
    restart: RestartArgs,
}

/// Arguments of `confirm`.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// The image: a bundle file or the first digits of a hash [default: the one on trial]
    #[arg(value_name = "BUNDLE|HASH")]
    which: Option<String>,
    #[command(flatten)]
    restart: RestartArgs,
}

/// How far to go once an image is asked for.
#[derive(Debug, Clone, Copy, Args)]
pub struct RestartArgs {
    /// Leave the restart, with which self-test and trial begin, for later
    #[arg(long)]
    no_reset: bool,
    /// Wait through restart and self-test until the image serves, or the device has returned to the one before
    #[arg(long, conflicts_with = "no_reset")]
    wait: bool,
}

impl RestartArgs {
    /// Whether anything was said about it.
    pub fn asked(self) -> bool {
        self.no_reset || self.wait
    }
}

/// Which image of a device with several roles.
#[derive(Debug, Clone, Copy, Args)]
pub struct ImageArg {
    /// Number of the image, where the device has several roles
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(LAST_IMAGE)))]
    pub image: u32,
}

/// The last number that an image can have: its slots are numbered through, two of each.
const LAST_IMAGE: u32 = (u32::MAX - 1) / 2;

/// Arguments of `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    #[command(flatten)]
    of: ImageArg,
}

/// Arguments of `erase`.
#[derive(Debug, Args)]
pub struct EraseArgs {
    #[command(flatten)]
    of: ImageArg,
}

pub fn test(context: &Context<'_>, args: &TestArgs) -> Result<(), Failure> {
    let session = context.session()?;
    let states = session.states()?;
    let only = |state: &&ImageState| !state.active && !state.confirmed;
    let state = choose(&states, args.which.as_deref(), only, "stored and not in use")?;
    put_to_use(context, &session, subject(state)?, false, args.restart)
}

pub fn confirm(context: &Context<'_>, args: &ConfirmArgs) -> Result<(), Failure> {
    let session = context.session()?;
    let states = session.states()?;
    let state = choose(
        &states,
        args.which.as_deref(),
        |state| state.active && !state.confirmed,
        "on trial",
    )?;
    put_to_use(context, &session, subject(state)?, true, args.restart)
}

pub fn revert(context: &Context<'_>, args: &RevertArgs) -> Result<(), Failure> {
    let session = context.session()?;
    let image = args.of.image;
    let what = "cannot return to the confirmed image";
    let answer = session.insist_checked(what, |client| client.raw_command(&scanside::revert(image)));
    let states = session.states()?;
    if let Err(failure) = answer {
        // The answer to a first request may have been lost, and then there is nothing left to return from.
        let open = |state: &ImageState| state.image == image && (state.pending || state.active && !state.confirmed);
        let reverted = session.status()?.and_then(|status| status.outcome(image).cloned());
        if states.iter().any(open) || reverted.is_none_or(|outcome| outcome.outcome != "reverted") {
            return Err(failure);
        }
    }
    let confirmed = states.iter().find(|state| state.image == image && state.confirmed);
    let what_serves = match confirmed {
        Some(state) => format!("taken back; the confirmed image {} is to serve", state.version),
        None => "taken back; no image is confirmed, so none serves".to_owned(),
    };
    let name = role(image, roles(&session));
    let value = json!({ "image": image, "confirmed": confirmed.map(super::status::object) });
    context.done("reverted", value, &format!("{name}: {what_serves}"))
}

pub fn erase(context: &Context<'_>, args: &EraseArgs) -> Result<(), Failure> {
    let session = context.session()?;
    // Erasing counts slots through: the inactive slot of image n. LAST_IMAGE keeps that within the numbers.
    let image = args.of.image;
    let slot = image.saturating_mul(2).saturating_add(1);
    session.insist_checked("cannot empty the slot", |client| client.image_erase(Some(slot)))?;
    let name = role(image, roles(&session));
    context.done(
        "erased",
        json!({ "image": image }),
        &format!("{name}: the inactive slot is empty"),
    )
}

/// Asks for an image, and goes on as far as wanted. An image that runs confirmed needs nothing.
pub fn put_to_use(
    context: &Context<'_>,
    session: &Session,
    subject: Subject,
    permanent: bool,
    restart: RestartArgs,
) -> Result<(), Failure> {
    let states = session.states()?;
    let state = subject.find(&states).ok_or_else(|| {
        Failure::new(
            Exit::InputRefused,
            "the device does not have this image",
            "send it with `scanside-flash upload`",
        )
    })?;
    if state.active && (state.confirmed || !permanent) {
        return tell(
            context,
            session,
            subject,
            &format!("nothing to do: it {}", words(state)),
        );
    }
    if !state.bootable {
        follow::until_bootable(session, subject)?;
    }
    let runs = state.active;
    follow::request(session, subject, permanent)?;
    if runs {
        // Asked for during the self-test, it is confirmed when that has passed.
        follow::through_trial(session, subject, permanent)?;
        return tell(context, session, subject, "confirmed: it stays");
    }
    if restart.no_reset {
        return tell(
            context,
            session,
            subject,
            "pending: its self-test begins with the next start, or with `scanside-flash reset`",
        );
    }
    if !restart.wait {
        restart::restart(session, false)?;
        let text = "the device restarts and tests it; see how it goes with `scanside-flash status`";
        return tell(context, session, subject, text);
    }
    match follow::through_restart(session, subject, permanent)? {
        Ending::Confirmed => tell(
            context,
            session,
            subject,
            "confirmed: it passed its self-test and stays",
        ),
        Ending::OnTrial { left } => {
            let keep = match left {
                Some(left) => format!("confirmed by itself after {left} more good results"),
                None => "keep it with `scanside-flash confirm`".to_owned(),
            };
            let text =
                format!("on trial: it passed its self-test and serves; {keep}; a power cut or `revert` takes it back");
            tell(context, session, subject, &text)
        }
    }
}

/// Tells what became of an image, with the state that the device shows now.
fn tell(context: &Context<'_>, session: &Session, subject: Subject, text: &str) -> Result<(), Failure> {
    let states = if text.contains("restarts") {
        Vec::new()
    } else {
        session.states()?
    };
    let state = subject.find(&states).map(super::status::object);
    let value = json!({ "image": subject.image, "hash": hexadecimal(&subject.hash), "state": state, "text": text });
    context.done("done", value, text)
}

/// The image that is meant.
fn choose<'s>(
    states: &'s [ImageState],
    which: Option<&str>,
    default: impl Fn(&&ImageState) -> bool,
    what: &str,
) -> Result<&'s ImageState, Failure> {
    let found: Vec<&ImageState> = match which {
        None => states.iter().filter(default).collect(),
        Some(which) => {
            let wanted = digits(which)?;
            let starts = |state: &&ImageState| {
                state
                    .hash
                    .as_deref()
                    .is_some_and(|hash| hexadecimal(hash).starts_with(&wanted))
            };
            states.iter().filter(starts).collect()
        }
    };
    match (found.as_slice(), which) {
        ([one], _) => Ok(one),
        ([], None) => Err(Failure::new(Exit::InputRefused, format!("no image is {what}"), STATUS)),
        (_, None) => {
            let message = format!("several images are {what}");
            Err(Failure::usage(
                message,
                "name one by the first digits of its hash, see `scanside-flash status`",
            ))
        }
        ([], Some(which)) => {
            let message = format!("the device has no image {which}");
            Err(Failure::new(
                Exit::InputRefused,
                message,
                "send it with `scanside-flash upload`",
            ))
        }
        (_, Some(which)) => Err(Failure::usage(
            format!("several images begin with {which}"),
            "give more digits",
        )),
    }
}

/// The hash, or its beginning, that a file or digits name.
fn digits(which: &str) -> Result<String, Failure> {
    let path = Path::new(which);
    if path.is_file() {
        return Ok(hexadecimal(&Artifact::open(path, &TrustArgs::default())?.hash));
    }
    let digits = which.to_ascii_lowercase();
    if digits.len() >= 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    let message = format!("{which} is neither a file nor at least four digits of a hash");
    Err(Failure::usage(message, STATUS))
}

fn subject(state: &ImageState) -> Result<Subject, Failure> {
    let hash = state.hash.as_deref().and_then(|hash| hash.try_into().ok());
    let hash = hash.ok_or_else(|| Failure::device("the device does not tell the image's hash", STATUS))?;
    Ok(Subject {
        image: state.image,
        hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(slot: u32, first: u8) -> ImageState {
        ImageState {
            image: 0,
            slot,
            version: "1.0.0".to_owned(),
            hash: Some([first; 32].to_vec()),
            bootable: true,
            pending: false,
            confirmed: slot == 0,
            active: slot == 0,
            permanent: false,
        }
    }

    #[test]
    fn an_image_is_meant_by_state_or_by_digits() {
        let states = [state(0, 0xab), state(1, 0xac)];
        let stored = |state: &&ImageState| !state.active;
        assert_eq!(choose(&states, None, stored, "stored").unwrap().slot, 1);
        assert_eq!(choose(&states, Some("ABAB"), stored, "stored").unwrap().slot, 0);
        let exit = |which: &str| choose(&states, Some(which), stored, "stored").unwrap_err().exit;
        assert_eq!(exit("abac"), Exit::InputRefused);
        assert_eq!(exit("ab"), Exit::Usage);
        assert_eq!(exit("none.scanside"), Exit::Usage);
        let twins = [state(0, 7), state(1, 7)];
        assert_eq!(choose(&twins, Some("0707"), stored, "").unwrap_err().exit, Exit::Usage);
        assert_eq!(choose(&twins, None, |_| true, "").unwrap_err().exit, Exit::Usage);
        assert_eq!(
            choose(&states, None, |_| false, "on trial").unwrap_err().message,
            "no image is on trial"
        );
    }
}

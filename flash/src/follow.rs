//! What the device does by itself after an upload, watched until it is over: reading back, restart, self-test, trial.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bundle::container::hexadecimal;
use mcumgr_toolkit::client::MCUmgrClientError;
use mcumgr_toolkit::commands::image::ImageState;
use mcumgr_toolkit::connection::ExecuteError;

use crate::exit::{Exit, Failure};
use crate::refusal;
use crate::restart;
use crate::scanside::{self, Status};
use crate::session::{RETRIES, Session};

/// How often the device is asked.
const EVERY: Duration = Duration::from_millis(250);
/// What an image must look like in a row before it is taken for gone or reverted: a restart has moments in between.
const SURE: u32 = 4;
/// How often a change of state is asked for that the answer does not show.
const ATTEMPTS: u32 = 3;

const STATUS: &str = "see what goes on with `scanside-flash status`";
const SERVICE: &str =
    "see whether the appliance's service runs and what its log says; the confirmed model is untouched";

/// An image on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Its number.
    pub image: u32,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Subject {
    /// Its state among those of all.
    #[must_use]
    pub fn find(self, states: &[ImageState]) -> Option<&ImageState> {
        let is = |state: &&ImageState| state.image == self.image && state.hash.as_deref() == Some(&self.hash[..]);
        states.iter().find(is)
    }

    fn name(self) -> String {
        hexadecimal(&self.hash[..6])
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It passed its self-test and serves; `left` good results until it is confirmed by itself, if ever.
    OnTrial {
        /// Good results left.
        left: Option<u64>,
    },
    /// It stays.
    Confirmed,
}

/// What the device made of what it received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It was read back and found whole.
    Bootable,
    /// It did not keep it.
    NotKept(Failure),
}

/// Waits until the device has read an uploaded image back and found it whole.
///
/// # Errors
/// It was not whole, or the device falls silent.
pub fn until_bootable(session: &Session, subject: Subject) -> Result<(), Failure> {
    match until_received(session, subject)? {
        Received::Bootable => Ok(()),
        Received::NotKept(failure) => Err(failure),
    }
}

/// Waits until the device has put an image together, if it came as a difference, and read it back.
///
/// # Errors
/// The device falls silent.
pub fn until_received(session: &Session, subject: Subject) -> Result<Received, Failure> {
    let mut watch = Watch::new(session, subject);
    loop {
        let seen = watch.look()?;
        let status = seen.status.as_ref();
        match seen.state {
            Some(state) if state.bootable => return Ok(Received::Bootable),
            Some(_) => watch.show(status, "verifying", "the device reads the file back")?,
            None if status.is_some_and(|status| status.activity(subject.image, "rebuilding").is_some()) => {
                watch.show(status, "rebuilding", "the device puts the bundle together")?;
            }
            None if watch.missing >= SURE => return Ok(Received::NotKept(not_whole(status, subject))),
            None => {}
        }
        sleep(EVERY);
    }
}

/// Asks for an image on the next start: on trial, or to be confirmed once its self-test passed. An image that runs is
/// confirmed at once.
///
/// # Errors
/// The device's refusal.
pub fn request(session: &Session, subject: Subject, permanent: bool) -> Result<(), Failure> {
    let what = if permanent {
        "cannot confirm the image"
    } else {
        "cannot put the image on trial"
    };
    for _ in 0..ATTEMPTS {
        let states = session.insist_checked(what, |client| client.image_set_state(Some(&subject.hash), permanent))?;
        let taken = subject.find(&states).is_some_and(|state| match permanent {
            true => state.confirmed || state.permanent,
            // A wrong bit on the way must not have made one of the two into the other.
            false => state.pending && !state.permanent || state.active,
        });
        if taken {
            return Ok(());
        }
    }
    Err(Failure::device(
        format!("{what}: the device said yes, but shows it otherwise"),
        STATUS,
    ))
}

/// Restarts the service and watches an image that was asked for through restart and self-test, until it serves on
/// trial or, if `permanent`, is confirmed.
///
/// # Errors
/// The device returned to the image before, or falls silent.
pub fn through_restart(session: &Session, subject: Subject, permanent: bool) -> Result<Ending, Failure> {
    restart::restart(session, false)?;
    session.reporter.stage("restarting", "");
    through_trial(session, subject, permanent)
}

/// As [`through_restart`], of an image whose trial has begun.
///
/// # Errors
/// As [`through_restart`].
pub fn through_trial(session: &Session, subject: Subject, permanent: bool) -> Result<Ending, Failure> {
    let mut watch = Watch::new(session, subject);
    loop {
        let seen = watch.look()?;
        let status = seen.status.as_ref();
        let testing = status.is_some_and(|status| status.activity(subject.image, "self-test").is_some());
        match seen.state {
            Some(state) if state.active && state.confirmed => return Ok(Ending::Confirmed),
            _ if testing => watch.show(status, "self-test", "the device runs the bundle's golden cases")?,
            Some(state) if state.active && !permanent => match status {
                // It runs; of other devices no more is known.
                None => return Ok(Ending::OnTrial { left: None }),
                Some(status) => match status.activity(subject.image, "trial") {
                    Some(trial) => return Ok(Ending::OnTrial { left: trial.left }),
                    // The status is older than the states: the self-test has begun since.
                    None => watch.not_for_ever("self-test")?,
                },
            },
            Some(state) if state.active => {
                session
                    .reporter
                    .stage("trial", "the new model serves, not yet confirmed");
                if !state.permanent {
                    // The promise to keep it was lost on the way.
                    request(session, subject, true)?;
                }
                watch.not_for_ever("trial")?;
            }
            Some(state) if state.pending => watch.pending()?,
            _ if watch.idle >= SURE => return Err(reverted(status, subject)),
            _ => {}
        }
        sleep(EVERY);
    }
}

/// What one look showed.
struct Seen {
    state: Option<ImageState>,
    status: Option<Status>,
}

/// Looks again and again, and is patient with a device that restarts meanwhile.
struct Watch<'a> {
    session: &'a Session,
    subject: Subject,
    answered: Instant,
    /// Since when the device has shown the same, without anything going on.
    same: Instant,
    /// How often in a row the image was in no slot.
    missing: u32,
    /// How often in a row it was neither active nor pending.
    idle: u32,
}

impl<'a> Watch<'a> {
    fn new(session: &'a Session, subject: Subject) -> Self {
        let now = Instant::now();
        Self {
            session,
            subject,
            answered: now,
            same: now,
            missing: 0,
            idle: 0,
        }
    }

    fn look(&mut self) -> Result<Seen, Failure> {
        self.session.client.set_retries(0);
        let seen = self.look_patiently();
        self.session.client.set_retries(RETRIES);
        seen
    }

    fn look_patiently(&mut self) -> Result<Seen, Failure> {
        loop {
            match self.ask() {
                Ok(seen) => {
                    self.answered = Instant::now();
                    self.count(&seen);
                    return Ok(seen);
                }
                Err(error @ MCUmgrClientError::ExecuteError(ExecuteError::SendFailed(_))) => {
                    return Err(refusal::failure("cannot watch the device", &error));
                }
                Err(error) if self.answered.elapsed() >= self.session.reach.patience => {
                    let mut failure = refusal::failure("cannot watch the device", &error);
                    failure.advice = SERVICE.to_owned();
                    return Err(failure);
                }
                Err(_) => {
                    if self.answered.elapsed() > EVERY * 8 {
                        self.session
                            .reporter
                            .stage("waiting", "the device does not answer at the moment");
                    }
                    sleep(EVERY);
                }
            }
        }
    }

    fn ask(&self) -> Result<Seen, MCUmgrClientError> {
        // The status first: what it shows may be over in the states, but not the other way round.
        let status = match self.session.identity {
            Some(_) => Some(self.session.client.raw_command(&scanside::status())?),
            None => None,
        };
        let states = self.session.client.image_get_state()?;
        Ok(Seen {
            state: self.subject.find(&states).cloned(),
            status,
        })
    }

    fn count(&mut self, seen: &Seen) {
        let image = self.subject.image;
        // A trial of this image may be at its self-test, when neither image is active yet.
        let busy = seen.status.as_ref().is_some_and(|status| {
            let mut own = status
                .activities
                .iter()
                .filter(|one| one.image.is_none_or(|number| number == image));
            // These two may take as long as they like, and nothing comes of waiting for them.
            own.any(|one| one.state != "receiving" && one.state != "trial")
        });
        let add = |count: u32, counts: bool| if counts && !busy { count + 1 } else { 0 };
        self.missing = add(self.missing, seen.state.is_none());
        let unused = seen.state.as_ref().is_none_or(|state| !state.active && !state.pending);
        self.idle = add(self.idle, unused);
        if busy {
            self.same = Instant::now();
        }
    }

    /// Shows a stage and how far it is.
    fn show(&self, status: Option<&Status>, stage: &str, detail: &str) -> Result<(), Failure> {
        self.session.reporter.stage(stage, detail);
        let activity = status.and_then(|status| status.activity(self.subject.image, stage));
        if let Some(activity) = activity {
            let done = activity.bytes.or(activity.done);
            if let (Some(done), Some(total)) = (done, activity.total) {
                self.session.reporter.progress(done, total);
            }
            return Ok(());
        }
        self.not_for_ever(stage)
    }

    /// The image is asked for, and the restart has not come yet.
    fn pending(&self) -> Result<(), Failure> {
        self.session.reporter.stage("restarting", "");
        self.not_for_ever("restarting")
    }

    /// A stage that the device does not say it is busy with ends some time.
    fn not_for_ever(&self, stage: &str) -> Result<(), Failure> {
        if self.same.elapsed() < self.session.reach.patience {
            return Ok(());
        }
        let (name, seconds) = (self.subject.name(), self.session.reach.patience.as_secs());
        Err(Failure::device(
            format!("image {name} has been at '{stage}' for {seconds} s, and nothing happens"),
            SERVICE,
        ))
    }
}

fn reason(status: Option<&Status>, image: u32) -> String {
    let outcome = status.and_then(|status| status.outcome(image));
    let reason = outcome.map(|outcome| match outcome.reason.as_str() {
        "" => outcome.outcome.clone(),
        reason => reason.to_owned(),
    });
    reason.unwrap_or_else(|| "the device gives no reason".to_owned())
}

fn not_whole(status: Option<&Status>, subject: Subject) -> Failure {
    Failure::new(
        Exit::Unverified,
        format!(
            "the device did not keep image {}: {}",
            subject.name(),
            reason(status, subject.image)
        ),
        "upload it again; if that comes again, look at the device's storage with `scanside-flash doctor`",
    )
}

fn reverted(status: Option<&Status>, subject: Subject) -> Failure {
    Failure::new(
        Exit::Unverified,
        format!(
            "image {} did not stay, the one before it serves again: {}",
            subject.name(),
            reason(status, subject.image)
        ),
        "read why in `scanside-flash status` and `scanside-flash logs`; the bundle may not suit this device",
    )
}

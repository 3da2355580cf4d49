//! Restarts of the device's service: each is asked for until it was heard, and no more often, because a second one would
//! come in the way of what the first began.

use std::thread::sleep;
use std::time::{Duration, Instant};

use mcumgr_toolkit::client::MCUmgrClientError;
use mcumgr_toolkit::connection::ExecuteError;

use crate::exit::Failure;
use crate::refusal;
use crate::scanside;
use crate::session::{RETRIES, Session};

/// How often a restart is asked for that the device shows not to have heard.
const ATTEMPTS: u32 = 3;
/// How often the device is looked at.
const EVERY: Duration = Duration::from_millis(250);

const WHAT: &str = "cannot restart the device";
const SERVICE: &str =
    "see whether the appliance's service runs and what its log says; the confirmed model is untouched";

/// Which run of the service answers; `None` of a device that does not tell.
pub type Run = Option<u64>;

/// Restarts the service, and gives the run that ends with it. Where no answer comes, the device is looked at: either the
/// restart was quicker, or the request was lost.
///
/// # Errors
/// The device's refusal, for example because a self-test runs; it did not hear; it fell silent.
pub fn restart(session: &Session, force: bool) -> Result<Run, Failure> {
    let run = session.run()?;
    let mut failure = None;
    for _ in 0..ATTEMPTS {
        match ask(session, force) {
            Ok(()) => return Ok(run),
            Err(MCUmgrClientError::ExecuteError(ExecuteError::ReceiveFailed(_))) => {}
            // Noise may have made it into a request that nobody meant.
            Err(error) if refusal::refuses(&error) && !refusal::is_busy(&error) => {
                failure = Some(refusal::failure(WHAT, &error));
            }
            Err(error) => return Err(refusal::failure(WHAT, &error)),
        }
        if was_heard(session, run)? {
            return Ok(run);
        }
    }
    Err(failure.unwrap_or_else(|| {
        let advice = "run the same command again, with --framing console if the line is noisy";
        Failure::device("the device did not hear that it should restart", advice)
    }))
}

fn ask(session: &Session, force: bool) -> Result<(), MCUmgrClientError> {
    session.client.set_retries(0);
    let answer = {
        let _checked = session.checked();
        session.client.os_system_reset(force, None)
    };
    session.client.set_retries(RETRIES);
    answer
}

/// Whether a restart that was not answered is under way, or over.
fn was_heard(session: &Session, before: Run) -> Result<bool, Failure> {
    if before.is_none() {
        let text = "the device did not answer to the restart; whether it heard is not known";
        session.reporter.remark(text);
        return Ok(true);
    }
    let now = until(session, |_| true)?;
    let status = session.status()?.unwrap_or_default();
    let restarts = status.activities.iter().any(|activity| activity.state == "restarting");
    Ok(now != before || restarts)
}

/// Waits until the device answers again after a restart that ended a run.
///
/// # Errors
/// It does not within the patience.
pub fn until_back(session: &Session, before: Run) -> Result<(), Failure> {
    session.reporter.stage("restarting", "");
    if before.is_none() {
        // It answers for a moment more before it goes.
        sleep(EVERY * 2);
    }
    until(session, |run| before.is_none() || run != before).map(|_| ())
}

/// Asks which run it is until it is as wanted.
fn until(session: &Session, is_wanted: impl Fn(Run) -> bool) -> Result<Run, Failure> {
    let begun = Instant::now();
    // A wrong bit in the number would be taken for another run.
    let _checked = session.checked();
    session.client.set_retries(0);
    let found = loop {
        let run = match session.identity {
            Some(_) => session.client.raw_command(&scanside::identity()).map(|found| found.run),
            None => session.client.check_connection().map(|()| None),
        };
        match run {
            Ok(run) if is_wanted(run) => break Some(run),
            _ if begun.elapsed() >= session.reach.patience => break None,
            Ok(_) => sleep(EVERY),
            // Asking took its time.
            Err(_) => {}
        }
    };
    session.client.set_retries(RETRIES);
    found.ok_or_else(|| {
        let seconds = session.reach.patience.as_secs();
        let message = format!("the device has not come back within {seconds} s after the restart");
        Failure::device(message, SERVICE)
    })
}

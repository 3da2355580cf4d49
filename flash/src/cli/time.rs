//! `time` and `reset`.

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use clap::Args;
use mcumgr_toolkit::MCUmgrClient;
use mcumgr_toolkit::client::MCUmgrClientError;
use mcumgr_toolkit::connection::ExecuteError;
use mcumgr_toolkit::smp_errors::DeviceError;
use serde_json::json;

use super::Context;
use crate::exit::Failure;
use crate::refusal;
use crate::restart;
use crate::session::Session;

/// Zephyr's "the clock was never set", in the OS group.
const CLOCK_NOT_SET: i32 = 4;
const OS_GROUP: u16 = 0;

/// Arguments of `time`.
#[derive(Debug, Args)]
pub struct TimeArgs {
    /// Set the clock: to this computer's, or to a time such as 2026-01-31T23:59:59Z
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "now", value_parser = parse)]
    set: Option<Wanted>,
}

/// Arguments of `reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Also while the self-test of a new model runs: it is begun anew after the restart
    #[arg(long)]
    force: bool,
    /// Wait until the device answers again
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Now,
    At(NaiveDateTime),
}

fn parse(text: &str) -> Result<Wanted, String> {
    if text == "now" {
        return Ok(Wanted::Now);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| "write 'now' or a time such as 2026-01-31T23:59:59Z")?;
    Ok(Wanted::At(time.naive_utc()))
}

pub fn run(context: &Context<'_>, args: &TimeArgs) -> Result<(), Failure> {
    let session = context.session()?;
    if let Some(wanted) = args.set {
        let time = || match wanted {
            Wanted::Now => Utc::now().naive_utc().trunc_subsecs(3),
            Wanted::At(time) => time,
        };
        session.insist_checked("cannot set the clock", |client| client.os_set_datetime(time()))?;
    }
    let Some(device) = clock(&session)? else {
        let text = "the clock was never set; set it with `scanside-flash time --set`";
        return context.result("time", json!({ "device": null }), text);
    };
    let behind = (Utc::now().naive_utc() - device).num_milliseconds();
    let value = json!({ "device": device.and_utc().to_rfc3339(), "behind_ms": behind });
    let text = format!("{} UTC, {}", device.format("%Y-%m-%d %H:%M:%S"), difference(behind));
    context.result("time", value, &text)
}

fn clock(session: &Session) -> Result<Option<NaiveDateTime>, Failure> {
    match session.hear(MCUmgrClient::os_get_datetime) {
        Ok(time) => Ok(Some(time)),
        Err(MCUmgrClientError::ExecuteError(ExecuteError::ErrorResponse(DeviceError::V2 {
            group: OS_GROUP,
            rc: CLOCK_NOT_SET,
        }))) => Ok(None),
        Err(error) => Err(refusal::failure("cannot read the clock", &error)),
    }
}

fn difference(behind: i64) -> String {
    let seconds = behind.abs() / 1000;
    match behind {
        -1999..=1999 => "as this computer's".to_owned(),
        2000.. => format!("{seconds} s behind this computer's"),
        _ => format!("{seconds} s ahead of this computer's"),
    }
}

pub fn reset(context: &Context<'_>, args: &ResetArgs) -> Result<(), Failure> {
    let session = context.session()?;
    let before = restart::restart(&session, args.force)?;
    if args.wait {
        restart::until_back(&session, before)?;
        return context.done("restarted", json!({}), "the device is back");
    }
    context.done("restarting", json!({}), "the device restarts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(parse("now"), Ok(Wanted::Now));
        let Ok(Wanted::At(time)) = parse("2026-01-31T23:59:59+02:00") else {
            panic!("not parsed");
        };
        assert_eq!(time.to_string(), "2026-01-31 21:59:59");
        assert!(parse("2026-01-31").is_err());
        assert_eq!(difference(-61_000), "61 s ahead of this computer's");
    }
}

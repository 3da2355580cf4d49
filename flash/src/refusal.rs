//! What a device's refusal means for the engineer: its class and what to try.

use mcumgr_toolkit::client::MCUmgrClientError;
use mcumgr_toolkit::connection::ExecuteError;
use mcumgr_toolkit::smp_errors::DeviceError;
use mcumgr_toolkit::transport::SendError;

use crate::exit::{Exit, Failure};
use crate::line::LineError;
use crate::session::line_failure;

const IMAGE_GROUP: u16 = 1;
const FILE_GROUP: u16 = 8;
/// Zephyr's "unknown kind of checksum", in the file group.
const NO_SUCH_DIGEST: i32 = 13;
/// SMP's "another command is at work".
const BUSY: i32 = 10;

const STATUS: &str = "see what goes on with `scanside-flash status`";
const OTHER_BUNDLE: &str = "look at the bundle with `scanside-flash inspect`, and take one that this device can use";
const TRUST: &str = "check with `scanside-flash inspect` who signed the bundle, and which keys the appliance trusts";
const AGAIN: &str = "run the same command again; an upload goes on where it stood";
const LOGS: &str = "read the device's log with `scanside-flash logs`";

/// Whether a device does not know a command.
#[must_use]
pub fn not_supported(error: &MCUmgrClientError) -> bool {
    error.command_not_supported()
}

/// Whether a device answered, and refused.
#[must_use]
pub fn refuses(error: &MCUmgrClientError) -> bool {
    matches!(error, MCUmgrClientError::ExecuteError(ExecuteError::ErrorResponse(_)))
}

/// Whether an answer came that nobody can read: noise, on a line without a checksum.
#[must_use]
pub fn is_garbled(error: &MCUmgrClientError) -> bool {
    matches!(error, MCUmgrClientError::ExecuteError(ExecuteError::DecodeFailed(_)))
}

/// Whether a device refused because something is at work.
#[must_use]
pub fn is_busy(error: &MCUmgrClientError) -> bool {
    matches!(
        error,
        MCUmgrClientError::ExecuteError(ExecuteError::ErrorResponse(DeviceError::V1 { rc: BUSY, .. }))
    )
}

/// Whether a device does not know the kind of digest that was asked for.
#[must_use]
pub fn no_such_digest(error: &MCUmgrClientError) -> bool {
    matches!(
        error,
        MCUmgrClientError::ExecuteError(ExecuteError::ErrorResponse(DeviceError::V2 {
            group: FILE_GROUP,
            rc: NO_SUCH_DIGEST,
        }))
    )
}

/// A failed request as a failure to do `what`.
#[must_use]
pub fn failure(what: &str, error: &MCUmgrClientError) -> Failure {
    let failure = match error {
        MCUmgrClientError::ExecuteError(ExecuteError::ErrorResponse(refusal)) => refused(refusal),
        MCUmgrClientError::ExecuteError(ExecuteError::SendFailed(error)) => not_sent(error),
        MCUmgrClientError::ExecuteError(ExecuteError::ReceiveFailed(_)) => unanswered(),
        MCUmgrClientError::WriterError(error) => Failure::new(
            Exit::Failed,
            error.to_string(),
            "check that the folder may be written and has room",
        ),
        other => Failure::device(causes(other), AGAIN),
    };
    failure.while_doing(what)
}

/// No answer came.
#[must_use]
pub fn unanswered() -> Failure {
    Failure::device(
        "the device does not answer any more",
        "check cable and power; then run the same command again: an upload goes on where it stood",
    )
}

fn not_sent(error: &SendError) -> Failure {
    if let SendError::TransportError(inner) = error
        && let Some(line) = inner.downcast_ref::<LineError>()
    {
        return line_failure(line);
    }
    Failure::device(causes(error), AGAIN)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text += &format!(": {error}");
        next = error.source();
    }
    text
}

/// What a device's refusal means.
#[must_use]
pub fn refused(refusal: &DeviceError) -> Failure {
    match refusal {
        DeviceError::V1 { rc, rsn } => {
            let (exit, words, advice) = of_smp(*rc);
            let words = rsn.as_deref().filter(|reason| !reason.is_empty()).unwrap_or(words);
            Failure::new(exit, format!("the device refuses: {words}"), advice)
        }
        DeviceError::V2 { group, rc } => {
            let (exit, words, advice) = match *group {
                IMAGE_GROUP => of_image(*rc),
                FILE_GROUP => of_files(*rc),
                _ => (Exit::Device, "", LOGS),
            };
            let words = if words.is_empty() {
                refusal.to_string()
            } else {
                words.to_owned()
            };
            Failure::new(exit, format!("the device refuses: {words}"), advice)
        }
    }
}

type Meaning = (Exit, &'static str, &'static str);

/// SMP's general codes (`mcumgr_err_t`), with what Scanside uses them for.
fn of_smp(rc: i32) -> Meaning {
    match rc {
        2 => (
            Exit::InputRefused,
            "no room",
            "make room: `scanside-flash erase`, or delete old results",
        ),
        3 => (Exit::InputRefused, "an impossible value", OTHER_BUNDLE),
        5 => (Exit::InputRefused, "there is no such thing", STATUS),
        6 => (Exit::Device, "its state does not allow that now", STATUS),
        8 => (
            Exit::Device,
            "it does not know this command",
            "update the device's software, or use another tool",
        ),
        9 => (
            Exit::Unverified,
            "the data is damaged",
            "get the bundle again from whoever made it",
        ),
        BUSY => (
            Exit::Device,
            "another command is at work",
            "wait a moment and run the same command again",
        ),
        11 => (Exit::Unverified, "not allowed", TRUST),
        12 | 13 => (
            Exit::Device,
            "another version of SMP",
            "update scanside-flash or the device's software",
        ),
        _ => (Exit::Device, "something failed on the device", LOGS),
    }
}

/// Zephyr's `img_mgmt_err_code_t`.
fn of_image(rc: i32) -> Meaning {
    match rc {
        3 => (Exit::InputRefused, "there is no image in the slot", STATUS),
        14 => (Exit::InputRefused, "there is no such slot", STATUS),
        22 | 23 => (Exit::InputRefused, "this file is no bundle", OTHER_BUNDLE),
        24 => (Exit::InputRefused, "no slot holds an image of this hash", STATUS),
        27 => (Exit::InputRefused, "the running version is not older", OTHER_BUNDLE),
        28 => (
            Exit::Device,
            "another image is pending already",
            "end that with `scanside-flash revert`, or restart",
        ),
        30 => (Exit::InputRefused, "the bundle is larger than a slot", OTHER_BUNDLE),
        32 => (Exit::Device, "this image may not be confirmed now", STATUS),
        33 => (Exit::Device, "this image runs already", STATUS),
        _ => (Exit::Device, "", AGAIN),
    }
}

/// Zephyr's `fs_mgmt_err_code_t`.
fn of_files(rc: i32) -> Meaning {
    match rc {
        2..=4 => (
            Exit::InputRefused,
            "there is no such file",
            "list the files: `logs` or `results` without a name",
        ),
        16 => (Exit::InputRefused, "the file is empty", ""),
        _ => (Exit::Device, "", LOGS),
    }
}

/// The class of a refused bundle, by the stable name that preflight gives.
#[must_use]
pub fn of_verdict(code: &str, reason: &str) -> Failure {
    let (exit, advice) = match code {
        "signature" => (Exit::Unverified, TRUST),
        "format" | "corrupt" => (Exit::Unverified, "get the bundle again from whoever made it"),
        "downgrade" => (
            Exit::Unverified,
            "take a bundle with a security counter at least as high",
        ),
        "role" => (
            Exit::InputRefused,
            "take the bundle of this device's role, or name the slots with --image",
        ),
        "hardware" => (
            Exit::InputRefused,
            "take the bundle that was made for this kind of device",
        ),
        "space" => (
            Exit::InputRefused,
            "make room: `scanside-flash erase`, or delete old results",
        ),
        "busy" | "bad-state" | "timeout" | "unknown" => (Exit::Device, STATUS),
        _ => (Exit::InputRefused, OTHER_BUNDLE),
    };
    let reason = if reason.is_empty() { code } else { reason };
    Failure::new(
        exit,
        format!("the device would not take this bundle ({code}): {reason}"),
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(refusal: DeviceError) -> Exit {
        refused(&refusal).exit
    }

    #[test]
    fn refusals_have_classes_and_advice() {
        let v1 = |rc| DeviceError::V1 { rc, rsn: None };
        assert_eq!(class(v1(11)), Exit::Unverified);
        assert_eq!(class(v1(3)), Exit::InputRefused);
        assert_eq!(class(v1(6)), Exit::Device);
        assert_eq!(class(DeviceError::V2 { group: 1, rc: 24 }), Exit::InputRefused);
        for rc in 1..14 {
            assert!(!refused(&v1(rc)).advice.is_empty(), "{rc}");
        }
    }

    #[test]
    fn the_devices_own_words_are_told() {
        let rsn = Some("a trial runs; confirm or revert it first".to_owned());
        let failure = refused(&DeviceError::V1 { rc: 6, rsn });
        assert_eq!(
            failure.message,
            "the device refuses: a trial runs; confirm or revert it first"
        );
        let unknown = refused(&DeviceError::V2 { group: 2, rc: 99 });
        assert!(unknown.message.contains("99"), "{}", unknown.message);
    }

    #[test]
    fn verdicts_have_the_classes_of_the_bundle_tools() {
        for (code, exit) in [
            ("signature", 4),
            ("downgrade", 4),
            ("role", 3),
            ("space", 3),
            ("busy", 5),
            ("new", 3),
        ] {
            assert_eq!(of_verdict(code, "").exit as u8, exit, "{code}");
        }
    }
}

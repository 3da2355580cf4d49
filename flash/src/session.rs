//! A conversation with a device: the port, the framing that it answers, what it is, and the client that asks it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hardware::smp::Framing;
use hardware::smp::port::{PortError, PortOptions, usual_framing};
use mcumgr_toolkit::MCUmgrClient;
use mcumgr_toolkit::client::MCUmgrClientError;
use mcumgr_toolkit::commands::McuMgrCommand;
use mcumgr_toolkit::commands::image::ImageState;
use mcumgr_toolkit::connection::ExecuteError;

use crate::exit::Failure;
use crate::line::{Checked, FramingChoice, Line, LineError, LineEvent, Shared};
use crate::refusal;
use crate::report::Reporter;
use crate::scanside::{self, Identity, Status};
use crate::transport::LineTransport;

/// How long one answer is waited for. The device gives up a message that lost its end after a second.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(1250);
/// How often a question is asked again.
pub const RETRIES: u8 = 5;
/// How often the first question is asked again in each framing.
const FIRST_RETRIES: u8 = 1;
/// A framing without a checksum may make a refusal of noise: it is believed when it comes this often.
pub const BELIEVED_REFUSALS: u32 = 3;
/// Zephyr's buffer for one message, in bytes: what is assumed of a device that does not tell.
const USUAL_BUFFER: usize = 384;
/// The largest that is believed, in bytes.
const LARGEST_BUFFER: usize = 32 << 10;
/// The most requests that are sent ahead of their answers.
const MOST_BUFFERS: usize = 8;

/// How to reach the device.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The port.
    pub port: PortOptions,
    /// The framing, or none to find it out.
    pub framing: Option<Framing>,
    /// How long to wait for a port or a device that went away.
    pub patience: Duration,
}

/// A device that answers.
pub struct Session {
    /// Asks it.
    pub client: MCUmgrClient,
    /// The line that the client uses too.
    pub line: Shared,
    /// Tells what is going on.
    pub reporter: Arc<Reporter>,
    /// Length of its buffer for one request, in bytes.
    pub buffer_bytes: usize,
    /// How many requests it holds.
    pub buffers: usize,
    /// Who it is; `None` if it knows SMP, but not our commands.
    pub identity: Option<Identity>,
    /// How it was reached.
    pub reach: Reach,
}

impl Session {
    /// Opens the port and finds a device.
    ///
    /// # Errors
    /// A port that does not open, and a silent line.
    pub fn open(reach: Reach, reporter: &Arc<Reporter>) -> Result<Self, Failure> {
        let first = reach
            .framing
            .unwrap_or_else(|| likely_framing(Path::new(&reach.port.path)));
        let choice = FramingChoice {
            first,
            may_change: reach.framing.is_none(),
        };
        let line = Line::open(reach.port.clone(), choice, reach.patience, events(reporter));
        let line = Shared::new(line.map_err(|error| line_failure(&error))?);
        let client = MCUmgrClient::new_from_transport(LineTransport::new(line.clone(), ANSWER_TIMEOUT));
        client.set_retries(FIRST_RETRIES);
        let (buffer_bytes, buffers) = parameters(&client, &line).map_err(|error| silent(error, &reach))?;
        client.set_retries(RETRIES);
        let identity = known(readable(&line, || client.raw_command(&scanside::identity())))?;
        Ok(Self {
            client,
            line,
            reporter: reporter.clone(),
            buffer_bytes,
            buffers,
            identity,
            reach,
        })
    }

    /// Asks one of our own commands.
    ///
    /// # Errors
    /// What the device or the line says, as a failure to do `what`.
    pub fn ask<C: McuMgrCommand>(&self, what: &str, command: &C) -> Result<C::Response, Failure> {
        self.hear(|client| client.raw_command(command))
            .map_err(|error| refusal::failure(what, &error))
    }

    /// Asks until the answer can be read.
    ///
    /// # Errors
    /// The last answer, or that there was none.
    pub fn hear<T>(&self, ask: impl Fn(&MCUmgrClient) -> Result<T, MCUmgrClientError>) -> Result<T, MCUmgrClientError> {
        readable(&self.line, || ask(&self.client))
    }

    /// Asks for a change. Without a checksum a refusal may be made of noise: it is believed when it comes again.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn insist<T>(
        &self,
        what: &str,
        ask: impl Fn(&MCUmgrClient) -> Result<T, MCUmgrClientError>,
    ) -> Result<T, Failure> {
        self.persist(ask).map_err(|error| refusal::failure(what, &error))
    }

    /// As [`Session::insist`], of what does harm if noise changes it: a state write, the time, erasing, a restart. It
    /// goes with a checksum where the device is known to take both framings, unless raw was asked for.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn insist_checked<T>(
        &self,
        what: &str,
        ask: impl Fn(&MCUmgrClient) -> Result<T, MCUmgrClientError>,
    ) -> Result<T, Failure> {
        let _checked = self.checked();
        self.insist(what, ask)
    }

    /// Messages have a checksum until the guard is dropped, as for [`Session::insist_checked`].
    #[must_use]
    pub fn checked(&self) -> Option<Checked<'_>> {
        self.identity.as_ref().map(|_| self.line.checked())
    }

    /// As [`Session::insist`], for those who want to know what the refusal was.
    ///
    /// # Errors
    /// The last answer, or that there was none.
    pub fn persist<T>(
        &self,
        ask: impl Fn(&MCUmgrClient) -> Result<T, MCUmgrClientError>,
    ) -> Result<T, MCUmgrClientError> {
        let mut tries = match self.line.lock().framing() {
            Framing::Raw => BELIEVED_REFUSALS,
            Framing::Console => 1,
        };
        loop {
            tries -= 1;
            match self.hear(&ask) {
                Err(error) if refusal::refuses(&error) && tries > 0 => {}
                answer => return answer,
            }
        }
    }

    /// The images in the slots.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn states(&self) -> Result<Vec<ImageState>, Failure> {
        let states = self.hear(MCUmgrClient::image_get_state);
        states.map_err(|error| refusal::failure("cannot read what is in the slots", &error))
    }

    /// What is going on; `None` of a device that does not know our commands.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn status(&self) -> Result<Option<Status>, Failure> {
        if self.identity.is_none() {
            return Ok(None);
        }
        self.ask("cannot read the status", &scanside::status()).map(Some)
    }

    /// Which run of the service answers now: another number with each start; `None` of a device that does not tell.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn run(&self) -> Result<Option<u64>, Failure> {
        if self.identity.is_none() {
            return Ok(None);
        }
        let _checked = self.checked();
        let identity = self.ask("cannot ask who the device is", &scanside::identity())?;
        Ok(identity.run)
    }

    /// One of the roles of the device as the number of an image, or the only one there is.
    ///
    /// # Errors
    /// A role that the device does not have.
    pub fn image_of(&self, role: &str) -> Result<u32, Failure> {
        let roles = self.identity.as_ref().map_or(&[][..], |identity| &identity.roles);
        if roles.is_empty() {
            return Ok(0);
        }
        let number = (0_u32..).zip(roles).find(|(_, name)| *name == role);
        number.map(|(number, _)| number).ok_or_else(|| {
            Failure::new(
                crate::exit::Exit::InputRefused,
                format!(
                    "the bundle is for the role {role}; this device has {}",
                    roles.join(", ")
                ),
                "take the bundle of that role, or another device",
            )
        })
    }
}

/// Asks for buffer size and count: in the likely framing, and in the other one if it may change. A device without the
/// command has the usual ones.
fn parameters(client: &MCUmgrClient, line: &Shared) -> Result<(usize, usize), MCUmgrClientError> {
    let ask = || readable(line, || client.os_mcumgr_parameters());
    let mut answer = ask();
    if matches!(
        answer,
        Err(MCUmgrClientError::ExecuteError(ExecuteError::ReceiveFailed(_)))
    ) {
        let mut line = line.lock();
        if line.may_change_framing() {
            let framing = match line.framing() {
                Framing::Raw => Framing::Console,
                Framing::Console => Framing::Raw,
            };
            line.set_framing(framing);
            drop(line);
            answer = ask();
        }
    }
    match answer {
        Ok(found) => {
            let bytes = (found.buf_size as usize).clamp(USUAL_BUFFER, LARGEST_BUFFER);
            Ok((bytes, (found.buf_count as usize).clamp(1, MOST_BUFFERS)))
        }
        Err(error) if refusal::not_supported(&error) => Ok((USUAL_BUFFER, 1)),
        Err(error) => Err(error),
    }
}

/// Asks until the answer can be read, some times at most; each that cannot is a fault of the line.
fn readable<T>(line: &Shared, ask: impl Fn() -> Result<T, MCUmgrClientError>) -> Result<T, MCUmgrClientError> {
    for _ in 0..RETRIES {
        match ask() {
            Err(error) if refusal::is_garbled(&error) => {
                line.lock().fault();
            }
            answer => return answer,
        }
    }
    ask()
}

/// `None` where the device does not know the command.
fn known<T>(answer: Result<T, MCUmgrClientError>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if refusal::not_supported(&error) => Ok(None),
        Err(error) => Err(refusal::failure("cannot ask who the device is", &error)),
    }
}

fn silent(error: MCUmgrClientError, reach: &Reach) -> Failure {
    let MCUmgrClientError::ExecuteError(ExecuteError::ReceiveFailed(_)) = error else {
        return refusal::failure("cannot talk to the device", &error);
    };
    let framings = match reach.framing {
        None => "in either framing",
        Some(Framing::Raw) => "in raw framing",
        Some(Framing::Console) => "in console framing",
    };
    Failure::device(
        format!(
            "no device answers on {} at {} baud {framings}",
            reach.port.path, reach.port.baud
        ),
        "check the cable, that the appliance runs and serves this port, and --baud; `scanside-flash ports` lists ports",
    )
}

/// A line that failed, in the engineer's words.
#[must_use]
pub fn line_failure(error: &LineError) -> Failure {
    let advice = match error {
        LineError::Open(PortError::Absent { .. }) => "list the ports with `scanside-flash ports`",
        LineError::Open(_) => {
            "end the other program that has the port; on Linux you must be in the port's group (often dialout)"
        }
        LineError::Gone { .. } => "plug the cable in and run the same command again: an upload goes on where it stood",
        _ => "check flow control and cable, then run the same command again: an upload goes on where it stood",
    };
    Failure::device(error.to_string(), advice)
}

/// The framing that a port of this kind usually carries, seen from the engineer's side.
#[must_use]
pub fn likely_framing(port: &Path) -> Framing {
    let real = std::fs::canonicalize(port).unwrap_or_else(|_| port.to_owned());
    // macOS names a gadget usbmodem. A pseudo-terminal loses nothing.
    let name = real.to_string_lossy();
    if name.starts_with("/dev/pts/") || name.contains("usbmodem") {
        return Framing::Raw;
    }
    usual_framing(&real)
}

fn events(reporter: &Arc<Reporter>) -> Box<dyn FnMut(LineEvent) + Send> {
    let reporter = reporter.clone();
    Box::new(move |event| match event {
        LineEvent::Lost => reporter.remark("the port vanished; waiting for it to come back"),
        LineEvent::Back => reporter.remark("the port is back"),
        LineEvent::ToConsole => reporter.remark("too much noise for raw framing: going on in console framing"),
    })
}

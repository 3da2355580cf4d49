//! The OS group (0): echo, restart, time, parameters, information.

use std::time::Duration;

use super::cbor::{Body, MapWriter, missing};
use super::message::{Operation, unknown_command};
use super::refusal::{Code, Refusal};
use super::server::{Parameters, Request};
use super::time;

const ECHO: u8 = 0;
const DATETIME: u8 = 4;
const RESET: u8 = 5;
const PARAMETERS: u8 = 6;
const INFORMATION: u8 = 7;

/// The device as a computer.
pub trait OsGroup {
    /// Asks for an orderly restart of the service. It must begin after the answer has gone out: note the wish here,
    /// and let the `stop` of [`Server::serve`](super::Server::serve) tell it.
    ///
    /// # Errors
    /// [`Code::Busy`] while the self-test of a new image runs, unless `force`.
    fn restart(&mut self, request: Restart) -> Result<(), Refusal>;

    /// The clock: time since 1970-01-01T00:00:00 UTC without leap seconds.
    ///
    /// # Errors
    /// [`Code::ClockNotSet`] if it was never set.
    fn time(&mut self) -> Result<Duration, Refusal>;

    /// Sets the clock.
    ///
    /// # Errors
    /// [`Code::ClockRefused`], for example for a time before the last one seen.
    fn set_time(&mut self, time: Duration) -> Result<(), Refusal>;

    /// What runs on which machine.
    fn information(&mut self) -> Information;
}

/// How to restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// Although a self-test is at work.
    pub force: bool,
    /// 0 is the usual one; others have no meaning on this device.
    pub boot_mode: u8,
}

/// The fields of `uname`, each without spaces at its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Information {
    /// `s`: "Scanside".
    pub kernel: String,
    /// `n`: the device's name.
    pub node: String,
    /// `r`: the version of the service.
    pub release: String,
    /// `v`: its git revision, "unknown" if nobody told.
    pub version: String,
    /// `b`: when it was built, "development" if nobody told.
    pub build: String,
    /// `m`: "aarch64".
    pub machine: String,
    /// `p`: the processor.
    pub processor: String,
    /// `i`: the board.
    pub platform: String,
    /// `o`: "Linux".
    pub os: String,
}

impl Information {
    /// The fields that a format names, in their natural order, with spaces between; `a` names all.
    ///
    /// # Errors
    /// [`Code::InvalidFormat`] for a letter that is no field.
    pub fn format(&self, format: &str) -> Result<String, Refusal> {
        let fields = [
            ('s', &self.kernel),
            ('n', &self.node),
            ('r', &self.release),
            ('v', &self.version),
            ('b', &self.build),
            ('m', &self.machine),
            ('p', &self.processor),
            ('i', &self.platform),
            ('o', &self.os),
        ];
        let known = |letter: char| letter == 'a' || fields.iter().any(|(field, _)| *field == letter);
        if !format.chars().all(known) {
            return Err(Refusal::new(
                Code::InvalidFormat,
                "format has letters other than snrvbmpioa",
            ));
        }
        let wanted = |letter: char| format.contains(letter) || format.contains('a');
        let texts = fields.iter().filter(|(letter, _)| wanted(*letter));
        let texts: Vec<&str> = texts.map(|(_, text)| text.as_str()).collect();
        Ok(texts.join(" "))
    }
}

pub(crate) fn answer<G: OsGroup + ?Sized>(
    group: &mut G,
    parameters: &Parameters,
    request: &Request<'_>,
) -> Result<MapWriter, Refusal> {
    let body = request.body()?;
    match (request.header.operation, request.header.command) {
        // Clients do not agree whether an echo reads or writes.
        (Operation::Read | Operation::Write, ECHO) => echo(&body),
        (Operation::Read, DATETIME) => Ok(MapWriter::new().text("datetime", &time::format(group.time()?))),
        (Operation::Write, DATETIME) => set_time(group, &body),
        (Operation::Write, RESET) => {
            request.guard(&["force", "boot_mode"])?;
            restart(group, &body)
        }
        (Operation::Read, PARAMETERS) => Ok(MapWriter::new()
            .uint("buf_size", parameters.buffer_bytes() as u64)
            .uint("buf_count", parameters.buffers.into())),
        (Operation::Read, INFORMATION) => {
            let output = group.information().format(body.text("format")?.unwrap_or("s"))?;
            Ok(MapWriter::new().text("output", &output))
        }
        _ => Err(unknown_command(request.header)),
    }
}

fn echo(body: &Body<'_>) -> Result<MapWriter, Refusal> {
    Ok(MapWriter::new().text("r", body.text("d")?.unwrap_or_default()))
}

fn set_time<G: OsGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let text = body.text("datetime")?.ok_or_else(|| missing("datetime"))?;
    let time = time::parse(text).ok_or_else(|| {
        Refusal::new(
            Code::Invalid,
            "datetime is not of the form 2026-01-31T23:59:59, from 1970 on",
        )
    })?;
    group.set_time(time)?;
    Ok(MapWriter::new())
}

fn restart<G: OsGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let boot_mode = body.uint("boot_mode")?.unwrap_or_default();
    let boot_mode = u8::try_from(boot_mode).map_err(|_| Refusal::new(Code::Invalid, "boot_mode is above 255"))?;
    let force = body.flag("force")?;
    group.restart(Restart { force, boot_mode })?;
    Ok(MapWriter::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_comes_in_its_natural_order() {
        let information = Information {
            kernel: "Scanside".to_owned(),
            release: "0.1.0".to_owned(),
            os: "Linux".to_owned(),
            ..Information::default()
        };
        assert_eq!(information.format("s").unwrap(), "Scanside");
        assert_eq!(information.format("ors").unwrap(), "Scanside 0.1.0 Linux");
        assert_eq!(information.format("a").unwrap(), "Scanside  0.1.0      Linux");
        assert_eq!(information.format("sx").unwrap_err().code, Code::InvalidFormat);
    }
}

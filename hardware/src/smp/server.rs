//! The server: takes requests from a port, lets the device answer them, one after the other.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::cbor::{Body, MapWriter};
use super::files::{self, FileGroup};
use super::image::{self, ImageGroup};
use super::link::{self, Frame, Framing, Receiver};
use super::message::{self, Header, Operation, group, message, refusal_body, split};
use super::os::{self, OsGroup};
use super::refusal::{Code, Refusal};
use super::scanside::{self, ScansideGroup};
use super::statistics::{self, LinkStatistics, StatisticsGroup};

/// The smallest and the largest buffer that [`Parameters`] may announce, in bytes.
pub const BUFFER_RANGE: (usize, usize) = (8 << 10, 16 << 10);
/// How much is read at once.
const READ_BYTES: usize = 4096;
/// How long to wait when the port has nothing and does not wait itself.
const PAUSE: Duration = Duration::from_millis(2);

/// The device behind the server: the traits of all groups.
pub trait Device: OsGroup + ImageGroup + FileGroup + StatisticsGroup + ScansideGroup {}

impl<T: OsGroup + ImageGroup + FileGroup + StatisticsGroup + ScansideGroup + ?Sized> Device for T {}

/// Bounds of the server; the first two are told to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Length of the buffer for one request in bytes, within [`BUFFER_RANGE`]. A request has at most this length,
    /// header included; with console framing its length and checksum come on top.
    pub buffer_bytes: usize,
    /// How many requests a client may send before it reads an answer. They wait in the operating system, which holds
    /// 64 KiB for a serial port.
    pub buffers: u32,
    /// After this silence within a message it is given up. Below the 2 s after which clients repeat themselves.
    pub byte_timeout: Duration,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            buffer_bytes: BUFFER_RANGE.0,
            buffers: 4,
            byte_timeout: Duration::from_secs(1),
        }
    }
}

impl Parameters {
    /// The buffer's length within its range.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes.clamp(BUFFER_RANGE.0, BUFFER_RANGE.1)
    }
}

/// A request on its way to its group.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its header.
    pub header: Header,
    /// How it came.
    pub framing: Framing,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The map of its body.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is none within the bounds.
    pub fn body(&self) -> Result<Body<'a>, Refusal> {
        Ok(Body::parse(self.body)?)
    }

    /// Guards a command that destroys something. Without a checksum, one wrong bit in the header makes an erasure of an
    /// upload; its keys tell.
    pub(crate) fn guard(&self, keys: &[&str]) -> Result<(), Refusal> {
        match self.framing {
            Framing::Console => Ok(()),
            Framing::Raw => self.body()?.only(keys),
        }
    }
}

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The other side hung up for good.
    #[error("the port was closed")]
    Closed,
    /// The port failed.
    #[error("cannot read from or write to the port: {0}")]
    Port(#[from] io::Error),
}

/// A clock that does not go back.
type Clock = Box<dyn FnMut() -> Duration + Send>;

/// Serves one port. Its memory is bounded by a few times [`Parameters::buffer_bytes`], whatever arrives.
pub struct Server<P> {
    port: P,
    parameters: Parameters,
    receiver: Receiver,
    clock: Clock,
    /// Checksum of the last request, to count repetitions.
    last: Option<u64>,
    out: Vec<u8>,
}

impl<P: Read + Write> Server<P> {
    /// A server on a port. The port's `read` should wait some time for bytes and end with [`ErrorKind::TimedOut`] if
    /// none come, so that the server can look whether to stop.
    #[must_use]
    pub fn new(port: P, parameters: Parameters) -> Self {
        let start = Instant::now();
        Self::with_clock(port, parameters, Box::new(move || start.elapsed()))
    }

    /// As [`Server::new`] with another clock than the system's, for tests.
    #[must_use]
    pub fn with_clock(port: P, parameters: Parameters, clock: Clock) -> Self {
        Self {
            port,
            receiver: Receiver::new(parameters.buffer_bytes(), parameters.byte_timeout),
            parameters,
            clock,
            last: None,
            out: Vec::new(),
        }
    }

    /// The port.
    pub fn port(&mut self) -> &mut P {
        &mut self.port
    }

    /// Counters of the link.
    #[must_use]
    pub fn statistics(&self) -> LinkStatistics {
        self.receiver.statistics
    }

    /// Serves until `stop` says so, which is asked after each answer and each silence of the port.
    ///
    /// # Errors
    /// [`ServeError`] if the port fails; after opening it again, `serve` may be called again.
    pub fn serve(&mut self, device: &mut dyn Device, stop: &mut dyn FnMut() -> bool) -> Result<(), ServeError> {
        let mut chunk = [0; READ_BYTES];
        while !stop() {
            match self.port.read(&mut chunk) {
                Ok(0) => return Err(ServeError::Closed),
                Ok(bytes) => self.take(&chunk[..bytes.min(READ_BYTES)], device, stop)?,
                Err(error) if waits(&error) => {
                    if error.kind() == ErrorKind::WouldBlock {
                        std::thread::sleep(PAUSE);
                    }
                    self.take(&[], device, stop)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what was read, perhaps nothing, and answers what is complete.
    fn take(
        &mut self,
        bytes: &[u8],
        device: &mut dyn Device,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<(), ServeError> {
        let now = (self.clock)();
        self.receiver.tick(now);
        self.answer_all(device, stop)?;
        if !bytes.is_empty() {
            self.receiver.push(bytes, now);
            self.answer_all(device, stop)?;
        }
        Ok(())
    }

    fn answer_all(&mut self, device: &mut dyn Device, stop: &mut dyn FnMut() -> bool) -> Result<(), ServeError> {
        while let Some(frame) = self.receiver.next() {
            self.count_repetition(&frame.message);
            let answer = answer(device, &self.parameters, &mut self.receiver.statistics, &frame);
            if let Some(answer) = answer {
                self.send(frame.framing, &answer)?;
            }
            // What was asked for behind a restart must not be done before it.
            if stop() {
                break;
            }
        }
        Ok(())
    }

    fn count_repetition(&mut self, message: &[u8]) {
        let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, message);
        if self.last.replace(checksum) == Some(checksum) {
            self.receiver.statistics.retries += 1;
        }
    }

    /// Sends an answer. A port that does not take it within its own patience loses it: the client will ask again.
    fn send(&mut self, framing: Framing, message: &[u8]) -> Result<(), ServeError> {
        self.out.clear();
        link::encode(framing, message, &mut self.out);
        match self.port.write_all(&self.out).and_then(|()| self.port.flush()) {
            Ok(()) => {
                self.receiver.statistics.bytes_sent += self.out.len() as u64;
                self.receiver.statistics.frames_sent += 1;
                Ok(())
            }
            Err(error) if waits(&error) => {
                self.receiver.statistics.write_errors += 1;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether an error only says that the port was not ready in time.
fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
    )
}

/// The message that answers a frame; `None` if it is no request.
fn answer(
    device: &mut dyn Device,
    parameters: &Parameters,
    link: &mut LinkStatistics,
    frame: &Frame,
) -> Option<Vec<u8>> {
    let (header, body) = split(&frame.message)?;
    header.answer(0)?;
    let request = Request {
        header,
        framing: frame.framing,
        body,
    };
    let limit = parameters.buffer_bytes() - message::HEADER_BYTES;
    let body = checked(device, parameters, link, &request).and_then(|map| {
        let body = map.finish();
        let short = body.len() <= limit;
        short
            .then_some(body)
            .ok_or_else(|| Refusal::new(Code::TooLong, "the answer would not fit the buffer"))
    });
    let body = body.unwrap_or_else(|refusal| {
        link.refused += 1;
        refusal_body(header, &refusal)
    });
    let length = u16::try_from(body.len()).ok()?;
    Some(message(header.answer(length)?, &body))
}

fn checked(
    device: &mut dyn Device,
    parameters: &Parameters,
    link: &LinkStatistics,
    request: &Request<'_>,
) -> Result<MapWriter, Refusal> {
    let header = request.header;
    if header.version > 1 {
        return Err(Refusal::new(Code::VersionTooNew, "SMP versions 1 and 2 are known here"));
    }
    if usize::from(header.length) != request.body.len() {
        return Err(Refusal::new(
            Code::Invalid,
            "the length in the header is not that of the body",
        ));
    }
    debug_assert!(matches!(header.operation, Operation::Read | Operation::Write));
    match header.group {
        group::OS => os::answer(device, parameters, request),
        group::IMAGE => image::answer(device, request),
        group::STATISTICS => statistics::answer(device, link, request),
        group::FILES => files::answer(device, request),
        group::SCANSIDE => scanside::answer(device, request),
        other => Err(Refusal::new(
            Code::NotSupported,
            format!("there is no group {other} here"),
        )),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

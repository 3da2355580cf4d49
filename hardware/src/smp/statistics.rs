//! The statistics group (2): counters of the link, and whatever else the device counts.

use super::cbor::{Body, MapWriter, missing};
use super::message::{Operation, unknown_command};
use super::refusal::{Code, Refusal};
use super::server::Request;

/// The name of the link's counters.
pub const LINK: &str = "link";

const DATA: u8 = 0;
const LIST: u8 = 1;

/// What the link counts, since the server began. Counters only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Bytes read.
    pub bytes_received: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Messages found in console framing.
    pub console_frames: u64,
    /// Messages found in raw framing.
    pub raw_frames: u64,
    /// Answers written.
    pub frames_sent: u64,
    /// Requests that were answered with a refusal.
    pub refused: u64,
    /// Requests that equal the one before, byte by byte: the client did not hear the answer.
    pub retries: u64,
    /// Console frames whose checksum or length was wrong.
    pub crc_errors: u64,
    /// Console lines that were no base64 or continued nothing.
    pub bad_lines: u64,
    /// Raw messages whose body was no CBOR.
    pub raw_damaged: u64,
    /// Console lines or frames beyond the bounds.
    pub too_long: u64,
    /// Times that an incomplete message was given up after a silence.
    pub byte_timeouts: u64,
    /// Bytes, line ends apart, that belonged to no message.
    pub bytes_skipped: u64,
    /// Answers that the port did not take completely.
    pub write_errors: u64,
}

impl LinkStatistics {
    /// Name and value of each counter.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, u64); 14] {
        [
            ("bytes_received", self.bytes_received),
            ("bytes_sent", self.bytes_sent),
            ("console_frames", self.console_frames),
            ("raw_frames", self.raw_frames),
            ("frames_sent", self.frames_sent),
            ("refused", self.refused),
            ("retries", self.retries),
            ("crc_errors", self.crc_errors),
            ("bad_lines", self.bad_lines),
            ("raw_damaged", self.raw_damaged),
            ("too_long", self.too_long),
            ("byte_timeouts", self.byte_timeouts),
            ("bytes_skipped", self.bytes_skipped),
            ("write_errors", self.write_errors),
        ]
    }
}

/// Further counters of the device, beside those of the link.
pub trait StatisticsGroup {
    /// Names of the sets of counters; not [`LINK`].
    fn statistics(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// The counters of a set; `None` if there is no such set.
    fn counters(&mut self, name: &str) -> Option<Vec<(String, u64)>> {
        let _ = name;
        None
    }
}

pub(crate) fn answer<G: StatisticsGroup + ?Sized>(
    group: &mut G,
    link: &LinkStatistics,
    request: &Request<'_>,
) -> Result<MapWriter, Refusal> {
    let header = request.header;
    match (header.operation, header.command) {
        (Operation::Read, LIST) => Ok(list(&group.statistics())),
        (Operation::Read, DATA) => data(group, link, &request.body()?),
        _ => Err(unknown_command(header)),
    }
}

fn list(further: &[String]) -> MapWriter {
    let mut names = vec![LINK];
    names.extend(further.iter().map(String::as_str));
    MapWriter::new().texts("stat_list", names.into_iter())
}

fn data<G: StatisticsGroup + ?Sized>(
    group: &mut G,
    link: &LinkStatistics,
    body: &Body<'_>,
) -> Result<MapWriter, Refusal> {
    let name = body.text("name")?.ok_or_else(|| missing("name"))?;
    let mut fields = MapWriter::new();
    if name == LINK {
        for (name, value) in link.fields() {
            fields = fields.uint(name, value);
        }
    } else {
        let counters = group.counters(name).ok_or_else(|| {
            Refusal::new(
                Code::NoSuchStatistics,
                "no counters of that name; the list of groups names them",
            )
        })?;
        for (name, value) in counters {
            fields = fields.uint(&name, value);
        }
    }
    Ok(MapWriter::new().text("name", name).map("fields", fields))
}

//! The file group (8): logs, results and reports out of the device. Nothing is written through it.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest as _, Sha256};

use super::cbor::{Body, MapWriter, missing};
use super::message::{Operation, unknown_command};
use super::refusal::{Code, Refusal};
use super::server::Request;

const CONTENT: u8 = 0;
const STATUS: u8 = 1;
const HASH: u8 = 2;
const HASH_KINDS: u8 = 3;
const CLOSE: u8 = 4;

/// Bytes of a file in one answer: a tenth of a second at 115,200 baud.
const PIECE_BYTES: usize = 1024;
/// The longest name of a file in bytes.
pub const NAME_BYTES: usize = 255;
/// The longest part of a file that is hashed within one request, in bytes: about half a second on a small computer.
pub const HASHED_BYTES: u64 = 64 << 20;

/// The files that may leave the device: an allow-list is the implementer's. Names come checked by [`check_name`].
pub trait FileGroup {
    /// Length of a file in bytes.
    ///
    /// # Errors
    /// [`Code::FileNotFound`] also for files that may not leave.
    fn length(&mut self, name: &str) -> Result<u64, Refusal>;

    /// Reads from `offset` on as much as there is and fits, and says how much that was; 0 at the end.
    ///
    /// # Errors
    /// As [`FileGroup::length`]; [`Code::FileUnreadable`].
    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, Refusal>;

    /// The files whose names begin with `below` and come behind `after`, in the order of their names; the first of them, as
    /// many as convenient. Files that come or go between two questions change nothing about the others.
    ///
    /// # Errors
    /// A refusal if they cannot be listed.
    fn list(&mut self, below: &str, after: &str) -> Result<Vec<FileEntry>, Refusal>;
}

/// A file that may leave the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name, with `/` between folders: "logs/2026-01-31.log".
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Checks a name: relative, `/` between parts, no empty part, no `.` or `..`, no backslash, no control character.
///
/// # Errors
/// [`Code::InvalidName`].
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let letters = |letter: char| !letter.is_control() && letter != '\\';
    if name.len() <= NAME_BYTES && name.split('/').all(part) && name.chars().all(letters) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::InvalidName,
        "a name is relative, at most 255 bytes, and leads nowhere above its folder",
    ))
}

pub(crate) fn answer<G: FileGroup + ?Sized>(group: &mut G, request: &Request<'_>) -> Result<MapWriter, Refusal> {
    let body = request.body()?;
    match (request.header.operation, request.header.command) {
        (Operation::Read, CONTENT) => content(group, &body),
        (Operation::Write, CONTENT) => Err(Refusal::new(Code::ReadOnly, "files can only be read")),
        (Operation::Read, STATUS) => Ok(MapWriter::new().uint("len", group.length(name(&body)?)?)),
        (Operation::Read, HASH) => hash(group, &body),
        (Operation::Read, HASH_KINDS) => Ok(hash_kinds()),
        (Operation::Write, CLOSE) => Ok(MapWriter::new()),
        _ => Err(unknown_command(request.header)),
    }
}

fn name<'a>(body: &Body<'a>) -> Result<&'a str, Refusal> {
    let name = body.text("name")?.ok_or_else(|| missing("name"))?;
    check_name(name)?;
    Ok(name)
}

fn content<G: FileGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let name = name(body)?;
    let offset = body.uint("off")?.ok_or_else(|| missing("off"))?;
    let length = group.length(name)?;
    if offset > length {
        return Err(Refusal::new(
            Code::OffsetBehindEnd,
            format!("the file has {length} bytes"),
        ));
    }
    let mut data = [0; PIECE_BYTES];
    let read = group.read(name, offset, &mut data)?.min(data.len());
    let answer = MapWriter::new().uint("off", offset).bytes("data", &data[..read]);
    Ok(answer.optional("len", (offset == 0).then_some(length)))
}

fn hash<G: FileGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let name = name(body)?;
    let kind = body.text("type")?.unwrap_or("crc32");
    let from = body.uint("off")?.unwrap_or(0);
    let length = group.length(name)?;
    if from > length {
        return Err(Refusal::new(
            Code::OffsetBehindEnd,
            format!("the file has {length} bytes"),
        ));
    }
    let wanted = body.uint("len")?.unwrap_or(u64::MAX).min(length - from);
    if wanted == 0 {
        return Err(Refusal::new(Code::FileEmpty, "there is nothing to hash"));
    }
    if wanted > HASHED_BYTES {
        return Err(Refusal::new(
            Code::TooLong,
            format!("at most {HASHED_BYTES} bytes are hashed at once; give len"),
        ));
    }
    let answer = MapWriter::new().text("type", kind);
    let answer = answer.optional("off", (from > 0).then_some(from));
    match kind {
        "sha256" => {
            let mut hash = Sha256::new();
            let hashed = pieces(group, name, from, wanted, |piece| hash.update(piece))?;
            Ok(answer.uint("len", hashed).bytes("output", &hash.finalize()))
        }
        "crc32" => {
            let mut crc = Crc::new(CrcAlgorithm::Crc32IsoHdlc);
            let hashed = pieces(group, name, from, wanted, |piece| crc.update(piece))?;
            Ok(answer.uint("len", hashed).uint("output", crc.finalize()))
        }
        _ => Err(Refusal::new(Code::NoSuchChecksum, "type is sha256 or crc32")),
    }
}

/// Reads a part of a file piece by piece; says how long it was, should the file have become shorter.
fn pieces<G: FileGroup + ?Sized>(
    group: &mut G,
    name: &str,
    from: u64,
    length: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<u64, Refusal> {
    let mut buffer = vec![0; 64 << 10];
    let mut done = 0;
    while done < length {
        let room = usize::try_from(length - done).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = group.read(name, from + done, &mut buffer[..room])?.min(room);
        if read == 0 {
            break;
        }
        take(&buffer[..read]);
        done += read as u64;
    }
    Ok(done)
}

fn hash_kinds() -> MapWriter {
    let kind = |format: u64, size: u64| MapWriter::new().uint("format", format).uint("size", size);
    let kinds = MapWriter::new().map("sha256", kind(1, 32)).map("crc32", kind(0, 4));
    MapWriter::new().map("types", kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["a", "logs/a.log", "results/2026/a b.json", "..a", "a..", "ä"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "a".repeat(256);
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\..\\b",
            "C:\\a",
            "a\0b",
            "a\nb",
            &long,
        ] {
            assert_eq!(check_name(name).unwrap_err().code, Code::InvalidName, "{name:?}");
        }
    }
}

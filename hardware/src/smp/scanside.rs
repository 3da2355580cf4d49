//! The user group (64): what SMP has no command for. `docs/serial-protocol.md` lists keys and values.

use crc_fast::{CrcAlgorithm, Digest as Crc};

use super::cbor::{Body, MapWriter, missing};
use super::files::{FileEntry, FileGroup};
use super::image::{UploadReply, image_number, write_reply};
use super::message::{Operation, unknown_command};
use super::refusal::{Code, Refusal};
use super::server::Request;

/// The version of this group's commands, told by [`command::IDENTITY`]; raised when a meaning changes.
pub const PROTOCOL: u64 = 1;
/// How many bytes of entries one answer to [`command::FILES`] lists.
const LIST_BYTES: usize = 2048;

/// Numbers of the commands.
pub mod command {
    /// Read: who the device is.
    pub const IDENTITY: u8 = 0;
    /// Read: what is going on.
    pub const STATUS: u8 = 1;
    /// Write: would this bundle be taken?
    pub const PREFLIGHT: u8 = 2;
    /// Write: begin a self-test.
    pub const SELF_TEST: u8 = 3;
    /// Read: the bundles in the slots.
    pub const BUNDLES: u8 = 4;
    /// Write: upload a bundle as a difference.
    pub const DELTA: u8 = 5;
    /// Read: the files that may leave the device.
    pub const FILES: u8 = 6;
    /// Write: return to the confirmed image.
    pub const REVERT: u8 = 7;
}

/// Who the device is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// "Scanside edge".
    pub product: String,
    /// Serial number or name of the device.
    pub serial: String,
    /// Version of the service.
    pub software: String,
    /// Another number with each start of the service: whether a restart that was asked for has come.
    pub run: u64,
    /// The role of each image, in the order of their numbers.
    pub roles: Vec<String>,
    /// Further facts, name and value.
    pub details: Vec<(String, String)>,
}

/// Something that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// An upload.
    Receiving {
        /// Number of the image.
        image: u32,
        /// Bytes received.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A bundle is put together from its base and a difference.
    Rebuilding {
        /// Number of the image.
        image: u32,
        /// Bytes written.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The uploaded file is read back.
    Verifying {
        /// Number of the image.
        image: u32,
        /// Bytes read.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The golden cases run.
    SelfTest {
        /// Number of the image.
        image: u32,
        /// Cases done.
        done: u64,
        /// Cases in all.
        total: u64,
    },
    /// A new image runs, not yet confirmed.
    Trial {
        /// Number of the image.
        image: u32,
        /// Good results until it is confirmed by itself; `None` if an engineer must confirm.
        results_left: Option<u64>,
    },
    /// A restart is about to come.
    Restarting,
}

impl Activity {
    fn write(&self) -> MapWriter {
        let map = |state: &str, image: u32| MapWriter::new().text("state", state).uint("image", image.into());
        match *self {
            Self::Receiving { image, bytes, total } => {
                map("receiving", image).uint("bytes", bytes).uint("total", total)
            }
            Self::Rebuilding { image, bytes, total } => {
                map("rebuilding", image).uint("bytes", bytes).uint("total", total)
            }
            Self::Verifying { image, bytes, total } => {
                map("verifying", image).uint("bytes", bytes).uint("total", total)
            }
            Self::SelfTest { image, done, total } => map("self-test", image).uint("done", done).uint("total", total),
            Self::Trial { image, results_left } => map("trial", image).optional("left", results_left),
            Self::Restarting => MapWriter::new().text("state", "restarting"),
        }
    }
}

/// How the last update, or attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Number of the image.
    pub image: u32,
    /// What happened.
    pub kind: OutcomeKind,
    /// Why, in words; empty where nothing is to say.
    pub reason: String,
}

/// What happened to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutcomeKind {
    /// The upload was refused.
    Refused,
    /// The file did not survive reading back.
    Damaged,
    /// It is complete and checked.
    Stored,
    /// A self-test that was asked for passed.
    Passed,
    /// A self-test that was asked for failed.
    Failed,
    /// It is the confirmed one now.
    Confirmed,
    /// The trial ended; the image before it runs again.
    Reverted,
}

impl OutcomeKind {
    /// A stable name for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Stored => "stored",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
        }
    }
}

impl Outcome {
    fn write(&self) -> MapWriter {
        let map = MapWriter::new()
            .uint("image", self.image.into())
            .text("outcome", self.kind.name());
        if self.reason.is_empty() {
            return map;
        }
        let refusal = Refusal::new(Code::Unknown, self.reason.as_str());
        map.text("reason", refusal.short_message())
    }
}

/// What is going on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// None: the device is idle, which does not mean that it reads no images.
    pub activities: Vec<Activity>,
    /// At most one for each image, the last.
    pub outcomes: Vec<Outcome>,
    /// What is wrong with the device itself.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with the device, though it may go on working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Number of the image that it concerns; `None` if it concerns all.
    pub image: Option<u32>,
    /// What is wrong, in words.
    pub problem: String,
}

impl Problem {
    fn write(&self) -> MapWriter {
        let words = Refusal::new(Code::Unknown, self.problem.as_str());
        MapWriter::new()
            .optional("image", self.image.map(u64::from))
            .text("problem", words.short_message())
    }
}

/// A piece of the beginning of a bundle, to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreflightChunk<'a> {
    /// The image that it shall go to.
    pub image: u32,
    /// Where in the file the piece belongs; 0 begins anew.
    pub offset: u64,
    /// The piece.
    pub data: &'a [u8],
    /// Length of the whole file.
    pub total: u64,
}

impl PreflightChunk<'_> {
    /// CRC-32C (Castagnoli) of the piece: of its offset, its bytes, its image and the file's length. Raw framing has no
    /// checksum, and a flipped bit would be taken for a signature that does not fit.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut crc = Crc::new(CrcAlgorithm::Crc32Iscsi);
        crc.update(&self.offset.to_le_bytes());
        crc.update(self.data);
        crc.update(&self.image.to_le_bytes());
        crc.update(&self.total.to_le_bytes());
        crc.finalize() as u32
    }
}

/// What the device thinks of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preflight {
    /// It must see more, from this offset on.
    More(u64),
    /// It would take the bundle.
    Accepted,
    /// It would not. [`Code::name`] and the message are told.
    Refused(Refusal),
}

/// A bundle in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBundle {
    /// Number of the image.
    pub image: u32,
    /// 0 active, 1 the other.
    pub slot: u32,
    /// The SHA-256 of the bundle's TLV, as in the image states.
    pub hash: [u8; 32],
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// A piece of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaChunk<'a> {
    /// Where in the difference the piece belongs.
    pub offset: u64,
    /// The piece.
    pub data: &'a [u8],
    /// With offset 0: what is to come.
    pub begin: Option<DeltaBegin<'a>>,
}

/// What a difference is, and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaBegin<'a> {
    /// Number of the image.
    pub image: u32,
    /// Length of the difference in bytes.
    pub length: u64,
    /// SHA-256 of the difference, which names the upload when it is continued.
    pub sha: &'a [u8; 32],
    /// `hash` of the bundle on the device that it changes.
    pub base: &'a [u8; 32],
    /// `hash` of the bundle that it leads to.
    pub target: &'a [u8; 32],
    /// Length of that bundle's file in bytes.
    pub target_bytes: u64,
}

impl DeltaChunk<'_> {
    /// CRC-32C (Castagnoli) of the piece: of its offset, its bytes and, where it begins a difference, of what that says,
    /// in the order that `docs/serial-protocol.md` gives. Raw framing has no checksum, and a difference has no blocks.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut crc = Crc::new(CrcAlgorithm::Crc32Iscsi);
        crc.update(&self.offset.to_le_bytes());
        crc.update(self.data);
        if let Some(begin) = &self.begin {
            crc.update(&begin.image.to_le_bytes());
            crc.update(&begin.length.to_le_bytes());
            crc.update(begin.sha);
            crc.update(begin.base);
            crc.update(begin.target);
            crc.update(&begin.target_bytes.to_le_bytes());
        }
        crc.finalize() as u32
    }
}

/// Scanside's own commands. As for [`ImageGroup`](super::ImageGroup): each answers within a second and may be called
/// again with the same arguments.
pub trait ScansideGroup {
    /// Who the device is.
    fn identity(&mut self) -> Identity;

    /// What is going on.
    fn status(&mut self) -> Status;

    /// Judges the beginning of a bundle without storing anything. A piece at another offset than the expected is
    /// answered with [`Preflight::More`] of the expected one.
    ///
    /// # Errors
    /// A refusal of the question; what is wrong with the bundle is [`Preflight::Refused`].
    fn preflight(&mut self, chunk: PreflightChunk<'_>) -> Result<Preflight, Refusal>;

    /// Begins the golden cases of the running image; the status tells how they go.
    ///
    /// # Errors
    /// A refusal if they cannot begin; none if they run already.
    fn self_test(&mut self, image: u32) -> Result<(), Refusal>;

    /// The bundles in the slots.
    fn bundles(&mut self) -> Vec<KnownBundle>;

    /// Takes a piece of a difference. Offsets count as in [`ImageGroup::upload`](super::ImageGroup::upload), but
    /// within the difference. A piece that continues nothing is answered with offset 0.
    ///
    /// # Errors
    /// [`Code::WrongBase`] before anything is written; a refusal ends the upload.
    fn delta(&mut self, chunk: DeltaChunk<'_>) -> Result<UploadReply, Refusal>;

    /// Ends a trial, or a pending one: the confirmed image stays or runs again.
    ///
    /// # Errors
    /// [`Code::BadState`] if there is nothing to return from.
    fn revert(&mut self, image: u32) -> Result<(), Refusal>;
}

pub(crate) fn answer<G: ScansideGroup + FileGroup + ?Sized>(
    group: &mut G,
    request: &Request<'_>,
) -> Result<MapWriter, Refusal> {
    let body = request.body()?;
    let image = || image_number(&body);
    match (request.header.operation, request.header.command) {
        (Operation::Read, command::IDENTITY) => Ok(identity(&group.identity())),
        (Operation::Read, command::STATUS) => Ok(status(&group.status())),
        (Operation::Write, command::PREFLIGHT) => preflight(group, &body),
        (Operation::Write, command::SELF_TEST) => group.self_test(image()?).map(|()| MapWriter::new()),
        (Operation::Read, command::BUNDLES) => Ok(bundles(&group.bundles())),
        (Operation::Write, command::DELTA) => delta(group, &body),
        (Operation::Read, command::FILES) => files(group, &body),
        (Operation::Write, command::REVERT) => {
            request.guard(&["image"])?;
            group.revert(image()?).map(|()| MapWriter::new())
        }
        _ => Err(unknown_command(request.header)),
    }
}

fn identity(identity: &Identity) -> MapWriter {
    let mut details = MapWriter::new();
    for (name, value) in &identity.details {
        details = details.text(name, value);
    }
    MapWriter::new()
        .uint("protocol", PROTOCOL)
        .text("product", &identity.product)
        .text("serial", &identity.serial)
        .text("software", &identity.software)
        .uint("run", identity.run)
        .texts("roles", identity.roles.iter().map(String::as_str))
        .map("details", details)
}

fn status(status: &Status) -> MapWriter {
    MapWriter::new()
        .maps("activities", status.activities.iter().map(Activity::write).collect())
        .maps("outcomes", status.outcomes.iter().map(Outcome::write).collect())
        .maps("problems", status.problems.iter().map(Problem::write).collect())
}

fn preflight<G: ScansideGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let offset = body.uint("off")?.ok_or_else(|| missing("off"))?;
    let data = body.bytes("data")?.unwrap_or_default();
    let total = body.uint("len")?.ok_or_else(|| missing("len"))?;
    let chunk = PreflightChunk {
        image: image_number(body)?,
        offset,
        data,
        total,
    };
    if body.u32("crc")?.is_some_and(|crc| crc != chunk.checksum()) {
        // The same once more; nothing that it says is to be believed.
        return Ok(MapWriter::new().text("verdict", "more").uint("off", offset));
    }
    if offset.checked_add(data.len() as u64).is_none_or(|end| end > total) {
        return Err(Refusal::new(
            Code::DataOverrun,
            "the piece reaches behind the end of the bundle",
        ));
    }
    Ok(match group.preflight(chunk)? {
        Preflight::More(offset) => MapWriter::new().text("verdict", "more").uint("off", offset),
        Preflight::Accepted => MapWriter::new().text("verdict", "accepted"),
        Preflight::Refused(refusal) => MapWriter::new()
            .text("verdict", "refused")
            .text("code", refusal.code.name())
            .text("reason", refusal.short_message()),
    })
}

fn bundles(bundles: &[KnownBundle]) -> MapWriter {
    let bundle = |bundle: &KnownBundle| {
        MapWriter::new()
            .uint("image", bundle.image.into())
            .uint("slot", bundle.slot.into())
            .bytes("hash", &bundle.hash)
            .uint("len", bundle.bytes)
    };
    MapWriter::new().maps("bundles", bundles.iter().map(bundle).collect())
}

fn delta<G: ScansideGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let offset = body.uint("off")?.ok_or_else(|| missing("off"))?;
    let data = body.bytes("data")?.unwrap_or_default();
    let begin = if offset == 0 { Some(delta_begin(body)?) } else { None };
    let end = offset.checked_add(data.len() as u64);
    if end.is_none_or(|end| begin.is_some_and(|begin| end > begin.length)) {
        return Err(Refusal::new(
            Code::DataOverrun,
            "the piece reaches behind the end of the difference",
        ));
    }
    let chunk = DeltaChunk { offset, data, begin };
    let damaged = body.u32("crc")?.is_some_and(|crc| crc != chunk.checksum());
    let reply = match (damaged, begin) {
        (false, _) => group.delta(chunk)?,
        // What it says of the difference is not to be believed either.
        (true, Some(_)) => UploadReply {
            offset: 0,
            matches: None,
        },
        (true, None) => group.delta(DeltaChunk { data: &[], ..chunk })?,
    };
    Ok(write_reply(reply))
}

fn delta_begin<'a>(body: &Body<'a>) -> Result<DeltaBegin<'a>, Refusal> {
    let digest = |key: &str| body.sha256(key)?.ok_or_else(|| missing(key));
    let number = |key: &str| body.uint(key)?.ok_or_else(|| missing(key));
    Ok(DeltaBegin {
        image: image_number(body)?,
        length: number("len")?,
        sha: digest("sha")?,
        base: digest("base")?,
        target: digest("hash")?,
        target_bytes: number("total")?,
    })
}

/// Lists files behind a name, as many as fit an answer; `next` says behind which name to go on.
fn files<G: FileGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let text = |key: &str| Ok::<_, Refusal>(body.text(key)?.unwrap_or_default());
    let found = group.list(text("below")?, text("after")?)?;
    let mut room = LIST_BYTES;
    let fits = |entry: &&FileEntry| {
        let bytes = entry.name.len() + 24;
        room.checked_sub(bytes).inspect(|left| room = *left).is_some()
    };
    let listed: Vec<&FileEntry> = found.iter().take_while(fits).collect();
    let next = listed.last().map(|entry| entry.name.as_str());
    let entry = |entry: &&FileEntry| MapWriter::new().text("name", &entry.name).uint("len", entry.bytes);
    let answer = MapWriter::new().maps("files", listed.iter().map(entry).collect());
    Ok(match next {
        Some(next) => answer.text("next", next),
        None => answer,
    })
}

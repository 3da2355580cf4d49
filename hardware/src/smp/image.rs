//! The image group (1): what is in the slots, upload, test, confirm, erase.
//!
//! Image n is the n-th role; of each, slot 0 is the active one and slot 1 the other. Where SMP numbers slots through
//! (erase), the slots of image n are 2 n and 2 n + 1.

use super::cbor::{Body, MapWriter};
use super::message::{Operation, unknown_command};
use super::refusal::{Code, Refusal};
use super::server::Request;

const STATE: u8 = 0;
const UPLOAD: u8 = 1;
const ERASE: u8 = 5;
const SLOT_INFO: u8 = 6;

/// The state of one slot that holds an image; names and meaning are MCUboot's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageState {
    /// Number of the image, from 0.
    pub image: u32,
    /// 0 is the active slot of the image, 1 the other.
    pub slot: u32,
    /// `MAJOR.MINOR.REVISION` or `MAJOR.MINOR.REVISION.BUILD`.
    pub version: String,
    /// The SHA-256 of the image's TLV, which names it.
    pub hash: [u8; 32],
    /// It is complete and checked.
    pub bootable: bool,
    /// The next start tries it.
    pub pending: bool,
    /// It stays: the one to return to.
    pub confirmed: bool,
    /// It runs.
    pub active: bool,
    /// Once tried with success, it is confirmed by itself.
    pub permanent: bool,
}

impl ImageState {
    fn write(&self) -> MapWriter {
        MapWriter::new()
            .uint("image", self.image.into())
            .uint("slot", self.slot.into())
            .text("version", &self.version)
            .bytes("hash", &self.hash)
            .flag("bootable", self.bootable)
            .flag("pending", self.pending)
            .flag("confirmed", self.confirmed)
            .flag("active", self.active)
            .flag("permanent", self.permanent)
    }
}

/// A piece of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadChunk<'a> {
    /// Number of the image; 0 where the client names none. Clients name it only with `offset` 0.
    pub image: u32,
    /// Where in the file the piece belongs.
    pub offset: u64,
    /// The piece. May be empty.
    pub data: &'a [u8],
    /// Length of the whole file; always there with `offset` 0.
    pub length: Option<u64>,
    /// SHA-256 of the whole file, if the client tells it; with `offset` 0.
    pub sha: Option<&'a [u8; 32]>,
    /// Refuse a version that is not higher than the running one; with `offset` 0.
    pub upgrade: bool,
}

/// What the device has of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadReply {
    /// Where the next piece must begin. The length of the file says that it is complete.
    pub offset: u64,
    /// With the last piece: whether the file has the SHA-256 that the client told.
    pub matches: Option<bool>,
}

/// The slots of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSlots {
    /// Number of the image.
    pub image: u32,
    /// Number of each slot and its size in bytes: the longest file that it ever holds, whatever it holds now.
    pub slots: Vec<(u32, u64)>,
    /// The longest file that an upload may bring now, in bytes.
    pub max_image_bytes: Option<u64>,
}

/// The model slots. Clients give up after 2 seconds: each call answers within 1, and leaves longer work to others.
/// Each may be called again with the same arguments when a client did not hear the answer, and then does no harm.
pub trait ImageGroup {
    /// What is in the slots.
    fn states(&mut self) -> Vec<ImageState>;

    /// Without `confirm`: the image of this hash is tried on the next start. With `confirm`: it is to stay, at once if
    /// it runs, else once tried; without a hash, the running image.
    ///
    /// # Errors
    /// [`Code::InvalidHash`] for a hash that no slot has, and others.
    fn set_state(&mut self, hash: Option<&[u8; 32]>, confirm: bool) -> Result<(), Refusal>;

    /// Takes a piece of an upload. A piece at another offset than the expected is no error: it is not stored, and the
    /// reply tells the expected one. With offset 0 an upload begins; if it is the one at work (same length and
    /// SHA-256), it continues where it stands.
    ///
    /// # Errors
    /// A refusal ends the upload.
    fn upload(&mut self, chunk: UploadChunk<'_>) -> Result<UploadReply, Refusal>;

    /// Erases a slot: 2 n + 1 is the inactive slot of image n.
    ///
    /// # Errors
    /// [`Code::InvalidSlot`]; [`Code::BadState`] for one that is active, confirmed or pending.
    fn erase(&mut self, slot: u32) -> Result<(), Refusal>;

    /// All slots, also the empty ones.
    fn slots(&mut self) -> Vec<ImageSlots>;
}

pub(crate) fn answer<G: ImageGroup + ?Sized>(group: &mut G, request: &Request<'_>) -> Result<MapWriter, Refusal> {
    let body = request.body()?;
    match (request.header.operation, request.header.command) {
        (Operation::Read, STATE) => Ok(states(group)),
        (Operation::Write, STATE) => {
            request.guard(&["hash", "confirm"])?;
            set_state(group, &body)
        }
        (Operation::Write, UPLOAD) => upload(group, &body),
        (Operation::Write, ERASE) => {
            request.guard(&["slot"])?;
            group.erase(body.u32("slot")?.unwrap_or(1))?;
            Ok(MapWriter::new())
        }
        (Operation::Read, SLOT_INFO) => Ok(slot_info(&group.slots())),
        _ => Err(unknown_command(request.header)),
    }
}

fn states<G: ImageGroup + ?Sized>(group: &mut G) -> MapWriter {
    let states = group.states();
    MapWriter::new().maps("images", states.iter().map(ImageState::write).collect())
}

fn set_state<G: ImageGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let confirm = body.flag("confirm")?;
    let hash = match body.bytes("hash")? {
        None => None,
        Some(hash) => {
            Some(<&[u8; 32]>::try_from(hash).map_err(|_| Refusal::new(Code::InvalidHash, "hash is not 32 bytes"))?)
        }
    };
    if hash.is_none() && !confirm {
        return Err(Refusal::new(Code::InvalidHash, "a test needs the hash of the image"));
    }
    group.set_state(hash, confirm)?;
    Ok(states(group))
}

fn upload<G: ImageGroup + ?Sized>(group: &mut G, body: &Body<'_>) -> Result<MapWriter, Refusal> {
    let offset = body.uint("off")?;
    let offset = offset.ok_or_else(|| Refusal::new(Code::NoOffset, "off is missing"))?;
    let length = body.uint("len")?;
    if offset == 0 && length.is_none() {
        return Err(Refusal::new(Code::NoLength, "len is missing in the first piece"));
    }
    let data = body.bytes("data")?.unwrap_or_default();
    let end = offset.checked_add(data.len() as u64);
    if end.is_none_or(|end| length.is_some_and(|length| end > length)) {
        return Err(Refusal::new(
            Code::DataOverrun,
            "the piece reaches behind the end of the image",
        ));
    }
    let reply = group.upload(UploadChunk {
        image: image_number(body)?,
        offset,
        data,
        length,
        sha: body.sha256("sha")?,
        upgrade: body.flag("upgrade")?,
    })?;
    Ok(write_reply(reply))
}

/// The image that a request means: the first unless it names one.
pub(crate) fn image_number(body: &Body<'_>) -> Result<u32, Refusal> {
    Ok(body.u32("image")?.unwrap_or(0))
}

/// The answer to a piece of an upload.
pub(crate) fn write_reply(reply: UploadReply) -> MapWriter {
    let map = MapWriter::new().uint("off", reply.offset);
    match reply.matches {
        Some(matches) => map.bool("match", matches),
        None => map,
    }
}

fn slot_info(images: &[ImageSlots]) -> MapWriter {
    let slot = |image: &ImageSlots, slot: u32, size: u64| {
        let map = MapWriter::new().uint("slot", slot.into()).uint("size", size);
        // An upload always goes to the inactive slot.
        map.optional("upload_image_id", (slot == 1).then(|| image.image.into()))
    };
    let image = |image: &ImageSlots| {
        let slots = image.slots.iter().map(|(number, size)| slot(image, *number, *size));
        MapWriter::new()
            .uint("image", image.image.into())
            .maps("slots", slots.collect())
            .optional("max_image_size", image.max_image_bytes)
    };
    MapWriter::new().maps("images", images.iter().map(image).collect())
}

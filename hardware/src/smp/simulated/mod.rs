//! The simulated twin: a device in memory that answers every group, for tests here and of the engineer's tool.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::image::UploadReply;
use super::os::Restart;
use super::refusal::{Code, Refusal};
use super::scanside::{Outcome, OutcomeKind, Problem};

mod groups;
mod line;

pub use line::SimulatedLine;

const MAGIC: [u8; 4] = 0x96f3_b83d_u32.to_le_bytes();
const HEADER_BYTES: u64 = 32;
const DIFFERS: &str = "a golden case differs";
/// Length of the blocks that damage is found in.
const BLOCK_BYTES: usize = 4096;

/// A slot that holds an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The file.
    pub bytes: Vec<u8>,
    /// `MAJOR.MINOR.REVISION+BUILD` of its MCUboot header.
    pub version: String,
    /// The SHA-256 of its last TLV; of the whole file if it has none there.
    pub hash: [u8; 32],
    /// The next restart tries it.
    pub pending: bool,
    /// Once tried, it is confirmed.
    pub permanent: bool,
    /// The one to return to.
    pub confirmed: bool,
    /// It does not load, and may be sent again.
    pub damaged: bool,
}

impl Slot {
    /// A slot with a file in it.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let version = match bytes.get(20..28) {
            Some([major, minor, r0, r1, build @ ..]) => {
                let build = build.iter().rev().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
                format!("{major}.{minor}.{}+{build}", u16::from_le_bytes([*r0, *r1]))
            }
            _ => "0.0.0".to_owned(),
        };
        let tlv = bytes.last_chunk::<36>().filter(|tlv| tlv[..4] == [0x10, 0, 32, 0]);
        let hash = tlv.and_then(|tlv| tlv[4..].try_into().ok());
        Self {
            version,
            hash: hash.unwrap_or_else(|| Sha256::digest(&bytes).into()),
            bytes,
            pending: false,
            permanent: false,
            confirmed: false,
            damaged: false,
        }
    }
}

/// Something that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    image: usize,
    task: Task,
    done: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    ReadingBack,
    /// The self-test of an image on trial.
    Trial,
    /// The self-test of the running image.
    SelfTest,
}

/// What is uploaded. Each is at work on its own, as a difference waits outside the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Difference,
}

/// An upload, at work or complete.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Upload {
    image: u32,
    length: u64,
    sha: Option<[u8; 32]>,
    bytes: Vec<u8>,
    delta: Option<Delta>,
    /// Set when complete.
    matches: Option<Option<bool>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Delta {
    base: [u8; 32],
    target: [u8; 32],
    target_bytes: u64,
}

impl Upload {
    fn kind(&self) -> Kind {
        if self.delta.is_some() {
            Kind::Difference
        } else {
            Kind::File
        }
    }

    fn reply(&self) -> UploadReply {
        UploadReply {
            offset: self.bytes.len() as u64,
            matches: self.matches.flatten(),
        }
    }
}

/// How a bundle is made of a base and a difference; `None` if they do not fit.
#[derive(Debug, Clone, Copy)]
pub struct Rebuild(pub fn(base: &[u8], difference: &[u8]) -> Option<Vec<u8>>);

impl PartialEq for Rebuild {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Rebuild {}

/// A device in memory. Its fields are open, so that a test can look and interfere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// The slots of each image: active, other.
    pub pairs: Vec<[Option<Slot>; 2]>,
    /// The role of each image.
    pub roles: Vec<String>,
    /// The files that may leave.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Those of them that cannot be read.
    pub unreadable: BTreeSet<String>,
    /// The clock; it stands still.
    pub time: Option<Duration>,
    /// The restart that was asked for.
    pub restart: Option<Restart>,
    /// Every upload that begins, and every preflight, is refused with this.
    pub refuse: Option<Refusal>,
    /// The piece at this offset is thrown away once, as if its checksum were wrong.
    pub damage_at: Option<u64>,
    /// The file that uploads bring, to find damage as the checksums of blocks do: a piece that differs takes the upload
    /// back to the beginning of its block. Differences have no blocks.
    pub expected: Option<Vec<u8>>,
    /// Every difference that begins is refused with this.
    pub refuse_delta: Option<Refusal>,
    /// How it follows differences; by default base and difference are combined byte by byte with exclusive or.
    pub rebuild: Rebuild,
    /// How often the status is asked for until reading back, or a self-test, is over; 0 is at once.
    pub slowness: u64,
    /// Whether it takes a confirmation of an image that does not run for a test.
    pub forgets_promises: bool,
    /// Whether trials and self-tests pass.
    pub passes: bool,
    /// The largest upload in bytes.
    pub max_image_bytes: u64,
    /// How the last updates ended.
    pub outcomes: Vec<Outcome>,
    /// What it says is wrong with it.
    pub problems: Vec<Problem>,
    /// How often it was restarted.
    pub run: u64,
    uploads: [Option<Upload>; 2],
    work: Option<Work>,
    preflight: Vec<u8>,
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulated {
    /// A device with one empty pair of slots and two files.
    #[must_use]
    pub fn new() -> Self {
        let files = [
            ("logs/service.log", b"started\n".repeat(200)),
            ("results/2026-01-31.json", b"{}\n".to_vec()),
        ];
        Self {
            pairs: vec![[None, None]],
            roles: vec!["chest-xray".to_owned()],
            files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
            unreadable: BTreeSet::new(),
            time: None,
            restart: None,
            refuse: None,
            damage_at: None,
            expected: None,
            refuse_delta: None,
            rebuild: Rebuild(xor),
            slowness: 0,
            forgets_promises: false,
            passes: true,
            max_image_bytes: 64 << 20,
            outcomes: Vec::new(),
            problems: Vec::new(),
            run: 0,
            uploads: [None, None],
            work: None,
            preflight: Vec::new(),
        }
    }

    /// What a restart in order does: a pending image is tried; a trial goes on.
    pub fn restart_now(&mut self) {
        self.restart = None;
        self.run += 1;
        for image in 0..self.pairs.len() {
            self.begin_trial(image);
        }
    }

    /// What a crash or a power cut does: a trial ends, and the confirmed image runs again.
    pub fn crash(&mut self) {
        for image in 0..self.pairs.len() {
            if self.on_trial(image) {
                self.pairs[image].swap(0, 1);
                self.note(image, OutcomeKind::Reverted, "the service ended during the trial");
            }
        }
        self.restart_now();
    }

    fn begin_trial(&mut self, image: usize) {
        let Some(other) = self.pairs[image][1].as_mut().filter(|slot| slot.pending) else {
            return;
        };
        other.pending = false;
        self.begin_work(image, Task::Trial);
    }

    fn begin_work(&mut self, image: usize, task: Task) {
        let done = 0;
        self.work = Some(Work { image, task, done });
        if self.slowness == 0 {
            self.end_work();
        }
    }

    fn end_work(&mut self) {
        let Some(Work { image, task, .. }) = self.work.take() else {
            return;
        };
        match (task, self.passes) {
            (Task::ReadingBack, _) => {}
            (Task::SelfTest, true) => self.note(image, OutcomeKind::Passed, ""),
            (Task::SelfTest, false) => self.note(image, OutcomeKind::Failed, DIFFERS),
            (Task::Trial, true) => self.use_tested(image),
            (Task::Trial, false) => {
                self.pairs[image][1].iter_mut().for_each(|slot| slot.permanent = false);
                self.note(image, OutcomeKind::Reverted, DIFFERS);
            }
        }
    }

    fn use_tested(&mut self, image: usize) {
        self.pairs[image].swap(0, 1);
        if self.pairs[image][0].as_ref().is_some_and(|slot| slot.permanent) {
            self.confirm(image);
        }
    }

    fn confirm(&mut self, image: usize) {
        let [active, other] = &mut self.pairs[image];
        if let Some(active) = active.as_mut().filter(|active| !active.confirmed) {
            (active.confirmed, active.permanent) = (true, false);
            other.iter_mut().for_each(|other| other.confirmed = false);
            self.note(image, OutcomeKind::Confirmed, "");
        }
    }

    fn note(&mut self, image: usize, kind: OutcomeKind, reason: &str) {
        let image = image as u32;
        self.outcomes.retain(|outcome| outcome.image != image);
        self.outcomes.push(Outcome {
            image,
            kind,
            reason: reason.to_owned(),
        });
    }

    fn on_trial(&self, image: usize) -> bool {
        self.pairs[image][0].as_ref().is_some_and(|slot| !slot.confirmed)
    }

    fn check_image(&self, image: u32) -> Result<usize, Refusal> {
        let image = image as usize;
        let known = image < self.pairs.len();
        known
            .then_some(image)
            .ok_or_else(|| Refusal::new(Code::InvalidSlot, "there is no such image"))
    }

    fn begin(&mut self, upload: Upload) -> Result<UploadReply, Refusal> {
        let image = self.check_image(upload.image)?;
        if let Some(refusal) = &self.refuse {
            return Err(refusal.clone());
        }
        if upload.length > self.max_image_bytes {
            return Err(Refusal::new(Code::ImageTooLarge, "larger than a slot"));
        }
        if self.on_trial(image) {
            return Err(Refusal::new(Code::BadState, "a trial runs; confirm or revert it first"));
        }
        let reply = upload.reply();
        let kind = upload.kind();
        self.uploads[kind as usize] = Some(upload);
        Ok(reply)
    }

    /// Appends a piece to the upload at work, if it is the next.
    fn append(&mut self, kind: Kind, offset: u64, data: &[u8]) -> Result<UploadReply, Refusal> {
        let Some(upload) = &mut self.uploads[kind as usize] else {
            return Ok(UploadReply {
                offset: 0,
                matches: None,
            });
        };
        let held = upload.bytes.len() as u64;
        if offset != held || upload.matches.is_some() || self.damage_at.take_if(|at| *at == offset).is_some() {
            return Ok(upload.reply());
        }
        if held + data.len() as u64 > upload.length {
            return Err(Refusal::new(Code::DataOverrun, "more than len announced"));
        }
        let at = upload.bytes.len();
        let differs = |file: &Vec<u8>| file.get(at..at + data.len()) != Some(data);
        if kind == Kind::File && self.expected.as_ref().is_some_and(differs) {
            upload.bytes.truncate(at / BLOCK_BYTES * BLOCK_BYTES);
            return Ok(upload.reply());
        }
        upload.bytes.extend(data);
        if upload.bytes.len() as u64 == upload.length {
            self.complete(kind);
        }
        Ok(self.uploads[kind as usize].as_ref().map_or(
            UploadReply {
                offset: 0,
                matches: None,
            },
            Upload::reply,
        ))
    }

    fn complete(&mut self, kind: Kind) {
        let Some(upload) = &mut self.uploads[kind as usize] else {
            return;
        };
        let digest: [u8; 32] = Sha256::digest(&upload.bytes).into();
        let matches = upload.sha.map(|sha| sha == digest);
        upload.matches = Some(matches);
        if matches == Some(false) {
            return;
        }
        let image = upload.image as usize;
        let file = match &upload.delta {
            None => upload.bytes.clone(),
            Some(delta) => match rebuilt(self.rebuild, &self.pairs[image], delta, &upload.bytes) {
                Some(file) => file,
                None => {
                    let reason = "the difference does not lead to the bundle that it names";
                    return self.note(image, OutcomeKind::Refused, reason);
                }
            },
        };
        self.pairs[image][1] = Some(Slot::new(file));
        self.note(image, OutcomeKind::Stored, "");
        self.begin_work(image, Task::ReadingBack);
    }

    /// The same upload once more: how far it is.
    fn known_upload(&self, kind: Kind, image: u32, length: u64, sha: Option<&[u8; 32]>) -> Option<UploadReply> {
        sha?;
        let same = |upload: &&Upload| upload.image == image && upload.length == length && upload.sha.as_ref() == sha;
        if let Some(upload) = self.uploads[kind as usize].as_ref().filter(same) {
            return Some(upload.reply());
        }
        let slots = self.pairs.get(image as usize)?;
        let held = slots
            .iter()
            .flatten()
            .any(|slot| !slot.damaged && Sha256::digest(&slot.bytes).as_slice() == sha.map_or(&[][..], |sha| sha));
        held.then_some(UploadReply {
            offset: length,
            matches: Some(true),
        })
    }
}

fn rebuilt(rebuild: Rebuild, slots: &[Option<Slot>; 2], delta: &Delta, bytes: &[u8]) -> Option<Vec<u8>> {
    let base = slots.iter().flatten().find(|slot| slot.hash == delta.base)?;
    let file = (rebuild.0)(&base.bytes, bytes)?;
    let named = file.len() as u64 == delta.target_bytes && Slot::new(file.clone()).hash == delta.target;
    named.then_some(file)
}

/// The twin's own difference: the target's bytes, each XOR the base's at the same place, 0 behind the base's end.
#[must_use]
pub fn xor(base: &[u8], difference: &[u8]) -> Option<Vec<u8>> {
    let masks = base.iter().copied().chain(std::iter::repeat(0));
    Some(difference.iter().zip(masks).map(|(byte, mask)| byte ^ mask).collect())
}

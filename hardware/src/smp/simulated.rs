//! The simulated twin: a device in memory that answers every group, for tests here and of the engineer's tool.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::files::{FileEntry, FileGroup};
use super::image::{ImageGroup, ImageSlots, ImageState, UploadChunk, UploadReply};
use super::os::{Information, OsGroup, Restart};
use super::refusal::{Code, Refusal};
use super::scanside::{
    Activity, DeltaChunk, Identity, KnownBundle, Outcome, OutcomeKind, Preflight, PreflightChunk, ScansideGroup, Status,
};
use super::statistics::StatisticsGroup;

const MAGIC: [u8; 4] = 0x96f3_b83d_u32.to_le_bytes();
const HEADER_BYTES: u64 = 32;

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
        }
    }
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
    fn reply(&self) -> UploadReply {
        UploadReply {
            offset: self.bytes.len() as u64,
            matches: self.matches.flatten(),
        }
    }
}

/// A device in memory. Its fields are open, so that a test can look and interfere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// The slots of each image: active, other.
    pub pairs: Vec<[Option<Slot>; 2]>,
    /// The role of each image.
    pub roles: Vec<String>,
    /// The files that may leave.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The clock; it stands still.
    pub time: Option<Duration>,
    /// The restart that was asked for.
    pub restart: Option<Restart>,
    /// Every upload that begins, and every preflight, is refused with this.
    pub refuse: Option<Refusal>,
    /// The piece at this offset is thrown away once, as if its checksum were wrong.
    pub damage_at: Option<u64>,
    /// Whether trials and self-tests pass.
    pub passes: bool,
    /// The largest upload in bytes.
    pub max_image_bytes: u64,
    /// How the last updates ended.
    pub outcomes: Vec<Outcome>,
    upload: Option<Upload>,
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
            time: None,
            restart: None,
            refuse: None,
            damage_at: None,
            passes: true,
            max_image_bytes: 64 << 20,
            outcomes: Vec::new(),
            upload: None,
            preflight: Vec::new(),
        }
    }

    /// What a restart does: a trial that was not confirmed ends, a pending image is tried.
    pub fn restart_now(&mut self) {
        self.restart = None;
        for image in 0..self.pairs.len() {
            if self.on_trial(image) {
                self.pairs[image].swap(0, 1);
                self.note(image, OutcomeKind::Reverted, "restarted before the trial was confirmed");
            }
            self.begin_trial(image);
        }
    }

    fn begin_trial(&mut self, image: usize) {
        let Some(other) = self.pairs[image][1].as_mut().filter(|slot| slot.pending) else {
            return;
        };
        other.pending = false;
        if !self.passes {
            other.permanent = false;
            return self.note(image, OutcomeKind::Reverted, "a golden case differs");
        }
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
        self.upload = Some(upload);
        Ok(reply)
    }

    /// Appends a piece to the upload at work, if it is the next.
    fn append(&mut self, offset: u64, data: &[u8]) -> Result<UploadReply, Refusal> {
        let Some(upload) = &mut self.upload else {
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
        upload.bytes.extend(data);
        if upload.bytes.len() as u64 == upload.length {
            self.complete()?;
        }
        Ok(self.upload.as_ref().map_or(
            UploadReply {
                offset: 0,
                matches: None,
            },
            Upload::reply,
        ))
    }

    fn complete(&mut self) -> Result<(), Refusal> {
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let digest: [u8; 32] = Sha256::digest(&upload.bytes).into();
        let matches = upload.sha.map(|sha| sha == digest);
        upload.matches = Some(matches);
        if matches == Some(false) {
            return Ok(());
        }
        let image = upload.image as usize;
        let file = match &upload.delta {
            None => upload.bytes.clone(),
            Some(delta) => rebuild(&self.pairs[image], delta, &upload.bytes)?,
        };
        self.pairs[image][1] = Some(Slot::new(file));
        self.note(image, OutcomeKind::Stored, "");
        Ok(())
    }

    /// The same upload once more: how far it is.
    fn known_upload(&self, image: u32, length: u64, sha: Option<&[u8; 32]>) -> Option<UploadReply> {
        sha?;
        let same = |upload: &&Upload| upload.image == image && upload.length == length && upload.sha.as_ref() == sha;
        if let Some(upload) = self.upload.as_ref().filter(same) {
            return Some(upload.reply());
        }
        let slots = self.pairs.get(image as usize)?;
        let held = slots
            .iter()
            .flatten()
            .any(|slot| Sha256::digest(&slot.bytes).as_slice() == sha.map_or(&[][..], |sha| sha));
        held.then_some(UploadReply {
            offset: length,
            matches: Some(true),
        })
    }
}

/// The twin's difference: the target's bytes, each XOR the base's at the same place, 0 behind the base's end.
fn rebuild(slots: &[Option<Slot>; 2], delta: &Delta, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let base = slots.iter().flatten().find(|slot| slot.hash == delta.base);
    let base = base.ok_or_else(|| Refusal::new(Code::WrongBase, "the base is gone"))?;
    let masks = base.bytes.iter().copied().chain(std::iter::repeat(0));
    let file: Vec<u8> = bytes.iter().zip(masks).map(|(byte, mask)| byte ^ mask).collect();
    if file.len() as u64 != delta.target_bytes || Slot::new(file.clone()).hash != delta.target {
        return Err(Refusal::new(
            Code::Corrupt,
            "the difference does not lead to the bundle that it names",
        ));
    }
    Ok(file)
}

impl OsGroup for Simulated {
    fn restart(&mut self, request: Restart) -> Result<(), Refusal> {
        self.restart = Some(request);
        Ok(())
    }

    fn time(&mut self) -> Result<Duration, Refusal> {
        self.time
            .ok_or_else(|| Refusal::new(Code::ClockNotSet, "the clock was never set"))
    }

    fn set_time(&mut self, time: Duration) -> Result<(), Refusal> {
        if self.time.is_some_and(|now| time < now) {
            return Err(Refusal::new(
                Code::ClockRefused,
                "the time lies before the last one seen",
            ));
        }
        self.time = Some(time);
        Ok(())
    }

    fn information(&mut self) -> Information {
        Information {
            kernel: "Scanside".to_owned(),
            node: "simulated".to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            machine: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            ..Information::default()
        }
    }
}

impl ImageGroup for Simulated {
    fn states(&mut self) -> Vec<ImageState> {
        let mut states = Vec::new();
        for (image, slots) in self.pairs.iter().enumerate() {
            for (number, slot) in slots.iter().enumerate() {
                let state = slot.as_ref().map(|slot| ImageState {
                    image: image as u32,
                    slot: number as u32,
                    version: slot.version.clone(),
                    hash: slot.hash,
                    bootable: true,
                    pending: slot.pending,
                    confirmed: slot.confirmed,
                    active: number == 0,
                    permanent: slot.permanent,
                });
                states.extend(state);
            }
        }
        states
    }

    fn set_state(&mut self, hash: Option<&[u8; 32]>, confirm: bool) -> Result<(), Refusal> {
        let named = |slot: &Option<Slot>| {
            slot.as_ref()
                .is_some_and(|slot| hash.is_none_or(|hash| slot.hash == *hash))
        };
        if let Some(image) = self.pairs.iter().position(|slots| named(&slots[0])) {
            if !confirm {
                return Err(Refusal::new(Code::TestOfActive, "the image runs already"));
            }
            self.confirm(image);
            return Ok(());
        }
        let other = self.pairs.iter_mut().find(|slots| hash.is_some() && named(&slots[1]));
        let slot = other.and_then(|slots| slots[1].as_mut());
        let slot = slot.ok_or_else(|| Refusal::new(Code::InvalidHash, "no slot holds an image of this hash"))?;
        slot.pending = true;
        slot.permanent = confirm;
        Ok(())
    }

    fn upload(&mut self, chunk: UploadChunk<'_>) -> Result<UploadReply, Refusal> {
        let Some(length) = chunk.length.filter(|_| chunk.offset == 0) else {
            return self.append(chunk.offset, chunk.data);
        };
        if let Some(reply) = self.known_upload(chunk.image, length, chunk.sha) {
            return if reply.offset == 0 {
                self.append(0, chunk.data)
            } else {
                Ok(reply)
            };
        }
        if length < HEADER_BYTES {
            return Err(Refusal::new(Code::ShortImage, "shorter than an image header"));
        }
        if chunk.data.len() >= MAGIC.len() && !chunk.data.starts_with(&MAGIC) {
            return Err(Refusal::new(Code::NotAnImage, "not a bundle"));
        }
        self.begin(Upload {
            image: chunk.image,
            length,
            sha: chunk.sha.copied(),
            bytes: Vec::new(),
            delta: None,
            matches: None,
        })?;
        self.append(0, chunk.data)
    }

    fn erase(&mut self, slot: u32) -> Result<(), Refusal> {
        let image = self.check_image(slot / 2)?;
        let holds = &mut self.pairs[image][slot as usize % 2];
        if slot % 2 == 0 || holds.as_ref().is_some_and(|slot| slot.pending || slot.confirmed) {
            return Err(Refusal::new(Code::BadState, "the slot is in use"));
        }
        *holds = None;
        self.upload.take_if(|upload| upload.image as usize == image);
        Ok(())
    }

    fn slots(&mut self) -> Vec<ImageSlots> {
        let images = 0..self.pairs.len() as u32;
        let slots = |image| ImageSlots {
            image,
            slots: vec![(0, self.max_image_bytes), (1, self.max_image_bytes)],
            max_image_bytes: Some(self.max_image_bytes),
        };
        images.map(slots).collect()
    }
}

impl FileGroup for Simulated {
    fn length(&mut self, name: &str) -> Result<u64, Refusal> {
        self.file(name).map(|file| file.len() as u64)
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, Refusal> {
        let rest = usize::try_from(offset).ok();
        let rest = self.file(name)?.get(rest.unwrap_or(usize::MAX)..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn list(&mut self, from: usize) -> Result<Vec<FileEntry>, Refusal> {
        let entry = |(name, file): (&String, &Vec<u8>)| FileEntry {
            name: name.clone(),
            bytes: file.len() as u64,
        };
        Ok(self.files.iter().skip(from).map(entry).collect())
    }
}

impl Simulated {
    fn file(&self, name: &str) -> Result<&[u8], Refusal> {
        let file = self.files.get(name).map(Vec::as_slice);
        file.ok_or_else(|| Refusal::new(Code::FileNotFound, "no such file may leave the device"))
    }
}

impl StatisticsGroup for Simulated {
    fn statistics(&mut self) -> Vec<String> {
        vec!["slots".to_owned()]
    }

    fn counters(&mut self, name: &str) -> Option<Vec<(String, u64)>> {
        let used = self.pairs.iter().flatten().flatten().count();
        (name == "slots").then(|| vec![("used".to_owned(), used as u64)])
    }
}

impl ScansideGroup for Simulated {
    fn identity(&mut self) -> Identity {
        Identity {
            product: "Scanside, simulated".to_owned(),
            serial: "0".to_owned(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            roles: self.roles.clone(),
            details: vec![("provider".to_owned(), "none".to_owned())],
        }
    }

    fn status(&mut self) -> Status {
        let mut activities = Vec::new();
        if let Some(upload) = self.upload.as_ref().filter(|upload| upload.matches.is_none()) {
            activities.push(Activity::Receiving {
                image: upload.image,
                bytes: upload.bytes.len() as u64,
                total: upload.length,
            });
        }
        let trials = (0..self.pairs.len()).filter(|image| self.on_trial(*image));
        activities.extend(trials.map(|image| Activity::Trial {
            image: image as u32,
            results_left: None,
        }));
        activities.extend(self.restart.map(|_| Activity::Restarting));
        Status {
            activities,
            outcomes: self.outcomes.clone(),
        }
    }

    fn preflight(&mut self, chunk: PreflightChunk<'_>) -> Result<Preflight, Refusal> {
        self.check_image(chunk.image)?;
        if chunk.offset == 0 {
            self.preflight.clear();
        }
        let held = self.preflight.len() as u64;
        if chunk.offset == held {
            let room = HEADER_BYTES.saturating_sub(held) as usize;
            self.preflight.extend(chunk.data.iter().take(room));
        }
        Ok(match &self.refuse {
            Some(refusal) => Preflight::Refused(refusal.clone()),
            None if (self.preflight.len() as u64) < HEADER_BYTES.min(chunk.total) => {
                Preflight::More(self.preflight.len() as u64)
            }
            None if self.preflight.starts_with(&MAGIC) => Preflight::Accepted,
            None => Preflight::Refused(Refusal::new(Code::Format, "not a Scanside bundle")),
        })
    }

    fn self_test(&mut self, image: u32) -> Result<(), Refusal> {
        let image = self.check_image(image)?;
        if self.pairs[image][0].is_none() {
            return Err(Refusal::new(Code::NoImage, "no image runs"));
        }
        let kind = if self.passes {
            OutcomeKind::Passed
        } else {
            OutcomeKind::Failed
        };
        self.note(image, kind, if self.passes { "" } else { "a golden case differs" });
        Ok(())
    }

    fn bundles(&mut self) -> Vec<KnownBundle> {
        let bytes: BTreeMap<[u8; 32], u64> = self
            .pairs
            .iter()
            .flatten()
            .flatten()
            .map(|slot| (slot.hash, slot.bytes.len() as u64))
            .collect();
        let known = |state: ImageState| KnownBundle {
            image: state.image,
            slot: state.slot,
            hash: state.hash,
            bytes: bytes.get(&state.hash).copied().unwrap_or(0),
        };
        self.states().into_iter().map(known).collect()
    }

    fn delta(&mut self, chunk: DeltaChunk<'_>) -> Result<UploadReply, Refusal> {
        let Some(begin) = chunk.begin else {
            return self.append(chunk.offset, chunk.data);
        };
        if let Some(reply) = self.known_upload(begin.image, begin.length, Some(begin.sha)) {
            return if reply.offset == 0 {
                self.append(0, chunk.data)
            } else {
                Ok(reply)
            };
        }
        let image = self.check_image(begin.image)?;
        if !self.pairs[image].iter().flatten().any(|slot| slot.hash == *begin.base) {
            return Err(Refusal::new(
                Code::WrongBase,
                "the device does not have the base of this difference",
            ));
        }
        self.begin(Upload {
            image: begin.image,
            length: begin.length,
            sha: Some(*begin.sha),
            bytes: Vec::new(),
            delta: Some(Delta {
                base: *begin.base,
                target: *begin.target,
                target_bytes: begin.target_bytes,
            }),
            matches: None,
        })?;
        self.append(0, chunk.data)
    }

    fn revert(&mut self, image: u32) -> Result<(), Refusal> {
        let image = self.check_image(image)?;
        let pending = self.pairs[image][1].as_mut().filter(|slot| slot.pending);
        if let Some(slot) = pending {
            (slot.pending, slot.permanent) = (false, false);
        } else if self.on_trial(image) {
            self.pairs[image].swap(0, 1);
        } else {
            return Err(Refusal::new(Code::BadState, "no trial runs and none is pending"));
        }
        self.note(image, OutcomeKind::Reverted, "asked for");
        Ok(())
    }
}

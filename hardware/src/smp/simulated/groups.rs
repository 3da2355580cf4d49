//! How the twin answers each group.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Delta, HEADER_BYTES, Kind, MAGIC, Simulated, Slot, Task, Upload};
use crate::smp::files::{FileEntry, FileGroup};
use crate::smp::image::{ImageGroup, ImageSlots, ImageState, UploadChunk, UploadReply};
use crate::smp::os::{Information, OsGroup, Restart};
use crate::smp::refusal::{Code, Refusal};
use crate::smp::scanside::{
    Activity, DeltaChunk, Identity, KnownBundle, OutcomeKind, Preflight, PreflightChunk, ScansideGroup, Status,
};
use crate::smp::statistics::StatisticsGroup;

impl OsGroup for Simulated {
    fn restart(&mut self, request: Restart) -> Result<(), Refusal> {
        if !request.force && self.work.is_some_and(|work| work.task == Task::Trial) {
            return Err(Refusal::new(Code::Busy, "the self-test of a new image runs"));
        }
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
            version: "none".to_owned(),
            build: "simulated".to_owned(),
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
                    bootable: !slot.damaged && (number == 0 || !self.reads_back(image)),
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
        let Some(hash) = hash else {
            return self.confirm_running();
        };
        let named = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.hash == *hash);
        if let Some(image) = self.pairs.iter().position(|slots| named(&slots[0])) {
            if !confirm {
                return Err(Refusal::new(Code::TestOfActive, "the image runs already"));
            }
            self.confirm(image);
            return Ok(());
        }
        let other = self.pairs.iter_mut().find(|slots| named(&slots[1]));
        let slot = other.and_then(|slots| slots[1].as_mut());
        let slot = slot.ok_or_else(|| Refusal::new(Code::InvalidHash, "no slot holds an image of this hash"))?;
        slot.pending = true;
        slot.permanent = confirm && !self.forgets_promises;
        Ok(())
    }

    fn upload(&mut self, chunk: UploadChunk<'_>) -> Result<UploadReply, Refusal> {
        let Some(length) = chunk.length.filter(|_| chunk.offset == 0) else {
            return self.append(Kind::File, chunk.offset, chunk.data);
        };
        if let Some(reply) = self.known_upload(Kind::File, chunk.image, length, chunk.sha) {
            return if reply.offset == 0 {
                self.append(Kind::File, 0, chunk.data)
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
        self.append(Kind::File, 0, chunk.data)
    }

    fn erase(&mut self, slot: u32) -> Result<(), Refusal> {
        let image = self.check_image(slot / 2)?;
        let holds = &mut self.pairs[image][slot as usize % 2];
        if slot.is_multiple_of(2) || holds.as_ref().is_some_and(|slot| slot.pending || slot.confirmed) {
            return Err(Refusal::new(Code::BadState, "the slot is in use"));
        }
        *holds = None;
        self.uploads[Kind::File as usize].take_if(|upload| upload.image as usize == image);
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
        if self.unreadable.contains(name) {
            return Err(Refusal::new(Code::FileUnreadable, "the medium fails"));
        }
        let rest = usize::try_from(offset).ok();
        let rest = self.file(name)?.get(rest.unwrap_or(usize::MAX)..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn list(&mut self, below: &str, after: &str) -> Result<Vec<FileEntry>, Refusal> {
        let wanted = |(name, _): &(&String, &Vec<u8>)| name.starts_with(below) && name.as_str() > after;
        let entry = |(name, file): (&String, &Vec<u8>)| FileEntry {
            name: name.clone(),
            bytes: file.len() as u64,
        };
        Ok(self.files.iter().filter(wanted).map(entry).collect())
    }
}

impl Simulated {
    fn file(&self, name: &str) -> Result<&[u8], Refusal> {
        let file = self.files.get(name).map(Vec::as_slice);
        file.ok_or_else(|| Refusal::new(Code::FileNotFound, "no such file may leave the device"))
    }
}

impl Simulated {
    /// Confirms the image on trial, if there is only one.
    fn confirm_running(&mut self) -> Result<(), Refusal> {
        let trials: Vec<usize> = (0..self.pairs.len()).filter(|image| self.on_trial(*image)).collect();
        match trials.as_slice() {
            [image] => self.confirm(*image),
            [] if self.pairs.iter().flatten().flatten().any(|slot| slot.confirmed) => {}
            [] => return Err(Refusal::new(Code::ConfirmationDenied, "there is no image to confirm")),
            _ => return Err(Refusal::new(Code::InvalidHash, "several images are on trial")),
        }
        Ok(())
    }

    fn reads_back(&self, image: usize) -> bool {
        self.work
            .is_some_and(|work| work.image == image && work.task == Task::ReadingBack)
    }

    /// Shows what takes its time, and gets on with it.
    fn go_on_working(&mut self) -> Option<Activity> {
        let work = self.work.as_mut()?;
        let (image, done, total) = (work.image as u32, work.done, self.slowness);
        let activity = match work.task {
            Task::Trial | Task::SelfTest => Activity::SelfTest { image, done, total },
            Task::ReadingBack => Activity::Verifying {
                image,
                bytes: done,
                total,
            },
        };
        work.done += 1;
        if work.done > total {
            self.end_work();
        }
        Some(activity)
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
            run: self.run,
            roles: self.roles.clone(),
            details: vec![("provider".to_owned(), "none".to_owned())],
        }
    }

    fn status(&mut self) -> Status {
        let mut activities = Vec::new();
        let at_work = self.uploads.iter().flatten().filter(|upload| upload.matches.is_none());
        activities.extend(at_work.map(|upload| Activity::Receiving {
            image: upload.image,
            bytes: upload.bytes.len() as u64,
            total: upload.length,
        }));
        activities.extend(self.go_on_working());
        let trials = (0..self.pairs.len()).filter(|image| self.on_trial(*image));
        activities.extend(trials.map(|image| Activity::Trial {
            image: image as u32,
            results_left: None,
        }));
        activities.extend(self.restart.map(|_| Activity::Restarting));
        Status {
            activities,
            outcomes: self.outcomes.clone(),
            problems: self.problems.clone(),
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
        self.outcomes.retain(|outcome| outcome.image as usize != image);
        self.begin_work(image, Task::SelfTest);
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
            return self.append(Kind::Difference, chunk.offset, chunk.data);
        };
        if let Some(reply) = self.known_upload(Kind::Difference, begin.image, begin.length, Some(begin.sha)) {
            return if reply.offset == 0 {
                self.append(Kind::Difference, 0, chunk.data)
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
        if let Some(refusal) = &self.refuse_delta {
            return Err(refusal.clone());
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
        self.append(Kind::Difference, 0, chunk.data)
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

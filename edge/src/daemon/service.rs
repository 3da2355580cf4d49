//! What the serial line can ask of the appliance: the groups of the SMP server over slots, board, clock and files.

use std::sync::Arc;
use std::time::Duration;

use hardware::slots::{self, Cause, Chunk, Confirmed, Examined, MAX_FRONT_BYTES, Phase, RefusalCode, SlotError};
use hardware::smp::{
    Activity, Code, DeltaChunk, FileEntry, FileGroup, Identity, ImageGroup, ImageSlots, ImageState, Information,
    KnownBundle, OsGroup, Outcome, OutcomeKind, Preflight, PreflightChunk, Refusal, Restart, ScansideGroup,
    StatisticsGroup, Status, UploadChunk, UploadReply,
};

use super::board::{Progress, Step, Tally};
use super::delta::Inbox;
use super::files::ReadableFiles;
use super::shared::{Shared, Wish};

/// Entries of one answer to the list of files.
const LISTED_FILES: usize = 64;
/// Name of the set of counters about images.
const TRIAGE: &str = "triage";

/// The appliance as the serial line sees it.
pub struct Service {
    shared: Arc<Shared>,
    files: ReadableFiles,
    deltas: Inbox,
    roles: Vec<String>,
    identity: Identity,
    information: Information,
    trial_inferences: Option<u32>,
    /// The beginning of a bundle that is asked about, and whose.
    asked: Option<(u32, u64, Vec<u8>)>,
    /// The image that the first piece of an upload named: clients name it only there.
    uploading: u32,
}

/// What does not change while the service runs.
#[derive(Debug, Clone)]
pub struct Description {
    /// The roles in the order of the images.
    pub roles: Vec<String>,
    /// The user group's answer.
    pub identity: Identity,
    /// The OS group's answer.
    pub information: Information,
    /// After so many results a trial ends by itself.
    pub trial_inferences: Option<u32>,
}

impl Service {
    /// Of what the threads share, what may be read, and where deltas arrive.
    #[must_use]
    pub fn new(shared: Arc<Shared>, files: ReadableFiles, deltas: Inbox, description: Description) -> Self {
        Self {
            shared,
            files,
            deltas,
            roles: description.roles,
            identity: description.identity,
            information: description.information,
            trial_inferences: description.trial_inferences,
            asked: None,
            uploading: 0,
        }
    }

    fn images(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.roles.len()).unwrap_or(u32::MAX)
    }

    /// What a role is at: the service's own step, or else what the slots know. Beside a difference that arrives, a file
    /// may wait to be gone on with.
    fn activities(&self, image: u32) -> Vec<Activity> {
        let step = self.shared.board().step(image);
        let own = step.map(|step| of_step(image, step));
        let awaited = self.shared.board().awaits_self_test(image) && !matches!(step, Some(Step::SelfTest(_)));
        let awaited = awaited.then_some(Activity::SelfTest {
            image,
            done: 0,
            total: 0,
        });
        let in_slots = match step {
            None | Some(Step::Receiving(_)) => self.slots_activity(image),
            _ => None,
        };
        own.into_iter().chain(awaited).chain(in_slots).collect()
    }

    fn slots_activity(&self, image: u32) -> Option<Activity> {
        match self.shared.slots().activity(image).ok()? {
            slots::Activity::Receiving { bytes, total } => Some(Activity::Receiving { image, bytes, total }),
            slots::Activity::Verifying { total } => Some(Activity::Verifying { image, bytes: 0, total }),
            slots::Activity::Trial {
                phase: Phase::Loading, ..
            } => Some(Activity::SelfTest {
                image,
                done: 0,
                total: 0,
            }),
            slots::Activity::Trial { good_results, .. } => {
                let wanted = self.trial_inferences.zip(good_results);
                Some(Activity::Trial {
                    image,
                    results_left: wanted.map(|(after, count)| u64::from(after.saturating_sub(count))),
                })
            }
            _ => None,
        }
    }

    /// Confirms the image on trial, if there is only one: whoever names none cannot mean several.
    fn confirm_running(&mut self) -> Result<(), Refusal> {
        let on_trial = |image: &u32| matches!(self.shared.slots().on_trial(*image), Ok(Some(_)));
        let trials: Vec<u32> = self.images().filter(on_trial).collect();
        match trials.as_slice() {
            [image] => self.confirm(*image),
            // It may have been confirmed before, and the client have missed the answer.
            [] if self.shared.slots().states().iter().any(|state| state.confirmed) => Ok(()),
            [] => Err(Refusal::new(Code::ConfirmationDenied, "there is no image to confirm")),
            several => {
                let roles: Vec<&str> = several.iter().map(|image| self.role(*image)).collect();
                let message = format!("{} are on trial; name one by its hash", roles.join(" and "));
                Err(Refusal::new(Code::InvalidHash, message))
            }
        }
    }

    /// The name of a role.
    fn role(&self, image: u32) -> &str {
        self.roles.get(image as usize).map_or("?", String::as_str)
    }

    /// The image whose self-test a restart now would spoil: it runs, or this start is about to run it.
    fn in_self_test(&self) -> Option<u32> {
        let slots = self.shared.slots();
        let loading = |image: &u32| {
            matches!(
                slots.activity(*image),
                Ok(slots::Activity::Trial {
                    phase: Phase::Loading,
                    ..
                })
            )
        };
        let awaited = || {
            let states = slots.states().into_iter();
            let mut pending = states.filter(|state| state.pending && state.bootable && !state.confirmed);
            pending.next().map(|state| state.image)
        };
        let starting = !self.shared.has_started();
        self.images().find(loading).or_else(|| awaited().filter(|_| starting))
    }

    fn confirm(&mut self, image: u32) -> Result<(), Refusal> {
        let confirmed = self
            .shared
            .slots()
            .confirm(image)
            .map_err(|e| refused_as(&e, Code::ConfirmationDenied))?;
        if confirmed == Confirmed::Now {
            let now = std::time::Instant::now();
            self.shared
                .board()
                .report(image, OutcomeKind::Confirmed, "by an engineer", now);
            tracing::info!(image, "the model was confirmed by an engineer");
        }
        Ok(())
    }
}

impl OsGroup for Service {
    fn restart(&mut self, request: Restart) -> Result<(), Refusal> {
        let testing = self.in_self_test().filter(|_| !request.force);
        if let Some(image) = testing.filter(|_| !self.shared.is_restarting()) {
            // Clients repeat what they hear no answer to, and the self-test may be what the first request began.
            let message = format!(
                "the self-test of {} runs; wait for its end, or force it",
                self.role(image)
            );
            return Err(Refusal::new(Code::Busy, message));
        }
        tracing::info!(force = request.force, "a restart was asked for over the serial line");
        self.shared.restart();
        Ok(())
    }

    fn time(&mut self) -> Result<Duration, Refusal> {
        let time = self.shared.clock().now();
        Ok(time)
    }

    fn set_time(&mut self, time: Duration) -> Result<(), Refusal> {
        let set = self.shared.clock().set(time);
        set.map_err(|e| Refusal::new(Code::ClockRefused, e.to_string()))
    }

    fn information(&mut self) -> Information {
        self.information.clone()
    }
}

impl ImageGroup for Service {
    fn states(&mut self) -> Vec<ImageState> {
        self.shared.slots().states().iter().map(image_state).collect()
    }

    fn set_state(&mut self, hash: Option<&[u8; 32]>, confirm: bool) -> Result<(), Refusal> {
        let Some(hash) = hash else {
            return self.confirm_running();
        };
        let states = self.shared.slots().states();
        let running = states.iter().find(|state| state.hash == *hash && state.active);
        match running {
            Some(state) if confirm => self.confirm(state.image),
            _ => self.shared.slots().request(hash, confirm).map_err(|e| refused(&e)),
        }
    }

    fn upload(&mut self, chunk: UploadChunk<'_>) -> Result<UploadReply, Refusal> {
        if chunk.offset == 0 || chunk.image != 0 {
            self.uploading = chunk.image;
        }
        let chunk = Chunk {
            image: self.uploading,
            offset: chunk.offset,
            data: chunk.data,
            length: chunk.length,
            sha: chunk.sha.map(<[u8; 32]>::as_slice),
            upgrade: chunk.upgrade,
        };
        if chunk.offset == 0 {
            self.shared.board().give_up_receiving(chunk.image);
        }
        let taken = self.shared.slots().upload(&chunk);
        let reply = taken.map_err(|error| {
            let refusal = refused(&error);
            let (now, image) = (std::time::Instant::now(), chunk.image);
            tracing::warn!(image, code = refusal.code.name(), "an upload was refused: {error}");
            if matches!(error, SlotError::Refused(_)) {
                self.shared
                    .board()
                    .report(image, OutcomeKind::Refused, error.to_string(), now);
            }
            refusal
        })?;
        Ok(UploadReply {
            offset: reply.offset,
            matches: reply.matches,
        })
    }

    fn erase(&mut self, slot: u32) -> Result<(), Refusal> {
        // SMP numbers the slots of all images in a row.
        self.shared
            .slots()
            .erase(slot / 2, Some(slot % 2))
            .map_err(|e| refused(&e))
    }

    fn slots(&mut self) -> Vec<ImageSlots> {
        let slots = self.shared.slots();
        let of_image = |image: u32| ImageSlots {
            image,
            slots: (0..2).map(|slot| (slot, slots.slot_bytes())).collect(),
            max_image_bytes: slots.longest_upload(image).ok(),
        };
        self.images().map(of_image).collect()
    }
}

impl FileGroup for Service {
    fn length(&mut self, name: &str) -> Result<u64, Refusal> {
        self.files.length(name)
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, Refusal> {
        self.files.read(name, offset, into)
    }

    fn list(&mut self, below: &str, after: &str) -> Result<Vec<FileEntry>, Refusal> {
        Ok(self.files.list(below, after, LISTED_FILES))
    }
}

impl StatisticsGroup for Service {
    fn statistics(&mut self) -> Vec<String> {
        vec![TRIAGE.to_owned()]
    }

    fn counters(&mut self, name: &str) -> Option<Vec<(String, u64)>> {
        let Tally {
            results,
            flagged,
            uncertain,
            refused,
            waiting,
            faults,
        } = self.shared.board().tally;
        let counters = [
            ("results", results),
            ("flagged", flagged),
            ("uncertain", uncertain),
            ("refused", refused),
            ("waiting", waiting),
            ("faults", faults),
        ];
        (name == TRIAGE).then(|| counters.map(|(name, value)| (name.to_owned(), value)).to_vec())
    }
}

impl ScansideGroup for Service {
    fn identity(&mut self) -> Identity {
        self.identity.clone()
    }

    fn status(&mut self) -> Status {
        let mut activities: Vec<Activity> = self.images().flat_map(|image| self.activities(image)).collect();
        if self.shared.is_restarting() {
            activities.push(Activity::Restarting);
        }
        let mut outcomes = self.shared.board().outcomes();
        for image in self.images() {
            outcomes.extend(self.setback(image, &outcomes));
        }
        let problems = self.shared.board().problems();
        Status {
            activities,
            outcomes,
            problems,
        }
    }

    fn preflight(&mut self, chunk: PreflightChunk<'_>) -> Result<Preflight, Refusal> {
        let PreflightChunk {
            image,
            offset,
            data,
            total,
        } = chunk;
        let same = |asked: &&mut (u32, u64, Vec<u8>)| offset > 0 && (asked.0, asked.1) == (image, total);
        let begun = self.asked.as_mut().filter(same).is_some();
        if !begun {
            self.asked = Some((image, total, Vec::new()));
        }
        let Some((_, _, beginning)) = &mut self.asked else {
            return Err(Refusal::new(Code::BadState, "nothing is being asked about"));
        };
        // A repeated or a missing piece: the answer says where to go on.
        if offset == beginning.len() as u64 {
            let room = MAX_FRONT_BYTES - beginning.len().min(MAX_FRONT_BYTES);
            beginning.extend_from_slice(&data[..data.len().min(room)]);
        }
        let judged = self
            .shared
            .slots()
            .preflight(image, total, beginning)
            .map_err(|e| refused(&e))?;
        Ok(match judged {
            Examined::NeedMore { .. } if beginning.len() < MAX_FRONT_BYTES => Preflight::More(beginning.len() as u64),
            Examined::NeedMore { .. } => Preflight::Refused(Refusal::new(Code::Format, "the front is too long")),
            Examined::Accepted(_) => Preflight::Accepted,
            Examined::Refused(refusal) => Preflight::Refused(refusal_of(&refusal)),
        })
    }

    fn self_test(&mut self, image: u32) -> Result<(), Refusal> {
        if !self.images().contains(&image) {
            return Err(Refusal::new(Code::InvalidSlot, format!("there is no image {image}")));
        }
        self.shared.board().ask_for_self_test(image);
        self.shared.wish(Wish::SelfTest(image));
        Ok(())
    }

    fn bundles(&mut self) -> Vec<KnownBundle> {
        let bundle = |state: slots::ImageState| KnownBundle {
            image: state.image,
            slot: state.slot,
            hash: state.hash,
            bytes: state.length,
        };
        self.shared.slots().states().into_iter().map(bundle).collect()
    }

    fn delta(&mut self, chunk: DeltaChunk<'_>) -> Result<UploadReply, Refusal> {
        let (reply, received) = self.deltas.take(&self.shared, chunk)?;
        {
            let mut board = self.shared.board();
            match self.deltas.progress() {
                Some((image, progress)) => board.begin(image, Step::Receiving(progress)),
                None => self.images().for_each(|image| board.give_up_receiving(image)),
            }
        }
        if let Some(received) = received {
            self.shared.rebuild(received);
        }
        Ok(reply)
    }

    fn revert(&mut self, image: u32) -> Result<(), Refusal> {
        let reverted = self
            .shared
            .slots()
            .revert(image, Cause::Engineer, "taken back by an engineer");
        let load = reverted.map_err(|e| refused(&e))?;
        let now = std::time::Instant::now();
        self.shared
            .board()
            .report(image, OutcomeKind::Reverted, "taken back by an engineer", now);
        self.shared.wish(Wish::Serve(image, load));
        Ok(())
    }
}

impl Service {
    /// What the slots remember of an update that went wrong, unless the board knows something newer.
    fn setback(&self, image: u32, known: &[Outcome]) -> Option<Outcome> {
        if known.iter().any(|outcome| outcome.image == image) {
            return None;
        }
        let slots = self.shared.slots();
        let setback = slots.setback(image).ok()??;
        Some(Outcome {
            image,
            kind: OutcomeKind::Reverted,
            reason: setback.message.clone(),
        })
    }
}

fn of_step(image: u32, step: Step) -> Activity {
    match step {
        Step::Receiving(Progress { done: bytes, total }) => Activity::Receiving { image, bytes, total },
        Step::Rebuilding(Progress { done: bytes, total }) => Activity::Rebuilding { image, bytes, total },
        Step::Verifying(Progress { done: bytes, total }) => Activity::Verifying { image, bytes, total },
        Step::SelfTest(Progress { done, total }) => Activity::SelfTest { image, done, total },
    }
}

fn image_state(state: &slots::ImageState) -> ImageState {
    ImageState {
        image: state.image,
        slot: state.slot,
        version: smp_version(&state.facts.version),
        hash: state.hash,
        bootable: state.bootable,
        pending: state.pending,
        confirmed: state.confirmed,
        active: state.active,
        permanent: state.permanent,
    }
}

/// MCUboot's tools write the build number behind a dot.
fn smp_version(version: &str) -> String {
    version.replace('+', ".")
}

pub(super) fn refused(error: &SlotError) -> Refusal {
    refused_as(error, Code::BadState)
}

/// The protocol's code of an error; `state` is the code of what the state forbids.
fn refused_as(error: &SlotError, state: Code) -> Refusal {
    let code = match error {
        SlotError::NoSuchImage { .. } => Code::InvalidSlot,
        SlotError::NoSuchHash { .. } => Code::InvalidHash,
        SlotError::InUse { .. } | SlotError::WrongState { .. } => state,
        SlotError::Rollback { .. } => Code::Downgrade,
        SlotError::NoSpace { .. } => Code::Space,
        SlotError::Refused(refusal) => return refusal_of(refusal),
        SlotError::Chunk { .. } => Code::Invalid,
        SlotError::BlockDamaged { .. } => Code::Corrupt,
        _ => Code::Unknown,
    };
    Refusal::new(code, error.to_string())
}

fn refusal_of(refusal: &slots::Refusal) -> Refusal {
    let code = match refusal.code {
        RefusalCode::Signature => Code::Signature,
        RefusalCode::Role => Code::Role,
        RefusalCode::SecurityCounter => Code::Downgrade,
        RefusalCode::NotNewer => Code::NotNewer,
        RefusalCode::Hardware => Code::Hardware,
        RefusalCode::TooLarge => Code::ImageTooLarge,
        RefusalCode::Digest => Code::Corrupt,
        RefusalCode::Format => Code::Format,
        _ => Code::Unknown,
    };
    Refusal::new(code, refusal.message.as_str())
}

//! Receiving a delta, piece by piece, into a file of its own.

use std::io;
use std::sync::Arc;

use bundle::container::hexadecimal;
use hardware::slots::{self, Slots, Storage};
use hardware::smp::{Code, DeltaBegin, DeltaChunk, Refusal, UploadReply};

use super::Received;
use super::digesting::Digesting;
use super::file::DeltaFile;
use crate::daemon::board::Progress;
use crate::daemon::service::refused;
use crate::daemon::shared::Shared;

/// Ending of the files.
const ENDING: &str = ".delta";

/// Where deltas arrive.
pub struct Inbox {
    storage: Arc<dyn Storage>,
    current: Option<Incoming>,
}

struct Incoming {
    received: Received,
    sha: [u8; 32],
    at: u64,
    digest: Digesting,
    /// Handed on to be rebuilt; the last piece may come again.
    complete: bool,
}

impl Inbox {
    /// In a folder in which nothing else is named as deltas are.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, current: None }
    }

    /// Takes a piece. With the last one comes whether all of it is what was announced, and then what to rebuild.
    ///
    /// # Errors
    /// [`Code::WrongBase`], [`Code::Space`] and others before a byte is written.
    pub fn take(&mut self, shared: &Shared, chunk: DeltaChunk<'_>) -> Result<(UploadReply, Option<Received>), Refusal> {
        if let Some(begin) = chunk.begin {
            if is_there(&shared.slots(), &begin) {
                return Ok((reply(begin.length, Some(true)), None));
            }
            self.begin(shared, begin)?;
        }
        let Some(incoming) = self.current.as_mut() else {
            // After a restart of the service: the client is to say once more what it sends.
            return Ok((reply(0, None), None));
        };
        if chunk.offset == incoming.at {
            incoming.append(chunk.data)?;
        }
        let length = incoming.received.file.length();
        if incoming.at < length {
            return Ok((reply(incoming.at, None), None));
        }
        if incoming.complete {
            return Ok((reply(length, Some(true)), None));
        }
        let digest = match incoming.digest.finish(&incoming.received.file) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                let message = "what there was of the delta is still being read; ask again";
                return Err(Refusal::new(Code::Busy, message));
            }
            Err(error) => {
                // The next first piece reads the file anew.
                self.current = None;
                return Err(failed(error));
            }
        };
        if digest != incoming.sha {
            // The line, or a power cut that tore what had arrived before.
            let file = incoming.received.file.clone();
            self.current = None;
            file.remove().map_err(failed)?;
            return Ok((reply(0, Some(false)), None));
        }
        let mark = shared.slots().upload_mark(incoming.received.image);
        incoming.received.mark = mark.map_err(|error| refused(&error))?;
        incoming.complete = true;
        let received = incoming.received.clone();
        Ok((reply(length, Some(true)), Some(received)))
    }

    /// The image that a difference arrives for, and how far it is.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, Progress)> {
        let incoming = self.current.as_ref().filter(|incoming| !incoming.complete)?;
        let progress = Progress {
            done: incoming.at,
            total: incoming.received.file.length(),
        };
        Some((incoming.received.image, progress))
    }

    fn begin(&mut self, shared: &Shared, begin: DeltaBegin<'_>) -> Result<(), Refusal> {
        let DeltaBegin {
            image,
            length,
            sha,
            base,
            target,
            target_bytes,
        } = begin;
        if length > target_bytes {
            return Err(Refusal::new(
                Code::Invalid,
                "the delta is longer than its bundle; send that",
            ));
        }
        let name = format!("{}{ENDING}", hexadecimal(&sha[..8]));
        let file = DeltaFile::new(self.storage.clone(), name, length);
        let found = file.found().map_err(failed)?;
        // What an earlier line brought stays; its digest is looked at when all is there.
        let at = found.unwrap_or(0);
        let beside = (length - at).saturating_sub(self.bytes_of_others(&file));
        // Nobody should send all of it only to hear that a trial runs, or that there is no room.
        let room = shared.slots().check_room(image, target_bytes, beside);
        room.map_err(|error| refused(&error))?;
        // The other slot is where the new bundle goes: a base there would be overwritten while it is read.
        let is_base = |state: &slots::ImageState| state.image == image && state.hash == *base && state.active;
        if !shared.slots().states().iter().any(is_base) {
            let message = format!(
                "the model that serves is not {}; send the whole bundle",
                hexadecimal(base)
            );
            return Err(Refusal::new(Code::WrongBase, message));
        }
        // Followed or not, the file is gone afterwards.
        let same = |incoming: &Incoming| incoming.sha == *sha && incoming.received.file.length() == length;
        if found.is_some() && self.current.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.forget_others(&file);
        if at == 0 {
            file.create().map_err(failed)?;
        }
        let digest = Digesting::of(&file, at).map_err(failed)?;
        self.current = Some(Incoming {
            received: Received {
                file,
                image,
                base: *base,
                target: *target,
                target_bytes,
                mark: None,
            },
            sha: *sha,
            at,
            digest,
            complete: false,
        });
        Ok(())
    }

    fn others(&self, file: &DeltaFile) -> Vec<String> {
        let mut names = self.storage.list().unwrap_or_default();
        names.retain(|name| name.ends_with(ENDING) && name != file.name());
        names
    }

    fn bytes_of_others(&self, file: &DeltaFile) -> u64 {
        let length = |name: String| self.storage.length(&name).ok().flatten();
        self.others(file).into_iter().filter_map(length).sum()
    }

    /// One delta at a time: an earlier one is of no use.
    fn forget_others(&self, file: &DeltaFile) {
        for other in self.others(file) {
            // Left over, it only takes room.
            let _ = self.storage.remove(&other);
        }
    }
}

impl Incoming {
    fn append(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let file = &self.received.file;
        let room = usize::try_from(file.length() - self.at).unwrap_or(usize::MAX);
        if data.len() > room {
            return Err(Refusal::new(
                Code::DataOverrun,
                "the piece reaches behind the end of the delta",
            ));
        }
        file.write_at(self.at, data).map_err(failed)?;
        self.digest.follow(data, self.at);
        self.at += data.len() as u64;
        Ok(())
    }
}

/// Whether the bundle that a difference leads to lies in a slot already, undamaged.
fn is_there(slots: &Slots, begin: &DeltaBegin<'_>) -> bool {
    let states = slots.states();
    states
        .iter()
        .any(|state| state.image == begin.image && state.hash == *begin.target && !state.damaged)
}

fn reply(offset: u64, matches: Option<bool>) -> UploadReply {
    UploadReply { offset, matches }
}

fn failed(error: io::Error) -> Refusal {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => Code::Space,
        _ => Code::Unknown,
    };
    Refusal::new(code, format!("the delta cannot be stored: {error}"))
}

//! Receiving a delta, piece by piece, into a file of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bundle::container::hexadecimal;
use hardware::slots::{self, Slots};
use hardware::smp::{Code, DeltaBegin, DeltaChunk, Refusal, UploadReply};

use super::Received;
use super::digesting::Digesting;
use crate::daemon::board::Progress;
use crate::daemon::service::refused;
use crate::daemon::shared::Shared;

/// Ending of the files.
const ENDING: &str = "delta";

/// Where deltas arrive.
#[derive(Debug)]
pub struct Inbox {
    folder: PathBuf,
    current: Option<Incoming>,
}

#[derive(Debug)]
struct Incoming {
    received: Received,
    length: u64,
    sha: [u8; 32],
    at: u64,
    digest: Digesting,
    /// Handed on to be rebuilt; the last piece may come again.
    complete: bool,
}

impl Inbox {
    /// In a folder that holds nothing else; it is made when the first delta comes.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, current: None }
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
        if incoming.at < incoming.length {
            return Ok((reply(incoming.at, None), None));
        }
        if incoming.complete {
            return Ok((reply(incoming.length, Some(true)), None));
        }
        let digest = match incoming.digest.finish(&incoming.received.path) {
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
            let path = incoming.received.path.clone();
            self.current = None;
            fs::remove_file(&path).map_err(failed)?;
            return Ok((reply(0, Some(false)), None));
        }
        let mark = shared.slots().upload_mark(incoming.received.image);
        incoming.received.mark = mark.map_err(|error| refused(&error))?;
        incoming.complete = true;
        let received = incoming.received.clone();
        Ok((reply(incoming.length, Some(true)), Some(received)))
    }

    /// The image that a difference arrives for, and how far it is.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, Progress)> {
        let incoming = self.current.as_ref().filter(|incoming| !incoming.complete)?;
        let progress = Progress {
            done: incoming.at,
            total: incoming.length,
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
        // The other slot is where the new bundle goes: a base there would be overwritten while it is read.
        let is_base = |state: &slots::ImageState| state.image == image && state.hash == *base && state.active;
        if !shared.slots().states().iter().any(is_base) {
            let message = format!(
                "the model that serves is not {}; send the whole bundle",
                hexadecimal(base)
            );
            return Err(Refusal::new(Code::WrongBase, message));
        }
        if length > target_bytes {
            return Err(Refusal::new(
                Code::Invalid,
                "the delta is longer than its bundle; send that",
            ));
        }
        let path = self.folder.join(format!("{}.{ENDING}", hexadecimal(&sha[..8])));
        // Followed or not, the file is gone afterwards.
        let same = |incoming: &Incoming| incoming.sha == *sha && incoming.received.path == path && path.exists();
        if self.current.as_ref().is_some_and(same) {
            return Ok(());
        }
        // What an earlier line brought stays; its digest is looked at when all is there.
        let at = fs::metadata(&path).map_or(0, |metadata| metadata.len()).min(length);
        let beside = (length - at).saturating_sub(self.bytes_of_others(&path));
        let room = shared.slots().check_room(image, target_bytes, beside);
        room.map_err(|error| refused(&error))?;
        fs::create_dir_all(&self.folder).map_err(failed)?;
        self.forget_others(&path);
        let digest = Digesting::of(&path, at).map_err(failed)?;
        self.current = Some(Incoming {
            received: Received {
                path,
                image,
                base: *base,
                target: *target,
                target_bytes,
                mark: None,
            },
            length,
            sha: *sha,
            at,
            digest,
            complete: false,
        });
        Ok(())
    }

    fn others(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let path = path.to_owned();
        let other = move |other: &PathBuf| *other != path && other.extension().is_some_and(|ending| ending == ENDING);
        entries.map(|entry| entry.path()).filter(other)
    }

    fn bytes_of_others(&self, path: &Path) -> u64 {
        let bytes = |other: PathBuf| fs::metadata(other).map_or(0, |metadata| metadata.len());
        self.others(path).map(bytes).sum()
    }

    /// One delta at a time: an earlier one is of no use.
    fn forget_others(&self, path: &Path) {
        for other in self.others(path) {
            // Left over, it only takes room.
            let _ = fs::remove_file(other);
        }
    }
}

impl Incoming {
    fn append(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let room = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        if data.len() > room {
            return Err(Refusal::new(
                Code::DataOverrun,
                "the piece reaches behind the end of the delta",
            ));
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.received.path);
        file.and_then(|file| file.write_all_at(data, self.at)).map_err(failed)?;
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

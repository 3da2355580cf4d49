//! Deltas: received into a file of their own, then rebuilt into the slot as an upload would be.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bundle::container::hexadecimal;
use bundle::delta::{self, DeltaError};
use hardware::slots::{self, Chunk, SlotError, Slots};
use hardware::smp::{Code, DeltaBegin, DeltaChunk, OutcomeKind, Refusal, UploadReply};
use sha2::{Digest, Sha256};

use super::board::{Progress, Step};
use super::shared::Shared;

/// Bytes that go to the slot at once.
const PIECE: usize = 32 * 1024;
/// The board is told after so many bytes.
const REPORT_BYTES: u64 = 1 << 20;
/// Ending of the files.
const ENDING: &str = "delta";

/// A delta whose every byte arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    path: PathBuf,
    image: u32,
    base: [u8; 32],
    target_bytes: u64,
}

impl Received {
    /// The image that it is for.
    #[must_use]
    pub fn image(&self) -> u32 {
        self.image
    }

    /// How far following it is, with so many bytes written.
    #[must_use]
    pub fn progress(&self, done: u64) -> Progress {
        let total = self.target_bytes;
        Progress { done, total }
    }
}

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
    /// [`Code::WrongBase`] before a byte is written.
    pub fn take(&mut self, slots: &Slots, chunk: DeltaChunk<'_>) -> Result<(UploadReply, Option<Received>), Refusal> {
        if let Some(begin) = chunk.begin {
            if is_there(slots, &begin) {
                return Ok((reply(begin.length, Some(true)), None));
            }
            self.begin(slots, begin)?;
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
        let matches = digest(&incoming.received.path).map_err(failed)? == incoming.sha;
        if !matches {
            let path = incoming.received.path.clone();
            self.current = None;
            fs::remove_file(&path).map_err(failed)?;
            return Ok((reply(0, Some(false)), None));
        }
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

    fn begin(&mut self, slots: &Slots, begin: DeltaBegin<'_>) -> Result<(), Refusal> {
        let DeltaBegin {
            image,
            length,
            sha,
            base,
            target_bytes,
            ..
        } = begin;
        // The other slot is where the new bundle goes: a base there would be overwritten while it is read.
        let is_base = |state: &slots::ImageState| state.image == image && state.hash == *base && state.active;
        if !slots.states().iter().any(is_base) {
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
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let path = self.folder.join(format!("{}.{ENDING}", hexadecimal(&sha[..8])));
        // Followed or not, the file is gone afterwards.
        let same = |incoming: &Incoming| incoming.sha == *sha && incoming.received.path == path && path.exists();
        if self.current.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.forget_others(&path);
        // What an earlier line brought stays; its digest is looked at when all is there.
        let at = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        self.current = Some(Incoming {
            received: Received {
                path,
                image,
                base: *base,
                target_bytes,
            },
            length,
            sha: *sha,
            at: at.min(length),
            complete: false,
        });
        Ok(())
    }

    /// One delta at a time: an earlier one is of no use.
    fn forget_others(&self, path: &Path) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let other = entry.path();
            if other != path && other.extension().is_some_and(|ending| ending == ENDING) {
                // Left over, it only takes room.
                let _ = fs::remove_file(other);
            }
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
        self.at += data.len() as u64;
        Ok(())
    }
}

/// Whether the bundle that a difference leads to lies in a slot already.
fn is_there(slots: &Slots, begin: &DeltaBegin<'_>) -> bool {
    let states = slots.states();
    states
        .iter()
        .any(|state| state.image == begin.image && state.hash == *begin.target)
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

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut file = BufReader::new(File::open(path)?);
    io::copy(&mut file, &mut Hashing(&mut hash))?;
    Ok(hash.finalize().into())
}

struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rebuilds a bundle into its slot. It is then read back as every upload is.
pub fn rebuild(shared: &Arc<Shared>, received: &Received) {
    let done = rebuild_into_slot(shared, received);
    // It did what it could; kept, it would only take room.
    let _ = fs::remove_file(&received.path);
    let mut board = shared.board();
    if let Err(reason) = done {
        tracing::warn!(image = received.image, "a delta was not followed: {reason}");
        board.report(received.image, OutcomeKind::Refused, reason, Instant::now());
    }
    board.end(received.image);
}

fn rebuild_into_slot(shared: &Arc<Shared>, received: &Received) -> Result<(), String> {
    let base = base_reader(shared, received).map_err(|e| e.to_string())?;
    let base = base.ok_or("the bundle that the delta starts from is gone; send the whole bundle")?;
    let delta = File::open(&received.path).map_err(|e| e.to_string())?;
    let mut slot = Slot {
        shared,
        received,
        piece: Vec::with_capacity(PIECE),
        at: 0,
        told: 0,
        refused: None,
    };
    let rebuilt = delta::rebuild(delta, base, &mut slot);
    if let Some(refused) = slot.refused {
        return Err(refused.to_string());
    }
    rebuilt.map(|_| ()).map_err(|error: DeltaError| error.to_string())
}

fn base_reader(shared: &Shared, received: &Received) -> Result<Option<slots::SlotReader>, SlotError> {
    let slots = shared.slots();
    let states = slots.states();
    let base = states
        .iter()
        .find(|state| state.image == received.image && state.hash == received.base);
    match base {
        Some(state) => slots.reader(state.image, state.side),
        None => Ok(None),
    }
}

/// A slot that is written to as an upload writes to it.
struct Slot<'a> {
    shared: &'a Shared,
    received: &'a Received,
    piece: Vec<u8>,
    at: u64,
    /// Up to where the board knows.
    told: u64,
    refused: Option<SlotError>,
}

impl Slot<'_> {
    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.piece.len() {
            let offset = self.at + sent as u64;
            let chunk = Chunk {
                image: self.received.image,
                offset,
                data: &self.piece[sent..],
                length: (offset == 0).then_some(self.received.target_bytes),
                // The delta knows the digest of what it gives, and reading back checks everything.
                sha: None,
                upgrade: false,
            };
            let taken = self.shared.slots().upload(&chunk);
            let wanted = taken.map_err(|error| {
                self.refused = Some(error);
                io::Error::from(io::ErrorKind::Other)
            })?;
            // What an interrupted attempt left in the slot need not be written again.
            let progress = wanted
                .offset
                .checked_sub(self.at)
                .filter(|progress| *progress > sent as u64);
            let progress = progress.ok_or(io::ErrorKind::InvalidData)?;
            sent = usize::try_from(progress).map_or(self.piece.len(), |progress| progress.min(self.piece.len()));
        }
        self.at += self.piece.len() as u64;
        self.piece.clear();
        if self.at - self.told >= REPORT_BYTES {
            self.told = self.at;
            let step = Step::Rebuilding(self.received.progress(self.at));
            self.shared.board().begin(self.received.image, step);
        }
        Ok(())
    }
}

impl Write for Slot<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        let whole = self.at + self.piece.len() as u64 == self.received.target_bytes;
        if self.piece.len() == PIECE || whole {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Following a delta: the bundle goes into the slot as an upload would.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use bundle::container::hexadecimal;
use bundle::delta::{self, DeltaError, Outline};
use hardware::slots::{self, Chunk, MAX_FRONT_BYTES, SlotError, UploadMark};
use hardware::smp::OutcomeKind;

use super::Received;
use crate::daemon::board::Step;
use crate::daemon::shared::Shared;

/// Bytes that go to the slot at once.
const PIECE: usize = 32 * 1024;
/// The board is told after so many bytes.
const REPORT_BYTES: u64 = 1 << 20;
/// What an engineer is told where another upload came in between.
const REPLACED: &str = "another upload took its place; send it again when that is done";

/// Rebuilds a bundle into its slot. It is then read back as every upload is.
pub fn rebuild(shared: &Arc<Shared>, received: &Received) {
    let done = rebuild_into_slot(shared, received);
    // It did what it could; kept, it would only take room.
    let _ = received.file.remove();
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
    let outline = Outline::read(received.file.reader()).map_err(|e| e.to_string())?;
    check(&outline, received)?;
    let mut slot = Slot {
        shared,
        received,
        piece: Vec::with_capacity(PIECE.max(MAX_FRONT_BYTES)),
        front: None,
        replaced: false,
        at: 0,
        told: 0,
        refused: None,
    };
    let rebuilt = delta::rebuild(received.file.reader(), base, &mut slot);
    if slot.replaced {
        return Err(REPLACED.to_owned());
    }
    if let Some(refused) = slot.refused {
        return Err(refused.to_string());
    }
    rebuilt.map(|_| ()).map_err(|error: DeltaError| error.to_string())
}

/// The file must say what was announced, before a byte of the slot changes: whoever reads back only sees a bundle that
/// is in order, not whether it is the one that was meant.
fn check(outline: &Outline, received: &Received) -> Result<(), String> {
    let whole = "send the whole bundle";
    let prologue = &outline.prologue;
    if prologue.base != received.base {
        let (found, serves) = (hexadecimal(&prologue.base), hexadecimal(&received.base));
        return Err(format!("the delta starts from {found}, and {serves} serves; {whole}"));
    }
    if prologue.target_bytes != received.target_bytes {
        let (found, announced) = (prologue.target_bytes, received.target_bytes);
        return Err(format!(
            "the delta leads to a bundle of {found} bytes, {announced} were announced; {whole}"
        ));
    }
    if outline.target_digest != received.target {
        let (found, announced) = (hexadecimal(&outline.target_digest), hexadecimal(&received.target));
        return Err(format!(
            "the delta leads to {found}, {announced} was announced; {whole}"
        ));
    }
    Ok(())
}

fn base_reader(shared: &Shared, received: &Received) -> Result<Option<slots::StorageReader>, SlotError> {
    let slots = shared.slots();
    let states = slots.states();
    let base = states
        .iter()
        .find(|state| state.image == received.image && state.hash == received.base && state.active);
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
    /// By which the slots tell this upload from another one; known once the first piece was taken.
    front: Option<[u8; 32]>,
    at: u64,
    /// Up to where the board knows.
    told: u64,
    refused: Option<SlotError>,
    /// Another upload came.
    replaced: bool,
}

impl Slot<'_> {
    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.piece.len() {
            let wanted = self.take(sent)?;
            // What an interrupted attempt left in the slot need not be written again.
            let progress = wanted.checked_sub(self.at).filter(|progress| *progress > sent as u64);
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

    /// Gives the rest of the piece to the slot, if the upload that is at work is this one, and gives what is wanted next.
    fn take(&mut self, sent: usize) -> io::Result<u64> {
        let offset = self.at + sent as u64;
        let image = self.received.image;
        let mut slots = self.shared.slots();
        let mark = slots
            .upload_mark(image)
            .map_err(|error| keep(&mut self.refused, error))?;
        if offset > 0 && mark.is_none() && is_whole(&slots, self.received) {
            // Somebody sent the same bundle, and was quicker.
            return Ok(self.received.target_bytes);
        }
        if !self.owns(mark) {
            self.replaced = true;
            return Err(io::ErrorKind::Other.into());
        }
        let chunk = Chunk {
            image,
            offset,
            data: &self.piece[sent..],
            length: (offset == 0).then_some(self.received.target_bytes),
            // The delta knows the digest of what it gives, and reading back checks everything.
            sha: None,
            upgrade: false,
        };
        let taken = slots.upload(&chunk);
        let wanted = taken.map_err(|error| keep(&mut self.refused, error))?;
        if self.front.is_none() {
            // The first piece holds the front: none is staged behind it.
            let mark = slots
                .upload_mark(image)
                .map_err(|error| keep(&mut self.refused, error))?;
            self.front = mark.and_then(|mark| mark.front);
        }
        Ok(wanted.offset)
    }

    /// Whether what is at work is this upload, or, before its first piece, what was there when the delta arrived.
    fn owns(&self, mark: Option<UploadMark>) -> bool {
        match self.front {
            None => mark == self.received.mark,
            Some(front) => mark.is_some_and(|mark| mark.front == Some(front)),
        }
    }

    /// The first piece is long enough for every front.
    fn room(&self) -> usize {
        let piece = if self.at == 0 {
            PIECE.max(MAX_FRONT_BYTES)
        } else {
            PIECE
        };
        piece - self.piece.len()
    }
}

fn keep(refused: &mut Option<SlotError>, error: SlotError) -> io::Error {
    *refused = Some(error);
    io::ErrorKind::Other.into()
}

fn is_whole(slots: &slots::Slots, received: &Received) -> bool {
    let states = slots.states();
    let is = |state: &slots::ImageState| state.image == received.image && state.hash == received.target;
    states.iter().any(|state| is(state) && !state.damaged)
}

impl Write for Slot<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room());
        self.piece.extend_from_slice(&bytes[..taken]);
        let whole = self.at + self.piece.len() as u64 == self.received.target_bytes;
        if self.room() == 0 || whole {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Uploads: the front is staged in memory and judged before the slot is touched, then blocks go to the inactive slot.
//!
//! Memory held, whatever the file's size: a front of at most [`MAX_FRONT_BYTES`](super::gate::MAX_FRONT_BYTES) while it
//! is staged, the table of checksums from it, and one block.

use super::body::{Body, Fed};
use super::error::{SlotError, storage as storage_error};
use super::gate::{Asked, Plan, examine};
use super::open::incoming;
use super::record::{Digest, Incoming, Side, Slot};
use super::role::{Means, Role};

/// Bytes that stay free for records and logs.
const SPARE_BYTES: u64 = 256 * 1024;

/// A piece of an upload, as the SMP image group has it.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Number of the role.
    pub image: u32,
    /// Offset of `data` in the file; 0 begins an upload or goes on with one.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
    /// Length of the whole file; needed at offset 0.
    pub length: Option<u64>,
    /// SHA-256 of the whole file, looked at where `offset` is 0.
    pub sha: Option<&'a [u8]>,
    /// Only a newer version than the active one is wanted; looked at where `offset` is 0.
    pub upgrade: bool,
}

/// The answer to a piece of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Offset of the byte that is wanted next; the length of the file when it is whole.
    pub offset: u64,
    /// With the whole file, if the client gave its SHA-256: whether that is what arrived.
    pub matches: Option<bool>,
}

impl Reply {
    fn wants(offset: u64) -> Self {
        Self { offset, matches: None }
    }
}

/// Which upload is at work in a role, and how far it is. Two marks differ if a piece was taken in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadMark {
    /// SHA-256 of the file's front; `None` while that is staged.
    pub front: Option<Digest>,
    /// Bytes that arrived.
    pub bytes: u64,
}

/// The uploads of one role.
#[derive(Default)]
pub(super) struct Upload {
    front: Option<Front>,
    pub body: Option<Body>,
    /// The answer to the last piece, in case it was lost on the line and the piece comes again.
    finished: Option<Reply>,
}

/// The beginning of a file, not judged yet.
struct Front {
    total: u64,
    sha: Option<Digest>,
    upgrade: bool,
    beginning: Vec<u8>,
    /// Bytes from the beginning that the gatekeeper wants to see next.
    wanted: usize,
}

impl Upload {
    /// Nothing is being uploaded any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Bytes that arrived and bytes in all, of an upload in progress.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let front = self
            .front
            .as_ref()
            .map(|front| (front.beginning.len() as u64, front.total));
        front.or_else(|| self.body.as_ref().map(|body| (body.offset(), body.incoming.total)))
    }

    /// Which file that is.
    pub fn mark(&self) -> Option<UploadMark> {
        let (bytes, _) = self.progress()?;
        let body = self.body.as_ref().filter(|_| self.front.is_none());
        let front = body.map(|body| body.incoming.front);
        Some(UploadMark { front, bytes })
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let front = self.front.as_ref().map_or(0, |front| front.beginning.capacity());
        front + self.body.as_ref().map_or(0, Body::memory_bytes)
    }
}

impl Role {
    pub fn take_chunk(&mut self, means: &Means, chunk: &Chunk<'_>) -> Result<Reply, SlotError> {
        if chunk.offset == 0 {
            self.begin_upload(means, chunk)
        } else {
            self.continue_upload(means, chunk)
        }
    }

    fn begin_upload(&mut self, means: &Means, chunk: &Chunk<'_>) -> Result<Reply, SlotError> {
        let refused = |why| SlotError::Chunk { why };
        let total = chunk
            .length
            .ok_or(refused("the first chunk gives no length of the file"))?;
        let sha = match chunk.sha {
            None | Some([]) => None,
            Some(sha) => Some(Digest::try_from(sha).map_err(|_| refused("`sha` is not a SHA-256 of 32 bytes"))?),
        };
        if total == 0 || chunk.data.len() as u64 > total {
            return Err(refused("the file is empty or shorter than its first chunk"));
        }
        self.upload.front = None;
        if let Some(sha) = sha {
            if self
                .complete(|image| image.file == sha && image.total == total)
                .is_some()
            {
                return Ok(self.finished(total, Some(true)));
            }
            let same = |body: &&mut Body| body.incoming.sha == Some(sha) && body.incoming.total == total;
            if let Some(body) = self.upload.body.as_mut().filter(same) {
                body.adopt(Some(sha));
                return Ok(Reply::wants(body.offset()));
            }
        }
        // Nobody should wait for a front to be sent only to hear this.
        self.record.target().map_err(|(side, why)| self.in_use(side, why))?;
        let front = Front {
            total,
            sha,
            upgrade: chunk.upgrade,
            beginning: Vec::new(),
            wanted: 1,
        };
        self.stage(means, front, chunk.data)
    }

    fn continue_upload(&mut self, means: &Means, chunk: &Chunk<'_>) -> Result<Reply, SlotError> {
        let Some((expected, total)) = self.upload.progress() else {
            let end = chunk.offset.saturating_add(chunk.data.len() as u64);
            let same = self.upload.finished.filter(|reply| reply.offset == end);
            return Ok(same.unwrap_or(Reply::wants(0)));
        };
        // A piece that came twice, or one behind a piece that was lost: the client follows what is wanted.
        if chunk.offset != expected {
            return Ok(Reply::wants(expected));
        }
        if chunk.data.len() as u64 > total - expected {
            return Err(SlotError::Chunk {
                why: "a chunk reaches beyond the end of the file",
            });
        }
        match self.upload.front.take() {
            Some(front) => self.stage(means, front, chunk.data),
            None => self.feed(means, chunk.data),
        }
    }

    /// Adds to the front. If it is refused, it is gone and nothing else has changed.
    fn stage(&mut self, means: &Means, mut front: Front, mut data: &[u8]) -> Result<Reply, SlotError> {
        let context = self.context(front.total, front.upgrade, self.lowest(means)?);
        let grow = |beginning: &mut Vec<u8>, wanted: usize| {
            let missing = wanted.saturating_sub(beginning.len());
            let (now, rest) = data.split_at(missing.min(data.len()));
            beginning.reserve_exact(missing);
            beginning.extend_from_slice(now);
            data = rest;
            Ok::<_, SlotError>(now.len() == missing)
        };
        match examine(&*means.gatekeeper, &context, &mut front.beginning, front.wanted, grow)? {
            Asked::Accepted(plan) => self.accept(means, front, plan, data),
            Asked::Wants(wanted) => {
                front.wanted = wanted;
                let offset = front.beginning.len() as u64;
                self.upload.front = Some(front);
                Ok(Reply::wants(offset))
            }
        }
    }

    fn accept(&mut self, means: &Means, front: Front, plan: Plan, data: &[u8]) -> Result<Reply, SlotError> {
        let (signed, behind) = front.beginning.split_at(plan.front_bytes as usize);
        let incoming = incoming(&plan, signed, front.sha);
        let (digest, total) = (incoming.front, incoming.total);
        if let Some(image) = self.complete(|image| image.front == digest && image.total == total) {
            let matches = front.sha.map(|sha| sha == image.file);
            return Ok(self.finished(total, matches));
        }
        let same = |body: &Body| body.incoming.front == digest && body.incoming.total == total;
        if self.upload.body.as_ref().is_some_and(same) {
            return self.resume(incoming);
        }
        self.begin_body(means, incoming, plan, signed)?;
        if behind.is_empty() {
            return self.feed(means, data);
        }
        // The gatekeeper saw more than the front. If a block in there was wrong, what follows is of no use yet.
        let seen = front.beginning.len() as u64;
        let reply = self.feed(means, behind)?;
        if reply.offset == seen && !data.is_empty() {
            self.feed(means, data)
        } else {
            Ok(reply)
        }
    }

    /// The same file as before, from a client that gives another SHA-256, or none.
    fn resume(&mut self, incoming: Incoming) -> Result<Reply, SlotError> {
        let Some(body) = &mut self.upload.body else {
            return Ok(Reply::wants(0));
        };
        body.adopt(incoming.sha);
        let (side, offset) = (body.side, body.offset());
        let mut new = self.record.clone();
        *new.slot_mut(side) = Slot::Receiving(incoming);
        self.commit(new)?;
        Ok(Reply::wants(offset))
    }

    /// The slot is recorded as no image's before the first byte of it changes.
    fn begin_body(&mut self, means: &Means, incoming: Incoming, plan: Plan, front: &[u8]) -> Result<(), SlotError> {
        let side = self.room(means, incoming.total, 0)?;
        let name = self.file(side);
        let mut new = self.record.clone();
        *new.slot_mut(side) = Slot::Receiving(incoming.clone());
        if let Some(tried) = &mut new.salvage {
            tried[side.index()] = false;
        }
        self.commit(new)?;
        self.upload.forget();
        self.generation += 1;
        means.storage.create(&name).map_err(storage_error("create", &name))?;
        means
            .storage
            .write_at(&name, 0, front)
            .map_err(storage_error("write", &name))?;
        self.upload.body = Some(Body::new(side, incoming, plan, front));
        Ok(())
    }

    /// Where a file of that length can go, if `beside` bytes outside the slots are to fit too.
    pub fn room(&self, means: &Means, total: u64, beside: u64) -> Result<Side, SlotError> {
        let side = self.record.target().map_err(|(side, why)| self.in_use(side, why))?;
        let needed = total.saturating_add(beside).saturating_add(SPARE_BYTES);
        let free = self.free_bytes(means, side)?;
        if needed > free {
            return Err(SlotError::NoSpace { needed, free });
        }
        Ok(side)
    }

    /// The longest file that an upload may bring now, in bytes: what the gatekeeper accepts, or the room that there is.
    pub fn longest_upload(&self, means: &Means) -> Result<u64, SlotError> {
        let free = self.free_bytes(means, self.record.inactive())?;
        Ok(means.gatekeeper.longest().min(free.saturating_sub(SPARE_BYTES)))
    }

    /// What a file in a place may take; what lies there now goes first.
    fn free_bytes(&self, means: &Means, side: Side) -> Result<u64, SlotError> {
        let name = self.file(side);
        let free = means
            .storage
            .free_bytes()
            .map_err(storage_error("ask for the free space for", &name))?;
        let old = means
            .storage
            .length(&name)
            .map_err(storage_error("look at", &name))?
            .unwrap_or(0);
        Ok(free.saturating_add(old))
    }

    fn feed(&mut self, means: &Means, data: &[u8]) -> Result<Reply, SlotError> {
        let Some(mut body) = self.upload.body.take() else {
            return Ok(Reply::wants(0));
        };
        let side = body.side;
        // Nothing leads here with a slot in use; if something did, this is the last place to notice.
        self.record.writable(side).map_err(|why| self.in_use(side, why))?;
        let fed = body.feed(&*means.storage, &self.file(side), data);
        let (offset, total, sha) = (body.offset(), body.incoming.total, body.incoming.sha);
        if let Ok(Fed::Whole(image)) = fed {
            // Not written down here: that could wait for the whole file to reach the medium, and the client waits.
            *self.record.slot_mut(side) = Slot::Received { image, starts: 0 };
            self.unwritten = true;
            return Ok(self.finished(total, sha.map(|_| true)));
        }
        self.upload.body = Some(body);
        match fed? {
            Fed::Mismatch => Ok(Reply {
                offset: total,
                matches: Some(false),
            }),
            Fed::Wants | Fed::Whole(_) => Ok(Reply::wants(offset)),
        }
    }

    fn finished(&mut self, total: u64, matches: Option<bool>) -> Reply {
        let reply = Reply { offset: total, matches };
        self.upload.finished = Some(reply);
        reply
    }
}

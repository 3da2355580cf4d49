//! The part of an upload behind its front: block by block, each checked before it is stored.

use sha2::{Digest as _, Sha256};

use super::error::{SlotError, storage as storage_error};
use super::gate::Plan;
use super::record::{Digest, Image, Incoming, Side};
use super::storage::{Storage, read_full};

/// A block that comes this often with the same wrong content is wrong in the sender's file.
const MAX_SAME_DAMAGE: u32 = 3;
/// With noise on the line a block of 64 KiB may well need many attempts, but not that many.
const MAX_DAMAGE: u32 = 32;
/// Bytes after which writing to the medium is begun, so that the sync at the end is short.
const WRITE_BACK_BYTES: u64 = 1024 * 1024;

/// An upload whose front was accepted and is stored.
pub(super) struct Body {
    pub side: Side,
    pub incoming: Incoming,
    plan: Plan,
    /// The block that comes next; the number of blocks stands for the tail.
    block: usize,
    /// What came of it so far.
    buffer: Vec<u8>,
    /// Of everything before it.
    digest: Sha256,
    damage: Damage,
    tail_repeated: bool,
}

/// How often the next block came wrong.
#[derive(Default)]
struct Damage {
    times: u32,
    same: u32,
    last: u32,
}

/// What some more bytes led to.
#[derive(Debug, PartialEq)]
pub(super) enum Fed {
    /// Bytes from [`Body::offset`] on are wanted: those behind, or those of a block that came wrong once more.
    Wants,
    /// The file is whole and stored, though not durable yet.
    Whole(Image),
    /// The file is whole but not what the client's SHA-256 says.
    Mismatch,
}

impl Body {
    /// An upload whose front is `front`, stored at the beginning of the slot.
    pub fn new(side: Side, incoming: Incoming, plan: Plan, front: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update(front);
        Self {
            side,
            incoming,
            block: 0,
            buffer: Vec::with_capacity(plan.block_bytes.max(plan.tail_bytes())),
            plan,
            digest,
            damage: Damage::default(),
            tail_repeated: false,
        }
    }

    /// Offset of the byte that is wanted next.
    pub fn offset(&self) -> u64 {
        self.plan.block_start(self.block) + self.buffer.len() as u64
    }

    /// Another client goes on with the same file.
    pub fn adopt(&mut self, sha: Option<Digest>) {
        self.incoming.sha = sha;
        self.tail_repeated = false;
        self.damage = Damage::default();
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.plan.checksums.capacity() * size_of::<u32>()
    }

    /// Takes the bytes at [`offset`](Self::offset), at most up to the end of the file.
    pub fn feed(&mut self, storage: &dyn Storage, name: &str, mut data: &[u8]) -> Result<Fed, SlotError> {
        while self.block < self.plan.checksums.len() {
            data = self.fill(data, self.plan.block_length(self.block));
            if self.buffer.len() < self.plan.block_length(self.block) || !self.take_block(storage, name)? {
                return Ok(Fed::Wants);
            }
        }
        self.fill(data, self.plan.tail_bytes());
        if self.buffer.len() < self.plan.tail_bytes() {
            return Ok(Fed::Wants);
        }
        let fed = self.finish();
        if let Fed::Whole(_) = fed {
            let written = self.store(storage, name);
            self.buffer.clear();
            written?;
        }
        Ok(fed)
    }

    fn fill<'a>(&mut self, data: &'a [u8], length: usize) -> &'a [u8] {
        let (now, rest) = data.split_at(data.len().min(length.saturating_sub(self.buffer.len())));
        self.buffer.extend_from_slice(now);
        rest
    }

    /// Stores the block in the buffer; gives false if it is to be sent again.
    fn take_block(&mut self, storage: &dyn Storage, name: &str) -> Result<bool, SlotError> {
        let found = crc_fast::crc32_iscsi(&self.buffer);
        if found != self.plan.checksums[self.block] {
            self.buffer.clear();
            return self.note_damage(found).map(|()| false);
        }
        let written = self.store(storage, name);
        if written.is_ok() {
            self.advance();
        }
        self.buffer.clear();
        written.map(|()| true)
    }

    fn store(&self, storage: &dyn Storage, name: &str) -> Result<(), SlotError> {
        let start = self.plan.block_start(self.block);
        if self.buffer.is_empty() {
            return Ok(());
        }
        storage
            .write_at(name, start, &self.buffer)
            .map_err(storage_error("write", name))?;
        let end = start + self.buffer.len() as u64;
        if start / WRITE_BACK_BYTES != end / WRITE_BACK_BYTES {
            storage.begin_write_back(name);
        }
        Ok(())
    }

    /// The block in the buffer is right and stored.
    fn advance(&mut self) {
        self.digest.update(&self.buffer);
        self.block += 1;
        self.damage = Damage::default();
    }

    fn note_damage(&mut self, found: u32) -> Result<(), SlotError> {
        let damage = &mut self.damage;
        damage.same = if damage.last == found { damage.same + 1 } else { 1 };
        damage.last = found;
        damage.times += 1;
        let why = if damage.same >= MAX_SAME_DAMAGE {
            "it came with the same wrong content, so the sender's file is damaged; get it again"
        } else if damage.times >= MAX_DAMAGE {
            "the line is too noisy; use a lower speed, a shorter cable or console framing"
        } else {
            return Ok(());
        };
        let times = damage.times;
        self.damage = Damage::default();
        Err(SlotError::BlockDamaged {
            block: self.block,
            offset: self.plan.block_start(self.block),
            times,
            why,
        })
    }

    /// All blocks and the tail are there: compares with what the client announced.
    fn finish(&mut self) -> Fed {
        let hashed = (self.plan.hashed_bytes - self.plan.blocks_end) as usize;
        let hash = self.digest.clone().chain_update(&self.buffer[..hashed]).finalize();
        let file = self.digest.clone().chain_update(&self.buffer).finalize();
        if self.incoming.sha.is_some_and(|sha| sha[..] != file[..]) {
            // The blocks are as signed, so the fault is in the tail, and sending that once more may mend it.
            let again = !self.buffer.is_empty() && !self.tail_repeated;
            self.tail_repeated = true;
            self.buffer.clear();
            return if again { Fed::Wants } else { Fed::Mismatch };
        }
        Fed::Whole(Image {
            total: self.plan.total,
            front_bytes: self.plan.front_bytes,
            front: self.incoming.front,
            file: file.into(),
            hash: hash.into(),
            facts: self.plan.facts.clone(),
        })
    }

    /// Looks up how much of the upload is in the slot: goes on behind the last block that is right, or gives the image
    /// if it is whole.
    pub fn look_up(&mut self, storage: &dyn Storage, name: &str) -> Option<Image> {
        while self.block < self.plan.checksums.len() {
            let whole = self.read(storage, name, self.plan.block_length(self.block));
            if !whole || crc_fast::crc32_iscsi(&self.buffer) != self.plan.checksums[self.block] {
                self.buffer.clear();
                return None;
            }
            self.advance();
            self.buffer.clear();
        }
        let whole = self.read(storage, name, self.plan.tail_bytes());
        let fed = if whole { self.finish() } else { Fed::Wants };
        self.buffer.clear();
        self.tail_repeated = false;
        match fed {
            Fed::Whole(image) => Some(image),
            Fed::Wants | Fed::Mismatch => None,
        }
    }

    fn read(&mut self, storage: &dyn Storage, name: &str, length: usize) -> bool {
        self.buffer.resize(length, 0);
        let start = self.plan.block_start(self.block);
        matches!(read_full(storage, name, start, &mut self.buffer), Ok(n) if n == length)
    }
}

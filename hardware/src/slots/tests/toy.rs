//! For the tests: a small image format with all that a gatekeeper needs, and slots on a simulated folder.

use std::io::Read;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::slots::*;

const MAGIC: &[u8; 4] = b"TOY1";
const FIXED_BYTES: usize = 20;
const DIGEST_BYTES: usize = 32;
pub const TAIL_BYTES: usize = 8 + DIGEST_BYTES;
pub const ROLE: &str = "chest-xray";

/// An image: its number makes the content.
#[derive(Debug, Clone)]
pub struct Toy {
    pub counter: u32,
    pub bytes: Vec<u8>,
    pub hash: Digest,
    pub sha: Digest,
}

impl Toy {
    pub fn new(number: u32, counter: u32) -> Self {
        // Of one length, as a model and its fine-tuning are.
        Self::sized(number, counter, 2000, 600)
    }

    pub fn sized(number: u32, counter: u32, payload_bytes: usize, block_bytes: u16) -> Self {
        let payload = payload(number, payload_bytes);
        let blocks: Vec<u32> = payload.chunks(block_bytes.into()).map(crc_fast::crc32_iscsi).collect();
        let front_bytes = FIXED_BYTES + 4 * blocks.len() + DIGEST_BYTES;
        let total = front_bytes + payload.len() + TAIL_BYTES;
        let mut bytes = MAGIC.to_vec();
        for value in [total as u32, counter, number] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(block_bytes.to_le_bytes());
        bytes.extend((blocks.len() as u16).to_le_bytes());
        blocks.iter().for_each(|block| bytes.extend(block.to_le_bytes()));
        let signature = Sha256::digest(&bytes);
        bytes.extend(signature);
        bytes.extend(payload);
        bytes.extend([counter.to_le_bytes(), number.to_le_bytes()].concat());
        let hash = Sha256::digest(&bytes).into();
        bytes.extend::<Digest>(hash);
        let sha = Sha256::digest(&bytes).into();
        Self {
            counter,
            bytes,
            hash,
            sha,
        }
    }
}

impl Toy {
    pub fn front_bytes(&self) -> usize {
        FIXED_BYTES + 4 * usize::from(u16::from_le_bytes([self.bytes[18], self.bytes[19]])) + DIGEST_BYTES
    }
}

fn payload(number: u32, length: usize) -> Vec<u8> {
    let mut seed = u64::from(number);
    let mut bytes = Vec::new();
    while bytes.len() < length {
        seed = seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&seed.to_be_bytes()[..4]);
    }
    bytes.truncate(length);
    bytes
}

/// The longest toy in bytes.
pub const LONGEST: u64 = 100_000;

/// Reads toys; the "signature" of a front is its digest.
pub struct ToyGate;

impl Gatekeeper for ToyGate {
    fn longest(&self) -> u64 {
        LONGEST
    }

    fn examine(&self, context: &Context<'_>, beginning: &[u8]) -> Examined {
        let Some(fixed) = beginning.first_chunk::<FIXED_BYTES>() else {
            return Examined::NeedMore { at_least: FIXED_BYTES };
        };
        let refused = |code| Examined::Refused(Refusal::new(code, format!("{code:?}")));
        if &fixed[..4] != MAGIC {
            return refused(RefusalCode::Format);
        }
        let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let block_bytes = usize::from(u16::from_le_bytes([fixed[16], fixed[17]]));
        let blocks = usize::from(u16::from_le_bytes([fixed[18], fixed[19]]));
        let signed = FIXED_BYTES + 4 * blocks;
        let front_bytes = signed + DIGEST_BYTES;
        let Some(front) = beginning.get(..front_bytes) else {
            return Examined::NeedMore { at_least: front_bytes };
        };
        if Sha256::digest(&front[..signed])[..] != front[signed..] {
            return refused(RefusalCode::Signature);
        }
        let (total, counter, number) = (u64::from(u32_at(4)), u32_at(8), u32_at(12));
        if counter < context.lowest_counter {
            return refused(RefusalCode::SecurityCounter);
        }
        let word = |chunk: &[u8]| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        Examined::Accepted(Plan {
            front_bytes: front_bytes as u64,
            block_bytes,
            checksums: front[FIXED_BYTES..signed].chunks(4).map(word).collect(),
            blocks_end: total - TAIL_BYTES as u64,
            hashed_bytes: total - DIGEST_BYTES as u64,
            total,
            facts: ImageFacts {
                name: "toy".to_owned(),
                version: format!("{number}.0.0"),
                security_counter: counter,
            },
        })
    }
}

/// What the appliance does with a whole file: checks every byte and gives the image's hash.
pub fn check(mut reader: StorageReader, toys: &[Toy]) -> Result<Digest, Refusal> {
    let mut bytes = Vec::new();
    let refusal = |message: String| Refusal::new(RefusalCode::Digest, message);
    reader.read_to_end(&mut bytes).map_err(|e| refusal(e.to_string()))?;
    let known = toys.iter().find(|toy| toy.bytes == bytes);
    known
        .map(|toy| toy.hash)
        .ok_or_else(|| refusal("no such toy".to_owned()))
}

/// Slots of one role in a folder that also holds the counter.
pub fn open(storage: Arc<dyn Storage>) -> Slots {
    let counter = Arc::new(FileCounter::new(storage.clone()));
    Slots::open(storage, &[ROLE.to_owned()], Arc::new(ToyGate), counter).unwrap()
}

/// Sends a whole file from the beginning, following the offsets that come back.
pub fn send(slots: &mut Slots, bytes: &[u8], sha: Option<&[u8]>, piece: usize) -> Result<Reply, SlotError> {
    let mut chunk = Chunk {
        image: 0,
        offset: 0,
        data: &bytes[..piece.min(bytes.len())],
        length: Some(bytes.len() as u64),
        sha,
        upgrade: false,
    };
    loop {
        let reply = slots.upload(&chunk)?;
        if reply.offset == bytes.len() as u64 {
            return Ok(reply);
        }
        chunk.offset = reply.offset;
        let at = reply.offset as usize;
        chunk.data = &bytes[at..bytes.len().min(at + piece)];
    }
}

/// Reads back what waits for it.
pub fn verify(slots: &mut Slots, toys: &[Toy]) -> Vec<Outcome> {
    let jobs = slots.verifications();
    let mut run = |job: Verification| slots.finish_verification(job.run(|reader| check(reader, toys)));
    jobs.into_iter().filter_map(|job| run(job).ok()).collect::<Vec<_>>()
}

/// Uploads an image and reads it back.
pub fn upload(slots: &mut Slots, toy: &Toy) {
    assert_eq!(
        send(slots, &toy.bytes, Some(&toy.sha), 700).unwrap().matches,
        Some(true)
    );
    assert_eq!(
        verify(slots, std::slice::from_ref(toy)),
        [Outcome::Bootable { pending: false }]
    );
}

/// Uploads an image and makes it the confirmed one.
pub fn install(slots: &mut Slots, toy: &Toy) {
    upload(slots, toy);
    slots.request(&toy.hash, true).unwrap();
    assert!(matches!(slots.begin_start()[0].load, Load::Trial(_)));
    assert!(slots.trial_passed(0).unwrap());
}

/// What is shown of an image.
pub fn state(slots: &Slots, toy: &Toy) -> Option<ImageState> {
    slots.states().into_iter().find(|state| state.hash == toy.hash)
}

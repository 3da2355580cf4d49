mod life;
mod power_cuts;

use std::sync::Arc;
use std::time::Duration;

use bundle::sign::{self, NewKeys};
use bundle::{Manifest, Policy, TrustedKeys, example};
use hardware::clock::Clock;
use hardware::slots::simulated::Simulated;
use hardware::slots::{Chunk, FileCounter, ImageState, Slots, Storage};
use hardware::smp::{Code, DeltaBegin, DeltaChunk, OutcomeKind, Refusal, UploadReply};
use sha2::{Digest, Sha256};

use super::*;
use crate::appliance::Appliance;
use crate::daemon::gatekeeper::BundleGate;
use crate::daemon::shared::Shared;
use crate::daemon::verifier;

/// Bytes of a piece.
const PIECE: usize = 1000;
/// More than a front, so that an upload can be in its middle.
const LONG: usize = 300_000;

/// A device on which `base` serves.
struct Device {
    shared: Arc<Shared>,
    keys: NewKeys,
    base: Vec<u8>,
    deltas: Arc<Simulated>,
}

impl Device {
    fn new() -> Self {
        Self::with_capacity(64 << 20)
    }

    fn with_capacity(bytes: u64) -> Self {
        let keys = sign::generate(None).unwrap();
        let gate = BundleGate::new(trusted(&keys), Policy::default(), Appliance::here(&[]));
        let disk = Arc::new(Simulated::with_capacity(1, bytes));
        let roles = [example::manifest().role];
        let counter = Arc::new(FileCounter::new(Arc::new(Simulated::new(2))));
        let slots = Slots::open(disk, &roles, Arc::new(gate), counter).unwrap();
        let clock = Clock::open(Arc::new(Simulated::new(3)), Duration::ZERO);
        let shared = Arc::new(Shared::new(slots, clock));
        let base = noisy(&keys, "1.0.0", 1);
        let device = Self {
            shared,
            keys,
            base,
            deltas: Arc::new(Simulated::new(4)),
        };
        device.store(&device.base);
        let mut slots = device.shared.slots();
        slots.request(&digest(&device.base), false).unwrap();
        slots.stop_in_order().unwrap();
        slots.begin_start();
        slots.trial_passed(0).unwrap();
        slots.confirm(0).unwrap();
        drop(slots);
        device
    }

    fn bundle(&self, version: &str, seed: u64) -> Vec<u8> {
        noisy(&self.keys, version, seed)
    }

    fn upload(&self, bundle: &[u8], from: usize, to: usize) {
        upload(&self.shared, bundle, from, to);
    }

    fn store(&self, bundle: &[u8]) {
        self.upload(bundle, 0, bundle.len());
        self.read_back();
    }

    fn read_back(&self) {
        verifier::verify_waiting(&self.shared, &trusted(&self.keys), &Policy::default()).unwrap();
    }

    fn inbox(&self) -> Inbox {
        Inbox::new(self.deltas.clone())
    }

    fn deltas(&self) -> Vec<String> {
        self.deltas.list().unwrap()
    }

    fn states(&self) -> Vec<ImageState> {
        self.shared.slots().states()
    }

    fn has(&self, bundle: &[u8]) -> bool {
        self.states()
            .iter()
            .any(|state| state.hash == digest(bundle) && state.bootable)
    }

    /// What the last difference came to.
    fn outcome(&self) -> (OutcomeKind, String) {
        let outcomes = self.shared.board().outcomes();
        let last = outcomes.last().expect("an outcome");
        (last.kind, last.reason.clone())
    }
}

/// A difference with what it is announced as.
struct Announced {
    bytes: Vec<u8>,
    base: [u8; 32],
    target: [u8; 32],
    target_bytes: u64,
    sha: [u8; 32],
}

impl Announced {
    fn of(bytes: Vec<u8>, base: &[u8], target: &[u8]) -> Self {
        Self {
            sha: Sha256::digest(&bytes).into(),
            base: digest(base),
            target: digest(target),
            target_bytes: target.len() as u64,
            bytes,
        }
    }

    fn send(
        &self,
        device: &Device,
        inbox: &mut Inbox,
        until: usize,
    ) -> Result<(UploadReply, Option<Received>), Refusal> {
        let mut at = 0;
        loop {
            let begin = (at == 0).then_some(DeltaBegin {
                image: 0,
                length: self.bytes.len() as u64,
                sha: &self.sha,
                base: &self.base,
                target: &self.target,
                target_bytes: self.target_bytes,
            });
            let data = &self.bytes[at..(at + PIECE).min(self.bytes.len())];
            let offset = at as u64;
            let (reply, received) = inbox.take(&device.shared, DeltaChunk { offset, data, begin })?;
            at = reply.offset as usize;
            if at >= until || reply.matches.is_some() {
                return Ok((reply, received));
            }
        }
    }

    fn deliver(&self, device: &Device) -> Received {
        let (reply, received) = self.send(device, &mut device.inbox(), usize::MAX).unwrap();
        assert_eq!(reply.matches, Some(true));
        received.expect("something to rebuild")
    }
}

/// Uploads part of a bundle, in pieces.
fn upload(shared: &Shared, bundle: &[u8], from: usize, to: usize) {
    let mut at = from;
    while at < to {
        let chunk = Chunk {
            image: 0,
            offset: at as u64,
            data: &bundle[at..(at + PIECE).min(bundle.len())],
            length: Some(bundle.len() as u64),
            sha: None,
            upgrade: false,
        };
        at = shared.slots().upload(&chunk).unwrap().offset as usize;
    }
}

fn trusted(keys: &NewKeys) -> TrustedKeys {
    TrustedKeys::new(vec![keys.public.clone()])
}

fn noisy(keys: &NewKeys, version: &str, seed: u64) -> Vec<u8> {
    packed(keys, version, example::manifest().security_counter, noise(LONG, seed))
}

/// Bytes that no compressor makes shorter.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn packed(keys: &NewKeys, version: &str, security_counter: u32, network: Vec<u8>) -> Vec<u8> {
    let manifest = Manifest {
        version: version.parse().unwrap(),
        security_counter,
        ..example::manifest()
    };
    let mut files = example::files();
    files[0].bytes = network;
    let secret = sign::parse_secret(&keys.secret_file).unwrap();
    let mut file = Vec::new();
    bundle::container::write(&manifest, &files, &secret, &mut file).unwrap();
    file
}

fn digest(bundle: &[u8]) -> [u8; 32] {
    let trailer = bundle::mcuboot::Trailer::parse(bundle.last_chunk().unwrap());
    trailer.unwrap().digest
}

fn difference(base: &[u8], target: &[u8]) -> Vec<u8> {
    bundle::delta::make(base, target).unwrap()
}

#[test]
fn a_difference_gives_its_bundle() {
    let device = Device::new();
    let target = device.bundle("1.1.0", 1);
    let announced = Announced::of(difference(&device.base, &target), &device.base, &target);
    rebuild(&device.shared, &announced.deliver(&device));
    device.read_back();
    assert!(device.has(&target), "{:?}", device.states());
}

#[test]
fn a_file_that_is_not_what_was_announced_changes_no_byte_of_the_slot() {
    let device = Device::new();
    let kept = device.bundle("1.0.1", 2);
    device.store(&kept);
    let (other, target, third) = (
        device.bundle("1.0.2", 3),
        device.bundle("1.1.0", 3),
        device.bundle("1.2.0", 1),
    );
    let before = device.states();
    // Another base in the file than on the wire.
    let file = Announced::of(difference(&other, &target), &device.base, &target);
    rebuild(&device.shared, &file.deliver(&device));
    let (kind, reason) = device.outcome();
    assert!(
        kind == OutcomeKind::Refused && reason.contains("starts from"),
        "{reason}"
    );
    assert_eq!(device.states(), before);
    // Another bundle than was announced, as well signed as that one.
    let file = Announced::of(difference(&device.base, &third), &device.base, &target);
    rebuild(&device.shared, &file.deliver(&device));
    assert!(device.outcome().1.contains("leads to"), "{}", device.outcome().1);
    let mut file = Announced::of(difference(&device.base, &third), &device.base, &third);
    file.target_bytes += 1;
    rebuild(&device.shared, &file.deliver(&device));
    assert!(device.outcome().1.contains("announced"), "{}", device.outcome().1);
    assert_eq!(device.states(), before);
    assert!(device.has(&kept));
}

#[test]
fn what_has_no_room_is_refused_before_a_byte_is_written() {
    let device = Device::with_capacity(2 << 20);
    let target = device.bundle("1.1.0", 1);
    let mut file = Announced::of(difference(&device.base, &target), &device.base, &target);
    for bytes in [u64::MAX, 3 << 20] {
        file.target_bytes = bytes;
        let refusal = file.send(&device, &mut device.inbox(), usize::MAX).unwrap_err();
        assert_eq!(refusal.code, Code::Space, "{refusal:?}");
        assert!(device.deltas().is_empty());
    }
    // The bundle alone would fit, but not beside a difference as long as it.
    let filler = vec![7; 1_200_000];
    let mut file = Announced::of(filler, &device.base, &target);
    file.target_bytes = 1_200_000;
    let refusal = file.send(&device, &mut device.inbox(), usize::MAX).unwrap_err();
    assert_eq!(refusal.code, Code::Space, "{refusal:?}");
    assert!(device.deltas().is_empty());
}

#[test]
fn while_the_slot_may_not_be_written_to_its_first_piece_is_refused() {
    let device = Device::new();
    let (target, next) = (device.bundle("1.1.0", 1), device.bundle("1.2.0", 1));
    device.store(&target);
    let from_confirmed = Announced::of(difference(&device.base, &next), &device.base, &next);
    let from_trial = Announced::of(difference(&target, &next), &target, &next);
    let refused = |file: &Announced| {
        let refusal = file.send(&device, &mut device.inbox(), 1).unwrap_err();
        assert!(device.deltas().is_empty());
        assert_eq!(refusal.code, Code::BadState, "{refusal:?}");
        refusal.message
    };
    device.shared.slots().request(&digest(&target), false).unwrap();
    assert!(refused(&from_confirmed).contains("pending"));
    device.shared.slots().begin_start();
    for serves in [false, true] {
        if serves {
            device.shared.slots().trial_passed(0).unwrap();
        }
        for file in [&from_confirmed, &from_trial] {
            assert!(refused(file).contains("a trial runs"), "{}", refused(file));
        }
    }
    device.shared.slots().confirm(0).unwrap();
    rebuild(&device.shared, &from_trial.deliver(&device));
    device.read_back();
    assert!(device.has(&next));
}

#[test]
fn an_upload_that_came_meanwhile_is_left_alone() {
    let device = Device::new();
    let (target, other) = (device.bundle("1.1.0", 1), device.bundle("1.2.0", 9));
    let file = Announced::of(difference(&device.base, &target), &device.base, &target);
    for bytes in [PIECE, LONG / 2] {
        let received = file.deliver(&device);
        device.upload(&other, 0, bytes);
        let mark = device.shared.slots().upload_mark(0).unwrap();
        rebuild(&device.shared, &received);
        assert!(device.outcome().1.contains("another upload"), "{}", device.outcome().1);
        assert_eq!(device.shared.slots().upload_mark(0).unwrap(), mark);
    }
    let mark = device.shared.slots().upload_mark(0).unwrap().unwrap();
    device.upload(&other, mark.bytes as usize, other.len());
    device.read_back();
    assert!(device.has(&other));
}

#[test]
fn a_difference_goes_on_in_another_life_and_damage_to_it_shows() {
    let device = Device::new();
    let target = device.bundle("1.1.0", 5);
    let mut file = Announced::of(difference(&device.base, &target), &device.base, &target);
    // Of two networks without anything in common it may be longer than the bundle, which nobody would send.
    file.target_bytes = file.target_bytes.max(file.bytes.len() as u64);
    file.send(&device, &mut device.inbox(), LONG / 2).unwrap();
    let (reply, received) = file.send(&device, &mut device.inbox(), usize::MAX).unwrap();
    assert!(reply.matches == Some(true) && received.is_some());

    let name = device.deltas().pop().unwrap();
    let mut bytes = file.bytes[..LONG / 2].to_vec();
    bytes[LONG / 4] ^= 1;
    device.deltas.create(&name).unwrap();
    device.deltas.write_at(&name, 0, &bytes).unwrap();
    let (reply, received) = file.send(&device, &mut device.inbox(), usize::MAX).unwrap();
    assert!(reply.matches == Some(false) && received.is_none());
    assert!(device.deltas().is_empty());
}

#[test]
fn a_damaged_bundle_is_not_taken_for_there() {
    let device = Device::new();
    let target = device.bundle("1.1.0", 1);
    device.store(&target);
    let file = Announced::of(difference(&device.base, &target), &device.base, &target);
    let (reply, _) = file.send(&device, &mut device.inbox(), usize::MAX).unwrap();
    assert_eq!((reply.offset, reply.matches), (file.bytes.len() as u64, Some(true)));
    assert!(device.deltas().is_empty());

    let back = Announced::of(difference(&target, &device.base), &target, &device.base);
    device.shared.slots().fall_back(0, "it does not load").unwrap();
    device.shared.slots().trial_passed(0).unwrap();
    let damaged = device.states().into_iter().find(|state| state.damaged).unwrap();
    assert_eq!(damaged.hash, digest(&device.base));
    // On trial nothing can be taken; what matters is that it is not answered as if it were there.
    let answer = back.send(&device, &mut device.inbox(), usize::MAX);
    assert!(answer.is_err(), "{answer:?}");
    device.shared.slots().confirm(0).unwrap();
    rebuild(&device.shared, &back.deliver(&device));
    device.read_back();
    assert!(device.has(&device.base), "{:?}", device.states());
}

//! Uploads, piece by piece.

use std::slice;
use std::sync::Arc;

use super::toy::{self, Toy};
use crate::slots::simulated::{Random, Simulated};
use crate::slots::*;

/// A disk and slots on it, with image 1 confirmed.
fn installed() -> (Arc<Simulated>, Slots) {
    let disk = Arc::new(Simulated::new(7));
    let mut slots = toy::open(disk.clone());
    toy::install(&mut slots, &Toy::new(1, 2));
    (disk, slots)
}

fn first<'a>(toy: &'a Toy, data: &'a [u8]) -> Chunk<'a> {
    Chunk {
        image: 0,
        offset: 0,
        data,
        length: Some(toy.bytes.len() as u64),
        sha: Some(&toy.sha),
        upgrade: false,
    }
}

fn next(offset: u64, data: &[u8]) -> Chunk<'_> {
    Chunk {
        image: 0,
        offset,
        data,
        length: None,
        sha: None,
        upgrade: false,
    }
}

fn wants(slots: &mut Slots, chunk: &Chunk<'_>) -> u64 {
    let reply = slots.upload(chunk).unwrap();
    assert_eq!(reply.matches, None);
    reply.offset
}

/// Offset of block `n` of a toy with blocks of 600 bytes.
fn block(toy: &Toy, n: usize) -> usize {
    toy.front_bytes() + 600 * n
}

#[test]
fn pieces_of_any_size_make_the_file() {
    let new = Toy::new(2, 2);
    for piece in [1, 7, 52, 599, 600, 601, 5000] {
        for sha in [None, Some(&new.sha[..])] {
            let (_disk, mut slots) = installed();
            let reply = toy::send(&mut slots, &new.bytes, sha, piece).unwrap();
            assert_eq!(reply.matches, sha.map(|_| true));
            let total = new.bytes.len() as u64;
            assert_eq!(slots.activity(0).unwrap(), Activity::Verifying { total });
            assert!(!toy::state(&slots, &new).unwrap().bootable);
            assert_eq!(
                toy::verify(&mut slots, slice::from_ref(&new)),
                [Outcome::Bootable { pending: false }]
            );
            let state = toy::state(&slots, &new).unwrap();
            assert!(state.bootable && !state.pending && !state.active && !state.confirmed);
            assert_eq!(
                (state.slot, state.file, state.length),
                (1, new.sha, new.bytes.len() as u64)
            );
        }
    }
}

#[test]
fn a_refused_front_changes_nothing() {
    let (disk, mut slots) = installed();
    let old = Toy::new(3, 2);
    toy::send(&mut slots, &old.bytes, None, 700).unwrap();
    let (before, operations) = (slots.states(), disk.operations());
    let refused = |slots: &mut Slots, bytes: &[u8]| match toy::send(slots, bytes, None, 64).unwrap_err() {
        SlotError::Refused(refusal) => refusal.code,
        other => panic!("{other}"),
    };
    let mut forged = Toy::new(4, 2).bytes;
    forged[8] ^= 1;
    assert_eq!(refused(&mut slots, &forged), RefusalCode::Signature);
    assert_eq!(
        refused(&mut slots, b"something else entirely, but long enough"),
        RefusalCode::Format
    );
    assert_eq!(refused(&mut slots, &Toy::new(4, 1).bytes), RefusalCode::SecurityCounter);
    assert_eq!(refused(&mut slots, &Toy::new(4, 2).bytes[..60]), RefusalCode::Format);
    let mut longer = Toy::new(4, 2).bytes;
    longer.push(0);
    assert_eq!(refused(&mut slots, &longer), RefusalCode::Format);
    assert_eq!((slots.states(), disk.operations()), (before, operations));
    // What was there can still be read back.
    assert_eq!(toy::verify(&mut slots, &[old]), [Outcome::Bootable { pending: false }]);
}

#[test]
fn a_wrong_block_comes_again_and_a_wrong_file_is_told() {
    let (_disk, mut slots) = installed();
    let new = Toy::new(2, 2);
    let start = block(&new, 2);
    assert_eq!(wants(&mut slots, &first(&new, &new.bytes[..start])), start as u64);
    let mut noisy = new.bytes[start..start + 800].to_vec();
    noisy[17] ^= 4;
    for times in 0..2 {
        assert_eq!(wants(&mut slots, &next(start as u64, &noisy)), start as u64, "{times}");
    }
    let told = slots.upload(&next(start as u64, &noisy));
    assert!(
        matches!(told, Err(SlotError::BlockDamaged { block: 2, times: 3, .. })),
        "{told:?}"
    );
    // Noise that differs each time is the line's, and has more patience.
    for n in 0..31 {
        noisy[17] = new.bytes[start + 17] ^ (n + 1);
        assert_eq!(wants(&mut slots, &next(start as u64, &noisy)), start as u64, "{n}");
    }
    assert_eq!(
        wants(&mut slots, &next(start as u64, &new.bytes[start..start + 800])),
        start as u64 + 800
    );
    assert_eq!(
        toy::send(&mut slots, &new.bytes, Some(&new.sha), 300).unwrap().matches,
        Some(true)
    );
}

#[test]
fn pieces_that_are_lost_or_come_twice_are_followed_by_what_is_wanted() {
    let (_disk, mut slots) = installed();
    let new = Toy::new(2, 2);
    let total = new.bytes.len() as u64;
    assert_eq!(wants(&mut slots, &next(900, &[0; 10])), 0);
    // In the front, and behind it.
    for (now, wanted) in [(10, 10), (10, 10), (40, 10)] {
        let chunk = if now == 10 {
            first(&new, &new.bytes[..10])
        } else {
            next(40, &[1; 5])
        };
        assert_eq!(wants(&mut slots, &chunk), wanted);
    }
    assert_eq!(wants(&mut slots, &next(10, &new.bytes[10..1000])), 1000);
    assert_eq!(wants(&mut slots, &next(10, &new.bytes[10..1000])), 1000);
    assert_eq!(wants(&mut slots, &next(2000, &new.bytes[2000..])), 1000);
    let done = slots.upload(&next(1000, &new.bytes[1000..])).unwrap();
    assert_eq!((done.offset, done.matches), (total, Some(true)));
    // The answer was lost.
    assert_eq!(slots.upload(&next(1000, &new.bytes[1000..])).unwrap(), done);
    assert_eq!(slots.upload(&first(&new, &new.bytes[..10])).unwrap(), done);
}

#[test]
fn pieces_that_make_no_sense_are_refused() {
    let (_disk, mut slots) = installed();
    let new = Toy::new(2, 2);
    let good = first(&new, &new.bytes[..200]);
    let bad = [
        Chunk { length: None, ..good },
        Chunk {
            length: Some(0),
            data: &[],
            ..good
        },
        Chunk {
            length: Some(199),
            ..good
        },
        Chunk {
            sha: Some(&[1; 31]),
            ..good
        },
    ];
    for chunk in bad {
        assert!(
            matches!(slots.upload(&chunk), Err(SlotError::Chunk { .. })),
            "{chunk:?}"
        );
    }
    assert!(matches!(
        slots.upload(&Chunk { image: 1, ..good }),
        Err(SlotError::NoSuchImage { image: 1, images: 1 })
    ));
    assert_eq!(wants(&mut slots, &good), 200);
    let beyond = vec![0; new.bytes.len()];
    assert!(matches!(
        slots.upload(&next(200, &beyond)),
        Err(SlotError::Chunk { .. })
    ));
    assert_eq!(
        toy::send(&mut slots, &new.bytes, Some(&new.sha), 300).unwrap().matches,
        Some(true)
    );
}

#[test]
fn an_upload_goes_on_where_the_right_blocks_end() {
    let new = Toy::new(2, 2);
    let stop = block(&new, 2) + 100;
    for sha in [None, Some(&new.sha[..])] {
        let (disk, mut slots) = installed();
        let begin = Chunk {
            sha,
            ..first(&new, &new.bytes[..stop])
        };
        assert_eq!(wants(&mut slots, &begin), stop as u64);
        // The line was cut: the same client begins anew. Without a digest it is known by its front.
        let again = Chunk {
            sha,
            ..first(&new, &new.bytes[..new.front_bytes()])
        };
        assert_eq!(wants(&mut slots, &again), stop as u64);
        // The service was killed: part of a block is lost.
        let mut slots = toy::open(disk.clone());
        let there = block(&new, 2) as u64;
        let total = new.bytes.len() as u64;
        assert_eq!(slots.activity(0).unwrap(), Activity::Receiving { bytes: there, total });
        assert_eq!(wants(&mut slots, &again), there);
        // Somebody else's bytes stand in the second block.
        disk.write_at("chest-xray.b", block(&new, 1) as u64 + 5, b"!").unwrap();
        let mut slots = toy::open(disk.clone());
        assert_eq!(wants(&mut slots, &again), block(&new, 1) as u64);
        assert_eq!(toy::send(&mut slots, &new.bytes, sha, 300).unwrap().offset, total);
        assert_eq!(
            toy::verify(&mut slots, slice::from_ref(&new)),
            [Outcome::Bootable { pending: false }]
        );
    }
}

#[test]
fn another_upload_replaces_an_unfinished_one() {
    let (_disk, mut slots) = installed();
    let (one, two) = (Toy::new(2, 2), Toy::new(3, 2));
    assert_eq!(one.bytes.len(), two.bytes.len());
    wants(&mut slots, &first(&one, &one.bytes[..1500]));
    assert_eq!(
        toy::send(&mut slots, &two.bytes, Some(&two.sha), 700).unwrap().matches,
        Some(true)
    );
    let job = slots.verifications().remove(0);
    // And a finished one. What was read back of the old one says nothing about the new one.
    toy::send(&mut slots, &one.bytes, Some(&one.sha), 700).unwrap();
    let verified = job.run(|_| Ok(one.hash));
    assert_eq!(slots.finish_verification(verified).unwrap(), Outcome::Stale);
    assert!(toy::state(&slots, &two).is_none() && !toy::state(&slots, &one).unwrap().bootable);
    assert_eq!(toy::verify(&mut slots, &[one]), [Outcome::Bootable { pending: false }]);
}

#[test]
fn what_is_here_already_is_answered_at_once() {
    let (disk, mut slots) = installed();
    let (active, new) = (Toy::new(1, 2), Toy::new(2, 2));
    toy::send(&mut slots, &new.bytes, Some(&new.sha), 700).unwrap();
    for verified in [false, true] {
        let operations = disk.operations();
        for toy in [&active, &new] {
            let whole = Reply {
                offset: toy.bytes.len() as u64,
                matches: Some(true),
            };
            assert_eq!(slots.upload(&first(toy, &[])).unwrap(), whole);
            let unnamed = Chunk {
                sha: None,
                ..first(toy, &toy.bytes[..300])
            };
            assert_eq!(slots.upload(&unnamed).unwrap(), Reply { matches: None, ..whole });
        }
        assert_eq!(disk.operations(), operations);
        if !verified {
            toy::verify(&mut slots, slice::from_ref(&new));
        }
    }
}

#[test]
fn a_damaged_tail_comes_again_and_a_wrong_digest_is_told() {
    let (_disk, mut slots) = installed();
    let new = Toy::new(2, 2);
    let (total, tail) = (new.bytes.len(), new.bytes.len() - toy::TAIL_BYTES);
    let mut noisy = new.bytes.clone();
    noisy[total - 1] ^= 1;
    assert_eq!(wants(&mut slots, &first(&new, &noisy)), tail as u64);
    let done = slots.upload(&next(tail as u64, &new.bytes[tail..])).unwrap();
    assert_eq!(
        done,
        Reply {
            offset: total as u64,
            matches: Some(true)
        }
    );
    // A client that is wrong about its own file hears it, and nothing is there to be booted.
    let other = Toy::new(3, 2);
    let wrong = Chunk {
        sha: Some(&new.hash),
        ..first(&other, &other.bytes)
    };
    let tail = slots.upload(&wrong).unwrap().offset;
    let told = slots.upload(&next(tail, &other.bytes[tail as usize..])).unwrap();
    assert_eq!(
        told,
        Reply {
            offset: total as u64,
            matches: Some(false)
        }
    );
    assert!(slots.verifications().is_empty() && toy::state(&slots, &other).is_none());
    assert_eq!(
        toy::send(&mut slots, &other.bytes, Some(&other.sha), 700)
            .unwrap()
            .matches,
        Some(true)
    );
}

#[test]
fn what_does_not_fit_is_refused_before_the_slot_changes() {
    let disk = Arc::new(Simulated::with_capacity(7, 300 * 1024));
    let mut slots = toy::open(disk.clone());
    toy::install(&mut slots, &Toy::new(1, 2));
    let large = Toy::sized(2, 2, 100_000, 600);
    let operations = disk.operations();
    let error = toy::send(&mut slots, &large.bytes, None, 700).unwrap_err();
    assert!(matches!(error, SlotError::NoSpace { .. }), "{error}");
    let told = slots.preflight(0, large.bytes.len() as u64, &large.bytes);
    assert!(matches!(told, Err(SlotError::NoSpace { .. })));
    assert_eq!(disk.operations(), operations);
    let small = Toy::new(2, 2);
    let told = slots.preflight(0, small.bytes.len() as u64, &small.bytes);
    assert!(matches!(told, Ok(Examined::Accepted(_))));
    toy::send(&mut slots, &small.bytes, None, 700).unwrap();
}

#[test]
fn memory_is_a_front_a_table_and_a_block() {
    let (_disk, mut slots) = installed();
    let bound = MAX_FRONT_BYTES + 64 * 1024 + MAX_BLOCK_BYTES;
    // The longest table there can be, and the largest blocks.
    for (new, piece) in [
        (Toy::sized(2, 2, 16_000 * 60, 60), 5000),
        (Toy::sized(3, 2, 4_000_000, u16::MAX), 15_000),
    ] {
        let mut most = 0;
        let mut offset = 0;
        while offset < new.bytes.len() {
            let data = &new.bytes[offset..new.bytes.len().min(offset + piece)];
            let chunk = Chunk {
                offset: offset as u64,
                ..first(&new, data)
            };
            offset = slots.upload(&chunk).unwrap().offset as usize;
            most = most.max(slots.upload_memory_bytes());
        }
        println!("an upload of {} bytes held at most {most} bytes", new.bytes.len());
        assert!(most > 60_000 && most <= bound, "{most} of {bound}");
        assert_eq!(slots.upload_memory_bytes(), 0);
    }
}

/// Noise as a line without checksums makes it: whatever happens, the right file arrives, or none.
#[test]
fn noise_never_makes_another_file() {
    let new = Toy::sized(2, 2, 9000, 300);
    let mut random = Random::new(11);
    let mut attempts = 0;
    for seed in 0..100 {
        let (_disk, mut slots) = installed();
        let mut offset = 0;
        loop {
            let mut data = new.bytes[offset..new.bytes.len().min(offset + 500)].to_vec();
            match random.below(8) {
                0 => data.truncate(random.below(data.len())),
                1 | 2 => {
                    let at = random.below(data.len());
                    data[at] ^= 1 << random.below(8);
                }
                3 => offset = offset.saturating_sub(random.below(900)),
                _ => {}
            }
            attempts += 1;
            let chunk = Chunk {
                offset: offset as u64,
                ..first(&new, &data)
            };
            match slots.upload(&chunk) {
                Ok(reply) if reply.offset == new.bytes.len() as u64 && reply.matches == Some(true) => break,
                Ok(reply) if reply.matches == Some(false) => offset = 0,
                Ok(reply) => offset = reply.offset as usize,
                Err(SlotError::Refused(_) | SlotError::Chunk { .. } | SlotError::BlockDamaged { .. }) => offset = 0,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        assert_eq!(
            toy::verify(&mut slots, slice::from_ref(&new)),
            [Outcome::Bootable { pending: false }],
            "seed {seed}"
        );
    }
    println!("noise: 100 uploads in {attempts} pieces");
}

use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::*;
use crate::container::{self, PayloadFile};
use crate::manifest::FileKind;
use crate::{example, sign};

/// Bytes as weights have them: no two alike, not compressible.
fn weights(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A bundle with this network in it.
fn bundle(network: &[u8], version: &str) -> Vec<u8> {
    let keys = sign::generate(None).unwrap();
    let secret = sign::parse_secret(&keys.secret_file).unwrap();
    let mut manifest = example::manifest();
    manifest.version = version.parse().unwrap();
    let mut files = example::files();
    files[0] = PayloadFile::new(&files[0].path.clone(), FileKind::Model, network.to_vec());
    let mut bundle = Vec::new();
    container::write(&manifest, &files, &secret, &mut bundle).unwrap();
    bundle
}

fn rebuilt(delta: &[u8], base: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let mut out = Vec::new();
    rebuild(delta, Cursor::new(base), &mut out).map(|_| out)
}

const LENGTH: usize = 400_000;

#[test]
fn a_fine_tuned_network_travels_as_its_differences() {
    let old = weights(LENGTH, 1);
    let mut new = old.clone();
    // A tenth of the weights moved by one step.
    new.iter_mut()
        .step_by(10)
        .for_each(|weight| *weight = weight.wrapping_add(1));
    let (base, target) = (bundle(&old, "1.0.0"), bundle(&new, "1.1.0"));
    let delta = make(&base, &target).unwrap();
    assert!(delta.len() * 5 < target.len(), "{} of {}", delta.len(), target.len());
    assert_eq!(rebuilt(&delta, &base).unwrap(), target);
}

#[test]
fn a_new_manifest_alone_costs_hardly_anything() {
    let network = weights(LENGTH, 1);
    let (base, target) = (bundle(&network, "1.0.0"), bundle(&network, "1.0.1"));
    let delta = make(&base, &target).unwrap();
    assert!(delta.len() * 50 < target.len(), "{} of {}", delta.len(), target.len());
    assert_eq!(rebuilt(&delta, &base).unwrap(), target);
}

#[test]
fn a_network_that_became_longer_in_two_places_travels_as_what_is_new() {
    let old = weights(LENGTH, 1);
    let mut new = old.clone();
    new.iter_mut()
        .step_by(10)
        .for_each(|weight| *weight = weight.wrapping_add(1));
    for at in [300_000, 100_000] {
        new.splice(at..at, weights(2000, at as u64));
    }
    let (base, target) = (bundle(&old, "1.0.0"), bundle(&new, "1.1.0"));
    let delta = make(&base, &target).unwrap();
    assert!(delta.len() * 5 < target.len(), "{} of {}", delta.len(), target.len());
    assert_eq!(rebuilt(&delta, &base).unwrap(), target);
    // And back, where they are taken out.
    let delta = make(&target, &base).unwrap();
    assert!(delta.len() * 5 < target.len(), "{} of {}", delta.len(), target.len());
    assert_eq!(rebuilt(&delta, &target).unwrap(), base);
}

#[test]
fn a_part_that_keeps_the_device_busy_for_hours_is_refused() {
    let base = bundle(&weights(1000, 1), "1.0.0");
    for part in [[0, 0, 1 << 40], [0, u64::MAX, 2], [0, 0, u64::MAX]] {
        let mut delta = make(&base, &base).unwrap();
        delta.truncate(PROLOGUE_BYTES);
        delta.push(DIFFERENCE);
        delta.extend([0_u64, 100].map(u64::to_le_bytes).as_flattened());
        delta.extend(1_u32.to_le_bytes());
        delta.extend(part.map(u64::to_le_bytes).as_flattened());
        let error = rebuilt(&delta, &base).unwrap_err();
        assert!(matches!(error, DeltaError::Damaged { .. }), "{error}");
    }
}

#[test]
fn another_network_travels_whole() {
    let (base, target) = (bundle(&weights(1000, 1), "1.0.0"), bundle(&weights(LENGTH, 2), "1.1.0"));
    let delta = make(&base, &target).unwrap();
    assert!(delta.len() < target.len() + 200);
    assert_eq!(rebuilt(&delta, &base).unwrap(), target);
}

#[test]
fn the_prologue_names_base_and_target() {
    let (base, target) = (bundle(b"a network", "1.0.0"), bundle(b"a network", "1.1.0"));
    let delta = make(&base, &target).unwrap();
    let prologue = Prologue::parse(delta.first_chunk().unwrap()).unwrap();
    assert_eq!(prologue.target_bytes, target.len() as u64);
    let digest = crate::mcuboot::Trailer::parse(base.last_chunk().unwrap())
        .unwrap()
        .digest;
    assert_eq!(prologue.base, digest);
}

#[test]
fn the_outline_names_what_rebuilding_gives() {
    let old = weights(LENGTH, 1);
    let mut new = old.clone();
    new[7] ^= 1;
    let (base, target) = (bundle(&old, "1.0.0"), bundle(&new, "1.1.0"));
    let mut delta = make(&base, &target).unwrap();
    let outline = Outline::read(Cursor::new(&delta)).unwrap();
    let digest = |bundle: &[u8]| {
        let trailer = crate::mcuboot::Trailer::parse(bundle.last_chunk().unwrap());
        trailer.unwrap().digest
    };
    assert_eq!(
        (outline.prologue.base, outline.target_digest),
        (digest(&base), digest(&target))
    );
    // The trailer is the last thing before the end mark.
    delta.pop();
    assert!(Outline::read(Cursor::new(&delta)).is_err());
    for length in 0..delta.len().min(200) {
        assert!(Outline::read(Cursor::new(&delta[..length])).is_err(), "{length}");
    }
    delta.extend([COPY; 17]);
    delta.push(END);
    let error = Outline::read(Cursor::new(&delta)).unwrap_err();
    assert!(error.to_string().contains("end of a bundle"), "{error}");
}

#[test]
fn a_difference_that_gives_too_much_is_not_the_mediums_fault() {
    let old = weights(LENGTH, 1);
    let mut new = old.clone();
    new[7] ^= 1;
    let (base, target) = (bundle(&old, "1.0.0"), bundle(&new, "1.1.0"));
    let mut delta = make(&base, &target).unwrap();
    // Announced shorter than it is, so that the step that adds weights runs over the end.
    delta[44..52].copy_from_slice(&(target.len() as u64 / 2).to_le_bytes());
    let error = rebuilt(&delta, &base).unwrap_err();
    assert!(matches!(error, DeltaError::Target), "{error}");
}

#[test]
fn a_wrong_base_gives_no_bundle() {
    let (old, new) = (weights(LENGTH, 1), weights(LENGTH, 2));
    let (base, other, target) = (bundle(&old, "1.0.0"), bundle(&new, "1.0.5"), bundle(&old, "1.1.0"));
    let delta = make(&base, &target).unwrap();
    assert!(rebuilt(&delta, &other).is_err());
    assert!(rebuilt(&delta, &[]).is_err());
}

#[test]
fn a_step_that_promises_too_much_is_stopped_at_the_targets_length() {
    let base = bundle(&weights(1000, 1), "1.0.0");
    let mut delta = make(&base, &base).unwrap();
    delta.truncate(PROLOGUE_BYTES);
    // A gigabyte of zeros in a few kilobytes.
    let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap();
    delta.push(PACKED);
    delta.extend((bomb.len() as u32).to_le_bytes());
    delta.extend(bomb);
    let error = rebuilt(&delta, &base).unwrap_err();
    assert!(matches!(error, DeltaError::Target), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_passes_and_none_panics(at in any::<prop::sample::Index>(), bit in 0..8_u32, cut in any::<bool>()) {
        let old = weights(3000, 1);
        let mut new = old.clone();
        new[7] ^= 1;
        let (base, target) = (bundle(&old, "1.0.0"), bundle(&new, "1.1.0"));
        let mut delta = make(&base, &target).unwrap();
        let at = at.index(delta.len());
        if cut {
            delta.truncate(at);
        } else if (12..44).contains(&at) {
            // The name of the base is the caller's to look at.
            return Ok(());
        } else {
            delta[at] ^= 1 << bit;
        }
        let result = rebuilt(&delta, &base);
        prop_assert!(result.is_err() || result.unwrap() == target);
    }
}

//! Which bytes of an old file a new one's stand in the place of, where something was inserted or taken out.
//!
//! A network with one label more is the old one with some tensors longer: all behind them is moved. The old file is used
//! in its order, so that a device can read it once, from front to back.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Bytes that are moved by the same distance, most often.
const BLOCK: usize = 1024;
/// Bytes that two places must share to be taken for the same.
const ANCHOR: usize = 8;
/// One in so many anchors is looked at; a power of two.
const SAMPLED: u64 = 8;
/// So many anchors must agree on a distance.
const LEAST_VOTES: usize = 4;
/// The distances that most anchors agree on.
const DISTANCES: usize = 32;
/// What another distance must spare, in the measure of [`cost`]: a range takes some bytes, and noise is not to be followed.
const SWITCH: u64 = 4 * BLOCK as u64;

/// A part of a new file: what it is compared with. The parts one after the other make the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the old file that have no counterpart.
    pub skip: u64,
    /// Bytes of the old file behind those, as many of the new one.
    pub take: u64,
    /// Bytes of the new file that have no counterpart.
    pub insert: u64,
}

/// Parts that make `new` like `old`.
pub fn parts(old: &[u8], new: &[u8]) -> Vec<Part> {
    if old.len() == new.len() {
        let take = new.len() as u64;
        return vec![Part {
            take,
            ..Part::default()
        }];
    }
    let distances = distances(old, new);
    let runs = runs(old, new, &distances);
    joined(old, new, &runs)
}

/// How far apart two equally long pieces are: the sum of the steps between their bytes. Unlike pieces have 64 a byte.
fn cost(old: &[u8], new: &[u8]) -> u64 {
    let steps = old
        .iter()
        .zip(new)
        .map(|(old, new)| u64::from(new.wrapping_sub(*old).cast_signed().unsigned_abs()));
    steps.sum()
}

/// Distances from a place in `new` to its counterpart in `old` that may occur.
fn distances(old: &[u8], new: &[u8]) -> Vec<i64> {
    let mut places: HashMap<u64, Option<usize>, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    for (anchor, at) in anchors(old) {
        // What stands there twice tells nothing.
        places
            .entry(anchor)
            .and_modify(|place| *place = None)
            .or_insert(Some(at));
    }
    let mut votes: HashMap<i64, usize> = HashMap::new();
    for (anchor, at) in anchors(new) {
        if let Some(Some(place)) = places.get(&anchor) {
            *votes.entry(*place as i64 - at as i64).or_default() += 1;
        }
    }
    let mut votes: Vec<(usize, i64)> = votes.into_iter().map(|(distance, votes)| (votes, distance)).collect();
    votes.retain(|(votes, _)| *votes >= LEAST_VOTES);
    votes.sort_unstable_by(|a, b| b.cmp(a));
    let mut distances: Vec<i64> = votes
        .into_iter()
        .take(DISTANCES)
        .map(|(_, distance)| distance)
        .collect();
    distances.extend([0, old.len() as i64 - new.len() as i64]);
    distances.sort_unstable();
    distances.dedup();
    distances
}

/// Some of the windows of [`ANCHOR`] bytes, chosen by their content, and where they stand.
fn anchors(bytes: &[u8]) -> impl Iterator<Item = (u64, usize)> {
    let windows = bytes.windows(ANCHOR).enumerate();
    windows.filter_map(|(at, window)| {
        let anchor = u64::from_le_bytes(*window.first_chunk()?);
        let mixed = anchor.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        mixed.is_multiple_of(SAMPLED).then_some((anchor, at))
    })
}

/// A stretch of the new file, and its distance.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: usize,
    distance: i64,
}

/// The distances along the new file that cost least, with each change of distance at [`SWITCH`] (Viterbi).
fn runs(old: &[u8], new: &[u8], distances: &[i64]) -> Vec<Run> {
    let mut costs = vec![0_u64; distances.len()];
    let mut before: Vec<u8> = Vec::new();
    for (block, piece) in new.chunks(BLOCK).enumerate() {
        let (cheapest, least) = least(&costs);
        for (state, distance) in distances.iter().enumerate() {
            let switched = least + SWITCH;
            let (from, so_far) = match costs[state] <= switched {
                true => (state, costs[state]),
                false => (cheapest, switched),
            };
            before.push(from as u8);
            costs[state] = so_far + block_cost(old, piece, block * BLOCK, *distance);
        }
    }
    let (mut state, _) = least(&costs);
    let mut runs: Vec<Run> = Vec::new();
    for (block, from) in before.chunks(distances.len()).enumerate().rev() {
        let distance = distances[state];
        if runs.last().is_none_or(|run| run.distance != distance) {
            let end = new.len().min((block + 1) * BLOCK);
            runs.push(Run { end, distance });
        }
        state = usize::from(from[state]);
    }
    runs.reverse();
    runs
}

fn least(costs: &[u64]) -> (usize, u64) {
    let least = costs.iter().enumerate().min_by_key(|(_, cost)| **cost);
    least.map_or((0, 0), |(state, cost)| (state, *cost))
}

/// What lies outside of the old file is compared with nothing.
fn block_cost(old: &[u8], piece: &[u8], at: usize, distance: i64) -> u64 {
    counterpart(old, at, piece.len(), distance).map_or(64 * piece.len() as u64, |old| cost(old, piece))
}

fn counterpart(old: &[u8], at: usize, length: usize, distance: i64) -> Option<&[u8]> {
    let start = usize::try_from(at as i64 + distance).ok()?;
    old.get(start..start.checked_add(length)?)
}

/// The runs as parts: each begins where it fits best, and never before the end of the old bytes that were used.
fn joined(old: &[u8], new: &[u8], runs: &[Run]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut at, mut used) = (0, 0);
    for (number, run) in runs.iter().enumerate() {
        let end = match runs.get(number + 1) {
            Some(next) => boundary(old, new, at, (run, next)),
            None => new.len(),
        };
        // From where on there are old bytes that were not used, and up to where there are any.
        let first = usize::try_from(used as i64 - run.distance).unwrap_or(0).clamp(at, end);
        let last = usize::try_from(old.len() as i64 - run.distance)
            .unwrap_or(0)
            .clamp(first, end);
        let start = usize::try_from(first as i64 + run.distance).unwrap_or(used);
        if let Some(part) = parts.last_mut() {
            part.insert += (first - at) as u64;
        } else if first > at {
            let insert = (first - at) as u64;
            parts.push(Part {
                insert,
                ..Part::default()
            });
        }
        parts.push(Part {
            skip: if last > first { (start - used) as u64 } else { 0 },
            take: (last - first) as u64,
            insert: (end - last) as u64,
        });
        if last > first {
            used = start + (last - first);
        }
        at = end;
    }
    parts
}

/// Where the one distance becomes the other: somewhere within a block, or within what was inserted.
fn boundary(old: &[u8], new: &[u8], from: usize, (run, next): (&Run, &Run)) -> usize {
    // What was inserted is compared with nothing, by either side.
    let inserted = usize::try_from(run.distance - next.distance).unwrap_or(0);
    let low = run.end.saturating_sub(inserted + BLOCK).max(from);
    let high = next.end.min(run.end + inserted + BLOCK);
    let step = |at: usize, distance: i64| {
        let byte = new.get(at..at + 1);
        byte.map_or(0, |byte| block_cost(old, byte, at, distance))
    };
    let mut total: u64 = (low + inserted..high.max(low + inserted))
        .map(|at| step(at, next.distance))
        .sum();
    let (mut best, mut least) = (low, total);
    for at in low..high {
        total += step(at, run.distance);
        total -= if at + inserted < high {
            step(at + inserted, next.distance)
        } else {
            0
        };
        if total < least {
            (best, least) = (at + 1, total);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a device compares each byte of the new file with; `None` where something is wrong.
    fn reference(old: &[u8], parts: &[Part]) -> Option<Vec<u8>> {
        let mut reference = Vec::new();
        let mut at = 0;
        for part in parts {
            at += part.skip as usize;
            reference.extend(old.get(at..at + part.take as usize)?);
            at += part.take as usize;
            reference.resize(reference.len() + part.insert as usize, 0);
        }
        Some(reference)
    }

    fn noise(count: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    fn unlike(old: &[u8], new: &[u8]) -> usize {
        let reference = reference(old, &parts(old, new)).unwrap();
        assert_eq!(reference.len(), new.len());
        reference.iter().zip(new).filter(|(old, new)| old != new).count()
    }

    #[test]
    fn what_was_inserted_or_taken_out_is_all_that_differs() {
        let old = noise(60_000, 1);
        for (at, out, inserted) in [
            (30_000, 0, 700),
            (30_000, 2500, 0),
            (100, 3, 5000),
            (59_990, 0, 40),
            (0, 0, 9),
            (0, 4000, 0),
        ] {
            let mut new = old.clone();
            new.splice(at..at + out, noise(inserted, 2));
            let unlike = unlike(&old, &new);
            assert!(unlike <= inserted + 16, "{unlike} at {at}, {out} out, {inserted} in");
        }
    }

    #[test]
    fn several_changes_between_bytes_that_moved_a_little_are_found() {
        let old = noise(200_000, 3);
        let mut new = old.clone();
        // As fine-tuning does: most bytes by a step or two.
        let steps = noise(new.len(), 4);
        new.iter_mut()
            .zip(&steps)
            .for_each(|(byte, step)| *byte = byte.wrapping_add((step % 8).saturating_sub(5)));
        for at in [150_000, 90_000, 20_000] {
            new.splice(at..at, noise(333, at as u64));
        }
        let reference = reference(&old, &parts(&old, &new)).unwrap();
        let far = reference
            .iter()
            .zip(&new)
            .filter(|(old, new)| new.wrapping_sub(**old) > 2);
        assert!(far.count() < 3 * 333 + 100);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_parts_always_make_the_new_file_of_the_old_one(
            old in prop::collection::vec(0..4_u8, 0..5000), cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..900_usize, 0..900_usize), 0..5),
        ) {
            let mut new = old.clone();
            for (at, out, inserted) in cuts {
                let at = at.index(new.len() + 1);
                let end = (at + out).min(new.len());
                new.splice(at..end, noise(inserted, 5));
            }
            let parts = parts(&old, &new);
            prop_assert_eq!(reference(&old, &parts).map(|reference| reference.len()), Some(new.len()));
        }
    }
}

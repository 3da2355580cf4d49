//! The order of an epoch: a pure function of (seed, epoch), the same on every machine.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::recipes::Balance;

/// Which random numbers: one stream for each epoch's order, image of an epoch, or cycle through a class.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Order { epoch: u64 },
    Image { epoch: u64, position: u64 },
    Cycle { class: u64, cycle: u64 },
}

fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    let (kind, a, b) = match stream {
        Stream::Order { epoch } => (1_u64, epoch, 0),
        Stream::Image { epoch, position } => (2, epoch, position),
        Stream::Cycle { class, cycle } => (3, class, cycle),
    };
    for (place, word) in key.chunks_exact_mut(8).zip([seed, kind, a, b]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The random numbers for the augmentation of the image at `position` of an epoch's order.
#[must_use]
pub fn image_rng(seed: u64, epoch: u64, position: u64) -> ChaCha8Rng {
    stream(seed, Stream::Image { epoch, position })
}

/// The rows of one epoch of training in their order. With [`Balance::Sampling`] every class is drawn equally often:
/// each cycles through its own rows, so that over the epochs no row is drawn much oftener than its neighbours.
/// `class_of` gives the class of a row.
#[must_use]
pub fn epoch_order(
    rows: &[usize],
    class_of: impl Fn(usize) -> usize,
    balance: Balance,
    seed: u64,
    epoch: u64,
) -> Vec<usize> {
    let mut order = match balance {
        Balance::None | Balance::Weights | Balance::Rare => rows.to_vec(),
        Balance::Sampling => balanced(rows, class_of, seed, epoch),
    };
    shuffle(&mut order, &mut stream(seed, Stream::Order { epoch }));
    order
}

/// A class that fills the same share of every batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rare {
    /// The class.
    pub class: usize,
    /// Its share, above 0 and below 1.
    pub share: f64,
}

/// The rows of one epoch in batches of `batch`, each of which holds the same number of rows of the rare class, and of all
/// other rows the rest. Both cycle through their rows, so that none is drawn much oftener than its neighbours. As many
/// whole batches as the rows make; rows of one kind alone come as they are, shuffled.
#[must_use]
pub fn rare_order(
    rows: &[usize],
    class_of: impl Fn(usize) -> usize,
    rare: Rare,
    batch: usize,
    seed: u64,
    epoch: u64,
) -> Vec<usize> {
    let (rares, others): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| class_of(**row) == rare.class);
    if rares.is_empty() || others.is_empty() || batch < 2 {
        return epoch_order(rows, class_of, Balance::None, seed, epoch);
    }
    let of_rare = ((batch as f64 * rare.share).round() as usize).clamp(1, batch - 1);
    let batches = (rows.len() / batch).max(1);
    let drawn = |members: &[usize], kind: u64, each: usize| -> Vec<usize> {
        let count = batches * each;
        cycle(members, seed, kind, epoch as usize * count, count)
    };
    let (rares, others) = (
        drawn(&rares, u64::MAX, of_rare),
        drawn(&others, u64::MAX - 1, batch - of_rare),
    );
    let pairs = rares.chunks(of_rare).zip(others.chunks(batch - of_rare));
    pairs.flat_map(|(rares, others)| [rares, others].concat()).collect()
}

/// `count` rows from `position` on of an endless walk through the members, each round in an order of its own.
fn cycle(members: &[usize], seed: u64, class: u64, mut position: usize, count: usize) -> Vec<usize> {
    let end = position + count;
    let mut order = Vec::with_capacity(count);
    while position < end {
        let round = (position / members.len()) as u64;
        let mut turn = members.to_vec();
        shuffle(&mut turn, &mut stream(seed, Stream::Cycle { class, cycle: round }));
        let from = position % members.len();
        let to = members.len().min(from + end - position);
        order.extend_from_slice(&turn[from..to]);
        position += to - from;
    }
    order
}

fn balanced(rows: &[usize], class_of: impl Fn(usize) -> usize, seed: u64, epoch: u64) -> Vec<usize> {
    let classes = by_class(rows, class_of);
    let filled = classes.iter().filter(|members| !members.is_empty()).count().max(1);
    let share = rows.len().div_ceil(filled);
    let mut order = Vec::with_capacity(share * filled);
    for (class, members) in classes.iter().enumerate().filter(|(_, members)| !members.is_empty()) {
        order.extend(cycle(members, seed, class as u64, epoch as usize * share, share));
    }
    order
}

/// Up to `count` of the rows, as evenly over the classes as they allow, drawn from the seed; in ascending order.
#[must_use]
pub fn evenly(rows: &[usize], class_of: impl Fn(usize) -> usize, count: usize, seed: u64) -> Vec<usize> {
    let mut classes = by_class(rows, class_of);
    for (class, members) in classes.iter_mut().enumerate() {
        shuffle(
            members,
            &mut stream(
                seed,
                Stream::Cycle {
                    class: class as u64,
                    cycle: u64::MAX,
                },
            ),
        );
    }
    let longest = classes.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|i| classes.iter().filter_map(move |members| members.get(i)));
    let mut chosen: Vec<usize> = rounds.copied().take(count).collect();
    chosen.sort_unstable();
    chosen
}

/// Weights of the classes in the loss: inverse frequency, with mean 1 over the rows; 0 for a class without rows.
#[must_use]
pub fn class_weights(counts: &[usize]) -> Vec<f64> {
    let filled = counts.iter().filter(|n| **n > 0).count() as f64;
    let total: usize = counts.iter().sum();
    let weight = |n: &usize| {
        if *n == 0 {
            0.0
        } else {
            total as f64 / (filled * *n as f64)
        }
    };
    counts.iter().map(weight).collect()
}

/// The rows of each class, in their order.
pub fn by_class(rows: &[usize], class_of: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for &row in rows {
        let class = class_of(row);
        if classes.len() <= class {
            classes.resize(class + 1, Vec::new());
        }
        classes[class].push(row);
    }
    classes
}

/// Fisher-Yates; written out so that an order never depends on the version of a library.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_every_row_once_in_an_order_of_its_own() {
        let rows: Vec<usize> = (0..100).collect();
        let order = |epoch| epoch_order(&rows, |_| 0, Balance::None, 9, epoch);
        let mut sorted = order(0);
        assert_ne!(sorted, rows);
        sorted.sort_unstable();
        assert_eq!(sorted, rows);
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
    }

    #[test]
    fn balanced_sampling_draws_classes_equally_and_rows_fairly() {
        let rows: Vec<usize> = (0..100).collect();
        let class_of = |row: usize| usize::from(row >= 90);
        let mut drawn = vec![0_usize; 100];
        for epoch in 0..18 {
            let order = epoch_order(&rows, class_of, Balance::Sampling, 1, epoch);
            assert_eq!(order.iter().filter(|row| class_of(**row) == 1).count(), 50);
            order.iter().for_each(|row| drawn[*row] += 1);
        }
        assert!(
            drawn[..90].iter().all(|n| *n == 10),
            "18 x 50 draws over 90 rows: {drawn:?}"
        );
        assert!(drawn[90..].iter().all(|n| *n == 90), "{drawn:?}");
    }

    #[test]
    fn every_batch_holds_the_rare_share_and_rows_are_drawn_fairly() {
        let rows: Vec<usize> = (0..100).collect();
        let class_of = |row: usize| [0, 1, 2][(row >= 60) as usize + (row >= 92) as usize];
        let rare = Rare { class: 2, share: 0.5 };
        let mut drawn = vec![0_usize; 100];
        for epoch in 0..23 {
            let order = rare_order(&rows, class_of, rare, 16, 4, epoch);
            assert_eq!(order.len(), 96);
            for batch in order.chunks(16) {
                assert_eq!(batch.iter().filter(|row| class_of(**row) == 2).count(), 8);
            }
            order.iter().for_each(|row| drawn[*row] += 1);
        }
        // 23 epochs of 48 draws each: 12 times through 92 others, 138 times through 8 rare ones.
        assert!(drawn[..92].iter().all(|n| *n == 12), "{drawn:?}");
        assert!(drawn[92..].iter().all(|n| *n == 138), "{drawn:?}");
        assert_eq!(
            rare_order(&rows, class_of, rare, 16, 4, 2),
            rare_order(&rows, class_of, rare, 16, 4, 2)
        );
        assert_eq!(
            rare_order(&rows[..60], class_of, rare, 16, 4, 0).len(),
            60,
            "no row of the rare class"
        );
    }

    #[test]
    fn evenly_takes_the_same_number_of_each_class_while_it_lasts() {
        let rows: Vec<usize> = (0..50).collect();
        let class_of = |row: usize| usize::from(row >= 45);
        let chosen = evenly(&rows, class_of, 20, 3);
        assert_eq!(chosen.len(), 20);
        assert_eq!(chosen.iter().filter(|row| class_of(**row) == 1).count(), 5);
        assert_eq!(evenly(&rows, class_of, 500, 3), rows);
    }

    #[test]
    fn rare_classes_weigh_more() {
        assert_eq!(class_weights(&[30, 10, 0]), [40.0 / 60.0, 2.0, 0.0]);
    }
}

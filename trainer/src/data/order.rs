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
        Balance::None | Balance::Weights => rows.to_vec(),
        Balance::Sampling => balanced(rows, class_of, seed, epoch),
    };
    shuffle(&mut order, &mut stream(seed, Stream::Order { epoch }));
    order
}

fn balanced(rows: &[usize], class_of: impl Fn(usize) -> usize, seed: u64, epoch: u64) -> Vec<usize> {
    let classes = by_class(rows, class_of);
    let filled = classes.iter().filter(|members| !members.is_empty()).count().max(1);
    let share = rows.len().div_ceil(filled);
    let mut order = Vec::with_capacity(share * filled);
    for (class, members) in classes.iter().enumerate().filter(|(_, members)| !members.is_empty()) {
        let mut position = epoch as usize * share;
        let end = position + share;
        while position < end {
            let cycle = position / members.len();
            let mut turn = members.clone();
            shuffle(
                &mut turn,
                &mut stream(
                    seed,
                    Stream::Cycle {
                        class: class as u64,
                        cycle: cycle as u64,
                    },
                ),
            );
            let from = position % members.len();
            let to = members.len().min(from + end - position);
            order.extend_from_slice(&turn[from..to]);
            position += to - from;
        }
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

fn by_class(rows: &[usize], class_of: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
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

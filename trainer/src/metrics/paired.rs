//! Two models on the same images: is the difference more than chance?

use super::intervals::{Clusters, Estimate, bootstrap, percentile};

/// McNemar's exact test on discordant pairs: `only_first` images that only the first model got right, `only_second`
/// that only the second did. Two-sided p of the binomial with 1/2; 1 without a discordant pair.
pub fn mcnemar_exact(only_first: u64, only_second: u64) -> f64 {
    let n = only_first + only_second;
    if n == 0 {
        return 1.0;
    }
    let fewer = only_first.min(only_second);
    // ln of C(n, k) / 2^n, term by term, so that large n does not underflow before it is summed.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=fewer {
        log_term += ((n - k + 1) as f64).ln() - (k as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Counts of discordant pairs of two models' hits: (only the first right, only the second right).
pub fn discordant(first: &[bool], second: &[bool]) -> (u64, u64) {
    first.iter().zip(second).fold((0, 0), |(a, b), (&first, &second)| {
        (a + u64::from(first && !second), b + u64::from(second && !first))
    })
}

/// A difference with its 95 % interval, and the two-sided bootstrap p of "no difference".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// Second minus first.
    pub difference: Estimate,
    /// Twice the smaller share of draws on the other side of zero, at least 2 / (draws + 1).
    pub p: f64,
}

/// Bootstraps `second(weights) - first(weights)` over the same draws of whole groups; `None` if the data cannot give
/// one of them.
pub fn paired_bootstrap(
    clusters: &Clusters,
    rows: u64,
    draws: usize,
    seed: u64,
    first: impl Fn(&[f64]) -> Option<f64>,
    second: impl Fn(&[f64]) -> Option<f64>,
) -> Option<PairedDifference> {
    let difference = |weights: &[f64]| Some(second(weights)? - first(weights)?);
    let value = difference(&vec![1.0; rows as usize])?;
    let values = bootstrap(clusters, draws, seed, difference);
    let drawn = values.len() as f64;
    let below = values.iter().filter(|&&value| value <= 0.0).count() as f64;
    let above = values.iter().filter(|&&value| value >= 0.0).count() as f64;
    Some(PairedDifference {
        difference: Estimate {
            value,
            low: percentile(&values, 0.025).unwrap_or(value),
            high: percentile(&values, 0.975).unwrap_or(value),
            n: rows,
        },
        p: (2.0 * (below.min(above) + 1.0) / (drawn + 1.0)).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn mcnemar_equals_scipys_binomial_test() {
        for golden in goldens::load().mcnemar_exact {
            goldens::assert_near(mcnemar_exact(golden.only_first, golden.only_second), golden.p, 1e-9);
        }
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert!(mcnemar_exact(900, 1100).is_finite());
    }

    #[test]
    fn discordant_pairs_are_counted_by_side() {
        assert_eq!(
            discordant(&[true, true, false, false], &[true, false, true, false]),
            (1, 1)
        );
    }

    fn share(hits: &[bool], weights: &[f64]) -> Option<f64> {
        let n: f64 = weights.iter().sum();
        let hit: f64 = hits
            .iter()
            .zip(weights)
            .filter(|(hit, _)| **hit)
            .map(|(_, weight)| weight)
            .sum();
        (n > 0.0).then(|| hit / n)
    }

    #[test]
    fn a_clear_difference_has_a_small_p() {
        let first: Vec<bool> = (0..200).map(|at| at % 2 == 0).collect();
        let second: Vec<bool> = (0..200).map(|at| at % 10 != 0).collect();
        let clusters = Clusters::new(0..200);
        let paired = paired_bootstrap(&clusters, 200, 500, 1, |w| share(&first, w), |w| share(&second, w)).unwrap();
        assert!(paired.p < 0.01 && paired.difference.low > 0.2, "{paired:?}");
        let same = paired_bootstrap(&clusters, 200, 500, 1, |w| share(&first, w), |w| share(&first, w)).unwrap();
        assert_eq!((same.p, same.difference.value), (1.0, 0.0));
    }
}

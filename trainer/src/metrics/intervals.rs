//! Confidence intervals: Wilson's for a share, the bootstrap over groups for everything else.
//!
//! Images of one patient are not independent, so the bootstrap draws whole groups (Davison and Hinkley 1997, 3.8).

use std::collections::HashMap;

pub use bundle::intervals::{Estimate, wilson};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws of a bootstrap interval where the caller has no reason for another number.
pub const BOOTSTRAP_DRAWS: usize = 1000;

/// Rows in groups that are drawn together: the images of one patient, or the copies of one image.
#[derive(Clone, Debug)]
pub struct Clusters {
    group_of_row: Vec<usize>,
    groups: usize,
}

impl Clusters {
    /// Groups rows by key, one key a row.
    pub fn new<K: std::hash::Hash + Eq>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut numbers = HashMap::new();
        let group_of_row = keys
            .into_iter()
            .map(|key| {
                let next = numbers.len();
                *numbers.entry(key).or_insert(next)
            })
            .collect();
        Self {
            group_of_row,
            groups: numbers.len(),
        }
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// How often each row is drawn when as many groups as there are get drawn with replacement.
    fn draw(&self, rng: &mut ChaCha8Rng, weights: &mut [f64]) {
        let mut times = vec![0.0; self.groups];
        for _ in 0..self.groups {
            times[rng.random_range(0..self.groups)] += 1.0;
        }
        for (weight, &group) in weights.iter_mut().zip(&self.group_of_row) {
            *weight = times[group];
        }
    }
}

/// The values of `statistic` over `draws` bootstrap draws, ascending. `statistic` gets how often each row counts and
/// gives `None` where a draw cannot give it (a class is missing); such draws are left out.
pub fn bootstrap(
    clusters: &Clusters,
    draws: usize,
    seed: u64,
    mut statistic: impl FnMut(&[f64]) -> Option<f64>,
) -> Vec<f64> {
    if clusters.groups == 0 {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = vec![0.0; clusters.group_of_row.len()];
    let mut values: Vec<f64> = (0..draws)
        .filter_map(|_| {
            clusters.draw(&mut rng, &mut weights);
            statistic(&weights)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

/// `statistic` on all rows with its 95 % percentile interval over groups; `None` if the data cannot give it.
pub fn bootstrap_estimate(
    clusters: &Clusters,
    draws: usize,
    seed: u64,
    mut statistic: impl FnMut(&[f64]) -> Option<f64>,
) -> Option<Estimate> {
    let value = statistic(&vec![1.0; clusters.group_of_row.len()])?;
    let values = bootstrap(clusters, draws, seed, statistic);
    let n = clusters.group_of_row.len() as u64;
    let low = percentile(&values, 0.025).unwrap_or(value);
    let high = percentile(&values, 0.975).unwrap_or(value);
    Some(Estimate { value, low, high, n })
}

/// The `share` quantile (0 to 1) of ascending `values`, interpolated linearly; `None` if empty.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    Some(values[below] + (values[above] - values[below]) * (at - below as f64))
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    fn weighted_mean(values: &[f64], weights: &[f64]) -> Option<f64> {
        let n: f64 = weights.iter().sum();
        (n > 0.0).then(|| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / n)
    }

    #[test]
    fn wilson_equals_scipy() {
        for golden in goldens::load().wilson {
            let estimate = wilson(golden.hits, golden.n).unwrap();
            goldens::assert_near(estimate.low, golden.low, 1e-9);
            goldens::assert_near(estimate.high, golden.high, 1e-9);
        }
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn bootstrap_of_a_share_is_near_wilson() {
        let values: Vec<f64> = (0..400).map(|at| f64::from(u8::from(at % 5 != 0))).collect();
        let clusters = Clusters::new(0..400);
        let estimate = bootstrap_estimate(&clusters, 2000, 7, |weights| weighted_mean(&values, weights)).unwrap();
        let expected = wilson(320, 400).unwrap();
        goldens::assert_near(estimate.low, expected.low, 0.01);
        goldens::assert_near(estimate.high, expected.high, 0.01);
    }

    #[test]
    fn groups_widen_the_interval() {
        let values: Vec<f64> = (0..400).map(|at| f64::from(u8::from((at / 20) % 2 == 0))).collect();
        let width = |clusters: &Clusters| {
            let estimate = bootstrap_estimate(clusters, 500, 7, |weights| weighted_mean(&values, weights)).unwrap();
            estimate.high - estimate.low
        };
        let (alone, grouped) = (
            width(&Clusters::new(0..400)),
            width(&Clusters::new((0..400).map(|at| at / 20))),
        );
        assert!(grouped > 3.0 * alone, "{grouped} against {alone}");
    }

    #[test]
    fn the_seed_decides_the_draws() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let clusters = Clusters::new(0..50);
        let draws = |seed| bootstrap(&clusters, 20, seed, |weights| weighted_mean(&values, weights));
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}

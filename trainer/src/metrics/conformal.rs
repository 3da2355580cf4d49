//! Split conformal prediction: sets of labels that hold the truth with a wanted probability, if the images come from
//! the calibration set's distribution (Vovk et al. 2005; class-conditional: Mondrian, Vovk 2012).
//!
//! The score of a label is 1 - its probability; a label is in the set if its score is at most the quantile.

use ndarray::ArrayView2;

/// The quantile of `scores` for coverage 1 - `alpha`: the ceil((n+1)(1-alpha))-th smallest score. Too few scores for
/// that coverage give 1: every label belongs to the set.
pub fn quantile(scores: &[f64], alpha: f64) -> f64 {
    let rank = ((scores.len() + 1) as f64 * (1.0 - alpha)).ceil() as usize;
    if rank == 0 || rank > scores.len() {
        return 1.0;
    }
    let mut ascending = scores.to_vec();
    ascending.sort_by(f64::total_cmp);
    ascending[rank - 1]
}

/// Score of the true label of each row of `probabilities` `[N,K]`.
pub fn scores(probabilities: ArrayView2<'_, f32>, truth: &[usize]) -> Vec<f64> {
    truth
        .iter()
        .zip(probabilities.rows())
        .filter_map(|(&truth, row)| row.get(truth).map(|&probability| 1.0 - f64::from(probability)))
        .collect()
}

/// One quantile for all labels.
pub fn marginal(probabilities: ArrayView2<'_, f32>, truth: &[usize], alpha: f64) -> f64 {
    quantile(&scores(probabilities, truth), alpha)
}

/// One quantile per label `[K]`, each from the images of that label: coverage holds within every class.
pub fn class_conditional(probabilities: ArrayView2<'_, f32>, truth: &[usize], alpha: f64) -> Vec<f64> {
    (0..probabilities.ncols())
        .map(|class| {
            let of_class: Vec<f64> = truth
                .iter()
                .zip(probabilities.rows())
                .filter(|&(&truth, _)| truth == class)
                .map(|(_, row)| 1.0 - f64::from(row[class]))
                .collect();
            quantile(&of_class, alpha)
        })
        .collect()
}

/// Share of rows whose set holds the truth, and the mean size of the sets, with one quantile per label;
/// `None` without a row.
pub fn coverage(probabilities: ArrayView2<'_, f32>, truth: &[usize], quantiles: &[f64]) -> Option<(f64, f64)> {
    let (mut covered, mut size, mut rows) = (0_usize, 0_usize, 0_usize);
    for (&truth, row) in truth.iter().zip(probabilities.rows()) {
        let inside = |class: usize| 1.0 - f64::from(row[class]) <= quantiles[class];
        rows += 1;
        covered += usize::from(truth < row.len() && inside(truth));
        size += (0..row.len()).filter(|&class| inside(class)).count();
    }
    (rows > 0).then(|| (covered as f64 / rows as f64, size as f64 / rows as f64))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Probabilities of two classes with truth drawn from them: calibrated by construction.
    fn drawn(n: usize, seed: u64) -> (Array2<f32>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let first: Vec<f32> = (0..n).map(|_| rng.random_range(0.0..1.0)).collect();
        let truth = first
            .iter()
            .map(|&p| usize::from(rng.random_range(0.0..1.0) >= p))
            .collect();
        let flat = first.iter().flat_map(|&p| [p, 1.0 - p]).collect();
        (Array2::from_shape_vec((n, 2), flat).unwrap(), truth)
    }

    #[test]
    fn the_quantile_is_the_finite_sample_rank() {
        let scores: Vec<f64> = (1..=9).map(|at| f64::from(at) / 10.0).collect();
        assert_eq!(quantile(&scores, 0.1), 0.9);
        assert_eq!(quantile(&scores, 0.5), 0.5);
        assert_eq!(quantile(&scores[..5], 0.1), 1.0);
        assert_eq!(quantile(&[], 0.1), 1.0);
    }

    #[test]
    fn coverage_holds_on_fresh_images() {
        let (probabilities, truth) = drawn(2000, 1);
        let marginal = marginal(probabilities.view(), &truth, 0.1);
        let by_class = class_conditional(probabilities.view(), &truth, 0.1);
        let (fresh, fresh_truth) = drawn(4000, 2);
        for quantiles in [vec![marginal; 2], by_class] {
            let (covered, size) = coverage(fresh.view(), &fresh_truth, &quantiles).unwrap();
            assert!((0.87..0.93).contains(&covered), "{covered}");
            assert!(size < 2.0);
        }
    }
}

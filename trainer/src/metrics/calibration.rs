//! Calibration of probabilities: temperature scaling and the expected calibration error (Guo et al. 2017).

use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// Temperatures outside this range say that the logits carry no usable scale; fitting stops at its ends.
const TEMPERATURE_RANGE: (f64, f64) = (0.05, 20.0);
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
/// Width of the bracket on ln T at which the search ends.
const SEARCH_WIDTH: f64 = 1e-7;

/// Softmax of `logits` / `temperature`, computed in f64.
pub fn softmax(logits: ArrayView1<'_, f32>, temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) / temperature).collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scaled.iter().map(|&value| (value - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|value| value / sum).collect()
}

/// Mean negative log likelihood of `truth` `[N]` under softmax(`logits` `[N,K]` / `temperature`) with Platt's targets
/// (Platt 1999): the true label counts (N+1)/(N+K) and each other one 1/(N+K), as if every label had been seen once
/// more. Without that, images that the network separates perfectly would ask for temperature 0. 0 for no rows.
pub fn negative_log_likelihood(logits: ArrayView2<'_, f32>, truth: &[usize], temperature: f64) -> f64 {
    let rows = logits.nrows().min(truth.len());
    let other = 1.0 / (rows + logits.ncols()) as f64;
    let sum: f64 = (0..rows)
        .map(|row| {
            let scaled: Vec<f64> = logits
                .row(row)
                .iter()
                .map(|&logit| f64::from(logit) / temperature)
                .collect();
            let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = scaled.iter().map(|&value| (value - largest).exp()).sum::<f64>().ln() + largest;
            let of_truth = scaled.get(truth[row]).copied().unwrap_or(f64::NEG_INFINITY);
            log_sum - rows as f64 * other * of_truth - other * scaled.iter().sum::<f64>()
        })
        .sum();
    if rows == 0 { 0.0 } else { sum / rows as f64 }
}

/// The temperature that minimises [`negative_log_likelihood`], by golden section on ln T within 0.05 to 20. The
/// likelihood has one minimum in 1/T, so the search finds it. Without rows it is 1.
pub fn fit_temperature(logits: ArrayView2<'_, f32>, truth: &[usize]) -> f64 {
    if truth.is_empty() || logits.nrows() == 0 {
        return 1.0;
    }
    let loss = |log_temperature: f64| negative_log_likelihood(logits, truth, log_temperature.exp());
    let (mut low, mut high) = (TEMPERATURE_RANGE.0.ln(), TEMPERATURE_RANGE.1.ln());
    let (mut left, mut right) = (high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low));
    let (mut loss_left, mut loss_right) = (loss(left), loss(right));
    while high - low > SEARCH_WIDTH {
        if loss_left < loss_right {
            (high, right, loss_right) = (right, left, loss_left);
            left = high - GOLDEN_RATIO * (high - low);
            loss_left = loss(left);
        } else {
            (low, left, loss_left) = (left, right, loss_right);
            right = low + GOLDEN_RATIO * (high - low);
            loss_right = loss(right);
        }
    }
    ((low + high) / 2.0).exp()
}

/// One bin of a reliability diagram: the predictions whose confidence falls into (low, high].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower end, exclusive (0 belongs to the first bin).
    pub low: f64,
    /// Upper end, inclusive.
    pub high: f64,
    /// Predictions in the bin.
    pub n: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

/// Bins predictions by confidence (the largest probability), `bins` of equal width. `correct[i]` says whether
/// prediction i is right. Empty bins have confidence and accuracy 0.
pub fn reliability(confidence: &[f32], correct: &[bool], bins: usize) -> Vec<ReliabilityBin> {
    let width = 1.0 / bins.max(1) as f64;
    let mut sums = vec![(0_u64, 0.0_f64, 0.0_f64); bins.max(1)];
    for (&confidence, &correct) in confidence.iter().zip(correct) {
        let confidence = f64::from(confidence);
        let bin = ((confidence / width).ceil() as usize).clamp(1, sums.len()) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += confidence;
        sums[bin].2 += f64::from(u8::from(correct));
    }
    let share = |sum: f64, n: u64| if n == 0 { 0.0 } else { sum / n as f64 };
    sums.into_iter()
        .enumerate()
        .map(|(at, (n, confidence, correct))| ReliabilityBin {
            low: at as f64 * width,
            high: (at + 1) as f64 * width,
            n,
            confidence: share(confidence, n),
            accuracy: share(correct, n),
        })
        .collect()
}

/// Expected calibration error of the bins: the mean gap between confidence and accuracy, weighted by count.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let total: u64 = bins.iter().map(|bin| bin.n).sum();
    if total == 0 {
        return 0.0;
    }
    bins.iter()
        .map(|bin| bin.n as f64 * (bin.accuracy - bin.confidence).abs())
        .sum::<f64>()
        / total as f64
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr1};

    use super::super::{argmax, goldens};
    use super::*;

    fn logits(golden: &goldens::Goldens) -> Array2<f32> {
        let flat: Vec<f32> = golden.logits.iter().flatten().copied().collect();
        Array2::from_shape_vec((golden.logits.len(), 3), flat).unwrap()
    }

    #[test]
    fn the_temperature_equals_scipys_minimum() {
        let golden = goldens::load();
        let logits = logits(&golden);
        let temperature = fit_temperature(logits.view(), &golden.truth);
        goldens::assert_near(temperature, golden.temperature, 1e-4);
        let loss = negative_log_likelihood(logits.view(), &golden.truth, temperature);
        goldens::assert_near(loss, golden.nll_at_temperature, 1e-9);
    }

    #[test]
    fn separable_logits_do_not_ask_for_certainty() {
        let logits = Array2::from_shape_fn((20, 2), |(row, class)| if row % 2 == class { 8.0 } else { 0.0 });
        let truth: Vec<usize> = (0..20).map(|row| row % 2).collect();
        let temperature = fit_temperature(logits.view(), &truth);
        // 8 / T = ln(21) at the minimum: the odds of Platt's targets.
        goldens::assert_near(8.0 / temperature, 21_f64.ln(), 1e-4);
        assert_eq!(fit_temperature(Array2::zeros((0, 2)).view(), &[]), 1.0);
    }

    #[test]
    fn the_calibration_error_equals_the_reference() {
        let golden = goldens::load();
        let confidence: Vec<f32> = golden
            .probabilities
            .iter()
            .map(|row| row[argmax(row).unwrap()])
            .collect();
        let correct: Vec<bool> = golden
            .probabilities
            .iter()
            .zip(&golden.truth)
            .map(|(row, &truth)| argmax(row) == Some(truth))
            .collect();
        let bins = reliability(&confidence, &correct, 15);
        goldens::assert_near(expected_calibration_error(&bins), golden.ece_15_bins, 1e-6);
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<u64>(), golden.truth.len() as u64);
    }

    #[test]
    fn softmax_survives_large_logits() {
        let probabilities = softmax(arr1(&[1000.0, 0.0]).view(), 1.0);
        assert!((probabilities[0] - 1.0).abs() < 1e-12 && probabilities[1] >= 0.0);
    }
}

//! The threshold of a label, chosen for a wanted sensitivity or specificity on validation scores.

use serde::{Deserialize, Serialize};

use super::intervals::{Estimate, wilson};

/// What the threshold is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// At least this sensitivity, then the highest specificity.
    Sensitivity(f64),
    /// At least this specificity, then the highest sensitivity.
    Specificity(f64),
}

/// A threshold and what it does on the data it was chosen on. An image is positive if its score is at least the
/// threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Score from which on an image is positive.
    pub threshold: f32,
    /// Share of positives found, with Wilson's interval.
    pub sensitivity: Estimate,
    /// Share of negatives left alone, with Wilson's interval.
    pub specificity: Estimate,
}

/// Chooses the threshold for `criterion` on `scores` `[N]` of which `positive` `[N]` belong to the label. The threshold
/// lies midway between two scores, so that a score's last bits do not decide. `None` if one side is empty.
pub fn choose(scores: &[f32], positive: &[bool], criterion: Criterion) -> Option<OperatingPoint> {
    let mut rows: Vec<(f32, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = rows.iter().filter(|row| row.1).count();
    let negatives = rows.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Cut c: the first c rows are positive. Only cuts between two different scores can be made.
    let (mut hits, mut false_alarms) = (0, 0);
    let mut best: Option<(f64, f64, usize)> = None;
    for cut in 0..=rows.len() {
        if cut > 0 {
            hits += usize::from(rows[cut - 1].1);
            false_alarms += usize::from(!rows[cut - 1].1);
        }
        if cut > 0 && cut < rows.len() && rows[cut - 1].0 == rows[cut].0 {
            continue;
        }
        let sensitivity = hits as f64 / positives as f64;
        let specificity = 1.0 - false_alarms as f64 / negatives as f64;
        let (wanted, reached, other) = match criterion {
            Criterion::Sensitivity(wanted) => (wanted, sensitivity, specificity),
            Criterion::Specificity(wanted) => (wanted, specificity, sensitivity),
        };
        let key = (other, reached);
        if reached >= wanted && best.is_none_or(|(a, b, _)| key > (a, b)) {
            best = Some((other, reached, cut));
        }
    }
    let (_, _, cut) = best?;
    measure(scores, positive, threshold_of_cut(&rows, cut))
}

fn threshold_of_cut(rows: &[(f32, bool)], cut: usize) -> f32 {
    if cut == 0 {
        // Above every score.
        return rows[0].0 + f32::EPSILON.max(rows[0].0.abs() * f32::EPSILON);
    }
    let above = rows[cut - 1].0;
    let Some(&(below, _)) = rows.get(cut) else { return above };
    let middle = below + (above - below) / 2.0;
    // Two neighbouring floats have no middle.
    if middle > below { middle } else { above }
}

/// What `threshold` does on `scores` `[N]` of which `positive` `[N]` belong to the label; `None` if one side is empty.
pub fn measure(scores: &[f32], positive: &[bool], threshold: f32) -> Option<OperatingPoint> {
    let count = |wanted: bool, above: bool| {
        scores
            .iter()
            .zip(positive)
            .filter(|&(&score, &positive)| positive == wanted && (score >= threshold) == above)
            .count() as u64
    };
    let (hits, missed) = (count(true, true), count(true, false));
    let (spared, false_alarms) = (count(false, false), count(false, true));
    Some(OperatingPoint {
        threshold,
        sensitivity: wilson(hits, hits + missed)?,
        specificity: wilson(spared, spared + false_alarms)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    /// The best specificity among scikit-learn's ROC points that reach the wanted sensitivity.
    #[test]
    fn agrees_with_scikit_learns_curve() {
        let golden = goldens::load();
        let scores: Vec<f32> = golden.probabilities.iter().map(|row| row[1]).collect();
        let positive: Vec<bool> = golden.truth.iter().map(|&truth| truth == 1).collect();
        for wanted in [0.5, 0.8, 0.95, 1.0] {
            let point = choose(&scores, &positive, Criterion::Sensitivity(wanted)).unwrap();
            let roc = &golden.roc_class_1;
            let expected = (roc.true_positive_rate.iter().zip(&roc.false_positive_rate))
                .filter(|&(&sensitivity, _)| sensitivity >= wanted)
                .map(|(_, false_positive)| 1.0 - false_positive)
                .fold(0.0, f64::max);
            goldens::assert_near(point.specificity.value, expected, 1e-12);
            assert!(point.sensitivity.value >= wanted);
        }
    }

    #[test]
    fn the_threshold_lies_between_two_scores() {
        let (scores, positive) = ([0.9, 0.8, 0.3, 0.1], [true, true, false, false]);
        let point = choose(&scores, &positive, Criterion::Sensitivity(0.5)).unwrap();
        assert!((point.threshold - 0.55).abs() < 1e-6, "{}", point.threshold);
        assert_eq!((point.sensitivity.value, point.specificity.value), (1.0, 1.0));
    }

    #[test]
    fn specificity_can_be_asked_for() {
        let (scores, positive) = ([0.9, 0.8, 0.7, 0.6], [false, true, false, true]);
        let point = choose(&scores, &positive, Criterion::Specificity(0.5)).unwrap();
        assert_eq!((point.sensitivity.value, point.specificity.value), (0.5, 0.5));
        let strict = choose(&scores, &positive, Criterion::Specificity(1.0)).unwrap();
        assert_eq!((strict.sensitivity.value, strict.specificity.value), (0.0, 1.0));
    }

    #[test]
    fn one_sided_data_has_no_operating_point() {
        assert_eq!(choose(&[0.5, 0.6], &[true, true], Criterion::Sensitivity(0.9)), None);
    }
}

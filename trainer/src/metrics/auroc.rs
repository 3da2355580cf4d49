//! Area under the receiver operating characteristic: the probability that an image of the class scores higher than one
//! of the rest, ties counted half (Hanley and McNeil 1982).

use ndarray::ArrayView2;

/// Areas of every class of `probabilities` `[N,K]` against the rest; `None` for a class of which, or of whose rest,
/// there is no image.
pub fn one_vs_rest(probabilities: ArrayView2<'_, f32>, truth: &[usize]) -> Vec<Option<f64>> {
    (0..probabilities.ncols())
        .map(|class| RankedScores::of_class(probabilities, truth, class).auroc())
        .collect()
}

/// Mean of [`one_vs_rest`] over the classes that have an area; `None` if none has.
pub fn macro_mean(probabilities: ArrayView2<'_, f32>, truth: &[usize]) -> Option<f64> {
    let areas: Vec<f64> = one_vs_rest(probabilities, truth).into_iter().flatten().collect();
    (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
}

/// Scores of one class against the rest, ranked once, so that a bootstrap need not sort again.
#[derive(Clone, Debug)]
pub struct RankedScores {
    /// Row indices by descending score.
    order: Vec<usize>,
    /// For each position in `order`: whether the next position has a lower score.
    ends_tie: Vec<bool>,
    positive: Vec<bool>,
}

impl RankedScores {
    /// Ranks `scores` `[N]`; `positive` `[N]` says which rows belong to the class. Surplus elements of the longer slice are
    /// ignored.
    pub fn new(scores: &[f32], positive: &[bool]) -> Self {
        let n = scores.len().min(positive.len());
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let ends_tie = (0..n)
            .map(|at| order.get(at + 1).is_none_or(|&next| scores[next] != scores[order[at]]))
            .collect();
        Self {
            order,
            ends_tie,
            positive: positive[..n].to_vec(),
        }
    }

    /// Ranks column `class` of `probabilities` `[N,K]`; rows whose truth is `class` are the positives.
    pub fn of_class(probabilities: ArrayView2<'_, f32>, truth: &[usize], class: usize) -> Self {
        let scores = probabilities.column(class).to_vec();
        let positive: Vec<bool> = truth.iter().map(|&truth| truth == class).collect();
        Self::new(&scores, &positive)
    }

    /// The area, 0 to 1; `None` if one side is empty.
    pub fn auroc(&self) -> Option<f64> {
        self.weighted(|_| 1.0)
    }

    /// The area with row i counted `weights[i]` times, as a bootstrap draw does; `None` if one side is empty.
    pub fn auroc_weighted(&self, weights: &[f64]) -> Option<f64> {
        self.weighted(|row| weights.get(row).copied().unwrap_or(0.0))
    }

    fn weighted(&self, weight: impl Fn(usize) -> f64) -> Option<f64> {
        let (mut area, mut positives, mut negatives) = (0.0, 0.0, 0.0);
        let (mut tied_positives, mut tied_negatives) = (0.0, 0.0);
        for (at, &row) in self.order.iter().enumerate() {
            if self.positive[row] {
                tied_positives += weight(row);
            } else {
                tied_negatives += weight(row);
            }
            if self.ends_tie[at] {
                area += tied_negatives * (positives + tied_positives / 2.0);
                positives += tied_positives;
                negatives += tied_negatives;
                (tied_positives, tied_negatives) = (0.0, 0.0);
            }
        }
        (positives > 0.0 && negatives > 0.0).then(|| area / (positives * negatives))
    }

    /// Points (false positive rate, true positive rate) from (0, 0) to (1, 1), one per distinct score; empty if one
    /// side is empty.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let all_positives = self.positive.iter().filter(|&&positive| positive).count();
        let all_negatives = self.positive.len() - all_positives;
        if all_positives == 0 || all_negatives == 0 {
            return Vec::new();
        }
        let mut points = vec![(0.0, 0.0)];
        let (mut positives, mut negatives) = (0, 0);
        for (at, &row) in self.order.iter().enumerate() {
            if self.positive[row] {
                positives += 1;
            } else {
                negatives += 1;
            }
            if self.ends_tie[at] {
                points.push((
                    negatives as f64 / all_negatives as f64,
                    positives as f64 / all_positives as f64,
                ));
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    fn golden_class(golden: &goldens::Goldens, class: usize) -> RankedScores {
        let scores: Vec<f32> = golden.probabilities.iter().map(|row| row[class]).collect();
        let positive: Vec<bool> = golden.truth.iter().map(|&truth| truth == class).collect();
        RankedScores::new(&scores, &positive)
    }

    #[test]
    fn equals_scikit_learn_with_ties() {
        let golden = goldens::load();
        for class in 0..3 {
            goldens::assert_near(
                golden_class(&golden, class).auroc().unwrap(),
                golden.auroc[class],
                1e-12,
            );
        }
    }

    #[test]
    fn the_mean_leaves_out_a_class_without_images() {
        let probabilities = ndarray::arr2(&[[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.6, 0.3, 0.1]]);
        let areas = one_vs_rest(probabilities.view(), &[0, 1, 1]);
        assert_eq!(areas, [Some(1.0), Some(1.0), None]);
        assert_eq!(macro_mean(probabilities.view(), &[0, 1, 1]), Some(1.0));
    }

    #[test]
    fn the_curve_equals_scikit_learn() {
        let golden = goldens::load();
        let curve = golden_class(&golden, 1).curve();
        assert_eq!(curve.len(), golden.roc_class_1.true_positive_rate.len());
        for (at, &(false_positive, true_positive)) in curve.iter().enumerate() {
            goldens::assert_near(false_positive, golden.roc_class_1.false_positive_rate[at], 1e-12);
            goldens::assert_near(true_positive, golden.roc_class_1.true_positive_rate[at], 1e-12);
        }
    }

    #[test]
    fn weights_count_like_repeated_rows() {
        let (scores, positive) = ([0.9, 0.4, 0.4, 0.1], [true, false, true, false]);
        let repeated = RankedScores::new(&[0.9, 0.4, 0.4, 0.4, 0.1], &[true, false, false, true, false]);
        let weighted = RankedScores::new(&scores, &positive).auroc_weighted(&[1.0, 2.0, 1.0, 1.0]);
        assert_eq!(weighted, repeated.auroc());
    }

    #[test]
    fn one_sided_data_has_no_area() {
        let one_sided = RankedScores::new(&[0.2, 0.3], &[true, true]);
        assert_eq!(one_sided.auroc(), None);
        assert!(one_sided.curve().is_empty());
    }
}

//! Counts of truth against prediction.

use serde::{Deserialize, Serialize};

/// Confusion matrix of K classes: `counts[truth][predicted]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// Counts pairs of (truth, predicted). Pairs outside `0..classes` are not counted.
    pub fn from_pairs(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![vec![0; classes]; classes];
        for (truth, predicted) in pairs {
            if let Some(cell) = counts
                .get_mut(truth)
                .and_then(|row: &mut Vec<u64>| row.get_mut(predicted))
            {
                *cell += 1;
            }
        }
        Self { counts }
    }

    /// Number of classes K.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// Rows are truth, columns the prediction.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// Number of images counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Number of images whose prediction is the truth.
    pub fn correct(&self) -> u64 {
        (0..self.classes()).map(|class| self.counts[class][class]).sum()
    }

    /// Images of `class`.
    pub fn positives(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }

    /// Images of `class` that were predicted as such.
    pub fn true_positives(&self, class: usize) -> u64 {
        self.counts[class][class]
    }

    /// Images of other classes.
    pub fn negatives(&self, class: usize) -> u64 {
        self.total() - self.positives(class)
    }

    /// Images of other classes that were not predicted as `class`.
    pub fn true_negatives(&self, class: usize) -> u64 {
        let predicted: u64 = self.counts.iter().map(|row| row[class]).sum();
        self.negatives(class) - (predicted - self.true_positives(class))
    }
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn equals_scikit_learn() {
        let golden = goldens::load();
        assert_eq!(golden.predicted().counts(), golden.confusion);
    }

    #[test]
    fn a_class_out_of_range_is_not_counted() {
        let matrix = ConfusionMatrix::from_pairs(2, [(0, 0), (1, 0), (2, 0), (0, 5)]);
        assert_eq!((matrix.total(), matrix.correct(), matrix.true_negatives(0)), (2, 1, 0));
    }
}

//! Share of images whose prediction is the truth.

use super::confusion::ConfusionMatrix;

/// Accuracy, 0 to 1; `None` without an image.
pub fn accuracy(matrix: &ConfusionMatrix) -> Option<f64> {
    (matrix.total() > 0).then(|| matrix.correct() as f64 / matrix.total() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn equals_scikit_learn() {
        let golden = goldens::load();
        let pairs = golden.confusion.iter().enumerate().flat_map(|(truth, row)| {
            row.iter()
                .enumerate()
                .flat_map(move |(predicted, &n)| (0..n).map(move |_| (truth, predicted)))
        });
        let matrix = ConfusionMatrix::from_pairs(3, pairs);
        goldens::assert_near(accuracy(&matrix).unwrap(), golden.accuracy, 1e-12);
        assert_eq!(accuracy(&ConfusionMatrix::from_pairs(3, [])), None);
    }
}

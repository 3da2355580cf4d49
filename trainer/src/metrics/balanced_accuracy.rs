//! Mean sensitivity over the classes that occur: chance is 1/K however unequal the classes are.

use super::confusion::ConfusionMatrix;
use super::sensitivity::sensitivity;

/// Balanced accuracy, 0 to 1, over the classes with at least one image; `None` without an image.
pub fn balanced_accuracy(matrix: &ConfusionMatrix) -> Option<f64> {
    let present: Vec<f64> = (0..matrix.classes())
        .filter_map(|class| sensitivity(matrix, class))
        .collect();
    (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn equals_scikit_learn() {
        let golden = goldens::load();
        let matrix = golden.predicted();
        goldens::assert_near(balanced_accuracy(&matrix).unwrap(), golden.balanced_accuracy, 1e-12);
    }

    #[test]
    fn a_class_without_images_does_not_count() {
        let matrix = ConfusionMatrix::from_pairs(3, [(0, 0), (0, 1), (1, 1)]);
        assert_eq!(balanced_accuracy(&matrix), Some(0.75));
    }
}

//! Per-class sensitivity (recall) and specificity, one class against the rest.

use super::confusion::ConfusionMatrix;

/// Share of the images of `class` that were predicted as such; `None` if there is none.
pub fn sensitivity(matrix: &ConfusionMatrix, class: usize) -> Option<f64> {
    let n = matrix.positives(class);
    (n > 0).then(|| matrix.true_positives(class) as f64 / n as f64)
}

/// Share of the images of other classes that were not predicted as `class`; `None` if there is none.
pub fn specificity(matrix: &ConfusionMatrix, class: usize) -> Option<f64> {
    let n = matrix.negatives(class);
    (n > 0).then(|| matrix.true_negatives(class) as f64 / n as f64)
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn equals_scikit_learn() {
        let golden = goldens::load();
        let matrix = golden.predicted();
        for class in 0..3 {
            goldens::assert_near(sensitivity(&matrix, class).unwrap(), golden.sensitivity[class], 1e-12);
            goldens::assert_near(specificity(&matrix, class).unwrap(), golden.specificity[class], 1e-12);
        }
    }

    #[test]
    fn a_class_without_images_has_no_sensitivity() {
        let matrix = ConfusionMatrix::from_pairs(2, [(0, 0), (0, 1)]);
        assert_eq!((sensitivity(&matrix, 1), specificity(&matrix, 1)), (None, Some(0.5)));
        assert_eq!(specificity(&matrix, 0), None);
    }
}

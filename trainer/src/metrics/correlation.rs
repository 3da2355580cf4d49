//! Pearson's correlation of two heatmaps.

/// Pearson's r of `a` and `b`, -1 to 1; `None` if the lengths differ or one of them is constant.
pub fn pearson(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let mean = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut covariance, mut variance_a, mut variance_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a) - mean_a, f64::from(b) - mean_b);
        covariance += a * b;
        variance_a += a * a;
        variance_b += b * b;
    }
    let norm = (variance_a * variance_b).sqrt();
    (norm > 0.0).then(|| covariance / norm)
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn equals_numpy() {
        let golden = goldens::load();
        goldens::assert_near(pearson(&golden.map_a, &golden.map_b).unwrap(), golden.pearson, 1e-9);
    }

    #[test]
    fn a_constant_map_has_no_correlation() {
        assert_eq!(pearson(&[1.0, 1.0], &[0.0, 1.0]), None);
        assert_eq!(pearson(&[1.0], &[0.0, 1.0]), None);
    }
}

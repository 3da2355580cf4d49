//! Overlap of the hottest parts of two heatmaps.

/// Share of a heatmap that counts as its hottest part.
pub const HOT_SHARE: f64 = 0.2;

/// Intersection over union of the hottest `share` of `a` and `b`; `None` if the lengths differ, nothing is selected, or
/// a map is constant and has no hottest part. Of equal values, the ones that come first are taken.
pub fn top_share_iou(a: &[f32], b: &[f32], share: f64) -> Option<f64> {
    let wanted = (a.len() as f64 * share).round() as usize;
    if a.len() != b.len() || wanted == 0 || is_constant(a) || is_constant(b) {
        return None;
    }
    let (hot_a, hot_b) = (hottest(a, wanted), hottest(b, wanted));
    let both = hot_a.iter().zip(&hot_b).filter(|&(&a, &b)| a && b).count();
    let either = hot_a.iter().zip(&hot_b).filter(|&(&a, &b)| a || b).count();
    Some(both as f64 / either as f64)
}

fn is_constant(values: &[f32]) -> bool {
    values.iter().all(|value| value == &values[0])
}

fn hottest(values: &[f32], wanted: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut hot = vec![false; values.len()];
    for &at in order.iter().take(wanted) {
        hot[at] = true;
    }
    hot
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;

    #[test]
    fn equals_numpy() {
        let golden = goldens::load();
        let iou = top_share_iou(&golden.map_a, &golden.map_b, HOT_SHARE).unwrap();
        goldens::assert_near(iou, golden.top_20_iou, 1e-12);
    }

    #[test]
    fn apart_is_zero_and_constant_is_none() {
        assert_eq!(
            top_share_iou(&[1.0, 0.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 0.0, 1.0], HOT_SHARE),
            Some(0.0)
        );
        assert_eq!(top_share_iou(&[0.0; 5], &[0.0, 0.0, 0.0, 0.0, 1.0], HOT_SHARE), None);
    }
}

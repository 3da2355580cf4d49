//! Precision and recall of generated images (Kynkäänniemi et al. 2019, arXiv 1904.06991): how many of them lie among real
//! ones, and how much of the real ones they reach. A set's region is a ball around each of its features, as wide as the
//! distance to its k-th neighbour.

use ndarray::{ArrayView1, ArrayView2};

/// Both shares, in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// Generated images that lie in the region of the real ones: how plausible they are.
    pub precision: f64,
    /// Real images that lie in the region of the generated ones: how various these are.
    pub recall: f64,
}

/// Of features `[n,d]` and `[m,d]`; `None` where a set has not more than `k` rows.
pub fn precision_recall(
    real: ArrayView2<'_, f64>,
    generated: ArrayView2<'_, f64>,
    k: usize,
) -> Option<PrecisionRecall> {
    Some(PrecisionRecall {
        precision: inside(generated, real, &radii(real, k)?),
        recall: inside(real, generated, &radii(generated, k)?),
    })
}

/// Squared distance of each row to its k-th neighbour among the others.
fn radii(rows: ArrayView2<'_, f64>, k: usize) -> Option<Vec<f64>> {
    if rows.nrows() <= k || k == 0 {
        return None;
    }
    let radius = |(number, row): (usize, ArrayView1<'_, f64>)| {
        let others = rows.outer_iter().enumerate().filter(|(other, _)| *other != number);
        let mut distances: Vec<f64> = others.map(|(_, other)| squared_distance(row, other)).collect();
        let (_, kth, _) = distances.select_nth_unstable_by(k - 1, f64::total_cmp);
        *kth
    };
    Some(rows.outer_iter().enumerate().map(radius).collect())
}

/// Share of the rows that lie in a ball around one of the centres.
fn inside(rows: ArrayView2<'_, f64>, centres: ArrayView2<'_, f64>, radii: &[f64]) -> f64 {
    let is_inside = |row: &ArrayView1<'_, f64>| {
        let mut balls = centres.outer_iter().zip(radii);
        balls.any(|(centre, radius)| squared_distance(*row, centre) < *radius)
    };
    rows.outer_iter().filter(is_inside).count() as f64 / rows.nrows().max(1) as f64
}

/// Squared Euclidean distance.
pub(super) fn squared_distance(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::generative_goldens::load;
    use super::*;

    #[test]
    fn it_is_prdcs() {
        let goldens = load();
        let found = precision_recall(goldens.real.view(), goldens.generated.view(), 3).unwrap();
        assert!((found.precision - goldens.precision).abs() < 1e-12, "{found:?}");
        assert!((found.recall - goldens.recall).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn too_few_rows_give_no_figure() {
        let goldens = load();
        let few = goldens.real.slice(ndarray::s![..3, ..]);
        assert!(precision_recall(few, goldens.generated.view(), 3).is_none());
    }
}

//! Novelty statistics: how far an image's pooled features lie from the training images of the nearest class
//! (Mahalanobis distance, Lee et al. 2018), in the directions in which training features vary most.
//!
//! The covariance within the classes is shared and shrunk towards a multiple of the identity as Ledoit and Wolf (2004)
//! derive, so that some hundred images are enough.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use onnx::heads::Novelty;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::error::ExportError;
use crate::metrics::intervals::percentile;

/// Share of validation images within the limit.
pub const QUANTILE: f64 = 0.99;
/// Standard deviations beyond the mean that are always within the limit: few images do not show their own tail.
const TAIL_DEVIATIONS: f64 = 3.0;
/// Share of the largest variance below which a direction is rounding noise.
const SMALLEST_VARIANCE: f64 = 1e-9;

/// From which distance on an image is novel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The distance.
    pub threshold: f64,
    /// Share of validation images within it.
    pub quantile: f64,
    /// Mean distance of validation images.
    pub mean: f64,
    /// Standard deviation of that distance.
    pub std: f64,
    /// Directions in which it is measured.
    pub components: usize,
}

/// Statistics of training `features` `[N,D]` with their `truth` `[N]`, in `components` directions at most D, for `classes`.
///
/// # Errors
/// libtorch's eigenvalue solver fails.
pub fn statistics(
    features: ArrayView2<'_, f32>,
    truth: &[usize],
    classes: usize,
    components: usize,
) -> Result<Novelty, ExportError> {
    let features = features.mapv(f64::from);
    let mean = features
        .mean_axis(Axis(0))
        .unwrap_or_else(|| Array1::zeros(features.ncols()));
    let centred = &features - &mean;
    let basis = principal_directions(&centred, components)?;
    let reduced = centred.dot(&basis);
    let centres = class_means(&reduced, truth, classes);
    let mut within = reduced;
    for (mut row, &class) in within.rows_mut().into_iter().zip(truth) {
        row -= &centres.row(class);
    }
    let (covariance, _) = shrunk_covariance(&within);
    let whitening = inverse_root(&covariance)?;
    Ok(Novelty {
        mean: mean.mapv(|value| value as f32),
        projection: basis.dot(&whitening).mapv(|value| value as f32),
        centers: centres.dot(&whitening).mapv(|value| value as f32),
    })
}

/// Distance of each row of `features` `[N,D]` to the nearest centre, as the graph computes it.
pub fn distances(statistics: &Novelty, features: ArrayView2<'_, f32>) -> Vec<f32> {
    let reduced = (&features - &statistics.mean).dot(&statistics.projection);
    let to_nearest = |row: ndarray::ArrayView1<'_, f32>| {
        let squares = statistics
            .centers
            .rows()
            .into_iter()
            .map(|centre| (&row - &centre).mapv(|x| x * x).sum());
        squares.fold(f32::INFINITY, f32::min).sqrt()
    };
    reduced.rows().into_iter().map(to_nearest).collect()
}

/// The limit from the distances of validation images; `None` without one.
pub fn limit(distances: &[f32], components: usize) -> Option<Limit> {
    let mut ascending: Vec<f64> = distances.iter().map(|&distance| f64::from(distance)).collect();
    ascending.sort_by(f64::total_cmp);
    let n = ascending.len() as f64;
    let mean = ascending.iter().sum::<f64>() / n;
    let std = (ascending.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / n).sqrt();
    let threshold = percentile(&ascending, QUANTILE)?.max(mean + TAIL_DEVIATIONS * std);
    // A network whose features never differ gives distance 0 everywhere; any positive limit is right then.
    Some(Limit {
        threshold: threshold.max(f64::from(f32::EPSILON)),
        quantile: QUANTILE,
        mean,
        std,
        components,
    })
}

/// Eigenvectors of the covariance with the largest eigenvalues, `[D,R]`.
fn principal_directions(centred: &Array2<f64>, components: usize) -> Result<Array2<f64>, ExportError> {
    let covariance = centred.t().dot(centred) / (centred.nrows().max(1) as f64);
    let (_, vectors) = eigen(&covariance)?;
    let all = vectors.ncols();
    let wanted = components.min(all);
    // Eigenvalues come ascending.
    Ok(vectors.slice(ndarray::s![.., all - wanted..;1]).to_owned())
}

/// Means of the classes, `[K,R]`; the overall mean, 0, for a class without rows.
fn class_means(reduced: &Array2<f64>, truth: &[usize], classes: usize) -> Array2<f64> {
    let mut sums = Array2::zeros((classes, reduced.ncols()));
    let mut counts = vec![0.0_f64; classes];
    for (row, &class) in reduced.rows().into_iter().zip(truth) {
        let mut sum = sums.row_mut(class);
        sum += &row;
        counts[class] += 1.0;
    }
    for (mut sum, count) in sums.rows_mut().into_iter().zip(counts) {
        sum /= count.max(1.0);
    }
    sums
}

/// Covariance of centred `rows` `[N,R]`, shrunk; and the share of the identity in it (Ledoit and Wolf 2004).
fn shrunk_covariance(rows: &Array2<f64>) -> (Array2<f64>, f64) {
    let (n, r) = (rows.nrows().max(1) as f64, rows.ncols().max(1) as f64);
    let sample = rows.t().dot(rows) / n;
    let scale = sample.diag().sum() / r;
    let target: Array2<f64> = Array2::eye(rows.ncols()) * scale;
    let spread = (&sample - &target).mapv(|x| x * x).sum() / r;
    let squares = rows.mapv(|x| x * x);
    let error = ((squares.t().dot(&squares) / n).sum() - sample.mapv(|x| x * x).sum()) / (n * r);
    let share = if spread > 0.0 {
        (error.min(spread) / spread).clamp(0.0, 1.0)
    } else {
        1.0
    };
    (sample * (1.0 - share) + target * share, share)
}

/// W with Wᵀ C W = 1, `[R,R]`.
fn inverse_root(covariance: &Array2<f64>) -> Result<Array2<f64>, ExportError> {
    let (values, mut vectors) = eigen(covariance)?;
    let floor = values.iter().copied().fold(0.0, f64::max) * SMALLEST_VARIANCE;
    for (mut vector, &value) in vectors.columns_mut().into_iter().zip(&values) {
        vector /= value.max(floor).max(f64::MIN_POSITIVE).sqrt();
    }
    Ok(vectors)
}

/// Eigenvalues, ascending, and eigenvectors as columns of a symmetric matrix.
fn eigen(matrix: &Array2<f64>) -> Result<(Vec<f64>, Array2<f64>), ExportError> {
    let side = matrix.nrows();
    let values: Vec<f64> = matrix.iter().copied().collect();
    let tensor = Tensor::f_from_slice(&values)?.f_reshape([side as i64, side as i64])?;
    let (eigenvalues, eigenvectors) = tensor.f_linalg_eigh("L")?;
    let read = |tensor: &Tensor| -> Result<Vec<f64>, tch::TchError> {
        let mut out = vec![0.0; tensor.numel()];
        let length = out.len();
        tensor
            .f_to_kind(Kind::Double)?
            .f_contiguous()?
            .f_copy_data(&mut out, length)?;
        Ok(out)
    };
    let vectors = Array2::from_shape_vec((side, side), read(&eigenvectors)?).unwrap_or_else(|_| Array2::eye(side));
    Ok((read(&eigenvalues)?, vectors))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::metrics::goldens;

    /// Two classes apart by 6 in the first direction; the second direction varies ten times as much as the others.
    fn features(n: usize, seed: u64) -> (Array2<f32>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let truth: Vec<usize> = (0..n).map(|row| row % 2).collect();
        let features = Array2::from_shape_fn((n, 6), |(row, column)| {
            let noise: f32 = StandardNormal.sample(&mut rng);
            match column {
                0 => noise + 6.0 * (row % 2) as f32,
                1 => 10.0 * noise,
                _ => noise,
            }
        });
        (features, truth)
    }

    #[test]
    fn distances_are_in_standard_deviations_of_the_nearest_class() {
        let (training, truth) = features(600, 1);
        let statistics = statistics(training.view(), &truth, 2, 6).unwrap();
        let (fresh, _) = features(400, 2);
        let fresh_distances = distances(&statistics, fresh.view());
        let mean_square = fresh_distances.iter().map(|d| f64::from(d * d)).sum::<f64>() / 400.0;
        // The squared distance of one's own class has mean 6, one for each direction.
        assert!((5.0..7.0).contains(&mean_square), "{mean_square}");
        let limit = limit(&fresh_distances, 6).unwrap();
        let mut far = fresh.row(0).to_owned();
        far[0] += 30.0;
        let far = distances(&statistics, far.insert_axis(Axis(0)).view())[0];
        assert!(f64::from(far) > limit.threshold && f64::from(fresh_distances[1]) < limit.threshold);
        // Thirty along the wide direction is three deviations: no novelty.
        let mut wide = fresh.row(0).to_owned();
        wide[1] = 25.0;
        assert!(f64::from(distances(&statistics, wide.insert_axis(Axis(0)).view())[0]) < limit.threshold);
    }

    #[test]
    fn fewer_images_than_directions_still_give_finite_statistics() {
        let (training, truth) = features(4, 3);
        let statistics = statistics(training.view(), &truth, 3, 6).unwrap();
        assert_eq!(statistics.projection.dim(), (6, 6));
        assert!(
            distances(&statistics, training.view())
                .iter()
                .all(|distance| distance.is_finite())
        );
        assert_eq!(limit(&[], 6), None);
    }

    /// scikit-learn's `ledoit_wolf(rows, assume_centered=True)` on the same rows.
    #[test]
    fn shrinkage_equals_scikit_learn() {
        let rows = Array2::from_shape_fn((12, 4), |(row, column)| {
            ((row * 7 + column * 3) % 11) as f64 - 5.0 + 0.5 * ((row * column) % 3) as f64
        });
        let (_, share) = shrunk_covariance(&rows);
        goldens::assert_near(share, goldens::load().shrinkage, 1e-9);
    }
}

//! Kernel inception distance (Bińkowski et al. 2018, arXiv 1801.01401): how far two sets of features are apart, by the
//! squared maximum mean discrepancy under the kernel (x·y / d + 1)³. Unbiased for any number of images; 0 for equal
//! distributions, and slightly below for samples of them.

use ndarray::{Array2, ArrayView2};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::intervals::Estimate;

/// Subsets that the interval is estimated from.
const SUBSETS: usize = 100;

/// The distance of features `[n,d]` and `[m,d]` with its 95 % interval (from the spread over subsets of half of each,
/// scaled to all, after Politis and Romano 1994); `None` with fewer than 4 rows on a side, or of different widths.
pub fn kid(real: ArrayView2<'_, f64>, generated: ArrayView2<'_, f64>, seed: u64) -> Option<Estimate> {
    let (n, m) = (real.nrows(), generated.nrows());
    if n < 4 || m < 4 || real.ncols() != generated.ncols() || real.ncols() == 0 {
        return None;
    }
    let kernels = Kernels {
        real: kernel(real, real),
        generated: kernel(generated, generated),
        between: kernel(real, generated),
    };
    let (all_real, all_generated): (Vec<usize>, Vec<usize>) = ((0..n).collect(), (0..m).collect());
    let value = kernels.distance(&all_real, &all_generated);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let subsets: Vec<f64> = (0..SUBSETS)
        .map(|_| {
            let of_real = index::sample(&mut random, n, n / 2).into_vec();
            let of_generated = index::sample(&mut random, m, m / 2).into_vec();
            kernels.distance(&of_real, &of_generated)
        })
        .collect();
    let mean = subsets.iter().sum::<f64>() / SUBSETS as f64;
    let variance = subsets.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (SUBSETS - 1) as f64;
    // Half of the rows, drawn without putting back, vary as all would if these were a sample of twice as many.
    let margin = 1.96 * variance.sqrt();
    Some(Estimate {
        value,
        low: value - margin,
        high: value + margin,
        n: (n.min(m)) as u64,
    })
}

struct Kernels {
    real: Array2<f64>,
    generated: Array2<f64>,
    between: Array2<f64>,
}

impl Kernels {
    fn distance(&self, real: &[usize], generated: &[usize]) -> f64 {
        let within = |kernel: &Array2<f64>, rows: &[usize]| {
            let pairs = rows
                .iter()
                .flat_map(|i| rows.iter().filter(move |j| *j != i).map(move |j| (i, j)));
            pairs.map(|(i, j)| kernel[[*i, *j]]).sum::<f64>() / (rows.len() * (rows.len() - 1)) as f64
        };
        let pairs = real.iter().flat_map(|i| generated.iter().map(move |j| (i, j)));
        let between = pairs.map(|(i, j)| self.between[[*i, *j]]).sum::<f64>() / (real.len() * generated.len()) as f64;
        within(&self.real, real) + within(&self.generated, generated) - 2.0 * between
    }
}

fn kernel(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let width = a.ncols() as f64;
    a.dot(&b.t()).mapv(|product| (product / width + 1.0).powi(3))
}

#[cfg(test)]
mod tests {
    use super::super::generative_goldens::load;
    use super::*;

    #[test]
    fn it_is_scikit_learns() {
        let goldens = load();
        let estimate = kid(goldens.real.view(), goldens.generated.view(), 1).unwrap();
        assert!((estimate.value / goldens.kid - 1.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.low < estimate.value && estimate.value < estimate.high);
    }

    #[test]
    fn a_set_is_no_distance_from_another_half_of_itself() {
        let goldens = load();
        let (one, other) = goldens.real.view().split_at(ndarray::Axis(0), 20);
        let estimate = kid(one, other, 1).unwrap();
        assert!(estimate.low < 0.0 && estimate.high > 0.0, "{estimate:?}");
        assert!(kid(one.slice(ndarray::s![..3, ..]), other, 1).is_none());
    }
}

//! Whether a generator copies its training images: the three-sample test (Meehan, Chaudhuri and Dasgupta 2020, arXiv
//! 2004.05675). Generated images should be no nearer to the training images than unseen real ones are.

use ndarray::{ArrayView1, ArrayView2};

use super::manifold::squared_distance;

/// Below this the authors call a generator one that copies.
pub const COPIES: f64 = -3.0;

/// The nearest training image of another image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Its row.
    pub row: usize,
    /// Euclidean distance.
    pub distance: f64,
}

/// The nearest of `others` to each of `rows`, features of one width; empty where there are no others.
pub fn nearest(rows: ArrayView2<'_, f64>, others: ArrayView2<'_, f64>) -> Vec<Nearest> {
    let of = |row: ArrayView1<'_, f64>| {
        let distances = others.outer_iter().enumerate();
        let best = distances
            .map(|(number, other)| (number, squared_distance(row, other)))
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Nearest {
            row: best.0,
            distance: best.1.sqrt(),
        })
    };
    rows.outer_iter().filter_map(of).collect()
}

/// The test's standardised rank sum over the distances to the nearest training image: below [`COPIES`] generated images
/// are nearer than unseen real ones, far above 0 they are further away. `None` without images on a side.
pub fn three_sample(generated: &[f64], unseen: &[f64]) -> Option<f64> {
    let (m, n) = (generated.len() as f64, unseen.len() as f64);
    if generated.is_empty() || unseen.is_empty() {
        return None;
    }
    // How often a generated image is further away than an unseen one; equal ones count half.
    let score = |a: &f64, b: &f64| match a.total_cmp(b) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let u: f64 = generated
        .iter()
        .map(|a| unseen.iter().map(|b| score(a, b)).sum::<f64>())
        .sum();
    Some((u - m * n / 2.0) / (m * n * (m + n + 1.0) / 12.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::generative_goldens::load;
    use super::*;

    fn distances(rows: ArrayView2<'_, f64>, others: ArrayView2<'_, f64>) -> Vec<f64> {
        nearest(rows, others).iter().map(|nearest| nearest.distance).collect()
    }

    #[test]
    fn it_is_scipys_rank_test() {
        let goldens = load();
        let training = goldens.real.view();
        let of_generated = distances(goldens.generated.view(), training);
        let of_unseen = distances(goldens.held_out.view(), training);
        let found = three_sample(&of_generated, &of_unseen).unwrap();
        assert!(
            (found - goldens.copying).abs() < 1e-9,
            "{found} against {}",
            goldens.copying
        );
        assert!(three_sample(&[], &of_unseen).is_none());
    }

    #[test]
    fn a_copier_is_caught() {
        let goldens = load();
        let training = goldens.real.view();
        let copies = &goldens.real + 0.01;
        let found = three_sample(
            &distances(copies.view(), training),
            &distances(goldens.held_out.view(), training),
        );
        assert!(found.unwrap() < COPIES, "{found:?}");
        assert_eq!(nearest(copies.view(), training)[7].row, 7);
    }
}

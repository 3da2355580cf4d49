//! Images against images by their pixels: correlation after each image's own mean and deviation are taken out.

use tch::{Kind, TchError, Tensor};

use crate::seed;

/// From this correlation on two images count as the same.
const SAME: f64 = 0.97;

/// The most similar image of a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    /// Its row.
    pub row: usize,
    /// Correlation, -1 to 1.
    pub correlation: f64,
}

impl Alike {
    /// Whether it is the same image.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.correlation >= SAME
    }
}

/// For each image `[n,C,H,W]` the most similar of the others.
///
/// # Errors
/// libtorch's own.
pub fn most_alike(images: &Tensor, others: &Tensor) -> Result<Vec<Alike>, TchError> {
    best(&standardised(images)?.f_matmul(&standardised(others)?.f_tr()?)?)
}

/// How many images equal an earlier one of the set.
///
/// # Errors
/// libtorch's own.
pub fn duplicates(images: &Tensor) -> Result<usize, TchError> {
    let rows = standardised(images)?;
    // Of each pair one is earlier: only what stands below the diagonal counts.
    let below = rows.f_matmul(&rows.f_tr()?)?.f_tril(-1)?;
    Ok(best(&below)?.iter().filter(|alike| alike.is_copy()).count())
}

/// So many images of noise with the mean and deviation of each pixel of these.
///
/// # Errors
/// libtorch's own.
pub fn noise_like(images: &Tensor, count: i64, drawn: u64) -> Result<Tensor, TchError> {
    tch::manual_seed(seed::mix(drawn, "noise like") as i64);
    let mean = images.f_mean_dim([0].as_slice(), true, Kind::Float)?;
    let deviation = images.f_std_dim([0].as_slice(), false, true)?;
    let mut size = images.size();
    size[0] = count;
    let noise = Tensor::f_randn(size, (Kind::Float, images.device()))?;
    noise.f_mul(&deviation)?.f_add(&mean)?.f_clamp(-1.0, 1.0)
}

fn best(correlations: &Tensor) -> Result<Vec<Alike>, TchError> {
    let (values, rows) = correlations.f_max_dim(1, false)?;
    let values = Vec::<f64>::try_from(values.f_to_kind(Kind::Double)?)?;
    let rows = Vec::<i64>::try_from(rows)?;
    let pairs = values.into_iter().zip(rows);
    Ok(pairs
        .map(|(correlation, row)| Alike {
            row: row as usize,
            correlation,
        })
        .collect())
}

/// `[n, pixels]`, each row of mean 0 and length 1.
fn standardised(images: &Tensor) -> Result<Tensor, TchError> {
    let flat = images.f_to_kind(Kind::Float)?.f_flatten(1, -1)?;
    let centred = flat.f_sub(&flat.f_mean_dim([1].as_slice(), true, Kind::Float)?)?;
    let length = centred
        .f_square()?
        .f_sum_dim_intlist([1].as_slice(), true, Kind::Float)?
        .f_sqrt()?;
    centred.f_div(&length.f_clamp_min(1e-6)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::seed::testing::seeded;

    fn images(count: i64, seed: i64) -> Tensor {
        let _generator = seeded(seed);
        Tensor::rand([count, 1, 8, 8], (Kind::Float, Device::Cpu)) * 2.0 - 1.0
    }

    #[test]
    fn a_brighter_copy_is_still_a_copy() {
        let training = images(20, 1);
        let copy = training.narrow(0, 7, 1) * 0.5 + 0.2;
        let found = most_alike(&copy, &training).unwrap();
        assert!(found[0].row == 7 && found[0].is_copy(), "{found:?}");
        assert!(!most_alike(&images(4, 2), &training).unwrap().iter().any(Alike::is_copy));
    }

    #[test]
    fn repetitions_are_counted_once_each() {
        let some = images(5, 3);
        let again = Tensor::cat(&[&some, &some.narrow(0, 0, 2)], 0);
        assert_eq!(duplicates(&some).unwrap(), 0);
        assert_eq!(duplicates(&again).unwrap(), 2);
    }

    #[test]
    fn noise_has_each_pixels_moments() {
        let real = images(200, 4) * 0.2;
        let generator = seeded(5);
        let noise = noise_like(&real, 400, 1).unwrap();
        drop(generator);
        let mean = |set: &Tensor| set.mean_dim([0].as_slice(), false, Kind::Float);
        let gap = f64::try_from((mean(&real) - mean(&noise)).abs().max()).unwrap();
        assert!(gap < 0.05, "{gap}");
        assert_eq!(noise.size(), [400, 1, 8, 8]);
    }
}

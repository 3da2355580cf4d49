//! Fréchet inception distance (Heusel et al. 2017, arXiv 1706.08500): the distance of two sets of features as if each
//! were normally distributed. Biased for few images; give their number beside it, and read KID first.

use ndarray::ArrayView2;
use tch::{Kind, TchError, Tensor};

/// |m - m'|² + tr(C + C' - 2 (C C')^½) of features `[n,d]` and `[m,d]`, with covariances over n - 1.
///
/// # Errors
/// libtorch's own, as for features that are not finite.
pub fn fid(real: ArrayView2<'_, f64>, generated: ArrayView2<'_, f64>) -> Result<f64, TchError> {
    let (real, generated) = (moments(real)?, moments(generated)?);
    let means = real.mean.f_sub(&generated.mean)?.f_square()?.f_sum(Kind::Double)?;
    // The eigenvalues of C C' are those of C^½ C' C^½, which is symmetric.
    let root = square_root(&real.covariance)?;
    let product = root.f_matmul(&generated.covariance)?.f_matmul(&root)?;
    let (eigenvalues, _) = symmetric(&product)?.f_linalg_eigh("L")?;
    let mixed = eigenvalues.f_clamp_min(0.0)?.f_sqrt()?.f_sum(Kind::Double)?;
    let traces = real.covariance.f_trace()?.f_add(&generated.covariance.f_trace()?)?;
    f64::try_from(means.f_add(&traces)?.f_sub(&mixed.f_mul_scalar(2.0)?)?)
}

struct Moments {
    mean: Tensor,
    covariance: Tensor,
}

fn moments(features: ArrayView2<'_, f64>) -> Result<Moments, TchError> {
    let (rows, columns) = features.dim();
    let flat: Vec<f64> = features.iter().copied().collect();
    let matrix = Tensor::f_from_slice(&flat)?.f_reshape([rows as i64, columns as i64])?;
    let mean = matrix.f_mean_dim([0].as_slice(), false, Kind::Double)?;
    let centred = matrix.f_sub(&mean)?;
    let covariance = centred
        .f_tr()?
        .f_matmul(&centred)?
        .f_div_scalar((rows.max(2) - 1) as f64)?;
    Ok(Moments { mean, covariance })
}

fn symmetric(matrix: &Tensor) -> Result<Tensor, TchError> {
    matrix.f_add(&matrix.f_tr()?)?.f_mul_scalar(0.5)
}

fn square_root(matrix: &Tensor) -> Result<Tensor, TchError> {
    let (values, vectors) = symmetric(matrix)?.f_linalg_eigh("L")?;
    let scaled = vectors.f_mul(&values.f_clamp_min(0.0)?.f_sqrt()?)?;
    scaled.f_matmul(&vectors.f_tr()?)
}

#[cfg(test)]
mod tests {
    use super::super::generative_goldens::load;
    use super::*;

    #[test]
    fn it_is_scipys() {
        let goldens = load();
        let distance = fid(goldens.real.view(), goldens.generated.view()).unwrap();
        assert!(
            (distance / goldens.fid - 1.0).abs() < 1e-8,
            "{distance} against {}",
            goldens.fid
        );
        assert!(fid(goldens.real.view(), goldens.real.view()).unwrap().abs() < 1e-8);
    }
}

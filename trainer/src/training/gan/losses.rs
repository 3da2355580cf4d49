//! What both sides of the game want, from a discriminator's scores. All are means over the scores.

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, TchError, Tensor};

/// Which adversarial loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdversarialLoss {
    /// Cross-entropy, the generator's non-saturating (Goodfellow et al. 2014, arXiv 1406.2661).
    #[default]
    Vanilla,
    /// Squared distance to 0 and 1 (Mao et al. 2016, arXiv 1611.04076).
    LeastSquares,
    /// Hinge (Lim and Ye 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957, equations 16 and 17).
    Hinge,
}

impl AdversarialLoss {
    /// What the discriminator lessens: the loss of the real scores and that of the generated ones, added. `smoothing`
    /// is taken from the target of the real ones (one-sided, Salimans et al. 2016, arXiv 1606.03498, section 3.4).
    ///
    /// # Errors
    /// libtorch's own.
    pub fn discriminator(self, real: &Tensor, generated: &Tensor, smoothing: f64) -> Result<Tensor, TchError> {
        let (real, generated) = (real.f_to_kind(Kind::Float)?, generated.f_to_kind(Kind::Float)?);
        let [of_real, of_generated] = match self {
            Self::Vanilla | Self::LeastSquares => {
                [self.towards(&real, 1.0 - smoothing)?, self.towards(&generated, 0.0)?]
            }
            Self::Hinge => [
                real.f_neg()?
                    .f_add_scalar(1.0 - smoothing)?
                    .f_relu()?
                    .f_mean(Kind::Float)?,
                generated.f_add_scalar(1.0)?.f_relu()?.f_mean(Kind::Float)?,
            ],
        };
        of_real.f_add(&of_generated)
    }

    /// What the generator lessens: that its images are told from real ones.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn generator(self, generated: &Tensor) -> Result<Tensor, TchError> {
        let generated = generated.f_to_kind(Kind::Float)?;
        match self {
            Self::Vanilla | Self::LeastSquares => self.towards(&generated, 1.0),
            Self::Hinge => generated.f_neg()?.f_mean(Kind::Float),
        }
    }

    fn towards(self, scores: &Tensor, target: f64) -> Result<Tensor, TchError> {
        let target = scores.f_full_like(target)?;
        match self {
            Self::LeastSquares => scores.f_mse_loss(&target, Reduction::Mean),
            _ => scores.f_binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::Mean),
        }
    }
}

/// R1: half of `gamma` times the mean squared norm of the score's gradient over the real images, which must require a
/// gradient (Mescheder et al. 2018, arXiv 1801.04406, equation 9). Its own gradient reaches the discriminator.
///
/// # Errors
/// libtorch's own, as for images that require no gradient.
pub fn r1(scores: &Tensor, images: &Tensor, gamma: f64) -> Result<Tensor, TchError> {
    let sum = scores.f_sum(Kind::Float)?;
    let gradients = Tensor::f_run_backward(&[&sum], &[images], true, true)?;
    let gradient = gradients
        .first()
        .ok_or_else(|| TchError::Shape("no gradient of the images".into()))?;
    let squares = gradient.f_square()?.f_flatten(1, -1)?;
    squares
        .f_sum_dim_intlist([1].as_slice(), false, Kind::Float)?
        .f_mean(Kind::Float)?
        .f_mul_scalar(gamma / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(loss: Result<Tensor, TchError>) -> f64 {
        f64::try_from(&loss.unwrap()).unwrap()
    }

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    #[test]
    fn losses_are_their_formulas() {
        let real = Tensor::from_slice(&[2.0_f32, -1.0]);
        let generated = Tensor::from_slice(&[0.5_f32, -3.0]);
        let mean = |a: f64, b: f64| (a + b) / 2.0;
        let vanilla = mean(softplus(-2.0), softplus(1.0)) + mean(softplus(0.5), softplus(-3.0));
        let of = AdversarialLoss::Vanilla;
        assert!((value(of.discriminator(&real, &generated, 0.0)) - vanilla).abs() < 1e-6);
        assert!((value(of.generator(&generated)) - mean(softplus(-0.5), softplus(3.0))).abs() < 1e-6);
        let squares = mean(1.0, 4.0) + mean(0.25, 9.0);
        let of = AdversarialLoss::LeastSquares;
        assert!((value(of.discriminator(&real, &generated, 0.0)) - squares).abs() < 1e-6);
        assert!((value(of.generator(&generated)) - mean(0.25, 16.0)).abs() < 1e-6);
        let hinge = mean(0.0, 2.0) + mean(1.5, 0.0);
        let of = AdversarialLoss::Hinge;
        assert!((value(of.discriminator(&real, &generated, 0.0)) - hinge).abs() < 1e-6);
        assert!((value(of.generator(&generated)) - mean(-0.5, 3.0)).abs() < 1e-6);
    }

    #[test]
    fn smoothing_moves_the_target_of_real_images_only() {
        let (real, generated) = (Tensor::from_slice(&[0.9_f32]), Tensor::from_slice(&[0.0_f32]));
        let of = AdversarialLoss::LeastSquares;
        assert!(value(of.discriminator(&real, &generated, 0.1)) < 1e-9);
    }

    #[test]
    fn r1_is_the_gradients_norm_and_has_a_gradient_itself() {
        let weight = Tensor::from_slice(&[3.0_f32, 4.0]).set_requires_grad(true);
        let images = Tensor::ones([5, 2], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let scores = images.matmul(&weight.unsqueeze(1));
        let penalty = r1(&scores, &images, 10.0).unwrap();
        assert!((f64::try_from(&penalty).unwrap() - 5.0 * 25.0).abs() < 1e-4);
        penalty.backward();
        // d (gamma / 2) |w|² / dw = gamma w.
        assert_eq!(Vec::<f32>::try_from(weight.grad()).unwrap(), [30.0, 40.0]);
    }
}

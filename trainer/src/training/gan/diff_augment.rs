//! Differentiable augmentation (Zhao et al. 2020, arXiv 2006.10738): real and generated images are changed alike before
//! the discriminator sees them, and gradients pass through to the generator. With a few hundred images it keeps the
//! discriminator from learning them by heart.
//!
//! Random numbers come from libtorch's generator, which every training step seeds anew. Images are `[N,C,H,W]` in
//! [-1, 1].

use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

/// Share of the side that an image is shifted by at most, both ways.
const SHIFT: f64 = 1.0 / 8.0;
/// Side of the square that is cut out, as a share of the image's.
const CUTOUT: f64 = 0.5;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Brightness and contrast, and saturation of images with three channels.
    Color,
    /// A shift by up to an eighth, black from outside.
    Translation,
    /// A grey square of half the side.
    Cutout,
}

/// Applies the changes in the authors' order of listing.
///
/// # Errors
/// libtorch's own.
pub fn apply(images: &Tensor, changes: &[Change]) -> Result<Tensor, TchError> {
    changes
        .iter()
        .try_fold(images.shallow_clone(), |images, change| match change {
            Change::Color => color(&images),
            Change::Translation => translation(&images),
            Change::Cutout => cutout(&images),
        })
}

/// Uniform numbers in [0, 1), `[N,1,1,1]`.
fn uniform(images: &Tensor) -> Result<Tensor, TchError> {
    Tensor::f_rand([images.size()[0], 1, 1, 1], (Kind::Float, images.device()))
}

fn color(images: &Tensor) -> Result<Tensor, TchError> {
    let mut x = images.f_add(&uniform(images)?.f_add_scalar(-0.5)?)?;
    if images.size()[1] > 1 {
        let mean = x.f_mean_dim([1].as_slice(), true, Kind::Float)?;
        x = x
            .f_sub(&mean)?
            .f_mul(&uniform(images)?.f_mul_scalar(2.0)?)?
            .f_add(&mean)?;
    }
    let mean = x.f_mean_dim([1, 2, 3].as_slice(), true, Kind::Float)?;
    x.f_sub(&mean)?
        .f_mul(&uniform(images)?.f_add_scalar(0.5)?)?
        .f_add(&mean)
}

/// Whole numbers in [low, high], `[N]`.
fn integers(images: &Tensor, low: i64, high: i64) -> Result<Tensor, TchError> {
    Tensor::f_randint_low(low, high + 1, [images.size()[0]], (Kind::Int64, images.device()))
}

fn translation(images: &Tensor) -> Result<Tensor, TchError> {
    let (count, _, height, width) = images.size4()?;
    let reach = |side: i64| (side as f64 * SHIFT + 0.5) as i64;
    let shift = |side: i64| integers(images, -reach(side), reach(side));
    // One black pixel all around, and every index outside of the image reads it.
    let padded = images.f_pad([1, 1, 1, 1], "constant", -1.0)?;
    let line = |side: i64, shift: &Tensor| {
        Tensor::f_arange(side, (Kind::Int64, images.device()))?
            .f_unsqueeze(0)?
            .f_add(&shift.f_unsqueeze(1)?)?
            .f_add_scalar(1)?
            .f_clamp(0, side + 1)
    };
    let rows = line(height, &shift(height)?)?.f_reshape([count, height, 1])?;
    let columns = line(width, &shift(width)?)?.f_reshape([count, 1, width])?;
    let which = Tensor::f_arange(count, (Kind::Int64, images.device()))?.f_reshape([count, 1, 1])?;
    let last = padded.f_permute([0, 2, 3, 1])?;
    last.f_index(&[Some(&which), Some(&rows), Some(&columns)])?
        .f_permute([0, 3, 1, 2])
}

fn cutout(images: &Tensor) -> Result<Tensor, TchError> {
    let (_, _, height, width) = images.size4()?;
    let inside = |side: i64| -> Result<Tensor, TchError> {
        let length = (side as f64 * CUTOUT + 0.5) as i64;
        // As in the authors' code, so far that half of the square may lie outside on either side.
        let centre = integers(images, 0, side - length % 2)?;
        let distance = Tensor::f_arange(side, (Kind::Int64, images.device()))?
            .f_unsqueeze(0)?
            .f_sub(&centre.f_unsqueeze(1)?)?;
        distance
            .f_ge(-(length / 2))?
            .f_logical_and(&distance.f_lt(length - length / 2)?)
    };
    let rows = inside(height)?.f_unsqueeze(2)?;
    let columns = inside(width)?.f_unsqueeze(1)?;
    let kept = rows.f_logical_and(&columns)?.f_logical_not()?.f_unsqueeze(1)?;
    images.f_mul(&kept.f_to_kind(images.kind())?)
}

#[cfg(test)]
mod tests {
    use tch::IndexOp;

    use super::*;
    use crate::seed::testing::seeded;

    /// To be called by whoever holds the generator.
    fn images() -> Tensor {
        Tensor::rand([6, 1, 16, 16], (Kind::Float, tch::Device::Cpu)) * 2.0 - 1.0
    }

    #[test]
    fn a_shift_moves_pixels_and_fills_with_black() {
        let _generator = seeded(1);
        let ones = Tensor::ones([64, 1, 16, 16], (Kind::Float, tch::Device::Cpu));
        let moved = apply(&ones, &[Change::Translation]).unwrap();
        let black = moved.eq(-1.0).to_kind(Kind::Float).mean(Kind::Float);
        let share = f64::try_from(&black).unwrap();
        // Up to 2 of 16 pixels each way: on average 1.2 of 16 on both axes.
        assert!((0.08..0.22).contains(&share), "{share}");
        let first: Vec<f32> = Vec::try_from(moved.i(0).flatten(0, -1)).unwrap();
        assert!(first.iter().all(|value| [-1.0, 1.0].contains(value)));
    }

    #[test]
    fn a_cutout_is_at_most_a_quarter() {
        let _generator = seeded(2);
        let ones = Tensor::ones([64, 1, 16, 16], (Kind::Float, tch::Device::Cpu));
        let cut = apply(&ones, &[Change::Cutout]).unwrap();
        let zeros = cut
            .eq(0.0)
            .to_kind(Kind::Float)
            .mean_dim([1, 2, 3].as_slice(), false, Kind::Float);
        let most = f64::try_from(&zeros.max()).unwrap();
        assert!((most - 0.25).abs() < 1e-6, "{most}");
    }

    #[test]
    fn gradients_pass_through_and_the_same_seed_changes_alike() {
        let _generator = seeded(4);
        let all = [Change::Color, Change::Translation, Change::Cutout];
        let x = images().set_requires_grad(true);
        tch::manual_seed(9);
        let once = apply(&x, &all).unwrap();
        tch::manual_seed(9);
        let again = apply(&x, &all).unwrap();
        assert!(once.equal(&again));
        once.sum(Kind::Float).backward();
        assert!(f64::try_from(&x.grad().abs().sum(Kind::Float)).unwrap() > 0.0);
    }
}

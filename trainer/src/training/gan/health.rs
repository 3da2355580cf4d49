//! Whether a training is still one: figures that are finite, and images that differ.

use tch::{Kind, TchError, Tensor};

use super::game::Figures;

/// Below this share of the real images' distance from each other, generated images count as the same one.
const COLLAPSED: f64 = 0.25;
/// Looks in a row at which they must be the same before training is called collapsed.
const LOOKS: u32 = 2;
/// Share of the steps within which a generator may still give the same image whatever it is given.
const BEGINNING: f64 = 0.1;
/// Images (nearly) of one grey value: the deviation over all pixels, of [-1, 1].
const FLAT: f64 = 1e-3;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing to say.
    Well,
    /// The generator gives (nearly) the same image whatever it is given: mean distance of its images over that of real
    /// ones.
    Collapsed {
        /// That quotient.
        ratio: f64,
    },
}

/// Looks at a training from time to time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    collapsed_looks: u32,
}

impl Health {
    /// Judges the [`diversity`] of samples when so many steps of all are done.
    pub fn look(&mut self, ratio: f64, step: u64, steps: u64) -> Verdict {
        if ratio >= COLLAPSED || (step as f64) < BEGINNING * steps as f64 {
            self.collapsed_looks = 0;
            return Verdict::Well;
        }
        self.collapsed_looks += 1;
        match self.collapsed_looks >= LOOKS {
            true => Verdict::Collapsed { ratio },
            false => Verdict::Well,
        }
    }
}

/// How much samples differ from each other, as a share of how much real images do; both `[n,C,H,W]`.
///
/// # Errors
/// libtorch's own.
pub fn diversity(samples: &Tensor, references: &Tensor) -> Result<f64, TchError> {
    Ok(mean_distance(samples)? / mean_distance(references)?.max(f64::MIN_POSITIVE))
}

/// The [`diversity`] of the class where it is least; the samples are of the classes in turn. Over all classes together, two
/// that differ would hide that all images of each are the same.
///
/// # Errors
/// libtorch's own.
pub fn least_diversity(samples: &Tensor, references: &[Tensor]) -> Result<f64, TchError> {
    let classes = references.len() as i64;
    let of_class = |(class, real): (i64, &Tensor)| diversity(&samples.f_slice(0, class, None, classes)?, real);
    let mut ratios = (0..).zip(references).map(of_class);
    ratios.try_fold(f64::INFINITY, |least, ratio| Ok(least.min(ratio?)))
}

/// The first figure that is not finite.
#[must_use]
pub fn not_finite(figures: &Figures) -> Option<(&'static str, f64)> {
    figures.iter().copied().find(|(_, value)| !value.is_finite())
}

/// Mean distance (root of the mean square over pixels) of all pairs of images `[n,C,H,W]`; 0 for fewer than two.
///
/// # Errors
/// libtorch's own.
pub fn mean_distance(images: &Tensor) -> Result<f64, TchError> {
    let count = images.size()[0];
    if count < 2 {
        return Ok(0.0);
    }
    let flat = images.f_to_kind(Kind::Float)?.f_flatten(1, -1)?;
    let pixels = flat.size()[1] as f64;
    let mean = f64::try_from(flat.f_pdist(2.0)?.f_mean(Kind::Float)?)?;
    Ok(mean / pixels.sqrt())
}

/// Whether these images hold nothing to learn.
///
/// # Errors
/// libtorch's own.
pub fn is_flat(images: &Tensor) -> Result<bool, TchError> {
    let deviation = images.f_to_kind(Kind::Float)?.f_std(false)?;
    Ok(f64::try_from(deviation)? < FLAT)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::seed::testing::seeded;

    fn images(spread: f64) -> Tensor {
        let _generator = seeded(3);
        let one = Tensor::randn([1, 1, 8, 8], (Kind::Float, Device::Cpu));
        one + spread * Tensor::randn([32, 1, 8, 8], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn the_same_image_again_and_again_is_a_collapse_at_the_second_look() {
        let (real, same) = (images(0.5), images(0.01));
        let (mut health, same) = (Health::default(), diversity(&same, &real).unwrap());
        assert_eq!(health.look(same, 50, 1000), Verdict::Well);
        assert_eq!(health.look(same, 500, 1000), Verdict::Well);
        let verdict = health.look(same, 600, 1000);
        assert!(
            matches!(verdict, Verdict::Collapsed { ratio } if ratio < 0.05),
            "{verdict:?}"
        );
        assert_eq!(
            health.look(diversity(&images(0.3), &real).unwrap(), 700, 1000),
            Verdict::Well
        );
        assert_eq!(health.look(same, 800, 1000), Verdict::Well);
    }

    #[test]
    fn two_images_for_two_classes_are_no_diversity() {
        let (real, two) = (images(0.5), images(0.5).narrow(0, 0, 2));
        let samples = two.repeat([16, 1, 1, 1]) + 0.01 * (images(0.5) - images(0.0));
        assert!(diversity(&samples, &real).unwrap() > COLLAPSED);
        let of_classes = [real.narrow(0, 0, 16), real.narrow(0, 16, 16)];
        assert!(least_diversity(&samples, &of_classes).unwrap() < 0.05);
        assert!(least_diversity(&real, &of_classes).unwrap() > 0.5);
    }

    #[test]
    fn distances_are_per_pixel() {
        let pair = Tensor::stack(
            &[
                Tensor::zeros([1, 4, 4], (Kind::Float, Device::Cpu)),
                Tensor::full([1, 4, 4], 0.5, (Kind::Float, Device::Cpu)),
            ],
            0,
        );
        assert!((mean_distance(&pair).unwrap() - 0.5).abs() < 1e-6);
        assert!(is_flat(&pair.narrow(0, 0, 1)).unwrap() && !is_flat(&pair).unwrap());
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let figures = vec![("discriminator", 0.3), ("generator", f64::NAN)];
        assert_eq!(not_finite(&figures).unwrap().0, "generator");
        assert!(not_finite(&vec![("generator", 1.0)]).is_none());
    }
}

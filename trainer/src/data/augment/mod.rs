//! Augmentation: what training does to an image before `PreprocessSpec::apply`.
//!
//! All geometry is one affine resampling ([`geometry`]), all grey changes one pass ([`grey`]). The draw of an image
//! follows from its random numbers alone.

pub mod geometry;
pub mod grey;

use imaging::grey::{GreyImage, Pixels};
use imaging::preprocess::{GreyRange, PreprocessSpec};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

use crate::data::expansion::Transform;
use crate::data::filter::blur;
use crate::recipes::AugmentSection;
use geometry::Warp;
use grey::Tone;

/// Working images keep at least this many pixels for each pixel of the network's input; larger ones are reduced.
const PIXELS_PER_INPUT_PIXEL: usize = 2;
/// Grey steps of a working image: 12 bits, as detectors have.
const STEPS: f32 = 4095.0;
const BITS: u16 = 12;

/// Augments images for one network input.
#[derive(Debug, Clone)]
pub struct Augmenter {
    section: AugmentSection,
    spec: PreprocessSpec,
}

impl Augmenter {
    /// For the network that `spec` prepares images for.
    #[must_use]
    pub fn new(section: &AugmentSection, spec: &PreprocessSpec) -> Self {
        Self {
            section: section.clone(),
            spec: spec.clone(),
        }
    }

    /// The preprocessing of augmented images: their grey values are display values already.
    #[must_use]
    pub fn spec(&self) -> PreprocessSpec {
        PreprocessSpec {
            grey: GreyRange::Display,
            ..self.spec.clone()
        }
    }

    /// What is kept of a decoded image between epochs: its display values, reduced by a whole factor where it is much
    /// larger than the network's input.
    #[must_use]
    pub fn working_image(&self, image: GreyImage) -> GreyImage {
        let input = self.spec.size.iter().copied().max().unwrap_or(1) as usize;
        let short = image.height().min(image.width());
        let factor = (short / (PIXELS_PER_INPUT_PIXEL * input).max(1)).max(1);
        let plain = matches!(image.pixels, Pixels::U8(_)) && self.spec.grey == GreyRange::Display;
        if factor == 1 && plain {
            return image;
        }
        stored(&geometry::reduce(&self.unit(&image), factor))
    }

    /// A working image under a transform of the 17-fold expansion.
    #[must_use]
    pub fn expanded(&self, image: &GreyImage, transform: Transform) -> GreyImage {
        stored(&transform.apply(&image.display()))
    }

    /// Augments a working image.
    #[must_use]
    pub fn augment(&self, image: &GreyImage, rng: &mut ChaCha8Rng) -> GreyImage {
        let source = image.display();
        let (height, width) = source.dim();
        let warp = Warp::draw(&self.section, height, width, rng);
        let tone = Tone::draw(&self.section, height, width, rng);
        let mut picture = if warp.is_identity() {
            source
        } else {
            warp.apply(&source)
        };
        let scale = height.min(width) as f32 / self.spec.size[0].max(1) as f32;
        if let Some(values) = picture.as_slice_mut() {
            blur(values, width, height, tone.blur_sigma * scale);
        }
        tone.apply(&mut picture, rng);
        stored(&picture)
    }

    fn unit(&self, image: &GreyImage) -> Array2<f32> {
        match self.spec.grey {
            GreyRange::Window { center, width } => image.windowed(center, width),
            GreyRange::Display => image.display(),
        }
    }
}

fn stored(unit: &Array2<f32>) -> GreyImage {
    let pixels = unit.mapv(|value| (value.clamp(0.0, 1.0) * STEPS + 0.5) as u16);
    GreyImage::new(Pixels::U16(pixels), BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn picture() -> GreyImage {
        let values = Array2::from_shape_fn((64, 48), |(y, x)| ((y * 3 + x * 2) % 256) as u8);
        GreyImage::new(Pixels::U8(values), 8)
    }

    #[test]
    fn no_augmentation_changes_nothing_beyond_the_grey_step() {
        let augmenter = Augmenter::new(&AugmentSection::default(), &PreprocessSpec::grey(32));
        let image = picture();
        let same = augmenter.augment(&image, &mut ChaCha8Rng::seed_from_u64(1));
        let difference = imaging::grey::greatest_difference(&image.display(), &same.display());
        assert!(difference < 1.0 / STEPS, "{difference}");
    }

    #[test]
    fn the_draw_follows_from_the_random_numbers() {
        let section = AugmentSection {
            rotate_degrees: 20.0,
            shift: 0.1,
            noise: 0.05,
            erase: 1.0,
            erase_area: 0.2,
            blur: 1.0,
            blur_sigma: 2.0,
            ..AugmentSection::default()
        };
        let augmenter = Augmenter::new(&section, &PreprocessSpec::grey(32));
        let drawn = |seed| augmenter.augment(&picture(), &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(drawn(4), drawn(4));
        assert_ne!(drawn(4), drawn(5));
    }

    #[test]
    fn blurring_is_that_of_the_filter_in_pixels_of_the_input() {
        let section = AugmentSection {
            blur: 1.0,
            blur_sigma: 3.0,
            ..AugmentSection::default()
        };
        let image = GreyImage::new(
            Pixels::U8(Array2::from_shape_fn(
                (64, 48),
                |(y, x)| if (y + x) % 2 == 0 { 220 } else { 30 },
            )),
            8,
        );
        let augmenter = Augmenter::new(&section, &PreprocessSpec::grey(32));
        for seed in 0..8 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let _ = Warp::draw(&section, 64, 48, &mut rng);
            let sigma = Tone::draw(&section, 64, 48, &mut rng).blur_sigma;
            assert!(sigma > 0.0 && sigma <= 3.0);
            let mut expected = image.display();
            // The picture's shorter side is 1.5 times that of the input.
            blur(expected.as_slice_mut().unwrap(), 48, 64, 1.5 * sigma);
            let found = augmenter
                .augment(&image, &mut ChaCha8Rng::seed_from_u64(seed))
                .display();
            assert!(imaging::grey::greatest_difference(&found, &expected) < 1.0 / STEPS);
            assert!(sigma < 0.5 || found.std(0.0) < 0.5 * image.display().std(0.0));
        }
    }

    #[test]
    fn working_images_are_reduced_and_a_window_is_applied_once() {
        let large = GreyImage::new(Pixels::U8(Array2::from_elem((300, 280), 128)), 8);
        let augmenter = Augmenter::new(&AugmentSection::default(), &PreprocessSpec::grey(32));
        let working = augmenter.working_image(large);
        assert_eq!((working.height(), working.width()), (75, 70));

        let window = GreyRange::Window {
            center: 0.0,
            width: 401.0,
        };
        let spec = PreprocessSpec {
            grey: window,
            ..PreprocessSpec::grey(32)
        };
        let scan = GreyImage::new(Pixels::I16(Array2::from_elem((40, 40), 100)), 16);
        let expected = spec.apply(&scan).unwrap();
        let augmenter = Augmenter::new(&AugmentSection::default(), &spec);
        let working = augmenter.working_image(scan);
        let augmented = augmenter.augment(&working, &mut ChaCha8Rng::seed_from_u64(1));
        let tensor = augmenter.spec().apply(&augmented).unwrap();
        assert!((tensor[[0, 16, 16]] - expected[[0, 16, 16]]).abs() < 2e-3);
    }
}

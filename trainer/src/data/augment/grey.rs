//! Brightness, contrast, noise and erasing in one pass over the pixels.

use ndarray::{Array2, s};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::data::filter::normal;
use crate::recipes::AugmentSection;

/// The smallest rectangle that is erased, as a share of the image.
const LEAST_ERASED: f64 = 0.02;

/// Changes of the grey values of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Tone {
    /// Added to the grey value (0..1).
    pub brightness: f32,
    /// Factor about mid-grey.
    pub contrast: f32,
    /// Standard deviation of the noise.
    pub noise: f32,
    /// Standard deviation of the blur in pixels of the network's input; 0 for none.
    pub blur_sigma: f32,
    /// Top, left, height, width of the erased rectangle.
    pub erased: Option<[usize; 4]>,
}

impl Tone {
    /// Draws the changes for an image of `height` x `width`.
    pub fn draw(section: &AugmentSection, height: usize, width: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut unit = || rng.random::<f64>();
        let brightness = section.brightness * (2.0 * unit() - 1.0);
        let contrast = 1.0 + section.contrast * (2.0 * unit() - 1.0);
        let noise = section.noise * unit();
        let (blurred, sigma) = (unit() < section.blur, section.blur_sigma * unit());
        let erased = unit() < section.erase;
        let (area, aspect, top, left) = (unit(), unit(), unit(), unit());
        let rectangle = || {
            let area = LEAST_ERASED + (section.erase_area - LEAST_ERASED).max(0.0) * area;
            let stretch = 0.5 + 1.5 * aspect;
            let side = |share: f64, full: usize| ((share.sqrt() * full as f64).round() as usize).clamp(1, full);
            let (h, w) = (side(area * stretch, height), side(area / stretch, width));
            [
                (top * (height - h + 1) as f64) as usize,
                (left * (width - w + 1) as f64) as usize,
                h,
                w,
            ]
        };
        Self {
            brightness: brightness as f32,
            contrast: contrast as f32,
            noise: noise as f32,
            blur_sigma: if blurred { sigma as f32 } else { 0.0 },
            erased: erased.then(rectangle),
        }
    }

    /// Changes the picture (grey 0..1) in place; blurring is done before.
    pub fn apply(&self, picture: &mut Array2<f32>, rng: &mut ChaCha8Rng) {
        if self.brightness != 0.0 || self.contrast != 1.0 {
            let lift = 0.5 - 0.5 * self.contrast + self.brightness;
            picture.mapv_inplace(|value| (value * self.contrast + lift).clamp(0.0, 1.0));
        }
        if self.noise > 0.0 {
            picture.mapv_inplace(|value| (value + self.noise * normal(rng)).clamp(0.0, 1.0));
        }
        if let Some([top, left, height, width]) = self.erased {
            let mean = picture.mean().unwrap_or(0.5);
            picture.slice_mut(s![top..top + height, left..left + width]).fill(mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn calm() -> Tone {
        Tone {
            brightness: 0.0,
            contrast: 1.0,
            noise: 0.0,
            blur_sigma: 0.0,
            erased: None,
        }
    }

    #[test]
    fn each_change_does_what_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let grey = || Array2::from_elem((40, 40), 0.75_f32);
        let mut applied = |tone: Tone| {
            let mut picture = grey();
            tone.apply(&mut picture, &mut rng);
            picture
        };
        assert_eq!(applied(calm()), grey());
        assert!(
            (applied(Tone {
                brightness: -0.25,
                ..calm()
            })[[3, 3]]
                - 0.5)
                .abs()
                < 1e-6
        );
        assert!(
            (applied(Tone {
                contrast: 0.5,
                ..calm()
            })[[3, 3]]
                - 0.625)
                .abs()
                < 1e-6
        );
        let noisy = applied(Tone { noise: 0.05, ..calm() });
        assert!((noisy.std(0.0) - 0.05).abs() < 0.01, "{}", noisy.std(0.0));
    }

    #[test]
    fn an_erased_rectangle_takes_the_mean_and_nothing_else_changes() {
        let before = Array2::from_shape_fn((30, 40), |(y, x)| (y * 40 + x) as f32 / 1200.0);
        let mut after = before.clone();
        let tone = Tone {
            erased: Some([5, 6, 7, 8]),
            ..calm()
        };
        tone.apply(&mut after, &mut ChaCha8Rng::seed_from_u64(2));
        let mean = before.mean().unwrap();
        for ((y, x), value) in after.indexed_iter() {
            let inside = (5..12).contains(&y) && (6..14).contains(&x);
            assert_eq!(*value, if inside { mean } else { before[[y, x]] }, "{y} {x}");
        }
    }

    #[test]
    fn an_erased_rectangle_stays_inside_and_within_its_area() {
        let section = AugmentSection {
            erase: 1.0,
            erase_area: 0.15,
            ..AugmentSection::default()
        };
        for seed in 0..200 {
            let tone = Tone::draw(&section, 50, 70, &mut ChaCha8Rng::seed_from_u64(seed));
            let [top, left, height, width] = tone.erased.unwrap();
            assert!(top + height <= 50 && left + width <= 70);
            let area = (height * width) as f64 / 3500.0;
            assert!((0.01..0.18).contains(&area), "{area}");
        }
    }
}

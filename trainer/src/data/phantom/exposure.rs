//! From attenuation to a picture: tone curve, focal blur, quantum noise, heel effect, marker.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::canvas::Film;
use crate::data::filter::{blur, normal};

/// The X-ray machine and its settings for one image.
#[derive(Debug, Clone)]
pub struct Exposure {
    /// Hardness of the beam: how soon dense tissue saturates.
    pub hardness: f32,
    /// Attenuation shown black and white.
    pub window: [f32; 2],
    /// Power of the tone curve.
    pub gamma: f32,
    /// Standard deviation of the noise, grey 0..1, at middle grey.
    pub noise: f32,
    /// Standard deviation of the blur in pixels of a 256-pixel film.
    pub blur: f32,
    /// Fall of brightness from left to right and from top to bottom.
    pub heel: [f32; 2],
    /// The side marker.
    pub marker: Option<Marker>,
}

/// The letter of a side marker and where it lies, in parts of the film.
#[derive(Debug, Clone, Copy)]
pub struct Marker {
    /// Whether it is an R beside the patient's right, else an L beside the left.
    pub right: bool,
    /// Top left corner.
    pub at: [f32; 2],
}

impl Exposure {
    /// Draws the settings. `hard` is a second kind of machine: a harder beam, less noise.
    pub fn draw(rng: &mut ChaCha8Rng, hard: bool) -> Self {
        let about =
            |rng: &mut ChaCha8Rng, middle: f32, spread: f32| middle + spread * (rng.random::<f32>() * 2.0 - 1.0);
        let right = rng.random::<bool>();
        let at = [
            if right {
                about(rng, 0.06, 0.03)
            } else {
                about(rng, 0.88, 0.03)
            },
            about(rng, 0.10, 0.05),
        ];
        let shown = rng.random::<f32>() < 0.6;
        Self {
            hardness: about(rng, if hard { 1.05 } else { 1.35 }, 0.15),
            window: [about(rng, 0.06, 0.04), about(rng, 1.50, 0.12)],
            gamma: about(rng, 1.0, 0.14),
            noise: about(rng, if hard { 0.010 } else { 0.016 }, 0.005),
            blur: about(rng, 0.65, 0.20),
            heel: [about(rng, 0.0, 0.03), about(rng, 0.0, 0.05)],
            marker: shown.then_some(Marker { right, at }),
        }
    }

    /// The picture, 0 (black) to 1 (white), row by row.
    pub fn expose(&self, film: &Film, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let size = film.size;
        let mut picture = self.tone(film);
        blur(&mut picture, size, size, self.blur * size as f32 / 256.0);
        if let Some(marker) = &self.marker {
            marker.draw(&mut picture, size);
        }
        self.add_noise(&mut picture, size, rng);
        picture
    }

    fn tone(&self, film: &Film) -> Vec<f32> {
        let curve = ToneTable::new(self);
        film.values.iter().map(|value| curve.at(*value)).collect()
    }

    fn add_noise(&self, picture: &mut [f32], size: usize, rng: &mut ChaCha8Rng) {
        let step = 2.0 / size as f32;
        for (y, row) in picture.chunks_exact_mut(size).enumerate() {
            let across = 1.0 + self.heel[1] * (y as f32 * step - 1.0);
            for (x, value) in row.iter_mut().enumerate() {
                let heel = across + self.heel[0] * (x as f32 * step - 1.0);
                let sigma = self.noise * (0.45 + 1.1 * *value);
                *value = (*value * heel + sigma * normal(rng)).clamp(0.0, 1.0);
            }
        }
    }
}

/// The tone curve as a table over attenuation.
struct ToneTable(Vec<f32>);

impl ToneTable {
    const STEPS: f32 = 512.0;
    const TOP: f32 = 2.5;

    fn new(exposure: &Exposure) -> Self {
        let density = |a: f32| 1.0 - (-exposure.hardness * a).exp();
        let [black, white] = exposure.window.map(density);
        let entry = |i: usize| {
            let a = i as f32 / Self::STEPS * Self::TOP;
            let t = ((density(a) - black) / (white - black)).clamp(0.0, 1.0);
            let t = t.powf(exposure.gamma);
            // A soft shoulder keeps bones visible where the window ends.
            0.015 + 0.945 * (t * 0.72 + 0.28 * t * t * (3.0 - 2.0 * t))
        };
        Self((0..=Self::STEPS as usize).map(entry).collect())
    }

    fn at(&self, attenuation: f32) -> f32 {
        let place = (attenuation / Self::TOP * Self::STEPS).clamp(0.0, Self::STEPS - 1.0);
        let i = place as usize;
        self.0[i] + (place - i as f32) * (self.0[i + 1] - self.0[i])
    }
}

const LETTER_R: [u8; 7] = [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001];
const LETTER_L: [u8; 7] = [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111];

impl Marker {
    fn draw(&self, picture: &mut [f32], size: usize) {
        let letter = if self.right { LETTER_R } else { LETTER_L };
        let dot = (size as f32 / 150.0).max(1.0);
        let corner = self.at.map(|v| v * size as f32);
        for y in 0..(7.0 * dot).ceil() as usize {
            for x in 0..(5.0 * dot).ceil() as usize {
                let (column, row) = (((x as f32 / dot) as usize).min(4), ((y as f32 / dot) as usize).min(6));
                let (px, py) = (corner[0] as usize + x, corner[1] as usize + y);
                if letter[row] >> (4 - column) & 1 == 1 && px < size && py < size {
                    picture[py * size + px] = 0.97;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn denser_is_brighter() {
        let exposure = Exposure::draw(&mut ChaCha8Rng::seed_from_u64(2), false);
        let curve = ToneTable::new(&exposure);
        assert!(curve.at(0.0) < 0.05 && curve.at(0.3) < curve.at(0.6) && curve.at(0.6) < curve.at(1.1));
        assert!(curve.at(9.0) <= 1.0);
    }
}

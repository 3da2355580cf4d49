//! Whether two X-rays are the same image: the correlation of small, locally normalised thumbnails.
//!
//! All frontal chest X-rays look alike at a small size, so a hash of coarse brightness (average, difference or DCT
//! hash) calls many patients duplicates. Normalising every neighbourhood to mean 0 and deviation 1 removes what all
//! share and exposure changes, and leaves the ribs and vessels of this one.

use imaging::grey::GreyImage;
use imaging::preprocess::PreprocessSpec;

const SIDE: usize = 40;
/// Half of the window of the local normalisation.
const REACH: usize = 4;
/// Deviation (grey 0..1) below which a neighbourhood has nothing to show.
const FLAT: f32 = 0.02;

/// A small picture of an image, with mean 0 and length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnail(Vec<f32>);

impl Thumbnail {
    /// `None` for an image too small to have one.
    #[must_use]
    pub fn of(image: &GreyImage) -> Option<Self> {
        let spec = PreprocessSpec {
            mean: vec![0.0],
            std: vec![1.0],
            ..PreprocessSpec::grey(SIDE as u32)
        };
        let tensor = spec.apply(image).ok()?;
        let values: Vec<f32> = tensor.iter().copied().collect();
        let mut normal: Vec<f32> = (0..SIDE * SIDE)
            .map(|i| locally_normal(&values, i / SIDE, i % SIDE))
            .collect();
        let mean = normal.iter().sum::<f32>() / normal.len() as f32;
        normal.iter_mut().for_each(|value| *value -= mean);
        let length = normal.iter().map(|value| value * value).sum::<f32>().sqrt();
        // A picture without any structure resembles nothing.
        normal.iter_mut().for_each(|value| *value /= length.max(1e-3));
        Some(Self(normal))
    }

    /// 1 for the same picture, about 0 for unrelated ones.
    #[must_use]
    pub fn correlation(&self, other: &Self) -> f32 {
        const LANES: usize = 16;
        let mut sums = [0.0_f32; LANES];
        for (a, b) in self.0.chunks_exact(LANES).zip(other.0.chunks_exact(LANES)) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        sums.iter().sum()
    }
}

fn locally_normal(values: &[f32], y: usize, x: usize) -> f32 {
    let range = |centre: usize| centre.saturating_sub(REACH)..(centre + REACH + 1).min(SIDE);
    let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
    for row in range(y) {
        for column in range(x) {
            let value = values[row * SIDE + column];
            sum += value;
            squares += value * value;
            n += 1.0;
        }
    }
    let mean = sum / n;
    let deviation = (squares / n - mean * mean).max(0.0).sqrt();
    (values[y * SIDE + x] - mean) / (deviation + FLAT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::phantom::{Request, render};
    use ndarray::s;

    fn phantom(patient: u64) -> ndarray::Array2<f32> {
        render(&Request {
            seed: 2,
            patient,
            image: 0,
            size: 128,
            lesion: None,
        })
        .picture
    }

    fn thumbnail(picture: &ndarray::Array2<f32>) -> Thumbnail {
        Thumbnail::of(&GreyImage::from_unit(picture.view())).unwrap()
    }

    #[test]
    fn exposure_does_not_hide_a_copy_and_patients_differ() {
        let picture = phantom(1);
        let brighter = picture.mapv(|v| (0.1 + 0.8 * v).powf(0.9));
        assert!(thumbnail(&picture).correlation(&thumbnail(&brighter)) > 0.97);
        let trimmed = picture.slice(s![1..127, 1..127]).to_owned();
        assert!(thumbnail(&picture).correlation(&thumbnail(&trimmed)) > 0.90);
        for patient in 2..12 {
            let other = thumbnail(&phantom(patient)).correlation(&thumbnail(&picture));
            assert!(other < 0.85, "patient {patient}: {other}");
        }
    }

    #[test]
    fn a_flat_picture_resembles_nothing() {
        let flat = thumbnail(&ndarray::Array2::from_elem((64, 64), 0.3));
        assert!(flat.correlation(&flat).abs() < 0.5 && thumbnail(&phantom(3)).correlation(&flat).abs() < 0.2);
    }
}

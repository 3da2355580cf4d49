//! Whether an image is worth a network's opinion: size, shape, exposure, contrast, sharpness, frame.
//!
//! Everything is measured on what a viewer shows, reduced to a short side of 256 pixels, so that the limits hold for a
//! 256-pixel JPEG and for a 3000-pixel detector alike. The limits refuse what no one could read; they accept at least
//! 98 % of plausible chest radiographs (`tests/quality_rates.rs` prints the rates).

use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};

use crate::grey::GreyImage;
use crate::resample::display_picture;

/// Short side of the picture that is measured, in pixels.
const MEASURED_SIDE: usize = 256;
/// Grey values up to this one count as black.
const BLACK: u8 = 4;
/// Grey values from this one count as white.
const WHITE: u8 = 251;
/// Standard deviation of a row or column below which it is part of a frame, in grey steps.
const FRAME_DEVIATION: f32 = 2.0;
/// The same as a share of the picture's contrast, so that a faint picture is not all frame.
const FRAME_DEVIATION_OF_CONTRAST: f32 = 0.02;

/// What was measured; fractions and display values are 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// `[H,W]` of the image in pixels.
    pub size: [usize; 2],
    /// Mean display value inside the frame.
    pub exposure: f32,
    /// Share of black pixels (display value up to 4/255) inside the frame.
    pub black_fraction: f32,
    /// Share of white pixels (display value from 251/255) inside the frame.
    pub white_fraction: f32,
    /// 95th minus 5th percentile of the display values inside the frame.
    pub contrast: f32,
    /// Root mean square of the 4-neighbour Laplacian over the contrast: below 0.02 for a blurred image, 0.03 to 0.3 for
    /// chest radiographs, above 0.6 for noise.
    pub sharpness: f32,
    /// Share of the area in even rows and columns at the borders (letterbox, window of a photographed screen).
    pub frame_fraction: f32,
}

/// Why an image is refused. The codes are stable: they stand on the screen, in JSON and in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum QualityReason {
    /// A side is too short.
    TooSmall,
    /// The sides differ too much for a chest image.
    Elongated,
    /// Nearly everything is black.
    UnderExposed,
    /// Nearly everything is white.
    OverExposed,
    /// The grey values hardly differ.
    LowContrast,
    /// No detail.
    Blurred,
    /// Noise without structure.
    Noise,
    /// An even frame takes too much of the area.
    Framed,
}

impl QualityReason {
    /// Every reason, in the order in which they are reported.
    pub const ALL: [Self; 8] = [
        Self::TooSmall,
        Self::Elongated,
        Self::UnderExposed,
        Self::OverExposed,
        Self::LowContrast,
        Self::Blurred,
        Self::Noise,
        Self::Framed,
    ];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooSmall => "too-small",
            Self::Elongated => "elongated",
            Self::UnderExposed => "under-exposed",
            Self::OverExposed => "over-exposed",
            Self::LowContrast => "low-contrast",
            Self::Blurred => "blurred",
            Self::Noise => "noise",
            Self::Framed => "framed",
        }
    }

    /// What the person at the scanner reads.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TooSmall => "The image has too few pixels.",
            Self::Elongated => "The image is a strip, not a chest.",
            Self::UnderExposed => "The image is nearly black.",
            Self::OverExposed => "The image is nearly white.",
            Self::LowContrast => "The grey values hardly differ.",
            Self::Blurred => "The image is blurred.",
            Self::Noise => "The image is mostly noise.",
            Self::Framed => "A wide frame surrounds the image.",
        }
    }
}

impl std::fmt::Display for QualityReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.code())
    }
}

/// From where an image is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityLimits {
    /// Shortest side in pixels.
    pub minimum_side: usize,
    /// Longest over shortest side.
    pub maximum_aspect: f32,
    /// Under-exposed below this mean display value, or above `maximum_black_fraction`.
    pub minimum_exposure: f32,
    /// Over-exposed above this mean display value, or above `maximum_white_fraction`.
    pub maximum_exposure: f32,
    /// See `minimum_exposure`.
    pub maximum_black_fraction: f32,
    /// See `maximum_exposure`.
    pub maximum_white_fraction: f32,
    /// Lowest contrast.
    pub minimum_contrast: f32,
    /// Lowest sharpness.
    pub minimum_sharpness: f32,
    /// Highest sharpness; above it is noise.
    pub maximum_sharpness: f32,
    /// Largest share of an even frame.
    pub maximum_frame_fraction: f32,
}

impl Default for QualityLimits {
    fn default() -> Self {
        Self {
            minimum_side: 128,
            maximum_aspect: 3.0,
            minimum_exposure: 0.08,
            maximum_exposure: 0.92,
            maximum_black_fraction: 0.75,
            maximum_white_fraction: 0.60,
            minimum_contrast: 0.15,
            minimum_sharpness: 0.018,
            maximum_sharpness: 0.60,
            maximum_frame_fraction: 0.45,
        }
    }
}

impl Quality {
    /// What is wrong by these limits, in the order of [`QualityReason::ALL`]; empty for a good image.
    pub fn reasons(&self, limits: &QualityLimits) -> Vec<QualityReason> {
        let [short, long] = [self.size[0].min(self.size[1]), self.size[0].max(self.size[1])];
        let dark = self.exposure < limits.minimum_exposure || self.black_fraction > limits.maximum_black_fraction;
        let bright = self.exposure > limits.maximum_exposure || self.white_fraction > limits.maximum_white_fraction;
        let flat = self.contrast < limits.minimum_contrast;
        let wrong = |reason: &QualityReason| match reason {
            QualityReason::TooSmall => short < limits.minimum_side,
            QualityReason::Elongated => long as f32 > limits.maximum_aspect * short as f32,
            QualityReason::UnderExposed => dark,
            QualityReason::OverExposed => bright && !dark,
            // An image that is nearly black or white is flat for that reason, and too flat to judge its detail.
            QualityReason::LowContrast => flat && !dark && !bright,
            QualityReason::Blurred => !flat && self.sharpness < limits.minimum_sharpness,
            QualityReason::Noise => !flat && self.sharpness > limits.maximum_sharpness,
            QualityReason::Framed => self.frame_fraction > limits.maximum_frame_fraction,
        };
        QualityReason::ALL.into_iter().filter(wrong).collect()
    }
}

/// Measures an image. One of fewer than 8 pixels a side measures zero everywhere, which the limits refuse.
pub fn assess(image: &GreyImage) -> Quality {
    assess_by(image, image.pixels.shape())
}

/// As [`assess`], of an image of `size` `[H,W]` by a smaller picture of it ([`small_image`](crate::small_image)).
pub fn assess_by(image: &GreyImage, of: [usize; 2]) -> Quality {
    let size = image.pixels.shape();
    let mut quality = Quality {
        size: of,
        exposure: 0.0,
        black_fraction: 1.0,
        white_fraction: 0.0,
        contrast: 0.0,
        sharpness: 0.0,
        frame_fraction: 0.0,
    };
    let short = size[0].min(size[1]);
    if short < 8 {
        return quality;
    }
    // Never enlarged; a strip keeps its aspect up to a sixteenfold length.
    let scale = (MEASURED_SIDE as f64 / short as f64).min(1.0);
    let side = |length: usize| ((length as f64 * scale).round() as usize).clamp(8, 16 * MEASURED_SIDE);
    let Some(picture) = display_picture(image, [side(size[0]), side(size[1])]) else {
        return quality;
    };
    let inside = without_frame(&picture);
    quality.frame_fraction = 1.0 - inside.len() as f32 / picture.len() as f32;
    measure_histogram(inside, &mut quality);
    let contrast = quality.contrast.max(1.0 / 255.0);
    quality.sharpness = laplacian_rms(inside) / 255.0 / contrast;
    quality
}

/// The part inside even rows and columns at the borders; all of it if nothing is left.
fn without_frame(picture: &Array2<u8>) -> ArrayView2<'_, u8> {
    let histogram = histogram(picture.view());
    let contrast = percentile(&histogram, 0.95) - percentile(&histogram, 0.05);
    let deviation = FRAME_DEVIATION.min(FRAME_DEVIATION_OF_CONTRAST * contrast);
    let even = |line: ndarray::ArrayView1<u8>| {
        let count = line.len() as f32;
        let mean = line.iter().map(|&grey| f32::from(grey)).sum::<f32>() / count;
        let variance = line.iter().map(|&grey| (f32::from(grey) - mean).powi(2)).sum::<f32>() / count;
        variance < deviation * deviation
    };
    let (height, width) = picture.dim();
    let top = (0..height).take_while(|&y| even(picture.row(y))).count();
    let bottom = (top..height).rev().take_while(|&y| even(picture.row(y))).count();
    let rows = picture.slice(s![top..height - bottom, ..]);
    if rows.nrows() < 8 {
        return picture.view();
    }
    let left = (0..width).take_while(|&x| even(rows.column(x))).count();
    let right = (left..width).rev().take_while(|&x| even(rows.column(x))).count();
    if width - left - right < 8 {
        return picture.view();
    }
    rows.slice_move(s![.., left..width - right])
}

fn histogram(picture: ArrayView2<u8>) -> [u32; 256] {
    let mut histogram = [0; 256];
    for &grey in picture {
        histogram[usize::from(grey)] += 1;
    }
    histogram
}

fn measure_histogram(picture: ArrayView2<u8>, quality: &mut Quality) {
    let histogram = histogram(picture);
    let count = picture.len() as f32;
    let share = |range: std::ops::RangeInclusive<u8>| {
        range.map(|grey| histogram[usize::from(grey)]).sum::<u32>() as f32 / count
    };
    quality.black_fraction = share(0..=BLACK);
    quality.white_fraction = share(WHITE..=u8::MAX);
    let sum: f64 = histogram
        .iter()
        .zip(0_u32..)
        .map(|(&n, grey)| f64::from(n) * f64::from(grey))
        .sum();
    quality.exposure = (sum / f64::from(count) / 255.0) as f32;
    quality.contrast = (percentile(&histogram, 0.95) - percentile(&histogram, 0.05)) / 255.0;
}

/// The grey value below which `share` of the pixels lie.
fn percentile(histogram: &[u32; 256], share: f32) -> f32 {
    let wanted = share * histogram.iter().sum::<u32>() as f32;
    let mut seen = 0.0;
    for (grey, &count) in histogram.iter().enumerate() {
        seen += count as f32;
        if seen >= wanted {
            return grey as f32;
        }
    }
    255.0
}

/// Root mean square of `4 c - n - s - e - w`, in grey steps.
fn laplacian_rms(picture: ArrayView2<u8>) -> f32 {
    let (height, width) = picture.dim();
    if height < 3 || width < 3 {
        return 0.0;
    }
    let mut total = 0_u64;
    for y in 1..height - 1 {
        let rows = [y - 1, y, y + 1].map(|y| picture.row(y));
        let [Some(above), Some(row), Some(below)] = rows.map(|row| row.to_slice()) else {
            continue;
        };
        let sum: u64 = (1..width - 1)
            .map(|x| {
                let around = [row[x - 1], row[x + 1], above[x], below[x]].map(i32::from);
                let laplacian = 4 * i32::from(row[x]) - around.iter().sum::<i32>();
                u64::from((laplacian * laplacian) as u32)
            })
            .sum();
        total += sum;
    }
    let count = (height - 2) * (width - 2);
    (total as f64 / count as f64).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::grey::Pixels;

    /// Two dark lungs in a bright body with ribs and a little noise: enough structure for every measure.
    fn chest(size: usize) -> Array2<f32> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        Array2::from_shape_fn((size, size), |(y, x)| {
            let (v, u) = (y as f32 / size as f32, x as f32 / size as f32);
            let lung = |centre: f32| ((u - centre) / 0.15).powi(2) + ((v - 0.5) / 0.3).powi(2) < 1.0;
            let body = if lung(0.3) || lung(0.7) { 0.25 } else { 0.65 };
            let ribs = 0.06 * (v * 60.0 + (u - 0.5).abs() * 20.0).sin();
            body + ribs + random.random_range(-0.02..0.02)
        })
    }

    fn reasons(display: &Array2<f32>) -> Vec<QualityReason> {
        assess(&GreyImage::from_unit(display.view())).reasons(&QualityLimits::default())
    }

    #[test]
    fn a_plausible_chest_is_good_at_every_size() {
        for size in [128, 256, 700] {
            assert_eq!(reasons(&chest(size)), [], "{size}");
        }
    }

    #[test]
    fn exposure_and_contrast_are_told_apart() {
        let chest = chest(256);
        assert_eq!(reasons(&chest.mapv(|v| v * 0.05)), [QualityReason::UnderExposed]);
        assert_eq!(reasons(&chest.mapv(|v| 0.95 + v * 0.05)), [QualityReason::OverExposed]);
        assert_eq!(reasons(&chest.mapv(|v| 0.45 + v * 0.1)), [QualityReason::LowContrast]);
        assert_eq!(
            reasons(&Array2::from_elem((256, 256), 0.5)),
            [QualityReason::LowContrast]
        );
    }

    #[test]
    fn a_blurred_chest_is_blurred_and_noise_is_noise() {
        let chest = chest(256);
        // The same picture by way of 12 x 12 pixels.
        let small = display_picture(&GreyImage::from_unit(chest.view()), [12, 12]).expect("small");
        let blurred = display_picture(&GreyImage::new(Pixels::U8(small), 8), [256, 256]).expect("large");
        let quality = assess(&GreyImage::new(Pixels::U8(blurred), 8));
        assert_eq!(
            quality.reasons(&QualityLimits::default()),
            [QualityReason::Blurred],
            "{quality:?}"
        );
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let noise = Array2::from_shape_fn((256, 256), |_| random.random_range(0.0..1.0));
        assert_eq!(reasons(&noise), [QualityReason::Noise]);
    }

    #[test]
    fn size_shape_and_frame_are_seen() {
        assert_eq!(reasons(&chest(100)), [QualityReason::TooSmall]);
        let mut framed = Array2::zeros((512, 512));
        framed.slice_mut(s![128..384, 128..384]).assign(&chest(256));
        assert_eq!(reasons(&framed), [QualityReason::Framed]);
        let quality = assess(&GreyImage::from_unit(framed.view()));
        assert!((quality.frame_fraction - 0.75).abs() < 0.02, "{quality:?}");
        let strip = chest(600).slice(s![..160, ..]).to_owned();
        assert!(reasons(&strip).contains(&QualityReason::Elongated));
    }

    #[test]
    fn measures_do_not_depend_on_bit_depth() {
        let chest = chest(300);
        let sixteen = assess(&GreyImage::from_unit(chest.view()));
        let eight = chest.mapv(|v| (v * 255.0).round() as u8);
        let eight = assess(&GreyImage::new(Pixels::U8(eight), 8));
        assert!((sixteen.exposure - eight.exposure).abs() < 0.005);
        assert!((sixteen.contrast - eight.contrast).abs() < 0.01);
        assert!((sixteen.sharpness / eight.sharpness - 1.0).abs() < 0.1);
    }

    #[test]
    fn no_pixels_are_refused_without_a_panic() {
        for shape in [(0, 0), (1, 1), (3, 500)] {
            let quality = assess(&GreyImage::new(Pixels::U8(Array2::zeros(shape)), 8));
            assert!(
                quality
                    .reasons(&QualityLimits::default())
                    .contains(&QualityReason::TooSmall)
            );
        }
    }

    #[test]
    fn codes_are_stable() {
        let codes = QualityReason::ALL.map(QualityReason::code).join(" ");
        assert_eq!(
            codes,
            "too-small elongated under-exposed over-exposed low-contrast blurred noise framed"
        );
        for reason in QualityReason::ALL {
            assert_eq!(serde_json::to_string(&reason).expect("JSON"), format!("\"{reason}\""));
        }
    }
}

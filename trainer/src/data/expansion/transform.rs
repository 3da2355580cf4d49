//! The 17 transforms, in one table.

use std::fmt;
use std::str::FromStr;

use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::data::augment::geometry::Warp;
use crate::data::filter::{blur, normal};

/// What a transform does to a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    /// Mirrors left and right.
    Flip,
    /// Turns about the middle; degrees, clockwise.
    Rotate(f32),
    /// Moves right and down by these shares of the width and height.
    Shift(f32, f32),
    /// Enlarges about the middle.
    Scale(f32),
    /// Adds to the grey value.
    Brightness(f32),
    /// Multiplies the distance from mid-grey.
    Contrast(f32),
    /// Adds Gaussian noise of this standard deviation, drawn from the picture itself.
    Noise(f32),
    /// Blurs by a Gaussian of this standard deviation, as a share of the shorter side.
    Blur(f32),
}

/// The table: name, change. `docs/expansion.md` holds the same.
const TABLE: [(&str, Change); 17] = [
    ("flip", Change::Flip),
    ("rotate_left_5", Change::Rotate(-5.0)),
    ("rotate_right_5", Change::Rotate(5.0)),
    ("rotate_left_10", Change::Rotate(-10.0)),
    ("rotate_right_10", Change::Rotate(10.0)),
    ("shift_left", Change::Shift(-0.05, 0.0)),
    ("shift_right", Change::Shift(0.05, 0.0)),
    ("shift_up", Change::Shift(0.0, -0.05)),
    ("shift_down", Change::Shift(0.0, 0.05)),
    ("enlarge", Change::Scale(1.1)),
    ("reduce", Change::Scale(0.9)),
    ("brighten", Change::Brightness(0.1)),
    ("darken", Change::Brightness(-0.1)),
    ("more_contrast", Change::Contrast(1.25)),
    ("less_contrast", Change::Contrast(0.8)),
    ("noise", Change::Noise(0.03)),
    ("blur", Change::Blur(0.008)),
];

/// One of the 17 transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transform(u8);

impl Transform {
    /// All of them, in the order of the table.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self(0); TABLE.len()];
        let mut number = 0;
        while number < all.len() {
            all[number] = Self(number as u8);
            number += 1;
        }
        all
    };

    fn entry(self) -> (&'static str, Change) {
        TABLE[usize::from(self.0)]
    }

    /// Its name: lower-case letters, digits and underscores.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it does, in words.
    #[must_use]
    pub fn words(self) -> String {
        match self.entry().1 {
            Change::Flip => "mirrored left and right".to_owned(),
            Change::Rotate(degrees) => {
                let way = if degrees < 0.0 {
                    "counter-clockwise"
                } else {
                    "clockwise"
                };
                format!("turned by {} degrees {way}", degrees.abs())
            }
            Change::Shift(x, y) => {
                let way = match (x < 0.0, x > 0.0, y < 0.0) {
                    (true, ..) => "left",
                    (_, true, _) => "right",
                    (.., true) => "up",
                    _ => "down",
                };
                format!("moved {way} by {} % of the side", percent(x.abs().max(y.abs())))
            }
            Change::Scale(factor) => format!("scaled by {factor} about the middle"),
            Change::Brightness(added) => format!("{added:+} to the grey value (0 to 1)"),
            Change::Contrast(factor) => format!("contrast about mid-grey times {factor}"),
            Change::Noise(deviation) => {
                format!("Gaussian noise of standard deviation {deviation}, drawn from the image itself")
            }
            Change::Blur(share) => {
                format!(
                    "Gaussian blur of standard deviation {} % of the shorter side",
                    percent(share)
                )
            }
        }
    }

    /// Transforms a picture, grey 0 to 1. Beyond the edge the image goes on as at the edge; interpolation is bilinear.
    /// The same picture gives the same result, on every machine.
    #[must_use]
    pub fn apply(self, picture: &Array2<f32>) -> Array2<f32> {
        let (height, width) = picture.dim();
        let warped = |degrees, shift, scale, mirrored| {
            Warp::about_the_middle(height, width, degrees, shift, scale, mirrored).apply(picture)
        };
        match self.entry().1 {
            Change::Flip => warped(0.0, [0.0, 0.0], 1.0, true),
            Change::Rotate(degrees) => warped(degrees, [0.0, 0.0], 1.0, false),
            Change::Shift(x, y) => warped(0.0, [x * width as f32, y * height as f32], 1.0, false),
            Change::Scale(factor) => warped(0.0, [0.0, 0.0], factor, false),
            Change::Brightness(added) => picture.mapv(|value| (value + added).clamp(0.0, 1.0)),
            Change::Contrast(factor) => picture.mapv(|value| (0.5 + (value - 0.5) * factor).clamp(0.0, 1.0)),
            Change::Noise(deviation) => noisy(picture, deviation),
            Change::Blur(share) => blurred(picture, share * height.min(width) as f32),
        }
    }
}

/// With noise whose seed is the picture: one pattern over all images of a class would be a mark of that class.
fn noisy(picture: &Array2<f32>, deviation: f32) -> Array2<f32> {
    let mut hash = Sha256::new();
    picture
        .iter()
        .for_each(|value| hash.update(value.to_bits().to_le_bytes()));
    let mut random = ChaCha8Rng::from_seed(hash.finalize().into());
    picture.mapv(|value| (value + deviation * normal(&mut random)).clamp(0.0, 1.0))
}

fn blurred(picture: &Array2<f32>, sigma: f32) -> Array2<f32> {
    let (height, width) = picture.dim();
    let mut blurred = picture.as_standard_layout().into_owned();
    if let Some(values) = blurred.as_slice_mut() {
        blur(values, width, height, sigma);
    }
    blurred
}

/// A share in percent, without the noise of floats.
fn percent(share: f32) -> f32 {
    (share * 1000.0).round() / 10.0
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|transform| transform.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!("transform `{text}` is not one of {}", names.join(", "))
        })
    }
}

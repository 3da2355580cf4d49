//! What generated images are worth: how far they are from real ones, and whether they are copies.
//!
//! | module | what it holds |
//! |---|---|
//! | [`features`] | images as features of a named network |
//! | [`pixels`] | copies and duplicates by their pixels, images of noise to compare with |
//! | [`report`] | the page and the sheet that people read |

pub mod features;
pub mod pixels;
pub mod report;

use ndarray::Array2;
use serde::Serialize;
use tch::{TchError, Tensor};

use crate::autograd::InterpreterError;
use crate::metrics::copying::{self, COPIES, Nearest, nearest, three_sample};
use crate::metrics::fid::fid;
use crate::metrics::kid::kid;
use crate::metrics::manifold::precision_recall;
use features::Extractor;

/// Neighbours of precision and recall, as its authors have it.
const NEIGHBOURS: usize = 3;
/// Share of generated images that may equal a training image by their pixels.
const COPIES_ALLOWED: f64 = 0.01;
/// Share of generated images that may equal another one.
const DUPLICATES_ALLOWED: f64 = 0.05;

/// Why images cannot be assessed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssessError {
    /// Too few images of a kind.
    #[error("{found} {what} images; an assessment needs {needed} or more")]
    TooFew {
        /// Which.
        what: &'static str,
        /// How many there are.
        found: i64,
        /// How many are needed.
        needed: i64,
    },
    /// The network of the features cannot be run.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

/// Images `[n,C,H,W]` in [-1, 1].
#[derive(Debug)]
pub struct Images {
    /// Made by the generator.
    pub generated: Tensor,
    /// What it learnt from.
    pub training: Tensor,
    /// Real images of other patients.
    pub unseen: Tensor,
}

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// Generated, training and unseen images.
    pub images: [i64; 3],
    /// Kernel distance from the training images.
    pub kid: Interval,
    /// The same between two halves of the training images: what no generator gets below.
    pub kid_floor: Interval,
    /// The same for noise with each pixel's mean and deviation: what every generator should get below.
    pub kid_ceiling: Interval,
    /// Whether `kid` is nearer to the floor than to the ceiling.
    pub kid_below_midpoint: bool,
    /// Fréchet distance from the training images.
    pub fid: f64,
    /// Share of generated images among real ones.
    pub precision: f64,
    /// Share of real images that the generated ones reach.
    pub recall: f64,
    /// Three-sample test; below -3 the generator copies.
    pub three_sample: f64,
    /// Generated images that equal a training image.
    pub copies: usize,
    /// Generated images that equal another one.
    pub duplicates: usize,
    /// What speaks against the generator, in words; empty if nothing does.
    pub objections: Vec<String>,
}

/// An assessment with what the sheet shows.
#[derive(Debug)]
pub struct Assessed {
    /// The figures.
    pub assessment: Assessment,
    /// For each generated image the nearest training image by features.
    pub by_feature: Vec<Nearest>,
    /// For each generated image the nearest training image by pixels.
    pub by_pixel: Vec<pixels::Alike>,
    /// Features `[n,d]` of the generated images.
    pub generated: Array2<f64>,
    /// Features of the training images.
    pub training: Array2<f64>,
    /// Features of the unseen images.
    pub unseen: Array2<f64>,
}

/// Judges generated images; `seed` draws subsets, halves and noise.
///
/// # Errors
/// [`AssessError`].
pub fn assess(images: &Images, extractor: &Extractor, seed: u64) -> Result<Assessed, AssessError> {
    let counts = [&images.generated, &images.training, &images.unseen].map(|set| set.size()[0]);
    for (what, found) in ["generated", "training", "unseen"].into_iter().zip(counts) {
        if found < 16 {
            let needed = 16;
            return Err(AssessError::TooFew { what, found, needed });
        }
    }
    let features = |set: &Tensor| extractor.features(set);
    let (generated, training) = (features(&images.generated)?, features(&images.training)?);
    let unseen = features(&images.unseen)?;
    let noise = features(&pixels::noise_like(&images.training, counts[0], seed)?)?;
    let (one, other) = features::halves(&training, seed);
    let distance = |a: &Array2<f64>, b: &Array2<f64>| {
        // The counts are checked above: there is always a figure.
        let found = kid(a.view(), b.view(), seed);
        found.map_or(Interval::NONE, |found| Interval {
            value: found.value,
            low: found.low,
            high: found.high,
        })
    };
    let by_feature = nearest(generated.view(), training.view());
    let of_unseen = nearest(unseen.view(), training.view());
    let distances = |all: &[Nearest]| all.iter().map(|nearest| nearest.distance).collect::<Vec<f64>>();
    let manifold = precision_recall(training.view(), generated.view(), NEIGHBOURS);
    let (precision, recall) = manifold.map_or((0.0, 0.0), |found| (found.precision, found.recall));
    let by_pixel = pixels::most_alike(&images.generated, &images.training)?;
    let (kid, floor) = (distance(&training, &generated), distance(&one, &other));
    let ceiling = distance(&training, &noise);
    let mut assessment = Assessment {
        images: counts,
        kid,
        kid_floor: floor,
        kid_ceiling: ceiling,
        kid_below_midpoint: kid.value < (floor.value + ceiling.value) / 2.0,
        fid: fid(training.view(), generated.view())?,
        precision,
        recall,
        three_sample: three_sample(&distances(&by_feature), &distances(&of_unseen)).unwrap_or(0.0),
        copies: by_pixel.iter().filter(|alike| alike.is_copy()).count(),
        duplicates: pixels::duplicates(&images.generated)?,
        objections: Vec::new(),
    };
    assessment.objections = objections(&assessment);
    Ok(Assessed {
        assessment,
        by_feature,
        by_pixel,
        generated,
        training,
        unseen,
    })
}

impl Interval {
    const NONE: Self = Self {
        value: f64::NAN,
        low: f64::NAN,
        high: f64::NAN,
    };
}

fn objections(found: &Assessment) -> Vec<String> {
    let made = found.images[0] as f64;
    let share = |count: usize| count as f64 / made;
    let mut objections = Vec::new();
    if found.three_sample < copying::COPIES {
        objections.push(format!(
            "it copies: its images are nearer to the training images than unseen real ones are (three-sample test {:.1}, \
             at least {COPIES:.0} is allowed)",
            found.three_sample
        ));
    }
    if share(found.copies) > COPIES_ALLOWED {
        objections.push(format!(
            "it copies: {} of {made:.0} images equal a training image",
            found.copies
        ));
    }
    if share(found.duplicates) > DUPLICATES_ALLOWED {
        objections.push(format!(
            "it repeats itself: {} of {made:.0} images equal another one",
            found.duplicates
        ));
    }
    if !found.kid_below_midpoint {
        objections.push(format!(
            "its images are nearer to noise than to real ones (KID {:.3}, floor {:.3}, ceiling {:.3})",
            found.kid.value, found.kid_floor.value, found.kid_ceiling.value
        ));
    }
    objections
}

//! What turns the network's numbers into a decision.

use serde::{Deserialize, Serialize};

use super::Estimate;
use crate::operating_point::{ChosenPoint, Criterion};

/// When a finding is flagged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Id of the label.
    pub label: String,
    /// Flagged at this probability or above, 0..1.
    pub threshold: f32,
    /// How the threshold was chosen, such as `sensitivity 0.95`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criterion: Option<String>,
    /// Sensitivity at the threshold on the validation images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Estimate>,
    /// Specificity at the threshold on the validation images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<Estimate>,
}

impl OperatingPoint {
    /// The operating point of a label as it was chosen.
    #[must_use]
    pub fn chosen(label: &str, criterion: Criterion, point: &ChosenPoint) -> Self {
        Self {
            label: label.to_owned(),
            threshold: point.threshold,
            criterion: Some(criterion.to_string()),
            sensitivity: Some(point.sensitivity.into()),
            specificity: Some(point.specificity.into()),
        }
    }
}

/// Split-conformal prediction sets with the score 1 - p (Sadinle et al. 2019, least ambiguous sets):
/// a label c is in the set if 1 - p_c is at most its quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    /// The wanted coverage 1 - alpha, 0..1.
    pub coverage: f32,
    /// Number of calibration images.
    pub n: u64,
    /// One quantile for each label.
    pub quantiles: Vec<ConformalQuantile>,
}

/// The largest score with which a label still belongs to the set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConformalQuantile {
    /// Id of the label.
    pub label: String,
    /// 0..1; 1 keeps the label in every set.
    pub score: f32,
}

/// What the graph's `novelty` output means: a Mahalanobis distance in the space of the training features
/// (Lee et al. 2018), whose statistics are constants of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    /// An image above this distance is out of distribution.
    pub threshold: f32,
    /// The share of validation images below the threshold, 0..1.
    pub quantile: f32,
    /// Number of dimensions of the reduced feature space.
    pub dimensions: u32,
    /// Mean distance of the validation images.
    pub mean: f32,
    /// Standard deviation of the distance over the validation images.
    pub std: f32,
}

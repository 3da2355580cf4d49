//! `[quantize]` and `[gate]`: the INT8 file, and what it may lose.

use serde::{Deserialize, Serialize};

use super::error::{Origin, RecipeError};

/// How the ranges of activations are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationMethod {
    /// Smallest and largest value seen.
    Minmax,
    /// The range that holds `percentile` of the values.
    #[default]
    Percentile,
}

/// `[quantize]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuantizeSection {
    /// Training images that calibrate, evenly over the classes.
    pub calibration_images: usize,
    /// How ranges are found.
    pub method: CalibrationMethod,
    /// For `percentile`: percent of the values inside the range.
    pub percentile: f64,
}

impl Default for QuantizeSection {
    fn default() -> Self {
        Self {
            calibration_images: 96,
            method: CalibrationMethod::Percentile,
            percentile: 99.999,
        }
    }
}

impl QuantizeSection {
    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.count("quantize.calibration_images", self.calibration_images, 1, 100_000)?;
        at.within("quantize.percentile", self.percentile, 90.0, 100.0)
    }
}

/// `[gate]`: what INT8 may lose against float on the validation rows. A bundle beyond one of
/// these is not written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSection {
    /// Area under the ROC curve.
    pub max_auroc_loss: f64,
    /// Sensitivity at the operating point (0.01 = one point).
    pub max_sensitivity_loss: f64,
    /// Specificity at the operating point.
    pub max_specificity_loss: f64,
    /// Pearson correlation of the Grad-CAM maps, in the median.
    pub min_cam_pearson: f64,
    /// Overlap (intersection over union) of the maps' top 20 %, in the median.
    pub min_cam_iou: f64,
    /// Validation images that the maps are compared on.
    pub cam_images: usize,
    /// Images with recorded outputs that travel in the bundle for the device's self-test.
    pub golden_cases: usize,
}

impl Default for GateSection {
    fn default() -> Self {
        Self {
            max_auroc_loss: 0.005,
            max_sensitivity_loss: 0.01,
            max_specificity_loss: 0.02,
            min_cam_pearson: 0.95,
            min_cam_iou: 0.7,
            cam_images: 200,
            golden_cases: 8,
        }
    }
}

impl GateSection {
    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.within("gate.max_auroc_loss", self.max_auroc_loss, 0.0, 1.0)?;
        at.within("gate.max_sensitivity_loss", self.max_sensitivity_loss, 0.0, 1.0)?;
        at.within("gate.max_specificity_loss", self.max_specificity_loss, 0.0, 1.0)?;
        at.within("gate.min_cam_pearson", self.min_cam_pearson, -1.0, 1.0)?;
        at.within("gate.min_cam_iou", self.min_cam_iou, 0.0, 1.0)?;
        at.count("gate.cam_images", self.cam_images, 1, 100_000)?;
        at.count("gate.golden_cases", self.golden_cases, 1, 64)
    }
}

//! `[data]` and `[augment]`: which images, how split, and what training does to them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::{Origin, RecipeError};

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSection {
    /// The model's labels in the order of its outputs; empty: every label of the data, sorted.
    pub labels: Vec<String>,
    /// Label of the data = label of the model; several may become one. Unnamed labels keep theirs.
    pub mapping: BTreeMap<String, String>,
    /// Only rows of these sources; empty: all.
    pub sources: Vec<String>,
    /// Labels of the model whose training images stand under each of 17 named transforms as well
    /// ([`expansion`](crate::data::expansion)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expand: Vec<String>,
    /// Generated images that training may learn from beside the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generated: Vec<GeneratedSection>,
    /// The split into training, validation and test.
    pub split: SplitSection,
    /// Memory that decoded images may fill, in MiB; 0 decodes anew in every epoch.
    pub cache_mib: usize,
    /// Worker threads; 0: one a core.
    pub workers: usize,
    /// Share of the images that may fail to decode before a run ends.
    pub max_failed: f64,
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            mapping: BTreeMap::new(),
            sources: Vec::new(),
            expand: Vec::new(),
            generated: Vec::new(),
            split: SplitSection::default(),
            cache_mib: 1024,
            workers: 0,
            max_failed: 0.02,
        }
    }
}

impl DataSection {
    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        for (i, label) in self.labels.iter().enumerate() {
            if label.trim().is_empty() || self.labels[..i].contains(label) {
                return Err(at.not_allowed("data.labels", label, "distinct names, not empty"));
            }
        }
        if self.labels.len() == 1 {
            let allowed = "none, or two and more";
            return Err(at.not_allowed("data.labels", &self.labels[0], allowed));
        }
        for (from, to) in &self.mapping {
            if !self.labels.is_empty() && !self.labels.contains(to) {
                let key = format!("data.mapping.{from}");
                return Err(at.not_allowed(&key, to, self.labels.join(", ")));
            }
        }
        let unknown = |label: &&String| !self.labels.is_empty() && !self.labels.contains(label);
        if let Some(label) = self.expand.iter().find(unknown) {
            return Err(at.not_allowed("data.expand", label, self.labels.join(", ")));
        }
        for (number, generated) in self.generated.iter().enumerate() {
            if let Some(label) = &generated.label
                && !self.labels.is_empty()
                && !self.labels.contains(label)
            {
                let key = format!("data.generated.{number}.label");
                return Err(at.not_allowed(&key, label, self.labels.join(", ")));
            }
            if generated.label.is_none() && generated.fill_to.is_some() {
                let key = format!("data.generated.{number}.fill_to");
                return Err(at.not_allowed(&key, "set without a label", "a label beside it, which it fills"));
            }
        }
        at.within("data.max_failed", self.max_failed, 0.0, 1.0)?;
        at.count("data.workers", self.workers, 0, 256)?;
        self.split.fractions.check(at)
    }
}

/// `[[data.generated]]`: images that a generative model made, as `gan sample` and `gan translate` write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedSection {
    /// Their manifest. A relative path is looked for beside the data, then where one stands.
    pub manifest: PathBuf,
    /// Only rows with this label of the model; absent: with any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only as many as bring the training images of `label` to this number; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill_to: Option<usize>,
}

/// What never stands on two sides of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// Rows of one `group_id` (patient and near-duplicates); rows without one go by patient.
    #[default]
    Group,
    /// Rows of one `patient_id`; rows without one stand alone.
    Patient,
}

/// `[data.split]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSection {
    /// What never stands on two sides.
    pub by: SplitBy,
    /// Shares of the rows.
    pub fractions: SplitFractions,
    /// Draws the split; the same on every machine.
    pub seed: u64,
}

/// Shares of training, validation and test; they add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFractions {
    /// Share that the network learns from.
    pub train: f64,
    /// Share that picks the checkpoint, thresholds and calibration.
    pub validation: f64,
    /// Share that is looked at once, at the end.
    pub test: f64,
}

impl Default for SplitFractions {
    fn default() -> Self {
        Self {
            train: 0.7,
            validation: 0.15,
            test: 0.15,
        }
    }
}

impl SplitFractions {
    /// Training, validation, test.
    #[must_use]
    pub fn as_array(&self) -> [f64; 3] {
        [self.train, self.validation, self.test]
    }

    fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.within("data.split.fractions.train", self.train, 0.01, 1.0)?;
        at.within("data.split.fractions.validation", self.validation, 0.0, 0.99)?;
        at.within("data.split.fractions.test", self.test, 0.0, 0.99)?;
        let sum: f64 = self.as_array().iter().sum();
        if (sum - 1.0).abs() > 1e-6 {
            let allowed = "three shares that add up to 1";
            return Err(at.not_allowed("data.split.fractions", format!("sum {sum}"), allowed));
        }
        Ok(())
    }
}

/// `[augment]`: each image draws anew, uniformly within these ranges. All zero by default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSection {
    /// Rotation by up to this many degrees either way.
    pub rotate_degrees: f64,
    /// Shift by up to this share of the side, both ways, both axes.
    pub shift: f64,
    /// Scale by a factor of up to 1 plus or minus this.
    pub scale: f64,
    /// Probability of mirroring left and right. A chest is not symmetric: 0 is the safe choice.
    pub flip: f64,
    /// Added to the grey value (0..1), up to this either way.
    pub brightness: f64,
    /// Contrast about mid-grey, by a factor of up to 1 plus or minus this.
    pub contrast: f64,
    /// Standard deviation of added noise (grey 0..1), drawn from 0 to this.
    pub noise: f64,
    /// Probability of a blur.
    pub blur: f64,
    /// Standard deviation of that blur in pixels of the network's input, drawn from 0 to this.
    pub blur_sigma: f64,
    /// Probability of erasing one rectangle (set to the image's mean).
    pub erase: f64,
    /// Area of that rectangle, drawn from 0.02 to this share of the image.
    pub erase_area: f64,
}

impl AugmentSection {
    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.within("augment.rotate_degrees", self.rotate_degrees, 0.0, 180.0)?;
        at.within("augment.shift", self.shift, 0.0, 0.5)?;
        at.within("augment.scale", self.scale, 0.0, 0.8)?;
        at.within("augment.flip", self.flip, 0.0, 1.0)?;
        at.within("augment.brightness", self.brightness, 0.0, 1.0)?;
        at.within("augment.contrast", self.contrast, 0.0, 0.95)?;
        at.within("augment.noise", self.noise, 0.0, 0.5)?;
        at.within("augment.blur", self.blur, 0.0, 1.0)?;
        at.within("augment.blur_sigma", self.blur_sigma, 0.0, 8.0)?;
        at.within("augment.erase", self.erase, 0.0, 1.0)?;
        if self.erase > 0.0 {
            at.within("augment.erase_area", self.erase_area, 0.02, 0.5)?;
        }
        Ok(())
    }
}

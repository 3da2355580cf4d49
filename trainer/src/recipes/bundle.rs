//! `[operating_point]` and `[bundle]`: when to flag, and what the bundle says of itself.

use serde::{Deserialize, Serialize};

use super::error::{Origin, RecipeError};

/// The figure that the operating point is chosen to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Share of the abnormal images that are flagged.
    #[default]
    Sensitivity,
    /// Share of the images without a finding that are not flagged.
    Specificity,
}

/// The stable id of a label in the bundle: lower case, everything but letters, digits and hyphens as one underscore.
#[must_use]
pub fn label_id(name: &str) -> String {
    let mut id = String::with_capacity(name.len());
    for letter in name.trim().chars() {
        match letter.to_ascii_lowercase() {
            plain if plain.is_ascii_alphanumeric() || plain == '-' => id.push(plain),
            _ if !id.is_empty() && !id.ends_with('_') => id.push('_'),
            _ => {}
        }
    }
    id.trim_end_matches('_').to_owned()
}

/// `[operating_point]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatingPointSection {
    /// The label that means "no finding flagged"; absent: `normal`. A bundle needs one. Compared by
    /// [`label_id`], so its letters may be capitals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_finding: Option<String>,
    /// Which figure is set.
    pub measure: Measure,
    /// Its value on the validation rows.
    pub value: f64,
}

impl Default for OperatingPointSection {
    fn default() -> Self {
        Self {
            no_finding: None,
            measure: Measure::Sensitivity,
            value: 0.95,
        }
    }
}

impl OperatingPointSection {
    /// The index of the label that means "no finding flagged".
    #[must_use]
    pub fn no_finding_index(&self, labels: &[String]) -> Option<usize> {
        let wanted = label_id(self.no_finding.as_deref().unwrap_or("normal"));
        labels.iter().position(|label| label_id(label) == wanted)
    }

    pub(super) fn check(&self, at: &Origin<'_>, labels: &[String]) -> Result<(), RecipeError> {
        if let Some(label) = &self.no_finding
            && !labels.is_empty()
            && self.no_finding_index(labels).is_none()
        {
            return Err(at.not_allowed("operating_point.no_finding", label, labels.join(", ")));
        }
        at.within("operating_point.value", self.value, 0.01, 1.0)
    }
}

/// `[bundle.intended_use]`; an empty list or an absent range sets no limit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntendedUseSection {
    /// DICOM modalities, such as `DX`, `CR`, `CT`.
    pub modality: Vec<String>,
    /// DICOM body parts, such as `CHEST`.
    pub body_part: Vec<String>,
    /// DICOM view positions, such as `PA`, `AP`.
    pub view: Vec<String>,
    /// Youngest and oldest age in years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_years: Option<[f64; 2]>,
    /// The same for people.
    pub words: String,
}

/// `[bundle]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleSection {
    /// Short name without spaces, shown on the display.
    pub name: String,
    /// `major.minor.patch`.
    #[serde(default = "first_version")]
    pub version: String,
    /// What the appliance uses it for, such as `chest-xray`, `chest-ct`.
    #[serde(default = "default_role")]
    pub role: String,
    /// Never falls from one release to the next; a device refuses a lower one.
    #[serde(default = "first_counter")]
    pub security_counter: u32,
    /// What the model is for.
    #[serde(default)]
    pub intended_use: IntendedUseSection,
}

fn first_version() -> String {
    "0.1.0".into()
}

fn default_role() -> String {
    "chest-xray".into()
}

fn first_counter() -> u32 {
    1
}

impl BundleSection {
    /// Major, minor and patch.
    #[must_use]
    pub fn version_numbers(&self) -> Option<[u16; 3]> {
        let numbers: Vec<u16> = self.version.split('.').map_while(|part| part.parse().ok()).collect();
        let whole = self.version.split('.').count() == 3;
        whole.then(|| numbers.try_into().ok()).flatten()
    }

    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        for (key, text) in [("bundle.name", &self.name), ("bundle.role", &self.role)] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if text.is_empty() || text.len() > 48 || !text.chars().all(plain) {
                let allowed = "1 to 48 of a-z A-Z 0-9 - _ .";
                return Err(at.not_allowed(key, format!("{text:?}"), allowed));
            }
        }
        if self.version_numbers().is_none_or(|v| v[0] > 255 || v[1] > 255) {
            let allowed = "major.minor.patch, such as 0.1.0 (major and minor up to 255)";
            return Err(at.not_allowed("bundle.version", &self.version, allowed));
        }
        if let Some([low, high]) = self.intended_use.age_years {
            at.within("bundle.intended_use.age_years", low, 0.0, 150.0)?;
            at.within("bundle.intended_use.age_years", high, low, 150.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        let mut bundle = BundleSection {
            name: "a".into(),
            version: "1.2.3".into(),
            role: default_role(),
            security_counter: 1,
            intended_use: IntendedUseSection::default(),
        };
        assert_eq!(bundle.version_numbers(), Some([1, 2, 3]));
        for bad in ["1.2", "1.2.3.4", "1.x.3", "", "1.2.99999"] {
            bundle.version = bad.into();
            assert_eq!(bundle.version_numbers(), None, "{bad}");
        }
    }

    #[test]
    fn normal_is_no_finding_unless_said_otherwise() {
        let labels = ["abnormal".to_owned(), "normal".to_owned(), "clear".to_owned()];
        let mut point = OperatingPointSection::default();
        assert_eq!(point.no_finding_index(&labels), Some(1));
        point.no_finding = Some("clear".into());
        assert_eq!(point.no_finding_index(&labels), Some(2));
        point.no_finding = None;
        assert_eq!(point.no_finding_index(&["b".into(), "NORMAL".into()]), Some(1));
        assert_eq!(point.no_finding_index(&["a".into(), "abnormal".into()]), None);
    }
}

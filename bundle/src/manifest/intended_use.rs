//! Which images a model may be asked about, for machines and in words.

use serde::{Deserialize, Serialize};

/// Which images a model may be asked about. An empty list allows everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntendedUse {
    /// DICOM Modality (0008,0060): `CR`, `DX`, `CT` ...
    #[serde(default)]
    pub modalities: Vec<String>,
    /// DICOM Body Part Examined (0018,0015): `CHEST` ...
    #[serde(default)]
    pub body_parts: Vec<String>,
    /// DICOM View Position (0018,5101): `PA`, `AP` ...
    #[serde(default)]
    pub views: Vec<String>,
    /// The patient's age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_years: Option<AgeRange>,
    /// Whom it is for and what it is not for, in words.
    pub statement: String,
}

/// An age range in years, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AgeRange {
    /// Youngest.
    pub min: f32,
    /// Oldest.
    pub max: f32,
}

impl AgeRange {
    /// Whether an age in years lies in the range; 18.9 years are 18, as ages are spoken of.
    #[must_use]
    pub fn contains(&self, age_years: f32) -> bool {
        (self.min..self.max + 1.0).contains(&age_years)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_year_counts_whole() {
        let adults = AgeRange { min: 18.0, max: 90.0 };
        assert!(adults.contains(18.0) && adults.contains(90.9));
        assert!(!adults.contains(17.99) && !adults.contains(91.0) && !adults.contains(f32::NAN));
    }
}

//! Operating points from labelled cases.

use bundle::Manifest;
use bundle::manifest::OperatingPoint;
use bundle::operating_point::{self, Criterion};

use super::cases::LabelledCases;
use super::file::SiteCalibration;
use crate::inference::ModelIdentity;

/// Cases of a label, and of all others, from which on a threshold is worth relying on: at a sensitivity of 0.95 Wilson's
/// interval then reaches down to 0.85.
pub const SENSIBLE_CASES: usize = 50;

/// Why no operating point can be derived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeriveError {
    /// No finding has cases on both sides.
    #[error(
        "no finding has cases with it and cases without it among {labelled} labelled cases of this model \
         ({unlabelled} rows have no label, {of_another_model} are of another model); label more cases"
    )]
    NoCases {
        /// Cases that count.
        labelled: usize,
        /// Rows without a label.
        unlabelled: u64,
        /// Rows of another bundle.
        of_another_model: u64,
    },
    /// The manifest does not say what its threshold was chosen for.
    #[error(
        "the bundle does not say what the threshold of '{label}' was chosen for; give --sensitivity or --specificity"
    )]
    NoCriterion {
        /// Id of the label.
        label: String,
    },
}

/// Chooses the operating points anew: for `criterion`, or for what the bundle's own were chosen for. A finding without
/// cases on both sides keeps the bundle's threshold, and a warning says so. `made` is the time, RFC 3339.
///
/// # Errors
/// [`DeriveError`].
pub fn derive(
    manifest: &Manifest,
    identity: &ModelIdentity,
    cases: &LabelledCases,
    criterion: Option<Criterion>,
    made: String,
) -> Result<SiteCalibration, DeriveError> {
    let mut points = Vec::new();
    let mut warnings = Vec::new();
    for own in &manifest.operating_points {
        let Some(index) = manifest.labels.iter().position(|label| label.id == own.label) else {
            continue;
        };
        let criterion = criterion_of(own, criterion)?;
        let scores: Vec<f32> = cases.probabilities.iter().map(|row| row[index]).collect();
        let positive: Vec<bool> = cases.truth.iter().map(|truth| *truth == index).collect();
        let counts = [true, false].map(|side| positive.iter().filter(|found| **found == side).count());
        warnings.extend(warning(&manifest.labels[index].name, counts));
        if let Some(chosen) = operating_point::choose(&scores, &positive, criterion) {
            points.push(OperatingPoint::chosen(&own.label, criterion, &chosen));
        }
    }
    if points.is_empty() {
        return Err(DeriveError::NoCases {
            labelled: cases.truth.len(),
            unlabelled: cases.unlabelled,
            of_another_model: cases.of_another_model,
        });
    }
    Ok(SiteCalibration::new(
        identity,
        made,
        cases.truth.len() as u64,
        points,
        warnings,
    ))
}

fn criterion_of(own: &OperatingPoint, asked: Option<Criterion>) -> Result<Criterion, DeriveError> {
    let of_bundle = || own.criterion.as_deref().and_then(|text| text.parse().ok());
    asked.or_else(of_bundle).ok_or_else(|| DeriveError::NoCriterion {
        label: own.label.clone(),
    })
}

fn warning(name: &str, [with, without]: [usize; 2]) -> Option<String> {
    if with == 0 || without == 0 {
        let side = if with == 0 { "with it" } else { "without it" };
        return Some(format!("{name}: no case {side}; the bundle's own threshold stays."));
    }
    let fewer = with.min(without);
    (fewer < SENSIBLE_CASES).then(|| {
        format!(
            "{name}: {with} cases with it and {without} without; below {SENSIBLE_CASES} of each a threshold is little \
             better than a guess."
        )
    })
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;

    const NOW: &str = "2026-03-14T09:26:53Z";

    pub fn identity() -> ModelIdentity {
        ModelIdentity {
            name: "example-triage".to_owned(),
            version: "1.2.3".to_owned(),
            role: "chest-xray".to_owned(),
            digest: "ab12".to_owned(),
            key_id: "00".to_owned(),
        }
    }

    /// `n` cases a label; at this site the probabilities of covid19 are lower than where the model was made.
    fn cases(n: usize) -> LabelledCases {
        let mut cases = LabelledCases::default();
        for case in 0..n {
            let share = 0.2 * case as f32 / n as f32;
            for (truth, covid19) in [(0, 0.02 + share / 2.0), (1, 0.15 + share), (2, 0.05)] {
                let viral = if truth == 2 { 0.6 } else { 0.1 };
                cases.probabilities.push(vec![1.0 - covid19 - viral, covid19, viral]);
                cases.truth.push(truth);
            }
        }
        cases
    }

    #[test]
    fn a_threshold_follows_the_cases_of_the_site() {
        let manifest = example::manifest();
        let wanted = Criterion::Sensitivity(0.95);
        let found = derive(&manifest, &identity(), &cases(60), Some(wanted), NOW.to_owned()).unwrap();
        let point = &found.points[0];
        assert_eq!((point.label.as_str(), found.n), ("covid19", 180));
        assert!(point.threshold < 0.2 && point.threshold > 0.1, "{}", point.threshold);
        let sensitivity = point.sensitivity.unwrap();
        assert!(sensitivity.value >= 0.95 && sensitivity.low < 0.95, "{sensitivity:?}");
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        let mut calibrated = manifest.clone();
        found.apply(&mut calibrated);
        assert_eq!(calibrated.operating_points[0].threshold, point.threshold);
        assert_eq!(calibrated.operating_points[1].label, manifest.operating_points[1].label);
    }

    #[test]
    fn few_cases_are_warned_of_and_a_label_without_cases_keeps_its_threshold() {
        let manifest = example::manifest();
        let mut few = cases(10);
        for truth in few.truth.iter_mut().filter(|truth| **truth == 2) {
            *truth = 0;
        }
        let wanted = Some(Criterion::Sensitivity(0.9));
        let found = derive(&manifest, &identity(), &few, wanted, NOW.to_owned()).unwrap();
        assert_eq!(found.points.len(), 1);
        assert!(found.warnings[0].contains("10 cases with it"), "{:?}", found.warnings);
        assert!(
            found.warnings[1].contains("own threshold stays"),
            "{:?}",
            found.warnings
        );
        let mut calibrated = manifest.clone();
        found.apply(&mut calibrated);
        assert_eq!(calibrated.operating_points[1], manifest.operating_points[1]);
    }

    #[test]
    fn nothing_to_derive_from_is_an_error() {
        let manifest = example::manifest();
        let wanted = Some(Criterion::Sensitivity(0.9));
        let nothing = LabelledCases {
            unlabelled: 7,
            ..LabelledCases::default()
        };
        let refusal = derive(&manifest, &identity(), &nothing, wanted, NOW.to_owned()).unwrap_err();
        assert!(refusal.to_string().contains("7 rows have no label"), "{refusal}");
    }
}

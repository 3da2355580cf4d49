//! From probabilities to a decision.
//!
//! A finding is flagged from its operating point on. Doubt goes before a flag: an image outside the intended use, far
//! from the training images, or with a prediction set that holds a finding as well as "no finding" is uncertain, and
//! a person reads it.

use bundle::Manifest;
use serde::{Deserialize, Serialize};

use crate::codes::{Code, Reason};
use crate::presentation::reasons;
use crate::text::words::Language;

/// What the appliance says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which of the four kinds.
    pub kind: DecisionKind,
    /// Id of the flagged label; for an uncertain result the label that would be flagged, if any.
    pub label: Option<String>,
    /// Why the result is uncertain or the image not readable, the most important first.
    pub reasons: Vec<Reason>,
}

/// The four kinds of decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// A finding reached its operating point.
    Flagged,
    /// No finding reached its operating point; never "normal".
    NoFindingFlagged,
    /// The model must not be relied on for this image.
    Uncertain,
    /// The image cannot be assessed.
    NotReadable,
}

impl DecisionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Flagged,
        Self::NoFindingFlagged,
        Self::Uncertain,
        Self::NotReadable,
    ];

    /// The stable text, as in JSON.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Flagged => "flagged",
            Self::NoFindingFlagged => "no-finding-flagged",
            Self::Uncertain => "uncertain",
            Self::NotReadable => "not-readable",
        }
    }

    /// Whether somebody has to look at it.
    #[must_use]
    pub const fn needs_eyes(self) -> bool {
        matches!(self, Self::Flagged | Self::Uncertain)
    }

    /// The kind with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }
}

/// The prediction set of one image: indices of its labels; `None` if the bundle has no quantiles.
#[must_use]
pub fn conformal_set(manifest: &Manifest, probabilities: &[f32]) -> Option<Vec<usize>> {
    let conformal = manifest.conformal.as_ref()?;
    let belongs = |index: &usize| {
        let label = &manifest.labels[*index];
        let quantile = conformal.quantiles.iter().find(|q| q.label == label.id);
        quantile.is_some_and(|q| 1.0 - probabilities[*index] <= q.score)
    };
    let count = manifest.labels.len().min(probabilities.len());
    Some((0..count).filter(belongs).collect())
}

/// The index of the flagged label: of those at or above their operating points the most probable.
#[must_use]
pub fn flagged(manifest: &Manifest, probabilities: &[f32]) -> Option<usize> {
    let reached = |(index, probability): &(usize, &f32)| {
        manifest
            .operating_point(*index)
            .is_some_and(|point| **probability >= point.threshold)
    };
    let candidates = probabilities.iter().enumerate().filter(reached);
    candidates.max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index)
}

/// Decides on a readable image; `outside` says how it is outside the intended use.
#[must_use]
pub fn decide(manifest: &Manifest, probabilities: &[f32], novelty: Option<f32>, outside: &[Reason]) -> Decision {
    let flagged = flagged(manifest, probabilities);
    let mut reasons = outside.to_vec();
    reasons.extend(novel(manifest, novelty));
    if let Some(set) = conformal_set(manifest, probabilities) {
        reasons.extend(doubt(manifest, &set, flagged));
    }
    let kind = match (reasons.is_empty(), flagged) {
        (false, _) => DecisionKind::Uncertain,
        (true, Some(_)) => DecisionKind::Flagged,
        (true, None) => DecisionKind::NoFindingFlagged,
    };
    Decision {
        kind,
        label: flagged.map(|index| manifest.labels[index].id.clone()),
        reasons,
    }
}

fn novel(manifest: &Manifest, novelty: Option<f32>) -> Option<Reason> {
    let limit = manifest.novelty.as_ref()?.threshold;
    let far = novelty? > limit;
    far.then(|| {
        let words = Language::English.words();
        Reason::new(Code::OutOfDistribution, words.reasons.unlike_training)
    })
}

fn doubt(manifest: &Manifest, set: &[usize], flagged: Option<usize>) -> Option<Reason> {
    let no_finding = manifest.no_finding_index();
    let holds_no_finding = set.iter().any(|index| Some(*index) == no_finding);
    let findings: Vec<&str> = set
        .iter()
        .filter(|index| Some(**index) != no_finding)
        .map(|index| manifest.labels[*index].name.as_str())
        .collect();
    let code = match (holds_no_finding, findings.is_empty(), flagged) {
        (true, false, _) => Code::ConformalSetAmbiguous,
        (false, true, _) | (false, false, None) => Code::NotConfident,
        (true, true, _) | (false, false, Some(_)) => return None,
    };
    Some(Reason::new(
        code,
        reasons::doubt(code, &findings, Language::English.words()),
    ))
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;

    /// normal, covid19 (flagged from 0.4), viral_pneumonia (from 0.35); sets hold p >= 0.2, 0.25, 0.3.
    fn decided(probabilities: [f32; 3], novelty: f32) -> (DecisionKind, Option<String>, Vec<String>) {
        let decision = decide(&example::manifest(), &probabilities, Some(novelty), &[]);
        let codes = decision.reasons.into_iter().map(|r| r.code).collect();
        (decision.kind, decision.label, codes)
    }

    #[test]
    fn a_clear_finding_is_flagged_and_its_absence_is_not() {
        let (kind, label, codes) = decided([0.05, 0.9, 0.05], 30.0);
        assert_eq!((kind, label.as_deref()), (DecisionKind::Flagged, Some("covid19")));
        assert!(codes.is_empty());
        let (kind, label, _) = decided([0.9, 0.05, 0.05], 30.0);
        assert_eq!((kind, label), (DecisionKind::NoFindingFlagged, None));
    }

    #[test]
    fn the_operating_point_itself_flags() {
        let mut manifest = example::manifest();
        manifest.conformal = None;
        assert_eq!(flagged(&manifest, &[0.6, 0.4, 0.0]), Some(1));
        assert_eq!(flagged(&manifest, &[0.6, 0.3999, 0.0]), None);
        assert_eq!(
            flagged(&manifest, &[0.0, 0.45, 0.55]),
            Some(2),
            "the more probable of two"
        );
    }

    #[test]
    fn two_findings_without_the_absence_are_flagged() {
        let (kind, label, _) = decided([0.1, 0.42, 0.48], 30.0);
        assert_eq!(
            (kind, label.as_deref()),
            (DecisionKind::Flagged, Some("viral_pneumonia"))
        );
    }

    #[test]
    fn doubt_goes_before_a_flag() {
        let (kind, label, codes) = decided([0.45, 0.5, 0.05], 30.0);
        assert_eq!(kind, DecisionKind::Uncertain);
        assert_eq!(label.as_deref(), Some("covid19"));
        assert_eq!(codes, ["conformal-set-ambiguous"]);
        let (kind, _, codes) = decided([0.05, 0.9, 0.05], 60.1);
        assert_eq!(
            (kind, codes),
            (DecisionKind::Uncertain, vec!["out-of-distribution".to_owned()])
        );
        let (_, _, codes) = decided([0.05, 0.9, 0.05], 60.0);
        assert!(codes.is_empty(), "the limit itself is inside");
    }

    #[test]
    fn too_little_is_not_confident() {
        let (kind, _, codes) = decided([0.19, 0.24, 0.29], 30.0);
        assert_eq!(
            (kind, codes),
            (DecisionKind::Uncertain, vec!["not-confident".to_owned()])
        );
        let (kind, _, codes) = decided([0.19, 0.39, 0.29], 30.0);
        assert_eq!(
            (kind, codes),
            (DecisionKind::Uncertain, vec!["not-confident".to_owned()])
        );
    }

    #[test]
    fn what_is_outside_comes_first() {
        let outside = [Reason::new(Code::OutsideIntendedUseAge, "A child.")];
        let decision = decide(&example::manifest(), &[0.05, 0.9, 0.05], Some(99.0), &outside);
        let codes: Vec<&str> = decision.reasons.iter().map(|r| r.code.as_str()).collect();
        assert_eq!(codes, ["outside-intended-use-age", "out-of-distribution"]);
        assert_eq!(decision.kind, DecisionKind::Uncertain);
    }
}

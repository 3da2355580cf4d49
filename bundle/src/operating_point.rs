//! The threshold of a label, chosen for a wanted sensitivity or specificity on scores whose truth is known.
//!
//! The trainer chooses on validation images, a site on its own cases: one rule for both.

use serde::{Deserialize, Serialize};

use crate::intervals::{Estimate, wilson};

/// Thresholds lie within these, as a manifest wants them: at 0 everything would be flagged.
const THRESHOLD_RANGE: (f32, f32) = (1e-6, 1.0);

/// What the threshold is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// At least this sensitivity, then the highest specificity.
    Sensitivity(f64),
    /// At least this specificity, then the highest sensitivity.
    Specificity(f64),
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sensitivity(value) => write!(f, "sensitivity {value}"),
            Self::Specificity(value) => write!(f, "specificity {value}"),
        }
    }
}

impl std::str::FromStr for Criterion {
    type Err = String;

    /// The form that [`Display`](std::fmt::Display) writes: `sensitivity 0.95`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || format!("'{text}' is no criterion; write `sensitivity 0.95` or `specificity 0.9`");
        let (measure, value) = text.trim().split_once(' ').ok_or_else(refusal)?;
        let value: f64 = value.trim().parse().map_err(|_| refusal())?;
        if !(0.0..=1.0).contains(&value) {
            return Err(format!("{measure} {value} is not within 0 to 1"));
        }
        match measure {
            "sensitivity" => Ok(Self::Sensitivity(value)),
            "specificity" => Ok(Self::Specificity(value)),
            _ => Err(refusal()),
        }
    }
}

/// A threshold and what it does on the data it was chosen on. An image is positive if its score is at least the
/// threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenPoint {
    /// Score from which on an image is positive.
    pub threshold: f32,
    /// Share of positives found, with Wilson's interval.
    pub sensitivity: Estimate,
    /// Share of negatives left alone, with Wilson's interval.
    pub specificity: Estimate,
}

/// Chooses the threshold for `criterion` on `scores` `[N]` (probabilities, 0..1) of which `positive` `[N]` belong to the
/// label. The threshold lies midway between two scores, so that a score's last bits do not decide. `None` if one side is
/// empty.
#[must_use]
pub fn choose(scores: &[f32], positive: &[bool], criterion: Criterion) -> Option<ChosenPoint> {
    let mut rows: Vec<(f32, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = rows.iter().filter(|row| row.1).count();
    let negatives = rows.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Cut c: the first c rows are positive. Only cuts between two different scores can be made.
    let (mut hits, mut false_alarms) = (0, 0);
    let mut best: Option<(f64, f64, usize)> = None;
    for cut in 0..=rows.len() {
        if cut > 0 {
            hits += usize::from(rows[cut - 1].1);
            false_alarms += usize::from(!rows[cut - 1].1);
        }
        if cut > 0 && cut < rows.len() && rows[cut - 1].0 == rows[cut].0 {
            continue;
        }
        let sensitivity = hits as f64 / positives as f64;
        let specificity = 1.0 - false_alarms as f64 / negatives as f64;
        let (wanted, reached, other) = match criterion {
            Criterion::Sensitivity(wanted) => (wanted, sensitivity, specificity),
            Criterion::Specificity(wanted) => (wanted, specificity, sensitivity),
        };
        let key = (other, reached);
        if reached >= wanted && best.is_none_or(|(a, b, _)| key > (a, b)) {
            best = Some((other, reached, cut));
        }
    }
    let (_, _, cut) = best?;
    let threshold = threshold_of_cut(&rows, cut).clamp(THRESHOLD_RANGE.0, THRESHOLD_RANGE.1);
    measure(scores, positive, threshold)
}

fn threshold_of_cut(rows: &[(f32, bool)], cut: usize) -> f32 {
    if cut == 0 {
        // Above every score.
        return rows[0].0 + f32::EPSILON.max(rows[0].0.abs() * f32::EPSILON);
    }
    let above = rows[cut - 1].0;
    let Some(&(below, _)) = rows.get(cut) else { return above };
    let middle = below + (above - below) / 2.0;
    // Two neighbouring floats have no middle.
    if middle > below { middle } else { above }
}

/// What `threshold` does on `scores` `[N]` of which `positive` `[N]` belong to the label; `None` if one side is empty.
#[must_use]
pub fn measure(scores: &[f32], positive: &[bool], threshold: f32) -> Option<ChosenPoint> {
    let count = |wanted: bool, above: bool| {
        scores
            .iter()
            .zip(positive)
            .filter(|&(&score, &positive)| positive == wanted && (score >= threshold) == above)
            .count() as u64
    };
    let (hits, missed) = (count(true, true), count(true, false));
    let (spared, false_alarms) = (count(false, false), count(false, true));
    Some(ChosenPoint {
        threshold,
        sensitivity: wilson(hits, hits + missed)?,
        specificity: wilson(spared, spared + false_alarms)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_lies_between_two_scores() {
        let (scores, positive) = ([0.9, 0.8, 0.3, 0.1], [true, true, false, false]);
        let point = choose(&scores, &positive, Criterion::Sensitivity(0.5)).unwrap();
        assert!((point.threshold - 0.55).abs() < 1e-6, "{}", point.threshold);
        assert_eq!((point.sensitivity.value, point.specificity.value), (1.0, 1.0));
    }

    #[test]
    fn specificity_can_be_asked_for() {
        let (scores, positive) = ([0.9, 0.8, 0.7, 0.6], [false, true, false, true]);
        let point = choose(&scores, &positive, Criterion::Specificity(0.5)).unwrap();
        assert_eq!((point.sensitivity.value, point.specificity.value), (0.5, 0.5));
        let strict = choose(&scores, &positive, Criterion::Specificity(1.0)).unwrap();
        assert_eq!((strict.sensitivity.value, strict.specificity.value), (0.0, 1.0));
    }

    #[test]
    fn one_sided_data_has_no_operating_point() {
        assert_eq!(choose(&[0.5, 0.6], &[true, true], Criterion::Sensitivity(0.9)), None);
    }

    #[test]
    fn a_criterion_reads_what_it_writes() {
        for criterion in [Criterion::Sensitivity(0.95), Criterion::Specificity(0.9)] {
            assert_eq!(criterion.to_string().parse(), Ok(criterion));
        }
        for wrong in ["", "sensitivity", "sensitivity 1.5", "recall 0.9", "specificity x"] {
            assert!(wrong.parse::<Criterion>().is_err(), "{wrong}");
        }
    }
}

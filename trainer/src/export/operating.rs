//! What turns the INT8 file's validation outputs into decisions: temperature, operating points, conformal quantiles.

use bundle::operating_point::{ChosenPoint, Criterion, choose};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::error::ExportError;

use crate::metrics::{argmax, calibration, conformal};
use crate::recipes::{Measure, OperatingPointSection};

/// Coverage of the prediction sets: nine in ten sets hold the truth.
pub const CONFORMAL_COVERAGE: f64 = 0.9;
/// Bins of the expected calibration error.
pub const CALIBRATION_BINS: usize = 15;

/// When one label is flagged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelPoint {
    /// Index of the label.
    pub class: usize,
    /// What the threshold was chosen for.
    pub criterion: Criterion,
    /// The threshold and what it does on validation.
    pub point: ChosenPoint,
}

/// Everything that decides, found on validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Divides the logits.
    pub temperature: f32,
    /// Expected calibration error at temperature 1, then at the chosen one.
    pub calibration_error: [f64; 2],
    /// One entry for each label that is a finding.
    pub points: Vec<LabelPoint>,
    /// Wanted coverage of the prediction sets.
    pub coverage: f64,
    /// Largest score (1 - probability) with which a label is in the set, one a label.
    pub quantiles: Vec<f64>,
    /// Validation images behind all this.
    pub n: u64,
}

impl Decision {
    /// The operating point of a label.
    pub fn point_of(&self, class: usize) -> Option<&ChosenPoint> {
        self.points
            .iter()
            .find(|point| point.class == class)
            .map(|point| &point.point)
    }
}

/// Decides on `logits` `[N,K]` with their `truth` `[N]`.
///
/// # Errors
/// No label means "no finding", or a label has validation images on one side only.
pub fn decide(
    logits: ArrayView2<'_, f32>,
    truth: &[usize],
    labels: &[String],
    section: &OperatingPointSection,
) -> Result<Decision, ExportError> {
    let no_finding = section
        .no_finding_index(labels)
        .ok_or_else(|| ExportError::NoFindingLabel {
            labels: labels.join(", "),
        })?;
    let temperature = calibration::fit_temperature(logits, truth) as f32;
    let probabilities = probabilities(logits, temperature);
    let criterion = match section.measure {
        Measure::Sensitivity => Criterion::Sensitivity(section.value),
        Measure::Specificity => Criterion::Specificity(section.value),
    };
    let points = (0..labels.len())
        .filter(|&class| class != no_finding)
        .map(|class| label_point(probabilities.view(), truth, labels, class, criterion))
        .collect::<Result<_, _>>()?;
    let before = calibration_error(self::probabilities(logits, 1.0).view(), truth);
    Ok(Decision {
        temperature,
        calibration_error: [before, calibration_error(probabilities.view(), truth)],
        points,
        coverage: CONFORMAL_COVERAGE,
        quantiles: quantiles(probabilities.view(), truth),
        n: truth.len() as u64,
    })
}

/// softmax(`logits` `[N,K]` / `temperature`), as the graph computes it.
pub fn probabilities(logits: ArrayView2<'_, f32>, temperature: f32) -> Array2<f32> {
    let mut probabilities = logits.to_owned();
    for mut row in probabilities.rows_mut() {
        let softmax = calibration::softmax(row.view(), f64::from(temperature));
        row.iter_mut()
            .zip(softmax)
            .for_each(|(value, probability)| *value = probability as f32);
    }
    probabilities
}

fn label_point(
    probabilities: ArrayView2<'_, f32>,
    truth: &[usize],
    labels: &[String],
    class: usize,
    criterion: Criterion,
) -> Result<LabelPoint, ExportError> {
    let scores = probabilities.column(class).to_vec();
    let positive: Vec<bool> = truth.iter().map(|&truth| truth == class).collect();
    let point = choose(&scores, &positive, criterion).ok_or_else(|| ExportError::NoOperatingPoint {
        label: labels[class].clone(),
        which: if positive.contains(&true) {
            "of another label than"
        } else {
            "of"
        },
    })?;
    Ok(LabelPoint {
        class,
        criterion,
        point,
    })
}

/// Class-conditional quantiles; a class with too few images for one takes the marginal quantile if that is wider.
fn quantiles(probabilities: ArrayView2<'_, f32>, truth: &[usize]) -> Vec<f64> {
    let alpha = 1.0 - CONFORMAL_COVERAGE;
    let marginal = conformal::marginal(probabilities, truth, alpha);
    let enough = (1.0 / alpha).ceil() as usize - 1;
    let counts = (0..probabilities.ncols()).map(|class| truth.iter().filter(|&&truth| truth == class).count());
    conformal::class_conditional(probabilities, truth, alpha)
        .into_iter()
        .zip(counts)
        .map(|(quantile, count)| if count < enough { marginal } else { quantile })
        .collect()
}

/// Expected calibration error of the most probable label.
pub fn calibration_error(probabilities: ArrayView2<'_, f32>, truth: &[usize]) -> f64 {
    calibration::expected_calibration_error(&reliability(probabilities, truth, CALIBRATION_BINS))
}

/// Reliability bins of the most probable label.
pub fn reliability(
    probabilities: ArrayView2<'_, f32>,
    truth: &[usize],
    bins: usize,
) -> Vec<calibration::ReliabilityBin> {
    let predicted: Vec<usize> = probabilities
        .rows()
        .into_iter()
        .map(|row| argmax(&row.to_vec()).unwrap_or(0))
        .collect();
    let confidence: Vec<f32> = predicted
        .iter()
        .zip(probabilities.rows())
        .map(|(&class, row)| row[class])
        .collect();
    let correct: Vec<bool> = predicted
        .iter()
        .zip(truth)
        .map(|(predicted, truth)| predicted == truth)
        .collect();
    calibration::reliability(&confidence, &correct, bins)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn labels() -> Vec<String> {
        ["normal", "a", "b"].map(str::to_owned).to_vec()
    }

    fn outputs(n: usize, scale: f32) -> (Array2<f32>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let truth: Vec<usize> = (0..n).map(|row| row % 3).collect();
        let logits = Array2::from_shape_fn((n, 3), |(row, class)| {
            let signal = if row % 3 == class { 1.5 } else { 0.0 };
            scale * (signal + rng.random_range(-1.5..1.5_f32))
        });
        (logits, truth)
    }

    #[test]
    fn overconfident_logits_are_cooled_and_points_reach_the_wanted_sensitivity() {
        let (logits, truth) = outputs(300, 8.0);
        let decision = decide(logits.view(), &truth, &labels(), &OperatingPointSection::default()).unwrap();
        assert!(decision.temperature > 2.0, "{}", decision.temperature);
        assert!(decision.calibration_error[1] < decision.calibration_error[0]);
        assert_eq!(
            decision.points.iter().map(|point| point.class).collect::<Vec<_>>(),
            [1, 2]
        );
        for point in &decision.points {
            assert!(point.point.sensitivity.value >= 0.95);
            assert!(point.point.specificity.value > 0.3);
        }
        let probabilities = probabilities(logits.view(), decision.temperature);
        let (covered, size) = conformal::coverage(probabilities.view(), &truth, &decision.quantiles).unwrap();
        assert!(covered >= 0.9 && size < 3.0);
    }

    /// The best specificity among scikit-learn's ROC points that reach the wanted sensitivity.
    #[test]
    fn agrees_with_scikit_learns_curve() {
        let golden = crate::metrics::goldens::load();
        let scores: Vec<f32> = golden.probabilities.iter().map(|row| row[1]).collect();
        let positive: Vec<bool> = golden.truth.iter().map(|&truth| truth == 1).collect();
        for wanted in [0.5, 0.8, 0.95, 1.0] {
            let point = choose(&scores, &positive, Criterion::Sensitivity(wanted)).unwrap();
            let roc = &golden.roc_class_1;
            let expected = (roc.true_positive_rate.iter().zip(&roc.false_positive_rate))
                .filter(|&(&sensitivity, _)| sensitivity >= wanted)
                .map(|(_, false_positive)| 1.0 - false_positive)
                .fold(0.0, f64::max);
            crate::metrics::goldens::assert_near(point.specificity.value, expected, 1e-12);
            assert!(point.sensitivity.value >= wanted);
        }
    }

    #[test]
    fn a_label_without_images_is_named() {
        let (logits, _) = outputs(30, 1.0);
        let truth = vec![0; 30];
        let error = decide(logits.view(), &truth, &labels(), &OperatingPointSection::default()).unwrap_err();
        assert!(error.to_string().contains("image of `a`"), "{error}");
    }

    #[test]
    fn labels_without_a_normal_one_are_refused() {
        let (logits, truth) = outputs(30, 1.0);
        let labels = ["x", "y", "z"].map(str::to_owned);
        let error = decide(logits.view(), &truth, &labels, &OperatingPointSection::default()).unwrap_err();
        assert!(error.to_string().contains("operating_point.no_finding"), "{error}");
    }
}

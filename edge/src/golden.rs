//! Golden cases: inputs whose outputs every appliance must reproduce within the bundle's tolerances.

use std::collections::BTreeMap;

use bundle::manifest::{GoldenCase, GoldenOutputs};
use ndarray::Array4;
use serde::Serialize;

use crate::inference::{Model, ModelError, Prediction};

/// How one golden case came out here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoldenResult {
    /// Name of the case.
    pub name: String,
    /// Largest absolute difference of any probability.
    pub probability_difference: f32,
    /// Largest relative L2 difference of any heatmap of a label that both sides show.
    pub heatmap_difference: f32,
    /// Relative difference of the novelty; absent if the model has none.
    pub novelty_difference: Option<f32>,
    /// Whether all are within the case's tolerance.
    pub passed: bool,
}

/// Runs every golden case of a model; `files` are the golden files of its bundle by path. `tell` hears how many are
/// done, from 0 on.
///
/// # Errors
/// [`ModelError::Golden`] for a malformed file, and what running the model gives.
pub fn run(
    model: &mut Model,
    files: &BTreeMap<String, Vec<u8>>,
    mut tell: impl FnMut(usize),
) -> Result<Vec<GoldenResult>, ModelError> {
    let cases = model.manifest().golden.clone();
    tell(0);
    let mut results = Vec::with_capacity(cases.len());
    for case in &cases {
        results.push(run_case(model, case, files)?);
        tell(results.len());
    }
    Ok(results)
}

fn run_case(
    model: &mut Model,
    case: &GoldenCase,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<GoldenResult, ModelError> {
    let malformed = |reason: String| ModelError::Golden {
        name: case.name.clone(),
        reason,
    };
    let file = |path: &str| {
        files
            .get(path)
            .ok_or_else(|| malformed(format!("{path} is not in the payload")))
    };
    let expected: GoldenOutputs =
        serde_json::from_slice(file(&case.expected)?).map_err(|e| malformed(format!("{}: {e}", case.expected)))?;
    let spec = &model.manifest().preprocess;
    let [height, width] = spec.size.map(|side| side as usize);
    let shape = (1, usize::from(spec.channels), height, width);
    let (values, _) = file(&case.input)?.as_chunks::<4>();
    let values = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let tensor = Array4::from_shape_vec(shape, values).map_err(|e| malformed(format!("{}: {e}", case.input)))?;
    let prediction = model.run_tensor(tensor.view())?;
    compare(case, &expected, &prediction).map_err(malformed)
}

fn compare(case: &GoldenCase, expected: &GoldenOutputs, found: &Prediction) -> Result<GoldenResult, String> {
    if expected.probabilities.len() != found.probabilities.len() {
        return Err(format!("{} expected probabilities", expected.probabilities.len()));
    }
    let pairs = expected.probabilities.iter().zip(&found.probabilities);
    let probability_difference = pairs.map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
    let heatmap_difference = heatmap_difference(expected, found)?;
    let novelty_difference = match (expected.novelty, found.novelty) {
        (Some(e), Some(f)) => Some((e - f).abs() / e.abs().max(f32::MIN_POSITIVE)),
        (None, None) => None,
        _ => return Err("novelty is on one side only".to_owned()),
    };
    let tolerance = &case.tolerance;
    let passed = probability_difference <= tolerance.probability
        && heatmap_difference <= tolerance.cam_relative
        && novelty_difference.is_none_or(|d| d <= tolerance.novelty_relative);
    Ok(GoldenResult {
        name: case.name.clone(),
        probability_difference,
        heatmap_difference,
        novelty_difference,
        passed,
    })
}

/// Labels of nearly equal probability may change places in the top k; only those on both sides are compared, and the
/// most probable one is always on both where the probabilities agree.
fn heatmap_difference(expected: &GoldenOutputs, found: &Prediction) -> Result<f32, String> {
    let [k, height, width] = expected.cam_shape;
    let values = height.checked_mul(width).filter(|n| *n > 0);
    let per_map = values.ok_or_else(|| format!("a heatmap of {height} x {width}"))?;
    if expected.cam_class.len() != k || Some(expected.cam.len()) != k.checked_mul(per_map) {
        return Err("cam, cam_class and cam_shape do not fit each other".to_owned());
    }
    let mut worst = 0.0_f32;
    for (class, wanted) in expected.cam_class.iter().zip(expected.cam.chunks(per_map)) {
        let same = found.maps.iter().find(|m| i64::try_from(m.label) == Ok(*class));
        let Some(same) = same else { continue };
        if same.map.dim() != (height, width) {
            return Err(format!("the network's heatmap is {:?}", same.map.dim()));
        }
        let difference: f32 = wanted.iter().zip(&same.map).map(|(e, f)| (e - f).powi(2)).sum();
        let norm: f32 = wanted.iter().map(|e| e * e).sum();
        worst = worst.max(relative(difference.sqrt(), norm.sqrt()));
    }
    Ok(worst)
}

/// An empty map must stay empty.
fn relative(difference: f32, norm: f32) -> f32 {
    match (difference == 0.0, norm == 0.0) {
        (true, _) => 0.0,
        (false, true) => f32::INFINITY,
        (false, false) => difference / norm,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::inference::ClassMap;

    fn case() -> GoldenCase {
        bundle::example::manifest().golden.remove(0)
    }

    fn expected() -> GoldenOutputs {
        GoldenOutputs {
            probabilities: vec![0.1, 0.7, 0.2],
            cam_class: vec![1, 2],
            cam_shape: [2, 1, 2],
            cam: vec![3.0, 4.0, 0.0, 0.0],
            novelty: Some(30.0),
        }
    }

    fn found() -> Prediction {
        Prediction {
            probabilities: vec![0.1, 0.7, 0.2],
            maps: vec![
                ClassMap {
                    label: 1,
                    map: array![[3.0, 4.0]],
                },
                ClassMap {
                    label: 2,
                    map: array![[0.0, 0.0]],
                },
            ],
            novelty: Some(30.0),
        }
    }

    #[test]
    fn the_same_outputs_pass_without_difference() {
        let result = compare(&case(), &expected(), &found()).unwrap();
        assert!(result.passed);
        assert_eq!((result.probability_difference, result.heatmap_difference), (0.0, 0.0));
    }

    #[test]
    fn each_difference_fails_on_its_own() {
        let mut other = found();
        other.probabilities[1] = 0.65;
        assert!(!compare(&case(), &expected(), &other).unwrap().passed);
        let mut other = found();
        other.maps[0].map[[0, 0]] = 2.0;
        let result = compare(&case(), &expected(), &other).unwrap();
        assert!(
            !result.passed && (result.heatmap_difference - 0.2).abs() < 1e-6,
            "{result:?}"
        );
        let mut other = found();
        other.maps[1].map[[0, 0]] = 0.1;
        assert!(
            !compare(&case(), &expected(), &other).unwrap().passed,
            "an empty map must stay empty"
        );
        let mut other = found();
        other.novelty = Some(33.0);
        assert!(!compare(&case(), &expected(), &other).unwrap().passed);
    }

    #[test]
    fn malformed_expectations_are_named() {
        let mut short = expected();
        short.cam.pop();
        assert!(compare(&case(), &short, &found()).is_err());
        let mut odd = expected();
        odd.cam_shape = [2, 0, 2];
        assert!(compare(&case(), &odd, &found()).is_err());
        let mut one_sided = expected();
        one_sided.novelty = None;
        assert!(compare(&case(), &one_sided, &found()).is_err());
    }
}

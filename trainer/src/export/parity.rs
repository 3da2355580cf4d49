//! INT8 against float on the same images: what quantization changed.

use serde::{Deserialize, Serialize};

use super::observe::Observed;
use super::operating::{Decision, probabilities};
use crate::metrics::auroc::{self, RankedScores};
use crate::metrics::intervals::percentile;
use crate::metrics::{argmax, correlation, overlap};
use bundle::operating_point::measure;

/// One label at the operating point that ships, in both files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelParity {
    /// The label.
    pub label: String,
    /// Probability from which on it is flagged.
    pub threshold: f32,
    /// Images of the label, and of the others.
    pub images: [u64; 2],
    /// Sensitivity of float, then INT8.
    pub sensitivity: [f64; 2],
    /// Specificity of float, then INT8.
    pub specificity: [f64; 2],
    /// Area under the ROC curve of float, then INT8.
    pub auroc: [f64; 2],
    /// Images whose flag differs.
    pub flips: u64,
}

/// Agreement of the Grad-CAM maps of the class that float finds most probable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapParity {
    /// Images compared.
    pub n: u64,
    /// Images of which one file has no map of that class, or a map without any difference in it.
    pub without_map: u64,
    /// Median Pearson correlation.
    pub pearson: f64,
    /// 5th percentile of it.
    pub pearson_low: f64,
    /// Median overlap of the top 20 %.
    pub iou: f64,
}

/// All figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// Validation images.
    pub n: u64,
    /// Mean one-against-rest area of float, then INT8; absent if validation has one class only.
    pub auroc: Option<[f64; 2]>,
    /// Labels that are findings.
    pub labels: Vec<LabelParity>,
    /// Images whose most probable label differs.
    pub changed_labels: u64,
    /// Largest difference of a probability.
    pub largest_probability_difference: f64,
    /// Maps; absent if there is nothing to compare.
    pub maps: Option<MapParity>,
}

/// Compares two files on the same images, whose classes are `truth` `[N]`. Both get the temperature and the thresholds of
/// the INT8 file, because those ship.
pub fn compare(float: &Observed, int8: &Observed, truth: &[usize], labels: &[String], decision: &Decision) -> Parity {
    let before = probabilities(float.logits.view(), decision.temperature);
    let after = probabilities(int8.logits.view(), decision.temperature);
    let label = |class: usize| -> Option<LabelParity> {
        let threshold = decision.point_of(class)?.threshold;
        let positive: Vec<bool> = truth.iter().map(|&truth| truth == class).collect();
        let (a, b) = (before.column(class).to_vec(), after.column(class).to_vec());
        let (of_float, of_int8) = (measure(&a, &positive, threshold)?, measure(&b, &positive, threshold)?);
        Some(LabelParity {
            label: labels[class].clone(),
            threshold,
            images: [of_float.sensitivity.n, of_float.specificity.n],
            sensitivity: [of_float.sensitivity.value, of_int8.sensitivity.value],
            specificity: [of_float.specificity.value, of_int8.specificity.value],
            auroc: [
                RankedScores::new(&a, &positive).auroc()?,
                RankedScores::new(&b, &positive).auroc()?,
            ],
            flips: a
                .iter()
                .zip(&b)
                .filter(|&(a, b)| (*a >= threshold) != (*b >= threshold))
                .count() as u64,
        })
    };
    let areas = (
        auroc::macro_mean(before.view(), truth),
        auroc::macro_mean(after.view(), truth),
    );
    let best = |row: ndarray::ArrayView1<'_, f32>| argmax(&row.to_vec());
    Parity {
        n: truth.len() as u64,
        auroc: areas.0.zip(areas.1).map(|(float, int8)| [float, int8]),
        labels: (0..labels.len()).filter_map(label).collect(),
        changed_labels: before
            .rows()
            .into_iter()
            .zip(after.rows())
            .filter(|&(a, b)| best(a) != best(b))
            .count() as u64,
        largest_probability_difference: before
            .iter()
            .zip(&after)
            .map(|(a, b)| f64::from((a - b).abs()))
            .fold(0.0, f64::max),
        maps: compare_maps(float, int8),
    }
}

fn compare_maps(float: &Observed, int8: &Observed) -> Option<MapParity> {
    let images = float.cam.dim().0.min(int8.cam.dim().0);
    let (mut pearson, mut iou) = (Vec::new(), Vec::new());
    for position in 0..images {
        let class = float.cam_class[(position, 0)] as usize;
        let maps = float.map_of(position, class).zip(int8.map_of(position, class));
        let Some((a, b)) = maps.map(|(a, b)| {
            (
                a.iter().copied().collect::<Vec<_>>(),
                b.iter().copied().collect::<Vec<_>>(),
            )
        }) else {
            continue;
        };
        let both = correlation::pearson(&a, &b).zip(overlap::top_share_iou(&a, &b, overlap::HOT_SHARE));
        if let Some((r, share)) = both {
            pearson.push(r);
            iou.push(share);
        }
    }
    pearson.sort_by(f64::total_cmp);
    iou.sort_by(f64::total_cmp);
    Some(MapParity {
        n: pearson.len() as u64,
        without_map: (images - pearson.len()) as u64,
        pearson: percentile(&pearson, 0.5)?,
        pearson_low: percentile(&pearson, 0.05)?,
        iou: percentile(&iou, 0.5)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use ndarray::{Array2, Array4};

    use crate::recipes::OperatingPointSection;

    use super::super::operating::decide;
    use super::*;

    /// Outputs of a network with two labels for `n` images, half of each; `noise` shifts every third logit, and `tilt`
    /// is the share of another map in the maps.
    pub fn observed(n: usize, noise: f32, tilt: f32) -> Observed {
        let logits = Array2::from_shape_fn((n, 2), |(row, class)| {
            let own = if row % 2 == class { 2.0 } else { 0.0 };
            own + 0.1 * (row % 13) as f32 * class as f32 - if row % 3 == 0 && class == 1 { noise } else { 0.0 }
        });
        let probabilities = probabilities(logits.view(), 1.0);
        let cam = Array4::from_shape_fn((n, 2, 5, 5), |(row, _, y, x)| {
            let here = (y * 5 + x) as f32 * (1.0 + row as f32);
            let elsewhere = ((x * 7 + y * 3) % 11) as f32 * 3.0 * (1.0 + row as f32);
            here * (1.0 - tilt) + elsewhere * tilt
        });
        let cam_class = Array2::from_shape_fn((n, 2), |(row, at)| ((row + at) % 2) as i64);
        let rows = (0..n).collect();
        Observed {
            rows,
            logits,
            probabilities,
            cam,
            cam_class,
            novelty: vec![],
            features: Array2::zeros((n, 0)),
        }
    }

    pub fn parity_of(noise: f32, tilt: f32) -> Parity {
        let (float, int8) = (observed(60, 0.0, 0.0), observed(60, noise, tilt));
        let truth: Vec<usize> = (0..60).map(|row| row % 2).collect();
        let labels = ["normal".to_owned(), "finding".to_owned()];
        let decision = decide(float.logits.view(), &truth, &labels, &OperatingPointSection::default()).unwrap();
        compare(&float, &int8, &truth, &labels, &decision)
    }

    #[test]
    fn a_file_agrees_with_itself() {
        let parity = parity_of(0.0, 0.0);
        let label = &parity.labels[0];
        assert_eq!(
            (
                label.flips,
                parity.changed_labels,
                parity.largest_probability_difference
            ),
            (0, 0, 0.0)
        );
        assert_eq!(label.sensitivity[0], label.sensitivity[1]);
        let maps = parity.maps.unwrap();
        assert!((maps.pearson - 1.0).abs() < 1e-9 && maps.iou == 1.0 && maps.n == 60);
    }

    #[test]
    fn what_was_lost_is_seen() {
        let parity = parity_of(3.0, 0.6);
        let label = &parity.labels[0];
        assert_eq!(label.images, [30, 30]);
        assert!(
            label.flips >= 5 && label.sensitivity[1] < label.sensitivity[0] - 0.2,
            "{label:?}"
        );
        assert!(parity.auroc.unwrap()[1] < parity.auroc.unwrap()[0]);
        assert!(parity.maps.unwrap().pearson < 0.9);
    }
}

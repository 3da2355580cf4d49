//! Figures of merit, one a file. They work on plain slices: class indices, scores, maps.
//!
//! | module | what it measures |
//! |---|---|
//! | [`confusion`] | counts of truth against prediction |
//! | [`accuracy`], [`balanced_accuracy`], [`sensitivity`] | shares read from those counts |
//! | [`auroc`] | area under the receiver operating characteristic, and its curve |
//! | [`calibration`] | temperature, expected calibration error, reliability bins |
//! | [`conformal`] | quantiles for prediction sets of a wanted coverage |
//! | [`correlation`], [`overlap`], [`pointing`] | agreement of heatmaps, and where they point |
//! | [`intervals`] | Wilson intervals, group-clustered bootstrap |
//! | [`paired`] | McNemar's test, paired bootstrap of a difference |
//! | [`fleiss_kappa`] | agreement of several readers |
//! | [`kid`], [`fid`] | distances of generated images from real ones, by their features |
//! | [`manifold`] | precision and recall of generated images |
//! | [`copying`] | whether generated images are training images over again |
//!
//! A figure that the data cannot give (no image of a class, a constant map) is `None`, never a number that looks like
//! one.

pub mod accuracy;
pub mod auroc;
pub mod balanced_accuracy;
pub mod calibration;
pub mod conformal;
pub mod confusion;
pub mod copying;
pub mod correlation;
pub mod fid;
pub mod fleiss_kappa;
pub mod intervals;
pub mod kid;
pub mod manifold;
pub mod overlap;
pub mod paired;
pub mod pointing;
pub mod sensitivity;

/// Index of the largest value, the first of equals; `None` for an empty slice. NaN is never the largest.
pub fn argmax(values: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &value) in values.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, largest)| value > largest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
pub(crate) mod goldens {
    //! Values recorded from scikit-learn, SciPy and NumPy by `goldens/record.py`.

    use serde::Deserialize;

    use super::argmax;
    use super::confusion::ConfusionMatrix;

    #[derive(Debug, Deserialize)]
    pub struct Goldens {
        pub truth: Vec<usize>,
        pub probabilities: Vec<Vec<f32>>,
        pub logits: Vec<Vec<f32>>,
        pub confusion: Vec<Vec<u64>>,
        pub accuracy: f64,
        pub balanced_accuracy: f64,
        pub sensitivity: Vec<f64>,
        pub specificity: Vec<f64>,
        pub auroc: Vec<f64>,
        pub roc_class_1: Roc,
        pub temperature: f64,
        pub nll_at_temperature: f64,
        pub ece_15_bins: f64,
        pub wilson: Vec<Wilson>,
        pub map_a: Vec<f32>,
        pub map_b: Vec<f32>,
        pub pearson: f64,
        pub top_20_iou: f64,
        pub mcnemar_exact: Vec<McNemar>,
        pub shrinkage: f64,
    }

    impl Goldens {
        /// The recorded truth against the most probable class of the recorded probabilities.
        pub fn predicted(&self) -> ConfusionMatrix {
            let images = self.truth.iter().zip(&self.probabilities);
            ConfusionMatrix::from_pairs(3, images.map(|(&truth, row)| (truth, argmax(row).unwrap())))
        }
    }

    #[derive(Debug, Deserialize)]
    pub struct Roc {
        pub false_positive_rate: Vec<f64>,
        pub true_positive_rate: Vec<f64>,
    }

    #[derive(Debug, Deserialize)]
    pub struct Wilson {
        pub hits: u64,
        pub n: u64,
        pub low: f64,
        pub high: f64,
    }

    #[derive(Debug, Deserialize)]
    pub struct McNemar {
        pub only_first: u64,
        pub only_second: u64,
        pub p: f64,
    }

    pub fn load() -> Goldens {
        serde_json::from_str(include_str!("../../goldens/metrics.json")).expect("goldens/metrics.json")
    }

    pub fn assert_near(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} against {expected}");
    }
}

#[cfg(test)]
pub(crate) mod generative_goldens {
    //! Values recorded from scikit-learn, SciPy and prdc by `goldens/generative/record.py`.

    use ndarray::Array2;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct File {
        real: Vec<Vec<f64>>,
        generated: Vec<Vec<f64>>,
        held_out: Vec<Vec<f64>>,
        kid: f64,
        fid: f64,
        precision: f64,
        recall: f64,
        copying: f64,
    }

    pub struct Goldens {
        pub real: Array2<f64>,
        pub generated: Array2<f64>,
        pub held_out: Array2<f64>,
        pub kid: f64,
        pub fid: f64,
        pub precision: f64,
        pub recall: f64,
        pub copying: f64,
    }

    pub fn load() -> Goldens {
        let text = include_str!("../../goldens/generative/expected.json");
        let file: File = serde_json::from_str(text).expect("goldens/generative/expected.json");
        let matrix = |rows: Vec<Vec<f64>>| Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap();
        Goldens {
            real: matrix(file.real),
            generated: matrix(file.generated),
            held_out: matrix(file.held_out),
            kid: file.kid,
            fid: file.fid,
            precision: file.precision,
            recall: file.recall,
            copying: file.copying,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::argmax;

    #[test]
    fn argmax_takes_the_first_of_equals_and_no_nan() {
        assert_eq!(argmax(&[0.1, 0.5, 0.5]), Some(1));
        assert_eq!(argmax(&[f32::NAN, -1.0]), Some(1));
        assert_eq!(argmax(&[]), None);
    }
}

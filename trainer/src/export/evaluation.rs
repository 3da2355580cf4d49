//! What a model reaches on labelled images: in all and per source, each figure with its interval.

use std::collections::BTreeMap;
use std::fmt::Write;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::operating::reliability;
use crate::data::dataset::{LeftOut, Sample};
use crate::metrics::argmax;
use crate::metrics::auroc::RankedScores;
use crate::metrics::balanced_accuracy::balanced_accuracy;
use crate::metrics::calibration::ReliabilityBin;
use crate::metrics::confusion::ConfusionMatrix;
use crate::metrics::intervals::{BOOTSTRAP_DRAWS, Clusters, Estimate, bootstrap_estimate, wilson};
use bundle::operating_point::{ChosenPoint, measure};

/// Seed of the bootstrap: the same data gives the same interval.
const BOOTSTRAP_SEED: u64 = 0x5ca9;
/// Bins of the reliability diagram.
const RELIABILITY_BINS: usize = 10;

/// What the figures at the operating points are, for whoever reads them.
pub const THRESHOLDS_ALONE: &str = "Operating points are the thresholds alone: what keeps the appliance from an answer \
                                    (quality gate, novelty, doubt) is left out.";

/// Figures of one label against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelFigures {
    /// The label.
    pub label: String,
    /// Images of it.
    pub n: u64,
    /// Share of its images for which it was the most probable label.
    pub sensitivity: Option<Estimate>,
    /// Share of the other images for which it was not.
    pub specificity: Option<Estimate>,
    /// Area under the ROC curve.
    pub auroc: Option<Estimate>,
    /// Sensitivity and specificity at the model's threshold; absent for the label that is no finding.
    pub operating_point: Option<ChosenPoint>,
}

/// Figures over a set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Images.
    pub n: u64,
    /// Patients or groups among them: what the intervals draw.
    pub groups: u64,
    /// Share classified rightly.
    pub accuracy: Option<Estimate>,
    /// Mean sensitivity over the labels that occur.
    pub balanced_accuracy: Option<Estimate>,
    /// Mean area over the labels that have one.
    pub mean_auroc: Option<Estimate>,
    /// One entry a label, in the order of the outputs.
    pub labels: Vec<LabelFigures>,
    /// Rows are the truth, columns the prediction.
    pub confusion: ConfusionMatrix,
}

/// What plots need beside the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Corners of the ROC curve of each label: false and true positive rate.
    pub roc: Vec<Vec<(f64, f64)>>,
    /// Confidence against share right.
    pub reliability: Vec<ReliabilityBin>,
}

/// A whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What was evaluated: `validation`, `test`, or the manifest.
    pub dataset: String,
    /// Labels in the order of the outputs.
    pub labels: Vec<String>,
    /// All images.
    pub all: Figures,
    /// By source, where there are several or one with a name.
    pub sources: BTreeMap<String, Figures>,
    /// Curves over all images.
    pub curves: Curves,
    /// Rows that the figures leave out.
    pub left_out: LeftOut,
    /// Images that could not be read.
    pub unreadable: usize,
}

/// Outputs with what is known of their images, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// `[N,K]`.
    pub probabilities: ArrayView2<'a, f32>,
    /// Their rows in the data set `[N]`.
    pub rows: &'a [usize],
    /// The data set.
    pub samples: &'a [Sample],
    /// Labels `[K]`.
    pub labels: &'a [String],
    /// Threshold of each label `[K]`; none for a label that is no finding.
    pub thresholds: &'a [Option<f32>],
}

/// Evaluates in all and per source.
pub fn evaluate(dataset: &str, labelled: Labelled<'_>) -> Evaluation {
    let positions: Vec<usize> = (0..labelled.rows.len()).collect();
    let mut by_source: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &at in &positions {
        let source = &labelled.samples[labelled.rows[at]].row.source;
        by_source.entry(source.clone()).or_default().push(at);
    }
    // One source without a name is "all" again.
    by_source.retain(|source, positions| !source.is_empty() || positions.len() < labelled.rows.len());
    Evaluation {
        dataset: dataset.to_owned(),
        labels: labelled.labels.to_vec(),
        all: figures(labelled, &positions),
        curves: curves(labelled),
        sources: by_source
            .into_iter()
            .map(|(source, positions)| {
                let name = if source.is_empty() {
                    "(unknown)".to_owned()
                } else {
                    source
                };
                (name, figures(labelled, &positions))
            })
            .collect(),
        left_out: LeftOut::default(),
        unreadable: 0,
    }
}

fn curves(labelled: Labelled<'_>) -> Curves {
    let truth: Vec<usize> = labelled.rows.iter().map(|&row| labelled.samples[row].class).collect();
    let roc = |class| corners(RankedScores::of_class(labelled.probabilities, &truth, class).curve());
    Curves {
        roc: (0..labelled.labels.len()).map(roc).collect(),
        reliability: reliability(labelled.probabilities, &truth, RELIABILITY_BINS),
    }
}

/// The points at which a curve turns, and its ends.
fn corners(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let turns = |at: usize| {
        let (a, b, c) = (points[at - 1], points[at], points[at + 1]);
        let cross = (b.0 - a.0) * (c.1 - b.1) - (b.1 - a.1) * (c.0 - b.0);
        cross.abs() > 1e-15
    };
    let inner = 1..points.len().saturating_sub(1);
    let kept: Vec<usize> = inner.filter(|&at| turns(at)).collect();
    let ends = |at: usize| at == 0 || at + 1 == points.len();
    points
        .iter()
        .enumerate()
        .filter(|(at, _)| ends(*at) || kept.binary_search(at).is_ok())
        .map(|(_, &p)| p)
        .collect()
}

fn figures(labelled: Labelled<'_>, positions: &[usize]) -> Figures {
    let probabilities = labelled.probabilities.select(Axis(0), positions);
    let samples: Vec<&Sample> = positions
        .iter()
        .map(|&at| &labelled.samples[labelled.rows[at]])
        .collect();
    let truth: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
    let predicted: Vec<usize> = probabilities
        .rows()
        .into_iter()
        .map(|row| argmax(&row.to_vec()).unwrap_or(0))
        .collect();
    let classes = labelled.labels.len();
    let matrix = ConfusionMatrix::from_pairs(classes, truth.iter().copied().zip(predicted.iter().copied()));
    let clusters = Clusters::new(samples.iter().enumerate().map(|(at, sample)| cluster_key(at, sample)));
    let boot = |statistic: &dyn Fn(&[f64]) -> Option<f64>| {
        bootstrap_estimate(&clusters, BOOTSTRAP_DRAWS, BOOTSTRAP_SEED, statistic)
    };
    let ranked: Vec<RankedScores> = (0..classes)
        .map(|class| RankedScores::of_class(probabilities.view(), &truth, class))
        .collect();
    let mean_area = |weights: &[f64]| {
        let areas: Vec<f64> = ranked
            .iter()
            .filter_map(|scores| scores.auroc_weighted(weights))
            .collect();
        (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
    };
    Figures {
        n: positions.len() as u64,
        groups: clusters.groups() as u64,
        accuracy: boot(&|weights| weighted_accuracy(&truth, &predicted, weights)),
        balanced_accuracy: balanced_accuracy(&matrix)
            .and_then(|_| boot(&|weights| weighted_balanced(&truth, &predicted, classes, weights))),
        mean_auroc: boot(&mean_area),
        labels: (0..classes)
            .map(|class| LabelFigures {
                label: labelled.labels[class].clone(),
                n: matrix.positives(class),
                sensitivity: wilson(matrix.true_positives(class), matrix.positives(class)),
                specificity: wilson(matrix.true_negatives(class), matrix.negatives(class)),
                auroc: boot(&|weights| ranked[class].auroc_weighted(weights)),
                operating_point: labelled.thresholds.get(class).copied().flatten().and_then(|threshold| {
                    let positive: Vec<bool> = truth.iter().map(|&truth| truth == class).collect();
                    measure(&probabilities.column(class).to_vec(), &positive, threshold)
                }),
            })
            .collect(),
        confusion: matrix,
    }
}

/// Patient and near-duplicates, else the patient, else the image alone.
pub fn cluster_key(at: usize, sample: &Sample) -> String {
    let known = sample.row.group_id.as_ref().or(sample.row.patient_id.as_ref());
    known.map_or_else(|| format!("image {at}"), |key| format!("group {key}"))
}

/// Share of the images predicted rightly, each counted as often as its weight says.
pub(crate) fn weighted_accuracy(truth: &[usize], predicted: &[usize], weights: &[f64]) -> Option<f64> {
    let n: f64 = weights.iter().sum();
    let rows = truth.iter().zip(predicted).zip(weights);
    let right: f64 = rows
        .filter(|((truth, predicted), _)| truth == predicted)
        .map(|(_, weight)| weight)
        // An empty `sum` of floats is -0.0, which would be printed with its sign.
        .fold(0.0, |sum, weight| sum + weight);
    (n > 0.0).then(|| right / n)
}

/// Mean sensitivity over the classes that occur, each image counted as often as its weight says.
pub(crate) fn weighted_balanced(truth: &[usize], predicted: &[usize], classes: usize, weights: &[f64]) -> Option<f64> {
    let mut sums = Array2::<f64>::zeros((classes, 2));
    for ((&truth, &predicted), &weight) in truth.iter().zip(predicted).zip(weights) {
        sums[(truth, 0)] += weight;
        sums[(truth, 1)] += if truth == predicted { weight } else { 0.0 };
    }
    let shares: Vec<f64> = sums
        .rows()
        .into_iter()
        .filter(|row| row[0] > 0.0)
        .map(|row| row[1] / row[0])
        .collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// `0.912 (0.874-0.941)`, or a dash.
pub fn words(estimate: Option<&Estimate>) -> String {
    estimate.map_or_else(
        || "-".to_owned(),
        |e| format!("{:.3} ({:.3}-{:.3})", e.value, e.low, e.high),
    )
}

impl Evaluation {
    /// What a reader must not overlook: labels for which nothing shows that the model is better than a coin.
    pub fn warnings(&self) -> Vec<String> {
        let flags = |label: &&LabelFigures| label.operating_point.is_some();
        let judged = |label: &&LabelFigures| flags(label) || !self.all.labels.iter().any(|label| flags(&label));
        let by_chance = |label: &LabelFigures| {
            let area = label.auroc.filter(|area| area.low <= 0.5)?;
            let (label, n, dataset) = (&label.label, area.n, &self.dataset);
            Some(format!(
                "warning: AUROC of {label} on {dataset} is {}: {n} images do not show that the model is better than chance",
                words(Some(&area))
            ))
        };
        self.all.labels.iter().filter(judged).filter_map(by_chance).collect()
    }

    /// The evaluation as text for a terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.write_figures(&mut text, &format!("{}: all", self.dataset), &self.all);
        for (source, figures) in &self.sources {
            self.write_figures(&mut text, &format!("source {source}"), figures);
        }
        for line in self.warnings().into_iter().chain(self.left_out.lines()) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        if self.unreadable > 0 {
            let _ = writeln!(text, "left out, unreadable: {}", self.unreadable);
        }
        text.trim_end().to_owned()
    }

    fn write_figures(&self, text: &mut String, heading: &str, figures: &Figures) {
        let _ = writeln!(
            text,
            "{heading}: {} images of {} patients or groups",
            figures.n, figures.groups
        );
        let _ = writeln!(
            text,
            "  accuracy {}   balanced {}   AUROC {}",
            words(figures.accuracy.as_ref()),
            words(figures.balanced_accuracy.as_ref()),
            words(figures.mean_auroc.as_ref())
        );
        let width = self.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        for (class, label) in figures.labels.iter().enumerate() {
            let _ = writeln!(
                text,
                "  {:width$}  n {:>5}  sensitivity {:19}  specificity {:19}  AUROC {:19}  predicted {:?}",
                label.label,
                label.n,
                words(label.sensitivity.as_ref()),
                words(label.specificity.as_ref()),
                words(label.auroc.as_ref()),
                figures.confusion.counts()[class],
            );
            if let Some(point) = &label.operating_point {
                let _ = writeln!(
                    text,
                    "  {:width$}  flagged from {:.3}: sensitivity {}  specificity {}",
                    "",
                    point.threshold,
                    words(Some(&point.sensitivity)),
                    words(Some(&point.specificity)),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::data::manifest::Row;

    use super::*;

    fn sample(class: usize, source: &str, group: &str) -> Sample {
        let row = Row {
            source: source.into(),
            group_id: Some(group.into()),
            ..Row::default()
        };
        Sample {
            row,
            expanded: None,
            generated: None,
            class,
            file: "a.png".into(),
        }
    }

    fn evaluation() -> Evaluation {
        let samples: Vec<Sample> = (0..40)
            .map(|at| sample(at % 2, if at < 20 { "a" } else { "b" }, &(at / 4).to_string()))
            .collect();
        // Source a is classified perfectly, source b by chance.
        let probabilities = Array2::from_shape_fn((40, 2), |(at, class)| {
            let says = if at < 20 { at % 2 } else { (at / 2) % 2 };
            if says == class { 0.9 } else { 0.1 }
        });
        let rows: Vec<usize> = (0..40).collect();
        let labels = ["normal".to_owned(), "finding".to_owned()];
        evaluate(
            "test",
            Labelled {
                probabilities: probabilities.view(),
                rows: &rows,
                samples: &samples,
                labels: &labels,
                thresholds: &[None, Some(0.5)],
            },
        )
    }

    #[test]
    fn sources_are_told_apart() {
        let evaluation = evaluation();
        assert_eq!(evaluation.sources["a"].accuracy.unwrap().value, 1.0);
        assert_eq!(evaluation.sources["b"].accuracy.unwrap().value, 0.5);
        assert_eq!(evaluation.all.accuracy.unwrap().value, 0.75);
        assert_eq!((evaluation.all.n, evaluation.all.groups), (40, 10));
        let finding = &evaluation.all.labels[1];
        assert_eq!(finding.operating_point.unwrap().sensitivity.value, 0.75);
        assert_eq!(finding.sensitivity.unwrap().n, 20);
        assert_eq!(evaluation.all.labels[0].operating_point, None);
        // Scores take two values, so the curve has one corner.
        assert_eq!(evaluation.curves.roc[1], [(0.0, 0.0), (0.25, 0.75), (1.0, 1.0)]);
    }

    #[test]
    fn the_table_names_sources_and_survives_json() {
        let evaluation = evaluation();
        let table = evaluation.table();
        for part in [
            "test: all: 40 images of 10",
            "source b",
            "flagged from 0.500",
            "balanced 0.750",
        ] {
            assert!(table.contains(part), "{part} is not in: {table}");
        }
        let json = serde_json::to_string(&evaluation).unwrap();
        let read: Evaluation = serde_json::from_str(&json).unwrap();
        assert_eq!(read.sources["b"].confusion, evaluation.sources["b"].confusion);
        assert_eq!(read.curves.roc, evaluation.curves.roc);
    }

    #[test]
    fn a_model_at_chance_is_warned_of() {
        let figures = |said: &dyn Fn(usize) -> f32| {
            let samples: Vec<Sample> = (0..40).map(|at| sample(at % 2, "", &at.to_string())).collect();
            let probabilities = Array2::from_shape_fn(
                (40, 2),
                |(at, class)| {
                    if class == 1 { said(at) } else { 1.0 - said(at) }
                },
            );
            let (rows, labels) = ((0..40).collect::<Vec<_>>(), ["normal".to_owned(), "finding".to_owned()]);
            evaluate(
                "test",
                Labelled {
                    probabilities: probabilities.view(),
                    rows: &rows,
                    samples: &samples,
                    labels: &labels,
                    thresholds: &[None, Some(0.5)],
                },
            )
        };
        assert_eq!(figures(&|at| (at % 2) as f32).warnings(), Vec::<String>::new());
        let chance = figures(&|at| (at % 3) as f32 / 2.0);
        let warnings = chance.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("warning: AUROC of finding on test is"),
            "{warnings:?}"
        );
        assert!(chance.table().contains(&warnings[0]));
    }

    #[test]
    fn nothing_right_is_zero_without_a_sign() {
        let samples: Vec<Sample> = (0..6).map(|at| sample(at % 2, "", &at.to_string())).collect();
        // Each image is taken for the other class.
        let probabilities = Array2::from_shape_fn((6, 2), |(at, class)| if at % 2 == class { 0.1 } else { 0.9 });
        let (rows, labels) = ((0..6).collect::<Vec<_>>(), ["a".to_owned(), "b".to_owned()]);
        let evaluation = evaluate(
            "x",
            Labelled {
                probabilities: probabilities.view(),
                rows: &rows,
                samples: &samples,
                labels: &labels,
                thresholds: &[None, None],
            },
        );
        let table = evaluation.table();
        assert!(table.contains("accuracy 0.000 (0.000-0.000)"), "{table}");
        let json = serde_json::to_string(&evaluation).unwrap();
        assert!(!json.contains("-0.0"), "{json}");
    }

    #[test]
    fn a_source_with_one_class_has_no_area() {
        let samples: Vec<Sample> = (0..6).map(|_| sample(1, "", "g")).collect();
        let probabilities = Array2::from_elem((6, 2), 0.5);
        let (rows, labels) = ((0..6).collect::<Vec<_>>(), ["a".to_owned(), "b".to_owned()]);
        let evaluation = evaluate(
            "x",
            Labelled {
                probabilities: probabilities.view(),
                rows: &rows,
                samples: &samples,
                labels: &labels,
                thresholds: &[None, None],
            },
        );
        assert_eq!(
            (evaluation.all.mean_auroc, evaluation.all.labels[1].specificity),
            (None, None)
        );
        assert!(evaluation.sources.is_empty());
    }
}

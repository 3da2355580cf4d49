//! Figures of each arm on the same test images, and paired tests between the arms.
//!
//! Images of one patient are not independent: intervals draw whole patients. The seeds of an arm are averaged, so that an
//! interval is that of the test images; how far the seeds lie apart stands beside it.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array2;
use serde::Serialize;

use crate::export::evaluation::{weighted_accuracy, weighted_balanced};
use crate::metrics::argmax;
use crate::metrics::auroc::RankedScores;
use crate::metrics::intervals::{BOOTSTRAP_DRAWS, Clusters, Estimate, bootstrap_estimate};
use crate::metrics::paired::{discordant, mcnemar_exact, paired_bootstrap};

/// The images that all arms are judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSet {
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Class of each image.
    pub truth: Vec<usize>,
    /// Patient or group of each image.
    pub patients: Vec<String>,
    /// Source of each image.
    pub sources: Vec<String>,
}

/// What an arm's networks said.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmOutputs {
    /// Name of the arm.
    pub name: String,
    /// Real images that it learnt from.
    pub real_images: usize,
    /// Generated images that it learnt from.
    pub generated_images: usize,
    /// Steps of each training.
    pub steps: u64,
    /// Seed of each training.
    pub seeds: Vec<u64>,
    /// Probabilities `[N,K]` of each training's network.
    pub probabilities: Vec<Array2<f32>>,
}

/// Figures of one training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeedFigures {
    /// Its seed.
    pub seed: u64,
    /// Share of the images that are classified rightly.
    pub accuracy: f64,
    /// Mean sensitivity over the classes.
    pub balanced_accuracy: f64,
    /// Mean one-against-rest area under the ROC curve.
    pub auroc: f64,
}

/// Figures of an arm: means over its seeds, with intervals over patients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmFigures {
    /// Name of the arm.
    pub name: String,
    /// Real images that it learnt from.
    pub real_images: usize,
    /// Generated images that it learnt from.
    pub generated_images: usize,
    /// Steps of each training.
    pub steps: u64,
    /// Each training by itself.
    pub seeds: Vec<SeedFigures>,
    /// Share of the images that are classified rightly.
    pub accuracy: Estimate,
    /// Mean sensitivity over the classes.
    pub balanced_accuracy: Estimate,
    /// Mean one-against-rest area under the ROC curve.
    pub auroc: Estimate,
    /// Accuracy by source.
    pub by_source: BTreeMap<String, Estimate>,
}

/// One arm against another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm that is compared with.
    pub first: String,
    /// The arm that is compared.
    pub second: String,
    /// Balanced accuracy of the second less that of the first, with its interval over patients.
    pub gain: Estimate,
    /// Two-sided p of no difference, by the bootstrap over patients.
    pub p: f64,
    /// The same, for as many comparisons as there are (Holm 1979).
    pub p_holm: f64,
    /// Images that only the first gets right, and only the second, by the mean probabilities of its seeds.
    pub discordant: [u64; 2],
    /// McNemar's exact p of these, which takes images for independent.
    pub mcnemar_p: f64,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Utility {
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Test images.
    pub images: usize,
    /// Their patients or groups.
    pub patients: usize,
    /// The arms, in the order given.
    pub arms: Vec<ArmFigures>,
    /// Each arm against each one before it.
    pub comparisons: Vec<Comparison>,
}

/// Compares arms on a test set; `seed` draws the bootstrap. `None` where the test set lacks a class, or an arm has no
/// training.
#[must_use]
pub fn compare(test: &TestSet, arms: &[ArmOutputs], seed: u64) -> Option<Utility> {
    if (0..test.labels.len()).any(|class| !test.truth.contains(&class)) {
        return None;
    }
    let clusters = Clusters::new(test.patients.iter());
    let judged: Vec<Judged<'_>> = arms.iter().map(|arm| Judged::new(test, arm)).collect();
    let figures = judged
        .iter()
        .map(|arm| arm.figures(&clusters, seed))
        .collect::<Option<_>>()?;
    let mut comparisons = Vec::new();
    for (number, second) in judged.iter().enumerate() {
        for first in &judged[..number] {
            comparisons.push(comparison(first, second, &clusters, seed)?);
        }
    }
    let adjusted = holm(&comparisons.iter().map(|found| found.p).collect::<Vec<_>>());
    for (found, p) in comparisons.iter_mut().zip(adjusted) {
        found.p_holm = p;
    }
    Some(Utility {
        labels: test.labels.clone(),
        images: test.truth.len(),
        patients: clusters.groups(),
        arms: figures,
        comparisons,
    })
}

/// An arm with what its networks predicted.
struct Judged<'a> {
    test: &'a TestSet,
    arm: &'a ArmOutputs,
    predicted: Vec<Vec<usize>>,
    ranked: Vec<Vec<RankedScores>>,
}

impl<'a> Judged<'a> {
    fn new(test: &'a TestSet, arm: &'a ArmOutputs) -> Self {
        let of_classes = |probabilities: &Array2<f32>| {
            let classes = 0..test.labels.len();
            classes
                .map(|class| RankedScores::of_class(probabilities.view(), &test.truth, class))
                .collect()
        };
        Self {
            test,
            arm,
            predicted: arm.probabilities.iter().map(predicted).collect(),
            ranked: arm.probabilities.iter().map(of_classes).collect(),
        }
    }

    /// The mean over the seeds.
    fn mean(&self, of_seed: impl Fn(usize) -> Option<f64>) -> Option<f64> {
        let seeds = self.predicted.len();
        let sum: f64 = (0..seeds).map(of_seed).sum::<Option<f64>>()?;
        (seeds > 0).then(|| sum / seeds as f64)
    }

    fn accuracy_of(&self, seed: usize, weights: &[f64]) -> Option<f64> {
        weighted_accuracy(&self.test.truth, &self.predicted[seed], weights)
    }

    fn balanced_of(&self, seed: usize, weights: &[f64]) -> Option<f64> {
        weighted_balanced(&self.test.truth, &self.predicted[seed], self.test.labels.len(), weights)
    }

    fn area_of(&self, seed: usize, weights: &[f64]) -> Option<f64> {
        let ranked = &self.ranked[seed];
        let sum: f64 = ranked
            .iter()
            .map(|class| class.auroc_weighted(weights))
            .sum::<Option<f64>>()?;
        (!ranked.is_empty()).then(|| sum / ranked.len() as f64)
    }

    fn accuracy(&self, weights: &[f64]) -> Option<f64> {
        self.mean(|seed| self.accuracy_of(seed, weights))
    }

    fn balanced_accuracy(&self, weights: &[f64]) -> Option<f64> {
        self.mean(|seed| self.balanced_of(seed, weights))
    }

    fn figures(&self, clusters: &Clusters, seed: u64) -> Option<ArmFigures> {
        let estimate =
            |figure: &dyn Fn(&[f64]) -> Option<f64>| bootstrap_estimate(clusters, BOOTSTRAP_DRAWS, seed, figure);
        let all = vec![1.0; self.test.truth.len()];
        let of_seed = |(number, seed): (usize, &u64)| {
            Some(SeedFigures {
                seed: *seed,
                accuracy: self.accuracy_of(number, &all)?,
                balanced_accuracy: self.balanced_of(number, &all)?,
                auroc: self.area_of(number, &all)?,
            })
        };
        let sources: BTreeSet<&String> = self.test.sources.iter().collect();
        let of_source = |source: &String| {
            let within = |weights: &[f64]| -> Vec<f64> {
                let pairs = weights.iter().zip(&self.test.sources);
                pairs
                    .map(|(weight, of)| if of == source { *weight } else { 0.0 })
                    .collect()
            };
            let mut found = estimate(&|weights| self.accuracy(&within(weights)))?;
            found.n = self.test.sources.iter().filter(|of| *of == source).count() as u64;
            Some((source.clone(), found))
        };
        Some(ArmFigures {
            name: self.arm.name.clone(),
            real_images: self.arm.real_images,
            generated_images: self.arm.generated_images,
            steps: self.arm.steps,
            seeds: self.arm.seeds.iter().enumerate().map(of_seed).collect::<Option<_>>()?,
            accuracy: estimate(&|weights| self.accuracy(weights))?,
            balanced_accuracy: estimate(&|weights| self.balanced_accuracy(weights))?,
            auroc: estimate(&|weights| self.mean(|seed| self.area_of(seed, weights)))?,
            by_source: sources.into_iter().filter_map(of_source).collect(),
        })
    }

    /// What the seeds' networks get right together.
    fn together(&self) -> Vec<bool> {
        let mut sum = Array2::zeros((self.test.truth.len(), self.test.labels.len()));
        self.arm.probabilities.iter().for_each(|of_seed| sum += of_seed);
        let pairs = predicted(&sum).into_iter().zip(&self.test.truth);
        pairs.map(|(predicted, truth)| predicted == *truth).collect()
    }
}

fn comparison(first: &Judged<'_>, second: &Judged<'_>, clusters: &Clusters, seed: u64) -> Option<Comparison> {
    let paired = paired_bootstrap(
        clusters,
        first.test.truth.len() as u64,
        BOOTSTRAP_DRAWS,
        seed,
        |weights| first.balanced_accuracy(weights),
        |weights| second.balanced_accuracy(weights),
    )?;
    let (only_first, only_second) = discordant(&first.together(), &second.together());
    Some(Comparison {
        first: first.arm.name.clone(),
        second: second.arm.name.clone(),
        gain: paired.difference,
        p: paired.p,
        p_holm: paired.p,
        discordant: [only_first, only_second],
        mcnemar_p: mcnemar_exact(only_first, only_second),
    })
}

fn predicted(probabilities: &Array2<f32>) -> Vec<usize> {
    let rows = probabilities.rows().into_iter();
    rows.map(|row| argmax(&row.to_vec()).unwrap_or(0)).collect()
}

/// Holm's step-down adjustment of p for as many tests (Holm 1979), in the order given.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(((p.len() - rank) as f64 * p[at]).min(1.0));
        adjusted[at] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 images of 20 patients, two classes in turn by patient, two sources.
    fn test_set() -> TestSet {
        TestSet {
            labels: vec!["a".into(), "b".into()],
            truth: (0..40).map(|n| n / 2 % 2).collect(),
            patients: (0..40).map(|n| format!("p{}", n / 2)).collect(),
            sources: (0..40).map(|n| if n < 20 { "x" } else { "y" }.to_owned()).collect(),
        }
    }

    /// An arm that errs on these images, whatever the seed.
    fn arm(name: &str, errs: impl Fn(usize) -> bool) -> ArmOutputs {
        let truth = test_set().truth;
        let of_seed = |seed: u64| {
            Array2::from_shape_fn((40, 2), |(n, class)| {
                let said = if errs(n) { 1 - truth[n] } else { truth[n] };
                let sure = 0.7 + 0.01 * seed as f32;
                if said == class { sure } else { 1.0 - sure }
            })
        };
        ArmOutputs {
            name: name.into(),
            real_images: 100,
            generated_images: 0,
            steps: 10,
            seeds: vec![1, 2],
            probabilities: vec![of_seed(1), of_seed(2)],
        }
    }

    #[test]
    fn figures_are_those_of_the_counts() {
        // Two errors in class a, source x.
        let found = compare(&test_set(), &[arm("one", |n| n < 2), arm("two", |_| false)], 1).unwrap();
        assert_eq!((found.images, found.patients), (40, 20));
        let [one, two] = &found.arms[..] else {
            panic!("two arms")
        };
        assert!((one.accuracy.value - 0.95).abs() < 1e-12 && two.accuracy.value == 1.0);
        assert!((one.balanced_accuracy.value - (0.9 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!((one.by_source["x"].value, one.by_source["x"].n), (0.9, 20));
        assert_eq!(one.by_source["y"].value, 1.0);
        let gain = &found.comparisons[0];
        assert_eq!((gain.first.as_str(), gain.second.as_str()), ("one", "two"));
        assert!((gain.gain.value - 0.05).abs() < 1e-12);
        // One patient: its two images say no more than one would, whatever McNemar makes of them.
        assert_eq!(gain.discordant, [0, 2]);
        assert!(gain.p > 0.1 && gain.gain.low == 0.0, "{gain:?}");
    }

    #[test]
    fn a_large_gain_is_more_than_chance_and_none_is_not() {
        let poor = || arm("poor", |n| n / 2 % 3 != 0);
        let found = compare(&test_set(), &[poor(), arm("good", |_| false)], 1).unwrap();
        assert!(found.comparisons[0].p_holm < 0.01 && found.comparisons[0].mcnemar_p < 0.01);
        let found = compare(&test_set(), &[poor(), poor()], 1).unwrap();
        assert_eq!((found.comparisons[0].p, found.comparisons[0].mcnemar_p), (1.0, 1.0));
    }

    /// R: p.adjust(c(0.01, 0.04, 0.03, 0.5), "holm").
    #[test]
    fn holm_is_rs() {
        let found = holm(&[0.01, 0.04, 0.03, 0.5]);
        let wanted = [0.04, 0.09, 0.09, 0.5];
        assert!(
            found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12),
            "{found:?}"
        );
    }

    #[test]
    fn a_test_set_without_a_class_gives_no_figure() {
        let mut test = test_set();
        test.labels.push("c".into());
        assert!(compare(&test, &[arm("one", |_| false)], 1).is_none());
    }
}

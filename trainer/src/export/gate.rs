//! The parity gate: a bundle is packed only if INT8 loses no more against float than the recipe allows.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::parity::Parity;
use crate::recipes::GateSection;

/// One figure against its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// `auroc-loss`, `sensitivity-loss/LABEL`, `specificity-loss/LABEL`, `cam-pearson`, `cam-iou`.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What is allowed. For a share of n images it is at least 1/n: a smaller loss cannot be measured.
    pub limit: f64,
    /// The recipe's limit, where that is less than one image and `limit` is wider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<f64>,
    /// Whether `value` must be at least `limit`; else at most.
    pub at_least: bool,
    /// Images behind it.
    pub n: u64,
    /// Whether the limit holds.
    pub held: bool,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// SHA-256 of the INT8 file that was judged.
    pub model_sha256: String,
    /// Whether every limit holds.
    pub held: bool,
    /// Figure by figure.
    pub figures: Vec<Figure>,
    /// What they were read from.
    pub parity: Parity,
}

/// Digits behind the point of a limit in words.
const MOST_DIGITS: usize = 8;
/// Rounding of shares is no loss.
const ROUNDING: f64 = 1e-9;

impl Figure {
    fn at_most(name: String, value: f64, limit: f64, n: u64) -> Self {
        Self {
            name,
            value,
            limit,
            asked: None,
            at_least: false,
            n,
            held: value <= limit + ROUNDING,
        }
    }

    fn at_least(name: &str, value: f64, limit: f64, n: u64) -> Self {
        Self {
            name: name.to_owned(),
            value,
            limit,
            asked: None,
            at_least: true,
            n,
            held: value >= limit - ROUNDING,
        }
    }

    /// A loss in shares of n images: one image more or less is always within the limit.
    fn share_loss(name: String, [float, int8]: [f64; 2], limit: f64, n: u64) -> Self {
        let one_image = 1.0 / n.max(1) as f64;
        Self {
            asked: (limit < one_image).then_some(limit),
            ..Self::at_most(name, float - int8, limit.max(one_image), n)
        }
    }

    /// Value and limit with as many digits as the limit needs to be told from its rounding.
    fn pair(&self, factor: f64, least: usize) -> [String; 2] {
        let limit = self.limit * factor;
        let exact = |digits: &usize| {
            let scale = 10_f64.powi(*digits as i32);
            ((limit * scale).round() / scale - limit).abs() < 1e-9
        };
        // One image in n has digits without end.
        let digits = match self.asked {
            Some(_) => least,
            None => (least..=MOST_DIGITS).find(exact).unwrap_or(MOST_DIGITS),
        };
        [self.value.abs() * factor, limit].map(|number| format!("{number:.digits$}"))
    }

    /// The figure in words, for people.
    pub fn words(&self) -> String {
        let (kind, label) = self
            .name
            .split_once('/')
            .map_or((self.name.as_str(), ""), |(kind, label)| (kind, label));
        let of = if label.is_empty() {
            String::new()
        } else {
            format!(" of {label}")
        };
        let way = if self.value < 0.0 { "rises" } else { "falls" };
        let sign = if self.value < 0.0 { "-" } else { "" };
        let n = self.n;
        match kind {
            "sensitivity-loss" | "specificity-loss" => {
                let [value, limit] = self.pair(100.0, 1);
                let share = kind.trim_end_matches("-loss");
                format!("{share}{of} {way} by {value} points (may fall by {limit}, {n} images)")
            }
            "auroc-loss" => {
                let [value, limit] = self.pair(1.0, 4);
                format!("AUROC {way} by {value} (may fall by {limit}, {n} images)")
            }
            "cam-pearson" => {
                let [value, limit] = self.pair(1.0, 4);
                format!("median correlation of the Grad-CAM maps is {sign}{value} (at least {limit}, {n} images)")
            }
            _ => {
                let [value, limit] = self.pair(1.0, 3);
                format!("median overlap of the maps' top 20 % is {sign}{value} (at least {limit}, {n} images)")
            }
        }
    }
}

impl GateReport {
    /// Judges `parity` of the INT8 file with this digest. A figure that cannot be measured (no map to compare, one
    /// class only) does not hold, because nothing shows that it would.
    pub fn judge(parity: Parity, limits: &GateSection, model_sha256: String) -> Self {
        let mut figures = Vec::new();
        let [float, int8] = parity.auroc.unwrap_or([1.0, 0.0]);
        figures.push(Figure::at_most(
            "auroc-loss".to_owned(),
            float - int8,
            limits.max_auroc_loss,
            parity.n,
        ));
        for label in &parity.labels {
            let [positives, negatives] = label.images;
            let name = format!("sensitivity-loss/{}", label.label);
            figures.push(Figure::share_loss(
                name,
                label.sensitivity,
                limits.max_sensitivity_loss,
                positives,
            ));
            let name = format!("specificity-loss/{}", label.label);
            figures.push(Figure::share_loss(
                name,
                label.specificity,
                limits.max_specificity_loss,
                negatives,
            ));
        }
        let (pearson, iou, n) = parity
            .maps
            .map_or((-1.0, 0.0, 0), |maps| (maps.pearson, maps.iou, maps.n));
        figures.push(Figure::at_least("cam-pearson", pearson, limits.min_cam_pearson, n));
        figures.push(Figure::at_least("cam-iou", iou, limits.min_cam_iou, n));
        Self {
            model_sha256,
            held: figures.iter().all(|figure| figure.held),
            figures,
            parity,
        }
    }

    /// What does not hold, by how much, and what to try.
    pub fn message(&self) -> String {
        let failed: Vec<String> = self
            .figures
            .iter()
            .filter(|figure| !figure.held)
            .map(Figure::words)
            .collect();
        format!(
            "{}; try more calibration images (quantize.calibration_images), another quantize.method, or a longer \
             training",
            failed.join("; ")
        )
    }

    /// All figures in lines, for people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        for figure in &self.figures {
            let mark = if figure.held { "ok  " } else { "FAIL" };
            // Writing into a String cannot fail.
            let _ = writeln!(table, "  {mark} {}", figure.words());
        }
        if let Some(warning) = self.warning() {
            let _ = writeln!(table, "{warning}");
        }
        table.trim_end().to_owned()
    }

    /// What is less strict than the recipe asks, because there are too few images.
    pub fn warning(&self) -> Option<String> {
        let widened = |figure: &Figure| {
            let asked = figure.asked? * 100.0;
            let what = figure.name.replace("-loss/", " of ");
            Some(format!(
                "{what} {asked:.1} -> {:.1} points ({} images)",
                figure.limit * 100.0,
                figure.n
            ))
        };
        let widened: Vec<String> = self.figures.iter().filter_map(widened).collect();
        (!widened.is_empty()).then(|| {
            format!(
                "warning: too few validation images to measure the recipe's limits, so each may lose one image: {}",
                widened.join("; ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parity::tests::parity_of;
    use super::*;

    fn judge(noise: f32, tilt: f32) -> GateReport {
        GateReport::judge(parity_of(noise, tilt), &GateSection::default(), "0".repeat(64))
    }

    #[test]
    fn equal_files_pass() {
        let report = judge(0.0, 0.0);
        assert!(report.held, "{}", report.table());
        assert_eq!(report.figures.len(), 5);
    }

    #[test]
    fn the_message_says_by_how_much() {
        let report = judge(3.0, 0.6);
        assert!(!report.held);
        let message = report.message();
        for part in [
            "sensitivity of finding falls by",
            "points (may fall by 3.3, 30 images)",
            "Grad-CAM",
            "AUROC",
        ] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!message.contains("specificity"), "{message}");
    }

    #[test]
    fn what_cannot_be_measured_does_not_pass() {
        let mut parity = parity_of(0.0, 0.0);
        parity.maps = None;
        assert!(!GateReport::judge(parity, &GateSection::default(), String::new()).held);
        let mut parity = parity_of(0.0, 0.0);
        parity.auroc = None;
        assert!(!GateReport::judge(parity, &GateSection::default(), String::new()).held);
    }

    #[test]
    fn a_limit_that_one_image_breaks_is_widened_with_a_warning() {
        let report = judge(0.0, 0.0);
        let warning = report.warning().unwrap();
        for part in [
            "sensitivity of finding 1.0 -> 3.3 points (30 images)",
            "warning: too few validation images",
        ] {
            assert!(warning.contains(part), "{part} is not in: {warning}");
        }
        assert!(report.table().contains(&warning));
        let mut large = report;
        large.figures.iter_mut().for_each(|figure| figure.asked = None);
        assert_eq!(large.warning(), None);
    }

    #[test]
    fn a_limit_is_told_from_its_rounding() {
        let close = Figure::at_least("cam-pearson", 0.9998, 0.99999, 10).words();
        assert!(close.contains("is 0.99980 (at least 0.99999,"), "{close}");
        let usual = Figure::at_least("cam-pearson", -0.25, 0.95, 10).words();
        assert!(usual.contains("is -0.2500 (at least 0.9500,"), "{usual}");
        let loss = Figure::share_loss("sensitivity-loss/a".into(), [1.0, 0.9], 0.0005, 10_000).words();
        assert!(loss.contains("falls by 10.00 points (may fall by 0.05,"), "{loss}");
    }

    #[test]
    fn one_image_is_within_the_limit_and_two_are_not() {
        let loss = |lost: f64| Figure::share_loss(String::new(), [1.0, 1.0 - lost / 30.0], 0.01, 30).held;
        assert!(loss(1.0) && !loss(2.0));
        let large = |lost: f64| Figure::share_loss(String::new(), [1.0, 1.0 - lost / 1000.0], 0.01, 1000).held;
        assert!(large(10.0) && !large(11.0));
    }
}

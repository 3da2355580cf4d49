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

/// Rounding of shares is no loss.
const ROUNDING: f64 = 1e-9;

impl Figure {
    fn at_most(name: String, value: f64, limit: f64, n: u64) -> Self {
        Self {
            name,
            value,
            limit,
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
            at_least: true,
            n,
            held: value >= limit - ROUNDING,
        }
    }

    /// A loss in shares of n images: one image more or less is always within the limit.
    fn share_loss(name: String, [float, int8]: [f64; 2], limit: f64, n: u64) -> Self {
        Self::at_most(name, float - int8, limit.max(1.0 / n.max(1) as f64), n)
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
        match kind {
            "sensitivity-loss" | "specificity-loss" => format!(
                "{}{of} {way} by {:.1} points (may fall by {:.1}, {} images)",
                kind.trim_end_matches("-loss"),
                self.value.abs() * 100.0,
                self.limit * 100.0,
                self.n
            ),
            "auroc-loss" => {
                format!(
                    "AUROC {way} by {:.4} (may fall by {:.4}, {} images)",
                    self.value.abs(),
                    self.limit,
                    self.n
                )
            }
            "cam-pearson" => format!(
                "median correlation of the Grad-CAM maps is {:.4} (at least {:.4}, {} images)",
                self.value, self.limit, self.n
            ),
            _ => format!(
                "median overlap of the maps' top 20 % is {:.3} (at least {:.3}, {} images)",
                self.value, self.limit, self.n
            ),
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
        table.trim_end().to_owned()
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
    fn one_image_is_within_the_limit_and_two_are_not() {
        let loss = |lost: f64| Figure::share_loss(String::new(), [1.0, 1.0 - lost / 30.0], 0.01, 30).held;
        assert!(loss(1.0) && !loss(2.0));
        let large = |lost: f64| Figure::share_loss(String::new(), [1.0, 1.0 - lost / 1000.0], 0.01, 1000).held;
        assert!(large(10.0) && !large(11.0));
    }
}

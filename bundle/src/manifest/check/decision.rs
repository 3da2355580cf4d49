//! What the figures that decide must fulfil: operating points, temperature, prediction sets, novelty.

use super::error::{ManifestError, Result, field, quoted};
use super::values::{above_zero, finite, fraction, unique};
use crate::manifest::Manifest;

impl Manifest {
    pub(super) fn check_decision(&self) -> Result {
        for (i, point) in self.operating_points.iter().enumerate() {
            let at = format!("operating_points[{i}].label");
            let index = self.names_label(&at, &point.label)?;
            if self.labels[index].no_finding {
                let wanted = "the label without a finding has no operating point";
                return Err(field(at, quoted(&point.label), wanted));
            }
            // At 0 everything would be flagged, and above 1 nothing.
            if !(point.threshold > 0.0 && point.threshold <= 1.0) {
                let at = format!("operating_points[{i}].threshold");
                return Err(field(at, point.threshold, "above 0 and at most 1"));
            }
        }
        unique(
            "operating_points",
            self.operating_points.iter().map(|p| p.label.as_str()),
        )?;
        for label in self.labels.iter().filter(|l| !l.no_finding) {
            if !self.operating_points.iter().any(|p| p.label == label.id) {
                return Err(ManifestError::Missing(format!(
                    "the label '{}' has no operating point",
                    label.id
                )));
            }
        }
        above_zero("temperature", self.temperature)?;
        self.check_conformal()?;
        self.check_novelty()
    }

    fn check_conformal(&self) -> Result {
        let Some(conformal) = &self.conformal else {
            return Ok(());
        };
        fraction("conformal.coverage", conformal.coverage)?;
        for (i, quantile) in conformal.quantiles.iter().enumerate() {
            self.names_label(&format!("conformal.quantiles[{i}].label"), &quantile.label)?;
            fraction(&format!("conformal.quantiles[{i}].score"), quantile.score)?;
        }
        unique(
            "conformal.quantiles",
            conformal.quantiles.iter().map(|q| q.label.as_str()),
        )?;
        if conformal.quantiles.len() != self.labels.len() {
            let found = format!("{} quantiles", conformal.quantiles.len());
            return Err(field(
                "conformal.quantiles",
                found,
                format!("one for each of the {} labels", self.labels.len()),
            ));
        }
        Ok(())
    }

    fn check_novelty(&self) -> Result {
        match (&self.novelty, &self.model.outputs.novelty) {
            (Some(novelty), Some(_)) => {
                above_zero("novelty.threshold", novelty.threshold)?;
                fraction("novelty.quantile", novelty.quantile)?;
                finite("novelty.mean", novelty.mean)?;
                finite("novelty.std", novelty.std)
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err(ManifestError::Missing(
                "novelty is given but model.outputs.novelty is not".into(),
            )),
            (None, Some(_)) => Err(ManifestError::Missing(
                "model.outputs.novelty is given but novelty is not".into(),
            )),
        }
    }
}

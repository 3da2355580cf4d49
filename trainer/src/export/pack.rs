//! The manifest of a run's bundle, and the signed file.

use std::io::Cursor;
use std::time::{SystemTime, UNIX_EPOCH};

use bundle::container::{self, Packed, PayloadFile};
use bundle::manifest::{
    AgeRange, Audit, Conformal, ConformalQuantile, FileKind, GateFigure, GoldenCase, HardwareRequirement, IntendedUse,
    Label, Manifest, Metric, Model, Novelty, OperatingPoint, Provenance, QuantizationSummary, check_labels,
};
use bundle::{SecretKey, Version};
use onnx::quantize::QuantizationReport;
use serde::{Deserialize, Serialize};

use super::context::{self, Context};
use super::error::ExportError;
use super::evaluation::{Evaluation, Figures};
use super::gate::GateReport;
use super::model;
use super::novelty::Limit;
use super::operating::Decision;
use crate::data::manifest::Provenance as RowProvenance;
use crate::data::split::Part;
use crate::metrics;
use crate::recipes::{CalibrationMethod, Recipe, label_id};

/// Path of the network in the payload.
const MODEL_PATH: &str = "model.int8.onnx";
const QUANTIZATION_PATH: &str = "report/quantization.json";
const GATE_PATH: &str = "report/gate.json";
const EVALUATION_PATH: &str = "report/evaluation.json";

/// `calibration.json`: what was found on the INT8 file's outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Temperature, operating points, prediction sets.
    pub decision: Decision,
    /// When an image is novel.
    pub novelty: Limit,
}

/// What goes into a bundle beside the run's own records.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The calibrated INT8 file.
    pub int8: &'a [u8],
    /// What decides.
    pub calibration: &'a Calibration,
    /// The gate.
    pub gate: &'a GateReport,
    /// The quantizer's report.
    pub quantization: &'a QuantizationReport,
    /// Evaluations on validation and test.
    pub evaluations: &'a [Evaluation],
    /// Golden cases and their files.
    pub golden: (Vec<GoldenCase>, Vec<PayloadFile>),
}

/// Packs and signs; gives the file's bytes.
///
/// # Errors
/// The gate does not hold, was judged on another file, or the manifest is refused.
pub fn pack(context: &Context, parts: Parts<'_>, key: &SecretKey) -> Result<(Vec<u8>, Packed), ExportError> {
    gate_holds(context, parts.gate, parts.int8)?;
    let manifest = manifest(context, &parts)?;
    let mut files = vec![
        PayloadFile::new(MODEL_PATH, FileKind::Model, parts.int8.to_vec()),
        report(QUANTIZATION_PATH, parts.quantization)?,
        report(GATE_PATH, parts.gate)?,
        report(EVALUATION_PATH, &parts.evaluations)?,
    ];
    files.extend(parts.golden.1);
    let mut bytes = Cursor::new(Vec::new());
    let packed = container::write(&manifest, &files, key, &mut bytes)?;
    Ok((bytes.into_inner(), packed))
}

/// Whether the gate held, for this very file.
///
/// # Errors
/// [`ExportError::GateFailed`] or [`ExportError::GateStale`].
pub fn gate_holds(context: &Context, gate: &GateReport, int8: &[u8]) -> Result<(), ExportError> {
    if !gate.held {
        return Err(ExportError::GateFailed(Box::new(gate.clone())));
    }
    if gate.model_sha256 != context::digest(int8) {
        return Err(ExportError::GateStale {
            path: context.path(context::INT8_FILE),
        });
    }
    Ok(())
}

fn report<T: Serialize>(path: &str, value: &T) -> Result<PayloadFile, ExportError> {
    let json = serde_json::to_vec(value).map_err(|error| ExportError::Malformed {
        path: path.into(),
        reason: error.to_string(),
    })?;
    Ok(PayloadFile::new(path, FileKind::Report, json))
}

fn manifest(context: &Context, parts: &Parts<'_>) -> Result<Manifest, ExportError> {
    let recipe = &context.recipe;
    let labels = labels(recipe, &context.record.labels)?;
    let [major, minor, revision] = recipe.bundle.version_numbers().unwrap_or_default();
    Ok(Manifest {
        name: recipe.bundle.name.to_ascii_lowercase().replace('.', "-"),
        version: Version::new(major as u8, minor as u8, revision),
        role: recipe.bundle.role.to_ascii_lowercase().replace('.', "-"),
        security_counter: recipe.bundle.security_counter,
        created: timestamp(SystemTime::now()),
        hardware: HardwareRequirement::default(),
        preprocess: recipe.preprocess.clone(),
        model: Model {
            file: MODEL_PATH.to_owned(),
            architecture: recipe.network.architecture.name().to_owned(),
            precision: "int8-u8s8".to_owned(),
            input: onnx::networks::IMAGE.to_owned(),
            outputs: model::outputs(),
        },
        operating_points: operating_points(&labels, &parts.calibration.decision),
        temperature: parts.calibration.decision.temperature,
        conformal: Some(conformal(&labels, &parts.calibration.decision)),
        novelty: Some(novelty(&parts.calibration.novelty)),
        quality: Default::default(),
        golden: parts.golden.0.clone(),
        evaluation: parts.evaluations.iter().map(|one| evidence(one, &labels)).collect(),
        quantization: Some(quantization(context, parts)),
        provenance: provenance(context)?,
        audit: Audit::default(),
        intended_use: intended_use(context),
        files: Vec::new(),
        labels,
    })
}

/// The bundle's labels for the data's `names`, with a stable id each ([`label_id`]).
///
/// # Errors
/// None of them means "no finding flagged", two have one id, or a bundle cannot hold them.
pub fn labels(recipe: &Recipe, names: &[String]) -> Result<Vec<Label>, ExportError> {
    let no_finding = recipe.operating_point.no_finding_index(names);
    let no_finding = no_finding.ok_or_else(|| ExportError::NoFindingLabel {
        labels: names.join(", "),
    })?;
    let mut labels: Vec<Label> = Vec::with_capacity(names.len());
    for (class, name) in names.iter().enumerate() {
        let id = label_id(name);
        if let Some(other) = labels.iter().position(|label| label.id == id) {
            return Err(ExportError::LabelTwice {
                first: names[other].clone(),
                second: name.clone(),
                id,
            });
        }
        // A screen never calls an image normal, whatever the data's label is.
        let shown = if class == no_finding {
            NO_FINDING.to_owned()
        } else {
            shown_name(name)
        };
        labels.push(Label::new(&id, &shown, class == no_finding));
    }
    check_labels(&labels).map_err(|source| ExportError::Labels {
        labels: names.join(", "),
        source,
    })?;
    Ok(labels)
}

/// What a screen shows beside the probability of the label that flags nothing.
const NO_FINDING: &str = "No finding";

/// What a screen shows: spaces for underscores, a capital first.
fn shown_name(name: &str) -> String {
    let spaced = name.trim().replace('_', " ");
    let mut letters = spaced.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn operating_points(labels: &[Label], decision: &Decision) -> Vec<OperatingPoint> {
    let one = |point: &super::operating::LabelPoint| {
        OperatingPoint::chosen(&labels[point.class].id, point.criterion, &point.point)
    };
    decision.points.iter().map(one).collect()
}

fn conformal(labels: &[Label], decision: &Decision) -> Conformal {
    let quantiles = labels.iter().zip(&decision.quantiles);
    Conformal {
        coverage: decision.coverage as f32,
        n: decision.n,
        quantiles: quantiles
            .map(|(label, &score)| ConformalQuantile {
                label: label.id.clone(),
                score: score as f32,
            })
            .collect(),
    }
}

fn novelty(limit: &Limit) -> Novelty {
    Novelty {
        threshold: limit.threshold as f32,
        quantile: limit.quantile as f32,
        dimensions: limit.components as u32,
        mean: limit.mean as f32,
        std: limit.std as f32,
    }
}

fn evidence(evaluation: &Evaluation, labels: &[Label]) -> bundle::manifest::Evaluation {
    let mut found = Vec::new();
    push_figures(&mut found, &evaluation.all, labels);
    bundle::manifest::Evaluation {
        dataset: evaluation.dataset.clone(),
        n: evaluation.all.n,
        metrics: found,
    }
}

fn push_figures(found: &mut Vec<Metric>, figures: &Figures, labels: &[Label]) {
    let mut push = |name: &str, label: Option<&Label>, value: Option<&metrics::intervals::Estimate>| {
        if let Some(value) = value {
            let label = label.map(|label| label.id.clone());
            found.push(Metric {
                name: name.to_owned(),
                label,
                estimate: (*value).into(),
            });
        }
    };
    push("accuracy", None, figures.accuracy.as_ref());
    push("balanced-accuracy", None, figures.balanced_accuracy.as_ref());
    push("auroc", None, figures.mean_auroc.as_ref());
    for (label, of_label) in labels.iter().zip(&figures.labels) {
        push("sensitivity", Some(label), of_label.sensitivity.as_ref());
        push("specificity", Some(label), of_label.specificity.as_ref());
        push("auroc", Some(label), of_label.auroc.as_ref());
        let point = of_label.operating_point.as_ref();
        push(
            "sensitivity-at-operating-point",
            Some(label),
            point.map(|point| &point.sensitivity),
        );
        push(
            "specificity-at-operating-point",
            Some(label),
            point.map(|point| &point.specificity),
        );
    }
}

fn quantization(context: &Context, parts: &Parts<'_>) -> QuantizationSummary {
    let worst = parts
        .quantization
        .worst()
        .first()
        .and_then(|layer| layer.activation.as_ref());
    let section = &context.recipe.quantize;
    let figure = |figure: &super::gate::Figure| GateFigure {
        name: figure.name.clone(),
        value: figure.value as f32,
        limit: figure.limit as f32,
        n: figure.n,
    };
    QuantizationSummary {
        method: match section.method {
            CalibrationMethod::Minmax => "minmax".to_owned(),
            CalibrationMethod::Percentile => format!("percentile {}", section.percentile),
        },
        calibration_images: parts.quantization.images as u64,
        worst_layer_db: worst.map_or(0.0, |activation| activation.accumulated_db) as f32,
        gate: parts.gate.figures.iter().map(figure).collect(),
        report: Some(QUANTIZATION_PATH.to_owned()),
    }
}

fn provenance(context: &Context) -> Result<Provenance, ExportError> {
    let training = context.rows(Part::Train);
    let samples = &context.dataset.samples;
    let made = |row: &usize| {
        !matches!(
            samples[*row].row.provenance,
            RowProvenance::Real | RowProvenance::Augmented
        )
    };
    let recipe = std::fs::read(context.folder.recipe_path())
        .map_err(|source| ExportError::file(&context.folder.recipe_path(), source))?;
    Ok(Provenance {
        recipe: context.recipe.bundle.name.clone(),
        recipe_sha256: context::digest(&recipe),
        data_sha256: context.record.data_digest.clone(),
        training_images: training.len() as u64,
        sources: context.dataset.sources(),
        synthetic: training.iter().any(made),
        git_revision: context
            .record
            .git_revision
            .clone()
            .unwrap_or_else(|| "unknown".to_owned()),
        trainer_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: context.record.seed,
    })
}

fn intended_use(context: &Context) -> IntendedUse {
    let section = &context.recipe.bundle.intended_use;
    let age = section.age_years.map(|[min, max]| AgeRange {
        min: min as f32,
        max: max as f32,
    });
    let statement = match section.words.trim() {
        "" => "No intended use was stated. Not for diagnosis.".to_owned(),
        words => words.to_owned(),
    };
    IntendedUse {
        modalities: section.modality.clone(),
        body_parts: section.body_part.clone(),
        views: section.view.clone(),
        age_years: age,
        statement,
    }
}

/// RFC 3339 in UTC, whole seconds.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days: years begin in March, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
    }

    fn recipe(no_finding: &str) -> Recipe {
        let mut recipe = Recipe::load("folder").unwrap();
        recipe.operating_point.no_finding = Some(no_finding.to_owned());
        recipe
    }

    #[test]
    fn labels_get_stable_ids_and_readable_names() {
        let names = ["No finding", "ground_glass", "COVID-19"].map(str::to_owned);
        let labels = labels(&recipe("no_finding"), &names).unwrap();
        let described: Vec<_> = labels
            .iter()
            .map(|l| (l.id.as_str(), l.name.as_str(), l.no_finding))
            .collect();
        let wanted = [
            ("no_finding", "No finding", true),
            ("ground_glass", "Ground glass", false),
            ("covid-19", "COVID-19", false),
        ];
        assert_eq!(described, wanted);
    }

    #[test]
    fn labels_that_would_be_one_are_refused() {
        let names = ["Normal", "Viral pneumonia", "viral_pneumonia"].map(str::to_owned);
        let message = labels(&recipe("normal"), &names).unwrap_err().to_string();
        assert!(
            message.contains("Viral pneumonia") && message.contains("`viral_pneumonia`"),
            "{message}"
        );
    }

    #[test]
    fn labels_without_one_for_no_finding_or_without_letters_are_refused() {
        let refusal = |names: [&str; 2]| {
            labels(&recipe("normal"), &names.map(str::to_owned))
                .unwrap_err()
                .to_string()
        };
        assert!(refusal(["a", "b"]).contains("operating_point.no_finding"));
        let message = refusal(["normal", "肺炎"]);
        assert!(
            message.contains("肺炎") && message.contains("data.mapping"),
            "{message}"
        );
    }
}

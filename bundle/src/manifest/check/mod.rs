//! What a manifest must fulfil before it is packed or believed.

use std::collections::BTreeSet;

use imaging::preprocess::PreprocessError;

use super::{FileKind, Label, Manifest};

/// Labels of one model.
const MAX_LABELS: usize = 64;
/// Files of one payload.
const MAX_FILES: usize = 256;
/// A name, role or label id, in bytes.
const MAX_NAME_BYTES: usize = 48;
/// A path in the payload, in bytes.
const MAX_PATH_BYTES: usize = 128;
/// Text that people read, in characters.
const MAX_TEXT_CHARS: usize = 2000;

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The JSON does not parse or a field is missing or has the wrong type.
    #[error("manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// A field has a value that it may not have.
    #[error("manifest: {field} is {found}; {wanted}")]
    Field {
        /// Path of the field, such as `labels[2].id`.
        field: String,
        /// Its value, shortened.
        found: String,
        /// What it may be.
        wanted: String,
    },
    /// A field names a label, file or output that does not exist.
    #[error("manifest: {field} names {found}, which is not among {list}")]
    Unknown {
        /// Path of the field.
        field: String,
        /// What it names.
        found: String,
        /// Where it should be listed.
        list: &'static str,
    },
    /// Something that must be there is not.
    #[error("manifest: {0}")]
    Missing(String),
    /// Something stands there twice.
    #[error("manifest: {field} has {found} twice")]
    Twice {
        /// The list.
        field: &'static str,
        /// The entry.
        found: String,
    },
    /// The preprocessing cannot be done.
    #[error("manifest: preprocess: {0}")]
    Preprocess(#[from] PreprocessError),
}

type Result<T = ()> = std::result::Result<T, ManifestError>;

/// Checks the labels of a manifest alone: a packer can ask before it has anything else.
///
/// # Errors
/// The first [`ManifestError`] found, naming the field.
pub fn check_labels(labels: &[Label]) -> Result {
    let count = labels.len();
    if !(2..=MAX_LABELS).contains(&count) {
        return Err(field(
            "labels",
            format!("{count} labels"),
            format!("a model has 2 to {MAX_LABELS}"),
        ));
    }
    for (i, label) in labels.iter().enumerate() {
        check_label(i, label)?;
    }
    unique("labels", labels.iter().map(|l| l.id.as_str()))?;
    let no_finding = labels.iter().filter(|l| l.no_finding).count();
    if no_finding != 1 {
        let wanted = "exactly one label must have no_finding = true";
        return Err(field("labels", format!("{no_finding} labels with no_finding"), wanted));
    }
    Ok(())
}

fn check_label(i: usize, label: &Label) -> Result {
    name(&format!("labels[{i}].id"), &label.id)?;
    text(&format!("labels[{i}].name"), &label.name)?;
    for (language, translation) in &label.translations {
        text(&format!("labels[{i}].translations.{language}"), translation)?;
    }
    Ok(())
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// [`ManifestError`], naming the field.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The JSON that is signed.
    ///
    /// # Errors
    /// [`ManifestError`] if the manifest does not pass [`Manifest::check`].
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.check()?;
        Ok(serde_json::to_vec(self)?)
    }

    /// Checks everything that can be checked without the payload.
    ///
    /// # Errors
    /// The first [`ManifestError`] found, naming the field.
    pub fn check(&self) -> Result {
        name("name", &self.name)?;
        name("role", &self.role)?;
        text("created", &self.created)?;
        self.preprocess.check()?;
        check_labels(&self.labels)?;
        self.check_files()?;
        self.check_model()?;
        self.check_decision()?;
        self.check_quality()?;
        self.check_golden()?;
        self.check_evidence()?;
        self.check_intended_use()
    }

    fn check_files(&self) -> Result {
        if self.files.len() > MAX_FILES {
            let found = format!("{} files", self.files.len());
            return Err(field("files", found, format!("at most {MAX_FILES}")));
        }
        for (i, file) in self.files.iter().enumerate() {
            path(&format!("files[{i}].path"), &file.path)?;
            hexadecimal(&format!("files[{i}].sha256"), &file.sha256)?;
        }
        unique("files", self.files.iter().map(|f| f.path.as_str()))
    }

    fn check_model(&self) -> Result {
        self.names_file("model.file", &self.model.file, FileKind::Model)?;
        text("model.architecture", &self.model.architecture)?;
        text("model.precision", &self.model.precision)?;
        text("model.input", &self.model.input)?;
        let outputs = &self.model.outputs;
        let mut names = vec![
            &outputs.logits,
            &outputs.probabilities,
            &outputs.cam,
            &outputs.cam_class,
        ];
        names.extend(&outputs.novelty);
        for output in &names {
            text("model.outputs", output)?;
        }
        unique("model.outputs", names.iter().map(|n| n.as_str()))
    }

    fn check_decision(&self) -> Result {
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

    fn check_quality(&self) -> Result {
        let limits = &self.quality;
        fraction("quality.minimum_exposure", limits.minimum_exposure)?;
        fraction("quality.maximum_exposure", limits.maximum_exposure)?;
        fraction("quality.maximum_black_fraction", limits.maximum_black_fraction)?;
        fraction("quality.maximum_white_fraction", limits.maximum_white_fraction)?;
        fraction("quality.minimum_contrast", limits.minimum_contrast)?;
        fraction("quality.maximum_frame_fraction", limits.maximum_frame_fraction)?;
        above_zero("quality.maximum_aspect", limits.maximum_aspect)?;
        finite("quality.minimum_sharpness", limits.minimum_sharpness)?;
        finite("quality.maximum_sharpness", limits.maximum_sharpness)?;
        if limits.minimum_exposure >= limits.maximum_exposure {
            let found = limits.minimum_exposure;
            return Err(field(
                "quality.minimum_exposure",
                found,
                "below quality.maximum_exposure",
            ));
        }
        Ok(())
    }

    fn check_golden(&self) -> Result {
        for (i, case) in self.golden.iter().enumerate() {
            text(&format!("golden[{i}].name"), &case.name)?;
            let at = format!("golden[{i}].input");
            self.names_file(&at, &case.input, FileKind::GoldenInput)?;
            let wanted = self.input_values() * 4;
            let length = self.file(&case.input).map_or(0, |f| f.length);
            if length != wanted {
                let wanted = format!("f32 values of preprocess are {wanted} bytes");
                return Err(field(at, format!("{length} bytes"), wanted));
            }
            self.names_file(&format!("golden[{i}].expected"), &case.expected, FileKind::GoldenOutput)?;
            above_zero(
                &format!("golden[{i}].tolerance.probability"),
                case.tolerance.probability,
            )?;
            above_zero(
                &format!("golden[{i}].tolerance.cam_relative"),
                case.tolerance.cam_relative,
            )?;
            above_zero(
                &format!("golden[{i}].tolerance.novelty_relative"),
                case.tolerance.novelty_relative,
            )?;
        }
        Ok(())
    }

    fn check_evidence(&self) -> Result {
        for (i, evaluation) in self.evaluation.iter().enumerate() {
            text(&format!("evaluation[{i}].dataset"), &evaluation.dataset)?;
            for (j, metric) in evaluation.metrics.iter().enumerate() {
                let at = format!("evaluation[{i}].metrics[{j}]");
                text(&format!("{at}.name"), &metric.name)?;
                if let Some(label) = &metric.label {
                    self.names_label(&format!("{at}.label"), label)?;
                }
            }
        }
        let reports = [
            (
                "quantization.report",
                self.quantization.as_ref().and_then(|q| q.report.as_ref()),
            ),
            ("audit.report", self.audit.report.as_ref()),
        ];
        for (at, report) in reports {
            if let Some(report) = report {
                self.names_file(at, report, FileKind::Report)?;
            }
        }
        hexadecimal("provenance.recipe_sha256", &self.provenance.recipe_sha256)?;
        hexadecimal("provenance.data_sha256", &self.provenance.data_sha256)
    }

    fn check_intended_use(&self) -> Result {
        text("intended_use.statement", &self.intended_use.statement)?;
        if let Some(age) = self.intended_use.age_years {
            let ordered = age.min >= 0.0 && age.min <= age.max && age.max.is_finite();
            if !ordered {
                let found = format!("{} to {}", age.min, age.max);
                return Err(field(
                    "intended_use.age_years",
                    found,
                    "min and max in years, min at most max",
                ));
            }
        }
        Ok(())
    }

    fn names_label(&self, at: &str, id: &str) -> Result<usize> {
        self.label_index(id).ok_or_else(|| ManifestError::Unknown {
            field: at.to_owned(),
            found: quoted(id),
            list: "the labels",
        })
    }

    fn names_file(&self, at: &str, path: &str, kind: FileKind) -> Result {
        let entry = self.file(path).ok_or_else(|| ManifestError::Unknown {
            field: at.to_owned(),
            found: quoted(path),
            list: "the files of the payload",
        })?;
        if entry.kind != kind {
            return Err(field(
                at,
                format!("a file of kind {:?}", entry.kind),
                format!("it must be of kind {kind:?}"),
            ));
        }
        Ok(())
    }
}

fn field(at: impl Into<String>, found: impl ToString, wanted: impl Into<String>) -> ManifestError {
    ManifestError::Field {
        field: at.into(),
        found: found.to_string(),
        wanted: wanted.into(),
    }
}

/// A text of the manifest for a message: shortened, control characters escaped.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

fn name(at: &str, value: &str) -> Result {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let well_formed = (1..=MAX_NAME_BYTES).contains(&value.len())
        && value.bytes().all(allowed)
        && value.as_bytes()[0].is_ascii_alphanumeric();
    if well_formed {
        return Ok(());
    }
    let wanted = format!("1 to {MAX_NAME_BYTES} lower-case letters, digits, hyphens and underscores");
    Err(field(at, quoted(value), wanted))
}

fn text(at: &str, value: &str) -> Result {
    let visible = !value.trim().is_empty() && !value.chars().any(|c| c.is_control() && c != '\n');
    if visible && value.chars().count() <= MAX_TEXT_CHARS {
        return Ok(());
    }
    let wanted = format!("1 to {MAX_TEXT_CHARS} characters without control characters");
    Err(field(at, quoted(value), wanted))
}

fn path(at: &str, value: &str) -> Result {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let part = |p: &str| !p.is_empty() && p != "." && p != ".." && p.bytes().all(allowed);
    if value.len() <= MAX_PATH_BYTES && value.split('/').all(part) {
        return Ok(());
    }
    let wanted = "a relative path of letters, digits, '.', '_', '-' and '/', without '.' and '..'";
    Err(field(at, quoted(value), wanted))
}

fn hexadecimal(at: &str, value: &str) -> Result {
    let digits = value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if value.len() == 64 && digits {
        return Ok(());
    }
    Err(field(
        at,
        quoted(value),
        "a SHA-256 as 64 lower-case hexadecimal digits",
    ))
}

fn fraction(at: &str, value: f32) -> Result {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(field(at, value, "0 to 1"))
}

fn above_zero(at: &str, value: f32) -> Result {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(field(at, value, "above 0"))
}

fn finite(at: &str, value: f32) -> Result {
    if value.is_finite() {
        return Ok(());
    }
    Err(field(at, value, "a finite number"))
}

fn unique<'a>(list: &'static str, entries: impl Iterator<Item = &'a str>) -> Result {
    let mut seen = BTreeSet::new();
    for entry in entries {
        if !seen.insert(entry) {
            return Err(ManifestError::Twice {
                field: list,
                found: quoted(entry),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::example;
    use crate::manifest::*;

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = example::manifest_with_files();
        change(&mut manifest);
        manifest.check().expect_err("refused").to_string()
    }

    #[test]
    fn the_example_passes_and_comes_back_from_json() {
        let manifest = example::manifest_with_files();
        let json = manifest.to_json().unwrap();
        assert_eq!(Manifest::from_json(&json).unwrap(), manifest);
    }

    #[test]
    fn every_refusal_names_its_field() {
        assert!(refused(|m| m.name = "Chest".into()).contains("name is \"Chest\""));
        assert!(refused(|m| m.role = String::new()).contains("role"));
        assert!(refused(|m| m.labels[1].id = "a b".into()).contains("labels[1].id"));
        assert!(refused(|m| m.labels[1].name = "x\u{7}".into()).contains("labels[1].name"));
        assert!(refused(|m| m.labels[0].no_finding = false).contains("0 labels with no_finding"));
        assert!(refused(|m| m.labels[1].no_finding = true).contains("2 labels with no_finding"));
        assert!(refused(|m| m.labels.truncate(1)).contains("1 labels"));
        assert!(refused(|m| m.labels[2].id = m.labels[1].id.clone()).contains("twice"));
        assert!(refused(|m| m.temperature = 0.0).contains("temperature"));
        assert!(refused(|m| m.temperature = f32::NAN).contains("temperature"));
        assert!(refused(|m| m.operating_points[0].threshold = 0.0).contains("operating_points[0].threshold"));
        assert!(refused(|m| m.operating_points[0].label = "normal".into()).contains("no operating point"));
        assert!(refused(|m| drop(m.operating_points.pop())).contains("has no operating point"));
        assert!(refused(|m| m.operating_points[1].label = "else".into()).contains("not among the labels"));
        assert!(refused(|m| m.conformal.as_mut().unwrap().coverage = 1.5).contains("conformal.coverage"));
        assert!(
            refused(|m| drop(m.conformal.as_mut().unwrap().quantiles.pop())).contains("one for each of the 3 labels")
        );
        assert!(refused(|m| m.novelty = None).contains("novelty"));
        assert!(refused(|m| m.model.outputs.novelty = None).contains("novelty"));
        assert!(refused(|m| m.model.outputs.cam = "logits".into()).contains("model.outputs"));
        assert!(refused(|m| m.model.file = "else.onnx".into()).contains("not among the files"));
        assert!(refused(|m| m.model.file = "golden/0.f32".into()).contains("kind Model"));
        assert!(refused(|m| m.golden[0].input = "model.int8.onnx".into()).contains("golden[0].input"));
        assert!(refused(|m| m.preprocess.size = [8, 9]).contains("golden[0].input"));
        assert!(refused(|m| m.preprocess.mean.clear()).contains("preprocess"));
        assert!(refused(|m| m.quality.minimum_exposure = 0.99).contains("quality.minimum_exposure"));
        assert!(refused(|m| m.provenance.data_sha256 = "12".into()).contains("provenance.data_sha256"));
        assert!(refused(|m| m.intended_use.age_years = Some(AgeRange { min: 9.0, max: 1.0 })).contains("age_years"));
        assert!(refused(|m| m.intended_use.statement = " ".into()).contains("statement"));
    }

    #[test]
    fn paths_stay_inside_the_payload() {
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "a/../b",
            "a//b",
            "a/./b",
            "a\\b",
            "a b",
            "a\0b",
        ] {
            let message = refused(|m| m.files[0].path = path.into());
            assert!(message.contains("files[0].path"), "{path:?}: {message}");
        }
    }

    #[test]
    fn a_label_speaks_other_languages() {
        let mut label = Label::new("normal", "No finding", true);
        label.translations.insert("de".into(), "Kein Befund".into());
        assert_eq!(
            (label.name_in("de"), label.name_in("vi")),
            ("Kein Befund", "No finding")
        );
    }
}

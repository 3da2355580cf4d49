//! What a manifest must fulfil before it is packed or believed.

mod decision;
mod error;
mod values;

use self::error::{Result, field, quoted};
use self::values::{above_zero, finite, fraction, hexadecimal, name, path, text, unique};
use super::{FileKind, Label, Manifest};

pub use error::ManifestError;

/// Labels of one model.
const MAX_LABELS: usize = 64;
/// Files of one payload.
const MAX_FILES: usize = 256;

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
        self.check_hardware()?;
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

    fn check_hardware(&self) -> Result {
        for (i, architecture) in self.hardware.architectures.iter().enumerate() {
            name(&format!("hardware.architectures[{i}]"), architecture)?;
        }
        for (i, provider) in self.hardware.providers.iter().enumerate() {
            name(&format!("hardware.providers[{i}]"), provider)?;
        }
        Ok(())
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
        assert!(refused(|m| m.hardware.architectures = vec!["x 86".into()]).contains("hardware.architectures[0]"));
        assert!(refused(|m| m.hardware.providers = vec![String::new()]).contains("hardware.providers[0]"));
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

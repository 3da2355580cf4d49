//! What is kept of a calibration: one JSON file a role, in the folder `calibration` of the state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bundle::Manifest;
use bundle::manifest::OperatingPoint;
use hardware::whole_file;
use serde::{Deserialize, Serialize};

use crate::inference::ModelIdentity;

/// Name and version of the JSON document.
pub const SCHEMA: &str = "scanside-calibration/1";

/// Operating points of this site for one bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteCalibration {
    /// [`SCHEMA`].
    pub schema: String,
    /// Role of the bundle.
    pub role: String,
    /// Name and version of the bundle, for people.
    pub model: String,
    /// Digest of the bundle, hexadecimal: it holds for no other.
    pub digest: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// Labelled cases behind it.
    pub n: u64,
    /// The operating points; a label that is not here keeps the bundle's.
    pub points: Vec<OperatingPoint>,
    /// What whoever reads the figures should know.
    pub warnings: Vec<String>,
}

/// Why a calibration cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file or its folder.
    #[error("site calibration {}: {source}; check that the state folder may be read and written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of ours.
    #[error("site calibration {}: {reason}; undo it with `scanside-edge calibrate --undo` and run it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl SiteCalibration {
    /// For the bundle of `identity`.
    #[must_use]
    pub fn new(
        identity: &ModelIdentity,
        made: String,
        n: u64,
        points: Vec<OperatingPoint>,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            role: identity.role.clone(),
            model: format!("{} {}", identity.name, identity.version),
            digest: identity.digest.clone(),
            made,
            n,
            points,
            warnings,
        }
    }

    /// Puts the site's operating points in the place of the bundle's.
    pub fn apply(&self, manifest: &mut Manifest) {
        for point in &mut manifest.operating_points {
            if let Some(own) = self.points.iter().find(|own| own.label == point.label) {
                point.clone_from(own);
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("it is a {}, not a {SCHEMA}", self.schema));
        }
        match self
            .points
            .iter()
            .find(|point| !(point.threshold > 0.0 && point.threshold <= 1.0))
        {
            Some(point) => Err(format!(
                "the threshold of {} is {}; it lies in (0, 1]",
                point.label, point.threshold
            )),
            None => Ok(()),
        }
    }
}

/// The calibrations of this appliance.
#[derive(Debug, Clone)]
pub struct CalibrationFolder {
    folder: PathBuf,
}

impl CalibrationFolder {
    /// In `folder`, which need not exist before something is kept.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The calibration of a role, whatever bundle it is for.
    ///
    /// # Errors
    /// [`FileError`]; an absent file is no error.
    pub fn read(&self, role: &str) -> Result<Option<SiteCalibration>, FileError> {
        let path = self.path(role);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FileError::Io { path, source }),
        };
        let read = serde_json::from_slice::<SiteCalibration>(&text).map_err(|e| e.to_string());
        match read.and_then(|found| found.check().map(|()| found)) {
            Ok(found) => Ok(Some(found)),
            Err(reason) => Err(FileError::Malformed { path, reason }),
        }
    }

    /// Keeps a calibration in the place of the role's earlier one.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn keep(&self, calibration: &SiteCalibration) -> Result<PathBuf, FileError> {
        let path = self.path(&calibration.role);
        let failed = |source| FileError::Io {
            path: path.clone(),
            source,
        };
        let text = serde_json::to_vec_pretty(calibration).map_err(|e| failed(e.into()))?;
        fs::create_dir_all(&self.folder).map_err(failed)?;
        whole_file::write(&path, &text).map_err(failed)?;
        Ok(path)
    }

    /// Removes the calibration of a role; gives whether there was one.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn undo(&self, role: &str) -> Result<bool, FileError> {
        let path = self.path(role);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FileError::Io { path, source }),
        }
    }

    /// When the calibration of a role last changed; `None` if there is none. A running service asks this to notice a
    /// change.
    #[must_use]
    pub fn changed(&self, role: &str) -> Option<SystemTime> {
        fs::metadata(self.path(role)).and_then(|found| found.modified()).ok()
    }

    /// Roles are checked by the manifest to be plain words.
    fn path(&self, role: &str) -> PathBuf {
        self.folder.join(Path::new(role).with_extension("json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> SiteCalibration {
        SiteCalibration {
            schema: SCHEMA.to_owned(),
            role: "chest-xray".to_owned(),
            model: "triage 1.0.0".to_owned(),
            digest: "ab12".to_owned(),
            made: "2026-03-14T09:26:53Z".to_owned(),
            n: 120,
            points: bundle::example::manifest().operating_points,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn what_is_kept_is_read_and_can_be_undone() {
        let state = tempfile::tempdir().unwrap();
        let folder = CalibrationFolder::new(state.path().join("calibration"));
        assert_eq!(folder.read("chest-xray").unwrap(), None);
        assert_eq!(folder.changed("chest-xray"), None);
        folder.keep(&calibration()).unwrap();
        assert_eq!(folder.read("chest-xray").unwrap(), Some(calibration()));
        assert!(folder.changed("chest-xray").is_some());
        assert_eq!(folder.read("chest-ct").unwrap(), None);
        assert!(folder.undo("chest-xray").unwrap());
        assert!(!folder.undo("chest-xray").unwrap());
    }

    #[test]
    fn a_file_that_somebody_changed_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let folder = CalibrationFolder::new(state.path());
        let mut wrong = calibration();
        wrong.points[0].threshold = 0.0;
        folder.keep(&wrong).unwrap();
        let refusal = folder.read("chest-xray").unwrap_err().to_string();
        assert!(refusal.contains("covid19") && refusal.contains("--undo"), "{refusal}");
        fs::write(state.path().join("chest-xray.json"), "{").unwrap();
        assert!(
            folder
                .read("chest-xray")
                .unwrap_err()
                .to_string()
                .contains("chest-xray.json")
        );
    }
}

//! Which model serves each role, written down by the service for the verbs that run beside it: the slots are the
//! service's alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bundle::Manifest;
use hardware::whole_file;
use serde::{Deserialize, Serialize};

use crate::inference::ModelIdentity;

/// The model of one role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// Which model.
    pub identity: ModelIdentity,
    /// What its bundle says about itself; operating points are the bundle's own.
    pub manifest: Manifest,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServedError {
    /// The file or its folder.
    #[error("{}: {source}; check that the state folder may be read and written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of this program's.
    #[error("{}: {reason}; start the service, which writes it anew", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Served {
    /// Writes it down as `folder/ROLE.json`.
    ///
    /// # Errors
    /// [`ServedError::Io`].
    pub fn write(&self, folder: &Path) -> Result<(), ServedError> {
        let path = folder.join(format!("{}.json", self.identity.role));
        let failed = |source| ServedError::Io {
            path: path.clone(),
            source,
        };
        let text = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        fs::create_dir_all(folder).map_err(failed)?;
        whole_file::write(&path, &text).map_err(failed)
    }

    /// All that are written down, by role.
    ///
    /// # Errors
    /// [`ServedError`]; a folder that is not there holds none.
    pub fn all(folder: &Path) -> Result<Vec<Self>, ServedError> {
        let io = |path: &Path, source| ServedError::Io {
            path: path.to_path_buf(),
            source,
        };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io(folder, source)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|source| io(folder, source))?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        paths.sort();
        let read = |path: PathBuf| {
            let text = fs::read(&path).map_err(|source| io(&path, source))?;
            serde_json::from_slice(&text).map_err(|e| ServedError::Malformed {
                reason: e.to_string(),
                path,
            })
        };
        paths.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_role() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("serving");
        assert_eq!(Served::all(&folder).unwrap(), []);
        let served = |role: &str| Served {
            identity: ModelIdentity {
                name: "triage".to_owned(),
                version: "1.0.0".to_owned(),
                role: role.to_owned(),
                digest: "ab12".to_owned(),
                key_id: "00".to_owned(),
            },
            manifest: bundle::example::manifest(),
        };
        for role in ["chest-xray", "chest-ct", "chest-xray"] {
            served(role).write(&folder).unwrap();
        }
        assert_eq!(
            Served::all(&folder).unwrap(),
            [served("chest-ct"), served("chest-xray")]
        );
        fs::write(folder.join("x.json"), "{").unwrap();
        assert!(Served::all(&folder).unwrap_err().to_string().contains("x.json"));
    }
}

//! A folder of class folders as a manifest.

use std::path::Path;

use walkdir::WalkDir;

use super::error::DataError;
use super::manifest::{Manifest, Row};

/// Extensions that are read; a file without one may be DICOM.
const EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "tif", "tiff", "dcm", "dicom", "dic", "ima"];
/// Folders beside the classes that hold no images to learn from.
const NOT_CLASSES: [&str; 2] = ["masks", "mask"];

/// Reads `root/LABEL/**/image`; a folder below a class, where there is one, is taken for the patient.
///
/// # Errors
/// The folder cannot be read or holds no class folder with images.
pub fn class_folders(root: &Path) -> Result<Manifest, DataError> {
    let mut rows = Vec::new();
    for entry in WalkDir::new(root).follow_links(true).min_depth(2).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            DataError::Io {
                path,
                source: error.into(),
            }
        })?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let parts: Vec<String> = relative
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let hidden = parts.iter().any(|part| part.starts_with('.'));
        if !entry.file_type().is_file() || hidden || !is_image(entry.path()) || is_no_class(&parts[0]) {
            continue;
        }
        let label = parts[0].clone();
        // LABEL/PATIENT/file: one patient may have several images.
        let patient_id = (parts.len() > 2).then(|| parts[1].clone());
        rows.push(Row {
            path: parts.join("/"),
            label,
            patient_id,
            ..Row::default()
        });
    }
    if rows.is_empty() {
        return Err(DataError::NoClassFolders { path: root.to_owned() });
    }
    Ok(Manifest {
        origin: root.to_owned(),
        root: root.to_owned(),
        rows,
    })
}

/// Every image below a folder, without labels, sorted by path.
///
/// # Errors
/// The folder cannot be read or holds no image.
pub fn all_images(root: &Path) -> Result<Manifest, DataError> {
    let mut rows = Vec::new();
    for entry in WalkDir::new(root).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| DataError::Io {
            path: error.path().unwrap_or(root).to_owned(),
            source: error.into(),
        })?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let hidden = relative
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
        if entry.file_type().is_file() && !hidden && is_image(entry.path()) {
            rows.push(Row {
                path: relative.to_string_lossy().into_owned(),
                ..Row::default()
            });
        }
    }
    if rows.is_empty() {
        return Err(DataError::NoRows {
            path: root.to_owned(),
            reason: "no image lies in it".to_owned(),
            found: "none".to_owned(),
        });
    }
    Ok(Manifest {
        origin: root.to_owned(),
        root: root.to_owned(),
        rows,
    })
}

fn is_no_class(folder: &str) -> bool {
    NOT_CLASSES.contains(&folder.to_ascii_lowercase().as_str())
}

fn is_image(path: &Path) -> bool {
    match path.extension() {
        None => true,
        Some(extension) => EXTENSIONS.contains(&extension.to_string_lossy().to_ascii_lowercase().as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_labels_and_their_folders_patients() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "normal/a.PNG",
            "covid/p7/x.dcm",
            "covid/p7/y.dcm",
            "covid/notes.txt",
            ".cache/z.png",
            "masks/a.png",
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let manifest = class_folders(root.path()).unwrap();
        let seen: Vec<(&str, &str, Option<&str>)> = manifest
            .rows
            .iter()
            .map(|r| (r.path.as_str(), r.label.as_str(), r.patient_id.as_deref()))
            .collect();
        let expected = [
            ("covid/p7/x.dcm", "covid", Some("p7")),
            ("covid/p7/y.dcm", "covid", Some("p7")),
            ("normal/a.PNG", "normal", None),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_empty_folder_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let message = class_folders(root.path()).unwrap_err().to_string();
        assert!(
            message.contains("class folders") && message.contains("manifest CSV"),
            "{message}"
        );
    }
}

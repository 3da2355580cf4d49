//! Every file at hand against a living pydicom: `.venv/dicom` (`cargo xtask peers dicom` makes it), else `python3`.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{goldens, shared_dicom, stored_values};
use scanside_imaging::decode::{Limits, decode_path};
use serde_json::Value;

/// Share of the pixels of a lossy file that must lie within one grey step.
const WITHIN_ONE_STEP: f64 = 0.999;
const LOSSY: [&str; 2] = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"];

fn python() -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.venv/dicom/bin/python");
    let candidates = [own, PathBuf::from("python3")];
    let found = candidates.into_iter().find(|python| {
        Command::new(python)
            .args(["-c", "import pydicom, numpy, libjpeg, openjpeg, jpeg_ls"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "pydicom is not installed: cargo xtask peers dicom"
        );
        eprintln!("skipped: pydicom is not installed; cargo xtask peers dicom");
    }
    found
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_none_or(|extension| extension != "xml") {
            files.push(path);
        }
    }
}

#[test]
fn stored_values_equal_a_living_pydicom() {
    let Some(python) = python() else { return };
    let mut files = Vec::new();
    files_below(&goldens().join("dicom"), &mut files);
    if let Some(shared) = shared_dicom() {
        for part in ["ct", "ct_series_lungpetct", "cxr"] {
            files_below(&shared.join(part), &mut files);
        }
    }
    files.sort();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.arg("-B").arg(goldens().join("agreement.py"));
    let mut encodings = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let source = decode_path(path, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        let bytes: Vec<u8> = stored_values(&source).into_iter().flat_map(i32::to_le_bytes).collect();
        let values = folder.path().join(format!("{index}.i32"));
        std::fs::write(&values, bytes).expect("a writable folder");
        encodings.push(source.meta().encoding.clone().unwrap_or_default());
        command.arg(path).arg(values);
    }
    let output = command.output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    assert_eq!(lines.lines().count(), files.len());
    for ((line, path), encoding) in lines.lines().zip(&files).zip(encodings) {
        let figures: Value = serde_json::from_str(line).expect("JSON");
        let within_one = figures["within_one"].as_f64().expect("a share");
        let agrees = figures["exact"] == true || LOSSY.contains(&encoding.as_str()) && within_one >= WITHIN_ONE_STEP;
        assert!(agrees, "{}: {line}", path.display());
    }
}

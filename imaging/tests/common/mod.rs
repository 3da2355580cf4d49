//! Where test files lie, what a source decodes to, and whether pydicom agrees.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use scanside_imaging::Source;
use serde_json::Value;

/// Share of the pixels of a lossy file that must lie within one grey step.
const WITHIN_ONE_STEP: f64 = 0.999;

/// `imaging/goldens`
pub fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens")
}

/// `shared/data/dicom`: `SCANSIDE_DATA` or beside the repository; one line if it is absent.
pub fn shared_dicom() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("SCANSIDE_DATA")
        .map_or_else(beside, PathBuf::from)
        .join("dicom");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "skipped: {} is not there; set SCANSIDE_DATA to a folder with the shared data",
        folder.display()
    );
    None
}

/// The stored values of all frames, row by row.
pub fn stored_values(source: &Source) -> Vec<i32> {
    let mut values = Vec::new();
    for frame in 0..source.frame_count() {
        let image = source.frame(frame).expect("a frame that decodes");
        for y in 0..image.height() {
            values.extend((0..image.width()).map(|x| image.pixels.value(y, x)));
        }
    }
    values
}

/// A Python with pydicom: `.venv/dicom` (`cargo xtask peers dicom` makes it), else `python3`; one line if there is none,
/// and a failure in CI.
pub fn pydicom() -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.venv/dicom/bin/python");
    let candidates = [own, PathBuf::from("python3")];
    let found = candidates.into_iter().find(|python| {
        Command::new(python)
            .args(["-c", "import pydicom, numpy, libjpeg, openjpeg, jpeg_ls"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        let message = "pydicom is not installed; cargo xtask peers dicom";
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{message}");
        eprintln!("skipped: {message}");
    }
    found
}

/// What was decoded of one file.
pub struct Decoded<'a> {
    pub path: &'a Path,
    pub values: Vec<i32>,
    pub lossy: bool,
}

/// Holds decoded values against pydicom's: equal, or of a lossy file within one grey step for nearly all pixels.
pub fn assert_pydicom_agrees<'a>(python: &Path, files: impl IntoIterator<Item = Decoded<'a>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.arg("-B").arg(goldens().join("agreement.py"));
    let mut named = Vec::new();
    for (index, decoded) in files.into_iter().enumerate() {
        let bytes: Vec<u8> = decoded.values.into_iter().flat_map(i32::to_le_bytes).collect();
        let values = folder.path().join(format!("{index}.i32"));
        std::fs::write(&values, bytes).expect("a writable folder");
        command.arg(decoded.path).arg(values);
        named.push((decoded.path, decoded.lossy));
    }
    let output = command.output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    assert_eq!(lines.lines().count(), named.len());
    for (line, (path, lossy)) in lines.lines().zip(named) {
        let figures: Value = serde_json::from_str(line).expect("JSON");
        let within_one = figures["within_one"].as_f64().expect("a share");
        let agrees = figures["exact"] == true || lossy && within_one >= WITHIN_ONE_STEP;
        assert!(agrees, "{}: {line}", path.display());
    }
}

//! Where test files lie, and what a source decodes to.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::PathBuf;

use scanside_imaging::Source;

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

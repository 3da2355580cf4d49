//! Every file at hand against a living pydicom.

mod common;

use std::path::{Path, PathBuf};

use common::{Decoded, assert_pydicom_agrees, goldens, pydicom, shared_dicom, stored_values};
use scanside_imaging::decode::{Limits, decode_path};

const LOSSY: [&str; 2] = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"];

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
    let Some(python) = pydicom() else { return };
    let mut files = Vec::new();
    files_below(&goldens().join("dicom"), &mut files);
    if let Some(shared) = shared_dicom() {
        for part in ["ct", "ct_series_lungpetct", "cxr"] {
            files_below(&shared.join(part), &mut files);
        }
    }
    files.sort();
    let decoded = files.iter().map(|path| {
        let source = decode_path(path, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        let encoding = source.meta().encoding.clone().unwrap_or_default();
        Decoded {
            path,
            values: stored_values(&source),
            lossy: LOSSY.contains(&encoding.as_str()),
        }
    });
    assert_pydicom_agrees(&python, decoded);
}

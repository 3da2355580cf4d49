//! Real DICOM files (`shared/data/dicom`, not part of the repository) against digests of what pydicom decodes.
//!
//! The digests of lossy files are those of our own decoder: `goldens/record.py` writes them only after it has found at
//! least 99.9 % of the pixels within one step of pydicom's. Where a processor rounds differently, a living pydicom decides.

mod common;

use std::fmt::Write;
use std::fs;

use common::{Decoded, assert_pydicom_agrees, goldens, pydicom, shared_dicom, stored_values};
use scanside_imaging::decode::{Limits, decode_path};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn digest(values: &[i32]) -> String {
    let mut hash = Sha256::new();
    for value in values {
        hash.update(value.to_le_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn recorded() -> Vec<Value> {
    let text = fs::read_to_string(goldens().join("shared.json")).expect("shared.json lies beside record.py");
    let document: Value = serde_json::from_str(&text).expect("shared.json is JSON");
    document["files"].as_array().expect("a list").clone()
}

#[test]
fn real_files_equal_pydicom() {
    let Some(folder) = shared_dicom() else { return };
    let entries = recorded();
    assert!(entries.len() >= 23, "{} entries", entries.len());
    for entry in entries {
        let name = entry["file"].as_str().expect("a name");
        let source = decode_path(&folder.join(name), &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        let values = stored_values(&source);
        let pixels: u64 = entry["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(|n| n.as_u64().unwrap())
            .product();
        assert_eq!(values.len() as u64, pixels, "{name}");
        let as_recorded = digest(&values) == entry["sha256"].as_str().expect("a digest");
        if entry["agreement"].is_object() && !as_recorded {
            eprintln!("{name}: not the digest of the processor that recorded; a living pydicom decides");
            let path = &folder.join(name);
            if let Some(python) = pydicom() {
                let lossy = true;
                assert_pydicom_agrees(&python, [Decoded { path, values, lossy }]);
            }
            continue;
        }
        assert!(as_recorded, "{name}");
    }
}

#[test]
fn the_headless_file_is_read_with_warnings() {
    let Some(folder) = shared_dicom() else { return };
    let path = folder.join("ct/CT_Implicit_Little_Headless_Retired.dcm");
    let source = decode_path(&path, &Limits::default()).expect("decodes");
    let warnings = source.meta().warnings.join("\n");
    for part in [
        "no DICOM preamble",
        "Samples per Pixel (0028,0002) is missing: read as 1",
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }
}

#[test]
fn hounsfield_units_of_air_and_body() {
    let Some(folder) = shared_dicom() else { return };
    let source = decode_path(&folder.join("ct/CT_small.dcm"), &Limits::default()).expect("decodes");
    let values = source.frame(0).expect("one frame").modality_values();
    let (low, high) = values
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), &hu| (low.min(hu), high.max(hu)));
    assert_eq!((low, high), (-896.0, 1167.0), "128 and 2191 stored, intercept -1024");
}

#[test]
fn relabelled_monochrome1_is_the_inverse_picture() {
    let Some(folder) = shared_dicom() else { return };
    let image = |name: &str| {
        decode_path(&folder.join("cxr").join(name), &Limits::default())
            .and_then(|source| source.frame(0))
            .expect("decodes")
    };
    let plain = image("1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm");
    let inverse = image("Fake_MONOHR1.dcm");
    assert_eq!(plain.pixels, inverse.pixels);
    for (a, b) in plain.display().iter().zip(&inverse.display()) {
        assert!((a + b - 1.0).abs() < 1e-6);
    }
}

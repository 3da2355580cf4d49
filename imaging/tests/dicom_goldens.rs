//! Synthetic DICOM files against what pydicom makes of them (recorded by `goldens/record.py`), pixel by pixel.

mod common;

use std::fs;

use common::goldens;
use scanside_imaging::GreyImage;
use scanside_imaging::decode::{Limits, decode_path};
use serde_json::Value;

/// Share of the pixels of a lossy file that must lie within one grey step of pydicom's.
const WITHIN_ONE_STEP: f64 = 0.999;

fn entries(list: &str) -> Vec<Value> {
    let text = fs::read_to_string(goldens().join("expected.json")).expect("expected.json lies beside record.py");
    let document: Value = serde_json::from_str(&text).expect("expected.json is JSON");
    document[list].as_array().expect("a list").clone()
}

/// What pydicom gives for one frame: stored, modality and display values (0 to 65535).
struct Expected {
    stored: Vec<i32>,
    modality: Vec<f32>,
    display: Vec<u16>,
}

/// The recorded values, in the order of the entries.
struct Recorded {
    bytes: Vec<u8>,
    at: usize,
}

impl Recorded {
    fn open() -> Self {
        Recorded {
            bytes: fs::read(goldens().join("expected.bin")).expect("expected.bin lies beside record.py"),
            at: 0,
        }
    }

    fn words(&mut self, count: usize) -> Vec<[u8; 2]> {
        let words = self.bytes[self.at..self.at + 2 * count]
            .chunks_exact(2)
            .map(|pair| [pair[0], pair[1]])
            .collect();
        self.at += 2 * count;
        words
    }

    fn frame(&mut self, pixels: usize, signed: bool) -> Expected {
        let stored = self.words(pixels).into_iter().map(|word| match signed {
            true => i32::from(i16::from_le_bytes(word)),
            false => i32::from(u16::from_le_bytes(word)),
        });
        let stored = stored.collect();
        let floats = self.words(2 * pixels);
        let modality = floats
            .chunks_exact(2)
            .map(|pair| f32::from_le_bytes([pair[0][0], pair[0][1], pair[1][0], pair[1][1]]))
            .collect();
        let display = self.words(pixels).into_iter().map(u16::from_le_bytes).collect();
        Expected {
            stored,
            modality,
            display,
        }
    }
}

fn stored(image: &GreyImage) -> Vec<i32> {
    let (height, width) = (image.height(), image.width());
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (y, x)))
        .map(|(y, x)| image.pixels.value(y, x))
        .collect()
}

fn check_frame(name: &str, image: &GreyImage, expected: &Expected, exact: bool) {
    let decoded = stored(image);
    let within_one = decoded
        .iter()
        .zip(&expected.stored)
        .filter(|(ours, theirs)| ours.abs_diff(**theirs) <= 1)
        .count() as f64
        / decoded.len() as f64;
    if !exact {
        assert!(
            within_one >= WITHIN_ONE_STEP,
            "{name}: {within_one} of the pixels within one step"
        );
        return;
    }
    assert!(
        decoded == expected.stored,
        "{name}: stored values differ; {within_one} within one step"
    );
    for (ours, theirs) in image.modality_values().iter().zip(&expected.modality) {
        assert!(
            (ours - theirs).abs() <= 1e-3,
            "{name}: modality value {ours}, pydicom {theirs}"
        );
    }
    for ((ours, theirs), stored) in image.display().iter().zip(&expected.display).zip(&decoded) {
        let difference = (ours * 65_535.0 - f32::from(*theirs)).abs();
        assert!(
            difference <= 1.0,
            "{name}: display of {stored} is {ours}, pydicom {}",
            f32::from(*theirs) / 65_535.0
        );
    }
}

#[test]
fn synthetic_files_equal_pydicom() {
    let mut recorded = Recorded::open();
    let entries = entries("decoded");
    assert!(entries.len() >= 100, "{} entries", entries.len());
    for entry in &entries {
        let name = entry["file"].as_str().expect("a name");
        let shape: Vec<usize> = entry["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(|n| n.as_u64().unwrap() as usize)
            .collect();
        let source = decode_path(&goldens().join("dicom").join(name), &Limits::default())
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(source.frame_count(), shape[0], "{name}");
        assert!(
            source.meta().warnings.is_empty(),
            "{name}: {:?}",
            source.meta().warnings
        );
        for frame in 0..shape[0] {
            let expected = recorded.frame(shape[1] * shape[2], entry["signed"].as_bool().expect("a flag"));
            let image = source.frame(frame).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!([image.height(), image.width()], shape[1..], "{name}");
            check_frame(name, &image, &expected, entry["exact"].as_bool().expect("a flag"));
        }
    }
    assert_eq!(recorded.at, recorded.bytes.len(), "every recorded value was compared");
}

#[test]
fn refusals_have_their_codes() {
    for entry in entries("refused") {
        let (name, code) = (
            entry["file"].as_str().expect("a name"),
            entry["code"].as_str().expect("a code"),
        );
        let error = decode_path(&goldens().join("refused").join(name), &Limits::default())
            .and_then(|source| source.frame(0))
            .expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
    }
}

#[test]
fn the_description_is_read() {
    let source = decode_path(&goldens().join("dicom/explicit_16_12_u.dcm"), &Limits::default()).expect("decodes");
    let meta = source.frame(0).expect("one frame").meta;
    assert_eq!(&meta, source.meta());
    let texts = [
        &meta.modality,
        &meta.body_part,
        &meta.view,
        &meta.manufacturer,
        &meta.encoding,
    ];
    let expected = ["DX", "CHEST", "PA", "Phantom", "1.2.840.10008.1.2.1"];
    assert_eq!(texts.map(|text| text.as_deref().unwrap_or_default()), expected);
    assert_eq!((meta.age_years, meta.pixel_spacing_mm), (Some(45.0), Some([0.2, 0.25])));
    assert_eq!(meta.sop_instance_uid.as_deref(), Some("2.25.1"));
    let enhanced = decode_path(&goldens().join("dicom/enhanced_multiframe.dcm"), &Limits::default()).expect("decodes");
    assert_eq!(
        enhanced.frame(1).expect("two frames").meta.pixel_spacing_mm,
        Some([0.5, 0.75])
    );
    assert_eq!(enhanced.frame(2).expect_err("two frames").code(), "no-such-frame");
}

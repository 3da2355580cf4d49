//! A small complete bundle: for tests, for the fuzz targets, and as documentation of the manifest.
//!
//! Its model file is no network; it is there to be packed.

use imaging::preprocess::PreprocessSpec;
use imaging::quality::QualityLimits;

use crate::container::PayloadFile;
use crate::manifest::{
    AgeRange, Audit, Conformal, ConformalQuantile, Estimate, Evaluation, FileEntry, FileKind, GateFigure, GoldenCase,
    GoldenOutputs, GoldenTolerance, HardwareRequirement, IntendedUse, Label, Manifest, Metric, Model, Novelty,
    OperatingPoint, Outputs, Provenance, QuantizationSummary,
};
use crate::version::Version;

/// Side of the example's input, in pixels.
const SIDE: u32 = 16;
const MODEL: &str = "model.int8.onnx";
const GOLDEN_INPUT: &str = "golden/0.f32";
const GOLDEN_EXPECTED: &str = "golden/0.json";
const REPORT: &str = "report/quantization.json";

/// A manifest with three labels whose payload is [`files`].
#[must_use]
pub fn manifest() -> Manifest {
    Manifest {
        name: "example-triage".to_owned(),
        version: Version::new(1, 2, 3),
        role: "chest-xray".to_owned(),
        security_counter: 7,
        created: "2026-01-31T12:00:00Z".to_owned(),
        hardware: HardwareRequirement::default(),
        labels: vec![
            Label::new("normal", "No finding", true),
            Label::new("covid19", "COVID-19 pattern", false),
            Label::new("viral_pneumonia", "Viral pneumonia pattern", false),
        ],
        preprocess: PreprocessSpec {
            size: [SIDE, SIDE],
            channels: 1,
            mean: vec![0.5],
            std: vec![0.25],
            ..PreprocessSpec::imagenet(SIDE)
        },
        model: Model {
            file: MODEL.to_owned(),
            architecture: "resnet18".to_owned(),
            precision: "int8-u8s8".to_owned(),
            input: "image".to_owned(),
            outputs: Outputs {
                novelty: Some("novelty".to_owned()),
                ..Outputs::default()
            },
        },
        operating_points: vec![
            operating_point("covid19", 0.4),
            operating_point("viral_pneumonia", 0.35),
        ],
        temperature: 1.25,
        conformal: Some(conformal()),
        novelty: Some(Novelty {
            threshold: 60.0,
            quantile: 0.99,
            dimensions: 32,
            mean: 31.0,
            std: 8.0,
        }),
        quality: QualityLimits::default(),
        golden: vec![GoldenCase {
            name: "a drawn case".to_owned(),
            input: GOLDEN_INPUT.to_owned(),
            expected: GOLDEN_EXPECTED.to_owned(),
            tolerance: GoldenTolerance::default(),
        }],
        evaluation: vec![evaluation()],
        quantization: Some(quantization()),
        provenance: provenance(),
        audit: Audit::default(),
        intended_use: IntendedUse {
            modalities: vec!["CR".to_owned(), "DX".to_owned()],
            body_parts: vec!["CHEST".to_owned()],
            views: vec!["PA".to_owned(), "AP".to_owned()],
            age_years: Some(AgeRange { min: 18.0, max: 120.0 }),
            statement: "Triage of frontal chest radiographs of adults. Not for diagnosis.".to_owned(),
        },
        files: Vec::new(),
    }
}

/// The payload of [`manifest`].
#[must_use]
pub fn files() -> Vec<PayloadFile> {
    let input: Vec<u8> = (0..SIDE * SIDE)
        .flat_map(|i| (i as f32 / 256.0).to_le_bytes())
        .collect();
    let expected = GoldenOutputs {
        probabilities: vec![0.1, 0.7, 0.2],
        cam_class: vec![1, 2],
        cam_shape: [2, 1, 1],
        cam: vec![0.5, 0.25],
        novelty: Some(30.0),
    };
    // Serialising plain numbers cannot fail.
    let expected = serde_json::to_vec(&expected).unwrap_or_default();
    vec![
        PayloadFile::new(MODEL, FileKind::Model, model_bytes()),
        PayloadFile::new(GOLDEN_INPUT, FileKind::GoldenInput, input),
        PayloadFile::new(GOLDEN_EXPECTED, FileKind::GoldenOutput, expected),
        PayloadFile::new(REPORT, FileKind::Report, b"{\"layers\":[]}".to_vec()),
    ]
}

/// [`manifest`] with the entries that packing adds, for checks without a payload.
#[must_use]
pub fn manifest_with_files() -> Manifest {
    let mut manifest = manifest();
    manifest.files = files()
        .iter()
        .map(|file| FileEntry {
            path: file.path.clone(),
            kind: file.kind,
            length: file.bytes.len() as u64,
            stored: 1,
            sha256: "0".repeat(64),
        })
        .collect();
    manifest
}

/// Bytes that compress as badly as weights do, over several blocks.
fn model_bytes() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..20_000).map(|_| next()).collect()
}

fn operating_point(label: &str, threshold: f32) -> OperatingPoint {
    OperatingPoint {
        label: label.to_owned(),
        threshold,
        criterion: Some("sensitivity 0.95".to_owned()),
        sensitivity: Some(estimate(0.95)),
        specificity: Some(estimate(0.88)),
    }
}

fn estimate(value: f32) -> Estimate {
    Estimate {
        value,
        low: value - 0.04,
        high: value + 0.03,
        n: 200,
    }
}

fn conformal() -> Conformal {
    let quantile = |label: &str, score| ConformalQuantile {
        label: label.to_owned(),
        score,
    };
    Conformal {
        coverage: 0.95,
        n: 200,
        quantiles: vec![
            quantile("normal", 0.8),
            quantile("covid19", 0.75),
            quantile("viral_pneumonia", 0.7),
        ],
    }
}

fn evaluation() -> Evaluation {
    let metric = |name: &str, label: Option<&str>, value| Metric {
        name: name.to_owned(),
        label: label.map(str::to_owned),
        estimate: estimate(value),
    };
    Evaluation {
        dataset: "test".to_owned(),
        n: 200,
        metrics: vec![
            metric("balanced-accuracy", None, 0.9),
            metric("auroc", Some("covid19"), 0.96),
        ],
    }
}

fn quantization() -> QuantizationSummary {
    QuantizationSummary {
        method: "minmax".to_owned(),
        calibration_images: 100,
        worst_layer_db: 21.5,
        gate: vec![GateFigure {
            name: "auroc-loss".to_owned(),
            value: 0.001,
            limit: 0.005,
            n: 200,
        }],
        report: Some(REPORT.to_owned()),
    }
}

fn provenance() -> Provenance {
    Provenance {
        recipe: "example".to_owned(),
        recipe_sha256: "1".repeat(64),
        data_sha256: "2".repeat(64),
        training_images: 1000,
        sources: vec!["phantoms".to_owned()],
        synthetic: true,
        git_revision: "unknown".to_owned(),
        trainer_version: "0.1.0".to_owned(),
        seed: 1,
    }
}

//! Our quantizer against Python's onnxruntime on the same float file and images: the same ranges
//! and weights, outputs at least as close to float, and files that the official checker accepts.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ndarray::Array4;
use scanside_onnx::export::export;
use scanside_onnx::graph::Graph;
use scanside_onnx::heads::{Heads, classifier};
use scanside_onnx::networks::{ImageClassifier, SmallCnnConfig, resnet, small_cnn};
use scanside_onnx::proto::ModelProto;
use scanside_onnx::quantize::report::decibels;
use scanside_onnx::quantize::{ImageError, Method, QuantizeOptions, Quantized, quantize};
use scanside_onnx::runtime::optimised::node_counts;
use scanside_onnx::runtime::session::Optimisation;
use scanside_onnx::runtime::{Runtime, Session, SessionOptions};
use serde::Deserialize;

const SIDE: usize = 64;
/// Convolutions and residual additions of a ResNet-18.
const CONVOLUTIONS: usize = 20;
const ADDITIONS: usize = 8;

#[derive(Deserialize)]
struct Peer {
    activations: BTreeMap<String, (f32, i32)>,
    weights: BTreeMap<String, (Vec<f32>, Vec<i8>)>,
}

fn graph() -> Graph {
    let config = ImageClassifier {
        classes: 3,
        channels: 1,
        size: [SIDE, SIDE],
    };
    let heads = Heads {
        temperature: 1.0,
        top_k: 2,
        novelty: None,
    };
    classifier(resnet(18, &config).unwrap(), &heads).unwrap()
}

/// Blobs of one brightness each, with noise.
fn images(count: usize, seed: u64) -> Vec<Array4<f32>> {
    let mut noise = common::Noise::new(seed);
    let mut image = || {
        let (x0, y0, strength) = (noise.next(), noise.next(), noise.next());
        Array4::from_shape_fn((1, 1, SIDE, SIDE), |(_, _, y, x)| {
            let [x, y] = [x, y].map(|p| p as f32 / SIDE as f32 * 2.0 - 1.0);
            strength * 2.0 * (-3.0 * ((x - x0).powi(2) + (y - y0).powi(2))).exp() + 0.3 * noise.next()
        })
    };
    (0..count).map(|_| image()).collect()
}

fn ours(runtime: &Runtime, float: &[u8], calibration: &[Array4<f32>], options: &QuantizeOptions) -> Quantized {
    let mut images = calibration.iter().map(|image| Ok::<_, ImageError>(image.clone()));
    quantize(runtime, float, &mut images, options).unwrap()
}

fn python_quantizes(python: &Path, folder: &Path, calibration: &[Array4<f32>]) -> Peer {
    let bytes: Vec<u8> = calibration
        .iter()
        .flatten()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    std::fs::write(folder.join("images.f32"), bytes).unwrap();
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/quantize.py"))
        .args(["float.onnx", "images.f32", "python.onnx"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Signal to noise of the logits over images that were not calibrated on, in dB.
fn logits_ratio(runtime: &Runtime, float: &[u8], quantized: &[u8]) -> f64 {
    let session = |model: &[u8]| Session::from_bytes(runtime, model, &SessionOptions::default()).unwrap();
    let (mut a, mut b) = (session(float), session(quantized));
    let (mut signal, mut noise) = (0.0, 0.0);
    for image in images(24, 77) {
        let image = image.into_dyn();
        let (a, b) = (
            a.run(&[("image", image.view())]).unwrap(),
            b.run(&[("image", image.view())]).unwrap(),
        );
        let (a, b) = (a.array::<f32>("logits").unwrap(), b.array::<f32>("logits").unwrap());
        for (x, y) in a.iter().zip(&b) {
            signal += f64::from(*x).powi(2);
            noise += f64::from(x - y).powi(2);
        }
    }
    decibels(signal, noise)
}

#[test]
fn every_convolution_and_addition_of_every_kind_of_network_is_fused() {
    let Some(runtime) = common::runtime() else { return };
    let config = ImageClassifier {
        classes: 2,
        channels: 1,
        size: [SIDE, SIDE],
    };
    let small = small_cnn(&SmallCnnConfig {
        image: config,
        width: 8,
    });
    for graph in [graph(), resnet(50, &config).unwrap(), small.unwrap()] {
        let float = export(&graph, &common::parameters(&graph)).unwrap();
        let quantized = ours(runtime, &float, &images(3, 1), &QuantizeOptions::default());
        let before = node_counts(runtime, &float, Optimisation::None).unwrap();
        let after = node_counts(runtime, &quantized.model, Optimisation::All).unwrap();
        let name = graph.name();
        assert_eq!(after.get("QLinearConv"), before.get("Conv"), "{name}: {after:?}");
        assert_eq!(after.get("QLinearAdd"), before.get("Add"), "{name}: {after:?}");
        assert!(
            after.keys().all(|operator| operator != "Conv" && operator != "Add"),
            "{name}: {after:?}"
        );
        assert_eq!(after.get("QuantizeLinear"), Some(&1), "{name}: {after:?}");
    }
}

#[test]
fn python_finds_the_same_numbers() {
    let Some(runtime) = common::runtime() else { return };
    let Some(python) = common::python() else { return };
    let graph = graph();
    let float = export(&graph, &common::parameters(&graph)).unwrap();
    let calibration = images(16, 1);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("float.onnx"), &float).unwrap();
    let peer = python_quantizes(&python, folder.path(), &calibration);
    let options = QuantizeOptions {
        method: Method::MinMax,
        bias_correction: false,
        ..QuantizeOptions::default()
    };
    let quantized = ours(runtime, &float, &calibration, &options);
    let mut compared = 0;
    // Max pooling has the numbers of what it reads, and Python writes them once.
    for layer in quantized
        .report
        .layers
        .iter()
        .filter(|layer| layer.operator != "MaxPool")
    {
        let numbers = layer.activation.as_ref().unwrap().numbers;
        let found = peer.activations.get(&layer.name);
        let (scale, zero_point) = *found.unwrap_or_else(|| panic!("Python does not round {}", layer.name));
        assert!(
            (numbers.scale / scale - 1.0).abs() < 1e-5,
            "{}: {} {scale}",
            layer.name,
            numbers.scale
        );
        assert_eq!(numbers.zero_point, zero_point, "{}", layer.name);
        compared += 1;
    }
    assert!(compared > CONVOLUTIONS + ADDITIONS, "{compared}");
    let decoded = ModelProto::from_bytes(&quantized.model).unwrap().graph.unwrap();
    let suffix = |name: &str| format!("/{name}/quantized");
    assert_eq!(peer.weights.len(), CONVOLUTIONS);
    for (name, (scales, values)) in &peer.weights {
        let own = decoded
            .initializer
            .iter()
            .find(|t| t.name.ends_with(&suffix(name)))
            .unwrap();
        let own_scales = decoded
            .initializer_named(&own.name.replace("/quantized", "/scale"))
            .unwrap();
        for (a, b) in own_scales.to_f32().unwrap().iter().zip(scales) {
            assert!((a / b - 1.0).abs() < 1e-5, "{name}");
        }
        let apart = own.to_i8().unwrap().iter().zip(values).filter(|(a, b)| a != b).count();
        // Halves may round either way where the scales differ in the last bit.
        assert!(apart <= values.len() / 1000, "{name}: {apart} of {}", values.len());
    }
    let default = ours(runtime, &float, &calibration, &QuantizeOptions::default());
    let theirs = std::fs::read(folder.path().join("python.onnx")).unwrap();
    let [plain, default, theirs] =
        [&quantized.model, &default.model, &theirs].map(|model| logits_ratio(runtime, &float, model));
    println!("logits: same method {plain:.1} dB, ours as it stands {default:.1} dB, Python {theirs:.1} dB");
    assert!(
        plain > theirs - 0.5 && default > theirs - 0.5,
        "{plain} {default} {theirs}"
    );
}

#[test]
fn the_official_checker_accepts_quantized_files() {
    let Some(runtime) = common::runtime() else { return };
    let Some(python) = common::python() else { return };
    let graph = graph();
    let float = export(&graph, &common::parameters(&graph)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for activations in [
        scanside_onnx::quantize::ActivationType::U8,
        scanside_onnx::quantize::ActivationType::S8,
    ] {
        let options = QuantizeOptions {
            activations,
            compared_images: 0,
            ..QuantizeOptions::default()
        };
        let quantized = ours(runtime, &float, &images(2, 1), &options);
        let name = format!("{activations:?}.onnx");
        std::fs::write(folder.path().join(name), quantized.model).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/check.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts.len(), 2);
}

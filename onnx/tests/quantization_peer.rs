//! Our quantizer against Python's onnxruntime on the same float file and images: the same ranges
//! and weights, outputs as close to float, and files that the official checker accepts.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use ndarray::Array4;
use scanside_onnx::export::export;
use scanside_onnx::graph::{Graph, Node, Operator};
use scanside_onnx::heads::{Heads, Novelty, classifier};
use scanside_onnx::networks::{ImageClassifier, SmallCnnConfig, resnet, small_cnn};
use scanside_onnx::proto::ModelProto;
use scanside_onnx::quantize::report::decibels;
use scanside_onnx::quantize::{ActivationType, ImageError, Method, QuantizeOptions, Quantized, quantize};
use scanside_onnx::runtime::optimised::node_counts;
use scanside_onnx::runtime::session::Optimisation;
use scanside_onnx::runtime::{Runtime, Session, SessionOptions};
use serde::Deserialize;

const SIDE: usize = 64;

#[derive(Deserialize)]
struct Peer {
    activations: BTreeMap<String, (f32, i32)>,
    weights: BTreeMap<String, (Vec<f32>, Vec<i8>)>,
}

const CONFIG: ImageClassifier = ImageClassifier {
    classes: 3,
    channels: 1,
    size: [SIDE, SIDE],
};

fn small() -> Graph {
    small_cnn(&SmallCnnConfig {
        image: CONFIG,
        width: 16,
    })
    .unwrap()
}

/// The small network with heads, and its float file.
fn float_file() -> Vec<u8> {
    let heads = Heads {
        temperature: 1.0,
        top_k: 2,
        novelty: None,
    };
    let graph = classifier(small(), &heads).unwrap();
    export(&graph, &common::parameters(&graph)).unwrap()
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

/// How often an operator stands in a description.
fn count(graph: &Graph, operator: &str) -> usize {
    let nodes = graph.nodes().iter();
    nodes.filter(|node| node.operator.name() == operator).count()
}

/// With all heads, as the appliance's files have them: no float operator of theirs may keep a convolution from fusing.
#[test]
fn every_convolution_and_addition_of_every_kind_of_network_is_fused() {
    let Some(runtime) = common::runtime() else { return };
    for plain in [resnet(18, &CONFIG).unwrap(), resnet(50, &CONFIG).unwrap(), small()] {
        let linear = format!("{}.weight", plain.classifier().unwrap().linear);
        let features = plain.parameter(&linear).unwrap().shape[1];
        let heads = Heads {
            temperature: 1.0,
            top_k: 2,
            novelty: Some(Novelty::placeholder(features, 8, CONFIG.classes)),
        };
        let graph = classifier(plain.clone(), &heads).unwrap();
        let float = export(&graph, &common::parameters(&graph)).unwrap();
        let quantized = ours(runtime, &float, &images(3, 1), &QuantizeOptions::default());
        let after = node_counts(runtime, &quantized.model, Optimisation::All).unwrap();
        let found = |operator: &str| after.get(operator).copied().unwrap_or(0);
        let name = plain.name();
        assert_eq!(found("QLinearConv"), count(&plain, "Conv"), "{name}: {after:?}");
        assert_eq!(found("QLinearAdd"), count(&plain, "Add"), "{name}: {after:?}");
        assert_eq!(found("Conv"), 0, "{name}: {after:?}");
        let of_heads = count(&graph, "Add") - count(&plain, "Add");
        assert_eq!(found("Add"), of_heads, "{name}: {after:?}");
        assert_eq!(found("QuantizeLinear"), 1, "{name}: {after:?}");
    }
}

/// What decides whether a convolution or addition fuses: its operator and those before and behind it.
fn surroundings(graph: &Graph) -> BTreeSet<String> {
    let kind = |node: &Node| match &node.operator {
        Operator::Conv { window, .. } => format!("Conv {window:?}"),
        other => other.name().to_owned(),
    };
    let of = |node: &Node| {
        let writers = graph
            .nodes()
            .iter()
            .filter(|other| other.outputs.iter().any(|id| node.inputs.contains(id)));
        let readers = graph
            .nodes()
            .iter()
            .filter(|other| other.inputs.iter().any(|id| node.outputs.contains(id)));
        let [mut before, mut behind]: [Vec<String>; 2] = [writers.map(kind).collect(), readers.map(kind).collect()];
        before.sort();
        behind.sort();
        format!("{before:?} -> {} -> {behind:?}", kind(node))
    };
    let nodes = graph.nodes().iter();
    nodes
        .filter(|node| ["Conv", "Add"].contains(&node.operator.name()))
        .map(of)
        .collect()
}

/// So what fuses in ResNet-18 and ResNet-50 does in the deeper ones, whose files take minutes.
#[test]
fn deeper_networks_are_more_of_the_same() {
    for (deep, shallow) in [(34, 18), (101, 50), (152, 50)] {
        let [deeper, known] = [deep, shallow].map(|depth| resnet(depth, &CONFIG).unwrap());
        let new: Vec<String> = surroundings(&deeper)
            .difference(&surroundings(&known))
            .cloned()
            .collect();
        assert!(new.is_empty(), "ResNet-{deep} against {shallow}: {new:?}");
        assert!(deeper.nodes().len() > known.nodes().len());
    }
    assert!(!surroundings(&small()).is_subset(&surroundings(&resnet(18, &CONFIG).unwrap())));
}

fn same_activations(quantized: &Quantized, peer: &Peer) {
    // Max pooling has the numbers of what it reads, and Python writes them once.
    let layers = quantized.report.layers.iter();
    for layer in layers.filter(|layer| layer.operator != "MaxPool") {
        let own = layer.activation.as_ref().unwrap().numbers;
        let found = peer.activations.get(&layer.name);
        let (scale, zero_point) = *found.unwrap_or_else(|| panic!("Python does not round {}", layer.name));
        let apart = (own.scale / scale - 1.0).abs();
        assert!(apart < 1e-5, "{}: {} {scale}", layer.name, own.scale);
        assert_eq!(own.zero_point, zero_point, "{}", layer.name);
    }
}

fn same_weights(quantized: &Quantized, peer: &Peer) {
    let graph = ModelProto::from_bytes(&quantized.model).unwrap().graph.unwrap();
    let layers = quantized
        .report
        .layers
        .iter()
        .filter(|layer| layer.weights_db.is_some());
    assert_eq!(layers.count(), peer.weights.len());
    for (name, (scales, values)) in &peer.weights {
        let ending = format!("/{name}/quantized");
        let own = graph.initializer.iter().find(|t| t.name.ends_with(&ending)).unwrap();
        let own_scales = graph.initializer_named(&own.name.replace("/quantized", "/scale"));
        for (a, b) in own_scales.unwrap().to_f32().unwrap().iter().zip(scales) {
            assert!((a / b - 1.0).abs() < 1e-5, "{name}");
        }
        let apart = own.to_i8().unwrap().iter().zip(values).filter(|(a, b)| a != b).count();
        // Halves may round either way where the scales differ in the last bit.
        assert!(apart <= values.len() / 1000, "{name}: {apart} of {}", values.len());
    }
}

#[test]
fn python_finds_the_same_numbers() {
    let Some(runtime) = common::runtime() else { return };
    let Some(python) = common::python() else { return };
    let float = float_file();
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
    same_activations(&quantized, &peer);
    same_weights(&quantized, &peer);
    let theirs = std::fs::read(folder.path().join("python.onnx")).unwrap();
    let [own, theirs] = [&quantized.model, &theirs].map(|model| logits_ratio(runtime, &float, model));
    println!("logits: ours {own:.1} dB, Python's {theirs:.1} dB");
    assert!(own > theirs - 0.5, "{own} {theirs}");
}

#[test]
fn the_official_checker_accepts_quantized_files() {
    let Some(runtime) = common::runtime() else { return };
    let Some(python) = common::python() else { return };
    let float = float_file();
    let folder = tempfile::tempdir().unwrap();
    for activations in [ActivationType::U8, ActivationType::S8] {
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

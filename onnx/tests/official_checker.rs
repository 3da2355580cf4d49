//! Every operator and network against the official onnx package and Python's onnxruntime: the
//! files are valid, our shapes are theirs, and they run.

mod common;
mod operators;

use std::collections::BTreeMap;
use std::process::Command;

use scanside_onnx::export::{export, to_model};
use scanside_onnx::graph::{ElementType, Graph, Shape};
use scanside_onnx::heads::{Heads, Novelty, classifier};
use scanside_onnx::networks::{
    DcganConfig, ImageClassifier, PatchGanConfig, ResNetCriticConfig, SmallCnnConfig, UnetConfig, dcgan_discriminator,
    dcgan_generator, patch_gan, resnet, resnet_critic, small_cnn, unet,
};
use serde::Deserialize;

/// Element type in numpy's words, and extents: numbers, or names of axes.
type Seen = (String, Vec<serde_json::Value>);

#[derive(Deserialize)]
struct Verdict {
    values: BTreeMap<String, Seen>,
    runs: BTreeMap<usize, BTreeMap<String, Seen>>,
}

fn element_name(element: ElementType) -> &'static str {
    match element {
        ElementType::F32 => "float32",
        ElementType::I64 => "int64",
        _ => "no element of a graph",
    }
}

fn extents(shape: &Shape) -> Vec<serde_json::Value> {
    shape
        .iter()
        .map(|dim| dim.fixed().map_or("N".into(), Into::into))
        .collect()
}

/// What the official package found, with axes that it could not name read as the batch: it follows
/// no symbol through Resize and Pad. The runs with two batches show that it is the batch.
fn batch_named((element, extents): &Seen) -> Seen {
    let unnamed = |extent: &serde_json::Value| extent.as_str().is_some_and(|name| name.starts_with("unk__"));
    let named = extents
        .iter()
        .map(|extent| if unnamed(extent) { "N".into() } else { extent.clone() });
    (element.clone(), named.collect())
}

/// Checks files in one Python process; by file the graph that it was written from.
fn compare(graphs: &BTreeMap<String, Graph>, files: &tempfile::TempDir) {
    let Some(python) = common::python() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/check.py");
    let output = Command::new(python).arg(script).arg(files.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts: BTreeMap<String, Verdict> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(verdicts.keys().eq(graphs.keys()), "not every file was checked");
    for (name, graph) in graphs {
        let verdict = &verdicts[name];
        for id in graph.nodes().iter().flat_map(|node| &node.outputs) {
            let value = graph.value(*id);
            let ours = (element_name(value.element).to_owned(), extents(&value.shape));
            let theirs = verdict.values.get(&value.name).map(batch_named);
            assert_eq!(theirs, Some(ours), "{name}: value {}", value.name);
        }
        for (batch, outputs) in &verdict.runs {
            for id in graph.outputs() {
                let value = graph.value(*id);
                let run: Vec<_> = value.shape.with_batch(*batch).into_iter().map(Into::into).collect();
                let ours = (element_name(value.element).to_owned(), run);
                assert_eq!(
                    outputs.get(&value.name),
                    Some(&ours),
                    "{name}: run of {batch}, output {}",
                    value.name
                );
            }
        }
    }
}

#[test]
fn every_operator_has_the_official_shapes() {
    let files = tempfile::tempdir().unwrap();
    let graphs = operators::cases();
    let covered: std::collections::BTreeSet<_> = graphs
        .values()
        .flat_map(|graph| graph.nodes().iter().map(|node| node.operator.name()))
        .collect();
    assert_eq!(covered.into_iter().collect::<Vec<_>>(), operators::ALL);
    for (name, graph) in &graphs {
        let bytes = to_model(graph, &common::parameters(graph)).unwrap().to_bytes();
        std::fs::write(files.path().join(format!("{name}.onnx")), bytes).unwrap();
    }
    compare(&graphs, &files);
}

#[test]
fn every_network_with_its_heads_is_valid_and_runs() {
    let files = tempfile::tempdir().unwrap();
    let mut graphs = BTreeMap::new();
    let image = ImageClassifier {
        classes: 3,
        channels: 1,
        size: [64, 96],
    };
    let mut networks = vec![small_cnn(&SmallCnnConfig { image, width: 8 }).unwrap()];
    networks
        .extend(resnet::DEPTHS.map(|depth| resnet::resnet(depth, &ImageClassifier { channels: 3, ..image }).unwrap()));
    for network in networks {
        let features = network.value(network.classifier().unwrap().pooled).shape[1]
            .fixed()
            .unwrap();
        let heads = Heads {
            temperature: 1.3,
            top_k: 2,
            novelty: Some(Novelty::placeholder(features, 8, 3)),
        };
        let graph = classifier(network, &heads).unwrap();
        let parameters = common::parameters(&graph);
        let bytes = export(&graph, &parameters).unwrap();
        std::fs::write(files.path().join(format!("{}.onnx", graph.name())), bytes).unwrap();
        let (folded, _) = scanside_onnx::export::fold_batch_norm(&graph, &parameters).unwrap();
        graphs.insert(graph.name().to_owned(), folded);
    }
    compare(&graphs, &files);
}

#[test]
fn every_generator_and_discriminator_is_valid_and_runs() {
    let files = tempfile::tempdir().unwrap();
    let mut graphs = BTreeMap::new();
    let noise = DcganConfig {
        width: 8,
        classes: Some(3),
        ..DcganConfig::default()
    };
    let critic = ResNetCriticConfig {
        depth: 18,
        stages: 3,
        size: 64,
        channels: 1,
        classes: Some(3),
    };
    let (up, patches) = (
        UnetConfig {
            size: 64,
            width: 8,
            ..UnetConfig::default()
        },
        PatchGanConfig {
            size: 64,
            width: 8,
            ..PatchGanConfig::default()
        },
    );
    let networks = [
        dcgan_generator(&noise),
        dcgan_discriminator(&noise),
        resnet_critic(&critic),
        unet(&up),
        patch_gan(&patches),
    ];
    for network in networks {
        let network = network.unwrap();
        let parameters = common::parameters(&network);
        let bytes = export(&network, &parameters).unwrap();
        std::fs::write(files.path().join(format!("{}.onnx", network.name())), bytes).unwrap();
        let (folded, _) = scanside_onnx::export::fold_batch_norm(&network, &parameters).unwrap();
        graphs.insert(network.name().to_owned(), folded);
    }
    compare(&graphs, &files);
}

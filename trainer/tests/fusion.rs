//! Fused networks: their scores are the members' by the ratio, in libtorch and in the exported file; the ratio learns;
//! frozen members stay; a recipe trains its stages and then both together, and goes on where it was stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::{Array1, Array2, ArrayD, Axis};
use onnx::graph::Graph;
use onnx::heads::{self, Heads};
use onnx::networks::fusion::{FUSED, RATIO, WEIGHT};
use onnx::networks::{ImageClassifier, Ratio, SmallCnnConfig, fusion, resnet, small_cnn};
use onnx::runtime::{self, Runtime, Session, SessionOptions};
use tch::{Device, Kind, Tensor};
use trainer::autograd::parameters::{array_of, tensor_of};
use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};
use trainer::explain::explain;
use trainer::native::AdamW;
use trainer::training::batches::Batch;
use trainer::training::fusion::{join, member_tensors};
use trainer::training::optimizer::{Optimizer, Rule};
use trainer::training::step::{Network, StepSettings};
use trainer::training::{checkpoint, weights};

const SIZE: usize = 64;
const CLASSES: usize = 3;
const COUNT: usize = 3;
/// Greatest difference, in parts of the largest score.
const PARITY: f32 = 1e-5;

/// Two networks whose last maps have the same extents.
#[derive(Clone, Copy)]
enum Pair {
    /// The small network in two widths: quick.
    Small,
    /// ResNets of these depths.
    ResNets([u32; 2]),
}

fn members(pair: Pair) -> [Graph; 2] {
    let image = ImageClassifier {
        classes: CLASSES,
        channels: 1,
        size: [SIZE; 2],
    };
    match pair {
        Pair::Small => [4, 8].map(|width| small_cnn(&SmallCnnConfig { image, width }).unwrap()),
        Pair::ResNets(depths) => depths.map(|depth| resnet(depth, &image).unwrap()),
    }
}

fn fresh(graph: Graph, seed: u64) -> Network {
    let parameters = Parameters::initialise(&graph, seed, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    Network {
        interpreter: Interpreter::new(graph, Device::Cpu).unwrap(),
        parameters,
        device: Device::Cpu,
    }
}

/// Grey images that differ from each other.
fn images(count: usize) -> Tensor {
    let pixel = |i: usize| ((i as f32 * 0.37).sin() + (i as f32 * 0.011).cos()) * 0.8;
    let values: Vec<f32> = (0..count * SIZE * SIZE).map(pixel).collect();
    Tensor::from_slice(&values).view([count as i64, 1, SIZE as i64, SIZE as i64])
}

/// Both networks alone, as after some training, and their fusion, made of their files.
fn fused(pair: Pair, ratio: Ratio, shares: &[f32]) -> (Vec<Network>, Network) {
    let folder = tempfile::tempdir().unwrap();
    let alone: Vec<Network> = members(pair)
        .into_iter()
        .zip([5, 6])
        .map(|(graph, seed)| fresh(graph, seed))
        .collect();
    let mut files = Vec::new();
    for (number, network) in alone.iter().enumerate() {
        tch::no_grad(|| {
            for _ in 0..2 {
                let modes = Modes::all(Mode::Train);
                network
                    .interpreter
                    .run(&[images(COUNT)], &network.parameters, &modes, &[])
                    .unwrap();
            }
        });
        files.push(folder.path().join(format!("{number}.safetensors")));
        checkpoint::save_parameters(&files[number], &network.parameters).unwrap();
    }
    let mut together = fresh(fusion(&members(pair), ratio).unwrap(), 9);
    let joined = folder.path().join("members.safetensors");
    join(together.interpreter.graph(), &files, &joined).unwrap();
    let file = weights::read(&joined).unwrap();
    let taken = weights::take(&mut together.parameters, &file, &[]).unwrap();
    assert_eq!(taken.missing, [WEIGHT]);
    assert!(taken.unexpected.is_empty() && taken.other_shape.is_empty());
    together.parameters.set(WEIGHT, &Tensor::from_slice(shares)).unwrap();
    (alone, together)
}

/// The members' scores, each by its part of the ratio `[M,1]` or `[M,K]`.
fn composed(alone: &[Network], ratio: &ArrayD<f32>) -> Array2<f32> {
    let scores = alone.iter().zip(ratio.outer_iter());
    scores.fold(Array2::zeros((COUNT, CLASSES)), |sum, (network, share)| {
        sum + network.logits(&images(COUNT)).unwrap() * &Array1::from_iter(share.iter().copied())
    })
}

fn assert_near(what: &str, found: &ArrayD<f32>, wanted: &ArrayD<f32>) {
    assert_eq!(found.shape(), wanted.shape(), "{what}");
    let largest = wanted.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let off = found
        .iter()
        .zip(wanted)
        .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(
        off <= PARITY * largest,
        "{what}: off by {off:.2e}, largest {largest:.2e}"
    );
}

fn onnx_runtime() -> Option<&'static Runtime> {
    match runtime::load(None) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{error}");
            eprintln!("skipped: {error}; run `cargo xtask setup`");
            None
        }
    }
}

const RATIOS: [(Ratio, &[f32]); 2] = [
    (Ratio::Global, &[0.7, -0.4]),
    (Ratio::PerClass, &[1.0, -0.5, 0.2, 0.1, 0.9, -2.0]),
];

#[test]
fn a_fusion_scores_as_its_members_by_the_ratio() {
    for (kind, shares) in RATIOS {
        let (alone, together) = fused(Pair::Small, kind, shares);
        let modes = Modes::all(Mode::Eval);
        let values = tch::no_grad(|| {
            together
                .interpreter
                .run(&[images(COUNT)], &together.parameters, &modes, &[RATIO])
                .unwrap()
        });
        let ratio = array_of(values.get(RATIO).unwrap()).unwrap();
        // The softmax by hand.
        let columns = shares.len() / 2;
        for column in 0..columns {
            let (a, b) = (shares[column].exp(), shares[columns + column].exp());
            assert!((ratio[[0, column]] - a / (a + b)).abs() < 1e-6, "{ratio}");
        }
        let wanted = composed(&alone, &ratio);
        assert_near("libtorch", &array_of(values.first()).unwrap(), &wanted.into_dyn());
    }
}

#[test]
fn the_exported_file_has_one_input_the_same_scores_and_the_sum_of_the_members_maps() {
    let Some(runtime) = onnx_runtime() else { return };
    for (kind, shares) in RATIOS {
        let (alone, together) = fused(Pair::Small, kind, shares);
        let all = Heads {
            temperature: 1.0,
            top_k: CLASSES,
            novelty: None,
        };
        let with_heads = |network: &Network| heads::classifier(network.interpreter.graph().clone(), &all).unwrap();
        let file = onnx::export::export(&with_heads(&together), &together.parameters.to_arrays().unwrap()).unwrap();
        let mut session = Session::from_bytes(runtime, &file, &SessionOptions::default()).unwrap();
        let input = array_of(&images(COUNT)).unwrap();
        let outputs = session.run(&[("image", input.view())]).unwrap();
        let raw = tensor_of(&ArrayD::from_shape_vec(vec![2, shares.len() / 2], shares.to_vec()).unwrap());
        let ratio = array_of(&raw.softmax(0, Kind::Float)).unwrap();
        let scores = outputs.array::<f32>("logits").unwrap().to_owned();
        assert_near("file", &scores, &composed(&alone, &ratio).into_dyn());

        // Each member's map before ReLU, by its ratio; from its own heads in libtorch.
        let signed: Vec<(ArrayD<f32>, ArrayD<f32>)> = alone
            .iter()
            .map(|network| {
                let interpreter = Interpreter::new(with_heads(network), Device::Cpu).unwrap();
                let values = tch::no_grad(|| {
                    let keep = [heads::gradcam::SIGNED];
                    interpreter
                        .run(&[images(COUNT)], &network.parameters, &Modes::all(Mode::Eval), &keep)
                        .unwrap()
                });
                [heads::gradcam::SIGNED, heads::CAM_CLASS]
                    .map(|name| array_of(values.get(name).unwrap()).unwrap())
                    .into()
            })
            .collect();
        let cam = outputs.array::<f32>("cam").unwrap().to_owned();
        let classes = outputs.array::<i64>("cam_class").unwrap().to_owned();
        let mut wanted = ArrayD::<f32>::zeros(cam.shape());
        for image in 0..COUNT {
            for rank in 0..CLASSES {
                let class = classes[[image, rank]] as usize;
                let mut map = wanted.index_axis_mut(Axis(0), image);
                let mut map = map.index_axis_mut(Axis(0), rank);
                for (member, (maps, ranks)) in signed.iter().enumerate() {
                    let own = (0..CLASSES).find(|own| ranks[[image, *own]] as usize == class).unwrap();
                    let share = ratio[[member, class.min(ratio.shape()[1] - 1)]];
                    map.scaled_add(share, &maps.index_axis(Axis(0), image).index_axis(Axis(0), own));
                }
                map.mapv_inplace(|value| value.max(0.0));
            }
        }
        assert_near("maps", &cam, &wanted);
    }
}

#[test]
fn autograd_explains_the_fused_score_at_the_maps_of_all_members() {
    let (_, together) = fused(Pair::Small, Ratio::PerClass, RATIOS[1].1);
    let one = images(1);
    let by_default = explain(&together, &one, None, Some(1)).unwrap();
    let fused = explain(&together, &one, Some(FUSED), Some(1)).unwrap();
    assert_eq!(by_default, fused, "the last layer is that of all members");
    assert!(fused.map.iter().any(|value| *value != 0.0));
    let of_one = explain(&together, &one, Some("members.1.layer3"), Some(1)).unwrap();
    assert_ne!(of_one.map, fused.map);
}

fn step(network: &mut Network, modes: &Modes) {
    let adam = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    let mut optimizer = Optimizer::new(Rule::AdamW(adam), &network.parameters, 0.0, |_| 1.0).unwrap();
    let batch = Batch {
        images: array_of(&images(COUNT)).unwrap().into_dimensionality().unwrap(),
        labels: vec![0, 1, 2],
    };
    let settings = StepSettings {
        modes,
        class_weights: None,
        label_smoothing: 0.0,
        bf16: false,
        learning_rate: 1e-3,
        clip_norm: None,
    };
    network.train_step(&mut optimizer, &batch, &settings).unwrap();
}

#[test]
fn the_ratio_learns_and_frozen_members_stay() {
    for frozen in [false, true] {
        let (_, mut together) = fused(Pair::Small, Ratio::PerClass, RATIOS[1].1);
        let before = together.parameters.to_arrays().unwrap();
        let modes = Modes::all(Mode::Train);
        let modes = match frozen {
            true => modes.with("members.0", Mode::Frozen).with("members.1", Mode::Frozen),
            false => modes,
        };
        step(&mut together, &modes);
        let after = together.parameters.to_arrays().unwrap();
        let moved: Vec<&String> = before.keys().filter(|name| before[*name] != after[*name]).collect();
        match frozen {
            true => assert_eq!(moved, [WEIGHT]),
            false => assert_eq!(moved.len(), before.len(), "all learn, and all statistics move"),
        }
    }
}

#[test]
fn a_file_that_is_not_the_member_is_refused_with_its_first_lack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("first.safetensors");
    let [first, _] = members(Pair::Small);
    checkpoint::save_parameters(&path, &fresh(first, 1).parameters).unwrap();
    let graph = fusion(&members(Pair::Small), Ratio::Global).unwrap();
    let whole = graph
        .parameters()
        .iter()
        .filter(|p| p.name.starts_with("members.0."))
        .count();
    assert_eq!(member_tensors(&graph, 0, &path).unwrap().len(), whole);
    let message = member_tensors(&graph, 1, &path).unwrap_err().to_string();
    assert!(
        message.contains("first.safetensors") && message.contains("\"conv1.weight\""),
        "{message}"
    );
}

const RECIPE: &str = r#"
[data.split]
fractions = { train = 0.5, validation = 0.25, test = 0.25 }
[preprocess]
size = [64, 64]
channels = 1
mean = [0.5]
std = [0.25]
[[stages]]
name = "narrow"
[stages.network]
architecture = "small_cnn"
[[stages]]
name = "again"
[stages.network]
architecture = "small_cnn"
[network]
architecture = "fusion"
[network.fusion]
ratio = "per_class"
[[network.fusion.members]]
architecture = "small_cnn"
stage = "narrow"
[[network.fusion.members]]
architecture = "small_cnn"
stage = "again"
[train]
epochs = 1
batch = 4
layer_rates = { "fusion.weight" = 30.0 }
[bundle]
name = "tiny-fusion"
"#;

fn trainer(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"));
    command
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn succeeds(folder: &Path, arguments: &str) -> String {
    let output = trainer(folder, arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{arguments}: {text}");
    text
}

/// Phantoms and the recipe in a scratch folder.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    fs::write(path.join("recipe.toml"), RECIPE).unwrap();
    succeeds(
        &path,
        "data phantoms --classes consolidation --size 96 --per-class 12 --seed 1 --out seen",
    );
    (folder, path)
}

#[test]
fn a_recipe_trains_its_stages_then_both_together_and_goes_on_where_it_was_stopped() {
    let (_folder, at) = scratch();
    let train = "train recipe.toml --data seen/manifest.csv --device cpu --no-bundle --out run";
    let text = succeeds(&at, train);
    assert!(
        text.contains("stage narrow: small_cnn") && text.contains(", ratio 0."),
        "{text}"
    );
    let whole = fs::read(at.join("run/checkpoints/best.safetensors")).unwrap();
    let metrics = fs::read_to_string(at.join("run/metrics.jsonl")).unwrap();
    assert!(
        metrics.contains("\"ratio_path\":[{\"step\":0,\"shares\":[[0.5,0.5],[0.5,0.5]]}"),
        "{metrics}"
    );
    for stage in ["narrow", "again"] {
        assert!(
            at.join("run/stages")
                .join(stage)
                .join("checkpoints/best.safetensors")
                .is_file()
        );
    }
    // As if it had been stopped in the second stage, and before the main training.
    for gone in [
        "run/stages/again/checkpoints/last.safetensors",
        "run/checkpoints/last.safetensors",
    ] {
        fs::remove_file(at.join(gone)).unwrap();
    }
    fs::remove_file(at.join("run/checkpoints/best.safetensors")).unwrap();
    succeeds(&at, "train recipe.toml --resume --device cpu --no-bundle --out run");
    assert!(
        fs::read(at.join("run/checkpoints/best.safetensors")).unwrap() == whole,
        "the same weights again"
    );
    // A fine-tuning begins with the whole fusion and trains no stage again.
    succeeds(
        &at,
        "train --from run --head-only --data seen/manifest.csv --device cpu --no-bundle --out tuned",
    );
    assert!(!at.join("tuned/stages").exists());
    let read = |run: &str| weights::read(&at.join(run).join("checkpoints/best.safetensors")).unwrap();
    let (before, after) = (read("run"), read("tuned"));
    let moved: Vec<&str> = before
        .iter()
        .filter(|(name, old)| **old != after[name.as_str()])
        .map(|(n, _)| n.as_str())
        .collect();
    let wanted = [
        WEIGHT,
        "members.0.fc.bias",
        "members.0.fc.weight",
        "members.1.fc.bias",
        "members.1.fc.weight",
    ];
    assert_eq!(moved, wanted);
}

#[test]
fn a_fused_run_ends_in_a_signed_bundle_with_the_path_of_its_ratio_in_the_report() {
    if onnx_runtime().is_none() {
        return;
    }
    let (_folder, at) = scratch();
    // Twelve images a class teach little, and what is lost of little decides nothing here.
    let gate = "[gate]\ngolden_cases = 2\nmax_auroc_loss = 1.0\nmax_sensitivity_loss = 1.0\nmax_specificity_loss = 1.0\n\
                min_cam_pearson = -1.0\nmin_cam_iou = 0.0\n";
    fs::write(at.join("recipe.toml"), format!("{RECIPE}{gate}")).unwrap();
    let text = succeeds(&at, "train recipe.toml --data seen/manifest.csv --device cpu --out run");
    assert!(text.contains("model.scanside"), "{text}");
    let report = fs::read_to_string(at.join("run/report/index.html")).unwrap();
    assert!(report.contains("share at the best epoch"), "no section on the fusion");
    let plot = at.join("run/report/ratio.png");
    assert!(plot.is_file());
    if let Some(keep) = std::env::var_os("KEEP_PLOTS") {
        fs::copy(plot, Path::new(&keep).join("ratio.png")).unwrap();
    }
    let verified = succeeds(
        &at,
        "evaluate --bundle run/model.scanside --key run/signing.pub --data seen/manifest.csv",
    );
    assert!(verified.contains("tiny-fusion"), "{verified}");
}

/// ResNet-101 and ResNet-152, the pair of the paper: the composed scores, and a step.
#[test]
fn the_pair_of_the_paper_composes_and_learns() {
    let (alone, mut together) = fused(Pair::ResNets([101, 152]), Ratio::PerClass, RATIOS[1].1);
    let raw = Tensor::from_slice(RATIOS[1].1).view([2, -1]);
    let ratio = array_of(&raw.softmax(0, Kind::Float)).unwrap();
    let wanted = composed(&alone, &ratio).into_dyn();
    drop(alone);
    let found = together.logits(&images(COUNT)).unwrap().into_dyn();
    assert_near("libtorch", &found, &wanted);
    let before = together.parameters.get(WEIGHT).unwrap().copy();
    step(&mut together, &Modes::all(Mode::Train));
    assert!(!together.parameters.get(WEIGHT).unwrap().equal(&before));
}

//! The training loop: the optimizer against libtorch's own, and runs that are interrupted and resumed.

mod tensorboard;

use std::path::Path;

use ndarray::Array4;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};
use trainer::autograd::{Interpreter, MemoryOrder, Parameters};
use trainer::interrupt::Interrupt;
use trainer::native::AdamW;
use trainer::progress::{Progress, Silent};
use trainer::recipes::{Balance, Recipe};
use trainer::training::batches::{Batch, BatchSource, Batches};
use trainer::training::checkpoint;
use trainer::training::classifier::{Outcome, Task, train};
use trainer::training::history;
use trainer::training::network;
use trainer::training::optimizer::{Optimizer, OptimizerError, Rule};
use trainer::training::run::{RunError, RunFolder, RunRecord};
use trainer::training::step::{Network, StepSettings};

const RECIPE: &str = r#"
[preprocess]
size = [32, 32]
channels = 1
mean = [0.5]
std = [0.25]
[network]
architecture = "small_cnn"
[train]
epochs = 3
batch = 8
learning_rate = 3e-3
warmup_epochs = 0.5
label_smoothing = 0.05
clip_norm = 1.0
seed = 4
[bundle]
name = "test"
"#;

fn recipe(change: impl FnOnce(&mut Recipe)) -> Recipe {
    let mut recipe = Recipe::parse(RECIPE, Path::new("test.toml")).unwrap();
    change(&mut recipe);
    recipe
}

/// Made-up images: class 1 has a bright corner. What it gives depends on (epoch, batch) only.
struct MadeUp {
    batches: u64,
    validation: u64,
    batch: usize,
}

impl MadeUp {
    fn make(&self, seed: u64) -> Batch {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let labels: Vec<i64> = (0..self.batch).map(|i| (i % 2) as i64).collect();
        let images = Array4::from_shape_fn((self.batch, 1, 32, 32), |(n, _, y, x)| {
            let bright = labels[n] == 1 && y < 12 && x < 12;
            noise() + if bright { 0.6 } else { 0.0 }
        });
        Batch { images, labels }
    }
}

impl BatchSource for MadeUp {
    fn class_counts(&self) -> Vec<usize> {
        vec![self.batch / 2 * self.batches as usize; 2]
    }

    fn training_batches(&self) -> u64 {
        self.batches
    }

    fn training(&self, epoch: u64, skip: u64) -> Batches<'_> {
        Box::new((skip..self.batches).map(move |batch| Ok(self.make(1 + epoch * 1000 + batch))))
    }

    fn validation_batches(&self) -> u64 {
        self.validation
    }

    fn validation(&self) -> Batches<'_> {
        Box::new((0..self.validation).map(|batch| Ok(self.make(900_000 + batch))))
    }
}

const SOURCE: MadeUp = MadeUp {
    batches: 5,
    validation: 3,
    batch: 8,
};

/// Raises the interrupt after a number of batches.
struct InterruptAfter {
    batches: std::sync::atomic::AtomicI64,
    interrupt: Interrupt,
}

impl Progress for InterruptAfter {
    fn advance(&self, steps: u64, _: &str) {
        let before = self
            .batches
            .fetch_sub(steps as i64, std::sync::atomic::Ordering::SeqCst);
        if before > 0 && before <= steps as i64 {
            self.interrupt.raise();
        }
    }
}

fn run(run: &RunFolder, recipe: &Recipe, resume: bool, progress: &dyn Progress, interrupt: &Interrupt) -> Outcome {
    let record = RunRecord {
        labels: vec!["dark".into(), "bright".into()],
        ..RunRecord::default()
    };
    let task = Task {
        recipe,
        run,
        record,
        weights: None,
        device: Device::Cpu,
        resume,
    };
    train(task, &SOURCE, progress, interrupt).unwrap()
}

fn whole_run(folder: &Path, recipe: &Recipe) -> RunFolder {
    let folder = RunFolder::create(folder, recipe).unwrap();
    let outcome = run(&folder, recipe, false, &Silent, &Interrupt::new());
    assert!(!outcome.interrupted);
    folder
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_resumed_run_ends_with_the_same_bits_as_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    for (name, recipe) in [
        ("adamw", recipe(|_| ())),
        (
            "sgd",
            recipe(|recipe| recipe.train.optimizer = trainer::recipes::OptimizerKind::Sgd),
        ),
        ("channels last", recipe(|recipe| recipe.train.channels_last = true)),
    ] {
        let whole = whole_run(&folder.path().join(format!("{name} whole")), &recipe);
        // In the middle of the second epoch, and in its validation.
        for batches in if name == "adamw" { vec![3, 7, 14] } else { vec![7] } {
            let parts = RunFolder::create(&folder.path().join(format!("{name} {batches}")), &recipe).unwrap();
            let interrupt = Interrupt::new();
            let progress = InterruptAfter {
                batches: batches.into(),
                interrupt: interrupt.clone(),
            };
            assert!(run(&parts, &recipe, false, &progress, &interrupt).interrupted);
            let outcome = run(&parts, &recipe, true, &Silent, &Interrupt::new());
            assert_eq!(outcome.epochs_done, 3);
            let (ours, theirs) = (
                checkpoint::load_state(&parts.last_checkpoint()).unwrap(),
                checkpoint::load_state(&whole.last_checkpoint()).unwrap(),
            );
            for (name, tensor) in theirs.parameters.iter().chain(&theirs.optimizer) {
                let other = ours.parameters.get(name).or_else(|| ours.optimizer.get(name)).unwrap();
                assert!(other.equal(tensor), "{name} after {batches} batches");
            }
            assert_eq!(
                bytes(&parts.best_checkpoint()),
                bytes(&whole.best_checkpoint()),
                "{name} {batches}"
            );
            let figures = |run: &RunFolder| {
                let mut records = history::read(&run.metrics()).unwrap();
                records
                    .iter_mut()
                    .for_each(|record| (record.seconds, record.images_per_second) = (0.0, 0.0));
                records
            };
            assert_eq!(figures(&parts), figures(&whole));
        }
    }
}

#[test]
fn a_run_learns_and_leaves_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(|recipe| recipe.train.epochs = 6);
    let run = whole_run(&folder.path().join("run"), &recipe);
    let records = history::read(&run.metrics()).unwrap();
    assert_eq!(records.len(), 6);
    let last = records.last().unwrap();
    assert!(last.train_loss < records[0].train_loss * 0.8, "{records:?}");
    assert!(last.validation_auroc.unwrap() > 0.9, "{last:?}");
    let record = run.record().unwrap();
    assert_eq!((record.epochs_done, record.labels.len()), (6, 2));
    let best = records
        .iter()
        .map(|record| record.validation_auroc.unwrap())
        .fold(0.0, f64::max);
    assert_eq!(record.best_value, Some(best));
    for plot in ["loss", "accuracy", "learning_rate"] {
        assert!(run.plots().join(format!("{plot}.png")).is_file());
    }
    let board = tensorboard::scalars(run.path());
    let read = |tag: &str| -> Vec<(i64, f32)> {
        let of_tag = board.iter().filter(|scalar| scalar.tag == tag);
        of_tag.map(|scalar| (scalar.step, scalar.value)).collect()
    };
    let written = |value: fn(&history::EpochRecord) -> f64| -> Vec<(i64, f32)> {
        let of_epoch = |record: &history::EpochRecord| (record.epoch as i64, value(record) as f32);
        records.iter().map(of_epoch).collect()
    };
    assert_eq!(read("loss/train"), written(|record| record.train_loss));
    assert_eq!(
        read("accuracy/validation_auroc"),
        written(|record| record.validation_auroc.unwrap())
    );
    assert_eq!(read("rate/learning_rate"), written(|record| record.learning_rate));
    // The best checkpoint is the network that was validated.
    let network = network::load(&run, Device::Cpu).unwrap();
    let evaluation = network
        .evaluate(SOURCE.validation(), 3, &Silent, &Interrupt::new())
        .unwrap()
        .unwrap();
    assert_eq!(evaluation.auroc, Some(best));
    assert_eq!(run.recipe().unwrap(), recipe);
    assert!(matches!(
        RunFolder::create(run.path(), &recipe),
        Err(RunError::NotEmpty { .. })
    ));
}

#[test]
fn early_stopping_ends_a_run_that_gains_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(|recipe| {
        recipe.train.epochs = 9;
        recipe.train.learning_rate = 1e-9;
        recipe.train.early_stopping = Some(trainer::recipes::EarlyStopping {
            patience: 2,
            min_change: 0.5,
        });
    });
    let run = whole_run(&folder.path().join("run"), &recipe);
    assert_eq!(run.record().unwrap().epochs_done, 3);
}

#[test]
fn frozen_stages_stay_until_they_are_thawed() {
    let folder = tempfile::tempdir().unwrap();
    let train = |name: &str, unfreeze| {
        let recipe = recipe(|recipe| {
            recipe.train.epochs = 2;
            recipe.network.freeze = vec!["stem".into(), "layer1".into()];
            recipe.network.unfreeze_after_epochs = unfreeze;
        });
        let run = whole_run(&folder.path().join(name), &recipe);
        let graph = network::build(&recipe, 2).unwrap();
        let first = network::first_parameters(&recipe, &graph, None, Device::Cpu)
            .unwrap()
            .0
            .to_arrays()
            .unwrap();
        let last = checkpoint::load_state(&run.last_checkpoint()).unwrap().parameters;
        let changed = |prefix: &str| {
            let mut names = first.keys().filter(|name| name.starts_with(prefix));
            let moved = |name: &String| {
                let last = trainer::autograd::parameters::array_of(&last[name]).unwrap();
                last != first[name]
            };
            names.any(moved)
        };
        (
            changed("conv1") || changed("bn1") || changed("layer1"),
            changed("layer2"),
        )
    };
    assert_eq!(train("frozen", None), (false, true));
    assert_eq!(train("thawed", Some(1)), (true, true));
    let wrong = recipe(|recipe| recipe.network.freeze = vec!["layer7".into()]);
    let graph = network::build(&wrong, 2).unwrap();
    let message = network::training_modes(&wrong.network, &graph, 0)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("layer7") && message.contains("stem, layer1"),
        "{message}"
    );
}

/// The mean loss of a batch as torch defines it (CrossEntropyLoss with `weight` and `label_smoothing`), from the logits
/// in double precision.
fn cross_entropy(logits: &[Vec<f64>], labels: &[i64], weights: &[f64], smoothing: f64) -> f64 {
    let (mut loss, mut weight) = (0.0, 0.0);
    for (row, &label) in logits.iter().zip(labels) {
        let total = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let surprise: Vec<f64> = row.iter().map(|x| total - x).collect();
        let own = weights[label as usize] * surprise[label as usize];
        let all: f64 = surprise.iter().zip(weights).map(|(a, b)| a * b).sum();
        loss += (1.0 - smoothing) * own + smoothing / row.len() as f64 * all;
        weight += weights[label as usize];
    }
    loss / weight
}

#[test]
fn the_loss_weighs_classes_and_smooths_labels() {
    let graph = network::build(&recipe(|_| ()), 2).unwrap();
    let mut batch = SOURCE.make(5);
    // Six of one class and two of the other, or weights would cancel out.
    batch.labels = vec![0, 1, 0, 0, 0, 1, 0, 0];
    let modes = trainer::autograd::Modes::default();
    for (weights, smoothing) in [
        ([1.0, 1.0], 0.0),
        ([1.0, 1.0], 0.2),
        ([0.5, 3.0], 0.0),
        ([0.5, 3.0], 0.2),
    ] {
        let parameters = || Parameters::initialise(&graph, 5, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
        let mut network = Network {
            interpreter: Interpreter::new(graph.clone(), Device::Cpu).unwrap(),
            parameters: parameters(),
            device: Device::Cpu,
        };
        let (images, _) = batch.tensors().unwrap();
        let values = network.interpreter.run(&[images], &parameters(), &modes, &[]).unwrap();
        let logits = Vec::<Vec<f64>>::try_from(values.first().to_kind(Kind::Double)).unwrap();
        let expected = cross_entropy(&logits, &batch.labels, &weights, smoothing);
        let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.0 }, &network.parameters, 0.0, |_| 1.0).unwrap();
        let settings = StepSettings {
            modes: &modes,
            class_weights: Some(&Tensor::from_slice(&weights.map(|weight| weight as f32))),
            label_smoothing: smoothing,
            bf16: false,
            learning_rate: 0.1,
            clip_norm: None,
        };
        let found = network.train_step(&mut optimizer, &batch, &settings).unwrap().loss;
        assert!(
            (found - expected).abs() < 1e-5,
            "{weights:?} {smoothing}: {found} {expected}"
        );
    }
}

/// [`SOURCE`] with a claim of three images of the first class for each of the second.
struct Uneven;

impl BatchSource for Uneven {
    fn class_counts(&self) -> Vec<usize> {
        vec![30, 10]
    }

    fn training_batches(&self) -> u64 {
        SOURCE.training_batches()
    }

    fn training(&self, epoch: u64, skip: u64) -> Batches<'_> {
        SOURCE.training(epoch, skip)
    }

    fn validation_batches(&self) -> u64 {
        SOURCE.validation_batches()
    }

    fn validation(&self) -> Batches<'_> {
        SOURCE.validation()
    }
}

#[test]
fn the_recipes_balance_and_smoothing_reach_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let loss = |name: &str, source: &dyn BatchSource, balance, smoothing| {
        let recipe = recipe(|recipe| {
            (recipe.train.epochs, recipe.train.learning_rate) = (1, 1e-12);
            (recipe.train.balance, recipe.train.label_smoothing) = (balance, smoothing);
        });
        let run = RunFolder::create(&folder.path().join(name), &recipe).unwrap();
        let task = Task {
            recipe: &recipe,
            run: &run,
            record: RunRecord {
                labels: vec!["dark".into(), "bright".into()],
                ..RunRecord::default()
            },
            weights: None,
            device: Device::Cpu,
            resume: false,
        };
        train(task, source, &Silent, &Interrupt::new()).unwrap();
        history::read(&run.metrics()).unwrap()[0].train_loss
    };
    let plain = loss("plain", &Uneven, Balance::None, 0.0);
    let weighted = loss("weighted", &Uneven, Balance::Weights, 0.0);
    let even = loss("even", &SOURCE, Balance::Weights, 0.0);
    let smoothed = loss("smoothed", &Uneven, Balance::None, 0.5);
    assert!((weighted - plain).abs() > 1e-3, "{weighted} {plain}");
    assert!((even - plain).abs() < 1e-6, "{even} {plain}");
    assert!((smoothed - plain).abs() > 1e-3, "{smoothed} {plain}");
}

/// Our steps against those of libtorch's C++ optimizers, on the same gradients.
#[test]
fn optimizers_are_those_of_libtorch() {
    let adamw = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    compare(Rule::AdamW(adamw), |store| {
        nn::AdamW {
            wd: 0.1,
            ..nn::AdamW::default()
        }
        .build(store, 1e-2)
        .unwrap()
    });
    compare(Rule::Sgd { momentum: 0.9 }, |store| {
        nn::Sgd {
            momentum: 0.9,
            dampening: 0.0,
            wd: 0.1,
            nesterov: true,
        }
        .build(store, 1e-2)
        .unwrap()
    });
}

fn compare(rule: Rule, peer: impl Fn(&nn::VarStore) -> nn::Optimizer) {
    for order in [MemoryOrder::ChannelsFirst, MemoryOrder::ChannelsLast] {
        let graph = network::build(&recipe(|_| ()), 2).unwrap();
        let ours = Parameters::initialise(&graph, 5, Device::Cpu, order).unwrap();
        let store = nn::VarStore::new(Device::Cpu);
        let root = store.root();
        // Weight decay falls on weights only here; libtorch's has one value for all, so only weights are compared.
        let theirs: Vec<(String, Tensor)> = ours
            .trainable()
            .filter(|(_, tensor)| tensor.dim() > 1)
            .map(|(name, tensor)| {
                (
                    name.to_owned(),
                    root.var_copy(&name.replace('.', "/"), &tensor.detach().contiguous()),
                )
            })
            .collect();
        let mut optimizer = Optimizer::new(rule, &ours, 0.1, |_| 1.0).unwrap();
        let mut peer = peer(&store);
        for step in 0..5 {
            let mut ours_loss = Tensor::zeros([], (Kind::Float, Device::Cpu));
            let mut peers_loss = ours_loss.copy();
            for (name, theirs) in &theirs {
                tch::manual_seed(step);
                let target = Tensor::randn(theirs.size(), (Kind::Float, Device::Cpu));
                ours_loss += (ours.get(name).unwrap() - &target).square().sum(Kind::Float);
                peers_loss += (theirs - &target).square().sum(Kind::Float);
            }
            ours.trainable()
                .for_each(|(_, tensor)| tensor.shallow_clone().zero_grad());
            ours_loss.backward();
            optimizer.step(&ours, 1e-2, None).unwrap();
            peer.backward_step(&peers_loss);
        }
        for (name, theirs) in &theirs {
            let error = (ours.get(name).unwrap() - theirs).abs().max().double_value(&[]);
            assert!(error < 1e-6, "{rule:?} {order:?} {name}: {error:e}");
        }
    }
}

#[test]
fn clipping_shortens_the_step_and_layer_rates_scale_it() {
    let graph = network::build(&recipe(|_| ()), 2).unwrap();
    let moved = |clip: Option<f64>, factor: f64| {
        let parameters = Parameters::initialise(&graph, 5, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
        let before = parameters.get("fc.weight").unwrap().detach().copy();
        let rate = |name: &str| if name.starts_with("fc") { factor } else { 1.0 };
        let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.0 }, &parameters, 0.0, rate).unwrap();
        (parameters.get("fc.weight").unwrap() * 3.0).sum(Kind::Float).backward();
        let norm = optimizer.step(&parameters, 0.1, clip).unwrap();
        let distance = (parameters.get("fc.weight").unwrap() - before).norm().double_value(&[]);
        (norm, distance)
    };
    let (norm, distance) = moved(None, 1.0);
    assert!((distance - 0.1 * norm).abs() < 1e-5, "{distance} {norm}");
    let (same_norm, clipped) = moved(Some(0.5), 1.0);
    assert!(
        (same_norm - norm).abs() < 1e-6 && (clipped - 0.05).abs() < 1e-6,
        "{clipped}"
    );
    assert!((moved(Some(0.5), 0.2).1 - 0.01).abs() < 1e-6);
    assert!(
        (moved(Some(1e9), 1.0).1 - distance).abs() < 1e-9,
        "a wide limit changes nothing"
    );
}

#[test]
fn a_gradient_that_is_not_finite_leaves_the_parameters() {
    let graph = network::build(&recipe(|_| ()), 2).unwrap();
    let parameters = Parameters::initialise(&graph, 5, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    let before = parameters.get("fc.weight").unwrap().detach().copy();
    let rule = Rule::AdamW(AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    });
    let mut optimizer = Optimizer::new(rule, &parameters, 0.0, |_| 1.0).unwrap();
    (parameters.get("fc.weight").unwrap() * f64::INFINITY)
        .sum(Kind::Float)
        .backward();
    assert!(matches!(
        optimizer.step(&parameters, 0.1, Some(1.0)),
        Err(OptimizerError::NotFinite { .. })
    ));
    assert!(parameters.get("fc.weight").unwrap().equal(&before));
}

/// bfloat16 rounds to 8 bits: a step of it goes nearly where float32 goes, and the parameters stay float32.
#[test]
fn bf16_steps_go_where_float_steps_go() {
    let graph = network::build(&recipe(|_| ()), 2).unwrap();
    let step = |bf16: bool| {
        let parameters = Parameters::initialise(&graph, 5, Device::Cpu, MemoryOrder::ChannelsLast).unwrap();
        let interpreter = Interpreter::new(graph.clone(), Device::Cpu).unwrap();
        let mut network = trainer::training::step::Network {
            interpreter,
            parameters,
            device: Device::Cpu,
        };
        let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.0 }, &network.parameters, 0.0, |_| 1.0).unwrap();
        let settings = trainer::training::step::StepSettings {
            modes: &trainer::autograd::Modes::all(trainer::autograd::Mode::Train),
            class_weights: None,
            label_smoothing: 0.0,
            bf16,
            learning_rate: 0.0,
            clip_norm: None,
        };
        let figures = network.train_step(&mut optimizer, &SOURCE.make(1), &settings).unwrap();
        let weight = network.parameters.get("layer2.0.conv1.weight").unwrap();
        assert_eq!((weight.kind(), weight.grad().kind()), (Kind::Float, Kind::Float));
        (figures, weight.grad())
    };
    let ((float, float_gradient), (half, half_gradient)) = (step(false), step(true));
    assert!((float.loss - half.loss).abs() < 0.02 * float.loss, "{float:?} {half:?}");
    let cosine = (&float_gradient * &half_gradient).sum(Kind::Float) / (float_gradient.norm() * half_gradient.norm());
    assert!(cosine.double_value(&[]) > 0.98, "{cosine:?}");
    assert!(!float_gradient.equal(&half_gradient), "bf16 was really used");
}

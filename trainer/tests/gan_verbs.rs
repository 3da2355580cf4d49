//! The verbs of `gan` as a person starts them: planted copying, collapse and divergence are caught and a good run passes; a
//! disk that fills up loses nothing; input that nothing can be learnt from is refused.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod gan_data;

use std::fs;
use std::path::Path;
use std::process::Command;

use gan_data::{PLACES, SIDE, Scratch, picture, places, recipe};
use ndarray::Array2;
use onnx::graph::ParameterKind;
use onnx::networks::{DcganConfig, ImageClassifier, dcgan_generator, resnet};
use tch::{Device, Kind, Reduction, Tensor};
use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};
use trainer::native::AdamW;
use trainer::training::checkpoint::{self, save_parameters, save_tensors};
use trainer::training::gan::train::State;
use trainer::training::optimizer::{Optimizer, Rule};

/// Steps that plant a generator.
const STEPS: i64 = 500;

/// Teaches the generator of [`recipe`] images by noise, and puts it into the run in place of what was trained.
fn plant(run: &Path, image_of: impl Fn(&[f32]) -> Vec<f32>) {
    tch::set_num_threads(1);
    let graph = dcgan_generator(&DcganConfig {
        latent: PLACES,
        width: 8,
        ..DcganConfig::default()
    });
    let graph = graph.unwrap();
    let mut parameters = Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    let rule = Rule::AdamW(AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    });
    let mut optimizer = Optimizer::new(rule, &parameters, 0.0, |_| 1.0).unwrap();
    let interpreter = Interpreter::new(graph, Device::Cpu).unwrap();
    tch::manual_seed(1);
    for step in 0..STEPS {
        let noise = Tensor::randn([32, PLACES as i64], (Kind::Float, Device::Cpu));
        let rows = Vec::<f32>::try_from(noise.flatten(0, -1)).unwrap();
        let wanted: Vec<f32> = rows.chunks(PLACES).flat_map(&image_of).collect();
        let wanted = Tensor::from_slice(&wanted).reshape([32, 1, SIDE as i64, SIDE as i64]);
        let values = interpreter
            .run(&[noise], &parameters, &Modes::all(Mode::Train), &[])
            .unwrap();
        parameters.zero_gradients();
        values.first().mse_loss(&wanted, Reduction::Mean).backward();
        let left = 1.0 - step as f64 / STEPS as f64;
        optimizer.step(&parameters, 5e-3 * left, None).unwrap();
    }
    let tensors = parameters
        .iter()
        .map(|(name, entry)| (name.to_owned(), entry.tensor.detach()));
    save_tensors(&run.join("checkpoints/generator.safetensors"), tensors.collect()).unwrap();
}

/// A ResNet-18 whose features tell images apart, though nobody trained it.
fn feature_weights(path: &Path) {
    let graph = resnet(
        18,
        &ImageClassifier {
            classes: 2,
            channels: 3,
            size: [SIDE; 2],
        },
    );
    let graph = graph.unwrap();
    assert!(
        graph
            .parameters()
            .iter()
            .any(|parameter| parameter.kind == ParameterKind::RunningStatistic)
    );
    let parameters = Parameters::initialise(&graph, 5, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    save_parameters(path, &parameters).unwrap();
}

/// The normal distribution function, roughly (a logistic curve).
fn uniform(normal: f32) -> f32 {
    1.0 / (1.0 + (-1.702 * normal).exp())
}

/// Images that the run learnt from, as [`picture`] drew them.
fn training_images(scratch: &Scratch) -> Vec<Vec<f32>> {
    let split = fs::read_to_string(scratch.at("run/split.csv")).unwrap();
    let trained = split.lines().filter(|line| line.ends_with(",train"));
    let image = |line: &str| {
        let path = line.split(',').next().unwrap();
        let image = image::open(scratch.at("data").join(path)).unwrap().to_luma8();
        image
            .into_raw()
            .into_iter()
            .map(|byte| f32::from(byte) / 127.5 - 1.0)
            .collect()
    };
    trained.map(image).collect()
}

const ASSESS: &str = "gan assess run --real data --weights resnet.safetensors --stages 2 --device cpu --out";

#[test]
fn a_generator_that_copies_fails_and_one_of_new_images_passes() {
    let scratch = Scratch::new(40);
    fs::write(scratch.at("dcgan.toml"), recipe(false, "", "steps = 2")).unwrap();
    feature_weights(&scratch.at("resnet.safetensors"));
    scratch.succeeds("gan train dcgan.toml --data data --out run --device cpu");
    let run = scratch.at("run");

    // Another image for each of eight octants of the noise: training images all of them.
    let known = training_images(&scratch);
    plant(&run, |noise| {
        let octant = noise
            .iter()
            .take(3)
            .fold(0, |sum, value| 2 * sum + usize::from(*value > 0.0));
        known[octant * 5].clone()
    });
    let (code, text) = scratch.run(&format!("{ASSESS} copied"));
    assert!(code == Some(4) && text.contains("it copies"), "{code:?} {text}");
    assert!(scratch.at("copied/nearest.png").is_file() && scratch.at("copied/index.html").is_file());

    // What the data is drawn from, at new places.
    plant(&run, |noise| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| uniform(noise[n]));
        picture([a, b, c, d], a > 0.5)
    });
    let text = scratch.succeeds(&format!("{ASSESS} new"));
    assert!(text.contains(" 0 copies, 0 duplicates"), "{text}");

    // Images that come from elsewhere are judged alike.
    for (folder, from, code) in [("theirs", 0, 4), ("ours", 500, 0)] {
        for (number, class) in (0..24).flat_map(|number| [(number, "sharp"), (number, "wide")]) {
            fs::create_dir_all(scratch.at(folder).join(class)).unwrap();
            let known = from + 2 * number + usize::from(class == "wide");
            scratch.write(
                &format!("{folder}/{class}/{number}.png"),
                &picture(places(known), class == "sharp"),
            );
        }
        let (found, text) = scratch.run(&format!("{ASSESS} of-{folder} --generated {folder}"));
        assert_eq!(found, Some(code), "{folder}: {text}");
        assert_eq!(text.contains("it copies"), code == 4, "{folder}: {text}");
    }
}

#[test]
fn a_training_that_goes_wrong_says_so_and_a_good_one_does_not() {
    let scratch = Scratch::new(20);
    let trained = |name: &str, every: u32, more: &str| {
        let text = recipe(true, "", more).replace("_every = 100", &format!("_every = {every}"));
        fs::write(scratch.at("dcgan.toml"), text).unwrap();
        scratch.run(&format!("gan train dcgan.toml --data data --device cpu --out {name}"))
    };
    // It never learns, so that it gives the same image whatever the noise.
    let (code, text) = trained("same", 2, "steps = 12\nback_offs = 1\ngenerator_rate = 1e-9");
    assert!(
        code == Some(1) && text.contains("the generator collapsed by step"),
        "{code:?} {text}"
    );
    assert!(text.contains("half the rates (1 of 1)"), "{text}");
    let (code, text) = trained("good", 20, "steps = 80\nback_offs = 1\ngenerator_rate = 5e-3");
    assert!(code == Some(0) && !text.contains("half the rates"), "{code:?} {text}");
    // Weights that have left the range of numbers, and a training that goes on from them.
    let [state, generator] =
        ["last", "generator"].map(|name| scratch.at(&format!("good/checkpoints/{name}.safetensors")));
    let before = fs::read(&generator).unwrap();
    let (mut tensors, at): (indexmap::IndexMap<String, Tensor>, State) = checkpoint::load(&state).unwrap();
    let weight = tensors.get_mut("discriminator/parameter/main.11.weight").unwrap();
    *weight = &*weight * 1e38;
    let at = State { finished: false, ..at };
    checkpoint::save(&state, tensors.into_iter().collect(), &at).unwrap();
    let (code, text) = scratch.run("gan train --resume --out good --steps 90 --device cpu");
    assert!(
        code == Some(1) && text.contains("training diverged at step"),
        "{code:?} {text}"
    );
    assert!(text.contains("half the rates (1 of 1)"), "{text}");
    assert!(fs::read(&generator).unwrap() == before, "what was good is kept");
}

#[test]
fn input_that_nothing_can_be_learnt_from_is_refused_and_leaves_no_run() {
    let scratch = Scratch::new(20);
    let refused = |data: &str, discriminator: &str| {
        let network = if discriminator.is_empty() {
            ""
        } else {
            "network = \"resnet18\"\n"
        };
        let text = recipe(true, &format!("{network}{discriminator}"), "steps = 2");
        fs::write(scratch.at("dcgan.toml"), text).unwrap();
        let answer = scratch.run(&format!("gan train dcgan.toml --data {data} --device cpu --out run"));
        assert!(!scratch.at("run").exists(), "{}", answer.1);
        answer
    };
    let copy = |to: &str, keep: usize| {
        for label in ["sharp", "wide"] {
            fs::create_dir_all(scratch.at(to).join(label)).unwrap();
            let count = if label == "wide" { keep } else { 20 };
            for number in 0..count {
                let name = format!("{label}/{number:03}.png");
                fs::copy(scratch.at("data").join(&name), scratch.at(to).join(&name)).unwrap();
            }
        }
    };
    copy("few", 8);
    let (code, text) = refused("few", "");
    assert!(
        code == Some(3) && text.contains("`wide`") && text.contains("8 or more"),
        "{code:?} {text}"
    );
    copy("one", 1);
    let (code, text) = refused("one", "");
    assert!(code == Some(3) && text.contains("wide"), "{code:?} {text}");
    copy("empty", 0);
    let (code, text) = refused("empty", "");
    assert!(code == Some(3), "{code:?} {text}");
    copy("black", 20);
    for image in walkdir::WalkDir::new(scratch.at("black"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.path().is_file())
    {
        image::GrayImage::new(SIDE as u32, SIDE as u32)
            .save(image.path())
            .unwrap();
    }
    let (code, text) = refused("black", "");
    assert!(code == Some(3) && text.contains("one grey value"), "{code:?} {text}");
    // Weights of another network.
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 2], &[0; 8]).unwrap();
    safetensors::serialize_to_file([("blocks.0.attention", tensor)], None, &scratch.at("other.safetensors")).unwrap();
    let (code, text) = refused("data", "weights = \"other.safetensors\"");
    assert!(
        code == Some(2) && text.contains("other.safetensors") && text.contains("blocks.0"),
        "{code:?} {text}"
    );
    // Images of several sizes are none of these: each is brought to the recipe's.
    copy("mixed", 20);
    let large = image::open(scratch.at("mixed/wide/003.png"))
        .unwrap()
        .resize_exact(200, 90, image::imageops::Nearest);
    large.save(scratch.at("mixed/wide/003.png")).unwrap();
    fs::write(scratch.at("dcgan.toml"), recipe(true, "", "steps = 2")).unwrap();
    scratch.succeeds("gan train dcgan.toml --data mixed --device cpu --out run");
}

/// A small file system in memory, if this test may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(kilobytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={kilobytes}k");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path());
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("skipped: this user may not mount a tmpfs; run as root");
        None
    }

    fn enlarge(&self, kilobytes: u64) {
        let size = format!("remount,size={kilobytes}k");
        let status = Command::new("mount").args(["-o", &size]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// What stands in a run folder from its beginning on: not the sheet and the curves of its last step.
fn kilobytes(run: &Path) -> u64 {
    let later = |path: &Path| {
        ["samples", "plots", "tfevents"]
            .iter()
            .any(|part| path.to_string_lossy().contains(part))
    };
    let entries = walkdir::WalkDir::new(run).into_iter().flatten();
    let files = entries.filter(|entry| entry.path().is_file() && !later(entry.path()));
    // In pages, as a file system in memory counts.
    files
        .map(|entry| entry.metadata().unwrap().len().div_ceil(4096) * 4)
        .sum()
}

#[test]
fn a_disk_that_fills_up_at_a_checkpoint_loses_nothing() {
    let scratch = Scratch::new(20);
    fs::write(
        scratch.at("dcgan.toml"),
        recipe(true, "", "steps = 6").replace("checkpoint_every = 100", "checkpoint_every = 2"),
    )
    .unwrap();
    scratch.succeeds("gan train dcgan.toml --data data --device cpu --out whole");
    let checkpoint = |folder: &Path, name: &str| fs::read(folder.join("checkpoints").join(name)).unwrap();
    // The first checkpoint fits; a second one beside it does not.
    let one = checkpoint(&scratch.at("whole"), "last.safetensors").len() as u64 / 1024;
    let Some(disk) = Small::mount(kilobytes(&scratch.at("whole")) + one / 2) else {
        return;
    };
    let run = disk.0.path().join("run");
    let train = |arguments: &str| scratch.run(&format!("gan train {arguments} --device cpu --out {}", run.display()));
    let (code, text) = train("dcgan.toml --data data");
    assert_eq!(code, Some(1), "{text}");
    for word in ["last.safetensors", "No space left", "make room", "--resume"] {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    let kept = checkpoint(&run, "last.safetensors");
    assert!(
        safetensors::SafeTensors::deserialize(&kept).is_ok(),
        "the earlier checkpoint is whole"
    );
    let left = fs::read_dir(run.join("checkpoints")).unwrap().count();
    assert_eq!(left, 3, "nothing half is left");
    disk.enlarge(64 * 1024);
    let (code, text) = train("--resume");
    assert_eq!(code, Some(0), "{text}");
    for name in ["generator.safetensors", "discriminator.safetensors"] {
        assert!(
            checkpoint(&run, name) == checkpoint(&scratch.at("whole"), name),
            "{name} differs"
        );
    }
}

/// The places spread over the square: two images are hardly ever alike.
#[test]
fn drawn_images_differ() {
    let rows: Vec<f32> = (0..40).flat_map(|number| picture(places(number), false)).collect();
    let images = Array2::from_shape_vec((40, SIDE * SIDE), rows).unwrap();
    let alike = |a: usize, b: usize| {
        let (a, b) = (images.row(a), images.row(b));
        a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
    };
    let pairs = (0..40).flat_map(|a| (0..a).map(move |b| (a, b)));
    assert!(pairs.map(|(a, b)| alike(a, b)).fold(0.0, f32::max) < 0.97);
}

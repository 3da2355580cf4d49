//! The parts of a GAN against PyTorch: losses with their gradients, R1, spectral normalisation, DiffAugment's changes, and
//! whole networks in train mode. The values are recorded by `goldens/adversarial/record.py`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use onnx::graph::{Graph, ParameterKind};
use onnx::networks::{
    DcganConfig, Norm, PatchGanConfig, UnetConfig, dcgan_discriminator, dcgan_generator, patch_gan, unet,
};
use tch::{Device, Kind, Tensor};
use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, ParameterSource, Parameters};
use trainer::training::gan::diff_augment::{Change, apply};
use trainer::training::gan::losses::{AdversarialLoss, r1};
use trainer::training::gan::spectral::SpectralNorm;
use trainer::training::weights;

/// What float32 may cost between two orders of summation.
const TOLERANCE: f64 = 1e-5;
/// The same through a whole network and back.
const NETWORK_TOLERANCE: f64 = 1e-4;

/// Recorded tensors by name.
struct Goldens(IndexMap<String, Tensor>);

impl Goldens {
    fn load() -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens/adversarial/expected.safetensors");
        Self(weights::read(&path).unwrap())
    }

    #[track_caller]
    fn assert(&self, name: &str, ours: &Tensor, tolerance: f64) {
        let theirs = self.0.get(name).unwrap_or_else(|| panic!("{name} is not recorded"));
        assert_eq!(ours.size(), theirs.size(), "{name}");
        let error = f64::try_from((ours - theirs).norm()).unwrap();
        let size = f64::try_from(theirs.norm()).unwrap().max(1e-12);
        assert!(error / size < tolerance, "{name}: relative error {:.2e}", error / size);
    }
}

/// The formula of `record.py`.
fn waves(shape: &[i64], phase: f64, scale: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let at = Tensor::arange(count, (Kind::Double, Device::Cpu));
    ((at * 0.7 + phase).sin() * scale).to_kind(Kind::Float).reshape(shape)
}

fn leaf(tensor: Tensor) -> Tensor {
    tensor.set_requires_grad(true)
}

/// libtorch's random numbers come from one generator of the process.
fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    guard
}

#[test]
fn losses_and_their_gradients() {
    let goldens = Goldens::load();
    let kinds = [
        ("vanilla", AdversarialLoss::Vanilla),
        ("least_squares", AdversarialLoss::LeastSquares),
        ("hinge", AdversarialLoss::Hinge),
    ];
    let scores = |phase| leaf(waves(&[24], phase, 2.0));
    for (name, kind) in kinds {
        let (real, made) = (scores(0.3), scores(1.9));
        let loss = kind.discriminator(&real, &made, 0.1).unwrap();
        loss.backward();
        goldens.assert(&format!("{name}.discriminator"), &loss.detach(), TOLERANCE);
        goldens.assert(&format!("{name}.discriminator.real"), &real.grad(), TOLERANCE);
        goldens.assert(&format!("{name}.discriminator.made"), &made.grad(), TOLERANCE);
        let made = scores(1.9);
        let loss = kind.generator(&made).unwrap();
        loss.backward();
        goldens.assert(&format!("{name}.generator"), &loss.detach(), TOLERANCE);
        goldens.assert(&format!("{name}.generator.made"), &made.grad(), TOLERANCE);
    }
}

#[test]
fn the_gradient_penalty_and_its_gradient() {
    let goldens = Goldens::load();
    let images = leaf(waves(&[3, 2, 6, 6], 0.1, 1.0));
    let weight = leaf(waves(&[4, 2, 3, 3], 0.5, 1.0));
    let map = images.conv2d(&weight, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1).tanh();
    let scores = map.sum_dim_intlist([1_i64, 2, 3].as_slice(), false, Kind::Float);
    let penalty = r1(&scores, &images, 10.0).unwrap();
    penalty.backward();
    goldens.assert("r1", &penalty.detach(), TOLERANCE);
    goldens.assert("r1.weight", &weight.grad(), TOLERANCE);
}

#[test]
fn a_step_of_spectral_normalisation() {
    use onnx::graph::layers::Conv2d;
    use onnx::graph::{ElementType, GraphBuilder, Shape};
    let _generator = seeded(1);
    let goldens = Goldens::load();
    let mut builder = GraphBuilder::new("one");
    let x = builder.input("x", ElementType::F32, Shape::batch(&[3, 8, 8])).unwrap();
    let y = builder.conv2d("conv", x, Conv2d::new(6, 3)).unwrap();
    builder.output("y", y).unwrap();
    let graph = builder.finish().unwrap();
    let mut parameters = Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    parameters.set("conv.weight", &waves(&[6, 3, 3, 3], 0.2, 1.0)).unwrap();
    let mut norm = SpectralNorm::new(&parameters, 1).unwrap();
    let before = goldens.0["spectral.before"].shallow_clone();
    norm.restore(&IndexMap::from([("conv.weight".to_owned(), before)]))
        .unwrap();
    norm.follow(&parameters).unwrap();
    goldens.assert("spectral.after", &norm.vectors()["conv.weight"], TOLERANCE);
    let bounded = norm.normalised(&parameters).unwrap();
    let weight = bounded.tensor("conv.weight").unwrap();
    goldens.assert("spectral.weight", &weight.detach(), TOLERANCE);
    (weight * waves(&weight.size(), 0.9, 1.0)).sum(Kind::Float).backward();
    goldens.assert(
        "spectral.gradient",
        &parameters.get("conv.weight").unwrap().grad(),
        TOLERANCE,
    );
}

#[test]
fn the_same_draws_change_images_alike() {
    let goldens = Goldens::load();
    let images = waves(&[5, 3, 16, 12], 0.4, 1.0);
    let changes = [
        ("color", 3, Change::Color),
        ("translation", 4, Change::Translation),
        ("cutout", 5, Change::Cutout),
    ];
    for (name, seed, change) in changes {
        let _generator = seeded(seed);
        let changed = apply(&images, &[change]).unwrap();
        goldens.assert(&format!("changes.{name}"), &changed, TOLERANCE);
    }
}

/// Output and the norms of all gradients of a network in train mode, filled by the formula.
fn compare_network(goldens: &Goldens, name: &str, graph: Graph, inputs: &[Tensor]) {
    let mut parameters = Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    let learnt: Vec<(String, Vec<i64>)> = parameters
        .iter()
        .filter(|(_, entry)| entry.kind == ParameterKind::Trainable)
        .map(|(name, entry)| (name.to_owned(), entry.tensor.size()))
        .collect();
    for (path, shape) in &learnt {
        let middle = f64::from(u8::from(shape.len() == 1 && path.ends_with("weight")));
        parameters
            .set(path, &(waves(shape, path.len() as f64, 0.1) + middle))
            .unwrap();
    }
    let interpreter = Interpreter::new(graph, Device::Cpu).unwrap();
    let values = interpreter
        .run(inputs, &parameters, &Modes::all(Mode::Train), &[])
        .unwrap();
    let output = values.first();
    (output * waves(&output.size(), 0.6, 1.0)).sum(Kind::Float).backward();
    let some = output.detach().flatten(0, -1).slice(0, 0, None, 5);
    goldens.assert(&format!("{name}.output"), &some, NETWORK_TOLERANCE);
    let prefix = format!("{name}.gradient.");
    let recorded = goldens.0.keys().filter(|key| key.starts_with(&prefix)).count();
    assert_eq!(recorded, learnt.len(), "{name} has the peer's parameters");
    for (path, _) in &learnt {
        let gradient = parameters.get(path).unwrap().grad();
        goldens.assert(&format!("{prefix}{path}"), &gradient.norm(), NETWORK_TOLERANCE);
    }
}

#[test]
fn networks_in_train_mode() {
    let goldens = Goldens::load();
    let image = |phase, count| waves(&[count, 3, 64, 64], phase, 1.0);
    let config = DcganConfig {
        channels: 3,
        latent: 16,
        width: 8,
        ..DcganConfig::default()
    };
    let noise = waves(&[4, 16], 0.2, 1.0);
    compare_network(&goldens, "dcgan_generator", dcgan_generator(&config).unwrap(), &[noise]);
    let discriminator = dcgan_discriminator(&config).unwrap();
    compare_network(&goldens, "dcgan_discriminator", discriminator, &[image(0.3, 4)]);
    for (kind, norm) in [("batch", Norm::Batch), ("instance", Norm::Instance)] {
        let generator = unet(&UnetConfig {
            size: 64,
            channels: 3,
            width: 8,
            norm,
            dropout: false,
        });
        compare_network(&goldens, &format!("unet_{kind}"), generator.unwrap(), &[image(0.4, 2)]);
        let discriminator = patch_gan(&PatchGanConfig {
            size: 64,
            channels: 3,
            width: 8,
            norm,
            ..PatchGanConfig::default()
        });
        let pair = [image(0.5, 2), image(0.6, 2)];
        compare_network(&goldens, &format!("patch_gan_{kind}"), discriminator.unwrap(), &pair);
    }
}

#[test]
fn sizes_are_those_that_pytorch_counts() {
    let goldens = Goldens::load();
    let channels = 3;
    let dcgan = DcganConfig {
        channels,
        ..DcganConfig::default()
    };
    let graphs = [
        ("dcgan_generator", dcgan_generator(&dcgan)),
        ("dcgan_discriminator", dcgan_discriminator(&dcgan)),
        (
            "unet",
            unet(&UnetConfig {
                channels,
                ..UnetConfig::default()
            }),
        ),
        (
            "patch_gan",
            patch_gan(&PatchGanConfig {
                channels,
                norm: Norm::Batch,
                ..PatchGanConfig::default()
            }),
        ),
    ];
    for (name, graph) in graphs {
        let counted = Vec::<f32>::try_from(&goldens.0[&format!("size.{name}")]).unwrap();
        let counted = counted[0] as u64 * 1_000_000 + counted[1] as u64;
        assert_eq!(graph.unwrap().cost().parameters, counted, "{name}");
    }
}

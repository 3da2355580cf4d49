//! The class-conditional discriminator with projection against what PyTorch made of it (`goldens/projection/record.py`):
//! scores, gradients, and scores under spectral normalisation.

use onnx::networks::{DcganConfig, Norm, dcgan_discriminator};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, ParameterSource, Parameters};
use trainer::training::gan::losses::AdversarialLoss;
use trainer::training::gan::spectral::SpectralNorm;

#[derive(Deserialize)]
struct Expected {
    scores: Vec<f64>,
    gradients: Vec<[f64; 2]>,
    embedding_gradient: Vec<Vec<f64>>,
    bounded_scores: Vec<f64>,
    parameters: usize,
}

/// In the order of the script.
const WEIGHTS: [&str; 6] = [
    "main.0.weight",
    "main.2.weight",
    "main.5.weight",
    "main.8.weight",
    "main.11.weight",
    "embed.weight",
];
/// The script's formula.
fn waves(shape: &[i64], number: f64, scale: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let wave = |i: i64| {
        let i = i as f64;
        (scale * (0.37 * i + 1.7 * number + 0.001 * i * i).sin()) as f32
    };
    Tensor::from_slice(&(0..count).map(wave).collect::<Vec<_>>()).reshape(shape)
}

struct Network {
    interpreter: Interpreter,
    parameters: Parameters,
}

impl Network {
    fn new(norm: Norm) -> Self {
        let config = DcganConfig {
            width: 4,
            classes: Some(3),
            discriminator_norm: norm,
            ..DcganConfig::default()
        };
        let graph = dcgan_discriminator(&config).unwrap();
        let mut parameters = Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
        for (number, name) in WEIGHTS.iter().enumerate() {
            let shape = parameters.get(name).unwrap_or_else(|| panic!("{name}")).size();
            parameters.set(name, &waves(&shape, number as f64, 0.08)).unwrap();
        }
        let scales: Vec<String> = parameters.trainable().map(|(name, _)| name.to_owned()).collect();
        for name in scales.iter().filter(|name| !WEIGHTS.contains(&name.as_str())) {
            let value = if name.ends_with(".weight") { 1.0 } else { 0.0 };
            let tensor = parameters.get(name).unwrap().full_like(value);
            parameters.set(name, &tensor).unwrap();
        }
        Self {
            interpreter: Interpreter::new(graph, Device::Cpu).unwrap(),
            parameters,
        }
    }

    fn scores(&self, source: &dyn ParameterSource) -> Tensor {
        let image = waves(&[6, 1, 64, 64], 9.0, 0.9);
        let label = Tensor::from_slice(&[0_i64, 1, 2, 2, 1, 0]);
        let values = self
            .interpreter
            .run(&[image, label], source, &Modes::all(Mode::Train), &[]);
        values.unwrap().first().shallow_clone()
    }
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../goldens/projection/expected.json")).unwrap()
}

fn close(name: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let scale = theirs.iter().fold(1e-6, |scale: f64, value| scale.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() < tolerance * scale, "{name}: {ours} {theirs}");
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn scores_and_gradients_are_pytorchs() {
    let expected = expected();
    let network = Network::new(Norm::Batch);
    let count: usize = network.parameters.trainable().map(|(_, tensor)| tensor.numel()).sum();
    assert_eq!(count, expected.parameters);
    let scores = network.scores(&network.parameters);
    close("scores", &numbers(&scores), &expected.scores, 1e-4);
    let (real, generated) = (scores.narrow(0, 0, 3), scores.narrow(0, 3, 3));
    AdversarialLoss::Hinge
        .discriminator(&real, &generated, 0.0)
        .unwrap()
        .backward();
    for (name, [sum, norm]) in WEIGHTS.iter().zip(&expected.gradients) {
        let gradient = network.parameters.get(name).unwrap().grad();
        let ours = [gradient.sum(Kind::Double), gradient.norm()].map(|figure| f64::try_from(figure).unwrap());
        close(name, &ours, &[*sum, *norm], 1e-3);
    }
    let embedding = network.parameters.get("embed.weight").unwrap().grad();
    close(
        "embedding",
        &numbers(&embedding),
        &expected.embedding_gradient.concat(),
        1e-3,
    );
}

#[test]
fn bounded_scores_are_pytorchs() {
    let network = Network::new(Norm::None);
    let mut norm = SpectralNorm::new(&network.parameters, 1).unwrap();
    for _ in 0..400 {
        norm.follow(&network.parameters).unwrap();
    }
    let scores = network.scores(&norm.normalised(&network.parameters).unwrap());
    close("bounded scores", &numbers(&scores), &expected().bounded_scores, 1e-3);
}

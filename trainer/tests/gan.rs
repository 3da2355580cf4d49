//! Generative training: exact resume, the same samples from the same seed, the way back from divergence and collapse,
//! exported generators, and what is refused.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array4, ArrayD};
use onnx::runtime::{self, Session, SessionOptions};
use tch::{Device, Kind, TchError, Tensor};
use trainer::autograd::parameters::array_of;
use trainer::data::DataError;
use trainer::interrupt::Interrupt;
use trainer::progress::{Progress, Silent};
use trainer::recipes::{GanRecipe, find_weights};
use trainer::training::gan::GanError;
use trainer::training::gan::build::{self, Shown};
use trainer::training::gan::game::{Figures, Game, Rates, Round};
use trainer::training::gan::health::diversity;
use trainer::training::gan::pair::Pair;
use trainer::training::gan::rounds::{RoundSource, Rounds};
use trainer::training::gan::train::{Outcome, Training};
use trainer::training::gan::trained::{GanRecord, Trained};
use trainer::training::run::RunFolder;

const LABELS: usize = 2;

/// libtorch's random numbers come from one generator of the process, so these tests run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // Networks as small as these gain nothing from a second thread.
    tch::set_num_threads(1);
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A small DCGAN; `more` is added to the section [train].
fn dcgan(more: &str) -> GanRecipe {
    let text = format!(
        "model = \"dcgan\"\n\
         [preprocess]\nsize = [64, 64]\nchannels = 1\nmean = [0.5]\nstd = [0.5]\n\
         [generator]\nconditional = true\nlatent = 8\nwidth = 4\naverage = 0.9\n\
         [discriminator]\nwidth = 4\nspectral_norm = true\nr1 = 1.0\nr1_every = 2\n\
         [train]\nbatch = 4\nprecision = \"f32\"\nchannels_last = false\nsample_every = 4\ncheckpoint_every = 2\nseed = 5\n{more}"
    );
    GanRecipe::parse(&text, Path::new("dcgan.toml")).unwrap()
}

fn pix2pix(more: &str) -> GanRecipe {
    let text = format!(
        "model = \"pix2pix\"\n\
         [data]\nlabels = [\"normal\", \"covid19\"]\n\
         [translate]\nfrom = \"normal\"\nto = \"covid19\"\n\
         [preprocess]\nsize = [64, 64]\nchannels = 1\nmean = [0.5]\nstd = [0.5]\n\
         [generator]\nwidth = 4\naverage = 0.0\n\
         [discriminator]\nwidth = 4\ndiff_augment = []\n\
         [train]\nbatch = 1\nprecision = \"f32\"\nchannels_last = false\nsample_every = 4\ncheckpoint_every = 2\nseed = 5\n{more}"
    );
    GanRecipe::parse(&text, Path::new("pix2pix.toml")).unwrap()
}

/// Blobs whose place depends on the round: something to learn, and the same whenever it is asked for.
fn blobs(number: u64, count: usize) -> Array4<f32> {
    Array4::from_shape_fn((count, 1, 64, 64), |(n, _, y, x)| {
        let place = ((number * 7 + n as u64 * 13) % 40 + 12) as f32;
        let distance = ((y as f32 - place).powi(2) + (x as f32 - 32.0).powi(2)).sqrt();
        (1.0 - distance / 16.0).clamp(-1.0, 1.0)
    })
}

struct Blobs {
    batch: usize,
    translated: bool,
}

impl RoundSource for Blobs {
    fn rounds(&self, from: u64) -> Rounds<'_> {
        Box::new((from..).map(|number| {
            Ok::<_, DataError>(Round {
                images: blobs(number, self.batch),
                labels: (0..self.batch as i64).map(|n| n % LABELS as i64).collect(),
                sources: self.translated.then(|| blobs(number + 3, self.batch)),
            })
        }))
    }
}

fn tensor(array: &Array4<f32>) -> Tensor {
    let shape: Vec<i64> = array.shape().iter().map(|extent| *extent as i64).collect();
    Tensor::from_slice(array.as_slice().unwrap()).reshape(shape)
}

fn game(recipe: &GanRecipe) -> Box<dyn Game> {
    let shown = Shown {
        references: vec![tensor(&blobs(1, 8))],
        sources: recipe.translate.as_ref().map(|_| tensor(&blobs(2, 8))),
    };
    build::game(recipe, LABELS, None, shown, Device::Cpu).unwrap().0
}

fn folder(root: &Path, recipe: &GanRecipe) -> RunFolder {
    let run = RunFolder::create(&root.join("run"), recipe).unwrap();
    std::fs::create_dir_all(run.samples()).unwrap();
    let record = GanRecord {
        labels: vec!["normal".into(), "covid19".into()],
        ..GanRecord::default()
    };
    run.write_record(&record).unwrap();
    run
}

/// Raises the interrupt after so many steps.
struct StopAfter {
    steps: Mutex<u64>,
    interrupt: Interrupt,
}

impl Progress for StopAfter {
    fn advance(&self, steps: u64, detail: &str) {
        let mut left = self.steps.lock().unwrap();
        if !detail.is_empty() {
            *left = left.saturating_sub(steps);
            if *left == 0 {
                self.interrupt.raise();
            }
        }
    }
}

fn train(recipe: &GanRecipe, run: &RunFolder, resume: bool, stop: Option<u64>) -> Outcome {
    let interrupt = Interrupt::new();
    let progress: Box<dyn Progress> = match stop {
        Some(steps) => Box::new(StopAfter {
            steps: Mutex::new(steps),
            interrupt: interrupt.clone(),
        }),
        None => Box::new(Silent),
    };
    let source = Blobs {
        batch: recipe.train.batch,
        translated: recipe.translate.is_some(),
    };
    let training = Training::begin(&recipe.train, run, game(recipe), resume, progress.as_ref()).unwrap();
    training.run(&source, &interrupt).unwrap()
}

#[test]
fn a_resumed_training_gives_the_very_same_networks() {
    let _alone = alone();
    for recipe in [dcgan("steps = 7"), pix2pix("steps = 7")] {
        let root = tempfile::tempdir().unwrap();
        let whole = folder(&root.path().join("whole"), &recipe);
        assert!(!train(&recipe, &whole, false, None).interrupted);
        let parts = folder(&root.path().join("parts"), &recipe);
        // At a step without a checkpoint of its own.
        let first = train(&recipe, &parts, false, Some(3));
        assert!(first.interrupted && first.state.step == 3, "{first:?}");
        assert!(!train(&recipe, &parts, true, None).interrupted);
        for file in [RunFolder::generator, RunFolder::discriminator] {
            let [one, other] = [&whole, &parts].map(|run| std::fs::read(file(run)).unwrap());
            assert!(one == other, "{:?} differs", file(&whole));
        }
        for name in ["samples/0000007.png", "plots/losses.png", "metrics.jsonl"] {
            assert!(whole.path().join(name).is_file(), "{name}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_images_and_another_one_others() {
    let _alone = alone();
    let recipe = dcgan("steps = 2");
    let root = tempfile::tempdir().unwrap();
    let run = folder(root.path(), &recipe);
    train(&recipe, &run, false, None);
    let [one, other] = [(); 2].map(|()| Trained::load(&run, Device::Cpu).unwrap());
    assert_eq!(one.digest, other.digest);
    let images = one.sample(1, 0, 6, 9).unwrap();
    assert!(images.equal(&other.sample(1, 0, 6, 9).unwrap()));
    // Image number 4 is the same one whatever is made before it.
    let fourth = other.sample(1, 4, 1, 9).unwrap();
    let difference = (fourth - images.narrow(0, 4, 1)).abs().max();
    assert!(f64::try_from(difference).unwrap() < 1e-5);
    assert!(!images.equal(&other.sample(1, 0, 6, 10).unwrap()));
    assert!(
        !images.equal(&other.sample(0, 0, 6, 9).unwrap()),
        "the class makes a difference"
    );
}

#[test]
fn a_generator_in_onnx_runtime_is_the_one_in_libtorch() {
    let _alone = alone();
    let runtime = match runtime::load(None) {
        Ok(runtime) => runtime,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            eprintln!("skipped: {error}; run `cargo xtask setup`");
            return;
        }
    };
    let root = tempfile::tempdir().unwrap();
    let difference = |ours: &ArrayD<f32>, theirs: &ArrayD<f32>| {
        let norm = |array: &ArrayD<f32>| array.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        norm(&(ours - theirs)) / norm(theirs)
    };
    for mut recipe in [dcgan("steps = 2"), pix2pix("steps = 2")] {
        recipe.generator.conditional = false;
        let run = folder(&root.path().join(format!("{:?}", recipe.model)), &recipe);
        train(&recipe, &run, false, None);
        let trained = Trained::load(&run, Device::Cpu).unwrap();
        let file = trained.to_onnx().unwrap();
        let mut session = Session::from_bytes(runtime, &file, &SessionOptions::default()).unwrap();
        let (name, input, ours) = match recipe.translate {
            Some(_) => {
                let source = tensor(&blobs(5, 2));
                let ours = trained.translate(&source, None).unwrap();
                ("source", source, ours)
            }
            None => {
                tch::manual_seed(1);
                let noise = Tensor::randn([2, 8], (Kind::Float, Device::Cpu));
                let ours = trained.of_noise(&noise).unwrap();
                ("latent", noise, ours)
            }
        };
        let input = array_of(&input).unwrap();
        let outputs = session.run(&[(name, input.view())]).unwrap();
        let theirs = outputs.array::<f32>("image").unwrap().to_owned();
        let error = difference(&array_of(&ours).unwrap(), &theirs);
        assert!(error < 1e-5, "{name}: {error:.2e}");
    }
}

/// Uses and training are alike where instances are normalised, dropout apart; with BatchNorm at batch 1 they are not:
/// the mismatch that such generators are known for.
#[test]
fn a_translation_is_the_same_in_training_and_use() {
    let _alone = alone();
    use onnx::networks::{Norm, UnetConfig, unet};
    use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};
    let image = tensor(&blobs(4, 1));
    let gap = |norm: Norm| {
        let graph = unet(&UnetConfig {
            size: 64,
            channels: 1,
            width: 8,
            norm,
            dropout: false,
        });
        let graph = graph.unwrap();
        let parameters = Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
        let interpreter = Interpreter::new(graph, Device::Cpu).unwrap();
        let run = |mode| {
            let values = interpreter.run(&[image.shallow_clone()], &parameters, &Modes::all(mode), &[]);
            values.unwrap().first().detach()
        };
        tch::no_grad(|| {
            let used = run(Mode::Eval);
            f64::try_from((run(Mode::Train) - used).abs().mean(Kind::Float)).unwrap()
        })
    };
    assert!(gap(Norm::Instance) < 1e-7);
    assert!(gap(Norm::Batch) > 1e-3);
}

/// A game that never learns: its samples and figures are given.
struct Planted {
    pair: Pair,
    references: Tensor,
    samples: Tensor,
    figure: f64,
}

impl Planted {
    fn new(samples: Tensor, figure: f64) -> Box<Self> {
        let recipe = dcgan("");
        let pair = build::pair(&recipe, LABELS, None, Device::Cpu).unwrap().0;
        Box::new(Self {
            pair,
            references: tensor(&blobs(1, 8)),
            samples,
            figure,
        })
    }
}

impl Game for Planted {
    fn step(&mut self, _: &Round, _: u64, _: Rates) -> Result<Figures, GanError> {
        Ok(vec![("generator", self.figure)])
    }
    fn samples(&self) -> Result<Tensor, GanError> {
        Ok(self.samples.shallow_clone())
    }
    fn settle(&self) -> Result<(), GanError> {
        Ok(())
    }
    fn diversity(&self, samples: &Tensor) -> Result<f64, TchError> {
        diversity(samples, &self.references)
    }
    fn sources(&self) -> Option<&Tensor> {
        None
    }
    fn pair(&self) -> &Pair {
        &self.pair
    }
    fn pair_mut(&mut self) -> &mut Pair {
        &mut self.pair
    }
}

/// What was said.
#[derive(Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Progress for Heard {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

fn planted(game: Box<Planted>) -> (Result<Outcome, GanError>, Vec<String>) {
    let recipe = dcgan("steps = 40\nback_offs = 2");
    let root = tempfile::tempdir().unwrap();
    let run = folder(root.path(), &recipe);
    let heard = Heard::default();
    let training = Training::begin(&recipe.train, &run, game, false, &heard).unwrap();
    let source = Blobs {
        batch: 4,
        translated: false,
    };
    let ended = training.run(&source, &Interrupt::new());
    let lines = heard.0.lock().unwrap().clone();
    (ended, lines)
}

#[test]
fn a_collapse_and_a_divergence_are_caught_and_a_good_training_passes() {
    let _alone = alone();
    let same = tensor(&blobs(3, 1)).repeat([8, 1, 1, 1]);
    let (ended, lines) = planted(Planted::new(same, 0.5));
    let message = ended.unwrap_err().to_string();
    assert!(
        message.contains("collapsed") && message.contains("diff_augment"),
        "{message}"
    );
    assert_eq!(lines.len(), 2, "it went back twice: {lines:?}");
    let (ended, lines) = planted(Planted::new(tensor(&blobs(9, 8)), f64::NAN));
    let message = ended.unwrap_err().to_string();
    assert!(message.contains("diverged") && message.contains("NaN"), "{message}");
    assert!(lines[0].contains("half the rates"), "{lines:?}");
    let (ended, lines) = planted(Planted::new(tensor(&blobs(9, 8)), 0.5));
    assert!(ended.unwrap().state.finished && lines.is_empty(), "{lines:?}");
}

#[test]
fn rates_that_are_far_too_high_end_with_their_reason() {
    let _alone = alone();
    let recipe =
        dcgan("steps = 60\ngenerator_rate = 1.0\ndiscriminator_rate = 1.0\nback_offs = 1\nloss = \"least_squares\"");
    let root = tempfile::tempdir().unwrap();
    let run = folder(root.path(), &recipe);
    let training = Training::begin(&recipe.train, &run, game(&recipe), false, &Silent).unwrap();
    let source = Blobs {
        batch: 4,
        translated: false,
    };
    let error = training.run(&source, &Interrupt::new()).unwrap_err();
    let caught = matches!(error, GanError::Collapsed { .. } | GanError::Diverged { .. });
    assert!(caught, "{error}");
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let _alone = alone();
    let (recipe, wider) = (dcgan("steps = 2"), {
        let mut recipe = dcgan("steps = 2");
        recipe.generator.width = 8;
        recipe
    });
    let root = tempfile::tempdir().unwrap();
    let run = folder(root.path(), &recipe);
    train(&recipe, &run, false, None);
    let Err(error) = Training::begin(&wider.train, &run, game(&wider), true, &Silent) else {
        panic!("a checkpoint of another width was taken");
    };
    assert!(error.to_string().contains("main.0.weight"), "{error}");
}

#[test]
fn shipped_recipes_are_valid_and_find_their_weights() {
    let _alone = alone();
    for (name, _) in trainer::recipes::SHIPPED_GANS {
        let recipe = GanRecipe::load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        build::graphs(&recipe, recipe.data.labels.len()).unwrap();
    }
    let recipe = GanRecipe::load("ct-dcgan-pretrained").unwrap();
    let absent = find_weights(
        recipe.discriminator.weights.as_deref(),
        Path::new("x.toml"),
        Path::new("/none"),
    );
    assert!(absent.unwrap_err().to_string().contains("resnet18_imagenet_partial"));
}

//! CycleGAN: exact resume, what the losses are made of, and that a cycle is learnt.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::Array4;
use tch::{Device, Kind, Tensor};
use trainer::data::DataError;
use trainer::interrupt::Interrupt;
use trainer::progress::{Progress, Silent};
use trainer::recipes::GanRecipe;
use trainer::training::gan::GanError;
use trainer::training::gan::build::{self, Shown};
use trainer::training::gan::game::{Game, Rates, Round};
use trainer::training::gan::rounds::{RoundSource, Rounds};
use trainer::training::gan::train::{Outcome, Training};
use trainer::training::gan::trained::{GanRecord, Trained};
use trainer::training::run::RunFolder;

/// libtorch's random numbers come from one generator of the process, so these tests run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    tch::set_num_threads(1);
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recipe(translate: &str, train: &str) -> GanRecipe {
    let text = format!(
        "model = \"cyclegan\"\n\
         [data]\nlabels = [\"normal\", \"covid19\"]\n\
         [translate]\nfrom = \"normal\"\nto = \"covid19\"\n{translate}\n\
         [preprocess]\nsize = [64, 64]\nchannels = 1\nmean = [0.5]\nstd = [0.5]\n\
         [generator]\nwidth = 4\naverage = 0.5\ndropout = false\n\
         [discriminator]\nwidth = 4\ndiff_augment = [\"translation\"]\n\
         [train]\nbatch = 1\nloss = \"least_squares\"\nprecision = \"f32\"\nchannels_last = false\n\
         sample_every = 4\ncheckpoint_every = 2\nseed = 5\n{train}"
    );
    GanRecipe::parse(&text, Path::new("cycle.toml")).unwrap()
}

/// A disc, bright or dark, whose place depends on the round.
fn discs(number: u64, bright: bool) -> Array4<f32> {
    Array4::from_shape_fn((1, 1, 64, 64), |(_, _, y, x)| {
        let place = ((number * 7) % 40 + 12) as f32;
        let distance = ((y as f32 - place).powi(2) + (x as f32 - 32.0).powi(2)).sqrt();
        let disc = (1.0 - distance / 16.0).clamp(-1.0, 1.0);
        if bright { disc } else { -disc }
    })
}

fn round(number: u64) -> Round {
    Round {
        images: discs(number, false),
        labels: vec![1],
        sources: Some(discs(number + 3, true)),
    }
}

struct Discs;

impl RoundSource for Discs {
    fn rounds(&self, from: u64) -> Rounds<'_> {
        Box::new((from..).map(|number| Ok::<_, DataError>(round(number))))
    }
}

fn tensor(array: &Array4<f32>) -> Tensor {
    Tensor::from_slice(array.as_slice().unwrap()).reshape([1, 1, 64, 64])
}

fn game(recipe: &GanRecipe) -> Box<dyn Game> {
    let several = |bright: bool| Tensor::cat(&[1, 2, 5].map(|number| tensor(&discs(number, bright))), 0);
    let shown = Shown {
        references: vec![several(false)],
        sources: Some(several(true)),
    };
    build::game(recipe, 2, None, shown, Device::Cpu).unwrap().0
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
    let training = Training::begin(&recipe.train, run, game(recipe), resume, progress.as_ref()).unwrap();
    training.run(&Discs, &interrupt).unwrap()
}

#[test]
fn a_resumed_training_gives_the_very_same_networks_both_ways() {
    let _alone = alone();
    let recipe = recipe("", "steps = 7");
    let root = tempfile::tempdir().unwrap();
    let whole = folder(&root.path().join("whole"), &recipe);
    assert!(!train(&recipe, &whole, false, None).interrupted);
    let parts = folder(&root.path().join("parts"), &recipe);
    // At a step without a checkpoint of its own.
    let first = train(&recipe, &parts, false, Some(3));
    assert!(first.interrupted && first.state.step == 3, "{first:?}");
    assert!(!train(&recipe, &parts, true, None).interrupted);
    // The checkpoint holds the way back too.
    for file in [
        RunFolder::generator,
        RunFolder::discriminator,
        RunFolder::last_checkpoint,
    ] {
        let [one, other] = [&whole, &parts].map(|run| std::fs::read(file(run)).unwrap());
        assert!(one == other, "{:?} differs", file(&whole));
    }
    let trained = Trained::load(&whole, Device::Cpu).unwrap();
    let made = trained.translate(&tensor(&discs(1, true)), None).unwrap();
    assert_eq!(made.size(), [1, 1, 64, 64]);
}

const RATES: Rates = Rates {
    generator: 2e-3,
    discriminator: 1e-3,
};

fn figures(game: &mut dyn Game, number: u64) -> impl Fn(&str) -> f64 + use<> {
    tch::manual_seed(number as i64);
    let figures = game.step(&round(number), number, RATES).unwrap();
    move |name| {
        figures
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("{name}"))
            .1
    }
}

/// Nothing but the distance of what comes back to what went tells where the disc is.
#[test]
fn what_comes_back_becomes_what_went() {
    let _alone = alone();
    let mut game = game(&recipe("identity = 0.0", ""));
    let first = figures(game.as_mut(), 0)("cycle");
    let mut last = first;
    for number in 1..60 {
        last = figures(game.as_mut(), number)("cycle");
    }
    assert!(last < 0.5 * first, "{first} became {last}");
}

#[test]
fn both_ways_have_a_generator_and_a_discriminator_that_learn() {
    let _alone = alone();
    let mut game = game(&recipe("", ""));
    let before: Vec<(String, Tensor)> = game
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.copy()))
        .collect();
    let figure = figures(game.as_mut(), 0);
    for name in [
        "discriminator",
        "discriminator_back",
        "generator",
        "generator_back",
        "cycle",
        "real_score",
    ] {
        assert!(figure(name).is_finite(), "{name}");
    }
    for side in ["generator/", "discriminator/", "back/generator/", "back/discriminator/"] {
        let moved = game.tensors().into_iter().zip(&before).any(|((name, now), (_, then))| {
            let is_weight = name.starts_with(&format!("{side}parameter")) && name.ends_with("weight");
            is_weight && f64::try_from((now - then).abs().max().to_kind(Kind::Double)).unwrap() > 1e-6
        });
        assert!(moved, "{side} did not learn");
    }
}

#[test]
fn the_checkpoint_of_one_way_is_refused() {
    let _alone = alone();
    let mut game = game(&recipe("", ""));
    let there = game
        .pair()
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.copy()))
        .collect();
    let error = game.restore(&there).unwrap_err();
    assert!(
        matches!(&error, GanError::State { name } if name.starts_with("back/generator/")),
        "{error}"
    );
}

//! How long a step of a GAN takes: `gan_step MODEL PRECISION [WARM] [STEPS]` prints the median in milliseconds. MODEL is dcgan
//! (64 px, batch 64) or pix2pix (256 px, batch 1), both on three channels and of the papers' size; PRECISION is f32, or bf16
//! with channels last. `cargo xtask peers gan` runs it in turn with PyTorch.

use std::path::Path;
use std::time::Instant;

use ndarray::Array4;
use tch::{Device, Kind, Tensor};
use trainer::recipes::GanRecipe;
use trainer::seed;
use trainer::training::gan::build::{self, Shown};
use trainer::training::gan::game::{Rates, Round};

/// What PyTorch's example and the authors' code do, and nothing besides.
fn recipe(model: &str, precision: &str) -> Result<GanRecipe, Box<dyn std::error::Error>> {
    let (size, batch, translate) = match model {
        "dcgan" => (64, 64, ""),
        "pix2pix" => (256, 1, "[translate]\nfrom = \"a\"\nto = \"b\"\n"),
        other => return Err(format!("{other} is no model; there are dcgan and pix2pix").into()),
    };
    let text = format!(
        "model = \"{model}\"\n\
         [data]\nlabels = [\"a\", \"b\"]\n\
         [preprocess]\nsize = [{size}, {size}]\nchannels = 3\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n\
         {translate}\
         [generator]\naverage = 0.0\n\
         [discriminator]\nlabel_smoothing = 0.0\ndiff_augment = []\n\
         [train]\nbatch = {batch}\nprecision = \"{precision}\"\nchannels_last = {}\n",
        precision == "bf16"
    );
    Ok(GanRecipe::parse(&text, Path::new("gan_step"))?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [model, precision, rest @ ..] = &words[..] else {
        return Err("give MODEL and PRECISION".into());
    };
    let number = |at: usize, otherwise: u64| rest.get(at).map_or(Ok(otherwise), |text| text.parse());
    let (warm, steps) = (number(0, 3)?, number(1, 12)?);
    let recipe = recipe(model, precision)?;
    let (batch, size) = (recipe.train.batch, recipe.preprocess.size[0] as usize);
    let images = |phase: f32| {
        Array4::from_shape_fn((batch, 3, size, size), |(n, c, y, x)| {
            (phase + (n * 7 + c * 3 + y * 5 + x) as f32 * 0.37).sin()
        })
    };
    let round = Round {
        images: images(0.0),
        labels: vec![0; batch],
        sources: recipe.translate.as_ref().map(|_| images(1.0)),
    };
    let few = Tensor::zeros([2, 3, size as i64, size as i64], (Kind::Float, Device::Cpu));
    let shown = Shown {
        sources: recipe.translate.as_ref().map(|_| few.shallow_clone()),
        references: vec![few],
    };
    let (mut game, _) = build::game(&recipe, 2, None, shown, Device::Cpu)?;
    let rates = Rates {
        generator: recipe.train.generator_rate,
        discriminator: recipe.train.discriminator_rate,
    };
    let mut times = Vec::new();
    for step in 0..warm + steps {
        seed::seed_step(1, step);
        let begun = Instant::now();
        game.step(&round, step, rates)?;
        if step >= warm {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{:.2}", times[times.len() / 2]);
    Ok(())
}

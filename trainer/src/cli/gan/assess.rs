//! `gan assess`: what a generator's images are worth.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tch::{Device, Tensor};
use trainer::assess::features::Extractor;
use trainer::assess::{Images, assess, report};
use trainer::data::dataset::{LeftOut, Sample};
use trainer::data::manifest::Row;
use trainer::data::order::evenly;
use trainer::data::{Dataset, Manifest, Part, Split};
use trainer::progress::Progress;
use trainer::training::gan::prepare::load_images;
use trainer::training::gan::trained::Trained;
use trainer::training::run::{RunFolder, write_atomically};

use super::failure;
use crate::cli::data;
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;
use crate::cli::steps;

/// Arguments of `gan assess`.
#[derive(Debug, Args)]
pub struct AssessArgs {
    /// Run folder, the --out of `gan train`.
    run: PathBuf,
    /// Manifest or folder of the real images: the data that the run learnt from.
    #[arg(long, value_name = "MANIFEST")]
    real: PathBuf,
    /// Judge these images instead of new ones of the generator: a manifest as `gan sample` writes it, or a folder with one
    /// folder of images a label.
    #[arg(long, value_name = "MANIFEST")]
    generated: Option<PathBuf>,
    /// Weights of the ResNet-18 whose features are compared, safetensors or .pth.
    #[arg(long)]
    weights: PathBuf,
    /// The last stage of the ResNet-18 whose features are used.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=4))]
    stages: u64,
    /// Images of each kind, at most.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(16..=20_000))]
    images: u64,
    /// Folder for the report, the sheet, the figures and the features; assess in the run folder unless given.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draws images, subsets and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Assesses; an objection is exit code 4.
///
/// # Errors
/// What ended it, or what speaks against the generator.
pub fn run(arguments: &AssessArgs, output: &Output) -> Result<(), Failure> {
    let device = steps::device(&arguments.device)?;
    let run = RunFolder::open(&arguments.run).code(Code::Usage)?;
    let trained = Trained::load(&run, device).map_err(failure)?;
    let spec = &trained.recipe.preprocess;
    let (size, channels) = (spec.size[0] as usize, usize::from(spec.channels));
    let extractor = Extractor::resnet18(&arguments.weights, arguments.stages as usize, size, channels, device)
        .code(Code::Refused)?;
    output.line(&format!("features: {}", extractor.name));
    let images = images(arguments, &run, &trained)?;
    let assessed = assess(&images, &extractor, arguments.seed)?;
    let out = arguments.out.clone().unwrap_or_else(|| run.path().join("assess"));
    std::fs::create_dir_all(&out)?;
    let (sheet, page, figures) = (out.join("nearest.png"), out.join("index.html"), out.join("assess.json"));
    report::write_sheet(&sheet, &images, &assessed)?;
    report::write_features(&out.join("features.safetensors"), &assessed)?;
    let found = &assessed.assessment;
    let title = match &arguments.generated {
        Some(images) => format!("Images of {}", images.display()),
        None => format!("Generator {} of {}", &trained.digest[..12], run.path().display()),
    };
    let text = report::page(&title, &extractor.name, found, &std::fs::read(&sheet)?);
    write_atomically(&page, text.as_bytes())?;
    let value = json!({ "record": "assessed", "generator": trained.digest, "generated": arguments.generated,
                        "features": extractor.name, "assessment": found, "report": page });
    write_atomically(&figures, serde_json::to_string_pretty(&value)?.as_bytes())?;
    output.result(
        &value,
        &format!(
            "KID {:.4} ({:.4} to {:.4}; floor {:.4}, ceiling {:.4}), FID {:.2}, precision {:.2}, recall {:.2}, \
             three-sample test {:.1}, {} copies, {} duplicates\nreport {}",
            found.kid.value,
            found.kid.low,
            found.kid.high,
            found.kid_floor.value,
            found.kid_ceiling.value,
            found.fid,
            found.precision,
            found.recall,
            found.three_sample,
            found.copies,
            found.duplicates,
            page.display()
        ),
    );
    match found.objections.as_slice() {
        [] => Ok(()),
        objections => Err(Failure::new(Code::Verification, objections.join("; "))),
    }
}

/// Generated images, those that were learnt from, and those of other patients; each label in its share of the training
/// images.
fn images(arguments: &AssessArgs, run: &RunFolder, trained: &Trained) -> Result<Images, Failure> {
    let recipe = &trained.recipe;
    let dataset = Dataset::load(&arguments.real, &recipe.data).map_err(data::failure)?;
    if dataset.digest != trained.record.data_digest {
        let message = format!(
            "{}: not the data that the run learnt from; copies could not be found",
            arguments.real.display()
        );
        return Err(Failure::new(Code::Verification, message));
    }
    let split = Split::read(&dataset, recipe.data.split.by, &run.split()).code(Code::Refused)?;
    let dataset = Arc::new(dataset);
    let wanted = |row: &usize| match &recipe.translate {
        Some(translate) => dataset.labels[dataset.samples[*row].class] == translate.to,
        None => true,
    };
    let most = arguments.images as usize;
    let some = |rows: Vec<usize>| {
        let rows: Vec<usize> = rows.into_iter().filter(wanted).collect();
        evenly(&rows, |row| dataset.samples[row].class, most, arguments.seed)
    };
    let training = some(split.rows(Part::Train));
    let unseen = some([split.rows(Part::Validation), split.rows(Part::Test)].concat());
    let load = |rows: Vec<usize>| load_images(recipe, &dataset, rows).map_err(failure);
    let generated = match (&arguments.generated, &recipe.translate) {
        (Some(images), _) => given(images, trained, most, arguments.seed)?,
        (None, None) => sampled(trained, &dataset, &training, arguments.seed)?,
        (None, Some(translate)) => {
            let is_source = |row: &usize| dataset.labels[dataset.samples[*row].class] == translate.from;
            let sources: Vec<usize> = split.rows(Part::Train).into_iter().filter(is_source).collect();
            let sources = evenly(&sources, |_| 0, most, arguments.seed);
            translated(trained, &load(sources)?)?
        }
    };
    Ok(Images {
        generated,
        training: load(training)?,
        unseen: load(unseen)?,
    })
}

/// Images that were made before, whatever their labels.
fn given(images: &Path, trained: &Trained, most: usize, seed: u64) -> Result<Tensor, Failure> {
    let manifest = Manifest::load(images).map_err(data::failure)?;
    let sample = |row: &Row| Sample {
        file: manifest.file(row),
        row: row.clone(),
        class: 0,
        expanded: None,
        generated: None,
    };
    let dataset = Dataset {
        origin: manifest.origin.clone(),
        root: manifest.root.clone(),
        labels: trained.record.labels.clone(),
        samples: manifest.rows.iter().map(sample).collect(),
        left_out: LeftOut::default(),
        digest: manifest.digest(),
    };
    let all: Vec<usize> = (0..dataset.samples.len()).collect();
    let rows = evenly(&all, |_| 0, most, seed);
    load_images(&trained.recipe, &Arc::new(dataset), rows).map_err(failure)
}

/// As many images of each label as there are real ones.
fn sampled(trained: &Trained, dataset: &Dataset, training: &[usize], seed: u64) -> Result<Tensor, Failure> {
    let counts = dataset.class_counts_of(training);
    let mut sets = Vec::new();
    for (class, count) in counts.into_iter().enumerate() {
        for from in (0..count).step_by(64) {
            // A generator without labels is asked for other numbers each time.
            let first = (class << 32 | from) as u64;
            sets.push(
                trained
                    .sample(class, first, 64.min(count - from), seed)
                    .map_err(failure)?,
            );
        }
    }
    Ok(Tensor::f_cat(&sets, 0)?)
}

fn translated(trained: &Trained, sources: &Tensor) -> Result<Tensor, Failure> {
    let mut sets = Vec::new();
    let count = sources.size()[0];
    for from in (0..count).step_by(8) {
        let batch = sources.f_narrow(0, from, 8.min(count - from))?;
        sets.push(trained.translate(&batch, None).map_err(failure)?);
    }
    Ok(Tensor::f_cat(&sets, 0)?.f_to_device(Device::Cpu)?)
}

//! `gan explain`: where discriminators look, beside each other, on the same real and generated images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use image::imageops::FilterType;
use image::{GrayImage, RgbImage};
use imaging::colormap::Colormap;
use imaging::overlay::{OverlayTable, paint, upsample_heatmap};
use imaging::preprocess::Rect;
use ndarray::{Array2, Ix2};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use trainer::autograd::parameters::array_of;
use trainer::data::order::evenly;
use trainer::data::{Dataset, Part, Split};
use trainer::explain::{ExplainError, explain_judgement};
use trainer::recipes::Model;
use trainer::report::plots::{Row, Tile, tiles};
use trainer::training::gan::discriminator::TrainedDiscriminator;
use trainer::training::gan::prepare::load_images;
use trainer::training::gan::trained::Trained;
use trainer::training::run::{RunFolder, write_atomically};

use super::failure;
use crate::cli::data;
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;
use crate::cli::steps;

/// Side of a picture on the sheet, in pixels.
const TILE: usize = 144;

/// Arguments of `gan explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Run folder, the --out of `gan train`; several, such as a pretrained discriminator beside a plain one, judge the same
    /// images.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Layer whose map is shown, such as level2 or layer3; once for all runs, or once for each. Without it the last.
    #[arg(long)]
    layer: Vec<String>,
    /// Labelled real images, a manifest or a folder; without it those of the first run's data that it did not learn from.
    #[arg(long, value_name = "MANIFEST")]
    real: Option<PathBuf>,
    /// Real images, and as many by each generator.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=16))]
    images: u64,
    /// The sheet, a PNG file, beside which the scores go as JSON; explain.png in the first run's folder unless given.
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Draws images and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// One run under explanation.
struct Side {
    name: String,
    layer: Option<String>,
    discriminator: TrainedDiscriminator,
    generator: Trained,
}

/// One image that all discriminators judge.
struct Judged {
    made_by: Option<String>,
    class: usize,
    image: Tensor,
}

/// Draws the sheet.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &ExplainArgs, output: &Output) -> Result<(), Failure> {
    let device = steps::device(&arguments.device)?;
    let sides = sides(arguments, device)?;
    let first = &sides[0];
    let mut images = real_images(arguments, &first.discriminator)?;
    let (count, real) = (arguments.images as usize, images.len());
    for side in &sides {
        images.extend(made_images(side, count, arguments.seed)?);
    }
    let labels = &first.discriminator.record.labels;
    let mut rows = vec![Row {
        name: vec!["image".to_owned()],
        tiles: images
            .iter()
            .map(|judged| shown(judged, labels))
            .collect::<Result<_, _>>()?,
    }];
    let mut scores = Vec::new();
    for side in &sides {
        let (row, of_side) = explained(side, &images)?;
        rows.push(row);
        scores.push(json!({ "run": side.name, "layer": side.layer, "scores": of_side }));
    }
    let mut groups = vec![("real".to_owned(), real)];
    groups.extend(sides.iter().map(|side| (format!("made by {}", side.name), count)));
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| arguments.runs[0].join("explain.png"));
    let title = "What speaks for an image being real, in the eyes of each discriminator";
    tiles(&out, title, &groups, &rows)?;
    let of_image = |judged: &Judged| json!({ "made_by": judged.made_by, "label": labels[judged.class] });
    let images: Vec<_> = images.iter().map(of_image).collect();
    let value = json!({ "record": "explained", "sheet": out, "images": images, "discriminators": scores });
    let figures = out.with_extension("json");
    write_atomically(&figures, serde_json::to_string_pretty(&value)?.as_bytes())?;
    output.result(
        &value,
        &format!("sheet {}, scores {}", out.display(), figures.display()),
    );
    Ok(())
}

/// The runs, which must take the same images.
fn sides(arguments: &ExplainArgs, device: Device) -> Result<Vec<Side>, Failure> {
    let (runs, layers) = (&arguments.runs, &arguments.layer);
    if !layers.is_empty() && layers.len() != 1 && layers.len() != runs.len() {
        let message = format!(
            "{} layers for {} runs; give --layer once, or once a run",
            layers.len(),
            runs.len()
        );
        return Err(Failure::new(Code::Usage, message));
    }
    let mut sides: Vec<Side> = Vec::new();
    for (number, path) in runs.iter().enumerate() {
        let run = RunFolder::open(path).code(Code::Usage)?;
        let side = Side {
            name: name_of(path),
            layer: layers.get(number).or_else(|| layers.first()).cloned(),
            discriminator: TrainedDiscriminator::load(&run, device).map_err(failure)?,
            generator: Trained::load(&run, device).map_err(failure)?,
        };
        if side.generator.model() != Model::Dcgan {
            let message = format!(
                "{}: its discriminator judges pairs of images; give runs of dcgan",
                path.display()
            );
            return Err(Failure::new(Code::Usage, message));
        }
        if let Some(first) = sides.first() {
            let of = |side: &Side| {
                (
                    side.generator.recipe.preprocess.clone(),
                    side.generator.record.labels.clone(),
                )
            };
            if of(first) != of(&side) {
                let message = format!(
                    "{} and {} do not take the same images: their recipes differ in preprocess or labels",
                    runs[0].display(),
                    path.display()
                );
                return Err(Failure::new(Code::Usage, message));
            }
        }
        sides.push(side);
    }
    Ok(sides)
}

fn name_of(run: &Path) -> String {
    let name = run.file_name().unwrap_or(run.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Real images, as evenly over the labels as they allow.
fn real_images(arguments: &ExplainArgs, trained: &TrainedDiscriminator) -> Result<Vec<Judged>, Failure> {
    let (recipe, record) = (&trained.recipe, &trained.record);
    let (dataset, rows) = match &arguments.real {
        Some(real) => {
            let dataset =
                Dataset::for_labels(real, &record.labels, &recipe.data.mapping, &[]).map_err(data::failure)?;
            let rows = (0..dataset.samples.len()).collect();
            (dataset, rows)
        }
        None => {
            let dataset = data::of_run(&record.data, &recipe.data, &record.data_digest)?;
            let run = RunFolder::open(&arguments.runs[0]).code(Code::Usage)?;
            let split = Split::read(&dataset, recipe.data.split.by, &run.split()).code(Code::Refused)?;
            let rows = [split.rows(Part::Validation), split.rows(Part::Test)].concat();
            (dataset, rows)
        }
    };
    let dataset = Arc::new(dataset);
    let class_of = |row: usize| dataset.samples[row].class;
    let mut rows = evenly(&rows, class_of, arguments.images as usize, arguments.seed);
    rows.sort_by_key(|row| class_of(*row));
    let judged = |row: usize| {
        Ok(Judged {
            made_by: None,
            class: class_of(row),
            image: load_images(recipe, &dataset, vec![row]).map_err(failure)?,
        })
    };
    rows.into_iter().map(judged).collect()
}

/// Images of a generator, the classes in turn.
fn made_images(side: &Side, count: usize, seed: u64) -> Result<Vec<Judged>, Failure> {
    let classes = side.generator.record.labels.len();
    let mut classes: Vec<usize> = (0..count).map(|number| number % classes).collect();
    classes.sort_unstable();
    let made = |(number, class): (usize, usize)| {
        let image = side.generator.sample(class, number as u64, 1, seed).map_err(failure)?;
        Ok(Judged {
            made_by: Some(side.name.clone()),
            class,
            image,
        })
    };
    classes.into_iter().enumerate().map(made).collect()
}

/// The image's row: what is judged, with its label.
fn shown(judged: &Judged, labels: &[String]) -> Result<Tile, Failure> {
    let grey = grey(&judged.image)?;
    let (height, width) = grey.dim();
    let picture = RgbImage::from_fn(width as u32, height as u32, |x, y| {
        image::Rgb([grey[[y as usize, x as usize]]; 3])
    });
    Ok(Tile {
        picture,
        caption: labels[judged.class].clone(),
    })
}

/// The mean over the channels, enlarged.
fn grey(image: &Tensor) -> Result<Array2<u8>, Failure> {
    let mean = image.f_get(0)?.f_mean_dim([0_i64].as_slice(), false, Kind::Float)?;
    let array = array_of(&mean)?.into_dimensionality::<Ix2>()?;
    let (height, width) = array.dim();
    let byte = |x: u32, y: u32| ((array[[y as usize, x as usize]].clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    let small = GrayImage::from_fn(width as u32, height as u32, |x, y| image::Luma([byte(x, y)]));
    let large = image::imageops::resize(&small, TILE as u32, TILE as u32, FilterType::CatmullRom);
    Ok(Array2::from_shape_vec((TILE, TILE), large.into_raw())?)
}

/// The row of a discriminator, and its scores.
fn explained(side: &Side, images: &[Judged]) -> Result<(Row, Vec<f64>), Failure> {
    let table = OverlayTable::new(&Colormap::viridis());
    let whole = Rect {
        left: 0.0,
        top: 0.0,
        width: TILE as f64,
        height: TILE as f64,
    };
    let (mut tiles, mut scores) = (Vec::new(), Vec::new());
    for judged in images {
        let inputs = side.discriminator.inputs(&judged.image, judged.class);
        let inputs = inputs.ok_or_else(|| Failure::new(Code::Usage, "the discriminator judges pairs of images"))?;
        let judgement = explain_judgement(&side.discriminator.network, &inputs, side.layer.as_deref());
        let judgement = judgement.map_err(|error| match error {
            ExplainError::Layer { .. } => Failure {
                code: Code::Usage,
                error: error.into(),
            },
            other => Failure::from(other),
        })?;
        let heat = upsample_heatmap(judgement.heat().view(), whole, [TILE; 2], [TILE; 2]);
        let rgb = paint(grey(&judged.image)?.view(), heat.view(), &table);
        let picture = RgbImage::from_raw(TILE as u32, TILE as u32, rgb)
            .ok_or_else(|| Failure::new(Code::Failed, "the overlay is not of the picture's size"))?;
        tiles.push(Tile {
            picture,
            caption: format!("{:+.2}", judgement.score),
        });
        scores.push(judgement.score);
    }
    let layer = side.layer.clone().unwrap_or_else(|| "last layer".to_owned());
    let name = vec![side.name.clone(), layer];
    Ok((Row { name, tiles }, scores))
}

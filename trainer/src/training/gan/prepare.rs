//! From a data set to the rounds of a game, and the real images that its sheets are compared with.

use std::sync::Arc;

use tch::Tensor;

use super::build::Shown;
use super::error::GanError;
use super::health::is_flat;
use super::noise_game::{CLASSES, SAMPLES};
use super::rounds::{ImageRounds, PairRounds, RoundSource};
use crate::data::order::{by_class, evenly};
use crate::data::{Dataset, Loader, LoaderOptions, Part, Pass, Split};
use crate::recipes::{AugmentSection, Balance, GanRecipe};
use crate::training::batches::images_tensor;

/// Training images of each label that a GAN needs at least: fewer are learnt by heart.
pub const FEWEST: usize = 8;
/// Images that a translation's sheet shows.
const TRANSLATED: usize = 16;

/// What a game learns from.
pub struct Prepared {
    /// The rounds.
    pub source: Box<dyn RoundSource>,
    /// The images of the sheets.
    pub shown: Shown,
    /// Training images by label.
    pub counts: Vec<usize>,
}

/// Loaders over the training rows of a split.
///
/// # Errors
/// Too few images of a label, images that cannot be used, or that hold nothing.
pub fn prepare(recipe: &GanRecipe, dataset: &Arc<Dataset>, split: &Split) -> Result<Prepared, GanError> {
    let rows = split.rows(Part::Train);
    let counts = dataset.class_counts_of(&rows);
    for (label, found) in dataset.labels.iter().zip(&counts) {
        if *found < FEWEST {
            return Err(GanError::TooFew {
                label: label.clone(),
                found: *found,
                needed: FEWEST,
            });
        }
    }
    let plan = Plan { recipe, dataset };
    let (source, shown): (Box<dyn RoundSource>, Shown) = match &recipe.translate {
        None => {
            let shown = evenly(&rows, plan.class_of(), SAMPLES as usize, recipe.train.seed);
            let source = ImageRounds {
                loader: plan.training(rows)?,
                balance: if recipe.generator.conditional {
                    Balance::Sampling
                } else {
                    Balance::None
                },
            };
            let groups = match recipe.generator.conditional && counts.len() <= CLASSES {
                true => by_class(&shown, plan.class_of()),
                false => vec![shown],
            };
            let references = groups.into_iter().map(|rows| plan.images(rows));
            let references = references.collect::<Result<_, _>>()?;
            (
                Box::new(source),
                Shown {
                    references,
                    sources: None,
                },
            )
        }
        Some(translate) => {
            let of = |label: &str| -> Vec<usize> {
                let wanted = |row: &usize| dataset.labels[dataset.samples[*row].class] == label;
                rows.iter().copied().filter(wanted).collect()
            };
            let (from, to) = (of(&translate.from), of(&translate.to));
            let shown = |rows: &[usize]| evenly(rows, plan.class_of(), TRANSLATED, recipe.train.seed);
            let shown = Shown {
                references: vec![plan.images(shown(&to))?],
                sources: Some(plan.images(shown(&from))?),
            };
            let source = PairRounds {
                sources: plan.training(from)?,
                images: plan.training(to)?,
            };
            (Box::new(source), shown)
        }
    };
    let kinds = shown.references.iter().chain(&shown.sources).map(is_flat);
    if kinds.collect::<Result<Vec<_>, _>>()?.contains(&true) {
        return Err(GanError::Flat);
    }
    Ok(Prepared { source, shown, counts })
}

/// These rows as one tensor `[n,C,H,W]` in [-1, 1], without augmentation.
///
/// # Errors
/// Images that cannot be used.
pub fn load_images(recipe: &GanRecipe, dataset: &Arc<Dataset>, rows: Vec<usize>) -> Result<Tensor, GanError> {
    Plan { recipe, dataset }.images(rows)
}

struct Plan<'a> {
    recipe: &'a GanRecipe,
    dataset: &'a Arc<Dataset>,
}

impl Plan<'_> {
    fn class_of(&self) -> impl Fn(usize) -> usize {
        |row| self.dataset.samples[row].class
    }

    fn options(&self, batch: usize) -> LoaderOptions {
        LoaderOptions::of(&self.recipe.data, batch, self.recipe.train.seed)
    }

    fn training(&self, rows: Vec<usize>) -> Result<Loader, GanError> {
        let (recipe, options) = (self.recipe, self.options(self.recipe.train.batch.min(rows.len())));
        let dataset = Arc::clone(self.dataset);
        let augment: &AugmentSection = &recipe.augment;
        Ok(Loader::for_training(
            dataset,
            rows,
            &recipe.preprocess,
            augment,
            options,
        )?)
    }

    /// These images, without augmentation.
    fn images(&self, rows: Vec<usize>) -> Result<Tensor, GanError> {
        let options = LoaderOptions {
            cache_bytes: 0,
            ..self.options(rows.len().max(1))
        };
        let loader = Loader::new(Arc::clone(self.dataset), rows, &self.recipe.preprocess, options)?;
        let batches = loader.batches(Pass::Evaluate, 0);
        let tensors = batches
            .map(|batch| Ok(images_tensor(&batch?.images)?))
            .collect::<Result<Vec<_>, GanError>>()?;
        Ok(Tensor::f_cat(&tensors, 0)?)
    }
}

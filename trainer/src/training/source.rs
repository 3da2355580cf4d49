//! The batches of a data set, from the loader's worker threads.

use std::sync::Arc;

use super::batches::{Batch, BatchSource, Batches};
use crate::data::order::Rare;
use crate::data::{self, DataError, Dataset, Loader, LoaderOptions, Part, Pass, Split};
use crate::recipes::{Balance, Recipe};

/// Training and validation rows of a split data set.
#[derive(Debug)]
pub struct SplitSource {
    training: Loader,
    validation: Loader,
    balance: Balance,
}

impl SplitSource {
    /// Loaders over the training and validation rows, as the recipe says.
    ///
    /// # Errors
    /// [`DataError`] for a preprocessing that cannot be done.
    pub fn new(dataset: &Arc<Dataset>, split: &Split, recipe: &Recipe) -> Result<Self, DataError> {
        let mut options = LoaderOptions::of(&recipe.data, recipe.train.batch, recipe.train.seed);
        options.rare = rare(dataset, recipe)?;
        // The budget of memory is shared by rows: each side's images are as large as the other's.
        let (mut train, validation) = (split.rows(Part::Train), split.rows(Part::Validation));
        train.retain(|row| recipe.train.rows.hold(dataset.samples[*row].row.provenance));
        let share = |rows: usize| options.cache_bytes / (train.len() + validation.len()).max(1) * rows;
        let with_cache = |cache_bytes: usize| LoaderOptions {
            cache_bytes,
            ..options.clone()
        };
        let (for_training, for_validation) = (share(train.len()), share(validation.len()));
        Ok(Self {
            training: Loader::for_training(
                Arc::clone(dataset),
                train,
                &recipe.preprocess,
                &recipe.augment,
                with_cache(for_training),
            )?,
            validation: Loader::new(
                Arc::clone(dataset),
                validation,
                &recipe.preprocess,
                with_cache(for_validation),
            )?,
            balance: recipe.train.balance,
        })
    }

    /// Images that could not be used: path and reason.
    pub fn failures(&self) -> Vec<String> {
        [self.training.failures(), self.validation.failures()].concat()
    }

    fn pass(&self, epoch: u64) -> Pass {
        Pass::Train {
            epoch,
            balance: self.balance,
        }
    }
}

/// The class that fills a share of every batch.
fn rare(dataset: &Dataset, recipe: &Recipe) -> Result<Option<Rare>, DataError> {
    let Some(section) = &recipe.train.rare else {
        return Ok(None);
    };
    let class = dataset.class_of(&section.label);
    let class = class.ok_or_else(|| DataError::NoRows {
        path: dataset.origin.clone(),
        reason: format!("train.rare names the label `{}`", section.label),
        found: dataset.labels.join(", "),
    })?;
    Ok(Some(Rare {
        class,
        share: section.share,
    }))
}

fn boxed(batches: data::Batches) -> Batches<'static> {
    Box::new(batches.map(|batch| match batch {
        Ok(data::Batch { images, labels, .. }) => Ok(Batch { images, labels }),
        Err(error) => Err(error.into()),
    }))
}

impl BatchSource for SplitSource {
    fn class_counts(&self) -> Vec<usize> {
        self.training.dataset().class_counts_of(self.training.rows())
    }

    fn training_batches(&self) -> u64 {
        self.training.batch_count(self.pass(0)) as u64
    }

    fn training(&self, epoch: u64, skip: u64) -> Batches<'_> {
        boxed(self.training.batches(self.pass(epoch), skip as usize))
    }

    fn validation_batches(&self) -> u64 {
        self.validation.batch_count(Pass::Evaluate) as u64
    }

    fn validation(&self) -> Batches<'_> {
        boxed(self.validation.batches(Pass::Evaluate, 0))
    }
}

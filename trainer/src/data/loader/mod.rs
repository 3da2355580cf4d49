//! Batches of tensors, made on worker threads with bounded memory.
//!
//! What a batch holds is a pure function of the rows, the seed, the epoch and the batch's number; how many workers
//! make it, and which of them, changes nothing. Training augments; evaluation gives what the appliance would see.

mod cache;
mod queue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use imaging::decode::{Limits, first_frame};
use imaging::grey::GreyImage;
use imaging::preprocess::PreprocessSpec;
use ndarray::Array4;

use super::augment::Augmenter;
use super::dataset::Dataset;
use super::error::DataError;
use super::order::{Rare, epoch_order, image_rng, rare_order};
use crate::recipes::{AugmentSection, Balance, DataSection};
use cache::Cache;
pub use queue::Batches;

/// Some images as one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Number of the batch in its epoch, from 0.
    pub index: usize,
    /// `[N, C, H, W]`, prepared by the recipe's [`PreprocessSpec`].
    pub images: Array4<f32>,
    /// Class of each image.
    pub labels: Vec<i64>,
    /// Index of each image in [`Dataset::samples`].
    pub rows: Vec<usize>,
}

/// How batches are made.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// Images a batch.
    pub batch: usize,
    /// Worker threads; 0: one a core.
    pub workers: usize,
    /// Memory for decoded images.
    pub cache_bytes: usize,
    /// Share of the rows that may fail.
    pub max_failed: f64,
    /// Draws order and augmentation.
    pub seed: u64,
    /// The class of [`Balance::Rare`].
    pub rare: Option<Rare>,
}

impl LoaderOptions {
    /// As the recipe's `[data]` says, with so many images a batch.
    #[must_use]
    pub fn of(data: &DataSection, batch: usize, seed: u64) -> Self {
        Self {
            batch,
            workers: data.workers,
            cache_bytes: data.cache_mib << 20,
            max_failed: data.max_failed,
            seed,
            rare: None,
        }
    }
}

/// Which pass over the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// An epoch of training: its order and augmentation follow from the seed and this number. A last batch that is
    /// not full is left out, unless it is the only one.
    Train {
        /// Number of the epoch.
        epoch: u64,
        /// Whether classes are drawn equally.
        balance: Balance,
    },
    /// Every row once, in order, without augmentation; the last batch may be smaller.
    Evaluate,
}

/// Gives batches of some rows of a data set.
#[derive(Debug, Clone)]
pub struct Loader {
    work: Arc<Work>,
}

/// What the worker threads share.
#[derive(Debug)]
pub(crate) struct Work {
    dataset: Arc<Dataset>,
    rows: Vec<usize>,
    spec: PreprocessSpec,
    augmenter: Option<Augmenter>,
    cache: Cache,
    failures: Mutex<BTreeMap<usize, String>>,
    options: LoaderOptions,
}

impl Loader {
    /// For evaluation, calibration and golden cases: `rows` index [`Dataset::samples`].
    ///
    /// # Errors
    /// The preprocessing cannot be used, or a row is the expanded copy of another.
    pub fn new(
        dataset: Arc<Dataset>,
        rows: Vec<usize>,
        spec: &PreprocessSpec,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        if let Some(sample) = rows
            .iter()
            .map(|row| &dataset.samples[*row])
            .find(|sample| sample.expanded.is_some())
        {
            return Err(DataError::Provenance {
                row: sample.row.path.clone(),
                reason: "an expanded image must not stand in an evaluation; it belongs to training".to_owned(),
            });
        }
        Self::build(dataset, rows, spec, None, options)
    }

    /// For training: [`Pass::Train`] augments.
    ///
    /// # Errors
    /// The preprocessing cannot be used.
    pub fn for_training(
        dataset: Arc<Dataset>,
        rows: Vec<usize>,
        spec: &PreprocessSpec,
        augment: &AugmentSection,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        let expanded = rows.iter().any(|row| dataset.samples[*row].expanded.is_some());
        let augments = *augment != AugmentSection::default() || expanded;
        let augmenter = augments.then(|| Augmenter::new(augment, spec));
        Self::build(dataset, rows, spec, augmenter, options)
    }

    fn build(
        dataset: Arc<Dataset>,
        rows: Vec<usize>,
        spec: &PreprocessSpec,
        augmenter: Option<Augmenter>,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        spec.check()?;
        let cache = Cache::new(options.cache_bytes);
        let failures = Mutex::new(BTreeMap::new());
        let spec = spec.clone();
        Ok(Self {
            work: Arc::new(Work {
                dataset,
                rows,
                spec,
                augmenter,
                cache,
                failures,
                options,
            }),
        })
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.work.dataset
    }

    /// The rows that this loader gives.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.work.rows
    }

    /// Number of batches of a pass.
    #[must_use]
    pub fn batch_count(&self, pass: Pass) -> usize {
        let images = self.order(pass).len();
        let batch = self.work.options.batch.max(1);
        match pass {
            Pass::Train { .. } => (images / batch).max(usize::from(images > 0)),
            Pass::Evaluate => images.div_ceil(batch),
        }
    }

    /// The batches of a pass, from number `from_batch` on (earlier ones cost nothing). Dropping the iterator stops its
    /// workers.
    #[must_use]
    pub fn batches(&self, pass: Pass, from_batch: usize) -> Batches {
        let order = self.order(pass);
        let count = self.batch_count(pass);
        Batches::start(Arc::clone(&self.work), pass, order, from_batch..count)
    }

    /// Images that could not be used so far: path and reason.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.work.lock_failures().values().cloned().collect()
    }

    fn order(&self, pass: Pass) -> Vec<usize> {
        let work = &self.work;
        match pass {
            Pass::Evaluate => work.rows.clone(),
            Pass::Train { epoch, balance } => {
                let class_of = |row: usize| work.dataset.samples[row].class;
                let seed = work.options.seed;
                match work.options.rare.filter(|_| balance == Balance::Rare) {
                    Some(rare) => rare_order(&work.rows, class_of, rare, work.options.batch, seed, epoch),
                    None => epoch_order(&work.rows, class_of, balance, seed, epoch),
                }
            }
        }
    }
}

impl Work {
    fn lock_failures(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes batch number `index` of an order.
    pub(crate) fn batch(&self, pass: Pass, order: &[usize], index: usize) -> Batch {
        let size = self.options.batch.max(1);
        let from = index * size;
        let rows = &order[from..order.len().min(from + size)];
        let [height, width] = self.spec.size.map(|side| side as usize);
        let shape = (usize::from(self.spec.channels), height, width);
        let pixels = shape.0 * shape.1 * shape.2;
        let mut images = vec![0.0_f32; rows.len() * pixels];
        let (mut labels, mut kept) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (i, &row) in rows.iter().enumerate() {
            let place = kept.len() * pixels;
            match self.tensor(pass, row, (from + i) as u64, &mut images[place..place + pixels]) {
                Ok(()) => {
                    labels.push(self.dataset.samples[row].class as i64);
                    kept.push(row);
                }
                Err(reason) => {
                    self.lock_failures().entry(row).or_insert(reason);
                }
            }
        }
        images.truncate(kept.len() * pixels);
        // The length is that of the shape by construction.
        let images = Array4::from_shape_vec((kept.len(), shape.0, shape.1, shape.2), images).unwrap_or_default();
        Batch {
            index,
            images,
            labels,
            rows: kept,
        }
    }

    /// Prepares the image at `position` of the order.
    fn tensor(&self, pass: Pass, row: usize, position: u64, tensor: &mut [f32]) -> Result<(), String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", self.dataset.samples[row].row.path);
        let prepared = match (pass, &self.augmenter) {
            (Pass::Train { epoch, .. }, Some(augmenter)) => {
                let expanded = self.dataset.samples[row].expanded;
                // All copies of an image share its place in the cache.
                let original = expanded.map_or(row, |expanded| expanded.original);
                let decoded = || self.decode(original).map(|image| augmenter.working_image(image));
                let mut image = self.cache.get(original, decoded)?;
                if let Some(expanded) = expanded {
                    image = Arc::new(augmenter.expanded(&image, expanded.transform));
                }
                let mut rng = image_rng(self.options.seed, epoch, position);
                augmenter
                    .spec()
                    .apply_into(&augmenter.augment(&image, &mut rng), tensor)
            }
            // The cache of a training loader holds reduced images, and evaluation must see what the appliance sees.
            (Pass::Evaluate, Some(_)) => self.spec.apply_into(&self.decode(row)?, tensor),
            (_, None) => self
                .spec
                .apply_into(self.cache.get(row, || self.decode(row))?.as_ref(), tensor),
        };
        prepared.map_err(|error| named(&error))
    }

    fn decode(&self, row: usize) -> Result<GreyImage, String> {
        first_frame(&self.dataset.samples[row].file, &Limits::default()).map_err(|error| error.to_string())
    }

    /// Refuses to go on when too many rows failed.
    pub(crate) fn check_failures(&self) -> Result<(), DataError> {
        let failures = self.lock_failures();
        let allowed = (self.options.max_failed * self.rows.len() as f64).ceil() as usize;
        match failures.values().next() {
            Some(first) if failures.len() > allowed => Err(DataError::TooManyFailed {
                failed: failures.len(),
                total: self.rows.len(),
                limit: self.options.max_failed,
                first: first.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Threads to start.
    pub(crate) fn workers(&self) -> usize {
        match self.options.workers {
            0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            workers => workers,
        }
    }
}

#[cfg(test)]
mod tests;

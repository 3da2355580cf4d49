//! The stages of a recipe, one after another, each in a run folder of its own below the run's.
//!
//! ```text
//! RUN/stages/<name>/                  a run as any other: it can be exported, explained, fused elsewhere
//! RUN/checkpoints/members.safetensors first weights of a fusion, put together of its members'
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use tch::Device;

use super::batches::BatchSource;
use super::classifier::{self, Outcome, Task};
use super::error::TrainError;
use super::network::NetworkError;
use super::run::{FirstWeights, RunError, RunFolder, RunRecord};
use super::source::SplitSource;
use super::weights::Taken;
use super::{fusion, network};
use crate::data::{Dataset, Split};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::recipes::{NetworkSection, Recipe};

/// A recipe with stages, under way in a run folder.
#[derive(Debug)]
pub struct Course<'a> {
    /// The whole recipe.
    pub recipe: &'a Recipe,
    /// The record of the main training: data, labels, seed, and the files of first weights.
    pub record: &'a RunRecord,
    /// The folder of the main training.
    pub run: &'a RunFolder,
    /// The images.
    pub dataset: &'a Arc<Dataset>,
    /// Their sides, the same in every stage.
    pub split: &'a Split,
    /// Device.
    pub device: Device,
}

impl Course<'_> {
    /// Trains what is not trained of the stages, then the main training, from where each stands. `source` gives the
    /// main training's batches.
    ///
    /// # Errors
    /// [`TrainError`] of the training that failed.
    pub fn train(
        &self,
        source: &SplitSource,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Outcome, TrainError> {
        let resume = self.run.last_checkpoint().is_file();
        let mut weights = None;
        if !resume {
            if !self.train_stages(progress, interrupt)? {
                return Ok(Outcome::interrupted_before());
            }
            weights = self.weights(&self.recipe.network, None, self.run)?;
        }
        let task = Task {
            recipe: self.recipe,
            run: self.run,
            record: RunRecord {
                device: format!("{:?}", self.device),
                ..self.record.clone()
            },
            weights: weights.as_deref(),
            device: self.device,
            resume,
        };
        classifier::train(task, source, progress, interrupt)
    }

    /// Trains every stage that is not finished, from where it stands. Says whether all came to their end; not if
    /// `interrupt` was raised.
    ///
    /// # Errors
    /// [`TrainError`] of the stage that failed.
    fn train_stages(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<bool, TrainError> {
        for (number, stage) in self.recipe.stages.iter().enumerate() {
            let Some(mut recipe) = self.recipe.of_stage(number) else {
                continue;
            };
            let source = SplitSource::new(self.dataset, self.split, &recipe)
                .map_err(|error| TrainError::Source(error.into()))?;
            recipe.train.epochs = recipe.train.epochs_within(source.training_batches() as usize);
            let (run, resume) = self.folder(&stage.name, &recipe)?;
            let weights = match resume {
                true => None,
                false => self.weights(&recipe.network, Some(&stage.name), &run)?,
            };
            progress.line(&format!("stage {}: {}", stage.name, recipe.network.architecture));
            let record = RunRecord {
                seed: recipe.train.seed,
                device: format!("{:?}", self.device),
                weights: weights.clone().map(|path| FirstWeights {
                    path,
                    taken: Taken::default(),
                }),
                ..self.record.clone()
            };
            let task = Task {
                recipe: &recipe,
                run: &run,
                record,
                weights: weights.as_deref(),
                device: self.device,
                resume,
            };
            if classifier::train(task, &source, progress, interrupt)?.interrupted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// File of the first weights of a training, once the stages that it begins with are trained; none if it has none.
    fn weights(
        &self,
        network: &NetworkSection,
        stage: Option<&str>,
        run: &RunFolder,
    ) -> Result<Option<PathBuf>, TrainError> {
        let given = |member| self.record.weights_of(stage, member).cloned();
        if let Some(name) = &network.begin {
            return Ok(Some(self.run.stage(name).best_checkpoint()));
        }
        let Some(section) = network.fusion.as_ref().filter(|_| network.weights.is_none()) else {
            return Ok(given(None));
        };
        let members = section
            .members
            .iter()
            .enumerate()
            .filter_map(|(number, member)| match &member.stage {
                Some(name) => Some(self.run.stage(name).best_checkpoint()),
                None => given(Some(number)),
            });
        let members: Vec<PathBuf> = members.collect();
        let recipe = Recipe {
            network: network.clone(),
            ..self.recipe.clone()
        };
        let graph = network::build(&recipe, self.record.labels.len()).map_err(NetworkError::from)?;
        let path = run.members();
        fusion::join(&graph, &members, &path)?;
        Ok(Some(path))
    }

    /// The run folder of a stage, and whether it has a checkpoint to go on from.
    fn folder(&self, name: &str, recipe: &Recipe) -> Result<(RunFolder, bool), TrainError> {
        let run = self.run.stage(name);
        if run.last_checkpoint().is_file() {
            return Ok((run, true));
        }
        // What a stop before the first checkpoint left is made anew.
        if run.path().exists() {
            std::fs::remove_dir_all(run.path()).map_err(|source| RunError::File {
                path: run.path().to_owned(),
                source,
            })?;
        }
        let run = RunFolder::create(run.path(), recipe)?;
        let by = recipe.data.split.by;
        self.split
            .write(self.dataset, by, &run.split())
            .map_err(|error| TrainError::Source(error.into()))?;
        Ok((run, false))
    }
}

/// Whether the stages of a recipe and its main training can begin, as far as files that are there can tell: networks,
/// frozen parts, and first weights.
///
/// # Errors
/// [`NetworkError`], as training itself would end with.
pub fn check(recipe: &Recipe, record: &RunRecord) -> Result<(), NetworkError> {
    let classes = record.labels.len();
    let stages = recipe
        .stages
        .iter()
        .enumerate()
        .filter_map(|(n, stage)| Some((recipe.of_stage(n)?, Some(stage.name.as_str()))));
    for (recipe, stage) in stages.chain([(recipe.clone(), None)]) {
        let weights = record
            .weights_of(stage, None)
            .filter(|_| recipe.network.begin.is_none());
        network::check(&recipe, classes, weights.map(PathBuf::as_path))?;
        let graph = network::build(&recipe, classes)?;
        let members = recipe
            .network
            .fusion
            .iter()
            .flat_map(|fusion| fusion.members.iter().enumerate());
        for (number, _) in members {
            if let Some(file) = record.weights_of(stage, Some(number)) {
                fusion::member_tensors(&graph, number, file)?;
            }
        }
    }
    Ok(())
}

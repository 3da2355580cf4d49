//! Fine-tuning: a run that begins where an earlier one ended.
//!
//! It begins with the parameters of the earlier run's best epoch. An image that the earlier run knew stays on its side of
//! the split: what that network learnt from must not judge the new one. If only the last layer learns, the images that
//! calibrated the earlier run's 8-bit file calibrate this one's, so that all quantized layers come out byte for byte as
//! they were, and an update over a serial line carries hardly more than the last layer.

use std::path::{Path, PathBuf};

use onnx::graph::{Graph, GraphError, Stage};
use serde::{Deserialize, Serialize};

use super::network::{self, NetworkError};
use super::run::{RunError, RunFolder, RunRecord};
use crate::autograd::Mode;
use crate::recipes::{NetworkSection, Recipe};

/// The earlier run.
#[derive(Debug, Clone)]
pub struct Base {
    folder: RunFolder,
    /// Its recipe.
    pub recipe: Recipe,
    /// Its record.
    pub record: RunRecord,
}

/// What `run.json` keeps of the earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FineTuning {
    /// Folder of the earlier run, absolute.
    pub run: PathBuf,
    /// Images that calibrated its 8-bit file, where this one's quantized layers are the same; else none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration_images: Vec<String>,
}

impl Base {
    /// Opens a run that has a best epoch.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let folder = RunFolder::open(&absolute(path)?)?;
        if !folder.best_checkpoint().is_file() {
            return Err(RunError::NoRun {
                path: path.to_owned(),
                missing: "checkpoints/best.safetensors",
            });
        }
        Ok(Self {
            recipe: folder.recipe()?,
            record: folder.record()?,
            folder,
        })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Lets a recipe begin with this run's parameters, whatever weights it names.
    pub fn begin(&self, recipe: &mut Recipe) {
        recipe.network.weights = Some(self.folder.best_checkpoint());
        recipe.network.take = Vec::new();
        // Its checkpoint holds what its stages and members gave.
        recipe.network.begin = None;
        recipe.stages = Vec::new();
        for member in recipe.network.fusion.iter_mut().flat_map(|fusion| &mut fusion.members) {
            (member.stage, member.weights) = (None, None);
        }
    }

    /// What a run of `recipe` for `classes` keeps in mind of this one.
    ///
    /// # Errors
    /// The network cannot be built, or a file of this run cannot be read.
    pub fn fine_tuning(&self, recipe: &Recipe, classes: usize) -> Result<FineTuning, NetworkError> {
        let graph = network::build(recipe, classes)?;
        let same = recipe.network.architecture == self.recipe.network.architecture
            && only_head_learns(&recipe.network, &graph, recipe.train.epochs)?;
        let calibration_images = match same {
            true => self.folder.calibration_images().unwrap_or_default(),
            false => Vec::new(),
        };
        Ok(FineTuning {
            run: self.folder.path().to_owned(),
            calibration_images,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, RunError> {
    std::path::absolute(path).map_err(|source| RunError::File {
        path: path.to_owned(),
        source,
    })
}

/// The stages to freeze so that only the last layer learns.
///
/// # Errors
/// The network is no classifier.
pub fn all_but_head(graph: &Graph) -> Result<Vec<String>, GraphError> {
    let last = last_stage(graph)?;
    let others = graph.stages().iter().filter(|stage| stage.name != last.name);
    Ok(others.map(|stage| stage.name.clone()).collect())
}

/// The stage of the last layer: of a fusion, the members' linear layers and the ratio.
fn last_stage(graph: &Graph) -> Result<&Stage, GraphError> {
    let linear = &graph.classifier()?.linear;
    let mut stages = graph.stages().iter();
    stages
        .find(|stage| stage.contains(linear))
        .ok_or_else(|| GraphError::UnknownName {
            graph: graph.name().to_owned(),
            name: linear.clone(),
        })
}

/// Whether nothing but the last layer changes in any of the epochs.
fn only_head_learns(section: &NetworkSection, graph: &Graph, epochs: usize) -> Result<bool, NetworkError> {
    let last = last_stage(graph)?;
    // Parts thaw once, if they do.
    let modes = network::training_modes(section, graph, epochs.saturating_sub(1) as u64)?;
    let mut others = graph
        .parameters()
        .iter()
        .filter(|parameter| !last.contains(&parameter.name));
    Ok(others.all(|parameter| modes.of(&parameter.name) == Mode::Frozen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_alone_learns_where_all_else_is_frozen_to_the_end() {
        let mut recipe = Recipe::load("phantom-demo").unwrap();
        let graph = network::build(&recipe, 3).unwrap();
        let learns = |recipe: &Recipe, epochs| only_head_learns(&recipe.network, &graph, epochs).unwrap();
        recipe.network.freeze = Vec::new();
        assert!(!learns(&recipe, 5));
        recipe.network.freeze = all_but_head(&graph).unwrap();
        assert!(learns(&recipe, 5));
        recipe.network.unfreeze_after_epochs = Some(5);
        assert!(learns(&recipe, 5) && !learns(&recipe, 6));
        recipe.network.unfreeze_after_epochs = None;
        recipe.network.freeze.remove(0);
        assert!(!learns(&recipe, 5));
    }
}

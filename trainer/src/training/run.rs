//! The run folder: everything that a training run leaves behind, and what a later one needs to repeat it.
//!
//! ```text
//! RUN/recipe.toml                 the recipe, as it ran
//!     run.json                    seed, data digest, versions, git revision, device, weights taken, best epoch
//!     split.csv                   which row stood on which side
//!     metrics.jsonl               figures, a line an epoch
//!     events.out.tfevents.*       the same for TensorBoard
//!     checkpoints/best.safetensors    parameters of the best epoch, torchvision's names
//!     checkpoints/last.safetensors    the whole state, to resume from
//!     plots/*.png                 loss, accuracy, learning rate
//!     stages/<name>/                  a run folder for each stage of the recipe
//!     calibration_images.txt      images that calibrated the 8-bit file, a line each
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::base::FineTuning;
use super::weights::Taken;
use crate::recipes::{self, GanRecipe, Recipe, RecipeError};
use crate::replace::replace;

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Something stands in the folder already.
    #[error("run folder {path}: not empty; give --resume to go on with it, or another folder", path = path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is none of ours.
    #[error("run folder {path}: {missing} is missing; is this the --out of a training run?", path = path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// Input and output.
    #[error("run folder: {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason of the operating system.
        source: std::io::Error,
    },
    /// A file of the folder cannot be understood.
    #[error("run folder: {path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The recipe of the run.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
    /// Manifest or folder that the images came from, absolute.
    pub data: PathBuf,
    /// SHA-256 of the manifest, in hex.
    pub data_digest: String,
    /// The model's labels in the order of its outputs.
    pub labels: Vec<String>,
    /// Training, validation and test rows.
    pub rows: [usize; 3],
    /// Revision of the source tree, if there is one; `-dirty` behind it where files were changed.
    pub git_revision: Option<String>,
    /// Versions by name: `scanside-trainer`, `libtorch`.
    pub versions: BTreeMap<String, String>,
    /// Device that trained.
    pub device: String,
    /// Numbers that the optimizer could change.
    pub trainable_elements: usize,
    /// First weights and what was taken of them, which is nothing until training has begun; none from scratch.
    pub weights: Option<FirstWeights>,
    /// Files of first weights of the recipe's stages and of fused networks, by [`weights_key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stage_weights: BTreeMap<String, PathBuf>,
    /// The run that this one goes on from, if it is a fine-tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tuning: Option<FineTuning>,
    /// Whole epochs done.
    pub epochs_done: u64,
    /// Epoch (from 1) that `best.safetensors` holds.
    pub best_epoch: Option<u64>,
    /// Its validation figure.
    pub best_value: Option<f64>,
}

/// Under what name a run keeps in mind the file of first weights of a stage (none: of the main training), or of a
/// member of its fusion: `resnet18`, `members.0`, `resnet18/members.0`.
#[must_use]
pub fn weights_key(stage: Option<&str>, member: Option<usize>) -> String {
    let member = member.map(onnx::networks::fusion::member_path);
    let parts: Vec<&str> = stage.into_iter().chain(member.as_deref()).collect();
    parts.join("/")
}

impl RunRecord {
    /// File of first weights that the recipe names for a stage (none: for the main training), or for a member of its
    /// fusion.
    #[must_use]
    pub fn weights_of(&self, stage: Option<&str>, member: Option<usize>) -> Option<&PathBuf> {
        match (stage, member) {
            (None, None) => self.weights.as_ref().map(|weights| &weights.path),
            _ => self.stage_weights.get(&weights_key(stage, member)),
        }
    }
}

/// Where the first weights came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstWeights {
    /// The file.
    pub path: PathBuf,
    /// What was taken.
    #[serde(flatten)]
    pub taken: Taken,
}

/// A run folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new run folder and writes the recipe into it.
    ///
    /// # Errors
    /// [`RunError::NotEmpty`], or input and output.
    pub fn create(path: &Path, recipe: &impl Serialize) -> Result<Self, RunError> {
        Self::check_free(path)?;
        let run = Self { path: path.to_owned() };
        for folder in ["checkpoints", "plots"] {
            let folder = path.join(folder);
            std::fs::create_dir_all(&folder).map_err(|source| RunError::File { path: folder, source })?;
        }
        write_atomically(&run.recipe_path(), recipes::to_toml(recipe)?.as_bytes())?;
        Ok(run)
    }

    /// Whether a new run folder can be made here: nothing is there yet, or an empty folder.
    ///
    /// # Errors
    /// [`RunError::NotEmpty`], or input and output.
    pub fn check_free(path: &Path) -> Result<(), RunError> {
        let file = |source| RunError::File {
            path: path.to_owned(),
            source,
        };
        match path.exists() && std::fs::read_dir(path).map_err(file)?.next().is_some() {
            true => Err(RunError::NotEmpty { path: path.to_owned() }),
            false => Ok(()),
        }
    }

    /// Opens the folder of an earlier run.
    ///
    /// # Errors
    /// [`RunError::NoRun`] where there is none.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let run = Self { path: path.to_owned() };
        if !run.recipe_path().is_file() {
            return Err(RunError::NoRun {
                path: path.to_owned(),
                missing: "recipe.toml",
            });
        }
        Ok(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `recipe.toml`.
    pub fn recipe_path(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// `run.json`.
    pub fn record_path(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// `split.csv`.
    pub fn split(&self) -> PathBuf {
        self.path.join("split.csv")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The parameters of the best epoch.
    pub fn best_checkpoint(&self) -> PathBuf {
        self.path.join("checkpoints/best.safetensors")
    }

    /// The parameters of a generator.
    pub fn generator(&self) -> PathBuf {
        self.path.join("checkpoints/generator.safetensors")
    }

    /// The parameters of a discriminator.
    pub fn discriminator(&self) -> PathBuf {
        self.path.join("checkpoints/discriminator.safetensors")
    }

    /// First weights of a fusion, put together of its members'.
    pub fn members(&self) -> PathBuf {
        self.path.join("checkpoints/members.safetensors")
    }

    /// The run folder of a stage.
    pub fn stage(&self, name: &str) -> Self {
        Self {
            path: self.path.join("stages").join(name),
        }
    }

    /// Folder of the sheets of samples.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// The whole state after the last epoch or interruption.
    pub fn last_checkpoint(&self) -> PathBuf {
        self.path.join("checkpoints/last.safetensors")
    }

    /// `calibration_images.txt`.
    pub fn calibration_images_path(&self) -> PathBuf {
        self.path.join("calibration_images.txt")
    }

    /// The images that calibrated the run's 8-bit file, as the manifest names them.
    ///
    /// # Errors
    /// There is none yet, or it cannot be read.
    pub fn calibration_images(&self) -> Result<Vec<String>, RunError> {
        let path = self.calibration_images_path();
        let text = std::fs::read_to_string(&path).map_err(|source| RunError::File { path, source })?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Keeps in mind which images calibrated the run's 8-bit file.
    ///
    /// # Errors
    /// Input and output.
    pub fn write_calibration_images<'a>(&self, images: impl Iterator<Item = &'a str>) -> Result<(), RunError> {
        let text: String = images.flat_map(|image| [image, "\n"]).collect();
        write_atomically(&self.calibration_images_path(), text.as_bytes())
    }

    /// Folder of the plots.
    pub fn plots(&self) -> PathBuf {
        self.path.join("plots")
    }

    /// The recipe that ran.
    ///
    /// # Errors
    /// The file cannot be read or was changed into something that is no recipe.
    pub fn recipe(&self) -> Result<Recipe, RunError> {
        Ok(Recipe::load(&self.recipe_path().to_string_lossy())?)
    }

    /// The recipe of a generative run.
    ///
    /// # Errors
    /// As [`RunFolder::recipe`].
    pub fn gan_recipe(&self) -> Result<GanRecipe, RunError> {
        Ok(GanRecipe::load(&self.recipe_path().to_string_lossy())?)
    }

    /// What `run.json` says of a classifier.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn record(&self) -> Result<RunRecord, RunError> {
        self.read_record()
    }

    /// What `run.json` says, as that kind of run writes it.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn read_record<R: DeserializeOwned>(&self) -> Result<R, RunError> {
        let path = self.record_path();
        if !path.is_file() {
            return Err(RunError::NoRun {
                path: self.path.clone(),
                missing: "run.json",
            });
        }
        let text = std::fs::read_to_string(&path).map_err(|source| RunError::File {
            path: path.clone(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|error| RunError::Malformed {
            path,
            reason: error.to_string(),
        })
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// Input and output.
    pub fn write_record(&self, record: &impl Serialize) -> Result<(), RunError> {
        let path = self.record_path();
        let text = serde_json::to_string_pretty(record).map_err(|error| RunError::Malformed {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        write_atomically(&path, text.as_bytes())
    }
}

/// Writes the file beside its place and renames it, so that a reader sees the old content or the new.
///
/// # Errors
/// Input and output; the old content then stands.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), RunError> {
    replace(path, |file, _| file.write_all(content)).map_err(|source| RunError::File {
        path: path.to_owned(),
        source,
    })
}

/// Versions of the programs that a run depends on.
pub fn versions() -> BTreeMap<String, String> {
    let versions = [
        ("scanside-trainer", env!("CARGO_PKG_VERSION")),
        ("libtorch", env!("SCANSIDE_LIBTORCH_VERSION")),
    ];
    versions
        .into_iter()
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

/// The git revision of the sources that this program was built from, with `-dirty` if they were changed since; none if
/// they lay in no repository of their own.
pub fn git_revision() -> Option<String> {
    option_env!("SCANSIDE_GIT_REVISION").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_planted_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let of_another = folder.path().join("of-another");
        std::fs::write(&of_another, "precious").unwrap();
        for name in ["run.part", "run.json.part"] {
            symlink(&of_another, folder.path().join(name)).unwrap();
        }
        write_atomically(&folder.path().join("run.json"), b"{}").unwrap();
        assert_eq!(std::fs::read(folder.path().join("run.json")).unwrap(), b"{}");
        assert_eq!(std::fs::read(&of_another).unwrap(), b"precious");
    }

    #[test]
    fn a_file_is_as_readable_as_any_other_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, plain] = ["ours.json", "plain.json"].map(|name| folder.path().join(name));
        write_atomically(&ours, b"{}").unwrap();
        std::fs::write(&plain, b"{}").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
        let folder_in_its_place = folder.path().join("folder.json");
        std::fs::create_dir(&folder_in_its_place).unwrap();
        write_atomically(&folder_in_its_place, b"{}").unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}

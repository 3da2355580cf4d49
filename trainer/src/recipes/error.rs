//! What can be wrong with a recipe, and the range checks that say so.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Why a recipe is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("recipe {path}: cannot be read ({source}); give the path of a TOML file or one of: {shipped}", path = path.display())]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// The reason of the operating system.
        source: std::io::Error,
        /// Names of the recipes that ship with the program.
        shipped: String,
    },
    /// Not TOML, an unknown key, a key that is missing, or a value of the wrong type.
    #[error("recipe {path}: {message}", path = path.display())]
    Malformed {
        /// The recipe.
        path: PathBuf,
        /// Line, key and allowed values.
        message: String,
    },
    /// A value outside its range.
    #[error("recipe {path}: {key} = {value} is not allowed; allowed: {allowed}", path = path.display())]
    NotAllowed {
        /// The recipe.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// What stands there.
        value: String,
        /// What may stand there.
        allowed: String,
    },
    /// The weights that the recipe names are in none of the places.
    #[error("recipe {path}: network.weights = {weights} is in none of: {places}; put the file there or give an absolute path", path = path.display(), weights = weights.display(), places = list(places))]
    NoWeights {
        /// The recipe.
        path: PathBuf,
        /// The name in the recipe.
        weights: PathBuf,
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// The recipe cannot be written as TOML.
    #[error("the recipe cannot be written as TOML: {message}")]
    Unwritable {
        /// The reason.
        message: String,
    },
}

fn list(places: &[PathBuf]) -> String {
    let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    shown.join(", ")
}

/// The file that refusals name.
pub(crate) struct Origin<'a> {
    /// The recipe.
    pub path: &'a Path,
}

impl Origin<'_> {
    /// A refusal of `value` at `key`.
    pub fn not_allowed(&self, key: &str, value: impl Display, allowed: impl Into<String>) -> RecipeError {
        RecipeError::NotAllowed {
            path: self.path.to_owned(),
            key: key.to_owned(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// Refuses a `value` outside `low..=high`, and every NaN.
    pub fn within(&self, key: &str, value: f64, low: f64, high: f64) -> Result<(), RecipeError> {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(self.not_allowed(key, value, format!("{low} to {high}")))
    }

    /// Refuses a count outside `low..=high`.
    pub fn count(&self, key: &str, value: usize, low: usize, high: usize) -> Result<(), RecipeError> {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(self.not_allowed(key, value, format!("{low} to {high}")))
    }
}

//! Recipes: one TOML file says how a model is made, from labels to the bundle's words.
//!
//! Every section is a type of its own file; unknown keys are refused, values are checked,
//! and each message names the file, the key and what is allowed. A recipe is named by its
//! path, or by the name of one that ships with the program (`phantom-demo`, ...).
//!
//! ```toml
//! [data]
//! labels = ["normal", "consolidation"]
//! [preprocess]            # imaging::PreprocessSpec, as it will stand in the bundle
//! size = `[128, 128]`
//! [network]
//! architecture = "small_cnn"
//! [bundle]
//! name = "phantom-demo"
//! ```

mod bundle;
mod data;
mod error;
mod gan;
mod network;
mod quantize;
mod stages;
mod train;

pub use bundle::{BundleSection, IntendedUseSection, Measure, OperatingPointSection, label_id};
pub use data::{AugmentSection, DataSection, GeneratedSection, SplitBy, SplitFractions, SplitSection};
pub use error::RecipeError;
pub use gan::{
    Critic, DiscriminatorSection, GanRecipe, GanTrainSection, GeneratorSection, Model, SHIPPED_GANS, TranslateSection,
};
pub use network::{Architecture, FusionRatio, FusionSection, MemberSection, NetworkSection};
pub use quantize::{CalibrationMethod, GateSection, QuantizeSection};
pub use stages::StageSection;
pub use train::{
    Balance, EarlyStopping, OptimizerKind, Precision, RareSection, Rows, Schedule, TrainSection, WatchedMetric,
};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::preprocess::PreprocessSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::training::run::weights_key;

/// The recipes that ship with the program, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("folder", include_str!("../../recipes/folder.toml")),
    ("folder-quick", include_str!("../../recipes/folder-quick.toml")),
    ("phantom-demo", include_str!("../../recipes/phantom-demo.toml")),
    ("phantom-pointing", include_str!("../../recipes/phantom-pointing.toml")),
    ("two-stage", include_str!("../../recipes/two-stage.toml")),
    ("xray-3class", include_str!("../../recipes/xray-3class.toml")),
    ("xray-covidnet", include_str!("../../recipes/xray-covidnet.toml")),
    ("xray-fusion", include_str!("../../recipes/xray-fusion.toml")),
    (
        "xray-fusion-101-152",
        include_str!("../../recipes/xray-fusion-101-152.toml"),
    ),
    ("xray-translated", include_str!("../../recipes/xray-translated.toml")),
];

/// A whole recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Which rows count, what they are called, how they are split and cached.
    #[serde(default)]
    pub data: DataSection,
    /// How an image becomes the network's tensor; goes into the bundle unchanged.
    pub preprocess: PreprocessSpec,
    /// What training does to its images before `preprocess`.
    #[serde(default)]
    pub augment: AugmentSection,
    /// Trainings that come before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageSection>,
    /// The network and where its first weights come from.
    pub network: NetworkSection,
    /// Optimisation.
    #[serde(default)]
    pub train: TrainSection,
    /// Static INT8 quantization.
    #[serde(default)]
    pub quantize: QuantizeSection,
    /// What quantization may cost at most.
    #[serde(default)]
    pub gate: GateSection,
    /// Where the decision threshold is put.
    #[serde(default)]
    pub operating_point: OperatingPointSection,
    /// Name, version, role and intended use of the bundle.
    pub bundle: BundleSection,
}

impl Recipe {
    /// Loads a recipe by the path of a file or by the name of a shipped one.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or has a value that is not allowed.
    pub fn load(name_or_path: &str) -> Result<Self, RecipeError> {
        let path = Path::new(name_or_path);
        Self::parse(&text_of(path, SHIPPED)?, path)
    }

    /// Reads a recipe from text; `origin` is the file that messages name.
    ///
    /// # Errors
    /// As [`Recipe::load`], without the reading.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, RecipeError> {
        let recipe: Self = parsed(text, origin)?;
        recipe.check(origin)?;
        Ok(recipe)
    }

    /// The recipe as TOML, as it is saved in a run folder.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        to_toml(self)
    }

    /// Checks every value against its range and the sections against each other.
    ///
    /// # Errors
    /// [`RecipeError::NotAllowed`], naming `origin`, the key and the allowed values.
    pub fn check(&self, origin: &Path) -> Result<(), RecipeError> {
        let at = error::Origin { path: origin };
        self.data.check(&at)?;
        self.preprocess
            .check()
            .map_err(|error| at.not_allowed("preprocess", "this section", error.to_string()))?;
        self.augment.check(&at)?;
        self.network.check(&at)?;
        self.train.check(&at)?;
        self.check_stages(&at)?;
        self.quantize.check(&at)?;
        self.gate.check(&at)?;
        self.operating_point.check(&at, &self.data.labels)?;
        self.bundle.check(&at)
    }

    /// Where the first weights lie: a relative path in the recipe is looked for beside the
    /// recipe file, then beside the data (the manifest's folder), then in the working directory.
    ///
    /// # Errors
    /// The recipe names weights that are in none of these places; the message lists them.
    pub fn find_weights(&self, recipe_path: &Path, data_root: &Path) -> Result<Option<PathBuf>, RecipeError> {
        find_weights(self.network.weights.as_deref(), recipe_path, data_root)
    }

    /// Where the first weights of the stages lie, and those of fused networks, by [`weights_key`].
    ///
    /// # Errors
    /// As [`Recipe::find_weights`].
    pub fn find_stage_weights(
        &self,
        recipe_path: &Path,
        data_root: &Path,
    ) -> Result<BTreeMap<String, PathBuf>, RecipeError> {
        let mut found = BTreeMap::new();
        let stages = self.stages.iter().enumerate();
        let stages =
            stages.filter_map(|(number, stage)| Some((Some(stage.name.as_str()), self.of_stage(number)?.network)));
        for (stage, network) in stages.chain([(None, self.network.clone())]) {
            let own = (None, network.weights.as_deref().filter(|_| stage.is_some()));
            let members = network.fusion.iter().flat_map(|fusion| &fusion.members).enumerate();
            let members = members.map(|(number, member)| (Some(number), member.weights.as_deref()));
            for (member, weights) in std::iter::once(own).chain(members) {
                if let Some(path) = find_weights(weights, recipe_path, data_root)? {
                    found.insert(weights_key(stage, member), path);
                }
            }
        }
        Ok(found)
    }
}

/// The text of a recipe: of a file, or of a shipped one by its name.
fn text_of(path: &Path, shipped: &[(&str, &str)]) -> Result<String, RecipeError> {
    if !path.is_file()
        && let Some((_, text)) = shipped.iter().find(|(name, _)| Path::new(name) == path)
    {
        return Ok((*text).to_owned());
    }
    std::fs::read_to_string(path).map_err(|source| RecipeError::Unreadable {
        path: path.to_owned(),
        source,
        shipped: shipped.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
    })
}

fn parsed<R: DeserializeOwned>(text: &str, origin: &Path) -> Result<R, RecipeError> {
    toml::from_str(text).map_err(|error| RecipeError::Malformed {
        path: origin.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

/// A recipe as TOML, as it is saved in a run folder.
///
/// # Errors
/// A value that TOML cannot hold.
pub fn to_toml(recipe: &impl Serialize) -> Result<String, RecipeError> {
    toml::to_string_pretty(recipe).map_err(|error| RecipeError::Unwritable {
        message: error.to_string(),
    })
}

/// Where first weights lie: a relative path is looked for beside the recipe file, then beside the data (the manifest's
/// folder), then in the working directory.
///
/// # Errors
/// They are in none of these places; the message lists them.
pub fn find_weights(
    weights: Option<&Path>,
    recipe_path: &Path,
    data_root: &Path,
) -> Result<Option<PathBuf>, RecipeError> {
    let Some(weights) = weights else {
        return Ok(None);
    };
    let beside_recipe = recipe_path.parent().unwrap_or(Path::new("")).join(weights);
    let places = [beside_recipe, data_root.join(weights), weights.to_owned()];
    match places.iter().find(|place| place.is_file()) {
        Some(found) => Ok(Some(found.clone())),
        None => Err(RecipeError::NoWeights {
            path: recipe_path.to_owned(),
            weights: weights.to_owned(),
            places: places.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Recipe {
        Recipe::load("phantom-demo").unwrap()
    }

    #[test]
    fn every_shipped_recipe_is_valid() {
        for (name, _) in SHIPPED {
            let recipe = Recipe::load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                !recipe.bundle.intended_use.words.is_empty(),
                "{name} says no intended use"
            );
        }
    }

    #[test]
    fn a_recipe_survives_being_saved() {
        for (name, _) in SHIPPED {
            let recipe = Recipe::load(name).unwrap();
            let saved = recipe.to_toml().unwrap();
            assert_eq!(Recipe::parse(&saved, Path::new("saved")).unwrap(), recipe, "{name}");
        }
    }

    fn refusal(from: &str, to: &str) -> String {
        let (_, text) = SHIPPED.iter().find(|(name, _)| *name == "phantom-demo").unwrap();
        assert!(text.contains(from), "the test edits `{from}`, which is gone");
        let error = Recipe::parse(&text.replacen(from, to, 1), Path::new("mine.toml")).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_refusal_names_file_key_and_allowed_values() {
        let unknown_key = refusal("[train]\n", "[train]\nlerning_rate = 1\n");
        for part in ["mine.toml", "lerning_rate", "learning_rate"] {
            assert!(unknown_key.contains(part), "{part} is not in: {unknown_key}");
        }
        let unknown_value = refusal("\"small_cnn\"", "\"resnet17\"");
        for part in ["mine.toml", "resnet17", "resnet18", "small_cnn"] {
            assert!(unknown_value.contains(part), "{part} is not in: {unknown_value}");
        }
        let out_of_range = refusal("label_smoothing = 0.02", "label_smoothing = 1.5");
        for part in ["mine.toml", "train.label_smoothing", "1.5", "0 to"] {
            assert!(out_of_range.contains(part), "{part} is not in: {out_of_range}");
        }
    }

    #[test]
    fn no_finding_must_be_one_of_the_labels() {
        let mut recipe = demo();
        recipe.operating_point.no_finding = Some("healthy".into());
        let message = recipe.check(Path::new("mine.toml")).unwrap_err().to_string();
        assert!(message.contains("operating_point.no_finding") && message.contains("normal"));
    }

    #[test]
    fn weights_are_found_beside_the_data_and_missing_ones_list_the_places() {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = demo();
        recipe.network.weights = Some("weights/first.safetensors".into());
        let absent = recipe.find_weights(Path::new("recipes/a.toml"), folder.path());
        let message = absent.unwrap_err().to_string();
        assert!(message.contains("recipes/weights/first.safetensors"), "{message}");
        let place = folder.path().join("weights/first.safetensors");
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, b"x").unwrap();
        let found = recipe.find_weights(Path::new("recipes/a.toml"), folder.path()).unwrap();
        assert_eq!(found, Some(place));
    }
}

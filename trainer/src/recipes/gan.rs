//! Recipes of generative networks: `gan train` reads one of these.
//!
//! ```toml
//! model = "dcgan"              # or "pix2pix", "cyclegan"
//! [data]
//! labels = ["covid", "non_covid"]
//! [preprocess]                 # images in [-1, 1]
//! size = [64, 64]
//! mean = [0.5]
//! std = [0.5]
//! ```

use std::path::{Path, PathBuf};

use imaging::preprocess::PreprocessSpec;
use serde::{Deserialize, Serialize};

use super::data::{AugmentSection, DataSection};
use super::error::{Origin, RecipeError};
use super::train::Precision;
use crate::training::gan::diff_augment::Change;
use crate::training::gan::losses::AdversarialLoss;

/// The recipes that ship with the program, by name.
pub const SHIPPED_GANS: &[(&str, &str)] = &[
    ("ct-dcgan", include_str!("../../recipes/ct-dcgan.toml")),
    (
        "ct-dcgan-pretrained",
        include_str!("../../recipes/ct-dcgan-pretrained.toml"),
    ),
    ("ct-nodule", include_str!("../../recipes/ct-nodule.toml")),
    ("ct-signs", include_str!("../../recipes/ct-signs.toml")),
    ("xray-cycle", include_str!("../../recipes/xray-cycle.toml")),
    ("xray-pix2pix", include_str!("../../recipes/xray-pix2pix.toml")),
];

/// Which game is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Noise to image (Radford et al. 2015, arXiv 1511.06434).
    Dcgan,
    /// Image to image (Isola et al. 2017, arXiv 1611.07004), from one label to another, each beside a partner.
    Pix2pix,
    /// The same without partners, there and back (Zhu et al. 2017, arXiv 1703.10593).
    Cyclegan,
}

/// A whole recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanRecipe {
    /// Which game is played.
    pub model: Model,
    /// Which rows count, what they are called, how they are split. Only training rows are learnt from.
    #[serde(default)]
    pub data: DataSection,
    /// How an image becomes a tensor in [-1, 1]: mean and std are 0.5.
    pub preprocess: PreprocessSpec,
    /// Changes of the real images that are to be learnt too; `diff_augment` is for those that are not.
    #[serde(default)]
    pub augment: AugmentSection,
    /// The network that makes images.
    #[serde(default)]
    pub generator: GeneratorSection,
    /// The network that tells real images from made ones.
    #[serde(default)]
    pub discriminator: DiscriminatorSection,
    /// Optimisation.
    #[serde(default)]
    pub train: GanTrainSection,
    /// From which label to which; of `pix2pix` and `cyclegan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translate: Option<TranslateSection>,
}

/// `[generator]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorSection {
    /// Length of the noise vector (`dcgan`).
    pub latent: usize,
    /// Channels of the layers next to the image.
    pub width: usize,
    /// Whether images of a wanted label can be made (`dcgan`).
    pub conditional: bool,
    /// Whether the inner ways up drop half of their features (`pix2pix`, `cyclegan`).
    pub dropout: bool,
    /// Share of the running average that a step keeps; 0: no average, the last step's weights.
    pub average: f64,
}

impl Default for GeneratorSection {
    fn default() -> Self {
        Self {
            latent: 100,
            width: 64,
            conditional: false,
            dropout: true,
            average: 0.998,
        }
    }
}

/// The discriminators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Critic {
    /// That of the paper: DCGAN's, or Pix2Pix's PatchGAN.
    #[default]
    Plain,
    /// A ResNet-18 that may begin with ImageNet weights (`dcgan`).
    Resnet18,
}

/// `[discriminator]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorSection {
    /// Which network.
    pub network: Critic,
    /// Channels of the first layer (`plain`).
    pub width: usize,
    /// How many of the four stages are used (`resnet18`).
    pub stages: usize,
    /// First weights (`resnet18`), as `network.weights` of a classifier's recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Prefixes of the parameters to take from `weights`; empty: all whose name and shape fit.
    pub take: Vec<String>,
    /// Stages or modules that stay as they are, with their running statistics.
    pub freeze: Vec<String>,
    /// Bounds every weight by its largest singular value, in place of BatchNorm (`plain`).
    pub spectral_norm: bool,
    /// Taken from the target of real images, against overconfidence.
    pub label_smoothing: f64,
    /// Weight of the R1 gradient penalty; 0: none.
    pub r1: f64,
    /// Steps between two penalties, each then so many times as heavy.
    pub r1_every: usize,
    /// Changes of real and generated images alike before they are judged.
    pub diff_augment: Vec<Change>,
}

impl Default for DiscriminatorSection {
    fn default() -> Self {
        Self {
            network: Critic::Plain,
            width: 64,
            stages: 3,
            weights: None,
            take: Vec::new(),
            freeze: Vec::new(),
            spectral_norm: false,
            label_smoothing: 0.1,
            r1: 0.0,
            r1_every: 16,
            diff_augment: vec![Change::Color, Change::Translation, Change::Cutout],
        }
    }
}

/// `[train]` of a GAN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GanTrainSection {
    /// Steps of both sides.
    pub steps: u64,
    /// Real images a step.
    pub batch: usize,
    /// The adversarial loss.
    pub loss: AdversarialLoss,
    /// Rate of the generator.
    pub generator_rate: f64,
    /// Rate of the discriminator; another one than the generator's is the two time-scale rule (arXiv 1706.08500).
    pub discriminator_rate: f64,
    /// Adam's first decay.
    pub beta1: f64,
    /// Adam's second decay.
    pub beta2: f64,
    /// Number format of both passes.
    pub precision: Precision,
    /// Channels last in memory.
    pub channels_last: bool,
    /// Steps between two sheets of samples, each with a look at the health of the training.
    pub sample_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// How often a training that diverged or collapsed goes back to its last checkpoint, with half the rates, before it
    /// is given up.
    pub back_offs: u32,
    /// Draws weights, order, noise and augmentation.
    pub seed: u64,
}

impl Default for GanTrainSection {
    fn default() -> Self {
        Self {
            steps: 4000,
            batch: 64,
            loss: AdversarialLoss::Vanilla,
            generator_rate: 2e-4,
            discriminator_rate: 2e-4,
            beta1: 0.5,
            beta2: 0.999,
            precision: Precision::Auto,
            channels_last: true,
            sample_every: 500,
            checkpoint_every: 500,
            back_offs: 2,
            seed: 0,
        }
    }
}

/// `[translate]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranslateSection {
    /// Label of the images that are translated.
    pub from: String,
    /// Label that they are to get.
    pub to: String,
    /// Weight of the pixel-wise distance to the partner drawn for the step (`pix2pix`).
    #[serde(default = "default_l1")]
    pub l1: f64,
    /// Weight of the pixel-wise distance to what comes back (`cyclegan`).
    #[serde(default = "default_cycle")]
    pub cycle: f64,
    /// Weight, relative to `cycle`, of the distance that holds an image of the wanted label as it is (`cyclegan`).
    #[serde(default = "default_identity")]
    pub identity: f64,
}

fn default_l1() -> f64 {
    100.0
}

fn default_cycle() -> f64 {
    10.0
}

fn default_identity() -> f64 {
    0.5
}

impl GanRecipe {
    /// Loads a recipe by the path of a file or by the name of a shipped one.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or has a value that is not allowed.
    pub fn load(name_or_path: &str) -> Result<Self, RecipeError> {
        let path = Path::new(name_or_path);
        let text = super::text_of(path, SHIPPED_GANS)?;
        Self::parse(&text, path)
    }

    /// Reads a recipe from text; `origin` is the file that messages name.
    ///
    /// # Errors
    /// As [`GanRecipe::load`], without the reading.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, RecipeError> {
        let recipe: Self = super::parsed(text, origin)?;
        recipe.check(origin)?;
        Ok(recipe)
    }

    /// Checks every value against its range and the sections against each other.
    ///
    /// # Errors
    /// [`RecipeError::NotAllowed`], naming `origin`, the key and the allowed values.
    pub fn check(&self, origin: &Path) -> Result<(), RecipeError> {
        let at = Origin { path: origin };
        self.data.check(&at)?;
        self.check_images(&at)?;
        self.augment.check(&at)?;
        self.generator.check(&at)?;
        self.discriminator.check(&at)?;
        self.train.check(&at)?;
        self.check_game(&at)
    }

    /// Images are square, of a size that the networks halve, and in [-1, 1].
    fn check_images(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        let spec = &self.preprocess;
        spec.check()
            .map_err(|error| at.not_allowed("preprocess", "this section", error.to_string()))?;
        let [height, width] = spec.size;
        let sizes: &[u32] = match self.model {
            Model::Dcgan => &[64, 128],
            Model::Pix2pix | Model::Cyclegan => &[64, 128, 256, 512],
        };
        if height != width || !sizes.contains(&height) {
            let sizes: Vec<String> = sizes.iter().map(|size| format!("[{size}, {size}]")).collect();
            return Err(at.not_allowed("preprocess.size", format!("[{height}, {width}]"), sizes.join(", ")));
        }
        if spec.mean.iter().chain(&spec.std).any(|value| *value != 0.5) {
            return Err(at.not_allowed(
                "preprocess.mean and std",
                "these",
                "0.5 in each channel: images in [-1, 1]",
            ));
        }
        Ok(())
    }

    fn check_game(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        match (self.model, &self.translate) {
            (Model::Pix2pix | Model::Cyclegan, None) => {
                Err(at.not_allowed("translate", "nothing", "a section with `from` and `to`"))
            }
            (Model::Dcgan, Some(_)) => Err(at.not_allowed("translate", "a section", "nothing, for dcgan")),
            (Model::Pix2pix | Model::Cyclegan, Some(_)) if self.discriminator.network != Critic::Plain => {
                Err(at.not_allowed("discriminator.network", "resnet18", "plain, for a translation"))
            }
            (Model::Pix2pix | Model::Cyclegan, Some(translate)) => {
                at.within("translate.l1", translate.l1, 0.0, 1e4)?;
                at.within("translate.cycle", translate.cycle, 0.0, 1e4)?;
                at.within("translate.identity", translate.identity, 0.0, 100.0)?;
                let known = |label: &String| self.data.labels.is_empty() || self.data.labels.contains(label);
                for (key, label) in [("translate.from", &translate.from), ("translate.to", &translate.to)] {
                    if !known(label) {
                        return Err(at.not_allowed(key, label, self.data.labels.join(", ")));
                    }
                }
                if translate.from == translate.to {
                    return Err(at.not_allowed("translate.to", &translate.to, "another label than `from`"));
                }
                Ok(())
            }
            (Model::Dcgan, None) => Ok(()),
        }
    }
}

impl GeneratorSection {
    fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.count("generator.latent", self.latent, 1, 4096)?;
        at.count("generator.width", self.width, 4, 256)?;
        at.within("generator.average", self.average, 0.0, 0.999_999)
    }
}

impl DiscriminatorSection {
    fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.count("discriminator.width", self.width, 4, 256)?;
        at.count("discriminator.stages", self.stages, 1, 4)?;
        at.within("discriminator.label_smoothing", self.label_smoothing, 0.0, 0.5)?;
        at.within("discriminator.r1", self.r1, 0.0, 1000.0)?;
        at.count("discriminator.r1_every", self.r1_every, 1, 10_000)?;
        if self.network == Critic::Plain && (self.weights.is_some() || !self.freeze.is_empty()) {
            let allowed = "nothing: only resnet18 begins with weights or is frozen";
            return Err(at.not_allowed("discriminator.weights and freeze", "set", allowed));
        }
        if self.network == Critic::Resnet18 && self.spectral_norm {
            return Err(at.not_allowed("discriminator.spectral_norm", true, "false, for resnet18"));
        }
        Ok(())
    }
}

impl GanTrainSection {
    fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.within("train.steps", self.steps as f64, 1.0, 1e8)?;
        at.count("train.batch", self.batch, 1, 4096)?;
        at.within("train.generator_rate", self.generator_rate, 1e-9, 1.0)?;
        at.within("train.discriminator_rate", self.discriminator_rate, 1e-9, 1.0)?;
        at.within("train.beta1", self.beta1, 0.0, 0.9999)?;
        at.within("train.beta2", self.beta2, 0.0, 0.999_999)?;
        at.within("train.sample_every", self.sample_every as f64, 1.0, 1e8)?;
        at.within("train.checkpoint_every", self.checkpoint_every as f64, 1.0, 1e8)?;
        at.count("train.back_offs", self.back_offs as usize, 0, 100)?;
        at.within("train.seed", self.seed as f64, 0.0, i64::MAX as f64)
    }
}

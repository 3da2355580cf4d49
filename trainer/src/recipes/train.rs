//! `[train]`: optimisation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{Origin, RecipeError};
use crate::data::Provenance;

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    #[default]
    Adamw,
    /// Stochastic gradient descent with Nesterov momentum.
    Sgd,
}

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to `final_rate` of the learning rate.
    #[default]
    Cosine,
    /// The same rate to the end.
    Constant,
}

/// Which of the training images a training learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// All of them.
    #[default]
    All,
    /// All but those that a generative model made.
    Real,
    /// Those alone.
    Generated,
}

impl Rows {
    /// Whether a training image of this provenance is among them.
    #[must_use]
    pub fn hold(self, provenance: Provenance) -> bool {
        match self {
            Self::All => true,
            Self::Real => provenance != Provenance::Synthetic,
            Self::Generated => provenance == Provenance::Synthetic,
        }
    }
}

/// How unequal class sizes are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Not at all.
    None,
    /// Every class is drawn equally often.
    #[default]
    Sampling,
    /// Every row once an epoch, the loss weighted by the inverse class frequency.
    Weights,
    /// Every batch holds the same share of one class, as `[train.rare]` says.
    Rare,
}

/// The number format of the forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Convolutions and products in bfloat16, parameters and normalisation in 32 bits.
    Bf16,
    /// `bf16` where the device multiplies in it, else `f32`: a processor that has to imitate it takes ten times as long.
    Auto,
}

/// The validation figure that picks the best checkpoint and stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchedMetric {
    /// Mean one-against-rest area under the ROC curve; larger is better.
    #[default]
    Auroc,
    /// Mean sensitivity over the classes; larger is better.
    BalancedAccuracy,
    /// Cross-entropy; smaller is better.
    Loss,
}

/// `[train.early_stopping]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a better figure before a run ends.
    pub patience: usize,
    /// Smallest change that counts as better.
    #[serde(default)]
    pub min_change: f64,
}

/// `[train.rare]`, for `balance = "rare"`: COVID-Net fills half of every batch with its rarest class (Wang, Lin, Wong
/// 2020, training of the published code).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RareSection {
    /// The label.
    pub label: String,
    /// Its share of every batch, rounded to whole images; the rest is drawn of all others as often as they are.
    pub share: f64,
}

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSection {
    /// Passes over the training rows.
    pub epochs: usize,
    /// Fewer epochs than `epochs` where these would take more steps than this, but at least one; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Images a step.
    pub batch: usize,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// The largest rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// Factors on the rate by prefix of the parameter's name; the longest prefix that fits wins,
    /// and 1 holds elsewhere. `{ conv1 = 0.1, layer1 = 0.1, layer2 = 0.3 }`.
    pub layer_rates: BTreeMap<String, f64>,
    /// Decoupled for AdamW, part of the gradient for SGD; not on biases and normalisation.
    pub weight_decay: f64,
    /// Momentum of SGD, beta1 of AdamW.
    pub momentum: f64,
    /// Epochs in which the rate grows linearly from 0.
    pub warmup_epochs: f64,
    /// The course of the rate after the warm-up.
    pub schedule: Schedule,
    /// Where the cosine ends, as a share of the learning rate.
    pub final_rate: f64,
    /// Probability taken from the true class and spread over all.
    pub label_smoothing: f64,
    /// Which of the training images are learnt from. Validation and test are always real.
    pub rows: Rows,
    /// How unequal class sizes are met.
    pub balance: Balance,
    /// The class of `balance = "rare"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rare: Option<RareSection>,
    /// Largest norm of the gradient; absent: no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Number format.
    pub precision: Precision,
    /// Channels last in memory: faster on CPUs with bf16 and on tensor cores.
    pub channels_last: bool,
    /// The figure that picks the best checkpoint.
    pub watch: WatchedMetric,
    /// Ends a run that no longer gains; absent: all epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Draws initial weights, order and augmentation.
    pub seed: u64,
}

impl Default for TrainSection {
    fn default() -> Self {
        Self {
            epochs: 20,
            max_steps: None,
            batch: 16,
            optimizer: OptimizerKind::Adamw,
            learning_rate: 1e-3,
            layer_rates: BTreeMap::new(),
            weight_decay: 0.01,
            momentum: 0.9,
            warmup_epochs: 1.0,
            schedule: Schedule::Cosine,
            final_rate: 0.01,
            label_smoothing: 0.0,
            rows: Rows::All,
            balance: Balance::Sampling,
            rare: None,
            clip_norm: Some(5.0),
            precision: Precision::F32,
            channels_last: false,
            watch: WatchedMetric::Auroc,
            early_stopping: None,
            seed: 0,
        }
    }
}

impl TrainSection {
    /// The factor on the learning rate of the parameter called `name`.
    #[must_use]
    pub fn layer_rate(&self, name: &str) -> f64 {
        self.layer_rates
            .iter()
            .filter(|(prefix, _)| name.starts_with(prefix.as_str()))
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(1.0, |(_, factor)| *factor)
    }

    /// The epochs that are trained with so many steps an epoch: `epochs`, unless `max_steps` ends them sooner.
    #[must_use]
    pub fn epochs_within(&self, steps_an_epoch: usize) -> usize {
        let most = self
            .max_steps
            .map_or(self.epochs, |steps| steps / steps_an_epoch.max(1));
        self.epochs.min(most.max(1))
    }

    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        at.count("train.epochs", self.epochs, 1, 100_000)?;
        if let Some(steps) = self.max_steps {
            at.count("train.max_steps", steps, 1, 1_000_000_000)?;
        }
        at.count("train.batch", self.batch, 1, 65_536)?;
        at.within("train.learning_rate", self.learning_rate, 1e-9, 10.0)?;
        for (prefix, factor) in &self.layer_rates {
            at.within(&format!("train.layer_rates.{prefix}"), *factor, 0.0, 100.0)?;
        }
        at.within("train.weight_decay", self.weight_decay, 0.0, 10.0)?;
        at.within("train.momentum", self.momentum, 0.0, 0.9999)?;
        at.within("train.warmup_epochs", self.warmup_epochs, 0.0, self.epochs as f64)?;
        at.within("train.final_rate", self.final_rate, 0.0, 1.0)?;
        at.within("train.label_smoothing", self.label_smoothing, 0.0, 0.9)?;
        if self.rare.is_some() != (self.balance == Balance::Rare) {
            let allowed = "balance = \"rare\" and a section [train.rare] together, or neither";
            return Err(at.not_allowed("train.balance", format!("{:?}", self.balance), allowed));
        }
        if let Some(rare) = &self.rare {
            at.within("train.rare.share", rare.share, 0.01, 0.99)?;
        }
        if let Some(norm) = self.clip_norm {
            at.within("train.clip_norm", norm, 1e-6, 1e6)?;
        }
        if let Some(stopping) = &self.early_stopping {
            at.count("train.early_stopping.patience", stopping.patience, 1, 100_000)?;
            at.within("train.early_stopping.min_change", stopping.min_change, 0.0, 1.0)?;
        }
        // TOML holds signed integers only.
        at.within("train.seed", self.seed as f64, 0.0, i64::MAX as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_steps_shortens_the_epochs_to_whole_ones() {
        let train = TrainSection {
            epochs: 30,
            max_steps: Some(1000),
            ..TrainSection::default()
        };
        assert_eq!(
            [10, 33, 34, 400, 5000].map(|steps| train.epochs_within(steps)),
            [30, 30, 29, 2, 1]
        );
        assert_eq!(TrainSection::default().epochs_within(5000), 20);
    }

    #[test]
    fn the_longest_prefix_sets_the_rate() {
        let rates = [("layer4".to_owned(), 0.5), ("layer4.1".to_owned(), 0.9)];
        let train = TrainSection {
            layer_rates: rates.into(),
            ..TrainSection::default()
        };
        assert_eq!(train.layer_rate("layer4.0.conv1.weight"), 0.5);
        assert_eq!(train.layer_rate("layer4.1.conv1.weight"), 0.9);
        assert_eq!(train.layer_rate("fc.weight"), 1.0);
    }
}

//! `[network]`: the architecture and its first weights.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::{Origin, RecipeError};

/// The networks that can be trained as classifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names say it
pub enum Architecture {
    SmallCnn,
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
    Resnet152,
}

impl Architecture {
    /// The name as it stands in recipes and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SmallCnn => "small_cnn",
            Self::Resnet18 => "resnet18",
            Self::Resnet34 => "resnet34",
            Self::Resnet50 => "resnet50",
            Self::Resnet101 => "resnet101",
            Self::Resnet152 => "resnet152",
        }
    }

    /// The depth of a ResNet; `None` for other networks.
    #[must_use]
    pub fn resnet_depth(self) -> Option<u32> {
        match self {
            Self::SmallCnn => None,
            Self::Resnet18 => Some(18),
            Self::Resnet34 => Some(34),
            Self::Resnet50 => Some(50),
            Self::Resnet101 => Some(101),
            Self::Resnet152 => Some(152),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `[network]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// Which network.
    pub architecture: Architecture,
    /// First weights: safetensors, or a torch zip .pth with torchvision's names. Absent: from
    /// scratch. A relative path is looked for beside the recipe, the data, and where one stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Prefixes of the parameters to take from `weights`; empty: all whose name and shape fit.
    /// What was taken, missing and unexpected is printed.
    #[serde(default)]
    pub take: Vec<String>,
    /// Prefixes of parameters that stay as they are; their normalisation uses its running
    /// statistics.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Epochs after which the frozen parameters learn too; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfreeze_after_epochs: Option<usize>,
    /// Classes that get a Grad-CAM map in the exported file (the most probable ones).
    #[serde(default = "default_cam_classes")]
    pub cam_classes: usize,
}

fn default_cam_classes() -> usize {
    1
}

impl NetworkSection {
    pub(super) fn check(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        if self.weights.is_none() && !self.take.is_empty() {
            let allowed = "nothing, as network.weights is not set";
            return Err(at.not_allowed("network.take", self.take.join(", "), allowed));
        }
        at.count("network.cam_classes", self.cam_classes, 1, 16)
    }
}

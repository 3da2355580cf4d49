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
    CovidNet,
    Fusion,
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
            Self::CovidNet => "covid_net",
            Self::Fusion => "fusion",
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
    /// The earlier stage of the recipe ([`StageSection`](super::StageSection)) whose best parameters are the first
    /// weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// The networks that `fusion` adds up; absent for every other architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion: Option<FusionSection>,
}

/// What the ratio between fused networks depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionRatio {
    /// One number a network.
    #[default]
    Global,
    /// One number a network and class.
    PerClass,
}

/// `[network.fusion]`: trained classifiers whose class scores are added up, in a ratio that training learns. To keep
/// them as they are, name them in `network.freeze`: `members.0`, `members.1`, in their order here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionSection {
    /// What the ratio depends on.
    #[serde(default)]
    pub ratio: FusionRatio,
    /// The networks, two or more.
    pub members: Vec<MemberSection>,
}

/// `[[network.fusion.members]]`: one of the networks, and where it was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSection {
    /// Which network.
    pub architecture: Architecture,
    /// The earlier stage of this recipe that trains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Or its weights, of an earlier run with the same labels and preprocessing:
    /// `runs/first/checkpoints/best.safetensors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
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
        if self.begin.is_some() && self.weights.is_some() {
            let allowed = "one of network.begin and network.weights";
            return Err(at.not_allowed("network.begin", "set beside network.weights", allowed));
        }
        self.check_fusion(at)?;
        at.count("network.cam_classes", self.cam_classes, 1, 16)
    }

    fn check_fusion(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        let Some(fusion) = &self.fusion else {
            return match self.architecture {
                Architecture::Fusion => {
                    let allowed = "a section [network.fusion] with members beside it";
                    Err(at.not_allowed("network.architecture", "fusion", allowed))
                }
                _ => Ok(()),
            };
        };
        if self.architecture != Architecture::Fusion {
            let allowed = "fusion, where there is a section [network.fusion]";
            return Err(at.not_allowed("network.architecture", self.architecture, allowed));
        }
        let most = onnx::networks::fusion::MOST_MEMBERS;
        at.count("network.fusion.members", fusion.members.len(), 2, most)?;
        // Weights of the whole fusion hold its members.
        let whole = self.weights.is_some() || self.begin.is_some();
        for (number, member) in fusion.members.iter().enumerate() {
            let key = format!("network.fusion.members.{number}");
            if member.architecture == Architecture::Fusion {
                return Err(at.not_allowed(&format!("{key}.architecture"), "fusion", "every other architecture"));
            }
            let sources = usize::from(member.stage.is_some()) + usize::from(member.weights.is_some());
            if sources != usize::from(!whole) {
                let allowed = match whole {
                    true => "neither stage nor weights, as the whole fusion has first weights",
                    false => "one of stage and weights",
                };
                return Err(at.not_allowed(&key, member.architecture, allowed));
            }
        }
        Ok(())
    }

    /// The earlier stages that this network begins with.
    pub(super) fn stages(&self) -> impl Iterator<Item = &String> {
        let members = self.fusion.iter().flat_map(|fusion| &fusion.members);
        self.begin
            .iter()
            .chain(members.filter_map(|member| member.stage.as_ref()))
    }
}

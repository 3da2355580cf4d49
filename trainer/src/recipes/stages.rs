//! `[[stages]]`: trainings that come before the main one, each of which a later one can begin with.
//!
//! ```toml
//! [[stages]]
//! name = "resnet18"
//! [stages.network]
//! architecture = "resnet18"
//! ```

use serde::{Deserialize, Serialize};

use super::error::{Origin, RecipeError};
use super::{NetworkSection, Recipe, TrainSection};

/// One stage: a training on the recipe's data, split and preprocessing, in a run folder of its own,
/// `RUN/stages/<name>`. What it does not say is as in the main sections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSection {
    /// Its name, by which later stages and the main training call it: lower-case letters, digits and hyphens.
    pub name: String,
    /// Its network; absent: the main one, which then begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSection>,
    /// Its optimisation. The seed is the main training's plus the number of the stage, from 1: two stages with the same
    /// network do not end as the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainSection>,
}

impl Recipe {
    /// The recipe of stage `number` (from 0), as if it were the only training.
    #[must_use]
    pub fn of_stage(&self, number: usize) -> Option<Self> {
        let stage = self.stages.get(number)?;
        let mut recipe = Self {
            network: stage.network.clone().unwrap_or_else(|| NetworkSection {
                begin: None,
                ..self.network.clone()
            }),
            train: stage.train.clone().unwrap_or_else(|| self.train.clone()),
            stages: Vec::new(),
            ..self.clone()
        };
        recipe.train.seed = self.train.seed + 1 + number as u64;
        Some(recipe)
    }

    pub(super) fn check_stages(&self, at: &Origin<'_>) -> Result<(), RecipeError> {
        for (number, stage) in self.stages.iter().enumerate() {
            let key = format!("stages.{number}");
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let named = !stage.name.is_empty() && stage.name.chars().all(allowed);
            if !named || self.stages[..number].iter().any(|other| other.name == stage.name) {
                let allowed = "a name of lower-case letters, digits and hyphens that no other stage has";
                return Err(at.not_allowed(&format!("{key}.name"), &stage.name, allowed));
            }
            if let Some(recipe) = self.of_stage(number) {
                recipe.network.check(at)?;
                recipe.train.check(at)?;
                self.check_begins(at, &format!("{key}.network"), &recipe.network, number)?;
            }
        }
        self.check_begins(at, "network", &self.network, self.stages.len())
    }

    /// Whether the stages that a network begins with come before it and train what it takes them for.
    fn check_begins(
        &self,
        at: &Origin<'_>,
        key: &str,
        network: &NetworkSection,
        before: usize,
    ) -> Result<(), RecipeError> {
        let earlier = &self.stages[..before];
        for name in network.stages() {
            if !earlier.iter().any(|stage| stage.name == *name) {
                let names: Vec<&str> = earlier.iter().map(|stage| stage.name.as_str()).collect();
                let allowed = match names.is_empty() {
                    true => "none, as no stage comes before".to_owned(),
                    false => names.join(", "),
                };
                return Err(at.not_allowed(&format!("{key}, stage"), name, allowed));
            }
        }
        let trained = |name: &String| earlier.iter().position(|stage| stage.name == *name);
        for member in network.fusion.iter().flat_map(|fusion| &fusion.members) {
            let stage = member
                .stage
                .as_ref()
                .and_then(trained)
                .and_then(|number| self.of_stage(number));
            if let Some(stage) = stage.filter(|stage| stage.network.architecture != member.architecture) {
                let key = format!("{key}.fusion.members, architecture");
                let allowed = format!("{}, as its stage trains", stage.network.architecture);
                return Err(at.not_allowed(&key, member.architecture, allowed));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(change: impl FnOnce(&mut Recipe)) -> Result<Recipe, String> {
        let mut recipe = Recipe::load("xray-fusion").unwrap();
        change(&mut recipe);
        match recipe.check(Path::new("mine.toml")) {
            Ok(()) => Ok(recipe),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_stage_is_the_recipe_with_its_own_network_and_a_seed_of_its_own() {
        let recipe = parsed(|_| ()).unwrap();
        let stages: Vec<Recipe> = (0..2).filter_map(|number| recipe.of_stage(number)).collect();
        let names: Vec<&str> = stages.iter().map(|stage| stage.network.architecture.name()).collect();
        assert_eq!(names, ["resnet18", "resnet34"]);
        let seed = recipe.train.seed;
        assert_eq!([stages[0].train.seed, stages[1].train.seed], [seed + 1, seed + 2]);
        assert!(
            stages
                .iter()
                .all(|stage| stage.preprocess == recipe.preprocess && stage.stages.is_empty())
        );
        assert_eq!(recipe.of_stage(2), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_does() {
        let refusal = |change: fn(&mut Recipe)| parsed(change).unwrap_err();
        let message = refusal(|recipe| recipe.stages[1].name = "resnet18".into());
        assert!(
            message.contains("stages.1.name") && message.contains("no other stage"),
            "{message}"
        );
        let message = refusal(|recipe| {
            recipe.stages.remove(1);
        });
        assert!(
            message.contains("resnet34") && message.contains("allowed: resnet18"),
            "{message}"
        );
        let message = refusal(|recipe| {
            let members = recipe.network.fusion.as_mut().map(|fusion| &mut fusion.members);
            members.unwrap().swap(0, 1);
            let members = recipe.network.fusion.as_mut().map(|fusion| &mut fusion.members);
            members.unwrap()[0].stage = Some("resnet18".into());
        });
        assert!(
            message.contains("resnet34 is not allowed") && message.contains("as its stage trains"),
            "{message}"
        );
        let message = refusal(|recipe| recipe.network.fusion.as_mut().unwrap().members.truncate(1));
        assert!(message.contains("network.fusion.members = 1"), "{message}");
        let message = refusal(|recipe| recipe.network.fusion = None);
        assert!(message.contains("[network.fusion]"), "{message}");
        let message = refusal(|recipe| recipe.network.fusion.as_mut().unwrap().members[0].stage = None);
        assert!(message.contains("one of stage and weights"), "{message}");
    }
}

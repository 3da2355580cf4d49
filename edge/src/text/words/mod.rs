//! Every word of the screens, in one place: English, and French and Spanish for field clinics.
//!
//! [`catalogue`] says what can be said, one file a language says it. A screen takes its [`Words`] from [`Language`]. A
//! result without a flag is never called normal, in any language. The command line, JSON and DICOM stay English.

pub mod catalogue;
mod codes;
mod english;
mod french;
mod spanish;

use serde::Deserialize;

use catalogue::{Common, Faults, Labels, Reasons, Results, Status, Steps, Updates, Waiting};

/// The product; the same in every language.
pub const BRAND: &str = "SCANSIDE";

/// A language of the screens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// French.
    #[serde(rename = "fr")]
    French,
    /// Spanish.
    #[serde(rename = "es")]
    Spanish,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::English, Self::French, Self::Spanish];

    /// Its tag (BCP 47), as the config names it.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
            Self::Spanish => "es",
        }
    }

    /// What it says.
    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &english::WORDS,
            Self::French => &french::WORDS,
            Self::Spanish => &spanish::WORDS,
        }
    }
}

/// Everything that a language says.
#[derive(Debug)]
pub struct Words {
    /// Which language.
    pub language: Language,
    /// Labels of what stands on several screens.
    pub common: Common,
    /// What a result says.
    pub results: Results,
    /// Names of known labels.
    pub labels: Labels,
    /// Status line, marks, keys.
    pub status: Status,
    /// Between results, at work, the list of cases.
    pub waiting: Waiting,
    /// Faults.
    pub faults: Faults,
    /// New models.
    pub updates: Updates,
    /// Why, by code.
    pub reasons: Reasons,
    /// What to do.
    pub steps: Steps,
}

impl Words {
    /// The overlay's caption, from the longest to the shortest.
    #[must_use]
    pub const fn heatmap(&self) -> [&'static str; 3] {
        let common = &self.common;
        [common.heatmap_long, common.heatmap_middle, common.heatmap_short]
    }

    /// The name of a label that our recipes train, by its id.
    #[must_use]
    pub fn label(&self, id: &str) -> Option<&'static str> {
        let labels = &self.labels;
        match id {
            "normal" | "no_finding" => Some(labels.no_finding),
            "covid19" => Some(labels.covid19),
            "viral_pneumonia" => Some(labels.viral_pneumonia),
            "consolidation" => Some(labels.consolidation),
            "ground_glass" => Some(labels.ground_glass),
            _ => None,
        }
    }
}

/// Which page this is, and of how many; the same in every language.
#[must_use]
pub fn page(number: usize, pages: usize) -> String {
    format!("{number}/{pages}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Fonts, Weight};

    /// Every text of a language, with its name.
    fn texts(words: &Words) -> Vec<(String, String)> {
        let subjects = [
            ("common", words.common.texts()),
            ("results", words.results.texts()),
            ("labels", words.labels.texts()),
            ("status", words.status.texts()),
            ("waiting", words.waiting.texts()),
            ("faults", words.faults.texts()),
            ("updates", words.updates.texts()),
            ("reasons", words.reasons.texts()),
            ("steps", words.steps.texts()),
        ];
        let named = |(subject, texts): (&str, Vec<(&'static str, String)>)| {
            let named = texts
                .into_iter()
                .map(|(name, text)| (format!("{subject}.{name}"), text));
            named.collect::<Vec<_>>()
        };
        subjects.into_iter().flat_map(named).collect()
    }

    #[test]
    fn every_letter_of_every_text_is_in_the_font() {
        let fonts = Fonts::noto_sans();
        for language in Language::ALL {
            assert_eq!(language.words().language, language);
            let texts = texts(language.words());
            assert!(texts.len() > 130, "{}", texts.len());
            for (name, text) in texts {
                assert!(!text.trim().is_empty(), "{language:?} {name} is empty");
                for weight in [Weight::Regular, Weight::Bold] {
                    let face = fonts.face(weight, 15);
                    for letter in text.chars() {
                        assert!(
                            face.has_letters(&letter.to_string()),
                            "{language:?} {name}: the font lacks {letter:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_ever_called_normal() {
        for language in Language::ALL {
            for (name, text) in texts(language.words()) {
                let text = text.to_lowercase();
                for word in ["normal", "healthy", "sain", "sano", "diagnos"] {
                    let allowed = word == "diagnos" && name == "common.disclaimer";
                    assert!(allowed || !text.contains(word), "{language:?} {name}: {text}");
                }
            }
        }
        let disclaimers = Language::ALL.map(|language| language.words().common.disclaimer);
        assert_eq!(
            disclaimers,
            [
                "Triage aid - not a diagnosis",
                "Aide au triage - pas un diagnostic",
                "Ayuda al triaje: no es un diagnóstico"
            ]
        );
    }

    /// A translation that was forgotten is the English text.
    #[test]
    fn languages_differ() {
        // The same word in two languages.
        let same = [
            "common.image",
            "common.more",
            "labels.consolidation",
            "reasons.or",
            "faults.other",
        ];
        for language in [Language::French, Language::Spanish] {
            for ((name, english), (_, other)) in texts(Language::English.words()).iter().zip(texts(language.words())) {
                assert!(
                    same.contains(&name.as_str()) || *english != other,
                    "{language:?} {name}: {other}"
                );
            }
        }
    }

    /// French sets a space before these signs, which must not end a line.
    #[test]
    fn french_signs_stay_with_their_words() {
        for (name, text) in texts(Language::French.words()) {
            let letters: Vec<char> = text.chars().collect();
            for pair in letters.windows(2) {
                if [':', ';', '?', '!', '%'].contains(&pair[1]) {
                    let kept = pair[0] == '\u{a0}' || pair[0] == '\u{202f}' || pair[0].is_ascii_digit();
                    assert!(kept, "{name}: {text}");
                }
            }
        }
    }

    #[test]
    fn labels_of_our_recipes_are_translated() {
        let recipes = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/recipes");
        let mut known = 0;
        for recipe in std::fs::read_dir(&recipes).expect("the recipes").flatten() {
            let text = std::fs::read_to_string(recipe.path()).expect("a recipe");
            let recipe: toml::Table = text.parse().expect("TOML");
            // Only what ends in a bundle comes to a screen.
            if !recipe.contains_key("bundle") {
                continue;
            }
            let labels = recipe.get("data").and_then(|data| data.get("labels")?.as_array());
            for label in labels.into_iter().flatten().filter_map(toml::Value::as_str) {
                assert!(
                    Language::French.words().label(label).is_some(),
                    "{label} has no translation"
                );
                known += 1;
            }
        }
        assert!(known > 3, "{known} labels in {}", recipes.display());
        assert_eq!(Language::French.words().label("fracture"), None);
    }

    #[test]
    fn languages_are_named_by_their_tags() {
        #[derive(Deserialize)]
        struct Section {
            language: Language,
        }
        for language in Language::ALL {
            let section: Section = toml::from_str(&format!("language = \"{}\"", language.tag())).expect("a language");
            assert_eq!(section.language, language);
        }
        let refusal = toml::from_str::<Section>("language = \"de\"")
            .err()
            .expect("refused")
            .to_string();
        assert!(refusal.contains("`en`, `fr`, `es`"), "{refusal}");
    }
}

//! Why a result is in doubt, and what to do about an image that cannot be read, in the screen's language.
//!
//! A finding keeps its reasons as codes with an English sentence. What the sentence says beside its code (an age, a
//! modality, labels) stands in the finding and in the manifest, so any language can say it again.

use bundle::Manifest;
use bundle::manifest::AgeRange;

use super::label_name;
use crate::codes::{Code, Reason};
use crate::decision::{DecisionKind, conformal_set};
use crate::finding::Finding;
use crate::text::words::{Language, Words};

/// Letters of a text from an image that a sentence takes.
const FOUND_LETTERS: usize = 32;

/// Why a result is in doubt; of one that is not, what speaks for it.
#[must_use]
pub fn remarks(finding: &Finding, manifest: &Manifest, words: &Words) -> Vec<String> {
    let reasons = &finding.decision.reasons;
    if reasons.is_empty() {
        let like_training = finding.novelty.is_some().then_some(words.results.like_training);
        let remarks = std::iter::once(words.results.quality_good).chain(like_training);
        return remarks.map(str::to_owned).collect();
    }
    reasons
        .iter()
        .map(|reason| sentence(reason, finding, manifest, words))
        .collect()
}

/// What to do about an image that is not readable; nothing for any other. One of another kind than the model's is not
/// to be made anew: it is its model that is missing.
#[must_use]
pub fn what_to_do(finding: &Finding, words: &Words) -> Vec<String> {
    if finding.decision.kind != DecisionKind::NotReadable {
        return Vec::new();
    }
    let reasons = &finding.decision.reasons;
    let of_code = |reason: &Reason| Code::ALL.into_iter().find(|code| code.text() == reason.code);
    let other_kind = [
        Code::OutsideIntendedUseModality,
        Code::OutsideIntendedUseBodyPart,
        Code::OutsideIntendedUseView,
    ];
    if reasons
        .iter()
        .filter_map(of_code)
        .any(|code| other_kind.contains(&code))
    {
        return [words.steps.clinician, words.steps.ask_for_model]
            .map(str::to_owned)
            .to_vec();
    }
    let mut steps: Vec<String> = Vec::new();
    // What the patient is (an age) is nothing to do about.
    for reason in reasons.iter().filter(|reason| of_code(reason).is_none()) {
        let step = words.step(&reason.code).to_owned();
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps.push(words.steps.clinician.to_owned());
    steps
}

/// A reason in the screen's language; in English as the finding has it.
fn sentence(reason: &Reason, finding: &Finding, manifest: &Manifest, words: &Words) -> String {
    if words.language == Language::English {
        return reason.message.clone();
    }
    if let Some(why) = words.why(&reason.code) {
        return why.to_owned();
    }
    let code = Code::ALL.into_iter().find(|code| code.text() == reason.code);
    let said = code.and_then(|code| assessed(code, finding, manifest, words));
    said.unwrap_or_else(|| reason.message.clone())
}

/// A code of an assessed image, said from what the finding and the manifest hold.
fn assessed(code: Code, finding: &Finding, manifest: &Manifest, words: &Words) -> Option<String> {
    let (source, intended) = (&finding.source, &manifest.intended_use);
    let texts = |found: &Option<String>, allowed: &[String]| {
        let found = found.as_deref()?;
        Some(outside(code, found, allowed, words))
    };
    match code {
        Code::OutsideIntendedUseModality => texts(&source.modality, &intended.modalities),
        Code::OutsideIntendedUseBodyPart => texts(&source.body_part, &intended.body_parts),
        Code::OutsideIntendedUseView => texts(&source.view, &intended.views),
        Code::OutsideIntendedUseAge => Some(age(source.age_years?, intended.age_years?, words)),
        Code::OutOfDistribution => Some(words.reasons.unlike_training.to_owned()),
        Code::ConformalSetAmbiguous | Code::NotConfident => {
            let labels = findings_of_set(finding, manifest, words)?;
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            Some(doubt(code, &labels, words))
        }
    }
}

/// The findings of the prediction set, in words, without "no finding".
fn findings_of_set(finding: &Finding, manifest: &Manifest, words: &Words) -> Option<Vec<String>> {
    let probability = |label: &bundle::manifest::Label| {
        let mut probabilities = finding.probabilities.iter();
        probabilities.find(|p| p.label == label.id).map(|p| p.probability)
    };
    let probabilities: Option<Vec<f32>> = manifest.labels.iter().map(probability).collect();
    let set = conformal_set(manifest, &probabilities?)?;
    let labels = set.into_iter().map(|index| &manifest.labels[index]);
    let findings = labels.filter(|label| !label.no_finding);
    Some(
        findings
            .map(|label| label_name(finding, Some(manifest), &label.id, words))
            .collect(),
    )
}

/// The sentence of a text outside the intended use: modality, body part or view.
#[must_use]
pub fn outside(code: Code, found: &str, allowed: &[String], words: &Words) -> String {
    // The text comes from a file and goes on a screen; control characters were left out where it was read.
    let found: String = found.trim().chars().take(FOUND_LETTERS).collect();
    let say = match code {
        Code::OutsideIntendedUseModality => words.reasons.modality,
        Code::OutsideIntendedUseBodyPart => words.reasons.body_part,
        _ => words.reasons.view,
    };
    say(&found, &allowed.join(", "))
}

/// The sentence of an age outside the intended use, as people say ages: months below two years.
#[must_use]
pub fn age(years: f32, range: AgeRange, words: &Words) -> String {
    let reasons = &words.reasons;
    let said = if years < 2.0 {
        (reasons.months_old)((years * 12.0) as u32)
    } else {
        (reasons.years_old)(years as u32)
    };
    (reasons.age)(&said, range.min, range.max)
}

/// The sentence of a prediction set that leaves a doubt; `findings` are its labels without "no finding".
#[must_use]
pub fn doubt(code: Code, findings: &[&str], words: &Words) -> String {
    let reasons = &words.reasons;
    match (code, findings) {
        (Code::ConformalSetAmbiguous, _) => (reasons.not_ruled_out)(&findings.join(", ")),
        (_, []) => reasons.not_confident.to_owned(),
        _ => (reasons.below_operating_point)(&findings.join(&format!(" {} ", reasons.or))),
    }
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;
    use crate::decision::decide;
    use crate::finding::{self, ImageSource};
    use crate::intended_use;

    /// A finding of these probabilities about an image that says this of itself.
    fn finding(probabilities: &[f32], novelty: f32, meta: &imaging::ImageMeta) -> Finding {
        let manifest = example::manifest();
        let outside = intended_use::check(meta, &manifest.intended_use).outside;
        let mut finding = crate::presentation::tests::finding(probabilities);
        finding.source = ImageSource::decoded("a.dcm".into(), 0, 1, [100, 100], meta);
        finding.decision = decide(&manifest, probabilities, Some(novelty), &outside);
        finding.novelty = Some(finding::NoveltyValue {
            value: novelty,
            threshold: 60.0,
        });
        finding
    }

    fn child() -> imaging::ImageMeta {
        imaging::ImageMeta {
            modality: Some("CT".into()),
            body_part: Some("KNEE".into()),
            view: Some("LL".into()),
            age_years: Some(0.6),
            ..imaging::ImageMeta::default()
        }
    }

    /// Every code, in every language: what English says of it comes back from the finding alone.
    #[test]
    fn every_language_says_what_the_finding_says() {
        let manifest = example::manifest();
        let cases = [
            finding(&[0.05, 0.9, 0.05], 99.0, &child()),
            finding(&[0.45, 0.5, 0.05], 30.0, &imaging::ImageMeta::default()),
            finding(&[0.19, 0.24, 0.29], 30.0, &imaging::ImageMeta::default()),
            finding(&[0.19, 0.39, 0.29], 30.0, &imaging::ImageMeta::default()),
        ];
        let mut codes = Vec::new();
        for finding in &cases {
            let english = Language::English.words();
            for reason in &finding.decision.reasons {
                let code = Code::ALL
                    .into_iter()
                    .find(|code| code.text() == reason.code)
                    .expect("a code");
                let again = assessed(code, finding, &manifest, english);
                assert_eq!(again.as_deref(), Some(reason.message.as_str()));
                codes.push(reason.code.clone());
                for language in [Language::French, Language::Spanish] {
                    let said = sentence(reason, finding, &manifest, language.words());
                    assert_ne!(said, reason.message, "{language:?} {}", reason.code);
                }
            }
        }
        for code in Code::ALL {
            assert!(codes.iter().any(|seen| seen == code.text()), "{code:?} was never said");
        }
    }

    #[test]
    fn a_child_is_told_in_months() {
        let finding = finding(&[0.05, 0.9, 0.05], 30.0, &child());
        let said = remarks(&finding, &example::manifest(), Language::French.words());
        let age = said.iter().find(|sentence| sentence.contains("7 mois"));
        assert_eq!(
            age.map(String::as_str),
            Some("Le patient a 7 mois\u{a0}; le modèle est fait pour 18 à 120 ans.")
        );
    }

    #[test]
    fn a_result_without_doubt_has_what_speaks_for_it() {
        let finding = finding(&[0.05, 0.9, 0.05], 30.0, &imaging::ImageMeta::default());
        let said = remarks(&finding, &example::manifest(), Language::Spanish.words());
        assert_eq!(said, ["Buena calidad", "Similar a las imágenes de entrenamiento"]);
        assert!(what_to_do(&finding, Language::Spanish.words()).is_empty());
    }

    #[test]
    fn long_texts_of_a_file_are_cut() {
        let found = "K".repeat(500);
        let said = outside(
            Code::OutsideIntendedUseView,
            &found,
            &["PA".into()],
            Language::English.words(),
        );
        assert_eq!(said, format!("The view is {}; the model is for PA.", "K".repeat(32)));
    }

    #[test]
    fn an_image_of_another_kind_is_not_to_be_made_anew() {
        let words = Language::English.words();
        let blurred = Reason::with_code("blurred", "Blurred.");
        let done = |meta: &imaging::ImageMeta| {
            let mut finding = finding(&[], 30.0, meta);
            let outside = intended_use::check(meta, &example::manifest().intended_use).outside;
            let reasons = outside.into_iter().chain([blurred.clone()]).collect();
            finding.decision = crate::examination::not_readable(reasons);
            what_to_do(&finding, words)
        };
        assert_eq!(done(&child()), [words.steps.clinician, words.steps.ask_for_model]);
        let young = imaging::ImageMeta {
            age_years: Some(0.6),
            ..imaging::ImageMeta::default()
        };
        assert_eq!(done(&young), [words.steps.motion, words.steps.clinician]);
    }
}

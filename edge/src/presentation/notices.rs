//! New models on their way, as the display tells them.

use hardware::smp::{Outcome, OutcomeKind};

use crate::screens::{NoticeView, Tone};
use crate::text::words::Words;

const MEGABYTE: f64 = 1e6;

/// A model arrives: bytes so far, and of how many; whether another one `serves` meanwhile.
#[must_use]
pub fn receiving(bytes: u64, total: u64, serves: bool, words: &Words) -> NoticeView {
    let updates = &words.updates;
    let progress = Some(in_bytes(bytes, total, words));
    let lines = [updates.old_works];
    notice(Tone::Busy, updates.receiving, &lines[..serves.into()], progress, words)
}

/// A model is put together from its base, which serves, and a difference: bytes so far, and of how many.
#[must_use]
pub fn rebuilding(bytes: u64, total: u64, words: &Words) -> NoticeView {
    let updates = &words.updates;
    let progress = Some(in_bytes(bytes, total, words));
    notice(Tone::Busy, updates.rebuilding, &[updates.old_works], progress, words)
}

/// A model is read back: bytes so far, and of how many.
#[must_use]
pub fn verifying(bytes: u64, total: u64, words: &Words) -> NoticeView {
    let updates = &words.updates;
    let progress = Some(in_bytes(bytes, total, words));
    notice(Tone::Busy, updates.verifying, &[updates.every_byte], progress, words)
}

/// A model runs its golden cases: cases so far, and of how many; 0 of 0 while it is being loaded.
#[must_use]
pub fn self_test(done: u64, total: u64, words: &Words) -> NoticeView {
    let updates = &words.updates;
    let progress = (total > 0).then(|| (share(done, total), (updates.cases)(done, total)));
    notice(Tone::Busy, updates.self_test, &[updates.golden_cases], progress, words)
}

/// Something came to its end; its reason is for an engineer, and English. For a setback the model that is `serving` is
/// named.
#[must_use]
pub fn outcome(outcome: &Outcome, serving: Option<&str>, words: &Words) -> NoticeView {
    let updates = &words.updates;
    let (tone, headline) = match outcome.kind {
        OutcomeKind::Stored => (Tone::Good, updates.stored),
        OutcomeKind::Passed => (Tone::Good, updates.passed),
        OutcomeKind::Confirmed => (Tone::Good, updates.confirmed),
        OutcomeKind::Refused => (Tone::Setback, updates.refused),
        OutcomeKind::Damaged => (Tone::Setback, updates.damaged),
        OutcomeKind::Failed => (Tone::Setback, updates.failed),
        OutcomeKind::Reverted => (Tone::Setback, updates.reverted),
        _ => (Tone::Good, updates.ended),
    };
    // The headline says already whose reason it is.
    let reason = outcome.reason.strip_prefix("self-test: ").unwrap_or(&outcome.reason);
    let reason = (!reason.is_empty()).then(|| sentence(reason));
    let goes_on = (tone == Tone::Setback).then(|| match serving {
        Some(model) => (updates.goes_on)(model),
        None => updates.none_serves.to_owned(),
    });
    let lines: Vec<&str> = [&reason, &goes_on].into_iter().flatten().map(String::as_str).collect();
    notice(tone, headline, &lines, None, words)
}

/// The models are being loaded.
#[must_use]
pub fn starting(words: &Words) -> NoticeView {
    let updates = &words.updates;
    NoticeView {
        status: words.status.starting.to_owned(),
        ..notice(Tone::Busy, updates.starting, &[updates.loading], None, words)
    }
}

/// There is no model yet.
#[must_use]
pub fn no_model(words: &Words) -> NoticeView {
    let updates = &words.updates;
    NoticeView {
        status: words.status.no_model.to_owned(),
        ..notice(Tone::Setback, updates.no_model, &[updates.how_to_send], None, words)
    }
}

fn notice(tone: Tone, headline: &str, lines: &[&str], progress: Option<(f32, String)>, words: &Words) -> NoticeView {
    NoticeView {
        tone,
        headline: headline.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        progress,
        model: String::new(),
        status: match tone {
            Tone::Good | Tone::Setback => words.status.ready.to_owned(),
            Tone::Busy => words.status.update.to_owned(),
            Tone::Fault => words.status.fault.to_owned(),
        },
        time: String::new(),
    }
}

/// With a capital first and a stop last.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

fn share(done: u64, total: u64) -> f32 {
    if total == 0 {
        return 0.0;
    }
    (done as f64 / total as f64) as f32
}

fn in_bytes(done: u64, total: u64, words: &Words) -> (f32, String) {
    let share = share(done, total);
    let [done, total] = [done, total].map(|bytes| bytes as f64 / MEGABYTE);
    (share, (words.updates.megabytes)(done, total, share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::Language;

    #[test]
    fn progress_is_told_in_the_languages_numbers() {
        let said = |language: Language| {
            receiving(12_100_000, 18_400_000, true, language.words())
                .progress
                .expect("progress")
                .1
        };
        assert_eq!(said(Language::English), "12.1 of 18.4 MB, 66 %");
        assert_eq!(said(Language::French), "12,1 sur 18,4 Mo, 66\u{a0}%");
        assert_eq!(said(Language::Spanish), "12,1 de 18,4 MB, 66 %");
        assert_eq!(
            verifying(0, 0, Language::English.words()).progress,
            Some((0.0, "0.0 of 0.0 MB, 0 %".to_owned()))
        );
    }

    #[test]
    fn an_end_has_its_tone_and_its_reason() {
        let told = |kind, reason: &str| {
            let outcome = Outcome {
                image: 0,
                kind,
                reason: reason.to_owned(),
            };
            super::outcome(&outcome, Some("chest 1.0.0"), Language::English.words())
        };
        let failed = told(OutcomeKind::Failed, "golden case 2 differs");
        assert_eq!(
            (failed.tone, failed.lines),
            (
                Tone::Setback,
                vec![
                    "Golden case 2 differs.".to_owned(),
                    "Model chest 1.0.0 goes on working.".to_owned()
                ]
            )
        );
        assert!(told(OutcomeKind::Confirmed, "").lines.is_empty());
        assert_eq!(no_model(Language::French.words()).status, "sans modèle");
    }

    #[test]
    fn nothing_is_said_of_a_model_or_of_cases_that_are_not_there() {
        let words = Language::English.words();
        assert!(receiving(1, 2, false, words).lines.is_empty());
        assert_eq!(self_test(0, 0, words).progress, None);
        assert!(self_test(0, 4, words).progress.is_some());
    }
}

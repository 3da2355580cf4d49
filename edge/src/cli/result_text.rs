//! A result as lines for a terminal: the words of the screen, the codes behind them, and what the screen has no room for.

use std::iter::once;

use crate::decision::DecisionKind;
use crate::finding::Finding;
use crate::screens::{Bar, ResultView};

/// The result of one image in some lines, without the last line's end.
///
/// `view` is what the screen shows of the same finding.
pub fn describe(finding: &Finding, view: &ResultView<'_>) -> String {
    let assessed = finding.decision.kind != DecisionKind::NotReadable;
    let heading = format!("{}: {}", finding.source.file, view.headline);
    let reasons = finding.decision.reasons.iter();
    let mut lines = vec![view.next_step.clone()];
    lines.extend(reasons.map(|reason| format!("{} [{}]", reason.message, reason.code)));
    lines.extend(view.what_to_do.iter().map(|step| format!("- {step}")));
    lines.extend(probabilities(&view.bars));
    lines.extend(not_ruled_out(finding));
    if assessed && !finding.unchecked_use.is_empty() {
        let unchecked = finding.unchecked_use.join(", ").replace('-', " ");
        lines.push(format!("Not checked, as the file does not say it: {unchecked}"));
    }
    lines.extend(finding.warnings.iter().map(|warning| format!("Note: {warning}")));
    lines.push(format!(
        "{} on {}, {:.0} ms. {}",
        view.edges.model, view.edges.engine, finding.timings_ms.total, finding.notice
    ));
    let lines = lines.into_iter().map(|line| format!("  {line}"));
    once(heading).chain(lines).collect::<Vec<_>>().join("\n")
}

/// One line a label, in the order of the screen.
fn probabilities(bars: &[Bar]) -> Vec<String> {
    let width = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let line = |bar: &Bar| {
        let flagged = bar
            .operating_point
            .map_or(String::new(), |point| format!("   flagged from {:.1} %", point * 100.0));
        format!("{:width$} {:6.1} %{flagged}", bar.label, bar.probability * 100.0)
    };
    bars.iter().map(line).collect()
}

/// The prediction set by the names of its labels. An empty set has its own reason among those of the decision.
fn not_ruled_out(finding: &Finding) -> Option<String> {
    let set = finding.conformal.as_ref()?;
    let inside = finding.probabilities.iter().filter(|p| set.labels.contains(&p.label));
    let names: Vec<&str> = inside.map(|p| p.name.as_str()).collect();
    let coverage = set.coverage * 100.0;
    let line = || {
        format!(
            "The truth is among these for {coverage:.0} % of images: {}",
            names.join(", ")
        )
    };
    (!names.is_empty()).then(line)
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;
    use crate::codes::Reason;
    use crate::decision::decide;
    use crate::examination::{Examination, not_readable};
    use crate::finding::{self, Engine, ImageSource, NOTICE, SCHEMA, Timings};
    use crate::inference::ModelIdentity;
    use crate::presentation::result_view;
    use crate::text::words::Language;

    fn finding(probabilities: &[f32]) -> Finding {
        let manifest = example::manifest();
        Finding {
            schema: SCHEMA.into(),
            case_id: "0001".into(),
            time: "2026-01-31T12:00:00Z".into(),
            source: ImageSource::undecoded("in/chest.png".into(), 0),
            decision: decide(&manifest, probabilities, Some(30.0), &[]),
            series: None,
            probabilities: finding::label_probabilities(&manifest, probabilities),
            conformal: finding::prediction_set(&manifest, probabilities),
            novelty: None,
            heatmaps: vec![],
            quality: None,
            unchecked_use: vec!["body-part".into(), "age".into()],
            site_thresholds: None,
            model: ModelIdentity {
                name: "chest".into(),
                version: "1.0.0".into(),
                role: "chest-xray".into(),
                digest: "0".repeat(64),
                key_id: "A".repeat(16),
            },
            engine: Engine {
                provider: "cpu".into(),
                precision: "int8-u8s8".into(),
                ..Engine::default()
            },
            timings_ms: Timings::default(),
            warnings: vec!["the file has 2 frames".into()],
            notice: NOTICE.into(),
        }
    }

    fn text(finding: Finding) -> String {
        let examination = Examination {
            finding,
            image: None,
            small: None,
            refused: None,
        };
        let view = result_view(&examination, &example::manifest(), Language::English.words(), "12:00");
        describe(&examination.finding, &view)
    }

    #[test]
    fn a_result_is_told_in_words_with_its_doubts_and_codes() {
        let wanted = "\
in/chest.png: Uncertain
  A clinician must read this image; do not go by the model.
  Not ruled out: COVID-19 pattern, no finding. [conformal-set-ambiguous]
  COVID-19 pattern          50.0 %   flagged from 40.0 %
  No finding                45.0 %
  Viral pneumonia pattern    5.0 %   flagged from 35.0 %
  The truth is among these for 95 % of images: No finding, COVID-19 pattern
  Not checked, as the file does not say it: body part, age
  Note: the file has 2 frames
  chest 1.0.0 on INT8 cpu, 0 ms. Triage aid - not a diagnosis";
        assert_eq!(text(finding(&[0.45, 0.5, 0.05])), wanted);
    }

    #[test]
    fn no_text_of_any_decision_says_normal_or_shows_an_empty_set() {
        for probabilities in [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.1, 0.2, 0.2]] {
            let text = text(finding(&probabilities));
            assert!(!text.to_lowercase().contains("normal"), "{text}");
            assert!(text.lines().all(|line| !line.ends_with(": ")), "{text}");
        }
    }

    #[test]
    fn an_image_that_cannot_be_read_comes_with_what_to_do_and_no_probabilities() {
        let blurred = Reason::with_code("blurred", "The image is blurred.");
        let text = text(Finding {
            decision: not_readable(vec![blurred]),
            conformal: None,
            ..finding(&[])
        });
        for part in [
            "Not readable",
            "The image is blurred. [blurred]",
            "- Check for motion",
            "not a diagnosis",
        ] {
            assert!(text.contains(part), "no {part} in: {text}");
        }
        assert!(!text.contains('%') && !text.contains("Not checked"), "{text}");
    }
}

//! The page of a comparison.

use crate::export::evaluation::words;
use crate::metrics::intervals::Estimate;
use crate::report::html::{Cell, Page};

use super::arms::REAL;
use super::compare::{ArmFigures, Comparison, Utility};

/// Below this p, for all comparisons together, a difference counts as more than chance.
const LEVEL: f64 = 0.05;

/// The page; `classifier` says what was trained, `generators` is a line for each generator.
#[must_use]
pub fn page(found: &Utility, classifier: &str, generators: &[String]) -> String {
    let seeds = found.arms.first().map_or(0, |arm| arm.seeds.len());
    let lead = format!(
        "{classifier}, {seeds} training(s) an arm, judged on {} real images of {} patients or groups that no arm and no \
         generator learnt from",
        found.images, found.patients
    );
    let mut page = Page::new("What generated images are worth", &lead);
    page.section("Verdict");
    for comparison in found.comparisons.iter().filter(|comparison| comparison.first == REAL) {
        page.paragraph(&verdict(comparison));
    }
    for line in generators {
        page.paragraph(line);
    }
    arms(&mut page, &found.arms);
    comparisons(&mut page, &found.comparisons);
    sources(&mut page, &found.arms);
    page.finish()
}

/// One line for a terminal and the page.
#[must_use]
pub fn verdict(found: &Comparison) -> String {
    let Comparison {
        first, second, gain, ..
    } = found;
    let amount = format!(
        "{:+.1} points of balanced accuracy (95 % {:+.1} to {:+.1}, p {:.3} for all comparisons)",
        gain.value * 100.0,
        gain.low * 100.0,
        gain.high * 100.0,
        found.p_holm
    );
    let meaning = match (found.p_holm < LEVEL, gain.value > 0.0) {
        (true, true) => "better than chance explains",
        (true, false) => "worse than chance explains",
        (false, _) => "no difference is shown",
    };
    format!("{second} against {first}: {amount}: {meaning}")
}

fn figure(estimate: &Estimate) -> Cell {
    Cell::Value(
        format!("{:.3}", estimate.value),
        format!("{:.3} to {:.3}", estimate.low, estimate.high),
    )
}

fn arms(page: &mut Page, arms: &[ArmFigures]) {
    page.section("Arms");
    page.paragraph(
        "Means over the trainings; 95 % intervals draw whole patients. In small print at the right: the balanced accuracy of \
         each training, which tells how much the seed alone makes.",
    );
    let heads = [
        "Arm",
        "Real",
        "Generated",
        "Steps",
        "Accuracy",
        "Balanced accuracy",
        "AUROC",
        "By seed",
    ];
    let row = |arm: &ArmFigures| {
        let of_seeds: Vec<String> = arm
            .seeds
            .iter()
            .map(|of| format!("{:.3}", of.balanced_accuracy))
            .collect();
        vec![
            arm.name.as_str().into(),
            arm.real_images.to_string().into(),
            arm.generated_images.to_string().into(),
            arm.steps.to_string().into(),
            figure(&arm.accuracy),
            figure(&arm.balanced_accuracy),
            figure(&arm.auroc),
            Cell::Value(String::new(), of_seeds.join(", ")),
        ]
    };
    page.table(&heads, &arms.iter().map(row).collect::<Vec<_>>());
}

fn comparisons(page: &mut Page, comparisons: &[Comparison]) {
    page.section("Each arm against the others");
    page.paragraph(
        "The gain in balanced accuracy is that of the first arm named. p is two-sided: the bootstrap over patients, the same \
         for as many comparisons as there are (Holm), and McNemar's exact test on the images that only one arm gets right, \
         which takes images for independent.",
    );
    let heads = ["", "Gain", "p, bootstrap", "p, Holm", "Only one right", "p, McNemar"];
    let row = |found: &Comparison| {
        let [only_first, only_second] = found.discordant;
        vec![
            format!("{} against {}", found.second, found.first).into(),
            Cell::Value(
                format!("{:+.3}", found.gain.value),
                format!("{:+.3} to {:+.3}", found.gain.low, found.gain.high),
            ),
            format!("{:.3}", found.p).into(),
            format!("{:.3}", found.p_holm).into(),
            format!("{only_second} against {only_first}").into(),
            format!("{:.3}", found.mcnemar_p).into(),
        ]
    };
    page.table(&heads, &comparisons.iter().map(row).collect::<Vec<_>>());
}

/// A gain that one source alone makes may be that of recognising the source.
fn sources(page: &mut Page, arms: &[ArmFigures]) {
    let Some(first) = arms.first().filter(|arm| arm.by_source.len() > 1) else {
        return;
    };
    page.section("Accuracy by source");
    let names: Vec<&String> = first.by_source.keys().collect();
    let shown = |name: &&String| {
        let n = first.by_source.get(*name).map_or(0, |found| found.n);
        format!("{} ({n} images)", if name.is_empty() { "unknown" } else { name })
    };
    let heads: Vec<String> = std::iter::once(String::new()).chain(names.iter().map(shown)).collect();
    let row = |arm: &ArmFigures| {
        let cells = names
            .iter()
            .map(|name| arm.by_source.get(*name).map_or_else(|| "-".into(), figure));
        std::iter::once(Cell::from(arm.name.as_str())).chain(cells).collect()
    };
    let rows: Vec<Vec<Cell>> = arms.iter().map(row).collect();
    page.table(&heads.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
}

/// The table for a terminal.
#[must_use]
pub fn table(found: &Utility) -> String {
    let line = |arm: &ArmFigures| {
        format!(
            "{:<20} {:>5} real + {:>5} generated, {:>6} steps: accuracy {}, balanced accuracy {}, AUROC {}",
            arm.name,
            arm.real_images,
            arm.generated_images,
            arm.steps,
            words(Some(&arm.accuracy)),
            words(Some(&arm.balanced_accuracy)),
            words(Some(&arm.auroc)),
        )
    };
    let arms = found.arms.iter().map(line);
    arms.chain(found.comparisons.iter().map(verdict))
        .collect::<Vec<_>>()
        .join("\n")
}

//! The section on a fusion: how the ratio between its members moved.

use std::path::Path;

use super::super::html::{Cell, Page};
use super::super::plots::{self, Series};
use super::draw;
use crate::export::ExportError;
use crate::export::context::Context;
use crate::recipes::MemberSection;
use crate::training::fusion::RatioPoint;
use crate::training::history::EpochRecord;

/// The path of the ratio, and where it stood at the best epoch. Nothing for other networks.
pub fn ratio(page: &mut Page, folder: &Path, context: &Context, epochs: &[EpochRecord]) -> Result<(), ExportError> {
    let Some(section) = &context.recipe.network.fusion else {
        return Ok(());
    };
    let points: Vec<&RatioPoint> = epochs.iter().flat_map(|epoch| &epoch.ratio_path).collect();
    let (Some(first), Some(best)) = (points.first(), at_the_best(context, epochs)) else {
        return Ok(());
    };
    let named = |(number, member): (usize, &MemberSection)| {
        let unnamed = || format!("member {number}, {}", member.architecture);
        member.stage.clone().unwrap_or_else(unnamed)
    };
    let members: Vec<String> = section.members.iter().enumerate().map(named).collect();
    let equal = 1.0 / members.len() as f64;
    let columns: Vec<&str> = match first.shares.first().map(Vec::len) {
        Some(1) | None => vec!["all classes"],
        _ => context.record.labels.iter().map(String::as_str).collect(),
    };
    let mut series = Vec::new();
    for (number, member) in members.iter().enumerate() {
        for (column, label) in columns.iter().enumerate() {
            let share = |point: &&RatioPoint| {
                Some((
                    point.step as f64,
                    100.0 * (point.shares.get(number)?.get(column)? - equal),
                ))
            };
            series.push(Series {
                name: format!("{member}, {label}"),
                points: points.iter().filter_map(share).collect(),
            });
        }
    }
    let plot = draw(folder, "ratio.png", |path| {
        plots::curves(
            path,
            "Path of the ratio",
            "step",
            "share beyond equal, percentage points",
            &series,
        )
    })?;
    page.section("Fusion");
    page.paragraph(
        "The score of a label is the sum of the networks' scores, each by its share; the shares are learnt together with \
         the networks, and begin equal.",
    );
    page.pictures(&[(plot, "Shares by step of the joint training".to_owned())]);
    let heads: Vec<&str> = std::iter::once("share at the best epoch")
        .chain(columns.iter().copied())
        .collect();
    let rows: Vec<Vec<Cell>> = members
        .iter()
        .zip(&best.shares)
        .map(|(member, shares)| row(member, shares))
        .collect();
    page.table(&heads, &rows);
    Ok(())
}

fn row(member: &str, shares: &[f64]) -> Vec<Cell> {
    let shares = shares.iter().map(|share| Cell::from(format!("{share:.3}")));
    std::iter::once(Cell::from(member)).chain(shares).collect()
}

/// The ratio of the checkpoint that is exported.
fn at_the_best<'a>(context: &Context, epochs: &'a [EpochRecord]) -> Option<&'a RatioPoint> {
    let best = context.record.best_epoch?;
    epochs.iter().find(|epoch| epoch.epoch == best)?.ratio_path.last()
}

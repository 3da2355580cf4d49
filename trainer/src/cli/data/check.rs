//! `data check`.

use std::path::PathBuf;

use clap::Args;
use trainer::data::Manifest;
use trainer::data::check::{CheckReport, check};
use trainer::interrupt::Interrupt;

use super::super::failure::{Code, Failure};
use super::super::output::Output;
use super::failure;

/// Lines printed of each kind of finding; `--json` has all.
const SHOWN: usize = 12;

/// Arguments of `data check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Manifest CSV, or a folder with one folder of images a class.
    data: PathBuf,
    /// Do not compare every image with every other.
    #[arg(long)]
    no_near_duplicates: bool,
}

pub fn run(arguments: &CheckArgs, output: &Output) -> Result<(), Failure> {
    let manifest = Manifest::load(&arguments.data).map_err(failure)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let report = check(&manifest, !arguments.no_near_duplicates, output, &interrupt).map_err(failure)?;
    output.result(&serde_json::to_value(&report)?, &describe(&report));
    if report.must_be_fixed() {
        let message = format!(
            "{}: files that cannot be used, or one image under two labels; mend them or take their rows out",
            arguments.data.display()
        );
        return Err(Failure::new(Code::Refused, message));
    }
    Ok(())
}

fn describe(report: &CheckReport) -> String {
    let mut lines = vec![format!(
        "{} rows, {} usable, digest {}",
        report.rows, report.usable, report.digest
    )];
    for (label, sources) in &report.counts {
        let named = |source: &str| {
            if source.is_empty() {
                "no source".to_owned()
            } else {
                source.to_owned()
            }
        };
        let shown: Vec<String> = sources
            .iter()
            .map(|(source, n)| format!("{} {n}", named(source)))
            .collect();
        lines.push(format!("  {label}: {}", shown.join(", ")));
    }
    if report.without_patient > 0 {
        lines.push(format!(
            "{} rows have neither patient_id nor group_id: each counts as a patient of its own",
            report.without_patient
        ));
    }
    let faults = report
        .faults
        .iter()
        .map(|fault| format!("{} ({}): {}", fault.path, fault.code, fault.reason));
    list(&mut lines, "files that cannot be used", faults.collect());
    let copies = report.copies.iter().map(|copies| {
        let note = if copies.labels_differ {
            " UNDER DIFFERENT LABELS"
        } else {
            ""
        };
        format!("{}{note}", copies.paths.join(" = "))
    });
    list(&mut lines, "copies of one file", copies.collect());
    let separable = report.near_duplicates.iter().filter(|pair| pair.separable);
    let pairs = separable.map(|pair| {
        let note = if pair.labels_differ { ", different labels" } else { "" };
        format!("{} ~ {} ({:.3}{note})", pair.first, pair.second, pair.correlation)
    });
    list(
        &mut lines,
        "near-duplicates that a split could part; give both one group_id",
        pairs.collect(),
    );
    let crossings = report
        .crossings
        .iter()
        .map(|crossing| format!("{} {}: {}", crossing.column, crossing.id, crossing.labels.join(", ")));
    list(&mut lines, "patients or groups in several classes", crossings.collect());
    lines.join("\n")
}

fn list(lines: &mut Vec<String>, title: &str, found: Vec<String>) {
    if found.is_empty() {
        return;
    }
    lines.push(format!("{title}: {}", found.len()));
    lines.extend(found.iter().take(SHOWN).map(|line| format!("  {line}")));
    if found.len() > SHOWN {
        lines.push(format!("  ... and {} more; --json lists all", found.len() - SHOWN));
    }
}

//! `data split`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use trainer::data::{Dataset, Part, Split, generated};

use super::super::failure::{Code, Failure};
use super::super::output::Output;
use super::{failure, recipe, shown};

/// Arguments of `data split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Manifest CSV, or a folder with one folder of images a class.
    data: PathBuf,
    /// A recipe's TOML file, or the name of a shipped one: its [data] says which rows, and how they are split.
    #[arg(long, default_value = "folder")]
    recipe: String,
    /// The CSV file to write.
    #[arg(long, default_value = "split.csv")]
    out: PathBuf,
    /// Overrides data.split.seed of the recipe.
    #[arg(long)]
    seed: Option<u64>,
}

pub fn run(arguments: &SplitArgs, output: &Output) -> Result<(), Failure> {
    let mut section = recipe(&arguments.recipe)?.data;
    section.split.seed = arguments.seed.unwrap_or(section.split.seed);
    if arguments.out.is_dir() {
        let message = format!("{}: is a folder; give the name of a CSV file", arguments.out.display());
        return Err(Failure::new(Code::Usage, message));
    }
    let dataset = Dataset::load(&arguments.data, &section).map_err(failure)?;
    let mut split = Split::draw(&dataset, &section.split).map_err(failure)?;
    generated::fill(&mut split, &dataset, &section).map_err(failure)?;
    split
        .write(&dataset, section.split.by, &arguments.out)
        .map_err(failure)?;
    let table = split.table(&dataset);
    let counts: Vec<serde_json::Value> = table
        .iter()
        .map(|((part, label, source), n)| json!({ "part": part.name(), "label": label, "source": source, "n": n }))
        .collect();
    let result = json!({
        "file": shown(&arguments.out),
        "seed": section.split.seed,
        "digest": dataset.digest,
        "left_out": dataset.left_out,
        "counts": counts,
    });
    output.result(&result, &describe(arguments, &dataset, &split));
    Ok(())
}

fn describe(arguments: &SplitArgs, dataset: &Dataset, split: &Split) -> String {
    let mut lines = Vec::new();
    for part in [Part::Train, Part::Validation, Part::Test, Part::Unused] {
        let rows = split.rows(part);
        if rows.is_empty() {
            continue;
        }
        let counts = dataset.class_counts_of(&rows);
        let shown: Vec<String> = dataset
            .labels
            .iter()
            .zip(counts)
            .map(|(label, n)| format!("{label} {n}"))
            .collect();
        lines.push(format!("{:<11}{:>6}  {}", part.name(), rows.len(), shown.join(", ")));
    }
    lines.extend(dataset.left_out.lines());
    lines.push(format!("written: {}", arguments.out.display()));
    lines.join("\n")
}

//! `evaluate`: a bundle through ONNX Runtime as the appliance runs it, on any labelled images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bundle::cli::TrustArgs;
use clap::Args;
use trainer::data::Dataset;
use trainer::export::appliance::{Appliance, Examined};
use trainer::export::context;
use trainer::interrupt::Interrupt;
use trainer::progress::Progress;
use trainer::training::run::write_atomically;

use super::failure::{Code, Failure, WithCode};
use super::output::Output;
use super::steps::failure;

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Run folder: its bundle model.scanside is evaluated.
    #[arg(
        long,
        value_name = "RUN",
        required_unless_present = "bundle",
        conflicts_with = "bundle"
    )]
    run: Option<PathBuf>,
    /// Bundle to evaluate.
    #[arg(long, value_name = "FILE.scanside")]
    bundle: Option<PathBuf>,
    /// Manifest CSV, or a folder of class folders.
    #[arg(long, value_name = "MANIFEST_OR_FOLDER")]
    data: PathBuf,
    /// Only rows of these sources (may be given more than once).
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Read a label of the data as a label of the model (may be given more than once).
    #[arg(long = "map", value_name = "DATA_LABEL=MODEL_LABEL", value_parser = mapping)]
    mapping: Vec<(String, String)>,
    /// Play the pointing game too: does the heatmap's maximum lie in the lesion mask (column `mask`)?
    #[arg(long)]
    masks: bool,
    /// Write the probabilities of each image as CSV: path, label, then one column a label.
    #[arg(long, value_name = "FILE.csv")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

fn mapping(text: &str) -> Result<(String, String), String> {
    let (from, to) = text.split_once('=').ok_or("give it as DATA_LABEL=MODEL_LABEL")?;
    Ok((from.to_owned(), to.to_owned()))
}

/// Evaluates and prints.
///
/// # Errors
/// What stopped it, with the exit code.
pub fn run(args: &EvaluateArgs, output: &Output) -> Result<(), Failure> {
    let path = match (&args.bundle, &args.run) {
        (Some(bundle), _) => bundle.clone(),
        (None, Some(run)) => run.join(context::BUNDLE_FILE),
        (None, None) => return Err(Failure::new(Code::Usage, "give --run or --bundle")),
    };
    if !path.is_file() {
        let message = format!("{}: no such bundle; `train` or `pack` makes a run's", path.display());
        return Err(Failure::new(Code::Usage, message));
    }
    // A run trusts the key that it keeps: its bundle was signed a moment ago beside it.
    let own = args
        .run
        .as_deref()
        .map(|run| run.join(trainer::export::signing::RUN_PUBLIC_KEY));
    let keys = match own.filter(|own| own.is_file() && args.trust.key.is_empty() && args.trust.keys.is_none()) {
        Some(own) => bundle::TrustedKeys::from_files(&[own]).code(Code::Usage)?,
        None => args.trust.trusted(None).map_err(super::bundle::failure)?,
    };
    let mut appliance = Appliance::open(&path, &keys, context::runtime().map_err(failure)?).map_err(failure)?;
    let mapping: BTreeMap<String, String> = args.mapping.iter().cloned().collect();
    let dataset = Dataset::for_labels(
        &args.data,
        &known(&appliance, &args.data, &mapping)?,
        &mapping,
        &args.sources,
    )
    .map_err(super::data::failure)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let examined = appliance
        .examine(&dataset, args.masks, output, &interrupt)
        .map_err(failure)?;
    if let Some(file) = &args.predictions {
        write_atomically(file, &predictions(&examined, &dataset)?)?;
    }
    print(&examined, &path, output);
    Ok(())
}

fn predictions(examined: &Examined, dataset: &Dataset) -> Result<Vec<u8>, csv::Error> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record(
        ["path", "label"]
            .into_iter()
            .chain(dataset.labels.iter().map(String::as_str)),
    )?;
    for (&row, probabilities) in examined.rows.iter().zip(examined.probabilities.rows()) {
        let row = &dataset.samples[row].row;
        let shares = probabilities.iter().map(f32::to_string);
        lines.write_record([row.path.clone(), row.label.clone()].into_iter().chain(shares))?;
    }
    lines.into_inner().map_err(|error| error.into_error().into())
}

/// The bundle's labels as the data spells them: a bundle keeps stable ids ("no_finding" for "No finding").
fn known(appliance: &Appliance, data: &Path, mapping: &BTreeMap<String, String>) -> Result<Vec<String>, Failure> {
    let manifest = trainer::data::Manifest::load(data).map_err(super::data::failure)?;
    Ok(appliance.labels_as_in(
        manifest
            .rows
            .iter()
            .map(|row| mapping.get(&row.label).unwrap_or(&row.label).as_str()),
    ))
}

fn print(examined: &Examined, path: &Path, output: &Output) {
    let mut value = serde_json::json!({ "bundle": path });
    if let (Some(fields), Ok(serde_json::Value::Object(figures))) =
        (value.as_object_mut(), serde_json::to_value(examined))
    {
        fields.extend(figures);
    }
    for one in &examined.unreadable {
        output.line(&format!("left out: {}: {}", one.path.display(), one.reason));
    }
    value["warnings"] = examined.evaluation.warnings().into();
    output.result(&value, &examined.table());
}

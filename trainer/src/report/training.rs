//! The report of a run: one page, `RUN/report/index.html`, that needs no other file, and its plots beside it.

mod fusion;
mod sections;

use std::path::PathBuf;

use onnx::quantize::QuantizationReport;
use onnx::runtime::Runtime;

use super::html::Page;
use super::plots::PlotError;
use crate::export::ExportError;
use crate::export::context::{CALIBRATION_FILE, Context, EVALUATION_FILE, GATE_FILE, INT8_FILE, QUANTIZATION_FILE};
use crate::export::evaluation::Evaluation;
use crate::export::gate::GateReport;
use crate::export::pack::Calibration;
use crate::training::history;

/// Folder of the report in the run.
const FOLDER: &str = "report";

/// Writes the report from what the steps of export left in the run folder.
///
/// # Errors
/// A step is missing, or the folder cannot be written.
pub fn write(context: &Context, runtime: &Runtime) -> Result<PathBuf, ExportError> {
    let folder = context.path(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|source| ExportError::File {
        path: folder.clone(),
        source,
    })?;
    let calibration: Calibration = context.read_json(CALIBRATION_FILE, "gate")?;
    let gate: GateReport = context.read_json(GATE_FILE, "gate")?;
    let evaluations: Vec<Evaluation> = context.read_json(EVALUATION_FILE, "gate")?;
    let quantization: QuantizationReport = context.read_json(QUANTIZATION_FILE, "quantize")?;
    let int8 = context.read(INT8_FILE, "quantize")?;

    let bundle = &context.recipe.bundle;
    let title = format!("{} {}", bundle.name, bundle.version);
    let lead = "Training report. A triage aid, never a diagnosis; figures hold for images like those below only.";
    let mut page = Page::new(&title, lead);
    sections::summary(&mut page, context, &evaluations, &gate);
    let epochs = history::read(&context.folder.metrics())?;
    sections::training(&mut page, &folder, &epochs)?;
    fusion::ratio(&mut page, &folder, context, &epochs)?;
    for evaluation in &evaluations {
        sections::evaluation(&mut page, &folder, evaluation)?;
    }
    sections::decisions(&mut page, &context.record.labels, &calibration);
    sections::gate(&mut page, &gate);
    sections::quantization(&mut page, &quantization);
    sections::phantoms(&mut page, context, runtime, &int8)?;
    sections::provenance(&mut page, context);

    let path = folder.join("index.html");
    crate::training::run::write_atomically(&path, page.finish().as_bytes())?;
    Ok(path)
}

/// A plot that was just drawn, as bytes for the page.
fn drawn(path: &std::path::Path) -> Result<Vec<u8>, ExportError> {
    std::fs::read(path).map_err(|source| ExportError::File {
        path: path.to_owned(),
        source,
    })
}

/// Draws into `folder` and gives the bytes.
fn draw(
    folder: &std::path::Path,
    name: &str,
    plot: impl FnOnce(&std::path::Path) -> Result<(), PlotError>,
) -> Result<Vec<u8>, ExportError> {
    let path = folder.join(name);
    plot(&path)?;
    drawn(&path)
}

//! `gan export`: a run's generator as an ONNX file.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tch::Device;
use trainer::training::gan::trained::Trained;
use trainer::training::run::{RunFolder, write_atomically};

use super::failure;
use crate::cli::failure::{Code, Failure, WithCode};
use crate::cli::output::Output;

/// Arguments of `gan export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Run folder, the --out of `gan train`.
    run: PathBuf,
    /// The file; generator.onnx in the run folder unless given.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Exports.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(arguments: &ExportArgs, output: &Output) -> Result<(), Failure> {
    let run = RunFolder::open(&arguments.run).code(Code::Usage)?;
    let trained = Trained::load(&run, Device::Cpu).map_err(failure)?;
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| run.path().join("generator.onnx"));
    write_atomically(&out, &trained.to_onnx().map_err(failure)?)?;
    output.result(
        &json!({ "record": "exported", "path": out, "generator": trained.digest }),
        &format!("generator {}", out.display()),
    );
    Ok(())
}

//! `export`: the best checkpoint as a float ONNX file.

use clap::Args;
use trainer::export::finish;

use super::failure::Failure;
use super::output::Output;
use super::steps::{RunArgs, failure};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    run: RunArgs,
}

/// Writes `RUN/model.onnx`.
///
/// # Errors
/// What stopped it, with the exit code.
pub fn run(args: &ExportArgs, output: &Output) -> Result<(), Failure> {
    let path = finish::export_float(&args.run.open()?).map_err(failure)?;
    output.result(
        &serde_json::json!({ "model": path }),
        &format!("wrote {}", path.display()),
    );
    Ok(())
}

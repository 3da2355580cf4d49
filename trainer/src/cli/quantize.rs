//! `quantize`: the float ONNX file in 8 bits.

use clap::Args;
use trainer::export::{context, finish};
use trainer::interrupt::Interrupt;

use super::failure::Failure;
use super::output::Output;
use super::steps::{RunArgs, failure};

/// Arguments of `quantize`.
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    #[command(flatten)]
    run: RunArgs,
}

/// Writes `RUN/model.int8.onnx` and `RUN/quantization.json`.
///
/// # Errors
/// What stopped it, with the exit code.
pub fn run(args: &QuantizeArgs, output: &Output) -> Result<(), Failure> {
    let context = args.run.open()?;
    let runtime = context::runtime().map_err(failure)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let report = finish::quantize(&context, runtime, output, &interrupt).map_err(failure)?;
    let path = context.path(context::INT8_FILE);
    output.result(
        &serde_json::json!({ "model": path, "report": report }),
        &format!("{report}\nwrote {}", path.display()),
    );
    Ok(())
}

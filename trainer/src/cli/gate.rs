//! `gate`: calibrates the INT8 file on validation, and judges it against float.

use clap::Args;
use trainer::export::{ExportError, context, finish};
use trainer::interrupt::Interrupt;

use super::failure::Failure;
use super::output::Output;
use super::steps::{RunArgs, failure};

/// Arguments of `gate`.
#[derive(Debug, Args)]
pub struct GateArgs {
    #[command(flatten)]
    run: RunArgs,
}

/// Sets temperature and novelty statistics in `RUN/model.int8.onnx`, writes `calibration.json`, `gate.json` and
/// `evaluation.json`.
///
/// # Errors
/// What stopped it; exit code 4 if the gate does not hold.
pub fn run(args: &GateArgs, output: &Output) -> Result<(), Failure> {
    let context = args.run.open()?;
    let runtime = context::runtime().map_err(failure)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let report = finish::calibrate_and_judge(&context, runtime, output, &interrupt).map_err(failure)?;
    finish::evaluate_run(&context, runtime, output, &interrupt).map_err(failure)?;
    output.result(
        &serde_json::json!({ "held": report.held, "figures": report.figures, "parity": report.parity }),
        &format!("parity gate, INT8 against float:\n{}", report.table()),
    );
    if report.held {
        Ok(())
    } else {
        Err(failure(ExportError::GateFailed(Box::new(report))))
    }
}

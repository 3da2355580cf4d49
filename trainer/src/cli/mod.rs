//! The verbs of `scanside-trainer`, one file each.

pub mod failure;
pub mod output;

use clap::{Parser, Subcommand};

use failure::Failure;
use output::Output;

/// Data, training, evaluation, export and packing of Scanside's models.
#[derive(Debug, Parser)]
#[command(name = "scanside-trainer", version, about)]
pub struct Cli {
    /// Print JSON lines on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// One variant a verb; its arguments and its `run` stand in its own file.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the versions of the program and of libtorch, and the devices it can train on.
    Version,
}

/// Runs the verb.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.json);
    match cli.verb {
        Verb::Version => version(&output),
    }
}

fn version(output: &Output) -> Result<(), Failure> {
    let devices = tch::Cuda::device_count();
    output.result(
        &serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "cuda_devices": devices }),
        &format!(
            "scanside-trainer {}, {devices} CUDA device(s)",
            env!("CARGO_PKG_VERSION")
        ),
    );
    Ok(())
}

//! The verbs of `scanside-trainer`, one file each.

mod bundle;
mod cross_validate;
mod data;
mod evaluate;
mod explain;
mod export;
pub mod failure;
mod gan;
mod gate;
pub mod output;
mod pack;
mod quantize;
mod steps;
mod train;
mod turing;

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
    /// Check, split and make images.
    #[command(subcommand)]
    Data(data::DataVerb),
    /// Train a classifier and take it to a signed bundle.
    Train(train::TrainArgs),
    /// Train a recipe on every fold of its data, and evaluate all test images together.
    CrossValidate(cross_validate::CrossValidateArgs),
    /// Write a run's best checkpoint as a float ONNX file.
    Export(export::ExportArgs),
    /// Quantize a run's ONNX file to 8 bits.
    Quantize(quantize::QuantizeArgs),
    /// Calibrate a run's 8-bit file on validation, and judge it against float.
    Gate(gate::GateArgs),
    /// Sign the bundle of a run that passed the gate.
    Pack(pack::PackArgs),
    /// Evaluate a bundle on labelled images, as the appliance runs it.
    ///
    /// Its own preprocessing, its INT8 file and its thresholds. What keeps the appliance from an answer (the quality
    /// gate, novelty, doubt) is left out: figures at the operating points are those of the thresholds alone.
    Evaluate(evaluate::EvaluateArgs),
    /// Show where a trained network looks, at any layer.
    Explain(explain::ExplainArgs),
    /// Train generative networks, and make images with them.
    #[command(subcommand)]
    Gan(gan::GanVerb),
    /// Ask readers whether they tell generated images from real ones (visual Turing test).
    #[command(subcommand)]
    Turing(turing::TuringVerb),
    /// Look into bundles and verify them.
    #[command(subcommand)]
    Bundle(::bundle::cli::BundleCommand),
    /// Make the keys that sign bundles.
    #[command(subcommand)]
    Key(::bundle::cli::KeyCommand),
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
        Verb::Data(verb) => data::run(&verb, &output),
        Verb::Train(arguments) => train::run(&arguments, &output),
        Verb::CrossValidate(arguments) => cross_validate::run(&arguments, &output),
        Verb::Export(arguments) => export::run(&arguments, &output),
        Verb::Quantize(arguments) => quantize::run(&arguments, &output),
        Verb::Gate(arguments) => gate::run(&arguments, &output),
        Verb::Pack(arguments) => pack::run(&arguments, &output),
        Verb::Evaluate(arguments) => evaluate::run(&arguments, &output),
        Verb::Explain(arguments) => explain::run(&arguments, &output),
        Verb::Gan(verb) => gan::run(&verb, &output),
        Verb::Turing(verb) => turing::run(&verb, &output),
        Verb::Bundle(command) => bundle::run(&command),
        Verb::Key(command) => bundle::run_key(&command),
        Verb::Version => version(&output),
    }
}

fn version(output: &Output) -> Result<(), Failure> {
    let devices = tch::Cuda::device_count();
    let (version, libtorch) = (env!("CARGO_PKG_VERSION"), env!("SCANSIDE_LIBTORCH_VERSION"));
    let revision = trainer::training::run::git_revision();
    output.result(
        &serde_json::json!({
            "version": version, "libtorch": libtorch, "git_revision": revision, "cuda_devices": devices,
        }),
        &format!(
            "scanside-trainer {version} (source revision {}), libtorch {libtorch}, {devices} CUDA device(s)",
            revision.as_deref().unwrap_or("unknown")
        ),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_verb_takes_its_run_as_the_same_option() {
        let command = Cli::command();
        let mut verbs = Vec::new();
        for verb in command.get_subcommands() {
            for argument in verb.get_arguments().filter(|argument| argument.get_id() == "run") {
                assert_eq!(argument.get_long(), Some("run"), "{}", verb.get_name());
                verbs.push(verb.get_name());
            }
        }
        assert_eq!(verbs, ["export", "quantize", "gate", "pack", "evaluate", "explain"]);
    }
}

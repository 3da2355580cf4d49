//! `gan`: train generative networks, and make images with them.

mod assess;
mod explain;
mod export;
mod made;
mod sample;
mod train;
mod translate;
mod utility;

use clap::Subcommand;
use trainer::training::gan::GanError;
use trainer::training::network::NetworkError;

use super::failure::{Code, Failure};
use super::output::Output;

/// The verbs of `gan`.
#[derive(Debug, Subcommand)]
pub enum GanVerb {
    /// Train a DCGAN, Pix2Pix or CycleGAN.
    Train(train::TrainArgs),
    /// Make images of each label, with a manifest that says which generator made them.
    Sample(sample::SampleArgs),
    /// Translate images from one label to another.
    Translate(translate::TranslateArgs),
    /// Judge a run's images: how far from real ones, and whether they are copies.
    Assess(assess::AssessArgs),
    /// Compare classifiers trained with and without generated images, on the same real test images.
    Utility(utility::UtilityArgs),
    /// Show where discriminators look, beside each other, on the same real and generated images.
    Explain(explain::ExplainArgs),
    /// Write a run's generator as an ONNX file.
    Export(export::ExportArgs),
}

/// Runs the verb.
///
/// # Errors
/// What ended it, with the exit code.
pub fn run(verb: &GanVerb, output: &Output) -> Result<(), Failure> {
    match verb {
        GanVerb::Train(arguments) => train::run(arguments, output),
        GanVerb::Sample(arguments) => sample::run(arguments, output),
        GanVerb::Translate(arguments) => translate::run(arguments, output),
        GanVerb::Assess(arguments) => assess::run(arguments, output),
        GanVerb::Utility(arguments) => utility::run(arguments, output),
        GanVerb::Explain(arguments) => explain::run(arguments, output),
        GanVerb::Export(arguments) => export::run(arguments, output),
    }
}

fn failure(error: GanError) -> Failure {
    let code = match &error {
        GanError::Network(NetworkError::Weights(_)) | GanError::Data(_) | GanError::TooFew { .. } | GanError::Flat => {
            Code::Refused
        }
        GanError::Network(_) => Code::Usage,
        _ => Code::Failed,
    };
    Failure {
        code,
        error: error.into(),
    }
}

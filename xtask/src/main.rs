//! One entry for people: `cargo xtask setup | demo | test | bench | peers | fuzz | soak`.

mod bench;
mod command;
mod demo;
mod fuzz;
mod licences;
mod native;
mod peers;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests and shows Scanside", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fetch the native libraries (libtorch, ONNX Runtime), checked by hash, into a cache that clones share
    Setup(native::Args),
    /// From images to a triage on the display: train, export, quantize, sign, triage
    Demo(demo::Args),
    /// Everything that must hold: format, lints, docs, licences, all tests
    Test(test::Args),
    /// Measure what the documentation claims, as ratios within one run
    Bench(bench::Args),
    /// Compare with independent programs that are too heavy for `test` and record their golden values
    Peers(peers::Args),
    /// Fuzz the parsers of files from outside
    Fuzz(fuzz::Args),
    /// Run in their long form what `test` runs in short: power cuts, kills
    Soak(soak::Args),
    /// Check that every dependency's licence is one we may ship
    Licences,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Setup(args) => native::setup(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Peers(args) => peers::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Licences => licences::check(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

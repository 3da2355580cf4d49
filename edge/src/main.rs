//! `scanside-edge`, the appliance's program.

use std::process::ExitCode;

use clap::Parser;
use scanside_edge::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(&Cli::parse()).into()
}

//! `scanside-flash`, the field engineer's program.

use std::process::ExitCode;

use clap::Parser;
use scanside_flash::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(&Cli::parse()).into()
}

//! `cargo xtask test`: everything that must hold before a change lands.

use anyhow::Result;

use crate::command::{cargo, heading, run as run_command};
use crate::{licences, native};

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Only the tests, without format, lints, docs and licences
    #[arg(long)]
    tests_only: bool,
    /// Passed on to `cargo test`, for example a test's name
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Runs the checks in the order in which a mistake is cheapest to find.
///
/// # Errors
/// The first check that fails, with its command.
pub fn run_checks() -> Result<()> {
    heading("format");
    run_command(&mut cargo(["fmt", "--all", "--check"]))?;
    licences::check()?;
    heading("lints");
    run_command(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    heading("documentation");
    run_command(cargo(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// `cargo xtask test`.
///
/// # Errors
/// The first check or test that fails.
pub fn run(args: &Args) -> Result<()> {
    native::setup_all()?;
    if !args.tests_only {
        run_checks()?;
    }
    // The end-to-end tests drive the programs that this leaves in the target folder.
    heading("build");
    run_command(&mut cargo(["build", "--workspace", "--locked"]))?;
    heading("tests");
    // libtorch's threads spin while they wait, which beside other tests makes seconds into minutes.
    let mut tests = cargo(["test", "--workspace", "--locked"]);
    run_command(tests.env("OMP_WAIT_POLICY", "passive").args(&args.rest))
}

//! `cargo xtask test`: everything that must hold before a change lands.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

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

/// The window of the desk is a feature that needs SDL2; it is checked apart, so that nothing else does.
///
/// # Errors
/// A check or test that fails; SDL2 that is absent in CI.
fn window() -> Result<()> {
    heading("window");
    let asked = Command::new("sdl2-config")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !asked.is_ok_and(|status| status.success()) {
        let message = "SDL2 is absent; apt install libsdl2-dev";
        if std::env::var_os("CI").is_some_and(|value| value == "true") {
            bail!("{message}");
        }
        eprintln!("skipped: {message}");
        return Ok(());
    }
    let whole = ["--workspace", "--locked", "--features", "scanside-edge/window"];
    let mut lints = cargo(["clippy", "--all-targets"]);
    run_command(lints.args(whole).args(["--", "-D", "warnings"]))?;
    let mut tests = cargo(["test", "--test", "window"]);
    run_command(tests.args(whole))
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
    if args.rest.is_empty() {
        window()?;
    }
    // The end-to-end tests drive the programs that this leaves in the target folder.
    heading("build");
    run_command(&mut cargo(["build", "--workspace", "--locked"]))?;
    heading("tests");
    // libtorch's threads spin while they wait, which beside other tests makes seconds into minutes.
    let mut tests = cargo(["test", "--workspace", "--locked"]);
    run_command(tests.env("OMP_WAIT_POLICY", "passive").args(&args.rest))
}

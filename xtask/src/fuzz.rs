//! `cargo xtask fuzz`: the parsers of files from outside, under cargo-fuzz.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::command::{cargo, heading, root, run as run_command};

/// The version whose command line this file speaks.
const CARGO_FUZZ: &str = "0.13.1";

/// Crates with a `fuzz/` folder, and their targets.
const TARGETS: &[(&str, &str)] = &[
    ("imaging", "decode_dicom"),
    ("imaging", "decode_raster"),
    ("bundle", "open"),
    ("bundle", "signed"),
    ("hardware", "smp_console"),
    ("hardware", "smp_raw"),
    ("hardware", "smp_body"),
];

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Seconds spent on each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Fuzzes each target for a while; a crash ends it with the input that made it.
///
/// # Errors
/// When cargo-fuzz cannot be installed, or a target crashes.
pub fn run(args: &Args) -> Result<()> {
    install()?;
    let wanted = |name: &str| args.target.as_deref().is_none_or(|target| target == name);
    for (package, target) in TARGETS.iter().filter(|(_, name)| wanted(name)) {
        heading(&format!("fuzzing {package}: {target}, {} s", args.seconds));
        let mut fuzz = cargo(["fuzz", "run", "--sanitizer", "none", target, "--"]);
        fuzz.arg(format!("-max_total_time={}", args.seconds))
            .args(["-rss_limit_mb=2048", "-timeout=20"]);
        // cargo-fuzz asks for nightly flags; the stable compiler takes them with this set.
        fuzz.current_dir(root().join(package)).env("RUSTC_BOOTSTRAP", "1");
        run_command(&mut fuzz)?;
    }
    Ok(())
}

fn install() -> Result<()> {
    let present = Command::new("cargo")
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if present.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    heading("installing cargo-fuzz");
    run_command(&mut cargo([
        "install",
        "--locked",
        "--version",
        CARGO_FUZZ,
        "cargo-fuzz",
    ]))
}

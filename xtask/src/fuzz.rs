//! `cargo xtask fuzz`: the parsers of files from outside, under cargo-fuzz.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, heading, root, run as run_command};

/// The version whose command line this file speaks.
const CARGO_FUZZ: &str = "0.13.1";

/// One target of a crate's `fuzz/` folder.
struct Target {
    package: &'static str,
    name: &'static str,
    /// Folders of the crate with files to begin with.
    seeds: &'static [&'static str],
}

const fn target(package: &'static str, name: &'static str, seeds: &'static [&'static str]) -> Target {
    Target { package, name, seeds }
}

const TARGETS: &[Target] = &[
    target("imaging", "decode_dicom", &["goldens/dicom", "goldens/refused"]),
    target("imaging", "decode_raster", &[]),
    target("bundle", "open", &[]),
    target("bundle", "signed", &[]),
    target("bundle", "delta", &[]),
    target("hardware", "smp_console", &[]),
    target("hardware", "smp_raw", &[]),
    target("hardware", "smp_body", &[]),
    target("edge", "dicom_port", &[]),
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
    let wanted = |target: &&Target| args.target.as_deref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    if targets.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("no such target; there are: {}", names.join(", "));
    }
    for target in targets {
        heading(&format!(
            "fuzzing {}: {}, {} s",
            target.package, target.name, args.seconds
        ));
        fuzz(target, args.seconds)?;
    }
    Ok(())
}

fn fuzz(target: &Target, seconds: u32) -> Result<()> {
    let folder = root().join(target.package);
    // What the fuzzer finds goes into the first folder; the seeds stay as they are.
    let corpus = format!("fuzz/corpus/{}", target.name);
    fs::create_dir_all(folder.join(&corpus)).with_context(|| format!("cannot make {corpus}"))?;
    if target.name == "decode_raster" {
        let mut seeds = cargo([
            "run",
            "--package",
            "scanside-imaging",
            "--example",
            "raster_seeds",
            "--",
        ]);
        run_command(seeds.arg(folder.join(&corpus)))?;
    }
    let mut fuzz = cargo(["fuzz", "run", "--sanitizer", "none", target.name, &corpus]);
    fuzz.args(target.seeds)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-rss_limit_mb=2048", "-timeout=20"]);
    // cargo-fuzz asks for nightly flags; the stable compiler takes them with this set.
    fuzz.current_dir(folder).env("RUSTC_BOOTSTRAP", "1");
    run_command(&mut fuzz)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The programs of a fuzz crate and their files, as its Cargo.toml names them.
    fn programs(manifest: &str) -> Vec<(String, String)> {
        let value = |section: &str, key: &str| -> String {
            let line = section.lines().find_map(|line| line.strip_prefix(key));
            let line = line.unwrap_or_else(|| panic!("{key} is missing in {section}"));
            line.trim_matches(|letter: char| letter == '"' || letter == '=' || letter.is_whitespace())
                .to_owned()
        };
        let sections = manifest.split("[[bin]]").skip(1);
        sections
            .map(|section| (value(section, "name"), value(section, "path")))
            .collect()
    }

    #[test]
    fn every_fuzz_target_is_fuzzed_and_every_file_is_a_target() {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(root()).unwrap() {
            let package = entry.unwrap().path();
            let fuzz = package.join("fuzz");
            let Ok(manifest) = fs::read_to_string(fuzz.join("Cargo.toml")) else {
                continue;
            };
            assert!(
                fuzz.join("Cargo.lock").is_file(),
                "{} has no Cargo.lock: its builds would change by themselves",
                fuzz.display()
            );
            let mut files = BTreeSet::new();
            for (name, path) in programs(&manifest) {
                files.insert(fuzz.join(path));
                let package = package.file_name().unwrap().to_string_lossy().into_owned();
                assert!(found.insert((package, name)));
            }
            let there = fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
            let there: BTreeSet<_> = there.map(|entry| entry.unwrap().path()).collect();
            assert_eq!(files, there);
        }
        let known = TARGETS.iter();
        let known: BTreeSet<_> = known
            .map(|target| (target.package.to_owned(), target.name.to_owned()))
            .collect();
        assert_eq!(found, known);
    }
}

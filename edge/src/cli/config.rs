//! `config`: whether a config file says what it should.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bundle::cli::{TrustArgs, said_once};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::cases::{print, print_json};
use crate::config::Config;
use crate::exit::Exit;

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a config file: every key, every value, the trusted keys, and whether its folders are there
    Check(CheckArgs),
}

/// Arguments of `config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The config file (TOML)
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Report {
    config: PathBuf,
    good: bool,
    /// What keeps the service from beginning.
    problem: Option<String>,
    /// What is odd, and may be meant so.
    notes: Vec<String>,
}

/// Carries the verb out; a config that cannot be used is exit code 2.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(command: &ConfigCommand) -> Result<Exit> {
    let ConfigCommand::Check(args) = command;
    let report = check(&args.config);
    if args.json {
        print_json(&report)?;
    } else {
        print(&describe(&report))?;
    }
    Ok(if report.good { Exit::Done } else { Exit::Usage })
}

fn check(path: &Path) -> Report {
    let (problem, notes) = match Config::load(path) {
        Ok(config) => (keys(&config).err(), notes(&config)),
        Err(error) => (Some(said_once(&error)), Vec::new()),
    };
    Report {
        config: path.to_path_buf(),
        good: problem.is_none(),
        problem,
        notes,
    }
}

/// The trusted keys must be there and readable.
fn keys(config: &Config) -> Result<(), String> {
    let Some(folder) = &config.trusted_keys else {
        return Ok(());
    };
    let trusted = TrustArgs::default().trusted(Some(folder));
    trusted
        .map(drop)
        .map_err(|error| format!("trusted_keys: {}", said_once(&error)))
}

fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if config.trusted_keys.is_none() {
        notes.push("trusted_keys is left out: `run` needs --key or --keys".to_owned());
    }
    let Some(appliance) = &config.appliance else {
        notes.push("[appliance] is left out: `run` needs it".to_owned());
        return notes;
    };
    if appliance.serial.is_none() {
        notes.push("[appliance.serial] is left out: no model can be flashed".to_owned());
    }
    if appliance.display.is_none() {
        notes.push("[appliance.display] is left out: nothing is shown".to_owned());
    }
    for (key, folder) in appliance.named_folders() {
        if !folder.is_dir() {
            notes.push(format!("{key} {} is not there yet", folder.display()));
        }
    }
    notes
}

fn describe(report: &Report) -> String {
    let mut lines = vec![match &report.problem {
        None => format!("{}: good", report.config.display()),
        Some(problem) => format!("error: {problem}"),
    }];
    lines.extend(report.notes.iter().map(|note| format!("  note: {note}")));
    lines.join("\n")
}

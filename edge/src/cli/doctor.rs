//! `doctor`: whether this appliance works. Of a bundle: whether it does here what its maker measured. Of an appliance, by its
//! config: that of the models that serve, and everything around them.

mod appliance;
mod check;
mod devices;
mod model;
mod network;
mod serving;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bundle::cli::answer;
use clap::Args;
use hardware::thermal;
use serde::Serialize;

use self::check::Check;
use self::model::Report;
use super::RuntimeArgs;
use crate::config::Config;
use crate::daemon::config::ApplianceConfig;
use crate::exit::{Exit, Failure};
use crate::outbox::config::OutboxConfig;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The model to check: a signed bundle [default: those that serve on the appliance of --config, and the appliance too]
    #[arg(long, value_name = "FILE.scanside")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Framebuffer to check, such as /dev/fb0
    #[arg(long, value_name = "DEVICE")]
    framebuffer: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What was found on an appliance.
#[derive(Debug, Serialize)]
struct SiteReport {
    config: PathBuf,
    checks: Vec<Check>,
    models: Vec<Report>,
    healthy: bool,
}

/// Carries the verb out.
///
/// # Errors
/// The config; of a bundle what keeps it from running: keys, bundle, library.
pub fn run(args: &DoctorArgs) -> Result<Exit> {
    match (&args.bundle, &args.runtime.config) {
        (Some(bundle), _) => of_bundle(args, bundle),
        (None, Some(config)) => of_appliance(args, config),
        (None, None) => {
            let message = "nothing to check; give --config FILE.toml of an appliance, or --bundle FILE.scanside";
            Err(Failure::new(Exit::Usage, message).into())
        }
    }
}

fn of_bundle(args: &DoctorArgs, bundle: &Path) -> Result<Exit> {
    let displays = args.framebuffer.iter().map(|path| devices::framebuffer(path)).collect();
    let (report, exit) = model::examine(args.runtime.settings(bundle)?, displays)?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report)?,
        false => model::describe(&report),
    };
    tell(&text)?;
    Ok(exit)
}

fn of_appliance(args: &DoctorArgs, path: &Path) -> Result<Exit> {
    let (_, config) = Config::load_appliance(path)?;
    let mut checks = around(&config);
    checks.extend(args.framebuffer.iter().map(|path| devices::framebuffer_check(path)));
    let mut models = Vec::new();
    for (check, report) in serving::examine(&args.runtime, &config) {
        checks.push(check);
        models.extend(report);
    }
    let exit = checks.iter().map(Check::exit).max().unwrap_or(Exit::Done);
    let report = SiteReport {
        config: path.to_path_buf(),
        checks,
        models,
        healthy: exit == Exit::Done,
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&report)?,
        false => describe(&report),
    };
    tell(&text)?;
    Ok(exit)
}

/// Everything but the models. What the config leaves out is not looked at.
fn around(config: &ApplianceConfig) -> Vec<Check> {
    let mut checks = vec![
        appliance::store(config),
        appliance::space(config),
        appliance::clock(config),
        appliance::heat(Path::new(thermal::SYSFS)),
        devices::display(&config.display.kind),
    ];
    checks.extend(config.controls.as_ref().map(devices::controls));
    checks.extend(config.leds.as_ref().map(devices::leds));
    checks.extend(config.serial.as_ref().map(devices::serial));
    checks.extend(config.dicom.as_ref().map(network::dicom));
    let archive = config.outbox.as_ref().and_then(OutboxConfig::archive);
    checks.extend(archive.as_ref().map(network::archive));
    checks
}

fn describe(report: &SiteReport) -> String {
    let mut lines: Vec<String> = report.checks.iter().map(Check::line).collect();
    lines.extend(report.models.iter().map(model::describe_model));
    let wrong = report.checks.iter().filter(|check| check.exit() != Exit::Done).count();
    lines.push(match wrong {
        0 => "healthy".to_owned(),
        wrong => format!(
            "NOT healthy: {wrong} of {} checks found a problem; do what stands there",
            report.checks.len()
        ),
    });
    lines.join("\n")
}

fn tell(text: &str) -> Result<()> {
    writeln!(answer(), "{text}").context("cannot write to standard output")
}

//! `calibrate`: operating points for this scanner, from cases whose truth is known.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bundle::cli::answer;
use bundle::manifest::{Estimate, OperatingPoint};
use bundle::operating_point::Criterion;
use chrono::SecondsFormat;
use clap::Args;

use super::cases::appliance_time;
use crate::calibration::{CalibrationFolder, LabelledCases, SiteCalibration, derive};
use crate::config::Config;
use crate::daemon::config::ApplianceConfig;
use crate::exit::{Exit, Failure};
use crate::served::Served;

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Config file of the appliance (TOML)
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,
    /// Cases with their true labels: the file of `cases export` with its column `label` filled in
    #[arg(long, value_name = "FILE.csv", required_unless_present_any = ["show", "undo"])]
    cases: Option<PathBuf>,
    /// Role of the model, if several serve
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Choose for at least this sensitivity [default: what the bundle's own points were chosen for]
    #[arg(long, value_name = "0..1", value_parser = share, conflicts_with = "specificity")]
    sensitivity: Option<f64>,
    /// Choose for at least this specificity
    #[arg(long, value_name = "0..1", value_parser = share)]
    specificity: Option<f64>,
    /// Show what would be chosen and keep nothing
    #[arg(long)]
    dry_run: bool,
    /// Show the calibration that is kept
    #[arg(long, conflicts_with_all = ["cases", "undo"])]
    show: bool,
    /// Go back to the bundle's own operating points
    #[arg(long, conflicts_with = "cases")]
    undo: bool,
    /// Print the calibration as JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "give a number from 0 to 1".to_owned())?;
    (0.0..=1.0)
        .contains(&value)
        .then_some(value)
        .ok_or_else(|| "give a number from 0 to 1".to_owned())
}

/// Carries the verb out.
///
/// # Errors
/// Config, cases, or a folder that cannot be written.
pub fn run(args: &CalibrateArgs) -> Result<Exit> {
    let (_, appliance) = Config::load_appliance(&args.config)?;
    let folder = CalibrationFolder::new(appliance.calibration());
    let served = served(args, &appliance)?;
    match (&args.cases, args.undo) {
        (_, true) => undo(args, &folder, &served),
        (None, false) => show(args, &folder, &served),
        (Some(cases), false) => {
            let made = appliance_time(&appliance).to_rfc3339_opts(SecondsFormat::Secs, true);
            calibrate(args, cases, &folder, &served, made)
        }
    }
}

/// The model that is meant: the only one, or that of `--role`.
fn served(args: &CalibrateArgs, appliance: &ApplianceConfig) -> Result<Served> {
    let mut all = Served::all(&appliance.serving())?;
    if let Some(role) = &args.role {
        all.retain(|served| &served.identity.role == role);
    }
    let roles: Vec<&str> = all.iter().map(|served| served.identity.role.as_str()).collect();
    let message = match (all.len(), &args.role) {
        (1, _) => return Ok(all.remove(0)),
        (0, Some(role)) => format!("no model serves the role {role}; flash one, then start the service once"),
        (0, None) => "no model serves yet; flash one, then start the service once".to_owned(),
        _ => format!(
            "several models serve; say which with --role {}",
            roles.join(" or --role ")
        ),
    };
    Err(Failure::new(Exit::Usage, message).into())
}

fn calibrate(
    args: &CalibrateArgs,
    path: &Path,
    folder: &CalibrationFolder,
    served: &Served,
    made: String,
) -> Result<Exit> {
    let name = || format!("cases {}", path.display());
    let file = File::open(path).with_context(name)?;
    let Served { identity, manifest } = served;
    let refused = |error: &dyn std::fmt::Display| Failure::new(Exit::InputRefused, format!("{}: {error}", name()));
    let cases = LabelledCases::read(BufReader::new(file), manifest, &identity.digest).map_err(|e| refused(&e))?;
    let asked = args.sensitivity.map(Criterion::Sensitivity);
    let criterion = asked.or(args.specificity.map(Criterion::Specificity));
    let calibration = derive(manifest, identity, &cases, criterion, made).map_err(|e| refused(&e))?;
    print(args, &calibration, served)?;
    if args.dry_run {
        return Ok(Exit::Done);
    }
    folder.keep(&calibration)?;
    tell(
        args,
        "Kept. The service takes it up with the next image; `calibrate --undo` takes it back.",
    )
}

fn show(args: &CalibrateArgs, folder: &CalibrationFolder, served: &Served) -> Result<Exit> {
    let Some(calibration) = folder.read(&served.identity.role)? else {
        if args.json {
            writeln!(answer(), "null")?;
        }
        return tell(args, "The bundle's own operating points are in use.");
    };
    print(args, &calibration, served)?;
    if calibration.digest == served.identity.digest {
        return Ok(Exit::Done);
    }
    let served = format!("{} {}", served.identity.name, served.identity.version);
    let line = format!(
        "Not in use: it was made for {}, and {served} serves. Run calibrate again with cases of {served}.",
        calibration.model
    );
    tell(args, &line)
}

fn undo(args: &CalibrateArgs, folder: &CalibrationFolder, served: &Served) -> Result<Exit> {
    let undone = folder.undo(&served.identity.role)?;
    if args.json {
        let document = serde_json::json!({ "role": served.identity.role, "undone": undone });
        writeln!(answer(), "{document}")?;
    }
    let line = match undone {
        true => "The bundle's own operating points are in use again, from the next image on.",
        false => "There was no calibration; the bundle's own operating points are in use.",
    };
    tell(args, line)
}

/// A sentence for people; a program that asked for JSON gets that alone.
fn tell(args: &CalibrateArgs, line: &str) -> Result<Exit> {
    if !args.json {
        writeln!(answer(), "{line}")?;
    }
    Ok(Exit::Done)
}

fn print(args: &CalibrateArgs, calibration: &SiteCalibration, served: &Served) -> Result<()> {
    let mut out = answer();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(calibration)?)?;
        return Ok(());
    }
    let SiteCalibration { model, made, n, .. } = calibration;
    writeln!(
        out,
        "Operating points of this site for {model}, from {n} labelled cases, {made}"
    )?;
    for own in &served.manifest.operating_points {
        let site = calibration.points.iter().find(|point| point.label == own.label);
        let label = served.manifest.labels.iter().find(|label| label.id == own.label);
        let name = label.map_or(own.label.as_str(), |label| label.name.as_str());
        writeln!(out, "\n  {name}")?;
        writeln!(out, "    bundle  {}", figures(own))?;
        match site {
            Some(site) => writeln!(out, "    site    {}", figures(site))?,
            None => writeln!(out, "    site    no threshold of its own")?,
        }
    }
    writeln!(out)?;
    for warning in &calibration.warnings {
        writeln!(out, "Warning: {warning}")?;
    }
    Ok(())
}

fn figures(point: &OperatingPoint) -> String {
    let estimate = |name: &str, found: Option<Estimate>| {
        found.map(|Estimate { value, low, high, n }| format!(", {name} {value:.3} ({low:.3} to {high:.3}, n {n})"))
    };
    let mut line = format!("flagged from {:.3}", point.threshold);
    line.extend(estimate("sensitivity", point.sensitivity));
    line.extend(estimate("specificity", point.specificity));
    line
}

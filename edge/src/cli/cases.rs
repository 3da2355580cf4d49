//! `cases`: what the appliance has taken in and found, also while it serves.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bundle::cli::answer;
use chrono::{DateTime, Local, Utc};
use clap::{Args, Subcommand};
use hardware::clock::Clock;
use hardware::slots::Folder;
use rusqlite::Connection;
use serde::Serialize;

use super::output::write_output;
use super::run::NOT_BEFORE;
use crate::config::Config;
use crate::daemon::config::ApplianceConfig;
use crate::decision::DecisionKind;
use crate::exit::{Exit, Failure};
use crate::store::cases::{self, CaseDetails, CaseKind, CaseRecord, ImageCounts};
use crate::store::export;
use crate::store::folders::Folders;
use crate::store::images::ImageRecord;
use crate::store::open_reader;

/// Cases of one read from the database.
const PAGE: u32 = 200;

/// Verbs of `cases`.
#[derive(Debug, Subcommand)]
pub enum CasesCommand {
    /// List cases, the newest first
    List(ListArgs),
    /// Show a case with its images and results
    Show(ShowArgs),
    /// Write cases as the table that `calibrate` reads
    Export(ExportArgs),
}

/// Arguments of `cases list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: u32,
}

/// Arguments of `cases show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Number of the case, such as 260314-0007
    case: String,
    #[command(flatten)]
    site: SiteArgs,
}

/// Arguments of `cases export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only cases that a person agreed or disagreed with
    #[arg(long)]
    labelled: bool,
}

/// Which appliance, and how to answer.
#[derive(Debug, Args)]
pub(super) struct SiteArgs {
    /// Config file of the appliance (TOML)
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,
    /// Print JSON: one document a line
    #[arg(long)]
    pub(super) json: bool,
}

impl SiteArgs {
    /// The folders of the appliance.
    pub(super) fn folders(&self) -> Result<Folders> {
        Ok(Config::load_appliance(&self.config)?.1.folders())
    }

    /// The config file.
    pub(super) fn config(&self) -> Result<ApplianceConfig> {
        Ok(Config::load_appliance(&self.config)?.1)
    }

    /// The database, to be read.
    pub(super) fn database(&self) -> Result<(Folders, Connection)> {
        let folders = self.folders()?;
        let opened = open_reader(folders.state());
        let connection = opened.map_err(|error| {
            let state = folders.state().display();
            Failure::new(
                Exit::Failed,
                format!("the cases in {state}: {error}; has the service run with this config yet?"),
            )
        })?;
        Ok((folders, connection))
    }
}

/// The time by the appliance's clock, which an engineer may have set apart from the system's.
pub(super) fn appliance_time(config: &ApplianceConfig) -> DateTime<Utc> {
    match Folder::open_to_read(config.monotonic()) {
        Ok(folder) => DateTime::UNIX_EPOCH + Clock::open(Arc::new(folder), NOT_BEFORE).now(),
        Err(_) => Utc::now().max(DateTime::UNIX_EPOCH + NOT_BEFORE),
    }
}

/// Carries the verb out.
///
/// # Errors
/// Config, database, output.
pub fn run(command: &CasesCommand) -> Result<Exit> {
    match command {
        CasesCommand::List(args) => list(args),
        CasesCommand::Show(args) => show(args),
        CasesCommand::Export(args) => export_cases(args),
    }
}

fn list(args: &ListArgs) -> Result<Exit> {
    let (_, connection) = args.site.database()?;
    for case in cases::list(&connection, 0, args.last)? {
        if args.site.json {
            print_json(&case)?;
        } else {
            print(&line(&case))?;
        }
    }
    Ok(Exit::Done)
}

fn show(args: &ShowArgs) -> Result<Exit> {
    let (folders, connection) = args.site.database()?;
    let details = cases::details(&connection, &folders, &args.case)?;
    if args.site.json {
        print_json(&details)?;
    } else {
        print(&describe(&details))?;
    }
    Ok(Exit::Done)
}

fn export_cases(args: &ExportArgs) -> Result<Exit> {
    let (folders, connection) = args.site.database()?;
    let mut text = Vec::new();
    if args.site.json {
        each_case(&connection, args.labelled, |case| {
            let details = cases::details(&connection, &folders, &case.number)?;
            serde_json::to_writer(&mut text, &details)?;
            text.push(b'\n');
            Ok(())
        })?;
    } else {
        export::labelled_cases(&connection, args.labelled, &mut text)?;
    }
    match &args.out {
        Some(path) => write_output(path, &text)?,
        None => answered(answer().write_all(&text))?,
    }
    Ok(Exit::Done)
}

/// The cases, the newest first.
fn each_case(connection: &Connection, labelled: bool, mut take: impl FnMut(&CaseRecord) -> Result<()>) -> Result<()> {
    let mut from = 0;
    loop {
        let page = cases::list(connection, from, PAGE)?;
        for case in page.iter().filter(|case| !labelled || case.opinion.is_some()) {
            take(case)?;
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
        from += PAGE;
    }
}

/// A case in one line.
fn line(case: &CaseRecord) -> String {
    let mut line = format!("{}  {}  {}", case.number, local(case.received), decision(case));
    if let Some(opinion) = case.opinion {
        let _ = write!(line, ", {}", opinion.text());
    }
    if case.unsent > 0 {
        let _ = write!(line, ", {} unsent", case.unsent);
    }
    line
}

/// What a case came to, in words.
fn decision(case: &CaseRecord) -> String {
    let ImageCounts {
        waiting,
        done: _,
        no_model,
        failed,
    } = case.images;
    let Some(summary) = &case.summary else {
        return match (waiting, no_model, failed) {
            (1.., _, _) => "waits".to_owned(),
            (0, 1.., _) => "no model for this kind of image".to_owned(),
            (0, 0, 1..) => "could not be assessed".to_owned(),
            _ => "no image".to_owned(),
        };
    };
    let name = summary.label_name.as_deref().or(summary.label.as_deref());
    let mut words = match (summary.decision, name) {
        (DecisionKind::Flagged, Some(name)) => format!("flagged: {name}"),
        (DecisionKind::Flagged, None) => "flagged".to_owned(),
        (DecisionKind::NoFindingFlagged, _) => "no finding flagged".to_owned(),
        (DecisionKind::Uncertain, _) => "uncertain".to_owned(),
        (DecisionKind::NotReadable, _) => "not readable".to_owned(),
    };
    if let Some(code) = &summary.code {
        let _ = write!(words, " [{code}]");
    }
    if waiting > 0 {
        let _ = write!(words, ", {waiting} wait");
    }
    words
}

fn describe(details: &CaseDetails) -> String {
    let case = &details.case;
    let kind = match case.kind {
        CaseKind::Study => "study",
        CaseKind::Series => "series",
        CaseKind::Single => "image",
    };
    let mut lines = vec![format!("{} {kind}: {}", case.number, decision(case))];
    let person = &case.patient;
    let age = case.age_years.map(|age| format!("{age:.0} y"));
    let parts = [
        person.name.clone(),
        person.id.clone(),
        case.sex.clone(),
        age,
        case.modality.clone(),
        case.body_part.clone(),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        lines.push(format!("  {}", parts.join(", ")));
    }
    if let Some(summary) = &case.summary {
        let probability = summary
            .probability
            .map_or(String::new(), |p| format!(", probability {p:.3}"));
        lines.push(format!("  {}{probability}", summary.model));
    }
    if let Some(latency) = case.latency_ms {
        lines.push(format!("  on the display {latency:.0} ms after its last byte"));
    }
    lines.extend(details.members.iter().map(member));
    lines.join("\n")
}

fn member(image: &ImageRecord) -> String {
    let mut line = format!(
        "  {:>4}  {}  {}  {}  {}",
        image.member,
        local(image.received),
        image.state.text(),
        image.origin,
        image.key
    );
    if let Some(problem) = &image.problem {
        let _ = write!(line, "  ({problem})");
    }
    line
}

pub(super) fn local(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Prints a document in one line.
pub(super) fn print_json(document: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string(document)?)
}

/// Prints a text.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = answer();
    answered(writeln!(out, "{text}").and_then(|()| out.flush()))
}

fn answered(written: std::io::Result<()>) -> Result<()> {
    let failed = |e| Failure::new(Exit::Failed, format!("cannot write to standard output: {e}"));
    Ok(written.map_err(failed)?)
}

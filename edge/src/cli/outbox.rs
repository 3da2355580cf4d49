//! `outbox`: what is to leave the appliance, also while it serves.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::cases::{SiteArgs, appliance_time, local, print, print_json};
use crate::exit::{Exit, Failure};
use crate::outbox::config::OutboxConfig;
use crate::outbox::sender;
use crate::store::outbox::{self, Entry, EntryState};
use crate::store::{Store, StoreError};

/// Verbs of `outbox`.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// List what is to be sent and what was sent, what is open first
    List(ListArgs),
    /// Try again at once what waits or was refused
    Retry(RetryArgs),
    /// Ask the archive whether it is there and knows this appliance (C-ECHO)
    Echo(EchoArgs),
    /// Give an object up, so that it is not sent and its case may be deleted in its time
    Drop(DropArgs),
}

/// Arguments of `outbox list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: u32,
}

/// Arguments of `outbox retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The object; all if it is left out
    object: Option<String>,
    #[command(flatten)]
    site: SiteArgs,
}

/// Arguments of `outbox echo`.
#[derive(Debug, Args)]
pub struct EchoArgs {
    #[command(flatten)]
    site: SiteArgs,
}

/// Arguments of `outbox drop`.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// The object
    object: String,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    site: SiteArgs,
}

/// Carries the verb out.
///
/// # Errors
/// Config, database, an object that is not there, an archive that does not answer.
pub fn run(command: &OutboxCommand) -> Result<Exit> {
    match command {
        OutboxCommand::List(args) => list(args),
        OutboxCommand::Retry(args) => {
            let retried = store(&args.site)?.retry(args.object.as_deref());
            let retried = retried.map_err(|error| not_open(error, args.object.as_deref()))?;
            if args.site.json {
                print_json(&json!({ "retried": retried }))?;
            } else {
                print(&format!("{retried} to be tried at once"))?;
            }
            Ok(Exit::Done)
        }
        OutboxCommand::Echo(args) => echo(args),
        OutboxCommand::Drop(args) => {
            let now = appliance_time(&args.site.config()?);
            let dropped = store(&args.site)?.drop_object(&args.object, &args.reason, now);
            dropped.map_err(|error| not_open(error, Some(&args.object)))?;
            if args.site.json {
                print_json(&json!({ "dropped": args.object }))?;
            } else {
                print(&format!("{} is given up and will not be sent", args.object))?;
            }
            Ok(Exit::Done)
        }
    }
}

/// C-ECHO with what the service would send with; an archive that does not answer is exit code 5.
fn echo(args: &EchoArgs) -> Result<Exit> {
    let config = args.site.config()?;
    let Some(archive) = config.outbox.as_ref().and_then(OutboxConfig::archive) else {
        let message = "[appliance.outbox.archive] is missing in the config, so there is no archive to ask; \
                       give it address and ae_title";
        return Err(Failure::new(Exit::Usage, message).into());
    };
    let problem = sender::echo(&archive).err().map(|error| error.to_string());
    if args.site.json {
        print_json(&json!({
            "archive": archive.called_ae,
            "address": archive.address,
            "calling": archive.calling_ae,
            "answers": problem.is_none(),
            "problem": problem,
        }))?;
        return Ok(if problem.is_none() { Exit::Done } else { Exit::Device });
    }
    match problem {
        None => {
            print(&format!("{archive} answers {} (C-ECHO)", archive.calling_ae))?;
            Ok(Exit::Done)
        }
        Some(problem) => Err(Failure::new(Exit::Device, problem).into()),
    }
}

/// Names the object that cannot be retried or given up.
fn not_open(error: StoreError, object: Option<&str>) -> anyhow::Error {
    match (error, object) {
        (StoreError::Gone { .. }, Some(object)) => {
            let message = format!(
                "nothing that is still to be sent is called {object}; list it with `scanside-edge outbox list`"
            );
            Failure::new(Exit::Usage, message).into()
        }
        (error, _) => error.into(),
    }
}

fn list(args: &ListArgs) -> Result<Exit> {
    let (folders, connection) = args.site.database()?;
    let entries = outbox::list(&connection, &folders, args.last)?;
    let counts = outbox::counts(&connection)?;
    if args.site.json {
        for entry in &entries {
            print_json(entry)?;
        }
        return Ok(Exit::Done);
    }
    for entry in &entries {
        print(&line(entry))?;
    }
    print(&format!(
        "{} to be made, {} to be sent ({} failing), {} refused, {} sent, {} dropped",
        counts.owed, counts.waiting, counts.failing, counts.parked, counts.sent, counts.dropped
    ))?;
    Ok(Exit::Done)
}

fn line(entry: &Entry) -> String {
    let mut line = format!(
        "{}  {:<4}  {:<7}  {}",
        entry.case_number,
        entry.kind.text(),
        entry.state.text(),
        entry.object.as_deref().unwrap_or("-")
    );
    if entry.state == EntryState::Waiting && entry.attempts > 0 {
        line += &format!("  {} tries, again at {}", entry.attempts, local(entry.next_try));
    }
    if let Some(reason) = &entry.last_error {
        line += &format!("  ({reason})");
    }
    line
}

/// The store of the appliance, to change it; the service may be running.
fn store(site: &SiteArgs) -> Result<Store> {
    // Only what the service has made is changed.
    site.database()?;
    let config = site.config()?;
    Ok(Store::open(&config.state, config.store, Vec::new())?)
}

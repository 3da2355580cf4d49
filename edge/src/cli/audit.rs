//! `audit`: whether the trail of what happened is what was written.

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use hardware::slots::Folder;

use super::cases::{SiteArgs, print, print_json};
use crate::exit::Exit;
use crate::store::audit::{AuditHead, NoHead, Verified, verify};

/// Verbs of `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check every row of the audit trail, and that none is missing
    Verify(VerifyArgs),
}

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    site: SiteArgs,
}

/// Carries the verb out; a trail with problems is exit code 4.
///
/// # Errors
/// Config, database.
pub fn run(command: &AuditCommand) -> Result<Exit> {
    let AuditCommand::Verify(args) = command;
    // The head first: a running service goes on appending.
    let folder = args.site.config()?.monotonic();
    let head = match Folder::open_to_read(&folder) {
        Ok(folder) => AuditHead::open(Arc::new(folder)).head().cloned(),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(NoHead::Absent),
        Err(error) => return Err(error).with_context(|| format!("folder {}", folder.display())),
    };
    let (_, connection) = args.site.database()?;
    let verified = verify(&connection, head)?;
    if args.site.json {
        print_json(&verified)?;
    } else {
        print(&describe(&verified))?;
    }
    Ok(if verified.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Unverified
    })
}

fn describe(verified: &Verified) -> String {
    let Verified {
        rows,
        hash,
        head,
        problems,
    } = verified;
    let reach = match head {
        Some(head) => format!("{} were written down apart from it", head.rows),
        None => "nothing that is written down apart from it says where it ends".to_owned(),
    };
    let mut lines = vec![if problems.is_empty() {
        format!("{rows} rows, sound; {reach}")
    } else {
        format!("NOT sound after {rows} rows; {reach}")
    }];
    lines.extend(problems.iter().map(|problem| format!("  {problem}")));
    lines.push(format!("  the last sound row's hash is {hash}"));
    lines.join("\n")
}

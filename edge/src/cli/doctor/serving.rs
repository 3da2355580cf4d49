//! The models that serve on an appliance, checked as they lie in their slots. The slots are the service's alone, so nothing is
//! written to them.

use std::fs::File;
use std::io::{self, BufReader};

use anyhow::{Context, Result};
use bundle::BundleError;
use bundle::cli::said_once;
use bundle::container::Reader;
use hardware::slots::Side;

use super::check::Check;
use super::model::{self, Report};
use crate::cli::{RuntimeArgs, Settings};
use crate::daemon::config::ApplianceConfig;
use crate::exit::{Exit, Failure};
use crate::served::Served;

const WHAT: &str = "model";

/// Each role's model: how it did, with its report if it ran.
pub(super) fn examine(runtime: &RuntimeArgs, config: &ApplianceConfig) -> Vec<(Check, Option<Report>)> {
    let served = match Served::all(&config.serving()) {
        Ok(served) => served,
        Err(error) => return vec![(Check::problem(WHAT, Exit::Failed, error.to_string()), None)],
    };
    let of_role = |role: &String| {
        let served = served.iter().find(|served| served.identity.role == *role);
        let examined = served.map(|served| of_slots(runtime, config, served));
        match examined {
            None => {
                let found = format!("{role}: none serves yet; flash one with scanside-flash");
                (Check::problem(WHAT, Exit::Failed, found), None)
            }
            Some(Err(error)) => {
                let found = format!("{role}: {}", said_once(error.as_ref()));
                (Check::problem(WHAT, Exit::of(&error), found), None)
            }
            Some(Ok((report, exit))) => (judge(role, &report, exit), Some(report)),
        }
    };
    config.roles.iter().map(of_role).collect()
}

fn judge(role: &str, report: &Report, exit: Exit) -> Check {
    let found = format!("{role}: {}", report.summary());
    match exit {
        Exit::Done => Check::ok(WHAT, found),
        exit => Check::problem(WHAT, exit, found),
    }
}

/// Runs the model from the slot that holds it.
fn of_slots(runtime: &RuntimeArgs, config: &ApplianceConfig, served: &Served) -> Result<(Report, Exit)> {
    let mut failed = None;
    for side in Side::BOTH {
        let slot = config.slots().join(format!("{}.{side}", served.identity.role));
        let settings = runtime.settings(&slot)?;
        let examined = match begins_as(&settings, served) {
            Ok(false) => continue,
            Ok(true) => model::examine(settings, Vec::new()),
            Err(error) => Err(error),
        };
        match examined {
            Ok((report, exit)) if report.model.digest == served.identity.digest => return Ok((report, exit)),
            // Another one of the same name and version.
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    let (name, version) = (&served.identity.name, &served.identity.version);
    Err(failed.unwrap_or_else(|| {
        let message = format!(
            "no slot holds {name} {version}, which served last; restart the service, which falls back to the other model, and \
             flash it again"
        );
        Failure::new(Exit::Unverified, message).into()
    }))
}

/// Whether a slot's signed front names this model. An empty slot names none.
fn begins_as(settings: &Settings, served: &Served) -> Result<bool> {
    let name = || format!("slot {}", settings.bundle.display());
    let file = match File::open(&settings.bundle) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(name),
    };
    match Reader::new(BufReader::new(file), &settings.keys, &settings.policy) {
        Ok(reader) => {
            let manifest = &reader.front().manifest;
            Ok(manifest.name == served.identity.name && manifest.version.to_string() == served.identity.version)
        }
        // An upload that has hardly begun.
        Err(BundleError::Truncated { .. }) => Ok(false),
        Err(error) => Err(error).with_context(name),
    }
}

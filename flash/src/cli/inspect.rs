//! `inspect`: what a bundle says about itself. The check and the words are the bundle crate's.

use std::path::PathBuf;

use bundle::cli::{BundleCommand, InspectArgs as Inspect, TrustArgs};
use clap::Args;
use serde_json::Value;

use super::Context;
use crate::exit::{Exit, Failure};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

pub fn run(context: &Context<'_>, args: &InspectArgs) -> Result<(), Failure> {
    let json = context.reporter.json();
    let command = BundleCommand::Inspect(Inspect {
        bundle: args.bundle.clone(),
        trust: args.trust.clone(),
        json,
    });
    let mut answer = Vec::new();
    command.run(None, &mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let value = if json { parse(&text)? } else { Value::Null };
    context.result("bundle", value, text.trim_end())
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))
}

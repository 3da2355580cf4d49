//! `bundle delta`: what an update from one bundle to another takes over a serial line.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{CliError, TrustArgs};
use crate::container::{self, Policy};
use crate::delta::{self, DeltaError};

/// Bytes a second of a UART at its usual speed, 115,200 baud, in console framing: 10 bits a byte, 93 bytes on a line of
/// 127.
const USUAL_BYTES_A_SECOND: u64 = 11_520 * 93 / 127;

/// Arguments of `bundle delta`.
#[derive(Debug, Clone, Args)]
pub struct DeltaArgs {
    /// The bundle that serves on an appliance
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// The bundle that is to come
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Whose signatures are accepted, on both
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &DeltaArgs, configured_keys: Option<&Path>) -> Result<String, CliError> {
    let keys = args.trust.trusted(configured_keys)?;
    let read = |path: &Path| {
        let bytes = fs::read(path).map_err(|e| CliError::io(path, e))?;
        container::verify(bytes.as_slice(), &keys, &Policy::default()).map_err(|e| CliError::bundle(path, e))?;
        Ok::<_, CliError>(bytes)
    };
    let (base, bundle) = (read(&args.base)?, read(&args.bundle)?);
    let delta = delta::make(&base, &bundle).map_err(|error| match error {
        DeltaError::Bundle(source) => CliError::bundle(&args.bundle, source),
        other => CliError::io(&args.bundle, std::io::Error::other(other)),
    })?;
    Ok(answer(args, bundle.len() as u64, delta.len() as u64))
}

fn answer(args: &DeltaArgs, whole: u64, delta: u64) -> String {
    let share = delta as f64 / whole as f64;
    if args.json {
        let value = json!({ "bundle_bytes": whole, "delta_bytes": delta, "share": share });
        return value.to_string();
    }
    let minutes = |bytes: u64| bytes as f64 / USUAL_BYTES_A_SECOND as f64 / 60.0;
    format!(
        "{}: {whole} bytes whole, {delta} as a difference to {} ({share:.3})\n  on a line of 115,200 baud {:.1} and {:.1} minutes",
        args.bundle.display(),
        args.base.display(),
        minutes(whole),
        minutes(delta),
    )
}

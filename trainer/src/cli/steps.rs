//! What the verbs between checkpoint and bundle share: the run they work on, and the exit codes of their failures.

use std::path::PathBuf;

use clap::Args;
use tch::Device;
use trainer::export::context::Context;
use trainer::export::{ExportError, Kind};
use trainer::native::{self, DeviceError};

use super::failure::{Code, Failure};

/// The run that a step works on.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run folder, the --out of `train`.
    #[arg(long, value_name = "RUN")]
    pub run: PathBuf,
    /// Manifest or folder of the images, if they are not where the run remembers them.
    #[arg(long, value_name = "MANIFEST_OR_FOLDER")]
    pub data: Option<PathBuf>,
}

impl RunArgs {
    /// Opens the run.
    ///
    /// # Errors
    /// It is no run, or its data is gone or has changed.
    pub fn open(&self) -> Result<Context, Failure> {
        Context::open(&self.run, self.data.as_deref()).map_err(failure)
    }
}

/// The device that `--device` names.
///
/// # Errors
/// A name that is none, or a device that is not there.
pub fn device(name: &str) -> Result<Device, Failure> {
    native::device(name).map_err(|error| Failure {
        code: match error {
            DeviceError::Unknown { .. } => Code::Usage,
            _ => Code::Native,
        },
        error: error.into(),
    })
}

/// An error of export with its exit code.
pub fn failure(error: ExportError) -> Failure {
    let code = match error.kind() {
        Kind::Failed => Code::Failed,
        Kind::Usage => Code::Usage,
        Kind::Refused => Code::Refused,
        Kind::Verification => Code::Verification,
        Kind::Native => Code::Native,
    };
    Failure {
        code,
        error: error.into(),
    }
}

//! The exit codes of the program, and which error has which.

use bundle::BundleError;
use bundle::cli::CliError;
use hardware::display::DisplayError;
use imaging::decode::DecodeError;
use onnx::runtime::{LibraryError, SessionError};

use crate::appliance::HardwareError;
use crate::config::ConfigError;
use crate::inference::ModelError;
use crate::store::StoreError;

/// How the program ends. With several files the worst, which is the highest, counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done; a finding of any kind is done.
    Done = 0,
    /// Reading or writing failed.
    Failed = 1,
    /// The command line or the config cannot be carried out.
    Usage = 2,
    /// An input was refused: no image, or none that can be assessed.
    InputRefused = 3,
    /// A signature, a digest or a golden case does not fit.
    Unverified = 4,
    /// A display, the native library or the archive does not work, or the appliance lacks what a bundle needs.
    Device = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure whose exit code the place that found it knows better than its type.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, why, and what to try.
    pub message: String,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl Exit {
    /// The exit code of an error, from the first cause that has one.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.exit);
        }
        if let Some(error) = cause.downcast_ref::<CliError>() {
            return Some(match error.exit_code() {
                2 => Self::Usage,
                4 => Self::Unverified,
                _ => Self::Failed,
            });
        }
        if let Some(error) = cause.downcast_ref::<BundleError>() {
            return Some(if error.is_io() { Self::Failed } else { Self::Unverified });
        }
        if let Some(error) = cause.downcast_ref::<ModelError>() {
            return Some(Self::of_model(error));
        }
        if let Some(error) = cause.downcast_ref::<DecodeError>() {
            return Some(if error.is_refusal() {
                Self::InputRefused
            } else {
                Self::Failed
            });
        }
        if cause.is::<ConfigError>() {
            return Some(Self::Usage);
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return Some(match error {
                StoreError::NoSuchCase(_) | StoreError::Gone { .. } => Self::Usage,
                _ => Self::Failed,
            });
        }
        let device = cause.is::<LibraryError>()
            || cause.is::<SessionError>()
            || cause.is::<DisplayError>()
            || cause.is::<HardwareError>();
        device.then_some(Self::Device)
    }

    fn of_model(error: &ModelError) -> Self {
        match error {
            ModelError::Bundle(error) if error.is_io() => Self::Failed,
            ModelError::Bundle(_) | ModelError::Contradiction { .. } | ModelError::Golden { .. } => Self::Unverified,
            ModelError::Preprocess(_) => Self::InputRefused,
            ModelError::Session(_) | ModelError::Hardware(_) | ModelError::NotFinite { .. } => Self::Device,
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_cause_decides_however_deep_it_is() {
        let refused = DecodeError::NotAnImage { found: "text".into() };
        let error = anyhow::Error::new(refused).context("a.dcm").context("outer");
        assert_eq!(Exit::of(&error), Exit::InputRefused);
        let absent = DecodeError::Io(std::io::ErrorKind::NotFound.into());
        assert_eq!(Exit::of(&absent.into()), Exit::Failed);
        assert_eq!(
            Exit::of(&ModelError::Bundle(BundleError::Unsigned).into()),
            Exit::Unverified
        );
        assert_eq!(Exit::of(&CliError::Usage("no key".into()).into()), Exit::Usage);
        let plain: anyhow::Result<()> = Err(std::io::Error::other("disk")).context("cannot write");
        assert_eq!(Exit::of(&plain.unwrap_err()), Exit::Failed);
    }

    #[test]
    fn the_worst_code_is_the_highest() {
        assert_eq!(Exit::Done.max(Exit::InputRefused), Exit::InputRefused);
        assert_eq!(Exit::InputRefused.max(Exit::Failed), Exit::InputRefused);
        assert_eq!(Exit::Device.max(Exit::Usage), Exit::Device);
    }
}

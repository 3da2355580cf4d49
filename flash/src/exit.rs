//! How the program ends: a class of failure with its exit code, what failed and why, and what to try.

use std::path::Path;
use std::process::ExitCode;

use bundle::cli::CliError;

/// The exit codes, as of every program of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// Reading or writing failed on this computer.
    Failed = 1,
    /// The command line cannot be carried out.
    Usage = 2,
    /// The device does not take this bundle, or this file is none.
    InputRefused = 3,
    /// A signature, a digest or a golden case does not fit.
    Unverified = 4,
    /// The device or the line does not work as it should.
    Device = 5,
}

impl Exit {
    /// A stable name for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::InputRefused => "input-refused",
            Self::Unverified => "unverified",
            Self::Device => "device",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure: printed once, as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Its class.
    pub exit: Exit,
    /// What failed, and why.
    pub message: String,
    /// What to try next.
    pub advice: String,
}

impl Failure {
    /// A failure of a class.
    pub fn new(exit: Exit, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: advice.into(),
        }
    }

    /// The device or the line.
    pub fn device(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Device, message, advice)
    }

    /// The command line.
    pub fn usage(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, advice)
    }

    /// A file on this computer.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        let advice = "check that the file or folder exists, may be used and has room";
        Self::new(Exit::Failed, format!("{}: {error}", path.display()), advice)
    }

    /// Says in front of the message what was being done.
    #[must_use]
    pub fn while_doing(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        let (exit, advice) = match error.exit_code() {
            2 => (
                Exit::Usage,
                "give the public key that the appliance trusts: --key FILE.pub or --keys FOLDER",
            ),
            4 => (
                Exit::Unverified,
                "get the bundle again from whoever made it, and compare the key's id",
            ),
            _ => (Exit::Failed, "check that the file exists and may be read"),
        };
        Self::new(exit, error.to_string(), advice)
    }
}

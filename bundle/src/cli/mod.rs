//! The verbs `bundle` and `key`, shared by the programs.
//!
//! A verb writes its answer to the writer it is given, as text or with `--json` as one JSON document, and returns a
//! [`CliError`] whose exit code is that of every program.

mod answer;
mod bundle;
mod delta;
mod key;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::container::BundleError;
use crate::sign::{SignError, TrustedKeys};

pub use answer::{Answer, answer};
pub use bundle::{BundleCommand, HeaderArgs, InspectArgs, VerifyArgs};
pub use delta::DeltaArgs;
pub use key::{KeyCommand, NewKeyArgs};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The command line cannot be carried out.
    #[error("{0}")]
    Usage(String),
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] SignError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A bundle was refused.
    #[error("{path}: {source}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
}

impl CliError {
    /// The exit code of every program: 1 for a failed read or write, 2 for the command line and its keys, 4 for a
    /// bundle that was refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } => 1,
            Self::Usage(_) | Self::Key(_) => 2,
            Self::Bundle { source, .. } if source.is_io() => 1,
            Self::Bundle { .. } => 4,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn bundle(path: &Path, source: BundleError) -> Self {
        Self::Bundle {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// An error with its causes in one line. A cause that the words before it hold already is not said twice: errors of this
/// house name theirs themselves.
#[must_use]
pub fn said_once(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !message.contains(&reason) {
            message = format!("{message}: {reason}");
        }
        cause = error.source();
    }
    message
}

/// Whose signatures are accepted. There is no way to accept none.
#[derive(Debug, Clone, Default, Args)]
pub struct TrustArgs {
    /// Public key whose bundles are accepted (may be given more than once)
    #[arg(long = "key", value_name = "FILE.pub")]
    pub key: Vec<PathBuf>,
    /// Folder of public keys whose bundles are accepted
    #[arg(long = "keys", value_name = "FOLDER", conflicts_with = "key")]
    pub keys: Option<PathBuf>,
}

impl TrustArgs {
    /// The trusted keys; `configured` is the folder to take if the command line names none.
    ///
    /// # Errors
    /// [`CliError::Usage`] if no key is named anywhere, [`CliError::Key`] if one cannot be read.
    pub fn trusted(&self, configured: Option<&Path>) -> Result<TrustedKeys, CliError> {
        if !self.key.is_empty() {
            return Ok(TrustedKeys::from_files(&self.key)?);
        }
        match self.keys.as_deref().or(configured) {
            Some(folder) => Ok(TrustedKeys::from_folder(folder)?),
            None => Err(CliError::Usage(
                "no public key to check the bundle's signature with; give --key FILE.pub or --keys FOLDER".to_owned(),
            )),
        }
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn open_file(path: &Path) -> Result<BufReader<File>, CliError> {
    let file = File::open(path).map_err(|e| CliError::io(path, e))?;
    Ok(BufReader::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_message_names_is_not_said_again() {
        let absent = CliError::io(Path::new("a.scanside"), io::ErrorKind::NotFound.into());
        assert_eq!(said_once(&absent), "a.scanside: entity not found");
        assert_eq!(
            said_once(&Silent(absent)),
            "nothing can be shown: a.scanside: entity not found"
        );
    }

    /// An error whose message leaves its cause to whoever prints it.
    #[derive(Debug, thiserror::Error)]
    #[error("nothing can be shown")]
    struct Silent(#[source] CliError);
}

//! Errors of the command line, each with its exit code.

use std::fmt;

/// Exit codes of the program. A run that does several things ends with the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// Input and output, disk full, anything without a code of its own.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// An input was refused.
    Refused = 3,
    /// A signature, digest or gate did not hold.
    Verification = 4,
    /// A device or a native library.
    Native = 5,
}

/// What ends a verb: the code and the chain of reasons, printed once by `main`.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: Code,
    /// What failed, why, what to try.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure with a message of its own.
    pub fn new(code: Code, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            code,
            error: anyhow::Error::msg(message),
        }
    }

    /// The chain of reasons in one line.
    pub fn message(&self) -> String {
        bundle::cli::said_once(self.error.as_ref())
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: Code::Failed,
            error: error.into(),
        }
    }
}

/// Gives an error its exit code: `read(path).code(Code::Refused)?`.
pub trait WithCode<T> {
    /// The same result, its error as a failure with `code`.
    fn code(self, code: Code) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> WithCode<T> for Result<T, E> {
    fn code(self, code: Code) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            code,
            error: error.into(),
        })
    }
}

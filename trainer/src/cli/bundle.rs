//! `bundle` and `key`: the verbs that trainer and appliance share; they live in the crate of the bundle.

use bundle::cli::{BundleCommand, CliError, KeyCommand, answer};

use super::failure::{Code, Failure};

/// `bundle inspect|verify|header`.
///
/// # Errors
/// What stopped it, with the exit code.
pub fn run(command: &BundleCommand) -> Result<(), Failure> {
    command.run(None, &mut answer()).map_err(failure)
}

/// `key new`.
///
/// # Errors
/// What stopped it, with the exit code.
pub fn run_key(command: &KeyCommand) -> Result<(), Failure> {
    command.run(&mut answer()).map_err(failure)
}

/// An error of these verbs with its exit code.
pub fn failure(error: CliError) -> Failure {
    let code = match error.exit_code() {
        2 => Code::Usage,
        3 => Code::Refused,
        4 => Code::Verification,
        5 => Code::Native,
        _ => Code::Failed,
    };
    Failure {
        code,
        error: error.into(),
    }
}

//! `pack`: the signed bundle of a run that passed the gate.

use std::path::PathBuf;

use clap::Args;
use trainer::export::{FinishOptions, context, finish};

use super::failure::{Code, Failure, WithCode};
use super::output::Output;
use super::steps::{RunArgs, failure};

/// Arguments of `pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    key: SignArgs,
}

/// The key that signs a run's bundle.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Secret key that signs the bundle; without it the run gets a key of its own, RUN/signing.key.
    #[arg(long, value_name = "FILE.key")]
    pub secret_key: Option<PathBuf>,
    /// File whose first line is the secret key's password.
    #[arg(long, value_name = "FILE", requires = "secret_key")]
    pub password_file: Option<PathBuf>,
}

impl SignArgs {
    /// The options of export, for images that lie at `data`.
    ///
    /// # Errors
    /// The password file cannot be read.
    pub fn options(&self, data: Option<PathBuf>) -> Result<FinishOptions, Failure> {
        let password = match &self.password_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
                    .code(Code::Usage)?;
                Some(text.lines().next().unwrap_or_default().to_owned())
            }
        };
        Ok(FinishOptions {
            secret_key: self.secret_key.clone(),
            password,
            data,
        })
    }
}

/// Writes `RUN/model.scanside`.
///
/// # Errors
/// What stopped it; exit code 4 if the gate does not hold.
pub fn run(args: &PackArgs, output: &Output) -> Result<(), Failure> {
    let context = args.run.open()?;
    let runtime = context::runtime().map_err(failure)?;
    let options = args.key.options(args.run.data.clone())?;
    let key = finish::signing_key(&args.run.run, &options, output).map_err(failure)?;
    let path = finish::pack(&context, runtime, &key.secret, output).map_err(failure)?;
    trainer::report::training::write(&context, runtime).map_err(failure)?;
    let text = match &key.public {
        Some(public) => format!("wrote {}; it verifies with {}", path.display(), public.display()),
        None => format!("wrote {}", path.display()),
    };
    output.result(&serde_json::json!({ "bundle": path, "public_key": key.public }), &text);
    Ok(())
}

//! `pack`: the signed bundle of a run that passed the gate.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use trainer::export::finish::SignedBundle;
use trainer::export::{SigningKey, context, finish};

use super::failure::Failure;
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
    /// File whose first line is the secret key's password, instead of asking for it.
    #[arg(long, value_name = "FILE", requires = "secret_key")]
    pub password_file: Option<PathBuf>,
}

impl SignArgs {
    /// The key that the arguments name; none where the run is to have one of its own.
    ///
    /// # Errors
    /// The key cannot be read, or its password is missing or wrong.
    pub fn given(&self) -> Result<Option<SigningKey>, Failure> {
        let load = |path| SigningKey::load(path, || self.password(path)).map_err(failure);
        self.secret_key.as_deref().map(load).transpose()
    }

    /// The password of the key at `path`: from the file that was named, else asked for on a terminal.
    fn password(&self, path: &Path) -> io::Result<String> {
        if let Some(file) = &self.password_file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| io::Error::other(format!("its password file {}: {error}", file.display())))?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if !io::stdin().is_terminal() {
            let message = "a password protects it; give --password-file, or start on a terminal and be asked";
            return Err(io::Error::other(message));
        }
        rpassword::prompt_password(format!("Password of the secret key {}: ", path.display()))
    }
}

/// Writes `RUN/model.scanside`.
///
/// # Errors
/// What stopped it; exit code 4 if the gate does not hold.
pub fn run(args: &PackArgs, output: &Output) -> Result<(), Failure> {
    let context = args.run.open()?;
    let runtime = context::runtime().map_err(failure)?;
    finish::may_pack(&context).map_err(failure)?;
    let key = match args.key.given()? {
        Some(key) => key,
        None => SigningKey::of_run(&args.run.run, output).map_err(failure)?,
    };
    let SignedBundle { bundle, public_key } = finish::pack(&context, runtime, &key, output).map_err(failure)?;
    trainer::report::training::write(&context, runtime).map_err(failure)?;
    output.result(
        &serde_json::json!({ "bundle": bundle, "public_key": public_key }),
        &format!("wrote {}; it verifies with {}", bundle.display(), public_key.display()),
    );
    Ok(())
}

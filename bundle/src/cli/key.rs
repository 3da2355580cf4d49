//! `key new`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{CliError, first_line};
use crate::sign;

/// Work with the keys that sign bundles.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Make a new key pair: NAME.key, which signs and stays secret, and NAME.pub, which goes to the appliances
    New(NewKeyArgs),
}

/// Arguments of `key new`.
#[derive(Debug, Clone, Args)]
pub struct NewKeyArgs {
    /// Where the pair is written, without the endings .key and .pub; existing files are never overwritten
    #[arg(long, value_name = "NAME")]
    pub out: PathBuf,
    /// Leave the secret key without a password, for machines that sign unattended
    #[arg(long)]
    pub no_password: bool,
    /// File whose first line becomes the password, instead of asking for it
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub password_file: Option<PathBuf>,
}

impl KeyCommand {
    /// Carries the verb out and writes its answer to `out`.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn run(&self, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::New(args) => new_key(args, out),
        }
    }
}

fn new_key(args: &NewKeyArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let (secret_path, public_path) = (with_ending(&args.out, "key"), with_ending(&args.out, "pub"));
    // Before a password is asked for.
    must_be_free(&secret_path)?;
    must_be_free(&public_path)?;
    let password = password(args)?;
    let keys = sign::generate(password.as_deref())?;
    write_new(&secret_path, &keys.secret_file, 0o600)?;
    write_new(&public_path, &keys.public_file, 0o644).inspect_err(|_| {
        // Half a pair is of no use, and would stand in the way of the next attempt.
        let _ = fs::remove_file(&secret_path);
    })?;
    let protection = match password {
        Some(_) => "protected by the password",
        None => "NOT protected by a password",
    };
    writeln!(
        out,
        "secret key {} ({protection}): keep it where bundles are signed\n\
         public key {} (key id {}): put it on every appliance",
        secret_path.display(),
        public_path.display(),
        sign::key_id(keys.public.keynum()),
    )
    .map_err(|e| CliError::io(Path::new("standard output"), e))
}

fn password(args: &NewKeyArgs) -> Result<Option<String>, CliError> {
    if args.no_password {
        return Ok(None);
    }
    let password = match &args.password_file {
        Some(file) => first_line(file).map_err(|e| CliError::io(file, e))?,
        None => ask_twice().map_err(|e| {
            CliError::Usage(format!(
                "cannot ask for a password ({e}); give --password-file or --no-password"
            ))
        })?,
    };
    if password.is_empty() {
        return Err(CliError::Usage(
            "the password is empty; give one, or --no-password to have none".to_owned(),
        ));
    }
    Ok(Some(password))
}

fn ask_twice() -> io::Result<String> {
    let first = rpassword::prompt_password("New password for the secret key: ")?;
    let second = rpassword::prompt_password("The same password again: ")?;
    if first != second {
        return Err(io::Error::other("the two passwords differ"));
    }
    Ok(first)
}

/// `name` with an ending appended: a dot in a name such as `site-1.2` is part of the name.
fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    PathBuf::from(path)
}

fn must_be_free(path: &Path) -> Result<(), CliError> {
    match path.symlink_metadata() {
        Ok(_) => {
            let message = "it exists, and keys are never overwritten; give another --out";
            Err(CliError::io(
                path,
                io::Error::new(io::ErrorKind::AlreadyExists, message),
            ))
        }
        Err(_) => Ok(()),
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| CliError::io(path, e))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| CliError::io(path, e))
}

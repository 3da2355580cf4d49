//! The key that signs a run's bundle, and its public half, which the run keeps.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bundle::{SecretKey, sign};

use super::error::ExportError;
use crate::progress::Progress;
use crate::training::run::write_atomically;

/// The secret key of a run that was given none.
const RUN_SECRET_KEY: &str = "signing.key";
/// The public key that verifies the run's bundle, whoever signed it.
pub const RUN_PUBLIC_KEY: &str = "signing.pub";

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    secret: SecretKey,
    public_file: String,
}

impl SigningKey {
    /// Reads a minisign secret key; `password` is asked only if one protects it.
    ///
    /// # Errors
    /// [`ExportError::Key`]: the file cannot be read or is no key, or the password is missing or wrong.
    pub fn load(path: &Path, password: impl FnOnce() -> io::Result<String>) -> Result<Self, ExportError> {
        let secret = sign::load_secret(path, password)?;
        let public_file = sign::public_file(&secret)?;
        Ok(Self { secret, public_file })
    }

    /// The run's own key, which is made if it is not there yet.
    ///
    /// # Errors
    /// The key cannot be read or written.
    pub fn of_run(run: &Path, progress: &dyn Progress) -> Result<Self, ExportError> {
        let path = run.join(RUN_SECRET_KEY);
        if !path.is_file() {
            write_private(&path, sign::generate(None)?.secret_file.as_bytes())?;
            progress.line(&format!(
                "no signing key was given: made {} for this run; for appliances in use, make one key with \
                 `scanside-trainer key new` and give it with --secret-key",
                path.display()
            ));
        }
        Self::load(&path, || Err(io::Error::other("the key of a run has no password")))
    }

    /// The key.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// Writes the public half into the run folder, where it verifies the run's bundle.
    ///
    /// # Errors
    /// Input and output.
    pub fn keep_public(&self, run: &Path) -> Result<PathBuf, ExportError> {
        let path = run.join(RUN_PUBLIC_KEY);
        write_atomically(&path, self.public_file.as_bytes())?;
        Ok(path)
    }
}

/// Writes a new file that only its owner may read.
fn write_private(path: &Path, content: &[u8]) -> Result<(), ExportError> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(|source| ExportError::file(path, source))
}

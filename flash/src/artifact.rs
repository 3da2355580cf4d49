//! The bundle on this computer, as it is about to go over the line.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bundle::cli::{CliError, TrustArgs};
use bundle::container::{self, BundleError, Front, Policy, hexadecimal};
use bundle::mcuboot::{PROTECTED_BYTES, TRAILER_BYTES, Trailer};
use bundle::{Manifest, Version};
use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};

/// Bytes of the file that are read at once.
const READ_BYTES: usize = 64 << 10;

/// A bundle file. What the manifest says is believed only if the signature was checked; the device checks it anyway.
#[derive(Debug)]
pub struct Artifact {
    path: PathBuf,
    file: File,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file: what SMP calls `sha`.
    pub sha256: [u8; 32],
    /// The SHA-256 of its last TLV, which names the image: what SMP calls `hash`.
    pub hash: [u8; 32],
    /// Length of what stands before the payload, in bytes: enough for the device to judge it.
    pub front_bytes: u64,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Id of the key whose signature was checked; `None` if no key was given.
    pub verified_by: Option<String>,
}

impl Artifact {
    /// Opens a bundle, and checks that it arrived undamaged on this computer; with a key every byte of it.
    ///
    /// # Errors
    /// A file that is no bundle, is damaged, or is not signed by a given key.
    pub fn open(path: &Path, trust: &TrustArgs) -> Result<Self, Failure> {
        let mut file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let front = Front::read(BufReader::new(&file)).map_err(|error| refused(path, error))?;
        let manifest = front.unverified_manifest().map_err(|error| refused(path, error))?;
        let verified_by = verify(path, &mut file, trust)?;
        let facts = measure(&mut file).map_err(|error| Failure::file(path, &error))?;
        let named = facts.named.filter(|trailer| trailer.digest == facts.digest);
        let trailer = named.ok_or_else(|| damaged(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes: facts.bytes,
            sha256: facts.sha256,
            hash: trailer.digest,
            front_bytes: front.front_bytes() as u64,
            manifest,
            verified_by,
        })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All its bytes.
    ///
    /// # Errors
    /// As [`Artifact::read`].
    pub fn whole(&mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.manifest.version
    }

    /// "chest-triage 1.2.3 (chest-xray)", and whether that was checked.
    #[must_use]
    pub fn title(&self) -> String {
        let manifest = &self.manifest;
        let checked = match &self.verified_by {
            Some(key) => format!("signed by {key}"),
            None => "signature left to the device".to_owned(),
        };
        format!(
            "{} {} for {}, {checked}",
            manifest.name, manifest.version, manifest.role
        )
    }

    /// Its name among images: the first digits of its hash.
    #[must_use]
    pub fn short_hash(&self) -> String {
        hexadecimal(&self.hash[..6])
    }

    /// Fills `into` with the bytes from `offset` on, which the file must have.
    ///
    /// # Errors
    /// What the system says, also of a file that has become shorter.
    pub fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Failure> {
        let read = self
            .file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.read_exact(into));
        read.map_err(|error| Failure::file(&self.path, &error))
    }
}

fn verify(path: &Path, file: &mut File, trust: &TrustArgs) -> Result<Option<String>, Failure> {
    if trust.key.is_empty() && trust.keys.is_none() {
        return Ok(None);
    }
    let keys = trust.trusted(None)?;
    file.rewind().map_err(|error| Failure::file(path, &error))?;
    let checked = container::verify(BufReader::new(file), &keys, &Policy::default());
    let checked = checked.map_err(|error| refused(path, error))?;
    Ok(Some(checked.front.signed_by.key_id))
}

struct Facts {
    bytes: u64,
    sha256: [u8; 32],
    /// SHA-256 of what the last TLV covers.
    digest: [u8; 32],
    named: Option<Trailer>,
}

fn measure(file: &mut File) -> io::Result<Facts> {
    let bytes = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let unprotected = (TRAILER_BYTES - PROTECTED_BYTES) as u64;
    let mut all = Sha256::new();
    hash(&mut (&*file).take(bytes.saturating_sub(unprotected)), &mut all)?;
    let digest = all.clone().finalize().into();
    hash(file, &mut all)?;
    let mut trailer = [0; TRAILER_BYTES];
    file.seek(SeekFrom::Start(bytes.saturating_sub(TRAILER_BYTES as u64)))?;
    file.read_exact(&mut trailer)?;
    Ok(Facts {
        bytes,
        sha256: all.finalize().into(),
        digest,
        named: Trailer::parse(&trailer).ok(),
    })
}

fn hash(from: &mut impl Read, into: &mut Sha256) -> io::Result<()> {
    let mut chunk = vec![0; READ_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => into.update(chunk.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn refused(path: &Path, source: BundleError) -> Failure {
    let path = path.to_owned();
    CliError::Bundle { path, source }.into()
}

fn damaged(path: &Path) -> Failure {
    Failure::new(
        Exit::Unverified,
        format!(
            "{}: the file does not have the digest at its end: it was damaged or cut short",
            path.display()
        ),
        "copy it again from where it was made",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bundle::{example, sign};

    use super::*;

    /// A signed example and its public key, as files.
    fn example_files(folder: &Path) -> (PathBuf, PathBuf) {
        let keys = sign::generate(None).unwrap();
        let secret = sign::parse_secret(&keys.secret_file).unwrap();
        let (path, public) = (folder.join("a.scanside"), folder.join("a.pub"));
        let mut file = Vec::new();
        container::write(&example::manifest(), &example::files(), &secret, &mut file).unwrap();
        fs::write(&path, file).unwrap();
        fs::write(&public, keys.public_file).unwrap();
        (path, public)
    }

    fn trusting(key: PathBuf) -> TrustArgs {
        TrustArgs {
            key: vec![key],
            keys: None,
        }
    }

    #[test]
    fn a_bundle_is_named_as_on_the_device() {
        let folder = tempfile::tempdir().unwrap();
        let (path, public) = example_files(folder.path());
        let mut artifact = Artifact::open(&path, &TrustArgs::default()).unwrap();
        assert_eq!(artifact.verified_by, None);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(artifact.bytes, bytes.len() as u64);
        assert_eq!(artifact.sha256.as_slice(), Sha256::digest(&bytes).as_slice());
        assert_eq!(artifact.hash, bytes[bytes.len() - 32..]);
        let mut middle = [0; 100];
        artifact.read(50, &mut middle).unwrap();
        assert_eq!(middle, bytes[50..150]);
        assert!(artifact.read(artifact.bytes - 50, &mut middle).is_err());

        let checked = Artifact::open(&path, &trusting(public)).unwrap();
        assert!(checked.verified_by.is_some());
        assert_eq!(checked.hash, artifact.hash);
        let front = Front::read(bytes.as_slice()).unwrap();
        assert_eq!(checked.front_bytes, front.front_bytes() as u64);
    }

    #[test]
    fn damaged_foreign_and_unsigned_files_do_not_go_out() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = example_files(folder.path());
        let code = |path: &Path, trust: &TrustArgs| Artifact::open(path, trust).unwrap_err().exit;
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len() - 100;
        bytes[end] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(code(&path, &TrustArgs::default()), Exit::Unverified);
        fs::write(&path, &bytes[..end]).unwrap();
        assert_eq!(code(&path, &TrustArgs::default()), Exit::Unverified);
        fs::write(&path, b"text").unwrap();
        assert_eq!(code(&path, &TrustArgs::default()), Exit::Unverified);
        assert_eq!(code(&folder.path().join("none"), &TrustArgs::default()), Exit::Failed);
    }

    #[test]
    fn a_strangers_signature_is_refused_here_already() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, _) = example_files(ours.path());
        let (_, stranger) = example_files(theirs.path());
        let failure = Artifact::open(&path, &trusting(stranger)).unwrap_err();
        assert_eq!(failure.exit, Exit::Unverified);
        assert!(failure.message.contains("unknown key"), "{}", failure.message);
    }
}

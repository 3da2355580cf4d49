//! Where a difference may start from: the bundle that serves on the device, as a file on this computer.
//!
//! Nothing but digests is believed: of a file's name, its place or its version nothing follows. The candidates are
//! looked at in this order; the first one that is the device's bundle, byte by byte, is taken.
//!
//! 1. the file that was named (`--base`)
//! 2. the folder that was named (`--bases`)
//! 3. the folder of the bundle that is being sent
//! 4. copies of what was sent before from here

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bundle::cli::TrustArgs;
use bundle::container::hexadecimal;
use bundle::mcuboot::{TRAILER_BYTES, Trailer};

use crate::artifact::Artifact;
use crate::exit::Failure;

/// Ending of bundle files.
const ENDING: &str = "scanside";
/// How many bundles are kept; the one that was sent longest ago goes first.
pub const KEPT_BUNDLES: usize = 8;

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// A file that was named.
    pub file: Option<PathBuf>,
    /// Folders, in their order; not looked into are the folders in them.
    pub folders: Vec<PathBuf>,
}

impl Places {
    /// The bundle of this hash, checked against it. Files that are something else, or cannot be read, are passed over.
    #[must_use]
    pub fn find(&self, hash: &[u8; 32]) -> Option<Artifact> {
        let named = self.file.iter().cloned();
        let others = self.folders.iter().flat_map(|folder| bundles(folder));
        named.chain(others).find_map(|path| checked(&path, hash))
    }
}

/// The bundle files of a folder, by name.
fn bundles(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
        .collect();
    paths.sort();
    paths
}

/// Reads a file only if its last bytes say that it is the wanted one.
fn checked(path: &Path, hash: &[u8; 32]) -> Option<Artifact> {
    if named(path).ok()? != *hash {
        return None;
    }
    // The device has this bundle: whose it is was checked there. Here it must be the same, to the last byte.
    let artifact = Artifact::open(path, &TrustArgs::default()).ok()?;
    (artifact.hash == *hash).then_some(artifact)
}

/// The hash that a file ends with.
fn named(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut trailer = [0; TRAILER_BYTES];
    file.seek(SeekFrom::End(-(TRAILER_BYTES as i64)))?;
    file.read_exact(&mut trailer)?;
    let trailer = Trailer::parse(&trailer).map_err(io::Error::other)?;
    Ok(trailer.digest)
}

/// Copies of what was sent from this computer, each named by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// In a folder, which is made when the first bundle comes.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// In the user's folder for caches: `$XDG_CACHE_HOME`, else `~/Library/Caches` on macOS and `~/.cache` elsewhere.
    /// `None` of a user without a home.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let usual = if cfg!(target_os = "macos") {
            "Library/Caches"
        } else {
            ".cache"
        };
        let caches = named
            .filter(|folder| folder.is_absolute())
            .or_else(|| Some(std::env::home_dir()?.join(usual)))?;
        Some(Self::new(caches.join("scanside-flash/sent")))
    }

    /// Where they lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a copy of a bundle that a device has now, and lets the oldest go.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, artifact: &mut Artifact) -> Result<(), Failure> {
        let path = self.folder.join(format!("{}.{ENDING}", hexadecimal(&artifact.hash)));
        if checked(&path, &artifact.hash).is_none() {
            fs::create_dir_all(&self.folder).map_err(|error| Failure::file(&self.folder, &error))?;
            self.copy(artifact, &path)?;
        }
        let used = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        used.map_err(|error| Failure::file(&path, &error))?;
        self.let_go();
        Ok(())
    }

    fn copy(&self, artifact: &mut Artifact, path: &Path) -> Result<(), Failure> {
        let bytes = artifact.whole()?;
        hardware::whole_file::write(path, &bytes).map_err(|error| Failure::file(path, &error))
    }

    fn let_go(&self) {
        let age = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let mut kept: Vec<_> = bundles(&self.folder)
            .into_iter()
            .map(|path| (age(&path), path))
            .collect();
        kept.sort();
        for (_, path) in kept.iter().rev().skip(KEPT_BUNDLES) {
            // Left over, it only takes room.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bundle::{container, example, sign};

    use super::*;

    /// Writes a bundle that is like no other, and gives its hash.
    fn write(path: &Path) -> [u8; 32] {
        let keys = sign::generate(None).unwrap();
        let secret = sign::parse_secret(&keys.secret_file).unwrap();
        let mut bytes = Vec::new();
        container::write(&example::manifest(), &example::files(), &secret, &mut bytes).unwrap();
        fs::write(path, &bytes).unwrap();
        *bytes.last_chunk().unwrap()
    }

    #[test]
    fn a_base_is_found_by_its_digest_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.scanside"), folder.path().join("b.scanside"));
        let [hash_a, hash_b] = [&a, &b].map(|path| write(path));
        fs::write(folder.path().join("notes.scanside"), "short").unwrap();
        let here = Places {
            file: None,
            folders: vec![folder.path().join("none"), folder.path().to_owned()],
        };
        assert_eq!(here.find(&hash_a).unwrap().hash, hash_a);
        assert!(here.find(&[0; 32]).is_none());
        let named = Places {
            file: Some(b.clone()),
            folders: Vec::new(),
        };
        assert_eq!(named.find(&hash_b).unwrap().hash, hash_b);
        assert!(named.find(&hash_a).is_none());
        // The right end, but a byte before it is wrong.
        let mut bytes = fs::read(&b).unwrap();
        bytes[200] ^= 1;
        fs::write(&b, bytes).unwrap();
        assert!(named.find(&hash_b).is_none());
    }

    #[test]
    fn the_bundles_sent_last_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, path) = (Kept::new(folder.path().join("sent")), folder.path().join("a.scanside"));
        let mut hashes = Vec::new();
        for age in (0..KEPT_BUNDLES as u64 + 2).rev() {
            hashes.push(write(&path));
            kept.keep(&mut Artifact::open(&path, &TrustArgs::default()).unwrap())
                .unwrap();
            let newest = kept
                .folder()
                .join(format!("{}.{ENDING}", hexadecimal(hashes.last().unwrap())));
            let then = SystemTime::now() - Duration::from_secs(1000 + age);
            File::open(newest).unwrap().set_modified(then).unwrap();
        }
        let places = Places {
            file: None,
            folders: vec![kept.folder().to_owned()],
        };
        let found = hashes.iter().map(|hash| places.find(hash).is_some());
        assert!(found.eq((0..hashes.len()).map(|n| n >= 2)));
        // What is sent again counts as new.
        fs::copy(
            kept.folder().join(format!("{}.{ENDING}", hexadecimal(&hashes[2]))),
            &path,
        )
        .unwrap();
        kept.keep(&mut Artifact::open(&path, &TrustArgs::default()).unwrap())
            .unwrap();
        write(&path);
        kept.keep(&mut Artifact::open(&path, &TrustArgs::default()).unwrap())
            .unwrap();
        assert!(places.find(&hashes[2]).is_some() && places.find(&hashes[3]).is_none());
    }
}

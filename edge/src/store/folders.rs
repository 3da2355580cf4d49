//! The files beside the database.
//!
//! | in `state` | what |
//! |---|---|
//! | `incoming/` | objects on their way in; emptied by each start, as nobody heard of success |
//! | `images/` | accepted images, by a name made from key and digest |
//! | `pictures/` | small pictures for the screen |
//! | `results/` | one JSON file a result |
//! | `outbox/` | objects that wait to be sent |
//! | `examining` | which images are under examination, for a start after a crash |

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bundle::container::hexadecimal;
use sha2::{Digest, Sha256};

use super::StoreError;

/// Hexadecimal digits of an image's file name.
const NAME_DIGITS: usize = 40;
/// Room for the numbers of two images.
const NOTE_BYTES: usize = 63;

/// The folders of a state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    state: PathBuf,
    incoming: PathBuf,
}

impl Folders {
    /// Of a state folder, without looking at it.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self {
            state: state.to_path_buf(),
            incoming: state.join("incoming"),
        }
    }

    /// Makes what is missing.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn make(state: &Path) -> Result<Self, StoreError> {
        let folders = Self::of(state);
        for folder in [
            folders.incoming.clone(),
            folders.images(),
            folders.pictures(),
            folders.results(),
            folders.outbox(),
        ] {
            fs::create_dir_all(&folder).map_err(|source| failed(&folder, "make the folder", source))?;
        }
        sync_folder(state)?;
        Ok(folders)
    }

    /// The state folder itself.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Where intakes write.
    #[must_use]
    pub fn incoming(&self) -> &Path {
        &self.incoming
    }

    /// Accepted images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// Pictures for the screen.
    #[must_use]
    pub fn pictures(&self) -> PathBuf {
        self.state.join("pictures")
    }

    /// Results as JSON.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.state.join("results")
    }

    /// Objects that wait to be sent.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.state.join("outbox")
    }

    /// The service's logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// The file of a result: `260314-0007.json`, and for further images of a case `260314-0007-2.json`.
    #[must_use]
    pub fn result(&self, case_number: &str, member: u32) -> PathBuf {
        let name = match member {
            0 | 1 => format!("{case_number}.json"),
            member => format!("{case_number}-{member}.json"),
        };
        self.results().join(name)
    }

    /// The name of an image's file: the same image has the same name, another one another.
    #[must_use]
    pub fn image_name(key: &str, digest: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key.as_bytes());
        hash.update(digest);
        let mut name = hexadecimal(&hash.finalize());
        name.truncate(NAME_DIGITS);
        name
    }

    /// Gives a whole file its place among the images, where nothing makes it durable yet.
    pub(super) fn adopt(&self, from: &Path, name: &str) -> Result<(), StoreError> {
        let to = self.images().join(name);
        fs::rename(from, &to).map_err(|source| failed(from, "move the image to its place", source))
    }

    /// Gives the file back to the intake that it came from.
    pub(super) fn give_back(&self, name: &str, to: &Path) -> Result<(), StoreError> {
        let from = self.images().join(name);
        fs::rename(&from, to).map_err(|source| failed(&from, "move the image back", source))
    }

    /// Removes a file; one that is gone already is as good.
    pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(path, "remove the file", source)),
            _ => Ok(()),
        }
    }

    /// Removes what an interrupted writer left in a folder of whole files.
    pub(super) fn sweep_unfinished(folder: &Path) -> Result<usize, StoreError> {
        let mut removed = 0;
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "partial") {
                Self::remove(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes what lies in a folder and is not among `known`; gives how many files that were.
    pub(super) fn sweep(folder: &Path, known: &HashSet<String>) -> Result<usize, StoreError> {
        let read = |source| failed(folder, "read the folder", source);
        let mut removed = 0;
        for entry in fs::read_dir(folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let is_known = entry.file_name().to_str().is_some_and(|name| known.contains(name));
            if !is_known && entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
                Self::remove(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The highest number of a day among the results: they may be older than the database.
    pub(super) fn highest_number(&self, day: &str) -> u32 {
        let names = fs::read_dir(self.results()).into_iter().flatten().flatten();
        let number = |name: &str| {
            let rest = name.strip_prefix(day)?.strip_prefix('-')?;
            let digits = rest.split(['-', '.']).next()?;
            digits.parse::<u32>().ok()
        };
        names
            .filter_map(|entry| number(entry.file_name().to_str()?))
            .max()
            .unwrap_or(0)
    }

    fn examining(&self) -> PathBuf {
        self.state.join("examining")
    }

    /// Writes down which images are under examination. Not synced: it is for a start after a crash of the service,
    /// which leaves it in the system's cache; a power cut is no image's fault.
    pub(super) fn note_examining(&self, images: &[i64]) -> Result<(), StoreError> {
        let text: Vec<String> = images.iter().map(i64::to_string).collect();
        let path = self.examining();
        // Always as long as before: a file that is cut and grows again waits for whatever the file system is writing.
        let text = format!("{:<NOTE_BYTES$}\n", text.join("\n"));
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| file.write_all_at(text.as_bytes(), 0))
            .map_err(|source| failed(&path, "write the file", source))
    }

    /// Which images were under examination when the service ended.
    pub(super) fn was_examining(&self) -> Vec<i64> {
        let text = fs::read_to_string(self.examining()).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }
}

/// Returns when the names in a folder are durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed(path, "sync the folder", source))
}

pub(super) fn failed(path: &Path, action: &'static str, source: io::Error) -> StoreError {
    StoreError::File {
        path: path.to_path_buf(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_name_and_others_have_others() {
        let name = Folders::image_name("1.2.3", &[7; 32]);
        assert_eq!(name, Folders::image_name("1.2.3", &[7; 32]));
        assert_eq!(name.len(), NAME_DIGITS);
        assert_ne!(name, Folders::image_name("1.2.3", &[8; 32]));
        assert_ne!(Folders::image_name("a", b"bc"), Folders::image_name("ab", b"c"));
    }

    #[test]
    fn a_sweep_leaves_what_is_known() {
        let place = tempfile::tempdir().unwrap();
        let folders = Folders::make(place.path()).unwrap();
        let images = folders.images();
        fs::create_dir(images.join("folder")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(images.join(name), name).unwrap();
        }
        let known = HashSet::from(["b".to_owned()]);
        assert_eq!(Folders::sweep(&images, &known).unwrap(), 2);
        assert!(images.join("b").exists() && images.join("folder").exists() && !images.join("a").exists());
    }

    #[test]
    fn numbers_go_on_behind_results_that_are_there() {
        let place = tempfile::tempdir().unwrap();
        let folders = Folders::make(place.path()).unwrap();
        assert_eq!(folders.highest_number("260314"), 0);
        for name in [
            "260314-0007.json",
            "260314-0012-3.json",
            "260315-0100.json",
            "260314-x.json",
            "260314.json",
        ] {
            fs::write(folders.results().join(name), "").unwrap();
        }
        assert_eq!(folders.highest_number("260314"), 12);
    }

    #[test]
    fn what_is_examined_is_known_after_a_crash() {
        let place = tempfile::tempdir().unwrap();
        let folders = Folders::make(place.path()).unwrap();
        assert!(folders.was_examining().is_empty());
        folders.note_examining(&[3, 12]).unwrap();
        assert_eq!(folders.was_examining(), [3, 12]);
        folders.note_examining(&[]).unwrap();
        assert!(folders.was_examining().is_empty());
    }
}

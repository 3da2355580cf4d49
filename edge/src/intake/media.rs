//! Removable media: images on whatever is mounted where the config says are copied in. Nothing is written to a medium.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hardware::smp::port::matches;
use imaging::decode::{self, FileKind};
use serde::Deserialize;
use walkdir::WalkDir;

use super::arrival::{AcceptError, Acceptor, Origin, Room};
use super::folder::{IntakeError, take_copy};
use crate::daemon::board::Part;
use crate::daemon::tasks::{Surroundings, Task};

/// How often to look for media.
const REST: Duration = Duration::from_secs(2);
/// How often to ask for room while the queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Folders within folders of a medium.
const DEPTH: usize = 12;
/// Files of a medium that are looked at; a disk full of them is no medium with a study.
const MOST_FILES: usize = 20_000;
/// Bytes that say whether a file is an image.
const BEGINNING: u64 = 4096;

/// `[appliance.media]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaConfig {
    /// Where media are mounted: a path whose last part may hold `*` and `?`, such as `/media/*`.
    pub mounts: String,
    /// Whether PNG, JPEG and TIFF files are taken too, and not DICOM only: people carry photographs about.
    #[serde(default)]
    pub pictures: bool,
}

impl MediaConfig {
    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file.
    pub fn check(&self) -> Result<(), String> {
        let mounts = Path::new(&self.mounts);
        if mounts.is_absolute() && is_pattern_at_its_end(mounts) {
            return Ok(());
        }
        Err(format!(
            "media.mounts is \"{}\"; give an absolute path whose last part alone may hold * and ?, such as /media/*",
            self.mounts
        ))
    }
}

/// Whether [`matches()`] finds what a path means: it looks for `*` and `?` in the last part alone.
pub fn is_pattern_at_its_end(path: &Path) -> bool {
    let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned());
    folder.is_some_and(|folder| !folder.contains(['*', '?']))
}

/// Looks at media as they come.
pub struct MediaIntake {
    config: MediaConfig,
    /// Files that were looked at, until their medium goes.
    seen: HashSet<(PathBuf, u64, Option<SystemTime>)>,
    /// Media of which the last files are not looked at, until they go.
    too_full: HashSet<PathBuf>,
}

impl MediaIntake {
    /// Of the media of a config.
    #[must_use]
    pub fn new(config: &MediaConfig) -> Self {
        Self {
            config: config.clone(),
            seen: HashSet::new(),
            too_full: HashSet::new(),
        }
    }

    /// Takes in what is new on all media.
    fn pass(&mut self, around: &Surroundings) -> Result<(), IntakeError> {
        let mounts: Vec<PathBuf> = matches(&self.config.mounts)
            .into_iter()
            .filter(|path| path.is_dir())
            .collect();
        self.seen
            .retain(|(path, ..)| mounts.iter().any(|mount| path.starts_with(mount)));
        self.too_full.retain(|mount| mounts.contains(mount));
        for mount in mounts {
            let files = WalkDir::new(&mount)
                .max_depth(DEPTH)
                .follow_links(false)
                .same_file_system(true)
                .sort_by_file_name();
            // What cannot be read is a medium's fault, or it was pulled out.
            let files = files
                .into_iter()
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_file());
            for (number, entry) in files.enumerate() {
                if around.is_ending() {
                    return Ok(());
                }
                if number == MOST_FILES {
                    self.leave_rest(&mount);
                    break;
                }
                let Ok(status) = entry.metadata() else { continue };
                self.look(around, entry.path(), &status)?;
            }
        }
        Ok(())
    }

    /// A medium with more files than are looked at. It is told once, and without its name, which is often a patient's.
    fn leave_rest(&mut self, mount: &Path) {
        if self.too_full.insert(mount.to_path_buf()) {
            tracing::warn!("a medium has more than {MOST_FILES} files; those behind them are not looked at");
        }
    }

    fn look(&mut self, around: &Surroundings, path: &Path, status: &Metadata) -> Result<(), IntakeError> {
        let key = (path.to_path_buf(), status.len(), status.modified().ok());
        if self.seen.contains(&key) {
            return Ok(());
        }
        if is_wanted(path, self.config.pictures) {
            self.take(around, path)?;
        }
        self.seen.insert(key);
        Ok(())
    }

    fn take(&self, around: &Surroundings, path: &Path) -> Result<(), IntakeError> {
        while around.store.room() == Room::QueueFull && !around.is_ending() {
            around.rest(ASK_AGAIN);
        }
        let origin = Origin::Media {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        match take_copy(around, File::open(path), origin) {
            Ok(_) | Err(IntakeError::Vanished) => Ok(()),
            // A scratched file: the others are taken nevertheless.
            Err(IntakeError::Unreadable(source)) => {
                tracing::warn!("a file of a medium is left out: it cannot be read: {source}");
                Ok(())
            }
            Err(IntakeError::Accept(AcceptError::Broken(reason))) => {
                tracing::warn!("a file of a medium is left out: {reason}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a file on a medium is an image and no letter, program or directory of a study.
fn is_wanted(path: &Path, pictures: bool) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    match read.ok().and_then(|_| decode::file_kind(&beginning)) {
        Some(FileKind::Dicom) => true,
        Some(FileKind::Raster) => pictures,
        None => false,
    }
}

impl Task for MediaIntake {
    fn name(&self) -> &'static str {
        "media"
    }

    fn part(&self) -> Part {
        Part::Media
    }

    fn run(&mut self, around: &Surroundings) {
        while !around.is_ending() {
            match self.pass(around) {
                Ok(()) => around.clear_fault(Part::Media),
                Err(error) => {
                    tracing::error!("removable media: {error}");
                    around.set_fault(Part::Media, error.to_string());
                }
            }
            around.rest(REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_left_alone_unless_they_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holiday.jpg");
        std::fs::write(&path, b"\xff\xd8\xff....").unwrap();
        assert!(!is_wanted(&path, false) && is_wanted(&path, true));
        assert!(!is_wanted(&folder.path().join("gone"), true));
    }

    #[test]
    fn a_relative_pattern_is_refused() {
        let config = |mounts: &str| MediaConfig {
            mounts: mounts.to_owned(),
            pictures: false,
        };
        assert!(config("/media/*").check().is_ok());
        assert!(config("media/*").check().unwrap_err().contains("media.mounts"));
    }
}

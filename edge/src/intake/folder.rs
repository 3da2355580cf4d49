//! The watched folder as an intake: its files are copied into the store, stay where they are until their results are
//! safe, and then move to `done` or `refused`.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use super::arrival::{AcceptError, Acceptor, Arrival, Known, Origin, Received, Room, UNFINISHED};
use super::watch_folder::{DONE, Outcome, REFUSED, WatchError, WatchFolder};
use crate::daemon::board::Part;
use crate::daemon::tasks::{Surroundings, Task};
use crate::store::arrivals::Taken;
use crate::store::images::ImageState;

/// How often to look at the folder.
const REST: Duration = Duration::from_millis(100);
/// How long to leave a folder alone that cannot be read or written.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);

/// What becomes of a file when it is finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finished {
    /// It moves to `done` or `refused`; there the oldest goes when the disk is full.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
}

/// The watched folder.
pub struct FolderIntake {
    folder: PathBuf,
    watch: WatchFolder,
    finished: Finished,
    /// Files that are in the store and were not finished when last looked at.
    taken: HashMap<PathBuf, (Looks, i64)>,
}

/// What a file looked like when it was taken.
type Looks = (u64, Option<SystemTime>);

impl FolderIntake {
    /// Watches `folder`; a file that does not change for `quiet` is whole.
    ///
    /// # Errors
    /// [`WatchError::Folder`].
    pub fn open(folder: &Path, quiet: Duration, finished: Finished) -> Result<Self, WatchError> {
        Ok(Self {
            folder: folder.to_path_buf(),
            watch: WatchFolder::open(folder, quiet)?,
            finished,
            taken: HashMap::new(),
        })
    }

    fn pass(&mut self, around: &Surroundings) -> Result<(), IntakeError> {
        let waiting = self.watch.waiting(Instant::now())?;
        self.taken.retain(|path, _| waiting.contains(path));
        for path in waiting {
            if around.is_ending() {
                break;
            }
            let Some(looks) = looks(&path) else { continue };
            let known = self
                .taken
                .get(&path)
                .filter(|(then, _)| *then == looks)
                .map(|(_, image)| *image);
            match known {
                Some(image) => self.finish_if_done(around, &path, image)?,
                None => self.take(around, &path, looks)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, around: &Surroundings, path: &Path, looks: Looks) -> Result<(), IntakeError> {
        match around.store.room() {
            Room::Free => {}
            Room::QueueFull => return Ok(()),
            Room::DiskFull => return self.make_room(around),
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let taken = take_copy(around, path, Origin::Folder { name });
        let taken = match taken {
            Ok(taken) => taken,
            // Others finish and make room.
            Err(IntakeError::Accept(AcceptError::Busy { .. })) => return Ok(()),
            Err(IntakeError::Vanished) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.taken.insert(path.to_path_buf(), (looks, taken.image));
        self.finish_if_done(around, path, taken.image)
    }

    fn finish_if_done(&mut self, around: &Surroundings, path: &Path, image: i64) -> Result<(), IntakeError> {
        let Some(outcome) = outcome(around, image)? else {
            return Ok(());
        };
        match self.finished {
            Finished::Keep => drop(self.watch.finish(path, outcome)?),
            Finished::Delete => self.watch.delete(path)?,
        }
        self.taken.remove(path);
        Ok(())
    }

    /// Finished files are the first that may go: their results are safe.
    fn make_room(&self, around: &Surroundings) -> Result<(), IntakeError> {
        match self.oldest_finished().filter(|_| self.shares_a_disk_with(around)) {
            Some(oldest) => fs::remove_file(&oldest).map_err(|source| copying("remove a finished file", source)),
            None => Err(AcceptError::DiskFull("less than the reserve is free".to_owned()).into()),
        }
    }

    fn oldest_finished(&self) -> Option<PathBuf> {
        let folders = [DONE, REFUSED].map(|part| fs::read_dir(self.folder.join(part)));
        let files = folders.into_iter().flatten().flatten().flatten();
        let dated = files.filter_map(|entry| {
            let status = entry.metadata().ok().filter(Metadata::is_file)?;
            Some((status.modified().ok(), entry.path()))
        });
        dated.min().map(|(_, path)| path)
    }

    fn shares_a_disk_with(&self, around: &Surroundings) -> bool {
        let disk = |path: &Path| fs::metadata(path).map(|status| status.dev()).ok();
        disk(&self.folder).is_some_and(|found| Some(found) == disk(around.store.folders().state()))
    }
}

impl Task for FolderIntake {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn run(mut self: Box<Self>, around: Surroundings) {
        while !around.is_ending() {
            match self.pass(&around) {
                Ok(()) => {
                    around.clear_fault(Part::Folder);
                    around.rest(REST);
                }
                Err(error) => {
                    tracing::error!("watched folder: {error}");
                    around.set_fault(Part::Folder, error.to_string());
                    around.rest(PAUSE_AFTER_FAULT);
                }
            }
        }
    }
}

/// Why a file cannot be taken in now. It stays where it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum IntakeError {
    /// The watched folder failed.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The store refuses it.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Copying failed. Without the file's name, which may hold a patient's.
    #[error("cannot {action}: {source}; check that the disk is not full and the files may be read")]
    Copy {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is gone.
    #[error("the file is gone")]
    Vanished,
}

/// Copies a file into the spool and takes the copy in.
pub(super) fn take_copy(around: &Surroundings, path: &Path, origin: Origin) -> Result<Taken, IntakeError> {
    let spool = around.store.spool();
    let mut copy = tempfile::Builder::new()
        .suffix(&format!(".{UNFINISHED}"))
        .tempfile_in(spool)
        .map_err(|source| copying("write into the spool", source))?;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IntakeError::Vanished),
        Err(source) => return Err(copying("read a file of the intake", source)),
    };
    io::copy(&mut file, copy.as_file_mut()).map_err(|source| copying("copy a file of the intake", source))?;
    let arrival = Arrival {
        path: copy.path().to_path_buf(),
        received: Received {
            at: Instant::now(),
            time: around.now(),
        },
        origin,
        known: Known::default(),
    };
    // Taken, the file has gone to its place; refused, it goes with this copy.
    Ok(around.store.take_in(&arrival)?)
}

fn copying(action: &'static str, source: io::Error) -> IntakeError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return AcceptError::DiskFull(format!("cannot {action}: {source}")).into();
    }
    IntakeError::Copy { action, source }
}

/// How an image came out; `None` while it waits.
pub(super) fn outcome(around: &Surroundings, image: i64) -> Result<Option<Outcome>, IntakeError> {
    let Some(record) = around.store.image(image)? else {
        // Its case was deleted, so it was finished before.
        return Ok(Some(Outcome::Done));
    };
    Ok(match record.state {
        ImageState::Waiting => None,
        ImageState::NoModel | ImageState::Failed => Some(Outcome::Refused),
        ImageState::Done => {
            let results = around.store.results_of_image(image)?;
            let decoded = results.iter().any(|result| result.finding.source.frames > 0);
            Some(if decoded { Outcome::Done } else { Outcome::Refused })
        }
    })
}

fn looks(path: &Path) -> Option<Looks> {
    let status = fs::symlink_metadata(path).ok()?;
    Some((status.len(), status.modified().ok()))
}

//! The watched folder as an intake: its files are copied into the store, stay where they are until their results are
//! safe, and then move to `done` or `refused`, where they are kept as long as cases are.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::arrival::{AcceptError, Acceptor, Arrival, Known, Origin, Received, Room, UNFINISHED};
use super::unread::{Looks, Unread};
use super::watch_folder::{Outcome, WatchError, WatchFolder};
use crate::daemon::board::Part;
use crate::daemon::tasks::{Surroundings, Task};
use crate::store::arrivals::Taken;
use crate::store::images::ImageState;

/// How often to look at the folder.
const REST: Duration = Duration::from_millis(100);
/// How often to look for finished files that are too old.
const TIDY: Duration = Duration::from_secs(60);
/// Bytes that are copied at once.
const PIECE: usize = 256 << 10;
/// How long to leave a folder alone that cannot be read or written.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);

/// What becomes of a file when it is finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finished {
    /// It moves to `done` or `refused`; there it goes at the age at which cases go, and the oldest when the disk is full.
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
    /// Files that cannot be taken in.
    unread: Unread,
    /// When it was last looked for what is too old.
    tidied: Option<Instant>,
    open: Box<Open>,
}

/// How a file is opened.
type Open = dyn Fn(&Path) -> io::Result<File> + Send;

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
            unread: Unread::default(),
            tidied: None,
            open: Box::new(|path| File::open(path)),
        })
    }

    fn pass(&mut self, around: &Surroundings) -> Result<(), IntakeError> {
        self.tidy(around)?;
        let waiting = self.watch.waiting(Instant::now())?;
        self.forget_all_but(&waiting);
        for path in waiting {
            if around.is_ending() {
                break;
            }
            let Some(looks) = Looks::of(&path).filter(|looks| !self.unread.rests(&path, *looks)) else {
                continue;
            };
            match self.look_after(around, &path, looks) {
                Ok(()) => self.unread.forget(&path),
                Err(error) if error.is_of_one_file() => self.unread.note(&path, looks, error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forgets files that are gone. A folder may hold tens of thousands, and this is done ten times a second.
    fn forget_all_but(&mut self, waiting: &[PathBuf]) {
        let there: HashSet<&Path> = waiting.iter().map(PathBuf::as_path).collect();
        self.taken.retain(|path, _| there.contains(path.as_path()));
        self.unread.retain(&there);
    }

    /// Takes a file in, or finishes it if it is in already and has its result.
    fn look_after(&mut self, around: &Surroundings, path: &Path, looks: Looks) -> Result<(), IntakeError> {
        let known = self.taken.get(path).filter(|(then, _)| *then == looks);
        match known.map(|(_, image)| *image) {
            Some(image) => self.finish_if_done(around, path, image),
            None => self.take(around, path, looks),
        }
    }

    /// Finished files are originals: they stay no longer than the cases that were made of them.
    fn tidy(&mut self, around: &Surroundings) -> Result<(), IntakeError> {
        if self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY) {
            return Ok(());
        }
        self.tidied = Some(Instant::now());
        let removed = match around.store.oldest_kept()? {
            Some(oldest) => self.watch.forget_finished(oldest.into())?,
            None => 0,
        };
        if removed > 0 {
            tracing::info!(removed, "finished files of the watched folder were too old");
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
        let taken = take_copy(around, (self.open)(path), Origin::Folder { name });
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
        match self.watch.oldest_finished().filter(|_| self.shares_a_disk_with(around)) {
            Some(oldest) => fs::remove_file(&oldest).map_err(|source| failed("remove a finished file", source)),
            None => Err(AcceptError::DiskFull("less than the reserve is free".to_owned()).into()),
        }
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

    fn part(&self) -> Part {
        Part::Folder
    }

    fn run(&mut self, around: &Surroundings) {
        while !around.is_ending() {
            match self.pass(around) {
                Ok(()) => {
                    match self.unread.problem() {
                        Some(problem) => around.set_fault(Part::Folder, problem),
                        None => around.clear_fault(Part::Folder),
                    }
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
    /// A file cannot be read. Without its name, which may hold a patient's.
    #[error("it cannot be read: {0}; check that the service may read it, and copy it anew")]
    Unreadable(io::Error),
    /// The spool failed, or the disk.
    #[error("cannot {action}: {source}; check that the disk is not full and may be written")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is gone.
    #[error("the file is gone")]
    Vanished,
}

impl IntakeError {
    /// Whether another file may do better.
    fn is_of_one_file(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_) | Self::Watch(_) | Self::Accept(AcceptError::Broken(_))
        )
    }
}

/// Copies a file that was opened into the spool and takes the copy in.
pub(super) fn take_copy(around: &Surroundings, file: io::Result<File>, origin: Origin) -> Result<Taken, IntakeError> {
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => IntakeError::Vanished,
        _ => IntakeError::Unreadable(error),
    })?;
    let spool = around.store.spool();
    let mut copy = tempfile::Builder::new()
        .suffix(&format!(".{UNFINISHED}"))
        .tempfile_in(spool)
        .map_err(|source| failed("write into the spool", source))?;
    copy_into(copy.as_file_mut(), &mut file)?;
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

/// Whether it was the file or the spool that failed says whether another file can do better.
fn copy_into(spool: &mut File, file: &mut File) -> Result<(), IntakeError> {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => spool
                .write_all(&piece[..length])
                .map_err(|source| failed("write into the spool", source))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(IntakeError::Unreadable(error)),
        }
    }
}

fn failed(action: &'static str, source: io::Error) -> IntakeError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return AcceptError::DiskFull(format!("cannot {action}: {source}")).into();
    }
    IntakeError::Disk { action, source }
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

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;

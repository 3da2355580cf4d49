//! Files that people or scanners put into a folder.
//!
//! A file is taken once it is whole: it kept its size and time of change for a while, or it came by rename, which looks
//! the same. It stays where it is until its result is safe, then moves to the folder `done` (or `refused`) beside it. So
//! a crash or a switch of the model costs no image: what was not finished is still waiting.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Where files go that got a result.
pub const DONE: &str = "done";
/// Where files go that are no images; their results say why.
pub const REFUSED: &str = "refused";

/// Names that programs give to files they are still writing.
const UNFINISHED: [&str; 5] = [".part", ".partial", ".tmp", ".crdownload", ".filepart"];

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The folder cannot be made, read or written.
    #[error("watched folder {}: cannot {action}: {source}; check that it exists and that the service may write to it", path.display())]
    Folder {
        /// The folder: the name of a file in it may hold a patient's.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a finished file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has a result.
    Done,
    /// It is no image that can be read.
    Refused,
}

/// What a file looked like, and since when.
#[derive(Debug, Clone, Copy)]
struct Sight {
    length: u64,
    modified: Option<SystemTime>,
    since: Instant,
}

/// A folder whose files become cases.
#[derive(Debug)]
pub struct WatchFolder {
    folder: PathBuf,
    quiet: Duration,
    seen: HashMap<PathBuf, Sight>,
}

impl WatchFolder {
    /// Watches `folder`; a file that does not change for `quiet` is whole. Makes the folders that are missing.
    ///
    /// # Errors
    /// [`WatchError::Folder`].
    pub fn open(folder: &Path, quiet: Duration) -> Result<Self, WatchError> {
        for part in [folder.to_path_buf(), folder.join(DONE), folder.join(REFUSED)] {
            fs::create_dir_all(&part).map_err(|source| failed(&part, "make the folder", source))?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            quiet,
            seen: HashMap::new(),
        })
    }

    /// The whole files that wait, the oldest first. `now` never goes back.
    ///
    /// # Errors
    /// [`WatchError::Folder`] if the folder cannot be read, such as a medium that was taken out.
    pub fn waiting(&mut self, now: Instant) -> Result<Vec<PathBuf>, WatchError> {
        let mut sights = HashMap::new();
        let mut whole = Vec::new();
        for (path, metadata) in self.files()? {
            let modified = metadata.modified().ok();
            let earlier = self.seen.get(&path);
            let same = earlier.filter(|sight| sight.length == metadata.len() && sight.modified == modified);
            let since = same.map_or(now, |sight| sight.since);
            if same.is_some() && now.duration_since(since) >= self.quiet {
                whole.push((modified, path.clone()));
            }
            let length = metadata.len();
            sights.insert(
                path,
                Sight {
                    length,
                    modified,
                    since,
                },
            );
        }
        self.seen = sights;
        whole.sort();
        Ok(whole.into_iter().map(|(_, path)| path).collect())
    }

    /// Moves a file away whose result is safe. A file of the same name that is there already keeps its name.
    ///
    /// # Errors
    /// [`WatchError::Folder`]; the file stays and will be taken again.
    pub fn finish(&mut self, path: &Path, outcome: Outcome) -> Result<PathBuf, WatchError> {
        let folder = match outcome {
            Outcome::Done => DONE,
            Outcome::Refused => REFUSED,
        };
        let target = free_name(&self.folder.join(folder), path);
        fs::rename(path, &target).map_err(|source| failed(&self.folder, "move a finished file", source))?;
        self.seen.remove(path);
        Ok(target)
    }

    /// Deletes a file whose result is safe.
    ///
    /// # Errors
    /// [`WatchError::Folder`]; the file stays and will be taken again.
    pub fn delete(&mut self, path: &Path) -> Result<(), WatchError> {
        fs::remove_file(path).map_err(|source| failed(&self.folder, "delete a finished file", source))?;
        self.seen.remove(path);
        Ok(())
    }

    /// Deletes what was finished before a time; gives how many files that were.
    ///
    /// # Errors
    /// [`WatchError::Folder`] if a file cannot be deleted.
    pub fn forget_finished(&mut self, before: SystemTime) -> Result<usize, WatchError> {
        let mut removed = 0;
        for entry in finished_files(&self.folder).filter(|(finished, _)| *finished < before) {
            fs::remove_file(entry.1).map_err(|source| failed(&self.folder, "delete an old finished file", source))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The file that was finished first.
    #[must_use]
    pub fn oldest_finished(&self) -> Option<PathBuf> {
        finished_files(&self.folder).min().map(|(_, path)| path)
    }

    fn files(&self) -> Result<Vec<(PathBuf, Metadata)>, WatchError> {
        let read = |source| failed(&self.folder, "read the folder", source);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            // A link could point anywhere, and a file may vanish between listing and asking.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && is_candidate(&entry.path()) {
                files.push((entry.path(), metadata));
            }
        }
        Ok(files)
    }
}

/// Finished files, each with when it was finished: a move changes the status of a file, and a clock that stood wrong then is
/// no reason to take it for older than its content.
fn finished_files(folder: &Path) -> impl Iterator<Item = (SystemTime, PathBuf)> {
    let folders = [DONE, REFUSED].map(|part| fs::read_dir(folder.join(part)));
    folders.into_iter().flatten().flatten().flatten().filter_map(|entry| {
        let status = entry.metadata().ok().filter(Metadata::is_file)?;
        let moved = Duration::from_secs(u64::try_from(status.ctime()).ok()?);
        let finished = status.modified().ok()?.max(SystemTime::UNIX_EPOCH + moved);
        Some((finished, entry.path()))
    })
}

fn is_candidate(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    name.is_some_and(|name| !name.starts_with('.') && !UNFINISHED.iter().any(|end| name.ends_with(end)))
}

/// `NAME`, or `NAME-2`, `NAME-3` ... before its extension.
fn free_name(folder: &Path, path: &Path) -> PathBuf {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, extension) = (text(path.file_stem()), text(path.extension()));
    let named = |number: u32| {
        let mut name = stem.clone();
        if number > 1 {
            name += &format!("-{number}");
        }
        if !extension.is_empty() {
            name += &format!(".{extension}");
        }
        folder.join(name)
    };
    (1..)
        .map(named)
        .find(|path| fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| folder.join(&stem))
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> WatchError {
    WatchError::Folder {
        path: path.to_path_buf(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(2);

    fn names(paths: &[PathBuf]) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        paths.iter().map(name).collect()
    }

    #[test]
    fn a_file_is_taken_when_it_has_gone_quiet() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = WatchFolder::open(folder.path(), QUIET).unwrap();
        let file = folder.path().join("a.dcm");
        fs::write(&file, "first").unwrap();
        let start = Instant::now();
        assert!(watch.waiting(start).unwrap().is_empty(), "just arrived");
        fs::write(&file, "first and second").unwrap();
        assert!(watch.waiting(start + QUIET).unwrap().is_empty(), "it grew");
        assert!(
            watch.waiting(start + QUIET * 3 / 2).unwrap().is_empty(),
            "not long enough"
        );
        assert_eq!(names(&watch.waiting(start + 2 * QUIET).unwrap()), ["a.dcm"]);
        assert_eq!(
            names(&watch.waiting(start + 2 * QUIET).unwrap()),
            ["a.dcm"],
            "until it is finished"
        );
    }

    #[test]
    fn folders_links_and_unfinished_names_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = WatchFolder::open(folder.path(), Duration::ZERO).unwrap();
        for name in [".hidden", "b.dcm.part", "c.TMP", "d.png"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).unwrap();
        watch.waiting(Instant::now()).unwrap();
        assert_eq!(names(&watch.waiting(Instant::now()).unwrap()), ["d.png"]);
    }

    #[test]
    fn a_finished_file_moves_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = WatchFolder::open(folder.path(), QUIET).unwrap();
        let file = folder.path().join("x.dcm");
        for (number, name) in ["x.dcm", "x-2.dcm", "x-3.dcm"].into_iter().enumerate() {
            fs::write(&file, number.to_string()).unwrap();
            let target = watch.finish(&file, Outcome::Done).unwrap();
            assert_eq!(target, folder.path().join(DONE).join(name));
            assert_eq!(fs::read_to_string(target).unwrap(), number.to_string());
        }
        fs::write(&file, "no image").unwrap();
        let target = watch.finish(&file, Outcome::Refused).unwrap();
        assert_eq!(target, folder.path().join(REFUSED).join("x.dcm"));
        assert!(!file.exists());
    }

    #[test]
    fn finished_files_go_when_they_are_old() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = WatchFolder::open(folder.path(), QUIET).unwrap();
        let file = folder.path().join("x.dcm");
        let begin = SystemTime::now();
        for outcome in [Outcome::Done, Outcome::Refused] {
            fs::write(&file, "old images come in, too").unwrap();
            let long_ago = begin - Duration::from_secs(400 * 24 * 3600);
            fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(long_ago)
                .unwrap();
            watch.finish(&file, outcome).unwrap();
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(
            watch.forget_finished(begin - hour).unwrap(),
            0,
            "they were finished just now"
        );
        assert!(watch.oldest_finished().is_some());
        assert_eq!(watch.forget_finished(begin + hour).unwrap(), 2);
        assert_eq!(watch.oldest_finished(), None);
    }

    #[test]
    fn a_failure_names_the_folder_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = WatchFolder::open(folder.path(), QUIET).unwrap();
        let file = folder.path().join("MUELLER_HANS.dcm");
        let finish = watch.finish(&file, Outcome::Done).unwrap_err();
        let delete = watch.delete(&file).unwrap_err();
        for message in [finish.to_string(), delete.to_string()] {
            assert!(
                message.contains("finished file") && !message.contains("MUELLER"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_folder_that_vanished_is_an_error_not_an_empty_one() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("inbox");
        let mut watch = WatchFolder::open(&folder, QUIET).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let message = watch.waiting(Instant::now()).unwrap_err().to_string();
        assert!(message.contains("inbox") && message.contains("read"), "{message}");
    }
}

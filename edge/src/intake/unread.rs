//! Files of the watched folder that cannot be taken in. They keep nobody else from having a turn, are tried again now and
//! then, and are named by what their folder says of them: their names may hold patients'.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};

/// How long to leave such a file alone.
const PAUSE: Duration = Duration::from_secs(5);

/// What a file looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looks {
    length: u64,
    modified: Option<SystemTime>,
}

impl Looks {
    /// `None` if the file is gone.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let status = fs::symlink_metadata(path).ok()?;
        Some(Self {
            length: status.len(),
            modified: status.modified().ok(),
        })
    }

    /// "the file of 1234 bytes of 2026-03-14 12:00:05 UTC".
    fn words(&self) -> String {
        let time = self
            .modified
            .map(|time| DateTime::<Utc>::from(time).format("%Y-%m-%d %H:%M:%S UTC"));
        let time = time.map(|time| format!(" of {time}")).unwrap_or_default();
        format!("the file of {} bytes{time}", self.length)
    }
}

/// Such files, by their paths.
#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<PathBuf, Failure>);

#[derive(Debug)]
struct Failure {
    looks: Looks,
    tried: Instant,
    reason: String,
}

impl Unread {
    /// Whether a file failed a moment ago, and is the same since.
    pub(super) fn rests(&self, path: &Path, looks: Looks) -> bool {
        let failure = self.0.get(path);
        failure.is_some_and(|failure| failure.looks == looks && failure.tried.elapsed() < PAUSE)
    }

    /// A file failed. What it fails by is told once.
    pub(super) fn note(&mut self, path: &Path, looks: Looks, reason: String) {
        let known = self
            .0
            .get(path)
            .is_some_and(|failure| failure.looks == looks && failure.reason == reason);
        if !known {
            tracing::error!("watched folder: {}: {reason}", looks.words());
        }
        let tried = Instant::now();
        let failure = Failure { looks, tried, reason };
        self.0.insert(path.to_path_buf(), failure);
    }

    /// A file did well.
    pub(super) fn forget(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Forgets all but those that are still there.
    pub(super) fn retain(&mut self, there: &HashSet<&Path>) {
        self.0.retain(|path, _| there.contains(path.as_path()));
    }

    /// What there is to tell, if anything: how many there are, and what one of them fails by.
    pub(super) fn problem(&self) -> Option<String> {
        let failure = self.0.values().next()?;
        let (words, reason) = (failure.looks.words(), &failure.reason);
        Some(match self.0.len() {
            1 => format!("a file of the watched folder is left out, {words}: {reason}"),
            count => format!("{count} files of the watched folder are left out, one of them {words}: {reason}"),
        })
    }
}

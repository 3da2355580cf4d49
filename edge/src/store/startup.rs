//! What a start of the service finds, and sets right before anything else happens.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};
use rusqlite::Transaction;
use serde_json::json;

use super::audit::{self, Event, Head};
use super::config::StoreConfig;
use super::folders::{Folders, failed};
use super::{DATABASE, Store, StoreError, queue, retention};
use crate::intake::arrival::{Arrival, Known, Origin, Received};
use crate::outbox::Kind;

/// Name of the file that says that the database may be damaged.
const SUSPICION: &str = "store.suspect";

/// What a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Images that wait.
    pub waiting: u64,
    /// Files that nobody heard of success for: no row names them, or they are not whole.
    pub removed: usize,
    /// Images that waited and whose files are gone.
    pub lost: usize,
}

impl Store {
    /// As [`Store::open`], but a database that is damaged beyond reading is put aside, and a new one begun: an appliance
    /// that nobody looks after must go on. Gives the damaged file's new name.
    ///
    /// # Errors
    /// [`StoreError`] for anything else.
    pub fn open_or_renew(
        state: &Path,
        config: StoreConfig,
        owed: Vec<Kind>,
        now: DateTime<Utc>,
        head: Option<&Head>,
    ) -> Result<(Self, Option<PathBuf>), StoreError> {
        match Self::open_sound(state, config.clone(), owed.clone()) {
            Err(error) if error.is_damaged() => {
                tracing::error!("{error}; the damaged file is put aside and a new database begun");
                let aside = put_aside(state, now)?;
                let store = Self::open(state, config, owed)?;
                let detail = json!({ "reason": error.to_string(), "rows": head.map(|head| head.rows) });
                store.note(now, Event::StoreRenewed, "store", &detail)?;
                let taken = store.take_up(now)?;
                tracing::warn!(taken, "images that were there were taken in anew");
                Ok((store, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Opens the store; looks through all of it if the last run had a reason to.
    fn open_sound(state: &Path, config: StoreConfig, owed: Vec<Kind>) -> Result<Self, StoreError> {
        let store = Self::open(state, config, owed)?;
        let suspicion = state.join(SUSPICION);
        if suspicion.exists() {
            let sql = "PRAGMA integrity_check(1)";
            let found: String = super::lock(&store.writer).query_row(sql, [], |row| row.get(0))?;
            if found != "ok" {
                let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
                return Err(rusqlite::Error::SqliteFailure(damage, Some(found)).into());
            }
        }
        Folders::remove(&suspicion)?;
        Ok(store)
    }

    /// Lets the next start look through all of the database, after an error that says that it is damaged.
    pub fn suspect(&self) {
        if let Err(error) = fs::write(self.folders.state().join(SUSPICION), b"") {
            tracing::error!("the damage of the database cannot be noted: {error}");
        }
    }

    /// Takes in anew what lies among the images: a new database knows none of it, and some of it had no result.
    fn take_up(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let images = self.folders.images();
        let mut taken = 0;
        for entry in fs::read_dir(&images).map_err(|source| failed(&images, "read the folder", source))? {
            let path = entry
                .map_err(|source| failed(&images, "read the folder", source))?
                .path();
            let arrival = Arrival {
                origin: Origin::Folder {
                    name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                },
                path,
                received: Received {
                    at: Instant::now(),
                    time: now,
                },
                known: Known::default(),
            };
            match self.take_in_anyway(&arrival) {
                Ok(_) => taken += 1,
                Err(error) => tracing::error!("an image was not taken in anew: {error}"),
            }
        }
        Ok(taken)
    }

    /// Compares files and rows after whatever ended the service, and counts the images that did not survive it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn recover(&self, now: DateTime<Utc>) -> Result<Found, StoreError> {
        // Nobody heard of success for what was still on its way.
        let mut removed = Folders::sweep(self.folders.incoming(), &HashSet::new())?;
        removed += self.settle_doubtful(now)?;
        let [images, pictures, outbox] = retention::named_files(&self.reading())?;
        removed += Folders::sweep(&self.folders.images(), &images)?;
        removed += Folders::sweep(&self.folders.pictures(), &pictures)?;
        removed += Folders::sweep(&self.folders.outbox(), &outbox)?;
        removed += Folders::sweep_unfinished(&self.folders.results())?;
        self.forget_lost_files()?;
        let interrupted = self.folders.was_examining();
        let lost = self.change(|transaction| {
            queue::count_interruptions(transaction, &interrupted, now)?;
            self.give_up_lost(transaction, now)
        })?;
        self.folders.note_examining(&[])?;
        Ok(Found {
            waiting: self.waiting()?,
            removed,
            lost,
        })
    }

    /// A power cut may have come between the removal of a file that was no longer needed and its row.
    fn forget_lost_files(&self) -> Result<(), StoreError> {
        self.change(|transaction| {
            let sql = "SELECT id, file FROM images WHERE file IS NOT NULL AND state <> 'waiting'";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            for row in rows {
                let (image, name) = row?;
                if !self.folders.images().join(name).is_file() {
                    transaction.execute("UPDATE images SET file = NULL WHERE id = ?", [image])?;
                }
            }
            Ok(())
        })
    }

    /// An image that waits needs its file.
    fn give_up_lost(&self, transaction: &Transaction<'_>, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let waiting: Vec<(i64, String, Option<String>)> = {
            let sql =
                "SELECT images.id, number, file FROM images JOIN cases ON cases.id = case_id WHERE state = 'waiting'";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let mut lost = 0;
        for (image, number, file) in waiting {
            let is_there = file.is_some_and(|name| self.folders.images().join(name).is_file());
            if is_there {
                continue;
            }
            lost += 1;
            let detail = json!({ "image": queue::key(transaction, image)? });
            audit::append(transaction, now, Event::ImageLost, &number, &detail)?;
            queue::give_up(transaction, image, "its file is gone; send it again", now)?;
        }
        Ok(lost)
    }
}

/// Renames the database and what belongs to it.
fn put_aside(state: &Path, now: DateTime<Utc>) -> Result<PathBuf, StoreError> {
    let suffix = format!("damaged-{}", now.format("%y%m%d-%H%M%S"));
    let aside = |ending: &str| state.join(format!("{DATABASE}.{suffix}{ending}"));
    for ending in ["-wal", "-shm", ""] {
        let path = state.join(format!("{DATABASE}{ending}"));
        match fs::rename(&path, aside(ending)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&path, "put the damaged database aside", source));
            }
            _ => {}
        }
    }
    Ok(aside(""))
}

//! What a start of the service finds, and sets right before anything else happens.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rusqlite::Transaction;
use serde_json::json;

use super::audit::{self, Event};
use super::folders::Folders;
use super::{Store, StoreError, queue, retention};

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

//! What is on the medium, and what is not yet.
//!
//! Rows of arrivals and results are committed without waiting for the medium, so that nothing on an image's way to the
//! display waits for it; the database's log keeps their order, so the next change that waits, or
//! [`Store::make_durable`], takes them along. A sender hears of success only after that. A result that a power cut took is
//! found once more, since its image waits then.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction};
use serde_json::json;

use super::audit::{self, Event};
use super::config::StoreConfig;
use super::folders::{Folders, failed, sync_folder};
use super::{DATABASE, Store, StoreError, queue, results};
use crate::intake::facts;

/// An image of which nobody said that it is on the medium.
struct Doubtful {
    image: i64,
    digest: Vec<u8>,
    file: Option<String>,
}

impl Store {
    /// Returns when everything that was committed is on the medium.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn make_durable(&self) -> Result<(), StoreError> {
        if !self.is_lazy.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let log = self.folders.state().join(format!("{DATABASE}-wal"));
        match File::open(&log).and_then(|log| log.sync_data()) {
            // It was brought into the database, which syncs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => {
                self.is_lazy.store(true, Ordering::SeqCst);
                Err(failed(&log, "sync the database's log", source))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Looks, after whatever ended the service, at the images that were about to be made durable: one that is whole stays,
    /// of one that is not nobody heard of success. Gives how many went.
    pub(super) fn settle_doubtful(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let mut gone = 0;
        for doubtful in self.doubtful()? {
            let path = doubtful.file.map(|name| self.folders.images().join(name));
            let is_whole = path.as_deref().is_some_and(|path| is_whole(path, &doubtful.digest));
            if is_whole {
                self.change(|transaction| confirm(transaction, doubtful.image))?;
            } else {
                self.withdraw(doubtful.image, now)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn doubtful(&self) -> Result<Vec<Doubtful>, StoreError> {
        let reader = self.reading();
        let mut statement = reader.prepare("SELECT id, digest, file FROM images WHERE durable = 0")?;
        let rows = statement.query_map([], |row| {
            Ok(Doubtful {
                image: row.get(0)?,
                digest: row.get(1)?,
                file: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes an image back of which nobody heard that it was taken in. Where it has its result, only its file goes.
    pub(super) fn withdraw(&self, image: i64, now: DateTime<Utc>) -> Result<(), StoreError> {
        let file = self.change(|transaction| withdraw(transaction, image, &self.config, now))?;
        match file {
            Some(name) => Folders::remove(&self.folders.images().join(name)),
            None => Ok(()),
        }
    }
}

/// File and row are on the medium, once this is.
pub(super) fn confirm(transaction: &Transaction<'_>, image: i64) -> Result<(), StoreError> {
    let sql = "UPDATE images SET durable = 1 WHERE id = ?";
    transaction.prepare_cached(sql)?.execute([image])?;
    Ok(())
}

/// Gives the name of the file that is no longer needed.
fn withdraw(
    transaction: &Transaction<'_>,
    image: i64,
    config: &StoreConfig,
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT case_id, file, state FROM images WHERE id = ?";
    let found = transaction
        .query_row(sql, [image], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((case, file, state)) = found else {
        return Ok(None);
    };
    let key = queue::key(transaction, image)?;
    if state == "waiting" {
        // Frames that have their results go with it.
        transaction.execute("DELETE FROM images WHERE id = ?", [image])?;
        let sql = "UPDATE cases SET decision = NULL, worst_image = NULL, worst_frame = NULL \
                   WHERE id = ?1 AND worst_image = ?2";
        transaction.execute(sql, [case, image])?;
    } else {
        let sql = "UPDATE images SET file = NULL, durable = 1 WHERE id = ?";
        transaction.execute(sql, [image])?;
    }
    let number = results::refresh_case(transaction, case, now, Some(config))?;
    let sql = "DELETE FROM cases WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM images WHERE case_id = ?1)";
    transaction.execute(sql, [case])?;
    audit::append(transaction, now, Event::ImageLost, &number, &json!({ "image": key }))?;
    Ok(file)
}

/// Whether a file is what its row says, and on the medium.
fn is_whole(path: &Path, digest: &[u8]) -> bool {
    let synced = File::open(path).and_then(|file| file.sync_all()).is_ok();
    let folder = path.parent().is_some_and(|folder| sync_folder(folder).is_ok());
    synced && folder && facts::digest_of_file(path).is_ok_and(|found| found == digest)
}

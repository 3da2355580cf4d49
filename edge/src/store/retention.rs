//! What goes when it is old or space is short: whole cases, the oldest first, with all their files.
//!
//! A case stays, whatever its age and however little space there is, while one of its images waits for its result or
//! something of it is unsent. Age is counted on a clock of its own that a jump of the appliance's clock moves by a week
//! at most, and from then on by no more than four days a day: an engineer's wrong year must not delete everything, and a
//! right one is caught up in the end.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hardware::slots::storage::free_bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;

use super::audit::{self, Event};
use super::folders::{Folders, failed};
use super::{Store, StoreError, millis, renewal, time};

/// How far the clock of retention follows a jump of the appliance's clock at once.
const MOST_JUMP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much of that comes back with the time that passes: an appliance that is on for five hours a day keeps up.
const REGAINED: u32 = 4;
/// Names in the table `facts`: that clock, and how far it may jump, both in milliseconds.
const CLOCK: &str = "retention-clock";
const MAY_JUMP: &str = "retention-may-jump";
/// Cases that are deleted before the space is looked at again.
const BATCH: u32 = 16;

/// What was tidied away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Cases that were too old.
    pub too_old: u64,
    /// Cases that went for their space.
    pub for_space: u64,
    /// What there is too little of all the same: nothing more may go.
    pub short: Option<Shortage>,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Room on the disk: less than the reserve is free, and no image is taken in.
    Disk,
    /// Room within the quota. What waits or is unsent is worth more than a number in the config, so images are taken in
    /// until the reserve is reached.
    Quota,
}

/// What the store takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Bytes of the database.
    pub database: u64,
    /// Bytes of the files beside it: images, pictures, results, objects to be sent, logs, what was put aside.
    pub files: u64,
    /// Bytes that are free on the disk.
    pub free: u64,
}

impl Usage {
    fn taken(&self) -> u64 {
        self.database + self.files
    }
}

impl Store {
    /// Deletes what is too old, then what must go for its space. `elapsed` is the time since the last call on the steady
    /// clock; of the first call after a start nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tidy(&self, now: DateTime<Utc>, elapsed: Option<Duration>) -> Result<Tidied, StoreError> {
        let clock = self.change(|transaction| advance(transaction, now, elapsed))?;
        let keep = self.keep_millis();
        let mut tidied = Tidied::default();
        loop {
            let deleted = self.delete_oldest(Some(clock.saturating_sub(keep)), now, "age")?;
            tidied.too_old += deleted;
            if deleted == 0 {
                break;
            }
        }
        while let Some(shortage) = self.shortage()? {
            let deleted = self.delete_oldest(None, now, "space")?;
            tidied.for_space += deleted;
            if deleted == 0 {
                tidied.short = Some(shortage);
                break;
            }
        }
        if tidied != Tidied::default() {
            // Without this the file of the database keeps its length.
            super::lock(&self.writer).execute_batch("PRAGMA incremental_vacuum")?;
        }
        Ok(tidied)
    }

    /// What last changed before this is too old to be kept; `None` before it was first looked for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn oldest_kept(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let clock = number(&self.reading(), CLOCK)?;
        Ok(clock.map(|clock| time(clock.saturating_sub(self.keep_millis()))))
    }

    fn keep_millis(&self) -> i64 {
        i64::from(self.config.keep_days) * 24 * 3600 * 1000
    }

    /// What the store takes, and what is free.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let state = self.folders.state();
        let free = free_bytes(state).map_err(|source| failed(state, "ask for the free space", source))?;
        let (database, cases) = usage(&self.reading())?;
        let beside = [self.folders.outbox(), self.folders.logs()];
        let beside: u64 = beside.iter().map(|folder| bytes_in(folder)).sum();
        let damaged: u64 = renewal::damages(state).iter().map(|path| bytes_in(path)).sum();
        Ok(Usage {
            database,
            files: cases + beside + damaged,
            free,
        })
    }

    fn shortage(&self) -> Result<Option<Shortage>, StoreError> {
        let usage = self.usage()?;
        Ok(match () {
            () if usage.free < self.config.reserve_bytes() => Some(Shortage::Disk),
            () if usage.taken() > self.config.max_bytes() => Some(Shortage::Quota),
            () => None,
        })
    }

    /// Deletes some of the oldest cases that may go, of those that last changed before `before`; gives how many.
    fn delete_oldest(&self, before: Option<i64>, now: DateTime<Utc>, reason: &str) -> Result<u64, StoreError> {
        let files = self.change(|transaction| {
            let mut files = Vec::new();
            for (case, number) in candidates(transaction, before)? {
                files.push(self.delete_case(transaction, case, &number)?);
                audit::append(
                    transaction,
                    now,
                    Event::CaseDeleted,
                    &number,
                    &json!({ "reason": reason }),
                )?;
            }
            Ok(files)
        })?;
        // A power cut before this leaves files without rows, which the next start removes.
        for path in files.iter().flatten() {
            Folders::remove(path)?;
        }
        Ok(files.len() as u64)
    }

    /// Deletes a case; gives its files.
    fn delete_case(&self, transaction: &Transaction<'_>, case: i64, number: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = Vec::new();
        let sql = "SELECT file, picture, member FROM images WHERE case_id = ?";
        let mut statement = transaction.prepare_cached(sql)?;
        let mut rows = statement.query([case])?;
        while let Some(row) = rows.next()? {
            let file: Option<String> = row.get(0)?;
            let picture: Option<String> = row.get(1)?;
            files.extend(file.map(|name| self.folders.images().join(name)));
            files.extend(picture.map(|name| self.folders.pictures().join(name)));
            files.push(self.folders.result(number, row.get(2)?));
        }
        transaction.execute("DELETE FROM outbox WHERE case_id = ?", [case])?;
        transaction.execute("DELETE FROM cases WHERE id = ?", [case])?;
        Ok(files)
    }
}

/// The oldest cases that may go.
fn candidates(transaction: &Transaction<'_>, before: Option<i64>) -> Result<Vec<(i64, String)>, StoreError> {
    let sql = "SELECT id, number FROM cases WHERE changed < coalesce(?1, changed + 1) AND settled IS NOT NULL AND filed = 1 \
               AND NOT EXISTS (SELECT 1 FROM images WHERE case_id = cases.id AND state = 'waiting') \
               AND NOT EXISTS (SELECT 1 FROM outbox WHERE case_id = cases.id AND state IN ('owed', 'waiting', 'parked')) \
               ORDER BY changed, id LIMIT ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map(params![before, BATCH], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves the clock of retention to `now`, or as far as it may go; gives it.
fn advance(transaction: &Transaction<'_>, now: DateTime<Utc>, elapsed: Option<Duration>) -> Result<i64, StoreError> {
    let in_millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let (now, elapsed) = (millis(now), elapsed.unwrap_or_default());
    let most = in_millis(MOST_JUMP);
    let regained = in_millis(elapsed.saturating_mul(REGAINED));
    let may_jump = number(transaction, MAY_JUMP)?.unwrap_or(most);
    let may_jump = may_jump.saturating_add(regained).clamp(0, most);
    let last = number(transaction, CLOCK)?.unwrap_or(now);
    let passed = in_millis(elapsed);
    let clock = now.clamp(last, last.saturating_add(passed).saturating_add(may_jump));
    let jumped = (clock - last - passed).max(0);
    keep(transaction, CLOCK, clock)?;
    keep(transaction, MAY_JUMP, may_jump - jumped)?;
    Ok(clock)
}

fn number(connection: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT value FROM facts WHERE name = ?";
    let text: Option<String> = connection.query_row(sql, [name], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

fn keep(transaction: &Transaction<'_>, name: &str, value: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";
    transaction.execute(sql, params![name, value.to_string()])?;
    Ok(())
}

/// Bytes of a file, or of the files in a folder.
fn bytes_in(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let inside: u64 = entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|status| status.len())
        .sum();
    let itself = fs::metadata(path).ok().filter(fs::Metadata::is_file);
    inside + itself.map_or(0, |status| status.len())
}

/// Bytes of the database, and of the files that belong to cases but are not on their way out.
fn usage(connection: &Connection) -> Result<(u64, u64), StoreError> {
    let number = |sql: &str| -> Result<u64, StoreError> {
        let found: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(found.unsigned_abs())
    };
    let database = number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
    let images =
        number("SELECT coalesce(sum(iif(file IS NULL, 0, bytes) + coalesce(picture_bytes, 0)), 0) FROM images")?;
    let results = number("SELECT coalesce(sum(length(finding)), 0) FROM results")?;
    Ok((database, images + results))
}

/// Every file that a row names: in `images/`, in `pictures/`, in `outbox/`.
pub(super) fn named_files(connection: &Connection) -> Result<[HashSet<String>; 3], StoreError> {
    let names = |sql: &str| -> Result<HashSet<String>, StoreError> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok([
        names("SELECT file FROM images WHERE file IS NOT NULL")?,
        names("SELECT picture FROM images WHERE picture IS NOT NULL")?,
        names("SELECT path FROM outbox WHERE path IS NOT NULL")?,
    ])
}

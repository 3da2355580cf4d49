//! What the display reads of many cases: their order, the day's counts, what nobody has seen.
//!
//! A case can be looked at from its first result on, or once it is known that an image of it will have none.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, ToSql};

use super::cases::{self, CaseRecord};
use super::{Store, StoreError, millis};

/// Whether a case can be looked at.
const SHOWN: &str = "(decision IS NOT NULL OR EXISTS \
    (SELECT 1 FROM images WHERE case_id = cases.id AND state IN ('no-model', 'failed')))";

/// Cases that nobody has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Flagged ones.
    pub flagged: usize,
    /// Uncertain ones.
    pub uncertain: usize,
}

/// What waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// Images that wait for a model, with the one at work.
    pub images: usize,
    /// Of those, urgent ones.
    pub urgent: usize,
}

impl Store {
    /// A number that differs after a change of the database: who keeps what was read asks it first. It reads no table.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn version(&self) -> Result<i64, StoreError> {
        Ok(self
            .reading()
            .pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// The newest case that can be looked at.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn newest_case(&self) -> Result<Option<i64>, StoreError> {
        self.neighbour("1", "DESC", &[])
    }

    /// The next older case than `case`, which may be gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn case_before(&self, case: i64) -> Result<Option<i64>, StoreError> {
        self.neighbour("id < ?", "DESC", &[&case])
    }

    /// The next newer case than `case`, which may be gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn case_after(&self, case: i64) -> Result<Option<i64>, StoreError> {
        self.neighbour("id > ?", "ASC", &[&case])
    }

    fn neighbour(&self, condition: &str, order: &str, values: &[&dyn ToSql]) -> Result<Option<i64>, StoreError> {
        let sql = format!("SELECT id FROM cases WHERE {condition} AND {SHOWN} ORDER BY id {order} LIMIT 1");
        let found = self.reading().prepare_cached(&sql)?.query_row(values, |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Which case this is of how many, from 1; the newest is the first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn position_of(&self, case: i64) -> Result<[usize; 2], StoreError> {
        let sql = format!("SELECT coalesce(sum(id >= ?), 0), count(*) FROM cases WHERE {SHOWN}");
        let read = |row: &rusqlite::Row<'_>| Ok([count(row.get(0)?), count(row.get(1)?)]);
        Ok(self.reading().prepare_cached(&sql)?.query_row([case], read)?)
    }

    /// The last `limit` cases that can be looked at, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn latest_cases(&self, limit: u32) -> Result<Vec<CaseRecord>, StoreError> {
        let rest = format!("WHERE {SHOWN} ORDER BY cases.id DESC LIMIT ?");
        cases::select(&self.reading(), &rest, [limit])
    }

    /// A case with at most `limit` newer and `limit` older ones, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cases_around(&self, case: i64, limit: u32) -> Result<Vec<CaseRecord>, StoreError> {
        let connection = self.reading();
        let values = [case, i64::from(limit)];
        let newer = format!("WHERE cases.id > ? AND {SHOWN} ORDER BY cases.id LIMIT ?");
        let mut found = cases::select(&connection, &newer, values)?;
        found.reverse();
        let older = format!("WHERE cases.id <= ? AND {SHOWN} ORDER BY cases.id DESC LIMIT ?");
        found.extend(cases::select(&connection, &older, [case, i64::from(limit) + 1])?);
        Ok(found)
    }

    /// Flagged and uncertain cases that nobody has acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn unseen(&self) -> Result<Unseen, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM cases WHERE acknowledged IS NULL AND decision = 'flagged'), \
                   (SELECT count(*) FROM cases WHERE acknowledged IS NULL AND decision = 'uncertain')";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Unseen {
                flagged: count(row.get(0)?),
                uncertain: count(row.get(1)?),
            })
        };
        Ok(self.reading().prepare_cached(sql)?.query_row([], read)?)
    }

    /// Images that got their results since a time, and how many of them were flagged.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn finished_since(&self, since: DateTime<Utc>) -> Result<[usize; 2], StoreError> {
        // By the index of changed cases: only those of the day are looked at.
        let sql = "SELECT count(*), coalesce(sum(EXISTS \
                   (SELECT 1 FROM results WHERE image_id = images.id AND results.decision = 'flagged')), 0) \
                   FROM cases JOIN images ON case_id = cases.id \
                   WHERE changed >= ?1 AND finished >= ?1 AND state = 'done'";
        let read = |row: &rusqlite::Row<'_>| Ok([count(row.get(0)?), count(row.get(1)?)]);
        Ok(self.reading().prepare_cached(sql)?.query_row([millis(since)], read)?)
    }

    /// What waits for a model.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn queue(&self) -> Result<Queue, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(urgent), 0) FROM images WHERE state = 'waiting'";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Queue {
                images: count(row.get(0)?),
                urgent: count(row.get(1)?),
            })
        };
        Ok(self.reading().prepare_cached(sql)?.query_row([], read)?)
    }
}

fn count(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

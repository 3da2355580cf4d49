//! What waits for a model: urgent images first, then in the order of their arrival. It is a table, so it survives
//! everything that the images survive.
//!
//! An image that the service did not survive, or on which the model failed, goes behind the others at its second time:
//! one bad image must not keep the rest waiting. It is given up when it has ended the service [`INTERRUPTIONS_TO_GIVE_UP`]
//! times, or when the model failed on it [`FAULTS_TO_GIVE_UP`] times while others got their results.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;

use super::audit::{self, Event};
use super::{Store, StoreError, millis, results};

/// Kills of the service (power cuts are not counted) before an image is given up.
pub const INTERRUPTIONS_TO_GIVE_UP: u32 = 8;
/// Faults of the model on an image before it is given up, if the model did well on others meanwhile.
pub const FAULTS_TO_GIVE_UP: u32 = 5;
/// After so many mishaps an image goes behind those that had none.
const MISHAPS_TO_STEP_BACK: u32 = 2;

/// Why an image has no result that a role without a model may be for: it waits again once the role has one.
const UNSERVED: &str = "no model that serves is for it, and a role has no model";

/// An image that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its number.
    pub image: i64,
    /// Its file.
    pub path: PathBuf,
    /// The number of its case: `260314-0007`.
    pub case_number: String,
    /// What stands in a finding as its file: the name that it came with, where the privacy level lets that in.
    pub name: String,
    /// Whether it was tagged as urgent.
    pub urgent: bool,
    /// DICOM Modality, Body Part Examined, View Position, Image Type; upper case.
    pub modality: Option<String>,
    /// See `modality`.
    pub body_part: Option<String>,
    /// See `modality`.
    pub view: Option<String>,
    /// See `modality`.
    pub image_type: Option<String>,
    /// Frames that have their results already.
    pub frames_done: u32,
    /// When its last byte was there, if that was since the start.
    pub arrived: Option<Instant>,
}

impl Store {
    /// The next image, but for those in `except`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn next_waiting(&self, except: &[i64]) -> Result<Option<Waiting>, StoreError> {
        let connection = self.reading();
        for mishaps in ["<", ">="] {
            // In the order of the index, so that a long queue costs nothing.
            let sql = format!(
                "SELECT id FROM images WHERE state = 'waiting' AND interruptions + faults {mishaps} {MISHAPS_TO_STEP_BACK} \
                 ORDER BY urgent DESC, id LIMIT ?"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([except.len() as i64 + 1])?;
            while let Some(row) = rows.next()? {
                let image = row.get(0)?;
                if !except.contains(&image) {
                    return self.waiting_image(&connection, image).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn waiting_image(&self, connection: &Connection, image: i64) -> Result<Waiting, StoreError> {
        let sql = "SELECT file, number, name, urgent, images.modality, images.body_part, view, image_type, \
                   (SELECT count(*) FROM results WHERE image_id = images.id) \
                   FROM images JOIN cases ON cases.id = case_id WHERE images.id = ?";
        let arrived = super::lock(&self.arrived).get(&image).copied();
        let waiting = connection.prepare_cached(sql)?.query_row([image], |row| {
            let file: Option<String> = row.get(0)?;
            let file = file.unwrap_or_default();
            let name: Option<String> = row.get(2)?;
            Ok(Waiting {
                image,
                path: self.folders.images().join(&file),
                case_number: row.get(1)?,
                name: name.unwrap_or(file),
                urgent: row.get(3)?,
                modality: row.get(4)?,
                body_part: row.get(5)?,
                view: row.get(6)?,
                image_type: row.get(7)?,
                frames_done: row.get(8)?,
                arrived,
            })
        })?;
        Ok(waiting)
    }

    /// How many images wait.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn waiting(&self) -> Result<u64, StoreError> {
        waiting(&self.reading())
    }

    /// Writes down which images are under examination, before anything of them is decoded.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn note_examining(&self, images: &[i64]) -> Result<(), StoreError> {
        self.folders.note_examining(images)
    }

    /// The model failed on an image, or something else that another try may mend. Gives whether it was given up.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn record_fault(&self, image: i64, problem: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        self.change(|transaction| {
            let sql = "UPDATE images SET faults = faults + 1, first_fault = coalesce(first_fault, ?2), problem = ?3 \
                       WHERE id = ?1 AND state = 'waiting' RETURNING faults, first_fault";
            let found = transaction
                .query_row(sql, params![image, millis(now), problem], |row| {
                    Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?))
                })
                .optional()?;
            let Some((faults, first)) = found else { return Ok(false) };
            let others: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM images WHERE state = 'done' AND finished > ?)",
                [first],
                |row| row.get(0),
            )?;
            let hopeless = faults >= FAULTS_TO_GIVE_UP && others;
            if hopeless {
                give_up(transaction, image, problem, now)?;
            }
            Ok(hopeless)
        })
    }

    /// No model is for such an image: it is kept and shown, and waits no longer.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn leave_without_model(&self, image: i64, whom: ForWhom, now: DateTime<Utc>) -> Result<(), StoreError> {
        let problem = (whom == ForWhom::RoleWithoutModel).then_some(UNSERVED);
        self.change(|transaction| {
            let Some(number) = end(transaction, image, "no-model", problem, now)? else {
                return Ok(());
            };
            audit::append(
                transaction,
                now,
                Event::NoModel,
                &number,
                &json!({ "image": key(transaction, image)? }),
            )
        })
    }
}

impl Store {
    /// A role has its model: what was left because it may be for it waits again. Gives how many images that are.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn examine_unserved(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let cases: Vec<i64> = self.change(|transaction| {
            let sql = "UPDATE images SET state = 'waiting', finished = NULL, problem = NULL \
                       WHERE state = 'no-model' AND problem = ?1 AND file IS NOT NULL RETURNING case_id";
            let mut statement = transaction.prepare_cached(sql)?;
            let cases = statement
                .query_map([UNSERVED], |row| row.get(0))?
                .collect::<Result<Vec<_>, _>>()?;
            let sql = "UPDATE cases SET settled = NULL, changed = ?2, revision = revision + 1 WHERE id = ?1";
            for case in cases.iter().collect::<BTreeSet<_>>() {
                transaction.prepare_cached(sql)?.execute(params![case, millis(now)])?;
            }
            Ok(cases)
        })?;
        if !cases.is_empty() {
            self.ring();
        }
        Ok(cases.len())
    }
}

/// Whom an image waits for that no model examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForWhom {
    /// No role is for its kind.
    Nobody,
    /// Perhaps a role that has no model now.
    RoleWithoutModel,
}

/// How many images wait.
pub(super) fn waiting(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM images WHERE state = 'waiting'";
    let count: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Counts the interruption of every image that was under examination when the service ended without an order.
pub(super) fn count_interruptions(
    transaction: &Transaction<'_>,
    images: &[i64],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for image in images {
        let sql = "UPDATE images SET interruptions = interruptions + 1 WHERE id = ? AND state = 'waiting' \
                   RETURNING interruptions";
        let found = transaction
            .query_row(sql, [image], |row| row.get::<_, u32>(0))
            .optional()?;
        if found.is_some_and(|interruptions| interruptions >= INTERRUPTIONS_TO_GIVE_UP) {
            give_up(
                transaction,
                *image,
                "the service ended while it examined this image",
                now,
            )?;
        }
    }
    Ok(())
}

/// An image that will have no result.
pub(super) fn give_up(
    transaction: &Transaction<'_>,
    image: i64,
    problem: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(number) = end(transaction, image, "failed", Some(problem), now)? else {
        return Ok(());
    };
    tracing::error!(case = number, "an image was given up: {problem}");
    let detail = json!({ "image": key(transaction, image)?, "problem": problem });
    audit::append(transaction, now, Event::ImageFailed, &number, &detail)
}

/// Ends the waiting of an image without a result; gives the number of its case, unless it did not wait.
fn end(
    transaction: &Transaction<'_>,
    image: i64,
    state: &str,
    problem: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let sql = "UPDATE images SET state = ?2, finished = ?3, problem = ?4 WHERE id = ?1 AND state = 'waiting' \
               RETURNING case_id";
    let case = transaction
        .query_row(sql, params![image, state, millis(now), problem], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    match case {
        None => Ok(None),
        Some(case) => results::refresh_case(transaction, case, now, None).map(Some),
    }
}

pub(super) fn key(connection: &Connection, image: i64) -> Result<String, StoreError> {
    let sql = "SELECT key FROM images WHERE id = ?";
    Ok(connection.prepare_cached(sql)?.query_row([image], |row| row.get(0))?)
}

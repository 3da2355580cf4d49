//! What is to leave the appliance: owed from the very transaction that stored the result, made into a file, sent.
//!
//! ```text
//! owed ---made---> waiting ---sent---> sent
//!   |               ^ |  \__ a try failed: later again, for ever
//!   |         retry | v
//!   |               parked      (refused for good: it waits for a person)
//!   +--- nothing can be made, or a person says so ---> dropped
//! ```
//! A case with something owed, waiting or parked is never deleted.

mod entry;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::json;

use super::audit::{self, Event};
use super::folders::{Folders, failed};
use super::{Store, StoreError, millis};
use crate::outbox::Kind;

pub use entry::{Counts, Entry, EntryState, counts, list};

/// What lies further ahead was written down while the clock was wrong, and is due.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Name of the fact that counts how often people asked for another try.
const RETRIES: &str = "outbox-retries";

/// An object that was made: a whole, synced file in the folder `outbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What kind.
    pub kind: Kind,
    /// SOP Instance UID of a DICOM object, name of a JSON file. One that is there already stays as it is.
    pub object: String,
    /// Name of the file in the folder `outbox`.
    pub file: String,
}

impl Store {
    /// The oldest entries whose objects are to be made and whose time has come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn owed(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.due(EntryState::Owed, &Kind::ALL, now, limit)
    }

    /// The objects of these kinds that are due, the longest due first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn due_objects(&self, kinds: &[Kind], now: DateTime<Utc>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.due(EntryState::Waiting, kinds, now, limit)
    }

    fn due(&self, state: EntryState, kinds: &[Kind], now: DateTime<Utc>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.text())).collect();
        let rest = format!(
            "WHERE outbox.state = ?1 AND (next_try <= ?2 OR next_try > ?3) AND outbox.kind IN ({}) \
             ORDER BY next_try, outbox.id LIMIT ?4",
            kinds.join(", ")
        );
        let now = millis(now);
        let ahead = now.saturating_add(i64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(i64::MAX));
        let values = params![state.text(), now, ahead, limit];
        entry::select(&self.reading(), &self.folders, &rest, values)
    }

    /// The objects of a case, or of one of its images, were made; what of `owed` has none will not be sent, for the
    /// reason given. What was made beyond what was owed goes too.
    ///
    /// # Errors
    /// [`StoreError`]; then all of it is still owed.
    pub fn objects_made(
        &self,
        owed: &[Entry],
        made: &[Made],
        left_out: &[(Kind, String)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(first) = owed.first() else { return Ok(()) };
        self.change(|transaction| {
            let mut open: Vec<&Entry> = owed.iter().collect();
            for made in made {
                let at = open.iter().position(|entry| entry.kind == made.kind);
                let entry = at.map(|at| open.remove(at).id);
                put_object(transaction, entry, first, made, now)?;
            }
            for entry in open {
                let reason = left_out.iter().find(|(kind, _)| *kind == entry.kind);
                let reason = reason.map_or("there is nothing to send", |(_, reason)| reason.as_str());
                end_entry(transaction, entry, EntryState::Dropped, Some(reason), now)?;
            }
            Ok(())
        })?;
        // One that was sent before needs no file again.
        for made in made {
            let sql = "SELECT 1 FROM outbox WHERE path = ?";
            if !self.reading().prepare_cached(sql)?.exists([&made.file])? {
                Folders::remove(&self.folders.outbox().join(&made.file))?;
            }
        }
        Ok(())
    }

    /// The objects of these entries cannot be made now.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn making_failed(&self, owed: &[Entry], reason: &str, due: DateTime<Utc>) -> Result<(), StoreError> {
        self.change(|transaction| {
            for entry in owed {
                note_failure(transaction, "id = ?1 AND state = 'owed'", entry.id, reason, due)?;
            }
            Ok(())
        })
    }

    /// The bytes of an object that waits.
    ///
    /// # Errors
    /// [`StoreError::Gone`], [`StoreError::File`].
    pub fn object_bytes(&self, object: &str) -> Result<Vec<u8>, StoreError> {
        let sql = "SELECT path FROM outbox WHERE object = ? AND path IS NOT NULL";
        let name: Option<String> = self
            .reading()
            .prepare_cached(sql)?
            .query_row([object], |row| row.get(0))
            .optional()?;
        let path = self.folders.outbox().join(name.ok_or_else(gone)?);
        std::fs::read(&path).map_err(|source| failed(&path, "read the object", source))
    }

    /// The object is where it should be; `remark` is what the archive said nevertheless.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if it neither waits nor is parked.
    pub fn object_sent(&self, object: &str, at: DateTime<Utc>, remark: Option<&str>) -> Result<(), StoreError> {
        self.end_object(object, EntryState::Sent, remark, at)
    }

    /// It was refused for good, and waits for a person.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if it does not wait.
    pub fn object_parked(&self, object: &str, at: DateTime<Utc>, reason: &str) -> Result<(), StoreError> {
        self.end_object(object, EntryState::Parked, Some(reason), at)
    }

    /// A person gives it up.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if it neither waits nor is parked.
    pub fn drop_object(&self, object: &str, reason: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.end_object(object, EntryState::Dropped, Some(reason), at)
    }

    /// It could not be sent, and is tried again at `due`.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if it does not wait.
    pub fn object_failed(&self, object: &str, due: DateTime<Utc>, reason: &str) -> Result<(), StoreError> {
        self.change(|transaction| {
            match note_failure(transaction, "object = ?1 AND state = 'waiting'", object, reason, due)? {
                0 => Err(gone()),
                _ => Ok(()),
            }
        })
    }

    fn end_object(
        &self,
        object: &str,
        state: EntryState,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let file = self.change(|transaction| {
            let found = entry::select(transaction, &self.folders, "WHERE object = ?", [object])?;
            end_entry(transaction, found.first().ok_or_else(gone)?, state, reason, now)
        })?;
        match file {
            Some(path) => Folders::remove(&path),
            None => Ok(()),
        }
    }

    /// Makes what waits or is parked due at once, with no attempts: all of it, or one object. Gives how many.
    ///
    /// # Errors
    /// [`StoreError::Gone`] for an object that is not there, or neither waits nor is parked.
    pub fn retry(&self, object: Option<&str>) -> Result<usize, StoreError> {
        self.change(|transaction| match (retry(transaction, object)?, object) {
            (0, Some(_)) => Err(gone()),
            (retried, _) => {
                count_retry(transaction)?;
                Ok(retried)
            }
        })
    }

    /// How often [`Store::retry`] was asked for, by any program: a sender that leaves a destination alone for a while tries it
    /// at once when this number changes.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn retries(&self) -> Result<u64, StoreError> {
        let sql = "SELECT value FROM facts WHERE name = ?";
        let reader = self.reading();
        let mut statement = reader.prepare_cached(sql)?;
        let value: Option<String> = statement.query_row([RETRIES], |row| row.get(0)).optional()?;
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// How many entries are in which state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_counts(&self) -> Result<Counts, StoreError> {
        counts(&self.reading())
    }

    /// The entries in the order of [`list`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_entries(&self, limit: u32) -> Result<Vec<Entry>, StoreError> {
        list(&self.reading(), &self.folders, limit)
    }
}

/// Notes what is owed for a case or one of its images. What is owed already and not made yet is not owed twice.
pub(super) fn owe(
    transaction: &Transaction<'_>,
    case: i64,
    image: Option<i64>,
    kinds: &[Kind],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (case_id, image_id, kind, state, created) SELECT ?1, ?2, ?3, 'owed', ?4 WHERE NOT EXISTS \
               (SELECT 1 FROM outbox WHERE case_id = ?1 AND image_id IS ?2 AND kind = ?3 AND state = 'owed')";
    for kind in kinds {
        transaction
            .prepare_cached(sql)?
            .execute(params![case, image, kind.text(), millis(now)])?;
    }
    Ok(())
}

/// Gives an object to the entry that owes it, or to a new one. One that is known is the same DICOM object, because its UID
/// follows from its content; a JSON file of the same name says what came of the case since, and takes the place of the other.
fn put_object(
    transaction: &Transaction<'_>,
    entry: Option<i64>,
    like: &Entry,
    made: &Made,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let known = transaction
        .prepare_cached("SELECT id FROM outbox WHERE object = ?")?
        .query_row([&made.object], |row| row.get::<_, i64>(0))
        .optional()?;
    if known.is_some()
        && let Some(entry) = entry
    {
        transaction.execute("DELETE FROM outbox WHERE id = ?", [entry])?;
    }
    match (entry, known) {
        (Some(_), Some(known)) if made.kind == Kind::Json => {
            let sql = "UPDATE outbox SET state = 'waiting', path = ?2, attempts = 0, next_try = 0, last_error = NULL, \
                       ended = NULL WHERE id = ?1";
            transaction.execute(sql, params![known, made.file])?;
        }
        (_, Some(_)) => {}
        (Some(entry), None) => {
            let sql = "UPDATE outbox SET state = 'waiting', object = ?2, path = ?3, attempts = 0, next_try = 0, \
                       last_error = NULL WHERE id = ?1 AND state = 'owed'";
            if transaction.execute(sql, params![entry, made.object, made.file])? == 0 {
                return Err(gone());
            }
        }
        (None, None) => {
            let sql = "INSERT INTO outbox (case_id, image_id, kind, state, object, path, created) \
                       VALUES (?, ?, ?, 'waiting', ?, ?, ?)";
            let values = params![
                like.case,
                like.image,
                made.kind.text(),
                made.object,
                made.file,
                millis(now)
            ];
            transaction.execute(sql, values)?;
        }
    }
    Ok(())
}

fn note_failure(
    transaction: &Transaction<'_>,
    condition: &str,
    which: impl rusqlite::ToSql,
    reason: &str,
    due: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let sql = format!("UPDATE outbox SET attempts = attempts + 1, last_error = ?2, next_try = ?3 WHERE {condition}");
    Ok(transaction.execute(&sql, params![which, reason, millis(due)])?)
}

/// Ends an entry; gives the file that it no longer needs.
fn end_entry(
    transaction: &Transaction<'_>,
    entry: &Entry,
    state: EntryState,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<PathBuf>, StoreError> {
    let may = match state {
        EntryState::Sent => "'waiting', 'parked'",
        EntryState::Parked => "'waiting'",
        _ => "'owed', 'waiting', 'parked'",
    };
    let keeps_file = state == EntryState::Parked;
    let sql = format!(
        "UPDATE outbox SET state = ?2, path = iif(?3, path, NULL), ended = ?4, last_error = ?5 \
         WHERE id = ?1 AND state IN ({may})"
    );
    if transaction.execute(&sql, params![entry.id, state.text(), keeps_file, millis(now), reason])? == 0 {
        return Err(gone());
    }
    let event = match state {
        EntryState::Sent => Event::Sent,
        EntryState::Parked => Event::Parked,
        _ => Event::Dropped,
    };
    let detail = json!({ "kind": entry.kind.text(), "object": entry.object, "reason": reason });
    audit::append(transaction, now, event, &entry.case_number, &detail)?;
    Ok(entry.path.clone().filter(|_| !keeps_file))
}

/// Makes what waits or is parked due at once: all of it, or one object.
fn retry(transaction: &Transaction<'_>, object: Option<&str>) -> Result<usize, StoreError> {
    let sql = "UPDATE outbox SET state = iif(state = 'owed', 'owed', 'waiting'), attempts = 0, next_try = 0, \
               ended = NULL WHERE state IN ('owed', 'waiting', 'parked') AND (?1 IS NULL OR object = ?1)";
    Ok(transaction.execute(sql, [object])?)
}

/// The sender is another thread, and often of another program: it hears of a person's wish through the database.
fn count_retry(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let sql = "INSERT INTO facts (name, value) VALUES (?, '1') \
               ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1";
    transaction.execute(sql, [RETRIES])?;
    Ok(())
}

fn gone() -> StoreError {
    StoreError::Gone {
        what: "open entry of the outbox",
    }
}

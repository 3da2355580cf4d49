//! Entries of the outbox, as people and the sender read them.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Params, Row};
use serde::Serialize;

use crate::outbox::Kind;
use crate::store::folders::Folders;
use crate::store::{StoreError, time};

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryState {
    /// Its object is still to be made.
    Owed,
    /// Its object waits to be sent.
    Waiting,
    /// It was sent.
    Sent,
    /// It was refused for good, and waits for a person.
    Parked,
    /// It will not be sent.
    Dropped,
}

impl EntryState {
    const ALL: [Self; 5] = [Self::Owed, Self::Waiting, Self::Sent, Self::Parked, Self::Dropped];

    /// The stable text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Parked => "parked",
            Self::Dropped => "dropped",
        }
    }

    fn from_text(text: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|state| state.text() == text);
        found.ok_or_else(|| senseless("state of the outbox", text))
    }
}

fn kind_of(text: &str) -> Result<Kind, StoreError> {
    let found = Kind::ALL.into_iter().find(|kind| kind.text() == text);
    found.ok_or_else(|| senseless("kind of object", text))
}

fn senseless(what: &'static str, found: &str) -> StoreError {
    let found = found.to_owned();
    StoreError::Senseless { what, found }
}

/// An entry of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// The case that it is about.
    #[serde(skip)]
    pub case: i64,
    /// The number of that case: `260314-0007`.
    pub case_number: String,
    /// The image that it is about; absent for a whole series.
    #[serde(skip)]
    pub image: Option<i64>,
    /// What kind of object.
    pub kind: Kind,
    /// How far it is.
    pub state: EntryState,
    /// SOP Instance UID of a DICOM object, name of a JSON file; absent while it is owed.
    pub object: Option<String>,
    /// The object's file, while it is there.
    pub path: Option<PathBuf>,
    /// Tries that failed.
    pub attempts: u32,
    /// When it is tried again.
    pub next_try: DateTime<Utc>,
    /// Why the last try failed, why it was parked or dropped, or what the archive remarked.
    pub last_error: Option<String>,
    /// When the result was stored.
    pub created: DateTime<Utc>,
    /// When it was sent, parked or dropped.
    pub ended: Option<DateTime<Utc>>,
}

/// How many entries are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Objects still to be made.
    pub owed: u64,
    /// Objects that wait to be sent.
    pub waiting: u64,
    /// Sent.
    pub sent: u64,
    /// Refused for good.
    pub parked: u64,
    /// Not to be sent.
    pub dropped: u64,
    /// Of those that are owed or wait, those whose last try failed.
    pub failing: u64,
}

const COLUMNS: &str = "outbox.id, outbox.case_id, cases.number, outbox.image_id, outbox.kind, outbox.state, outbox.object, \
                       outbox.path, attempts, next_try, last_error, created, ended";

/// The entries that `rest` of a query says: condition, order and limit.
pub(super) fn select(
    connection: &Connection,
    folders: &Folders,
    rest: &str,
    params: impl Params,
) -> Result<Vec<Entry>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM outbox JOIN cases ON cases.id = outbox.case_id {rest}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row, folders)?);
    }
    Ok(entries)
}

/// The entries in an order that people read: what is open first, then the newest.
///
/// # Errors
/// [`StoreError`].
pub fn list(connection: &Connection, folders: &Folders, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let rest = "ORDER BY outbox.state NOT IN ('owed', 'waiting', 'parked'), outbox.id DESC LIMIT ?";
    select(connection, folders, rest, [limit])
}

/// How many entries are in which state.
///
/// # Errors
/// [`StoreError`].
pub fn counts(connection: &Connection) -> Result<Counts, StoreError> {
    let sql = "SELECT state, count(*), count(last_error) FROM outbox GROUP BY state";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let count = row.get::<_, i64>(1)?.unsigned_abs();
        let failing = row.get::<_, i64>(2)?.unsigned_abs();
        match EntryState::from_text(&row.get::<_, String>(0)?)? {
            EntryState::Owed => (counts.owed, counts.failing) = (count, counts.failing + failing),
            EntryState::Waiting => (counts.waiting, counts.failing) = (count, counts.failing + failing),
            EntryState::Sent => counts.sent = count,
            EntryState::Parked => counts.parked = count,
            EntryState::Dropped => counts.dropped = count,
        }
    }
    Ok(counts)
}

fn entry(row: &Row<'_>, folders: &Folders) -> Result<Entry, StoreError> {
    Ok(Entry {
        id: row.get(0)?,
        case: row.get(1)?,
        case_number: row.get(2)?,
        image: row.get(3)?,
        kind: kind_of(&row.get::<_, String>(4)?)?,
        state: EntryState::from_text(&row.get::<_, String>(5)?)?,
        object: row.get(6)?,
        path: row.get::<_, Option<String>>(7)?.map(|name| folders.outbox().join(name)),
        attempts: row.get(8)?,
        next_try: time(row.get(9)?),
        last_error: row.get(10)?,
        created: time(row.get(11)?),
        ended: row.get::<_, Option<i64>>(12)?.map(time),
    })
}

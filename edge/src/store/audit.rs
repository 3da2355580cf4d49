//! The audit trail: what the appliance did and people did to it, append-only and chained by hashes.
//!
//! Each row's hash is SHA-256 over the hash before it and the row. A change, a removal or a new order of rows breaks the
//! chain from there on. Rows cut off at the end leave a shorter chain that is sound in itself: against that the number
//! of rows and the last hash are written down in the folder `monotonic` from time to time ([`AuditHead`]), and a chain
//! that does not reach there was cut. What was appended since the head was last written down can be cut unseen; whoever
//! can write to both places can forge both.
//!
//! Rows hold no patient data: cases by number, images by key.

use std::io;
use std::sync::Arc;

use bundle::container::hexadecimal;
use chrono::{DateTime, Utc};
use hardware::slots::Storage;
use hardware::slots::kept::{Found, Kept};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{StoreError, millis};

/// Name of the head's two files in the folder `monotonic`, without the number of the copy.
const HEAD: &str = "audit";
/// What stands before the first row.
const GENESIS: [u8; 32] = [0; 32];
/// The triggers that keep the table append-only.
const TRIGGERS: [&str; 3] = ["audit_keeps_rows", "audit_keeps_content", "audit_is_appended"];

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The service began.
    ServiceStarted,
    /// The service ended in order.
    ServiceStopped,
    /// A model began to serve.
    ModelServes,
    /// An image was taken in.
    ImageReceived,
    /// An image that was there already came once more.
    ImageRepeated,
    /// An image came with the UID of another one and another content: both are kept.
    ImageDiffers,
    /// An image got its result.
    Result,
    /// No model is for such images.
    NoModel,
    /// An image was given up.
    ImageFailed,
    /// The file of an image is gone, or did not reach the medium.
    ImageLost,
    /// Everything that came for a case has its result.
    CaseSettled,
    /// A person has seen a case.
    CaseAcknowledged,
    /// A person agreed or disagreed.
    Verdict,
    /// A case was deleted by the rules of retention.
    CaseDeleted,
    /// A result left the appliance.
    Sent,
    /// A result was refused for good.
    Parked,
    /// A result will not be sent.
    Dropped,
    /// The database was damaged and a new one was begun.
    StoreRenewed,
}

impl Event {
    /// The stable name in the table.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ServiceStarted => "service-started",
            Self::ServiceStopped => "service-stopped",
            Self::ModelServes => "model-serves",
            Self::ImageReceived => "image-received",
            Self::ImageRepeated => "image-repeated",
            Self::ImageDiffers => "image-differs",
            Self::Result => "result",
            Self::NoModel => "no-model",
            Self::ImageFailed => "image-failed",
            Self::ImageLost => "image-lost",
            Self::CaseSettled => "case-settled",
            Self::CaseAcknowledged => "case-acknowledged",
            Self::Verdict => "verdict",
            Self::CaseDeleted => "case-deleted",
            Self::Sent => "sent",
            Self::Parked => "parked",
            Self::Dropped => "dropped",
            Self::StoreRenewed => "store-renewed",
        }
    }
}

/// Where a trail ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of rows.
    pub rows: u64,
    /// Hash of the last one, hexadecimal.
    pub hash: String,
}

/// Why nothing tells where a trail should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHead {
    /// Nothing was written down, or it is gone.
    Absent,
    /// What was written down cannot be read.
    Damaged,
}

/// What a check of the trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Rows from the first on that are sound.
    pub rows: u64,
    /// Hash of the last sound row, hexadecimal.
    pub hash: String,
    /// What the folder `monotonic` holds; absent if nothing there can be read.
    pub head: Option<Head>,
    /// Why the trail is not what was written, the first place first; empty if it is.
    pub problems: Vec<String>,
}

/// Appends a row; in the same transaction as what it tells of.
///
/// # Errors
/// [`StoreError::Database`].
pub fn append(
    connection: &Connection,
    time: DateTime<Utc>,
    event: Event,
    subject: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let (rows, previous) = end(connection)?;
    let row = Row {
        seq: rows + 1,
        time: millis(time),
        event: event.text().to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_string(),
    };
    let hash = row.hash(&previous);
    let sql = "INSERT INTO audit (seq, time, event, subject, detail, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        row.seq as i64,
        row.time,
        row.event,
        row.subject,
        row.detail,
        previous,
        hash
    ])?;
    Ok(())
}

/// Number of rows and hash of the last one.
fn end(connection: &Connection) -> Result<(u64, Vec<u8>), StoreError> {
    let sql = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let last = connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    Ok(last.map_or((0, GENESIS.to_vec()), |(seq, hash)| (seq.unsigned_abs(), hash)))
}

/// Where the trail ends now.
///
/// # Errors
/// [`StoreError::Database`].
pub fn head(connection: &Connection) -> Result<Head, StoreError> {
    let (rows, hash) = end(connection)?;
    let hash = hexadecimal(&hash);
    Ok(Head { rows, hash })
}

/// Checks every row, and that the trail reaches what was written down. A trail of a service that ran has a head: without
/// one nobody could tell how many rows were cut off.
///
/// # Errors
/// [`StoreError::Database`] if the table cannot be read at all.
pub fn verify(connection: &Connection, head: Result<Head, NoHead>) -> Result<Verified, StoreError> {
    let mut problems = Vec::new();
    let missing = head.as_ref().err().copied();
    let head = head.ok();
    let mut previous = GENESIS.to_vec();
    let mut rows = 0;
    let mut head_hash = None;
    let mut statement =
        connection.prepare("SELECT seq, time, event, subject, detail, previous, hash FROM audit ORDER BY seq")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        match check_row(row, rows + 1, &previous) {
            Ok(hash) => previous = hash,
            Err(problem) => {
                problems.push(problem);
                break;
            }
        }
        rows += 1;
        if head.as_ref().is_some_and(|head| head.rows == rows) {
            head_hash = Some(hexadecimal(&previous));
        }
    }
    if let Some(head) = &head {
        problems.extend(check_head(head, rows, head_hash.as_deref(), problems.is_empty()));
    }
    if let Some(why) = missing {
        problems.extend(missing_head(connection, why)?);
    }
    problems.extend(missing_triggers(connection)?);
    let hash = hexadecimal(&previous);
    Ok(Verified {
        rows,
        hash,
        head,
        problems,
    })
}

/// The hash of a sound row.
fn check_row(row: &rusqlite::Row<'_>, expected: u64, previous: &[u8]) -> Result<Vec<u8>, String> {
    let read = || -> rusqlite::Result<(i64, Row, Vec<u8>, Vec<u8>)> {
        let seq: i64 = row.get(0)?;
        let content = Row {
            seq: seq.unsigned_abs(),
            time: row.get(1)?,
            event: row.get(2)?,
            subject: row.get(3)?,
            detail: row.get(4)?,
        };
        Ok((seq, content, row.get(5)?, row.get(6)?))
    };
    let (seq, content, stated, hash) = read().map_err(|e| format!("row {expected} cannot be read: {e}"))?;
    if u64::try_from(seq) != Ok(expected) {
        return Err(format!(
            "row {expected} is missing: row {seq} follows row {}",
            expected - 1
        ));
    }
    if stated != previous {
        return Err(format!("row {expected} does not follow row {}", expected - 1));
    }
    if content.hash(previous) != hash {
        return Err(format!("row {expected} was changed"));
    }
    Ok(hash)
}

fn check_head(head: &Head, rows: u64, at_head: Option<&str>, sound: bool) -> Option<String> {
    match at_head {
        Some(hash) if hash == head.hash => None,
        Some(_) => Some(format!("row {} is not the one that was written down", head.rows)),
        None if head.rows == 0 => None,
        // A broken chain says so already.
        None if !sound => None,
        None => Some(format!(
            "rows {} to {} were cut off: {} rows were written down",
            rows + 1,
            head.rows,
            head.rows
        )),
    }
}

/// What it means that there is no head: the service writes it down with its first row.
fn missing_head(connection: &Connection, why: NoHead) -> Result<Option<String>, StoreError> {
    const MEANING: &str = "so rows cut off at the end of the trail cannot be seen; unless the medium lost it, somebody \
                           removed it: compare the rows with what was exported or noted before";
    let what = match why {
        NoHead::Damaged => "is damaged",
        NoHead::Absent => {
            let sql = "SELECT 1 FROM audit WHERE event = ?";
            if !connection.prepare(sql)?.exists([Event::ServiceStarted.text()])? {
                return Ok(None);
            }
            "is missing"
        }
    };
    Ok(Some(format!(
        "the trail's end, which is written down apart from it (audit.0 and audit.1 in monotonic/), {what}, {MEANING}"
    )))
}

fn missing_triggers(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit' AND name = ?";
    let mut statement = connection.prepare(sql)?;
    let mut problems = Vec::new();
    for name in TRIGGERS {
        if statement.query_row([name], |row| row.get::<_, i64>(0))? == 0 {
            problems.push(format!(
                "the rule {name}, which keeps the table append-only, is missing"
            ));
        }
    }
    Ok(problems)
}

/// What a row says, as its hash covers it.
struct Row {
    seq: u64,
    time: i64,
    event: String,
    subject: String,
    detail: String,
}

impl Row {
    fn hash(&self, previous: &[u8]) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(previous);
        hash.update(self.seq.to_le_bytes());
        hash.update(self.time.to_le_bytes());
        for text in [&self.event, &self.subject, &self.detail] {
            // With its length, so that nothing can move from one text into the next.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().to_vec()
    }
}

/// The end of the trail as it is kept apart from the database.
pub struct AuditHead {
    kept: Kept,
    head: Result<Head, NoHead>,
}

impl AuditHead {
    /// In a folder apart from the database: the files `audit.0` and `audit.1`.
    #[must_use]
    pub fn open(storage: Arc<dyn Storage>) -> Self {
        let (kept, found) = Kept::open(storage, HEAD);
        let head = match found {
            Found::Body(body) => serde_json::from_slice(&body).map_err(|_| NoHead::Damaged),
            Found::Nothing => Err(NoHead::Absent),
            Found::Damaged => Err(NoHead::Damaged),
        };
        Self { kept, head }
    }

    /// What was written down last.
    ///
    /// # Errors
    /// [`NoHead`] if there is nothing that can be read.
    pub fn head(&self) -> Result<&Head, NoHead> {
        self.head.as_ref().map_err(|why| *why)
    }

    /// Writes `head` down, unless it stands there already.
    ///
    /// # Errors
    /// What the storage says.
    pub fn write(&mut self, head: Head) -> io::Result<()> {
        if self.head.as_ref() == Ok(&head) {
            return Ok(());
        }
        let body = serde_json::to_vec(&head).map_err(io::Error::other)?;
        self.kept.write(&body)?;
        self.head = Ok(head);
        Ok(())
    }
}

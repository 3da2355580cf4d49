//! The case store: everything that the appliance took in, what it found, and what it still has to do.
//!
//! - [`schema`]: the tables (SQLite in WAL mode)
//! - [`config`], [`privacy`]: what is kept, and of patients how much
//! - [`arrivals`], [`folders`]: taking images in, and the files beside the database
//! - [`durability`]: what is on the medium, and what is not yet
//! - [`queue`]: what waits for a model, urgent images first
//! - [`results`], [`series`]: findings of images, and of cases by their worst images
//! - [`filing`]: what is kept beside the database
//! - [`cases`], [`images`]: what screens, command line and outbox read
//! - [`browse`]: what the display reads of many cases
//! - [`models`]: what the models of the results say about themselves
//! - [`outbox`]: what is to leave the appliance
//! - [`verdicts`]: what people said to results, as labels for a calibration
//! - [`audit`]: who did what when, append-only and chained
//! - [`retention`]: what goes when it is old or space is short
//! - [`startup`]: what a start finds and sets right; `renewal`: a damaged database
//! - [`export`]: cases for a calibration
//!
//! Nothing that was accepted is lost and nothing is done twice, whenever the power goes: an image's file, its place and its
//! row are on the medium before anyone hears of success. A result and the image's new state are one transaction, with all
//! that is owed to the outbox, and on the medium before anything is built on it. A start compares files and rows.

pub mod arrivals;
pub mod audit;
pub mod browse;
pub mod cases;
pub mod config;
pub mod durability;
pub mod export;
pub mod filing;
pub mod folders;
mod grouping;
pub mod images;
pub mod models;
pub mod outbox;
pub mod privacy;
pub mod queue;
mod renewal;
pub mod results;
pub mod retention;
pub mod schema;
pub mod series;
pub mod startup;
pub mod verdicts;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::outbox::Kind;
use audit::Event;
use config::StoreConfig;
use folders::Folders;

/// Name of the database in the state folder.
const DATABASE: &str = "store.sqlite";
/// How long a writer waits for another one, such as a person with a tool.
const BUSY: Duration = Duration::from_secs(10);
/// The write-ahead log is brought into the database at this many pages (4 KiB each), which also bounds its file.
const CHECKPOINT_PAGES: i64 = 1000;
/// Bytes to which the log's file is cut after that.
const LOG_BYTES: i64 = 8 << 20;

/// Why the store cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite failed.
    #[error("database: {0}; check that the disk is not full, read-only or failing")]
    Database(#[from] rusqlite::Error),
    /// The tables were made by a later program.
    #[error(
        "the database has version {found}, newer than this program, which knows {known}; install the newer program again"
    )]
    Newer {
        /// Version of the tables.
        found: usize,
        /// Version of this program.
        known: usize,
    },
    /// The tables were made by an earlier program, and a reader changes nothing.
    #[error("the database has version {found}, older than this program, which knows {known}; start the service once")]
    Older {
        /// Version of the tables.
        found: usize,
        /// Version of this program.
        known: usize,
    },
    /// A file or folder beside the database failed.
    #[error("{}: cannot {action}: {source}; check that the disk is not full, read-only or failing", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such case.
    #[error("there is no case {0}; list them with `scanside-edge cases list`")]
    NoSuchCase(String),
    /// There is no such image or entry.
    #[error("there is no such {what} any more")]
    Gone {
        /// What was asked for.
        what: &'static str,
    },
    /// A row holds what this program did not write.
    #[error("the database holds a {what} that makes no sense ({found}); it was changed by another program")]
    Senseless {
        /// What it should be.
        what: &'static str,
        /// What it is.
        found: String,
    },
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Database(rusqlite::Error::SqliteFailure(error, _)) => error.code == ErrorCode::DiskFull,
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether the database itself is damaged, so that no further try helps.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let Self::Database(rusqlite::Error::SqliteFailure(error, _)) = self else {
            return false;
        };
        matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    }
}

/// The store of a running service: the only writer.
pub struct Store {
    /// Closed before the writer: the last one to close brings the log into the database, and a reader may not.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
    folders: Folders,
    config: StoreConfig,
    owed: Vec<Kind>,
    /// When the last byte of an image was there that came since the start.
    arrived: Mutex<HashMap<i64, Instant>>,
    /// Whether something was committed that need not be on the medium.
    is_lazy: AtomicBool,
    bell: Bell,
}

impl Store {
    /// Opens the store in the state folder, making it where it is missing. Of each result the outbox owes the objects
    /// `owed`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(state: &Path, config: StoreConfig, owed: Vec<Kind>) -> Result<Self, StoreError> {
        let folders = Folders::make(state)?;
        let path = state.join(DATABASE);
        let mut writer = Connection::open(&path)?;
        settings(&writer)?;
        schema::migrate(&mut writer)?;
        let reader = Connection::open_with_flags(&path, reading())?;
        reader.busy_timeout(BUSY)?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            folders,
            config,
            owed,
            arrived: Mutex::default(),
            is_lazy: AtomicBool::new(false),
            bell: Bell::default(),
        })
    }

    /// What is kept, and how much.
    #[must_use]
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// The files beside the database.
    #[must_use]
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Adds a row to the audit trail. `detail` holds no patient data.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn note(
        &self,
        time: DateTime<Utc>,
        event: Event,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.change(|transaction| audit::append(transaction, time, event, subject, detail))
    }

    /// Where the audit trail ends, on the medium too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn audit_head(&self) -> Result<audit::Head, StoreError> {
        let head = audit::head(&self.reading())?;
        self.make_durable()?;
        Ok(head)
    }

    /// Carries out `work` in one transaction, which is durable when this returns.
    fn change<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        in_transaction(&mut lock(&self.writer), work)
    }

    /// As [`change`](Self::change), for what could be found out again, or is made durable before anybody relies on it: it
    /// waits for no medium.
    fn change_lazily<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        let done = in_transaction(&mut writer, work);
        self.is_lazy.store(true, Ordering::SeqCst);
        writer.pragma_update(None, "synchronous", "FULL")?;
        done
    }

    fn reading(&self) -> MutexGuard<'_, Connection> {
        lock(&self.reader)
    }

    /// Wakes whoever waits for an image.
    fn ring(&self) {
        self.bell.ring();
    }

    /// Waits until an image was taken in, or `patience` is over.
    pub fn wait_for_arrival(&self, patience: Duration) {
        self.bell.wait(patience);
    }
}

/// Opens the database of a state folder to read it, also while the service runs.
///
/// # Errors
/// [`StoreError::Database`] if there is none; [`StoreError::Newer`], [`StoreError::Older`].
pub fn open_reader(state: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(state.join(DATABASE), reading())?;
    connection.busy_timeout(BUSY)?;
    schema::check(&connection)?;
    Ok(connection)
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn reading() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn settings(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
    // Only before the first table; it lets the file shrink again when cases are deleted.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the medium when it returns: success is answered after it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // What was deleted is overwritten: names do not stay in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// A thread that panicked while it held the connection rolled its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970-01-01T00:00:00 UTC.
fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// The time of so many milliseconds since 1970-01-01T00:00:00 UTC.
fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A bell that rings for those who wait, and for the next one who begins to wait if nobody does.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.heard.notify_all();
    }

    fn wait(&self, patience: Duration) {
        let rung = lock(&self.rung);
        let waited = self.heard.wait_timeout_while(rung, patience, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

//! A damaged database: it is put aside and a new one begun, because an appliance that nobody looks after must go on. What lies
//! beside it is taken over: images that may have had no result yet, and objects that were still to be sent.
//!
//! What cannot be taken over is put aside with the database, never deleted with what no row names.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bundle::container::hexadecimal;
use chrono::{DateTime, Utc};
use rusqlite::{Transaction, params};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::audit::{Event, Head};
use super::config::StoreConfig;
use super::folders::{Folders, failed, sync_folder};
use super::{DATABASE, Store, StoreError, millis, retention};
use crate::finding::Finding;
use crate::intake::arrival::{Arrival, Known, Origin, Received};
use crate::intake::facts::Facts;
use crate::outbox::{self, Kind};

/// Name of the file that says that the database may be damaged.
const SUSPICION: &str = "store.suspect";
/// Name of the file that says that a new database has not taken everything over yet.
const RENEWING: &str = "store.renewing";
/// Between the name of a database that was put aside and its time.
const DAMAGED: &str = ".damaged-";
/// Behind that, the folder of what the new one could not take over.
const LEFT: &str = ".files";
/// Damages of which everything is kept.
const KEPT: usize = 3;
/// Digits of a file's name in the folder of objects.
const OBJECT_DIGITS: usize = 40;

impl Store {
    /// As [`Store::open`], but a database that is damaged beyond reading is put aside, and a new one begun. Gives the damaged
    /// file's new name.
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
        let (store, aside) = match Self::open_sound(state, config.clone(), owed.clone()) {
            Err(error) if error.is_damaged() => {
                tracing::error!("{error}; the damaged file is put aside and a new database begun");
                mark(state)?;
                let aside = put_aside(state, now)?;
                let store = Self::open(state, config, owed)?;
                let detail = json!({ "reason": error.to_string(), "rows": head.map(|head| head.rows) });
                store.note(now, Event::StoreRenewed, "store", &detail)?;
                (store, Some(aside))
            }
            opened => (opened?, None),
        };
        let renewing = state.join(RENEWING);
        if renewing.exists() {
            store.take_over(now)?;
            Folders::remove(&renewing)?;
            forget_old_damages(state)?;
        }
        Ok((store, aside))
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

    /// Takes over what lies beside a new database, which knows none of it; also what a power cut left over of that.
    fn take_over(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let [images, _, objects] = retention::named_files(&self.reading())?;
        let (mut taken, mut queued, mut left) = (0, 0, 0);
        for path in unnamed(&self.folders.images(), &images)? {
            match self.take_in_anyway(&arrival(&path, now)) {
                Ok(_) => taken += 1,
                Err(error) => {
                    tracing::error!("an image was not taken in anew and is put aside: {error}");
                    leave(self.folders.state(), &path, now)?;
                    left += 1;
                }
            }
        }
        for path in unnamed(&self.folders.outbox(), &objects)? {
            match object_in(&path, now) {
                Some((kind, object)) => {
                    self.change(|transaction| requeue(transaction, kind, &object, &path, now))?;
                    queued += 1;
                }
                None => {
                    tracing::error!("a file among the objects to be sent is none and is put aside");
                    leave(self.folders.state(), &path, now)?;
                    left += 1;
                }
            }
        }
        tracing::warn!(taken, queued, left, "what was there was taken over");
        Ok(())
    }
}

/// A start that a power cut ends goes on with the next one.
fn mark(state: &Path) -> Result<(), StoreError> {
    let path = state.join(RENEWING);
    fs::write(&path, b"").map_err(|source| failed(&path, "write the file", source))?;
    sync_folder(state)
}

/// The files in a folder that no row names.
fn unnamed(folder: &Path, named: &HashSet<String>) -> Result<Vec<PathBuf>, StoreError> {
    let read = |source| failed(folder, "read the folder", source);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let is_named = entry.file_name().to_str().is_some_and(|name| named.contains(name));
        if !is_named && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn arrival(path: &Path, now: DateTime<Utc>) -> Arrival {
    Arrival {
        origin: Origin::Folder {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        },
        path: path.to_path_buf(),
        received: Received {
            at: Instant::now(),
            time: now,
        },
        known: Known::default(),
    }
}

/// Which object a file is: objects are whole files, and their names follow from what they are.
fn object_in(path: &Path, now: DateTime<Utc>) -> Option<(Kind, String)> {
    let name = path.file_name()?.to_str()?;
    let is_its_name = |object: &String| object_name(object) == name;
    if let Ok(facts) = Facts::read(&arrival(path, now), &[])
        && facts.is_dicom
    {
        let class = facts.sop_class_uid?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.sop_class() == Some(class.as_str()))?;
        return Some((kind, facts.sop_instance_uid.filter(is_its_name)?));
    }
    let finding: Finding = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let mut names = (1..=MOST_MEMBERS).map(|member| outbox::json_name(&finding.case_id, member));
    Some((Kind::Json, names.find(is_its_name)?))
}

/// Images of a case whose JSON is looked for by its name.
const MOST_MEMBERS: u32 = 10_000;

/// The name of an object's file in the folder of objects. An object's own name comes from identifiers that came from outside.
pub(super) fn object_name(object: &str) -> String {
    let mut name = hexadecimal(&Sha256::digest(object.as_bytes()));
    name.truncate(OBJECT_DIGITS);
    name
}

/// Queues an object again, under a case of its own: which one it was about, the damaged database knew.
fn requeue(
    transaction: &Transaction<'_>,
    kind: Kind,
    object: &str,
    path: &Path,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let number = format!("{}-unsent", now.format("%y%m%d"));
    let sql = "INSERT INTO cases (number, grouping, kind, opened, received, changed, settled, filed) \
               VALUES (?1, 'unsent:' || ?1, 'single', ?2, ?2, ?2, ?2, 1) ON CONFLICT DO NOTHING";
    transaction.execute(sql, params![number, millis(now)])?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sql = "INSERT INTO outbox (case_id, kind, state, object, path, created) \
               SELECT id, ?2, 'waiting', ?3, ?4, ?5 FROM cases WHERE number = ?1 ON CONFLICT DO NOTHING";
    transaction.execute(sql, params![number, kind.text(), object, name, millis(now)])?;
    Ok(())
}

/// Renames the database and what belongs to it.
fn put_aside(state: &Path, now: DateTime<Utc>) -> Result<PathBuf, StoreError> {
    let aside = |ending: &str| aside(state, now, ending);
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

fn aside(state: &Path, now: DateTime<Utc>, ending: &str) -> PathBuf {
    state.join(format!("{DATABASE}{DAMAGED}{}{ending}", now.format("%y%m%d-%H%M%S")))
}

/// Puts a file aside that cannot be taken over.
fn leave(state: &Path, path: &Path, now: DateTime<Utc>) -> Result<(), StoreError> {
    let folder = aside(state, now, LEFT);
    fs::create_dir_all(&folder).map_err(|source| failed(&folder, "make the folder", source))?;
    let to = folder.join(path.file_name().unwrap_or_default());
    fs::rename(path, to).map_err(|source| failed(path, "put the file aside", source))
}

/// What was put aside, the oldest first: databases, what belongs to them, and folders of what could not be taken over.
pub(super) fn damages(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&format!("{DATABASE}{DAMAGED}")))
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_aside).collect();
    found.sort();
    found
}

/// A medium that fails again and again must not fill itself with what it damaged. Files that could not be taken over stay.
fn forget_old_damages(state: &Path) -> Result<(), StoreError> {
    let found = damages(state);
    let is_database = |path: &&PathBuf| {
        let name = path.to_string_lossy();
        !["-wal", "-shm", LEFT].iter().any(|ending| name.ends_with(ending))
    };
    let databases: Vec<&PathBuf> = found.iter().filter(is_database).collect();
    for old in databases.iter().rev().skip(KEPT) {
        for ending in ["", "-wal", "-shm"] {
            let mut path = old.as_os_str().to_owned();
            path.push(ending);
            Folders::remove(Path::new(&path))?;
        }
    }
    Ok(())
}

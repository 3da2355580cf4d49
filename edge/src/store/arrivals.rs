//! Taking images in: each exactly once, and safe before anybody hears of success.
//!
//! The order is: the file has its place; its row is committed, which waits for no medium, so that its examination begins;
//! file, folder and row are synced and the row says so; success. What a power cut finds of an image whose row does not
//! say so is compared with its digest by the next start, and goes if it is not whole: nobody was told that it was there.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hardware::slots::storage::free_bytes;
use imaging::decode::{self, Limits};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;

use super::audit::{self, Event};
use super::folders::{Folders, failed, sync_folder};
use super::grouping::Group;
use super::queue::{self, FAULTS_TO_GIVE_UP, INTERRUPTIONS_TO_GIVE_UP};
use super::{Store, StoreError, durability, millis};
use crate::intake::arrival::{AcceptError, Accepted, Acceptor, Arrival, Origin, Room};
use crate::intake::facts::Facts;

/// How long another sender may take to make the same image durable.
const OTHER_SENDER: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// An image that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub image: i64,
    /// Whether it is new.
    pub accepted: Accepted,
    /// Whether it has its result, or will never have one.
    pub finished: bool,
}

/// An image on its way in.
struct Candidate<'a> {
    arrival: &'a Arrival,
    facts: Facts,
    key: String,
    digest: [u8; 32],
    /// Name of its file in `images/`.
    file: String,
    bytes: u64,
    /// Number of the case whose image has the same UID and another content.
    namesake: Option<String>,
}

impl Candidate<'_> {
    /// Takes its content as its key, as an image without a UID does.
    fn rename(&mut self, namesake: Present) {
        self.key = content_key(&self.digest);
        self.file = Folders::image_name(&self.key, &self.digest);
        self.namesake = Some(namesake.number);
    }
}

/// A row that is there already.
struct Present {
    image: i64,
    digest: Vec<u8>,
    state: String,
    number: String,
    grouping: String,
    /// Name of its file in `images/`, while it is there.
    file: Option<String>,
    durable: bool,
    /// Whether it was given up because its file was gone.
    is_lost: bool,
}

impl Store {
    /// Takes an image in; its file moves into the store.
    ///
    /// # Errors
    /// [`AcceptError`]; the file is where it was, or gone if it could not be made durable.
    pub fn take_in(&self, arrival: &Arrival) -> Result<Taken, AcceptError> {
        self.take_in_if(arrival, || match self.room_now().map_err(refused)? {
            (Room::Free, _) => Ok(()),
            (Room::QueueFull, waiting) => Err(AcceptError::Busy { waiting }),
            (Room::DiskFull, _) => Err(AcceptError::DiskFull("less than the reserve is free".to_owned())),
        })
    }

    /// As [`take_in`](Self::take_in), however many wait.
    pub(super) fn take_in_anyway(&self, arrival: &Arrival) -> Result<Taken, AcceptError> {
        self.take_in_if(arrival, || Ok(()))
    }

    fn take_in_if(
        &self,
        arrival: &Arrival,
        has_room: impl Fn() -> Result<(), AcceptError>,
    ) -> Result<Taken, AcceptError> {
        let mut candidate = self.candidate(arrival)?;
        let begin = Instant::now();
        loop {
            let present = find(&self.reading(), &candidate.key).map_err(refused)?;
            match present.filter(|present| !present.is_lost || self.is_another(&candidate, present)) {
                // A device that gives a UID twice must not cost anybody a result: this one is known by its content.
                Some(present) if self.is_another(&candidate, &present) => candidate.rename(present),
                None => {
                    has_room()?;
                    if let Some(taken) = self.place(&candidate)? {
                        return Ok(taken);
                    }
                }
                Some(present) if present.durable => return self.repeated(&candidate, &present),
                // Another sender brings it at this moment, and whether it hears of success is not certain yet.
                Some(_) if begin.elapsed() < OTHER_SENDER => thread::sleep(LOOK_AGAIN),
                Some(_) => return Err(AcceptError::Failed("another sender brings it, without an end".into())),
            }
        }
    }

    /// Whether an image with the same key is another one: of another patient or study, or with other pixels. The same one
    /// may come in another transfer syntax.
    fn is_another(&self, candidate: &Candidate<'_>, present: &Present) -> bool {
        if present.digest == candidate.digest {
            return false;
        }
        let group = Group::of(&candidate.facts, &candidate.key);
        let file = present.file.as_ref().map(|file| self.folders.images().join(file));
        !group.may_be(&present.grouping) || file.is_some_and(|file| !shows_the_same(&file, &candidate.arrival.path))
    }

    /// Gives a new image its place and its row, and makes both durable while its examination begins. `None` if another
    /// sender was faster with the same image.
    fn place(&self, candidate: &Candidate<'_>) -> Result<Option<Taken>, AcceptError> {
        let arrival = candidate.arrival;
        let opened = File::open(&arrival.path).map_err(|source| failed(&arrival.path, "open the image", source));
        let file = opened.map_err(refused)?;
        let mut is_adopted = false;
        let placed = self.change_lazily(|transaction| {
            let present = find(transaction, &candidate.key)?;
            if present.as_ref().is_some_and(|present| !present.is_lost) {
                return Ok(None);
            }
            // Within the transaction: no file takes the place of one that has its row.
            self.folders.adopt(&arrival.path, &candidate.file)?;
            is_adopted = true;
            match present {
                Some(lost) => revive(transaction, candidate, &lost).map(Some),
                None => self.insert(transaction, candidate).map(Some),
            }
        });
        match placed {
            Ok(Some(image)) => {
                super::lock(&self.arrived).insert(image, arrival.received.at);
                self.ring();
                self.secure(image, &file, arrival.received.time)?;
                Ok(Some(Taken {
                    image,
                    accepted: Accepted::New,
                    finished: false,
                }))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                if is_adopted && let Err(error) = self.folders.give_back(&candidate.file, &arrival.path) {
                    tracing::error!("{error}");
                }
                Err(refused(error))
            }
        }
    }

    /// Makes an image durable: its file, its name, its row. One that cannot be made so goes, as its sender hears.
    fn secure(&self, image: i64, file: &File, now: DateTime<Utc>) -> Result<(), AcceptError> {
        let images = self.folders.images();
        let synced = file
            .sync_all()
            .map_err(|source| failed(&images, "sync an image", source))
            .and_then(|()| sync_folder(&images))
            .and_then(|()| self.change(|transaction| durability::confirm(transaction, image)));
        synced.map_err(|error| {
            // A file system tells of lost pages once: a second try would take them for written.
            if let Err(error) = self.withdraw(image, now) {
                tracing::error!("an image that could not be made durable cannot be removed: {error}");
            }
            refused(error)
        })
    }

    fn candidate<'a>(&self, arrival: &'a Arrival) -> Result<Candidate<'a>, AcceptError> {
        let from_network = matches!(arrival.origin, Origin::Dicom { .. });
        let facts = match Facts::read(arrival, &self.config.urgent) {
            Ok(facts) => facts,
            // A sender must hear that its object is broken; a file that a person brought gets a result that says so.
            Err(error) if from_network && error.is_refusal() => {
                return Err(AcceptError::Broken(error.summary().to_owned()));
            }
            Err(error) if error.is_refusal() => Facts::unread(arrival),
            Err(error) => return Err(AcceptError::Failed(error.into())),
        };
        let announced = arrival.known.sop_instance_uid.as_ref();
        if announced.is_some_and(|uid| facts.sop_instance_uid.as_ref().is_some_and(|found| found != uid)) {
            return Err(AcceptError::Broken(
                "it is another object than the one announced".to_owned(),
            ));
        }
        let digest = facts.digest(arrival).map_err(|e| AcceptError::Failed(e.into()))?;
        let bytes = std::fs::metadata(&arrival.path)
            .map_err(|e| AcceptError::Failed(e.into()))?
            .len();
        let key = facts
            .sop_instance_uid
            .clone()
            .or_else(|| announced.cloned())
            .unwrap_or_else(|| content_key(&digest));
        let file = Folders::image_name(&key, &digest);
        Ok(Candidate {
            arrival,
            facts,
            key,
            digest,
            file,
            bytes,
            namesake: None,
        })
    }

    /// The image is there already: its file is of no use.
    fn repeated(&self, candidate: &Candidate<'_>, present: &Present) -> Result<Taken, AcceptError> {
        let detail = json!({ "image": candidate.key, "from": candidate.arrival.origin.to_string() });
        let time = candidate.arrival.received.time;
        self.note(time, Event::ImageRepeated, &present.number, &detail)
            .map_err(refused)?;
        Folders::remove(&candidate.arrival.path).map_err(refused)?;
        Ok(Taken {
            image: present.image,
            accepted: Accepted::Known,
            finished: present.state != "waiting",
        })
    }

    /// The new row's number.
    fn insert(&self, transaction: &Transaction<'_>, candidate: &Candidate<'_>) -> Result<i64, StoreError> {
        let (case, number) = self.case_of(transaction, candidate)?;
        let sql = "UPDATE cases SET members = members + 1 WHERE id = ? RETURNING members";
        let member: i64 = transaction.prepare_cached(sql)?.query_row([case], |row| row.get(0))?;
        let Candidate { arrival, facts, .. } = candidate;
        let name = match &arrival.origin {
            Origin::Folder { name } | Origin::Media { name, .. } => self.config.privacy.file_name(name),
            Origin::Dicom { .. } => None,
        };
        let sql = "INSERT INTO images (case_id, member, key, digest, state, urgent, received, origin, name, file, bytes, \
                   sop_class_uid, transfer_syntax_uid, modality, body_part, view, image_type, instance_number, durable) \
                   VALUES (?, ?, ?, ?, 'waiting', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)";
        transaction.prepare_cached(sql)?.execute(params![
            case,
            member,
            candidate.key,
            candidate.digest,
            facts.urgent,
            millis(arrival.received.time),
            arrival.origin.to_string(),
            name,
            candidate.file,
            candidate.bytes as i64,
            facts.sop_class_uid,
            facts.transfer_syntax_uid,
            facts.modality,
            facts.body_part,
            facts.view,
            facts.image_type,
            facts.instance_number,
        ])?;
        let image = transaction.last_insert_rowid();
        note_received(transaction, candidate, &number)?;
        if let Some(namesake) = &candidate.namesake {
            tracing::warn!(
                case = number,
                other = namesake,
                "an image has the UID of another one and another content; both are kept and examined: look at how the device \
                 that sent it makes its UIDs"
            );
            let detail = json!({ "image": candidate.key, "case_of_the_other": namesake });
            audit::append(
                transaction,
                arrival.received.time,
                Event::ImageDiffers,
                &number,
                &detail,
            )?;
        }
        Ok(image)
    }

    /// The case that an image belongs to, made if it is the first one; its row and its number.
    fn case_of(&self, transaction: &Transaction<'_>, candidate: &Candidate<'_>) -> Result<(i64, String), StoreError> {
        let Candidate { facts, arrival, .. } = candidate;
        let group = Group::of(facts, &candidate.key);
        let person = self.config.privacy.person(
            facts.patient_name.as_deref(),
            facts.patient_id.as_deref(),
            facts.accession.as_deref(),
        );
        let received = millis(arrival.received.time);
        // A later image completes what the first one did not say.
        let sql = "UPDATE cases SET received = ?2, settled = NULL, patient_name = coalesce(patient_name, ?3), \
                   patient_id = coalesce(patient_id, ?4), accession = coalesce(accession, ?5), sex = coalesce(sex, ?6), \
                   body_part = coalesce(body_part, ?7), grouping = ?8 WHERE id = ?1 RETURNING id, number";
        let known = group.find(transaction)?;
        let known = transaction
            .prepare_cached(sql)?
            .query_row(
                params![
                    known.as_ref().map(|(id, _)| id),
                    received,
                    person.name,
                    person.id,
                    person.accession,
                    facts.sex,
                    facts.body_part,
                    known.as_ref().map(|(_, grouping)| group.completed(grouping)),
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some(known) = known {
            return Ok(known);
        }
        let number = self.next_number(transaction, arrival)?;
        let sql = "INSERT INTO cases (number, grouping, kind, opened, received, changed, patient_name, patient_id, accession, \
                   sex, modality, body_part, study_uid, series_uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        transaction.prepare_cached(sql)?.execute(params![
            number,
            group.name(),
            group.kind,
            received,
            received,
            received,
            person.name,
            person.id,
            person.accession,
            facts.sex,
            facts.modality,
            facts.body_part,
            facts.study_uid,
            facts.series_uid,
        ])?;
        Ok((transaction.last_insert_rowid(), number))
    }

    /// Day and number: `260314-0007`. A number that was given is not given again, also after its case was deleted.
    fn next_number(&self, transaction: &Transaction<'_>, arrival: &Arrival) -> Result<String, StoreError> {
        let day = arrival.received.time.format("%y%m%d").to_string();
        let sql = "UPDATE days SET last = last + 1 WHERE day = ? RETURNING last";
        let next = transaction
            .prepare_cached(sql)?
            .query_row([&day], |row| row.get::<_, i64>(0))
            .optional()?;
        let next = match next {
            Some(next) => next,
            None => {
                let first = i64::from(self.folders.highest_number(&day)) + 1;
                transaction.execute("INSERT INTO days (day, last) VALUES (?, ?)", params![day, first])?;
                first
            }
        };
        Ok(format!("{day}-{next:04}"))
    }

    /// Whether another image may come, and how many wait.
    fn room_now(&self) -> Result<(Room, u64), StoreError> {
        let state = self.folders.state();
        let free = free_bytes(state).map_err(|source| failed(state, "ask for the free space", source))?;
        let waiting = queue::waiting(&self.reading())?;
        let room = if free < self.config.reserve_bytes() {
            Room::DiskFull
        } else if waiting >= u64::from(self.config.queue) {
            Room::QueueFull
        } else {
            Room::Free
        };
        Ok((room, waiting))
    }
}

impl Acceptor for Store {
    fn spool(&self) -> &Path {
        self.folders.incoming()
    }

    fn room(&self) -> Room {
        self.room_now().map_or_else(
            |error| {
                tracing::error!("{error}");
                // The next object would be refused with the reason.
                Room::Free
            },
            |(room, _)| room,
        )
    }

    fn accept(&self, arrival: Arrival) -> Result<Accepted, AcceptError> {
        self.take_in(&arrival).map(|taken| taken.accepted)
    }
}

/// Whether two files have the same pixels.
fn shows_the_same(one: &Path, other: &Path) -> bool {
    let open = |path| decode::decode_path(path, &Limits::default());
    let (Ok(one), Ok(other)) = (open(one), open(other)) else {
        return false;
    };
    let same = |frame| match (one.frame(frame), other.frame(frame)) {
        (Ok(one), Ok(other)) => one.pixels == other.pixels,
        _ => false,
    };
    one.frame_count() == other.frame_count() && (0..one.frame_count()).all(same)
}

/// The key of an image by its content.
fn content_key(digest: &[u8; 32]) -> String {
    format!("sha256:{}", bundle::container::hexadecimal(digest))
}

/// An image whose file was lost came again: it waits once more, with the file that came. Gives its number.
fn revive(transaction: &Transaction<'_>, candidate: &Candidate<'_>, lost: &Present) -> Result<i64, StoreError> {
    let sql = "UPDATE images SET state = 'waiting', digest = ?2, file = ?3, bytes = ?4, received = ?5, finished = NULL, \
               problem = NULL, durable = 0 WHERE id = ?1 RETURNING case_id";
    let received = millis(candidate.arrival.received.time);
    let case: i64 = transaction.prepare_cached(sql)?.query_row(
        params![
            lost.image,
            candidate.digest,
            candidate.file,
            candidate.bytes as i64,
            received
        ],
        |row| row.get(0),
    )?;
    let sql = "UPDATE cases SET received = ?2, settled = NULL WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute([case, received])?;
    note_received(transaction, candidate, &lost.number)?;
    Ok(lost.image)
}

fn note_received(transaction: &Transaction<'_>, candidate: &Candidate<'_>, number: &str) -> Result<(), StoreError> {
    let arrival = candidate.arrival;
    let detail = json!({
        "image": candidate.key,
        "from": arrival.origin.to_string(),
        "bytes": candidate.bytes,
        "urgent": candidate.facts.urgent,
    });
    audit::append(
        transaction,
        arrival.received.time,
        Event::ImageReceived,
        number,
        &detail,
    )
}

fn find(connection: &Connection, key: &str) -> Result<Option<Present>, StoreError> {
    let sql = format!(
        "SELECT images.id, digest, state, number, grouping, file, durable, state = 'failed' AND \
         interruptions < {INTERRUPTIONS_TO_GIVE_UP} AND faults < {FAULTS_TO_GIVE_UP} \
         FROM images JOIN cases ON cases.id = case_id WHERE key = ?"
    );
    let found = connection.prepare_cached(&sql)?.query_row([key], |row| {
        Ok(Present {
            image: row.get(0)?,
            digest: row.get(1)?,
            state: row.get(2)?,
            number: row.get(3)?,
            grouping: row.get(4)?,
            file: row.get(5)?,
            durable: row.get(6)?,
            is_lost: row.get(7)?,
        })
    });
    Ok(found.optional()?)
}

fn refused(error: StoreError) -> AcceptError {
    if error.is_full() {
        return AcceptError::DiskFull(error.to_string());
    }
    AcceptError::Failed(error.into())
}

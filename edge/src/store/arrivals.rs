//! Taking images in: each exactly once, and safe before anybody hears of success.
//!
//! The order is: the file has its place and the folder is synced; the row is committed; success. A power cut before the
//! commit leaves a file without a row, which the next start removes, as nobody was told that it was there.

use std::path::Path;

use hardware::slots::storage::free_bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;

use super::audit::{self, Event};
use super::folders::{Folders, failed};
use super::{Store, StoreError, millis, queue};
use crate::intake::arrival::{AcceptError, Accepted, Acceptor, Arrival, Origin, Room};
use crate::intake::facts::Facts;

/// Modalities whose images are slices: their cases are series.
const SLICED: [&str; 4] = ["CT", "MR", "PT", "NM"];

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
}

/// A row that is there already.
struct Present {
    image: i64,
    digest: Vec<u8>,
    state: String,
    number: String,
    file: Option<String>,
}

impl Store {
    /// Takes an image in; its file moves into the store.
    ///
    /// # Errors
    /// [`AcceptError`]; the file is where it was.
    pub fn take_in(&self, arrival: &Arrival) -> Result<Taken, AcceptError> {
        let candidate = self.candidate(arrival)?;
        let present = find(&self.reading(), &candidate.key).map_err(refused)?;
        if let Some(present) = present {
            return self.repeated(&candidate, present);
        }
        match self.room_now().map_err(refused)? {
            (Room::Free, _) => self.place(&candidate),
            (Room::QueueFull, waiting) => Err(AcceptError::Busy { waiting }),
            (Room::DiskFull, _) => Err(AcceptError::DiskFull("less than the reserve is free".to_owned())),
        }
    }

    /// As [`take_in`](Self::take_in), however many wait.
    pub(super) fn take_in_anyway(&self, arrival: &Arrival) -> Result<Taken, AcceptError> {
        self.place(&self.candidate(arrival)?)
    }

    /// Gives a new image its place and its row.
    fn place(&self, candidate: &Candidate<'_>) -> Result<Taken, AcceptError> {
        let arrival = candidate.arrival;
        self.folders.adopt(&arrival.path, &candidate.file).map_err(refused)?;
        match self.change(|transaction| self.insert(transaction, candidate)) {
            Ok(Ok(image)) => {
                super::lock(&self.arrived).insert(image, arrival.received.at);
                self.ring();
                Ok(Taken {
                    image,
                    accepted: Accepted::New,
                    finished: false,
                })
            }
            // Another sender was faster with the same image.
            Ok(Err(present)) => self.repeated(candidate, present),
            Err(error) => {
                if let Err(error) = self.folders.give_back(&candidate.file, &arrival.path) {
                    tracing::error!("{error}");
                }
                Err(refused(error))
            }
        }
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
            .unwrap_or_else(|| format!("sha256:{}", bundle::container::hexadecimal(&digest)));
        let file = Folders::image_name(&key, &digest);
        Ok(Candidate {
            arrival,
            facts,
            key,
            digest,
            file,
            bytes,
        })
    }

    /// The image is there already: its file is of no use, wherever it is by now.
    fn repeated(&self, candidate: &Candidate<'_>, present: Present) -> Result<Taken, AcceptError> {
        let same = present.digest == candidate.digest;
        let event = if same {
            Event::ImageRepeated
        } else {
            Event::ImageDiffers
        };
        if !same {
            tracing::warn!(
                case = present.number,
                "an image came again with another content; the first one stands"
            );
        }
        let detail = json!({ "image": candidate.key, "from": candidate.arrival.origin.to_string() });
        self.note(candidate.arrival.received.time, event, &present.number, &detail)
            .map_err(refused)?;
        let adopted = self.folders.images().join(&candidate.file);
        let mut unneeded: Vec<&Path> = vec![&candidate.arrival.path];
        if present.file.as_ref() != Some(&candidate.file) {
            unneeded.push(&adopted);
        }
        for path in unneeded {
            Folders::remove(path).map_err(refused)?;
        }
        Ok(Taken {
            image: present.image,
            accepted: Accepted::Known,
            finished: present.state != "waiting",
        })
    }

    /// The new row's number, or the row that is there already.
    fn insert(
        &self,
        transaction: &Transaction<'_>,
        candidate: &Candidate<'_>,
    ) -> Result<Result<i64, Present>, StoreError> {
        if let Some(present) = find(transaction, &candidate.key)? {
            return Ok(Err(present));
        }
        let (case, number) = self.case_of(transaction, candidate)?;
        let sql = "UPDATE cases SET members = members + 1 WHERE id = ? RETURNING members";
        let member: i64 = transaction.prepare_cached(sql)?.query_row([case], |row| row.get(0))?;
        let Candidate { arrival, facts, .. } = candidate;
        let name = match &arrival.origin {
            Origin::Folder { name } | Origin::Media { name, .. } => self.config.privacy.file_name(name),
            Origin::Dicom { .. } => None,
        };
        let sql = "INSERT INTO images (case_id, member, key, digest, state, urgent, received, origin, name, file, bytes, \
                   sop_class_uid, transfer_syntax_uid, modality, body_part, view, image_type, instance_number) \
                   VALUES (?, ?, ?, ?, 'waiting', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
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
        let detail = json!({
            "image": candidate.key,
            "from": arrival.origin.to_string(),
            "bytes": candidate.bytes,
            "urgent": facts.urgent,
        });
        audit::append(
            transaction,
            arrival.received.time,
            Event::ImageReceived,
            &number,
            &detail,
        )?;
        Ok(Ok(image))
    }

    /// The case that an image belongs to, made if it is the first one; its row and its number.
    fn case_of(&self, transaction: &Transaction<'_>, candidate: &Candidate<'_>) -> Result<(i64, String), StoreError> {
        let Candidate { facts, arrival, .. } = candidate;
        let (kind, grouping) = grouping(facts, &candidate.key);
        let person = self.config.privacy.person(
            facts.patient_name.as_deref(),
            facts.patient_id.as_deref(),
            facts.accession.as_deref(),
        );
        let received = millis(arrival.received.time);
        // A later image completes what the first one did not say.
        let sql = "UPDATE cases SET received = ?2, settled = NULL, patient_name = coalesce(patient_name, ?3), \
                   patient_id = coalesce(patient_id, ?4), accession = coalesce(accession, ?5), sex = coalesce(sex, ?6), \
                   body_part = coalesce(body_part, ?7) WHERE grouping = ?1 RETURNING id, number";
        let known = transaction
            .prepare_cached(sql)?
            .query_row(
                params![
                    grouping,
                    received,
                    person.name,
                    person.id,
                    person.accession,
                    facts.sex,
                    facts.body_part
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
            grouping,
            kind,
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

/// What kind of case an image belongs to, and which.
fn grouping(facts: &Facts, key: &str) -> (&'static str, String) {
    let is_slice = facts
        .modality
        .as_deref()
        .is_some_and(|modality| SLICED.contains(&modality));
    match (&facts.series_uid, &facts.study_uid) {
        (Some(series), _) if is_slice => ("series", format!("series:{series}")),
        (_, Some(study)) if !is_slice => ("study", format!("study:{study}")),
        _ => ("single", format!("file:{key}")),
    }
}

fn find(connection: &Connection, key: &str) -> Result<Option<Present>, StoreError> {
    let sql =
        "SELECT images.id, digest, state, number, file FROM images JOIN cases ON cases.id = case_id WHERE key = ?";
    let found = connection.prepare_cached(sql)?.query_row([key], |row| {
        Ok(Present {
            image: row.get(0)?,
            digest: row.get(1)?,
            state: row.get(2)?,
            number: row.get(3)?,
            file: row.get(4)?,
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

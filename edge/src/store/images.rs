//! The images of a case, as screens, command line and outbox read them.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::folders::Folders;
use super::queue::{FAULTS_TO_GIVE_UP, INTERRUPTIONS_TO_GIVE_UP};
use super::results;
use super::{StoreError, time};
use crate::decision::DecisionKind;
use crate::finding::Finding;

/// How far an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// It waits for a model.
    Waiting,
    /// It has its results.
    Done,
    /// No model is for this kind of image.
    NoModel,
    /// It was given up; its problem says why.
    Failed,
}

impl ImageState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Done, Self::NoModel, Self::Failed];

    /// The stable text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::NoModel => "no-model",
            Self::Failed => "failed",
        }
    }

    pub(super) fn from_text(text: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|state| state.text() == text);
        found.ok_or_else(|| StoreError::Senseless {
            what: "state of an image",
            found: text.to_owned(),
        })
    }
}

/// Why an image will have no result although a model is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The service ended each time it examined it.
    EndedTheService,
    /// The model failed on it, and did well on others.
    ModelFailed,
    /// Its file is gone.
    FileGone,
}

/// An image of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageRecord {
    /// Its number.
    #[serde(skip)]
    pub id: i64,
    /// Its number in the case, from 1.
    pub member: u32,
    /// SOP Instance UID, or `sha256:` and the file's digest.
    pub key: String,
    /// How far it is.
    pub state: ImageState,
    /// Why it was given up, if it was.
    #[serde(skip)]
    pub given_up: Option<GivenUp>,
    /// Why it was given up in an engineer's words, or what went wrong so far.
    pub problem: Option<String>,
    /// Whether it was tagged as urgent.
    pub urgent: bool,
    /// When its last byte was there.
    pub received: DateTime<Utc>,
    /// When it got its last result.
    pub finished: Option<DateTime<Utc>>,
    /// Where it came from: `dicom AE ADDRESS`, `folder`, `media`.
    pub origin: String,
    /// The name of its file, at privacy level full.
    pub name: Option<String>,
    /// The file as it came, while it is kept.
    pub file: Option<PathBuf>,
    /// The small picture, if there is one.
    pub picture: Option<PathBuf>,
    /// DICOM SOP Class UID.
    pub sop_class_uid: Option<String>,
    /// DICOM Transfer Syntax UID.
    pub transfer_syntax_uid: Option<String>,
    /// DICOM Modality.
    pub modality: Option<String>,
    /// DICOM Body Part Examined.
    pub body_part: Option<String>,
    /// DICOM View Position.
    pub view: Option<String>,
    /// DICOM Instance Number.
    pub instance_number: Option<i32>,
    /// Milliseconds from the last byte to the display, if that was measured.
    pub latency_ms: Option<f64>,
}

const COLUMNS: &str = "id, member, key, state, problem, urgent, received, finished, origin, name, file, picture, \
                       sop_class_uid, transfer_syntax_uid, modality, body_part, view, instance_number, latency_ms, \
                       interruptions, faults";

/// The images of a case in the order in which they came.
///
/// # Errors
/// [`StoreError`].
pub fn of_case(connection: &Connection, folders: &Folders, case: i64) -> Result<Vec<ImageRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM images WHERE case_id = ? ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([case])?;
    let mut images = Vec::new();
    while let Some(row) = rows.next()? {
        images.push(record(row, folders)?);
    }
    Ok(images)
}

/// One image; `None` if it was deleted.
///
/// # Errors
/// [`StoreError`].
pub fn find(connection: &Connection, folders: &Folders, image: i64) -> Result<Option<ImageRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM images WHERE id = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([image])?;
    match rows.next()? {
        Some(row) => record(row, folders).map(Some),
        None => Ok(None),
    }
}

fn record(row: &Row<'_>, folders: &Folders) -> Result<ImageRecord, StoreError> {
    let file: Option<String> = row.get(10)?;
    let picture: Option<String> = row.get(11)?;
    let state = ImageState::from_text(&row.get::<_, String>(3)?)?;
    let given_up = match (row.get::<_, u32>(19)?, row.get::<_, u32>(20)?) {
        _ if state != ImageState::Failed => None,
        (INTERRUPTIONS_TO_GIVE_UP.., _) => Some(GivenUp::EndedTheService),
        (_, FAULTS_TO_GIVE_UP..) => Some(GivenUp::ModelFailed),
        _ => Some(GivenUp::FileGone),
    };
    Ok(ImageRecord {
        id: row.get(0)?,
        member: row.get(1)?,
        key: row.get(2)?,
        state,
        given_up,
        problem: row.get(4)?,
        urgent: row.get(5)?,
        received: time(row.get(6)?),
        finished: row.get::<_, Option<i64>>(7)?.map(time),
        origin: row.get(8)?,
        name: row.get(9)?,
        file: file.map(|name| folders.images().join(name)),
        picture: picture.map(|name| folders.pictures().join(name)),
        sop_class_uid: row.get(12)?,
        transfer_syntax_uid: row.get(13)?,
        modality: row.get(14)?,
        body_part: row.get(15)?,
        view: row.get(16)?,
        instance_number: row.get(17)?,
        latency_ms: row.get(18)?,
    })
}

/// A result of an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultRecord {
    /// Number of the image.
    #[serde(skip)]
    pub image: i64,
    /// The image's number in the case, from 1.
    pub member: u32,
    /// DICOM Instance Number of the image.
    pub instance_number: Option<i32>,
    /// The frame, from 0.
    pub frame: u32,
    /// What the appliance said.
    pub decision: DecisionKind,
    /// The highest probability of a finding as a share of its operating point: from 1 on it is flagged.
    pub suspicion: Option<f32>,
    /// All that was found.
    pub finding: Finding,
}

/// The results of a case, the most suspicious first; at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub fn worst_results(connection: &Connection, case: i64, limit: u32) -> Result<Vec<ResultRecord>, StoreError> {
    let order = "coalesce(suspicion, -1) DESC, image_id DESC, frame";
    select_results(connection, "case_id = ?1", order, case, limit)
}

/// The results of an image, frame by frame.
///
/// # Errors
/// [`StoreError`].
pub fn results_of_image(connection: &Connection, image: i64) -> Result<Vec<ResultRecord>, StoreError> {
    select_results(connection, "image_id = ?1", "frame", image, u32::MAX)
}

fn select_results(
    connection: &Connection,
    condition: &str,
    order: &str,
    id: i64,
    limit: u32,
) -> Result<Vec<ResultRecord>, StoreError> {
    let sql = format!(
        "SELECT image_id, member, instance_number, frame, decision, suspicion, finding FROM results \
         JOIN images ON images.id = image_id WHERE {condition} ORDER BY {order} LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params![id, limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(6)?;
        records.push(ResultRecord {
            image: row.get(0)?,
            member: row.get(1)?,
            instance_number: row.get(2)?,
            frame: row.get(3)?,
            decision: results::decision(&row.get::<_, String>(4)?)?,
            suspicion: row.get(5)?,
            finding: serde_json::from_str(&text).map_err(|e| StoreError::Senseless {
                what: "finding",
                found: e.to_string(),
            })?,
        });
    }
    Ok(records)
}

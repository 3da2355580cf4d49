//! Cases as screens, command line and outbox read them.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Params, Row};
use serde::Serialize;

use super::folders::Folders;
use super::images::{self, ImageRecord, ResultRecord};
use super::privacy::Person;
use super::verdicts::{HOLDS, Opinion};
use super::{Store, StoreError, results, time};
use crate::codes::Reason;
use crate::decision::{Decision, DecisionKind};
use crate::finding::{Finding, OfSeries};
use crate::text::words::Language;

/// Results that stand for a series on a screen.
pub const STRIP: u32 = 8;

/// What kind of case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseKind {
    /// The radiographs of one study.
    Study,
    /// The slices of one series.
    Series,
    /// One image that says neither.
    Single,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseRecord {
    /// Its number in the database.
    #[serde(skip)]
    pub id: i64,
    /// Its number for people: `260314-0007`.
    pub number: String,
    /// What kind of case.
    pub kind: CaseKind,
    /// When its first image came.
    pub opened: DateTime<Utc>,
    /// When its last image came.
    pub received: DateTime<Utc>,
    /// When it last changed.
    pub changed: DateTime<Utc>,
    /// Whose, as far as the privacy level lets it in.
    pub patient: Person,
    /// DICOM Patient's Sex.
    pub sex: Option<String>,
    /// The patient's age in years.
    pub age_years: Option<f32>,
    /// DICOM Modality.
    pub modality: Option<String>,
    /// DICOM Body Part Examined.
    pub body_part: Option<String>,
    /// DICOM Study Instance UID.
    pub study_uid: Option<String>,
    /// DICOM Series Instance UID of a series.
    pub series_uid: Option<String>,
    /// How many of its images are how far.
    pub images: ImageCounts,
    /// What the appliance says; absent before the first result.
    pub summary: Option<Summary>,
    /// Milliseconds from the last byte to the display, of the last result that was measured.
    pub latency_ms: Option<f64>,
    /// When a person has seen it.
    pub acknowledged: Option<DateTime<Utc>>,
    /// What a person said to it last, if it still says the same.
    pub opinion: Option<Opinion>,
    /// When all that came had its result and nothing came after it.
    pub settled: Option<DateTime<Utc>>,
    /// Objects that are to leave the appliance and have not.
    pub unsent: u32,
}

/// How many images of a case are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ImageCounts {
    /// They wait for a model.
    pub waiting: u32,
    /// They have their results.
    pub done: u32,
    /// No model is for them.
    pub no_model: u32,
    /// They were given up.
    pub failed: u32,
}

/// What the appliance says of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The decision.
    pub decision: DecisionKind,
    /// Id of the label.
    pub label: Option<String>,
    /// What a screen says of it.
    pub label_name: Option<String>,
    /// Why it is uncertain or not readable.
    pub code: Option<String>,
    /// Probability of that label in the worst image, 0..1.
    pub probability: Option<f32>,
    /// That as a share of its operating point.
    pub suspicion: Option<f32>,
    /// The image that stands for the case.
    #[serde(skip)]
    pub worst_image: i64,
    /// Its frame, from 0.
    #[serde(skip)]
    pub worst_frame: u32,
    /// Name and version of the model.
    pub model: String,
    /// Role of the model.
    pub role: String,
}

/// What a case says, apart from how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    decision: DecisionKind,
    label: Option<&'a str>,
    code: Option<&'a str>,
    /// The image that stands for a study; of a series another slice says the same.
    image: Option<(i64, u32)>,
}

impl CaseRecord {
    /// What it says; `None` before the first result.
    #[must_use]
    pub fn says(&self) -> Option<Said<'_>> {
        let summary = self.summary.as_ref()?;
        let image = (self.kind != CaseKind::Series).then_some((summary.worst_image, summary.worst_frame));
        Some(Said {
            decision: summary.decision,
            label: summary
                .label
                .as_deref()
                .filter(|_| summary.decision == DecisionKind::Flagged),
            code: summary.code.as_deref(),
            image,
        })
    }

    /// The finding of the image that stands for the case, with what the whole case amounts to: of a series that is not what
    /// its worst slice would come to alone. `slices` are the findings of the slices that weigh most.
    #[must_use]
    pub fn judged<'a>(&self, mut finding: Finding, slices: impl IntoIterator<Item = &'a Finding>) -> Finding {
        let (Some(summary), CaseKind::Series) = (&self.summary, self.kind) else {
            return finding;
        };
        let decision = Decision {
            kind: summary.decision,
            // Flagged, or what would be.
            label: summary.label.clone().filter(|_| summary.decision.needs_eyes()),
            reasons: summary.reasons(&finding, slices),
        };
        // A file of many frames counts its frames.
        let slices = (self.images.done as usize).max(finding.source.frames);
        let slice_alone = std::mem::replace(&mut finding.decision, decision);
        finding.series = Some(OfSeries { slices, slice_alone });
        finding
    }
}

impl Summary {
    /// Why a series is in doubt: what the slice says that gave its code, if it is among those at hand.
    fn reasons<'a>(&self, worst: &Finding, slices: impl IntoIterator<Item = &'a Finding>) -> Vec<Reason> {
        let Some(code) = &self.code else {
            return Vec::new();
        };
        let all_of = |finding: &Finding| {
            let reasons = &finding.decision.reasons;
            let is_it = reasons.first().is_some_and(|reason| reason.code == *code);
            is_it.then(|| reasons.clone())
        };
        let found = all_of(worst).or_else(|| slices.into_iter().find_map(all_of));
        found.unwrap_or_else(|| {
            let words = Language::English.words();
            vec![Reason::with_code(
                code,
                words.why(code).unwrap_or(words.results.uncertain),
            )]
        })
    }
}

/// A case with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseDetails {
    /// The case.
    #[serde(flatten)]
    pub case: CaseRecord,
    /// Its images in the order in which they came.
    pub members: Vec<ImageRecord>,
    /// Its most suspicious results, the most suspicious first; of a study or a single image all of them.
    pub results: Vec<ResultRecord>,
}

impl Store {
    /// Cases, the newest first, from the `from`-th on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cases(&self, from: u32, limit: u32) -> Result<Vec<CaseRecord>, StoreError> {
        list(&self.reading(), from, limit)
    }

    /// A case by its number for people.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCase`].
    pub fn case(&self, number: &str) -> Result<CaseDetails, StoreError> {
        details(&self.reading(), &self.folders, number)
    }

    /// The case of an image; `None` if it was deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn case_of_image(&self, image: i64) -> Result<Option<CaseRecord>, StoreError> {
        one(
            &self.reading(),
            "cases.id = (SELECT case_id FROM images WHERE id = ?)",
            image,
        )
    }

    /// A case by its number in the database; `None` if it was deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn case_by_id(&self, id: i64) -> Result<Option<CaseRecord>, StoreError> {
        by_id(&self.reading(), id)
    }

    /// An image by its number; `None` if it was deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn image(&self, image: i64) -> Result<Option<ImageRecord>, StoreError> {
        images::find(&self.reading(), &self.folders, image)
    }

    /// The results of an image, frame by frame.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn results_of_image(&self, image: i64) -> Result<Vec<ResultRecord>, StoreError> {
        images::results_of_image(&self.reading(), image)
    }

    /// The most suspicious results of a case, the most suspicious first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn worst_results(&self, case: i64, limit: u32) -> Result<Vec<ResultRecord>, StoreError> {
        images::worst_results(&self.reading(), case, limit)
    }
}

/// The query of cases, up to its condition.
fn query(rest: &str) -> String {
    format!(
        "SELECT cases.id, number, kind, opened, received, changed, patient_name, patient_id, accession, sex, \
    age_years, modality, body_part, study_uid, series_uid, decision, label, label_name, code, probability, suspicion, \
    worst_image, worst_frame, model, role, latency_ms, acknowledged, settled, \
    (SELECT iif({HOLDS}, verdict, NULL) FROM verdicts WHERE case_id = cases.id ORDER BY verdicts.id DESC LIMIT 1), \
    (SELECT count(*) FROM outbox WHERE case_id = cases.id AND state IN ('owed', 'waiting', 'parked')), \
    (SELECT count(*) FROM images WHERE case_id = cases.id AND state = 'waiting'), \
    (SELECT count(*) FROM images WHERE case_id = cases.id AND state = 'done'), \
    (SELECT count(*) FROM images WHERE case_id = cases.id AND state = 'no-model'), \
    (SELECT count(*) FROM images WHERE case_id = cases.id AND state = 'failed') FROM cases {rest}"
    )
}

/// Cases, the newest first, from the `from`-th on.
///
/// # Errors
/// [`StoreError`].
pub fn list(connection: &Connection, from: u32, limit: u32) -> Result<Vec<CaseRecord>, StoreError> {
    select(connection, "ORDER BY cases.id DESC LIMIT ? OFFSET ?", [limit, from])
}

/// The cases that `rest` of a query says: condition, order and limit.
pub(super) fn select(connection: &Connection, rest: &str, values: impl Params) -> Result<Vec<CaseRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&query(rest))?;
    let mut rows = statement.query(values)?;
    let mut cases = Vec::new();
    while let Some(row) = rows.next()? {
        cases.push(record(row)?);
    }
    Ok(cases)
}

/// A case by its number for people, with everything that belongs to it.
///
/// # Errors
/// [`StoreError::NoSuchCase`].
pub fn details(connection: &Connection, folders: &Folders, number: &str) -> Result<CaseDetails, StoreError> {
    let case = one(connection, "number = ?", number)?;
    let case = case.ok_or_else(|| StoreError::NoSuchCase(number.to_owned()))?;
    let limit = match case.kind {
        CaseKind::Series => STRIP,
        CaseKind::Study | CaseKind::Single => u32::MAX,
    };
    Ok(CaseDetails {
        members: images::of_case(connection, folders, case.id)?,
        results: images::worst_results(connection, case.id, limit)?,
        case,
    })
}

/// A case by its number in the database; `None` if it was deleted.
pub(super) fn by_id(connection: &Connection, id: i64) -> Result<Option<CaseRecord>, StoreError> {
    one(connection, "cases.id = ?", id)
}

fn one(
    connection: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> Result<Option<CaseRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&query(&format!("WHERE {condition}")))?;
    let mut rows = statement.query([value])?;
    rows.next()?.map(record).transpose()
}

fn record(row: &Row<'_>) -> Result<CaseRecord, StoreError> {
    let at = |column| row.get::<_, Option<i64>>(column).map(|found| found.map(time));
    let kind: String = row.get(2)?;
    Ok(CaseRecord {
        id: row.get(0)?,
        number: row.get(1)?,
        kind: case_kind(&kind)?,
        opened: time(row.get(3)?),
        received: time(row.get(4)?),
        changed: time(row.get(5)?),
        patient: Person {
            name: row.get(6)?,
            id: row.get(7)?,
            accession: row.get(8)?,
        },
        sex: row.get(9)?,
        age_years: row.get(10)?,
        modality: row.get(11)?,
        body_part: row.get(12)?,
        study_uid: row.get(13)?,
        series_uid: row.get(14)?,
        images: ImageCounts {
            waiting: row.get(30)?,
            done: row.get(31)?,
            no_model: row.get(32)?,
            failed: row.get(33)?,
        },
        summary: summary(row)?,
        latency_ms: row.get(25)?,
        acknowledged: at(26)?,
        opinion: row
            .get::<_, Option<String>>(28)?
            .as_deref()
            .and_then(Opinion::from_text),
        settled: at(27)?,
        unsent: row.get(29)?,
    })
}

fn summary(row: &Row<'_>) -> Result<Option<Summary>, StoreError> {
    let Some(decision) = row.get::<_, Option<String>>(15)? else {
        return Ok(None);
    };
    Ok(Some(Summary {
        decision: results::decision(&decision)?,
        label: row.get(16)?,
        label_name: row.get(17)?,
        code: row.get(18)?,
        probability: row.get(19)?,
        suspicion: row.get(20)?,
        worst_image: row.get(21)?,
        worst_frame: row.get(22)?,
        model: row.get(23)?,
        role: row.get(24)?,
    }))
}

fn case_kind(text: &str) -> Result<CaseKind, StoreError> {
    match text {
        "study" => Ok(CaseKind::Study),
        "series" => Ok(CaseKind::Series),
        "single" => Ok(CaseKind::Single),
        found => Err(StoreError::Senseless {
            what: "kind of case",
            found: found.to_owned(),
        }),
    }
}

/// The number in the database of a case that people name.
pub(super) fn id_of(connection: &Connection, number: &str) -> Result<i64, StoreError> {
    let sql = "SELECT id FROM cases WHERE number = ?";
    let found = connection.prepare_cached(sql)?.query_row([number], |row| row.get(0));
    found
        .optional()?
        .ok_or_else(|| StoreError::NoSuchCase(number.to_owned()))
}

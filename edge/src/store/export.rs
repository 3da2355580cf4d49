//! Cases as the CSV that `calibrate` reads: the worst image of each, its probabilities, and what people said to it.
//!
//! `label` holds the truth where an opinion tells it: whoever agrees with a flag says which finding it is, whoever agrees
//! with its absence says that there is none, and of two labels whoever disagrees means the other one. Elsewhere it is
//! left empty, for whoever knows.

use std::collections::BTreeSet;
use std::io::Write;

use rusqlite::Connection;

use super::StoreError;
use super::verdicts::Opinion;
use crate::calibration::cases::{DIGEST, LABEL, PROBABILITY};
use crate::decision::DecisionKind;
use crate::finding::Finding;

/// Columns before the probabilities.
const COLUMNS: [&str; 9] = [
    "case_id", DIGEST, LABEL, "opinion", "decision", "flagged", "kind", "role", "time",
];

/// A case whose worst image was assessed.
struct Row {
    number: String,
    kind: String,
    opinion: Option<Opinion>,
    finding: Finding,
}

/// Why no CSV was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output.
    #[error("the table cannot be written: {0}")]
    Csv(#[from] csv::Error),
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Writes the cases, the oldest first; only those with an opinion if `labelled`. Gives how many.
///
/// # Errors
/// [`ExportError`].
pub fn labelled_cases(connection: &Connection, labelled: bool, out: impl Write) -> Result<u64, ExportError> {
    // The labels of all models first: they are the columns.
    let mut labels = BTreeSet::new();
    each_row(connection, labelled, |row| {
        labels.extend(row.finding.probabilities.iter().map(|p| p.label.clone()));
        Ok(())
    })?;
    let mut csv = csv::Writer::from_writer(out);
    let names = labels.iter().map(|label| format!("{PROBABILITY}{label}"));
    csv.write_record(COLUMNS.map(str::to_owned).into_iter().chain(names))?;
    let mut count = 0;
    each_row(connection, labelled, |row| {
        count += 1;
        Ok(csv.write_record(record(&row, &labels))?)
    })?;
    csv.flush().map_err(csv::Error::from)?;
    Ok(count)
}

fn each_row(
    connection: &Connection,
    labelled: bool,
    mut take: impl FnMut(Row) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let sql = "SELECT number, kind, finding, \
               (SELECT verdict FROM verdicts WHERE case_id = cases.id ORDER BY id DESC LIMIT 1) AS opinion \
               FROM cases JOIN results ON image_id = worst_image AND frame = worst_frame \
               WHERE results.decision <> 'not-readable' AND (NOT ?1 OR opinion IS NOT NULL) ORDER BY cases.id";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([labelled])?;
    while let Some(row) = rows.next()? {
        let finding: String = row.get(2)?;
        take(Row {
            number: row.get(0)?,
            kind: row.get(1)?,
            opinion: row.get::<_, Option<String>>(3)?.as_deref().and_then(Opinion::from_text),
            finding: serde_json::from_str(&finding).map_err(|e| StoreError::Senseless {
                what: "finding",
                found: e.to_string(),
            })?,
        })?;
    }
    Ok(())
}

fn record(row: &Row, labels: &BTreeSet<String>) -> Vec<String> {
    let finding = &row.finding;
    let decision = &finding.decision;
    let mut record = vec![
        row.number.clone(),
        finding.model.digest.clone(),
        truth(row).unwrap_or_default(),
        row.opinion.map(|opinion| opinion.text().to_owned()).unwrap_or_default(),
        decision.kind.text().to_owned(),
        decision.label.clone().unwrap_or_default(),
        row.kind.clone(),
        finding.model.role.clone(),
        finding.time.clone(),
    ];
    for label in labels {
        let found = finding.probabilities.iter().find(|p| p.label == *label);
        record.push(found.map(|p| p.probability.to_string()).unwrap_or_default());
    }
    record
}

/// The label that is really there, as far as the opinion tells it.
fn truth(row: &Row) -> Option<String> {
    let finding = &row.finding;
    let no_finding = finding.probabilities.iter().find(|p| p.operating_point.is_none())?;
    let said = match finding.decision.kind {
        DecisionKind::Flagged => finding.decision.label.clone()?,
        DecisionKind::NoFindingFlagged => no_finding.label.clone(),
        DecisionKind::Uncertain | DecisionKind::NotReadable => return None,
    };
    match row.opinion? {
        Opinion::Agree => Some(said),
        // Which slice of a series holds what was missed, nobody said.
        Opinion::Disagree if row.kind == "series" && said == no_finding.label => None,
        Opinion::Disagree => {
            let others: Vec<&str> = finding
                .probabilities
                .iter()
                .map(|p| p.label.as_str())
                .filter(|label| *label != said)
                .collect();
            match others.as_slice() {
                [other] => Some((*other).to_owned()),
                _ => None,
            }
        }
    }
}

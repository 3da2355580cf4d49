//! Cases as the CSV that `calibrate` reads: an image of each, its probabilities, and what people said to it. That image is the
//! worst one, or of a study the one that stood there when somebody said something.
//!
//! `label` holds the truth where an opinion tells it: whoever agrees with a flag says which finding it is, whoever agrees
//! with its absence says that there is none, and of two labels whoever disagrees means the other one. Of a series the
//! opinion is on the whole: that nothing is in it holds for each slice, that something is holds for its worst slice only
//! if that is flagged alone. Elsewhere it is left empty, for whoever knows.

use std::collections::BTreeSet;
use std::io::Write;

use rusqlite::Connection;

use super::verdicts::{HOLDS, Opinion};
use super::{StoreError, results};
use crate::calibration::cases::{DIGEST, LABEL, PROBABILITY};
use crate::decision::DecisionKind;
use crate::finding::Finding;

/// Columns before the probabilities.
const COLUMNS: [&str; 9] = [
    "case_id", DIGEST, LABEL, "opinion", "decision", "flagged", "kind", "role", "time",
];

/// A case of which an image was assessed.
struct Row {
    number: String,
    kind: String,
    /// On `decision`.
    opinion: Option<Opinion>,
    /// What the appliance says: of a series what the whole amounts to, else of this image.
    decision: DecisionKind,
    /// The label that it flags.
    flagged: Option<String>,
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
    let opinion = format!("iif(cases.kind <> 'series' OR {HOLDS}, verdict, NULL)");
    let of_series = "cases.kind = 'series' OR verdicts.image_id IS NULL";
    let sql = format!(
        "SELECT number, kind, finding, {opinion} AS opinion, cases.decision, cases.label FROM cases \
         LEFT JOIN verdicts ON verdicts.id = (SELECT max(id) FROM verdicts WHERE case_id = cases.id) \
         JOIN results ON results.image_id = iif({of_series}, worst_image, verdicts.image_id) \
         AND results.frame = iif({of_series}, worst_frame, verdicts.frame) \
         WHERE results.decision <> 'not-readable' AND (NOT ?1 OR opinion IS NOT NULL) ORDER BY cases.id"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([labelled])?;
    while let Some(row) = rows.next()? {
        let finding: String = row.get(2)?;
        let finding: Finding = serde_json::from_str(&finding).map_err(|e| StoreError::Senseless {
            what: "finding",
            found: e.to_string(),
        })?;
        let kind: String = row.get(1)?;
        let (decision, label) = match kind.as_str() {
            "series" => (results::decision(&row.get::<_, String>(4)?)?, row.get(5)?),
            _ => (finding.decision.kind, finding.decision.label.clone()),
        };
        take(Row {
            number: row.get(0)?,
            kind,
            opinion: row.get::<_, Option<String>>(3)?.as_deref().and_then(Opinion::from_text),
            decision,
            flagged: label.filter(|_: &String| decision == DecisionKind::Flagged),
            finding,
        })?;
    }
    Ok(())
}

fn record(row: &Row, labels: &BTreeSet<String>) -> Vec<String> {
    let finding = &row.finding;
    let mut record = vec![
        row.number.clone(),
        finding.model.digest.clone(),
        truth(row).unwrap_or_default(),
        row.opinion.map(|opinion| opinion.text().to_owned()).unwrap_or_default(),
        row.decision.text().to_owned(),
        row.flagged.clone().unwrap_or_default(),
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
    let of_series = row.kind == "series";
    let said = match row.decision {
        DecisionKind::Flagged => row.flagged.clone()?,
        DecisionKind::NoFindingFlagged => no_finding.label.clone(),
        DecisionKind::Uncertain | DecisionKind::NotReadable => return None,
    };
    match row.opinion? {
        // Which slice of a series holds what was found, or missed, nobody said.
        Opinion::Agree if of_series && said != no_finding.label && !is_flagged_alone(finding, &said) => None,
        Opinion::Disagree if of_series && said == no_finding.label => None,
        Opinion::Agree => Some(said),
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

fn is_flagged_alone(finding: &Finding, label: &str) -> bool {
    finding.decision.kind == DecisionKind::Flagged && finding.decision.label.as_deref() == Some(label)
}

//! Labelled cases: one row a case, with the model's probabilities and what was really there.
//!
//! ```csv
//! case_id,digest,label,p:normal,p:consolidation
//! 261120-0004,5f2c...,consolidation,0.08,0.92
//! ```
//! `scanside-edge cases export` writes such a file; whoever knows the truth fills the column `label` with the id of a
//! label. Other columns are left alone, so that a clinic may keep its own beside them.

use std::io::Read;

use bundle::Manifest;
use csv::StringRecord;

/// Column of the true label's id.
pub const LABEL: &str = "label";
/// Column of the digest of the bundle that gave the probabilities.
pub const DIGEST: &str = "digest";
/// Before the label's id in the name of a column of probabilities.
pub const PROBABILITY: &str = "p:";
/// Decimals of four digits are read back within this.
const SUM_TOLERANCE: f32 = 0.01;

/// Cases that count, and how many do not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelledCases {
    /// `[N][K]`, in the order of the manifest's labels, 0..1.
    pub probabilities: Vec<Vec<f32>>,
    /// `[N]`, index of the true label.
    pub truth: Vec<usize>,
    /// Rows without a label.
    pub unlabelled: u64,
    /// Rows of another bundle.
    pub of_another_model: u64,
}

/// Why a file of cases is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// It is no CSV.
    #[error("line {line}: {reason}")]
    Csv {
        /// Line of the file, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A column is missing.
    #[error("the column `{column}` is missing; take the file that `scanside-edge cases export` writes for this model")]
    Column {
        /// Its name.
        column: String,
    },
    /// The label of a row is none of the model's.
    #[error("line {line}: the model has no label '{label}'; write one of {known}, or leave the field empty")]
    Label {
        /// Line of the file, from 1.
        line: u64,
        /// What stands there.
        label: String,
        /// The ids of the model's labels.
        known: String,
    },
    /// A probability is none.
    #[error("line {line}, column `{column}`: '{text}' is no probability; give a number from 0 to 1")]
    Probability {
        /// Line of the file, from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// The probabilities of a row are not those of one image.
    #[error("line {line}: the probabilities add up to {sum:.3}, not to 1; the row was changed, export it again")]
    Sum {
        /// Line of the file, from 1.
        line: u64,
        /// What they add up to.
        sum: f32,
    },
}

/// Where the columns stand.
struct Columns {
    label: usize,
    digest: usize,
    /// One a label of the manifest: name and place.
    probabilities: Vec<(String, usize)>,
}

impl LabelledCases {
    /// Reads the cases that the bundle with this `digest` (hexadecimal) assessed.
    ///
    /// # Errors
    /// [`CaseError`] with the line: a file that is half right is not guessed at.
    pub fn read(reader: impl Read, manifest: &Manifest, digest: &str) -> Result<Self, CaseError> {
        let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let columns = Columns::find(csv.headers().map_err(|e| broken(&e))?, manifest)?;
        let mut cases = Self::default();
        for record in csv.records() {
            cases.take(&record.map_err(|e| broken(&e))?, &columns, manifest, digest)?;
        }
        Ok(cases)
    }

    fn take(
        &mut self,
        record: &StringRecord,
        columns: &Columns,
        manifest: &Manifest,
        digest: &str,
    ) -> Result<(), CaseError> {
        let line = record.position().map_or(0, csv::Position::line);
        let label = &record[columns.label];
        if label.is_empty() {
            self.unlabelled += 1;
            return Ok(());
        }
        if &record[columns.digest] != digest {
            self.of_another_model += 1;
            return Ok(());
        }
        let truth = manifest.labels.iter().position(|known| known.id == label);
        let truth = truth.ok_or_else(|| CaseError::Label {
            line,
            label: label.to_owned(),
            known: ids(manifest).collect::<Vec<_>>().join(", "),
        })?;
        let row = columns.row(record, line)?;
        self.truth.push(truth);
        self.probabilities.push(row);
        Ok(())
    }
}

impl Columns {
    fn find(headers: &StringRecord, manifest: &Manifest) -> Result<Self, CaseError> {
        let place = |column: String| match headers.iter().position(|header| header == column) {
            Some(at) => Ok((column, at)),
            None => Err(CaseError::Column { column }),
        };
        Ok(Self {
            label: place(LABEL.to_owned())?.1,
            digest: place(DIGEST.to_owned())?.1,
            probabilities: ids(manifest)
                .map(|id| place(format!("{PROBABILITY}{id}")))
                .collect::<Result<_, _>>()?,
        })
    }

    fn row(&self, record: &StringRecord, line: u64) -> Result<Vec<f32>, CaseError> {
        let probability = |(column, at): &(String, usize)| {
            let text = &record[*at];
            let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
            value.ok_or_else(|| CaseError::Probability {
                line,
                column: column.clone(),
                text: text.to_owned(),
            })
        };
        let row: Vec<f32> = self.probabilities.iter().map(probability).collect::<Result<_, _>>()?;
        let sum: f32 = row.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(CaseError::Sum { line, sum });
        }
        Ok(row)
    }
}

fn ids(manifest: &Manifest) -> impl Iterator<Item = &str> {
    manifest.labels.iter().map(|label| label.id.as_str())
}

fn broken(error: &csv::Error) -> CaseError {
    CaseError::Csv {
        line: error.position().map_or(1, csv::Position::line),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;

    const HEADER: &str = "case_id,digest,label,p:normal,p:covid19,p:viral_pneumonia,room\n";

    fn read(rows: &str) -> Result<LabelledCases, CaseError> {
        LabelledCases::read(format!("{HEADER}{rows}").as_bytes(), &example::manifest(), "ab12")
    }

    #[test]
    fn rows_with_a_label_of_this_model_count() {
        let cases = read(
            "1,ab12,covid19,0.1,0.85,0.05,3\n2,ab12,,0.9,0.05,0.05,3\n3,ffff,normal,0.9,0.05,0.05,1\n4,ab12,normal,0.9,0.1,0,1\n",
        )
        .unwrap();
        assert_eq!(cases.truth, [1, 0]);
        assert_eq!(cases.probabilities[0], [0.1, 0.85, 0.05]);
        assert_eq!((cases.unlabelled, cases.of_another_model), (1, 1));
    }

    #[test]
    fn a_wrong_row_is_named_by_its_line() {
        let refusal = |rows: &str| read(rows).unwrap_err().to_string();
        let good = "1,ab12,normal,0.9,0.05,0.05,3\n";
        let unknown = refusal(&format!("{good}2,ab12,tb,0.9,0.05,0.05,3\n"));
        assert!(unknown.contains("line 3") && unknown.contains("'tb'") && unknown.contains("viral_pneumonia"));
        for text in ["1.2", "-0.1", "nan", "x", ""] {
            let message = refusal(&format!("2,ab12,normal,{text},0.05,0.05,3\n"));
            assert!(message.contains("line 2") && message.contains("p:normal"), "{message}");
        }
        assert!(refusal("2,ab12,normal,0.5,0.05,0.05,3\n").contains("add up to 0.600"));
        assert!(refusal("2,ab12,normal\n").contains("line 2"));
    }

    #[test]
    fn a_missing_column_is_named() {
        let text = "case_id,digest,label,p:normal,p:covid19\n";
        let refusal = LabelledCases::read(text.as_bytes(), &example::manifest(), "ab12").unwrap_err();
        assert!(refusal.to_string().contains("p:viral_pneumonia"), "{refusal}");
    }
}

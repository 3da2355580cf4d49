//! The rows of a data set: a manifest CSV, or a folder of class folders read as one.
//!
//! Required columns: `path` (relative to the CSV's folder) and `label`. Understood where they stand: `patient_id`,
//! `source`, `group_id` (patient and near-duplicates), `sha256` (of the file), `provenance`. All others are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::DataError;
use super::scan;

/// Where an image comes from; decides where it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// An image of a patient. May stand anywhere.
    #[default]
    Real,
    /// A phantom of a set that is phantoms throughout. May stand anywhere, but not beside real images.
    Phantom,
    /// Made by a generative model. Training only.
    Synthetic,
    /// A changed copy of another row. Training only, and only while its group stands in training.
    Augmented,
}

impl Provenance {
    /// Whether validation and test may hold it.
    #[must_use]
    pub fn may_evaluate(self) -> bool {
        matches!(self, Self::Real | Self::Phantom)
    }

    /// The word in the column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Phantom => "phantom",
            Self::Synthetic => "synthetic",
            Self::Augmented => "augmented",
        }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provenance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "real" => Ok(Self::Real),
            "phantom" => Ok(Self::Phantom),
            "synthetic" => Ok(Self::Synthetic),
            "augmented" => Ok(Self::Augmented),
            _ => Err(format!(
                "provenance `{text}` is not one of real, phantom, synthetic, augmented"
            )),
        }
    }
}

/// One image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// As it stands in the manifest, with `/`; relative to [`Manifest::root`].
    pub path: String,
    /// As it stands in the manifest.
    pub label: String,
    /// Patient, where known.
    pub patient_id: Option<String>,
    /// Hospital, public set or machine; empty where unknown.
    pub source: String,
    /// Patient and near-duplicates.
    pub group_id: Option<String>,
    /// Of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// All other columns.
    pub extra: BTreeMap<String, String>,
}

/// All rows of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The CSV file or the folder.
    pub origin: PathBuf,
    /// The folder that paths are relative to.
    pub root: PathBuf,
    /// In the order of the file; a folder's are sorted by path.
    pub rows: Vec<Row>,
}

impl Manifest {
    /// Reads a manifest CSV, or a folder: its `manifest.csv` where it has one, else its class folders.
    ///
    /// # Errors
    /// The file or folder cannot be read, a column is missing, a line is malformed, or there are no rows.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Self::read_csv(path);
        }
        let inside = path.join("manifest.csv");
        if inside.is_file() {
            Self::read_csv(&inside)
        } else {
            scan::class_folders(path)
        }
    }

    fn read_csv(path: &Path) -> Result<Self, DataError> {
        let file = std::fs::File::open(path).map_err(DataError::io(path))?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(std::io::BufReader::new(file));
        let malformed = |error: &csv::Error| DataError::Line {
            path: path.to_owned(),
            line: error.position().map_or(0, csv::Position::line),
            reason: error.to_string(),
        };
        let header: Vec<String> = reader
            .headers()
            .map_err(|error| malformed(&error))?
            .iter()
            .map(clean_name)
            .collect();
        for column in ["path", "label"] {
            if !header.iter().any(|name| name == column) {
                let found = header.join(", ");
                return Err(DataError::NoColumn {
                    path: path.to_owned(),
                    column,
                    found,
                });
            }
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| malformed(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let row = read_row(&header, &record).map_err(|reason| DataError::Line {
                path: path.to_owned(),
                line,
                reason,
            })?;
            rows.push(row);
        }
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self {
            origin: path.to_owned(),
            root,
            rows,
        })
    }

    /// Where the image of a row lies.
    #[must_use]
    pub fn file(&self, row: &Row) -> PathBuf {
        self.root.join(&row.path)
    }

    /// SHA-256 in hexadecimal over everything that decides what is learnt: path, label, patient, source, group,
    /// provenance and file digest of each row, whatever the order of the rows.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut lines: Vec<String> = self.rows.iter().map(Row::line).collect();
        lines.sort_unstable();
        let mut hash = Sha256::new();
        for line in &lines {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
        hex(&hash.finalize())
    }

    /// Rows by label, for messages: `normal 12, covid19 3`.
    #[must_use]
    pub fn describe_labels(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.rows {
            *counts.entry(&row.label).or_default() += 1;
        }
        let shown: Vec<String> = counts.iter().map(|(label, n)| format!("{label} {n}")).collect();
        shown.join(", ")
    }
}

impl Row {
    fn line(&self) -> String {
        let known = |value: &Option<String>| value.clone().unwrap_or_default();
        [
            self.path.clone(),
            self.label.clone(),
            known(&self.patient_id),
            self.source.clone(),
            known(&self.group_id),
            self.provenance.to_string(),
            known(&self.sha256),
        ]
        .join("\u{1f}")
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A column name without the byte order mark that spreadsheets write.
fn clean_name(name: &str) -> String {
    name.trim_start_matches('\u{feff}').to_owned()
}

fn read_row(header: &[String], record: &csv::StringRecord) -> Result<Row, String> {
    let mut row = Row::default();
    for (name, value) in header.iter().zip(record) {
        let known = || (!value.is_empty()).then(|| value.to_owned());
        match name.as_str() {
            "path" => row.path = value.replace('\\', "/"),
            "label" => row.label = value.to_owned(),
            "patient_id" => row.patient_id = known(),
            "source" => row.source = value.to_owned(),
            "group_id" => row.group_id = known(),
            "sha256" => row.sha256 = known(),
            "provenance" => row.provenance = value.parse()?,
            _ => {
                row.extra.insert(name.clone(), value.to_owned());
            }
        }
    }
    if row.path.is_empty() {
        return Err("the path is empty".into());
    }
    if row.label.is_empty() {
        return Err(format!("{}: the label is empty", row.path));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Result<Manifest, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        std::fs::write(&path, text).unwrap();
        Manifest::load(&path)
    }

    #[test]
    fn known_columns_are_typed_and_others_kept() {
        let text = "\u{feff}path,label,patient_id,source,group_id,sha256,provenance,age\n\
                    a/1.png,normal,p1,nih,g1,00,,41\n\
                    a\\2.png,covid19,,cohen,,,synthetic,\n";
        let manifest = manifest(text).unwrap();
        assert_eq!(manifest.rows[0].patient_id.as_deref(), Some("p1"));
        assert_eq!(manifest.rows[0].provenance, Provenance::Real);
        assert_eq!(manifest.rows[0].extra["age"], "41");
        assert_eq!(manifest.rows[1].path, "a/2.png");
        assert_eq!(manifest.rows[1].patient_id, None);
        assert_eq!(manifest.rows[1].provenance, Provenance::Synthetic);
        assert_eq!(manifest.describe_labels(), "covid19 1, normal 1");
    }

    #[test]
    fn a_bad_line_or_column_is_named() {
        let message = manifest("path,class\nx.png,a\n").unwrap_err().to_string();
        assert!(
            message.contains("`label`") && message.contains("path, class"),
            "{message}"
        );
        let message = manifest("path,label,provenance\nx.png,a,real\ny.png,a,painted\n")
            .unwrap_err()
            .to_string();
        assert!(message.contains("line 3") && message.contains("painted"), "{message}");
        let message = manifest("path,label\nx.png,a,b,c\n").unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn the_digest_ignores_order_and_sees_every_label() {
        let one = manifest("path,label\na.png,x\nb.png,y\n").unwrap();
        let turned = manifest("path,label\nb.png,y\na.png,x\n").unwrap();
        let other = manifest("path,label\na.png,x\nb.png,x\n").unwrap();
        assert_eq!(one.digest(), turned.digest());
        assert_ne!(one.digest(), other.digest());
    }
}

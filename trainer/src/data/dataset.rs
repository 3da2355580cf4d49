//! A manifest seen through a recipe: chosen sources, labels mapped to classes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::expansion::{self, Expanded};
use super::generated;
use super::manifest::{Manifest, Row};
use crate::recipes::DataSection;

/// One usable row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The manifest's row.
    pub row: Row,
    /// Index into [`Dataset::labels`].
    pub class: usize,
    /// Where the image lies; of an expanded row, its original.
    pub file: PathBuf,
    /// Of a row that is made by the expansion of its class: of which other, and how.
    pub expanded: Option<Expanded>,
    /// Of a row that the recipe adds to the data: which entry of `data.generated` it comes from.
    pub generated: Option<usize>,
}

/// The rows that count, with their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The manifest or folder that it was read from.
    pub origin: PathBuf,
    /// The folder that paths are relative to.
    pub root: PathBuf,
    /// Labels in the order of the model's outputs.
    pub labels: Vec<String>,
    /// In the order of the manifest.
    pub samples: Vec<Sample>,
    /// Rows that were left out.
    pub left_out: LeftOut,
    /// Digest of the whole manifest ([`Manifest::digest`]).
    pub digest: String,
}

/// Numbers of rows that were left out, by why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Rows of sources that were not asked for, by source.
    #[serde(default)]
    pub other_sources: BTreeMap<String, usize>,
    /// Rows of wanted sources with a label that the model does not know, by the label of the data.
    #[serde(default)]
    pub unknown_labels: BTreeMap<String, usize>,
}

impl LeftOut {
    fn count(&mut self, row: &Row, wanted_source: bool) {
        let (counts, name) = match wanted_source {
            true => (&mut self.unknown_labels, &row.label),
            false => (&mut self.other_sources, &row.source),
        };
        *counts.entry(name.clone()).or_insert(0) += 1;
    }

    /// A line for each reason that left rows out.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let reasons = [
            ("other sources", &self.other_sources),
            ("labels that the model does not know", &self.unknown_labels),
        ];
        let named = |(name, n): (&String, &usize)| {
            let name = if name.is_empty() { "(unknown)" } else { name };
            format!("{name} {n}")
        };
        let lines = reasons.into_iter().filter(|(_, counts)| !counts.is_empty());
        lines
            .map(|(reason, counts)| {
                let rows: usize = counts.values().sum();
                let shown: Vec<String> = counts.iter().map(named).collect();
                format!("left out, {reason}: {rows} rows ({})", shown.join(", "))
            })
            .collect()
    }
}

impl Dataset {
    /// Loads a manifest or folder as a recipe's `[data]` wants it.
    ///
    /// # Errors
    /// The manifest cannot be read, or a wanted label has no row.
    pub fn load(path: &Path, section: &DataSection) -> Result<Self, DataError> {
        let mut dataset = Self::of_manifest(&Manifest::load(path)?, section)?;
        generated::add(&mut dataset, section)?;
        generated::tie(&mut dataset);
        for (class, count) in dataset.class_counts().iter().enumerate() {
            if *count == 0 {
                let reason = format!("the label `{}` has no row", dataset.labels[class]);
                return Err(dataset.no_rows(reason));
            }
        }
        Ok(dataset)
    }

    /// Loads a manifest or folder for a model that exists: rows with labels that it does not know are left out and
    /// counted, and labels without rows are allowed.
    ///
    /// # Errors
    /// The manifest cannot be read, or no row has a label of the model.
    pub fn for_labels(
        path: &Path,
        labels: &[String],
        mapping: &BTreeMap<String, String>,
        sources: &[String],
    ) -> Result<Self, DataError> {
        let section = DataSection {
            labels: labels.to_vec(),
            mapping: mapping.clone(),
            sources: sources.to_vec(),
            ..DataSection::default()
        };
        Self::of_manifest(&Manifest::load(path)?, &section)
    }

    /// A manifest as `[data]` wants it; labels without rows are allowed.
    ///
    /// # Errors
    /// No row is left, or only one label.
    pub fn of_manifest(manifest: &Manifest, section: &DataSection) -> Result<Self, DataError> {
        let model_label = |row: &Row| section.mapping.get(&row.label).unwrap_or(&row.label).clone();
        let wanted_source = |row: &Row| section.sources.is_empty() || section.sources.contains(&row.source);
        let labels = if section.labels.is_empty() {
            let found: BTreeSet<String> = manifest
                .rows
                .iter()
                .filter(|row| wanted_source(row))
                .map(model_label)
                .collect();
            found.into_iter().collect()
        } else {
            section.labels.clone()
        };
        let mut samples = Vec::with_capacity(manifest.rows.len());
        let mut left_out = LeftOut::default();
        for row in &manifest.rows {
            let class = labels.iter().position(|label| *label == model_label(row));
            match class.filter(|_| wanted_source(row)) {
                Some(class) => samples.push(Sample {
                    file: manifest.file(row),
                    row: row.clone(),
                    class,
                    expanded: None,
                    generated: None,
                }),
                None => left_out.count(row, wanted_source(row)),
            }
        }
        let wanted = |label: &String| labels.iter().position(|known| known == label);
        let expanded = section
            .expand
            .iter()
            .map(|label| wanted(label).ok_or(label))
            .collect::<Result<Vec<_>, _>>();
        let expanded = expanded.map_err(|label| DataError::NoRows {
            path: manifest.origin.clone(),
            reason: format!("data.expand names the label `{label}`"),
            found: labels.join(", "),
        })?;
        expansion::expand(&mut samples, &expanded);
        let dataset = Self {
            origin: manifest.origin.clone(),
            root: manifest.root.clone(),
            labels,
            samples,
            left_out,
            digest: manifest.digest(),
        };
        if dataset.samples.is_empty() {
            let reason = format!("no row has one of the labels {}", dataset.labels.join(", "));
            return Err(dataset.no_rows_in(reason, manifest));
        }
        if dataset.labels.len() < 2 {
            return Err(dataset.no_rows_in("a classifier needs two labels or more".into(), manifest));
        }
        Ok(dataset)
    }

    /// The class of a label; `None` if it is none of the model's.
    #[must_use]
    pub fn class_of(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|known| known == label)
    }

    /// Number of samples of each class.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let all: Vec<usize> = (0..self.samples.len()).collect();
        self.class_counts_of(&all)
    }

    /// Number of samples of each class among some of them.
    #[must_use]
    pub fn class_counts_of(&self, rows: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        rows.iter().for_each(|row| counts[self.samples[*row].class] += 1);
        counts
    }

    /// The sources, sorted.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        let sources: BTreeSet<&String> = self.samples.iter().map(|sample| &sample.row.source).collect();
        sources.into_iter().cloned().collect()
    }

    fn no_rows(&self, reason: String) -> DataError {
        let counts = self.class_counts();
        let shown: Vec<String> = self
            .labels
            .iter()
            .zip(counts)
            .map(|(label, n)| format!("{label} {n}"))
            .collect();
        let found = [vec![shown.join(", ")], self.left_out.lines()].concat().join("; ");
        DataError::NoRows {
            path: self.origin.clone(),
            reason,
            found,
        }
    }

    fn no_rows_in(&self, reason: String, manifest: &Manifest) -> DataError {
        DataError::NoRows {
            path: self.origin.clone(),
            reason,
            found: manifest.describe_labels(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rows: &[(&str, &str)]) -> Manifest {
        let rows = rows.iter().enumerate().map(|(i, (label, source))| Row {
            path: format!("{i}.png"),
            label: (*label).into(),
            source: (*source).into(),
            ..Row::default()
        });
        Manifest {
            origin: "m.csv".into(),
            root: "".into(),
            rows: rows.collect(),
        }
    }

    #[test]
    fn labels_are_mapped_and_the_rest_is_counted() {
        let manifest = manifest(&[
            ("Covid", "a"),
            ("covid19", "a"),
            ("normal", "b"),
            ("other", "b"),
            ("normal", "ct"),
        ]);
        let section = DataSection {
            labels: vec!["normal".into(), "covid19".into()],
            mapping: [("Covid".to_owned(), "covid19".to_owned())].into(),
            sources: vec!["a".into(), "b".into()],
            ..DataSection::default()
        };
        let dataset = Dataset::of_manifest(&manifest, &section).unwrap();
        assert_eq!(dataset.samples.iter().map(|s| s.class).collect::<Vec<_>>(), [1, 1, 0]);
        let left_out = LeftOut {
            other_sources: [("ct".to_owned(), 1)].into(),
            unknown_labels: [("other".to_owned(), 1)].into(),
        };
        assert_eq!(dataset.left_out, left_out);
        let wanted = [
            "left out, other sources: 1 rows (ct 1)",
            "left out, labels that the model does not know: 1 rows (other 1)",
        ];
        assert_eq!(left_out.lines(), wanted);
        assert_eq!(dataset.class_counts(), [1, 2]);
    }

    #[test]
    fn without_a_choice_all_labels_count_sorted() {
        let dataset = Dataset::of_manifest(&manifest(&[("b", ""), ("a", "")]), &DataSection::default()).unwrap();
        assert_eq!(dataset.labels, ["a", "b"]);
    }

    #[test]
    fn nothing_left_is_refused_with_what_there_is() {
        let section = DataSection {
            labels: vec!["x".into(), "y".into()],
            ..DataSection::default()
        };
        let message = Dataset::of_manifest(&manifest(&[("b", ""), ("a", "")]), &section)
            .unwrap_err()
            .to_string();
        assert!(message.contains("x, y") && message.contains("a 1, b 1"), "{message}");
    }
}

//! Training, validation and test: whole patients and groups, stratified by label and source, drawn from a seed.
//!
//! Rows that share a patient or (by [`SplitBy::Group`]) a group are one unit and stay together. Units go, the largest
//! first and in an order that only the seed decides, to the side that still lacks most of their label and source.
//! Generated and augmented rows only ever stand in training.

mod folds;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Sample};
use super::error::DataError;
use super::manifest::{Provenance, Row};
use super::table;
use crate::recipes::{SplitBy, SplitSection};

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The network learns from it.
    Train,
    /// Picks the checkpoint, thresholds, calibration.
    Validation,
    /// Looked at once, at the end.
    Test,
    /// Stands nowhere: an augmented or generated relative of an image in validation or test.
    Unused,
}

impl Part {
    /// The three sides.
    pub const SIDES: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The word in the split file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Unused => "unused",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Train, Self::Validation, Self::Test, Self::Unused];
        known
            .into_iter()
            .find(|part| part.name() == text)
            .ok_or_else(|| format!("part `{text}` is not one of train, validation, test, unused"))
    }
}

/// The side of every sample of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// In the order of [`Dataset::samples`].
    pub parts: Vec<Part>,
}

/// Which image stood on which side, of an earlier split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sides(HashMap<String, Part>);

impl Sides {
    /// Reads a split file.
    ///
    /// # Errors
    /// The file cannot be read or is malformed.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        lines(path)?
            .map(|line| line.map(|line| (line.path, line.side)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The side of an image, as the manifest named it.
    #[must_use]
    pub fn side(&self, path: &str) -> Option<Part> {
        self.0.get(path).copied()
    }

    /// The number of the side that all of these images belong to: training, if one of them stood there.
    fn of<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Option<usize> {
        let sides = paths.filter_map(|path| self.0.get(path));
        let side = sides.min()?;
        Part::SIDES.iter().position(|part| part == side)
    }
}

/// Rows that must stay together.
struct Unit {
    key: String,
    rows: Vec<usize>,
    rank: [u8; 32],
}

impl Split {
    /// Draws a split.
    ///
    /// # Errors
    /// A label has too few independent patients or groups to stand on every side that is wanted, or real and phantom
    /// rows would be evaluated together.
    pub fn draw(dataset: &Dataset, section: &SplitSection) -> Result<Self, DataError> {
        Self::draw_after(&Sides::default(), dataset, section)
    }

    /// Draws a split in which an image that an earlier one knew stands on the same side. What was learnt from before is
    /// learnt from again, with all that must stay together with it.
    ///
    /// # Errors
    /// As [`Split::draw`].
    pub fn draw_after(earlier: &Sides, dataset: &Dataset, section: &SplitSection) -> Result<Self, DataError> {
        let unit_of = units(&dataset.samples, section.by);
        let mut parts = vec![Part::Unused; dataset.samples.len()];
        let originals = originals(dataset, &unit_of, section.seed);
        let strata = Strata::of(dataset);
        let fractions = section.fractions.as_array();
        let mut held = vec![[0.0_f64; 3]; strata.totals.len()];
        let mut side_of_unit: HashMap<usize, Part> = HashMap::new();
        let known = |unit: &Unit| earlier.of(unit.rows.iter().map(|row| dataset.samples[*row].row.path.as_str()));
        // The known ones first, so that the new ones fill what they leave.
        let (kept, new): (Vec<_>, Vec<_>) = originals
            .iter()
            .map(|unit| (known(unit), unit))
            .partition(|(side, _)| side.is_some());
        for (side, unit) in kept.into_iter().chain(new) {
            let side = side.unwrap_or_else(|| strata.neediest(&unit.rows, &held, fractions));
            for &row in &unit.rows {
                held[strata.of_row[row]][side] += 1.0;
                parts[row] = Part::SIDES[side];
                side_of_unit.insert(unit_of[row], Part::SIDES[side]);
            }
        }
        // Made from training images, or from nobody's: they may be learnt from.
        for (row, sample) in dataset.samples.iter().enumerate() {
            if !sample.row.provenance.may_evaluate() {
                let side = side_of_unit.get(&unit_of[row]).copied().unwrap_or(Part::Train);
                parts[row] = if side == Part::Train { Part::Train } else { Part::Unused };
            }
        }
        let split = Self { parts };
        split.refuse_small_classes(dataset, &originals, fractions)?;
        split.check(dataset, section.by, &dataset.origin)?;
        Ok(split)
    }

    /// The samples of a side, ascending.
    #[must_use]
    pub fn rows(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|row| self.parts[*row] == part).collect()
    }

    /// Writes `path,label,source,unit,side`, one line per sample. `unit` names the group or patient.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dataset: &Dataset, by: SplitBy, path: &Path) -> Result<(), DataError> {
        let lines = dataset.samples.iter().zip(&self.parts).map(|(sample, part)| {
            let Row {
                path, label, source, ..
            } = &sample.row;
            [path.as_str(), label, source, &unit_name(sample, by), part.name()].map(str::to_owned)
        });
        table::write(path, &["path", "label", "source", "unit", "side"], lines)
    }

    /// Reads a split file for a data set and checks it anew. Samples that it does not name stand nowhere.
    ///
    /// # Errors
    /// The file is malformed, names an image that the data set lacks, or has a patient, group or generated image on
    /// the wrong side.
    pub fn read(dataset: &Dataset, by: SplitBy, path: &Path) -> Result<Self, DataError> {
        let index: HashMap<&str, usize> = dataset
            .samples
            .iter()
            .enumerate()
            .map(|(row, sample)| (sample.row.path.as_str(), row))
            .collect();
        let mut parts = vec![Part::Unused; dataset.samples.len()];
        for line in lines(path)? {
            let line = line?;
            let row = index.get(line.path.as_str());
            let row = *row.ok_or_else(|| DataError::Line {
                path: path.to_owned(),
                line: 0,
                reason: format!("{} is not in the data set", line.path),
            })?;
            parts[row] = line.side;
        }
        let split = Self { parts };
        split.check(dataset, by, path)?;
        Ok(split)
    }

    /// Checks that no unit stands on two sides, that nothing generated is evaluated, and that real and phantom images
    /// are not evaluated together. `origin` is the file that messages name.
    ///
    /// # Errors
    /// [`DataError::Leak`] or [`DataError::Provenance`].
    pub fn check(&self, dataset: &Dataset, by: SplitBy, origin: &Path) -> Result<(), DataError> {
        let unit_of = units(&dataset.samples, by);
        let mut side: HashMap<usize, Part> = HashMap::new();
        let mut evaluated: Option<Provenance> = None;
        for (row, &part) in self.parts.iter().enumerate().filter(|(_, part)| **part != Part::Unused) {
            let sample = &dataset.samples[row];
            let first = *side.entry(unit_of[row]).or_insert(part);
            if first != part {
                let unit = unit_name(sample, by);
                let (first, second) = (first.name(), part.name());
                return Err(DataError::Leak {
                    path: origin.to_owned(),
                    unit,
                    first,
                    second,
                });
            }
            if part == Part::Train {
                continue;
            }
            let provenance = sample.row.provenance;
            if !provenance.may_evaluate() {
                let reason = format!("a {provenance} image must not stand in {part}; it belongs to training");
                return Err(DataError::Provenance {
                    row: sample.row.path.clone(),
                    reason,
                });
            }
            if *evaluated.get_or_insert(provenance) != provenance {
                let reason = "real and phantom images must not be evaluated together; use two manifests".to_owned();
                return Err(DataError::Provenance {
                    row: sample.row.path.clone(),
                    reason,
                });
            }
        }
        Ok(())
    }

    fn refuse_small_classes(&self, dataset: &Dataset, units: &[Unit], fractions: [f64; 3]) -> Result<(), DataError> {
        for (class, label) in dataset.labels.iter().enumerate() {
            let lacking: Vec<&str> = Part::SIDES
                .iter()
                .zip(fractions)
                .filter(|(part, fraction)| *fraction > 0.0 && !self.has(dataset, **part, class))
                .map(|(part, _)| part.name())
                .collect();
            if !lacking.is_empty() {
                let with_label = units
                    .iter()
                    .filter(|unit| unit.rows.iter().any(|r| dataset.samples[*r].class == class));
                let (units, parts) = (with_label.count(), lacking.join(" and "));
                return Err(DataError::TooFew {
                    label: label.clone(),
                    units,
                    parts,
                });
            }
        }
        Ok(())
    }

    fn has(&self, dataset: &Dataset, part: Part, class: usize) -> bool {
        self.parts
            .iter()
            .zip(&dataset.samples)
            .any(|(p, sample)| *p == part && sample.class == class)
    }

    /// Counts by part, label and source, for people and scripts.
    #[must_use]
    pub fn table(&self, dataset: &Dataset) -> BTreeMap<(Part, String, String), usize> {
        let mut table = BTreeMap::new();
        for (sample, part) in dataset.samples.iter().zip(&self.parts) {
            let key = (*part, dataset.labels[sample.class].clone(), sample.row.source.clone());
            *table.entry(key).or_insert(0) += 1;
        }
        table
    }
}

#[derive(Deserialize)]
struct SplitLine {
    path: String,
    #[serde(deserialize_with = "part_of")]
    side: Part,
}

/// The lines of a split file.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<SplitLine, DataError>>, DataError> {
    let place = path.to_owned();
    let fault = move |error: csv::Error| DataError::Line {
        path: place.clone(),
        line: error.position().map_or(0, csv::Position::line),
        reason: error.to_string(),
    };
    let reader = csv::Reader::from_path(path).map_err(&fault)?;
    Ok(reader.into_deserialize().map(move |line| line.map_err(&fault)))
}

fn part_of<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Part, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

/// The name of what a sample must stay together with.
fn unit_name(sample: &Sample, by: SplitBy) -> String {
    let row = &sample.row;
    let group = row.group_id.clone().filter(|_| by == SplitBy::Group);
    group
        .or_else(|| row.patient_id.clone())
        .unwrap_or_else(|| row.path.clone())
}

/// The unit of every sample, as the smallest index in it. Samples are joined by patient, and by group where wanted;
/// an augmented or generated row is joined by its group always, for that is how it knows its origin.
fn units(samples: &[Sample], by: SplitBy) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..samples.len()).collect();
    fn find(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    let copied_groups: std::collections::HashSet<&str> = samples
        .iter()
        .filter(|sample| !sample.row.provenance.may_evaluate())
        .filter_map(|sample| sample.row.group_id.as_deref())
        .collect();
    let mut first: HashMap<(bool, &str), usize> = HashMap::new();
    for (i, sample) in samples.iter().enumerate() {
        let group = sample
            .row
            .group_id
            .as_deref()
            .filter(|id| by == SplitBy::Group || copied_groups.contains(id));
        let patient = sample.row.patient_id.as_deref();
        for key in [patient.map(|id| (false, id)), group.map(|id| (true, id))]
            .into_iter()
            .flatten()
        {
            let other = *first.entry(key).or_insert(i);
            let (a, b) = (find(&mut parent, i), find(&mut parent, other));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..samples.len()).map(|i| find(&mut parent, i)).collect()
}

/// The units of rows that may be evaluated: the largest first, equal ones in an order that the seed decides.
fn originals(dataset: &Dataset, unit_of: &[usize], seed: u64) -> Vec<Unit> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, sample) in dataset.samples.iter().enumerate() {
        if sample.row.provenance.may_evaluate() {
            members.entry(unit_of[row]).or_default().push(row);
        }
    }
    let mut units: Vec<Unit> = members
        .into_values()
        .map(|rows| {
            // By content, so that the order of the manifest does not matter.
            let paths = rows.iter().map(|row| dataset.samples[*row].row.path.as_str());
            let key = paths.min().unwrap_or_default().to_owned();
            let rank = Sha256::new()
                .chain_update(seed.to_le_bytes())
                .chain_update(key.as_bytes())
                .finalize()
                .into();
            Unit { key, rows, rank }
        })
        .collect();
    units.sort_by(|a, b| {
        b.rows
            .len()
            .cmp(&a.rows.len())
            .then_with(|| a.rank.cmp(&b.rank))
            .then_with(|| a.key.cmp(&b.key))
    });
    units
}

/// Label and source of the rows.
struct Strata {
    of_row: Vec<usize>,
    totals: Vec<f64>,
}

impl Strata {
    fn of(dataset: &Dataset) -> Self {
        let mut numbers: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for sample in &dataset.samples {
            numbers.entry((sample.class, &sample.row.source)).or_insert(0);
        }
        numbers.values_mut().enumerate().for_each(|(i, number)| *number = i);
        let of_row: Vec<usize> = dataset
            .samples
            .iter()
            .map(|s| numbers[&(s.class, s.row.source.as_str())])
            .collect();
        let mut totals = vec![0.0; numbers.len()];
        for (row, sample) in dataset.samples.iter().enumerate() {
            if sample.row.provenance.may_evaluate() {
                totals[of_row[row]] += 1.0;
            }
        }
        Self { of_row, totals }
    }

    /// The side that lacks most of the strata of these rows, measured in parts of what it should hold.
    fn neediest(&self, rows: &[usize], held: &[[f64; 3]], fractions: [f64; 3]) -> usize {
        let need = |side: usize| {
            let lack = rows.iter().map(|row| {
                let stratum = self.of_row[*row];
                1.0 - held[stratum][side] / (fractions[side] * self.totals[stratum])
            });
            lack.sum::<f64>()
        };
        let wanted = (0..3).filter(|side| fractions[*side] > 0.0);
        let better = |best: Option<(usize, f64)>, side: usize| match best {
            Some((_, most)) if most >= need(side) => best,
            _ => Some((side, need(side))),
        };
        wanted.fold(None, better).map_or(0, |(side, _)| side)
    }
}

#[cfg(test)]
mod tests;

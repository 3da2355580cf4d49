//! What is wrong with a data set before anything is learnt from it: missing and corrupt files, changed files, copies
//! under other names, near-duplicates in different groups, patients in two classes.

mod similarity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use imaging::decode::{Limits, decode_bytes};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::DataError;
use super::manifest::{Manifest, Provenance, Row, hex};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
pub use similarity::Thumbnail;

/// Correlation of two locally normalised thumbnails from which images count as near-duplicates.
pub const NEAR_DUPLICATE: f32 = 0.90;

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// As in the manifest.
    pub path: String,
    /// Stable code: `missing`, `changed` (another digest than in the manifest), or that of the decoder.
    pub code: String,
    /// For people.
    pub reason: String,
}

/// Files of the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// Digest of the bytes.
    pub sha256: String,
    /// As in the manifest.
    pub paths: Vec<String>,
    /// Whether they have different labels.
    pub labels_differ: bool,
}

/// Two images that look alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearDuplicate {
    /// As in the manifest.
    pub first: String,
    /// As in the manifest.
    pub second: String,
    /// Correlation of the thumbnails, up to 1.
    pub correlation: f32,
    /// Whether nothing in the manifest (group or patient) keeps them on one side of a split.
    pub separable: bool,
    /// Whether they have different labels.
    pub labels_differ: bool,
}

/// One who stands in several classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// `patient_id` or `group_id`.
    pub column: &'static str,
    /// Its value.
    pub id: String,
    /// The classes.
    pub labels: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// Rows of the manifest.
    pub rows: usize,
    /// Images that can be used.
    pub usable: usize,
    /// Digest of the manifest ([`Manifest::digest`]).
    pub digest: String,
    /// Rows by label and source.
    pub counts: BTreeMap<String, BTreeMap<String, usize>>,
    /// Rows without `patient_id` and `group_id`: each will count as a patient of its own.
    pub without_patient: usize,
    /// Files that cannot be used.
    pub faults: Vec<Fault>,
    /// Files of the same bytes.
    pub copies: Vec<Copies>,
    /// Pairs that look alike, the most alike first; phantoms are not compared.
    pub near_duplicates: Vec<NearDuplicate>,
    /// Patients and groups in several classes. Patients may be rightly so; a split keeps them on one side anyway.
    pub crossings: Vec<Crossing>,
}

impl CheckReport {
    /// Whether something must be put right before training: unusable files, or the same image under two labels.
    #[must_use]
    pub fn must_be_fixed(&self) -> bool {
        !self.faults.is_empty() || self.copies.iter().any(|copies| copies.labels_differ)
    }
}

/// Reads every image once and compares them.
///
/// # Errors
/// [`DataError::Interrupted`]. What is wrong with the data is the report.
pub fn check(
    manifest: &Manifest,
    near_duplicates: bool,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<CheckReport, DataError> {
    progress.begin("reading images", manifest.rows.len() as u64, "image");
    let seen = parallel(manifest.rows.len(), interrupt, |i| {
        let seen = look_at(manifest, &manifest.rows[i]);
        progress.advance(1, "");
        seen
    })?;
    progress.end();
    let faults: Vec<Fault> = seen.iter().filter_map(|seen| seen.fault.clone()).collect();
    let pairs = if near_duplicates {
        alike(manifest, &seen, progress, interrupt)?
    } else {
        Vec::new()
    };
    Ok(CheckReport {
        rows: manifest.rows.len(),
        usable: seen.iter().filter(|seen| seen.thumbnail.is_some()).count(),
        digest: manifest.digest(),
        counts: counts(manifest),
        without_patient: manifest
            .rows
            .iter()
            .filter(|r| r.patient_id.is_none() && r.group_id.is_none())
            .count(),
        faults,
        copies: copies(manifest, &seen),
        near_duplicates: pairs,
        crossings: crossings(manifest),
    })
}

/// What reading one image gave.
#[derive(Debug, Default)]
struct Seen {
    sha256: Option<String>,
    thumbnail: Option<Thumbnail>,
    fault: Option<Fault>,
}

fn look_at(manifest: &Manifest, row: &Row) -> Seen {
    let fault = |code: &str, reason: String| {
        Some(Fault {
            path: row.path.clone(),
            code: code.into(),
            reason,
        })
    };
    let bytes = match std::fs::read(manifest.file(row)) {
        Ok(bytes) => bytes,
        Err(error) => {
            let code = if error.kind() == std::io::ErrorKind::NotFound {
                "missing"
            } else {
                "unreadable"
            };
            return Seen {
                fault: fault(code, error.to_string()),
                ..Seen::default()
            };
        }
    };
    let sha256 = hex(&Sha256::digest(&bytes));
    let expected = row
        .sha256
        .as_deref()
        .filter(|digest| !digest.eq_ignore_ascii_case(&sha256));
    if let Some(expected) = expected {
        let reason = format!("its SHA-256 is {sha256}, the manifest says {expected}");
        return Seen {
            sha256: Some(sha256),
            fault: fault("changed", reason),
            ..Seen::default()
        };
    }
    let decoded = decode_bytes(bytes, &Limits::default()).and_then(|source| source.frame(0));
    let (thumbnail, fault) = match decoded {
        Ok(image) => (Thumbnail::of(&image), None),
        Err(error) => (None, fault(error.code(), error.to_string())),
    };
    Seen {
        sha256: Some(sha256),
        thumbnail,
        fault,
    }
}

fn alike(
    manifest: &Manifest,
    seen: &[Seen],
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<NearDuplicate>, DataError> {
    // Phantoms share one rule of anatomy, so they look alike; whose they are is known.
    let real = |row: usize| manifest.rows[row].provenance != Provenance::Phantom;
    let pictures: Vec<(usize, &Thumbnail)> = seen
        .iter()
        .enumerate()
        .filter_map(|(row, seen)| Some((row, seen.thumbnail.as_ref().filter(|_| real(row))?)))
        .collect();
    progress.begin("comparing images", pictures.len() as u64, "image");
    let found = parallel(pictures.len(), interrupt, |a| {
        progress.advance(1, "");
        let (row, thumbnail) = pictures[a];
        let later = pictures[a + 1..]
            .iter()
            .map(|(other, picture)| (row, *other, thumbnail.correlation(picture)));
        later
            .filter(|(_, _, correlation)| *correlation >= NEAR_DUPLICATE)
            .collect::<Vec<_>>()
    })?;
    progress.end();
    let mut pairs: Vec<NearDuplicate> = found
        .into_iter()
        .flatten()
        .map(|(a, b, correlation)| {
            let (a, b) = (&manifest.rows[a], &manifest.rows[b]);
            let same = |x: &Option<String>, y: &Option<String>| x.is_some() && x == y;
            NearDuplicate {
                first: a.path.clone(),
                second: b.path.clone(),
                correlation,
                separable: !same(&a.group_id, &b.group_id) && !same(&a.patient_id, &b.patient_id),
                labels_differ: a.label != b.label,
            }
        })
        .collect();
    pairs.sort_by(|a, b| {
        b.correlation
            .total_cmp(&a.correlation)
            .then_with(|| a.first.cmp(&b.first))
    });
    Ok(pairs)
}

fn copies(manifest: &Manifest, seen: &[Seen]) -> Vec<Copies> {
    let mut by_digest: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, seen) in seen.iter().enumerate() {
        if let Some(digest) = &seen.sha256 {
            by_digest.entry(digest).or_default().push(i);
        }
    }
    by_digest
        .into_iter()
        .filter(|(_, rows)| rows.len() > 1)
        .map(|(digest, rows)| Copies {
            sha256: digest.to_owned(),
            labels_differ: rows
                .iter()
                .any(|row| manifest.rows[*row].label != manifest.rows[rows[0]].label),
            paths: rows.iter().map(|row| manifest.rows[*row].path.clone()).collect(),
        })
        .collect()
}

fn crossings(manifest: &Manifest) -> Vec<Crossing> {
    type Id = fn(&Row) -> Option<&String>;
    let columns: [(&'static str, Id); 2] = [
        ("patient_id", |row| row.patient_id.as_ref()),
        ("group_id", |row| row.group_id.as_ref()),
    ];
    let mut found = Vec::new();
    for (column, id_of) in columns {
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in &manifest.rows {
            if let Some(id) = id_of(row) {
                labels.entry(id).or_default().insert(&row.label);
            }
        }
        let several = labels.into_iter().filter(|(_, labels)| labels.len() > 1);
        found.extend(several.map(|(id, labels)| Crossing {
            column,
            id: id.to_owned(),
            labels: labels.into_iter().map(str::to_owned).collect(),
        }));
    }
    found
}

fn counts(manifest: &Manifest) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for row in &manifest.rows {
        *counts
            .entry(row.label.clone())
            .or_default()
            .entry(row.source.clone())
            .or_default() += 1;
    }
    counts
}

/// Runs `job` for 0..n on all cores and gives the results in order.
///
/// # Errors
/// [`DataError::Interrupted`], or [`DataError::WorkerLost`] if a job panicked.
pub(crate) fn parallel<T: Send>(
    n: usize,
    interrupt: &Interrupt,
    job: impl Fn(usize) -> T + Sync,
) -> Result<Vec<T>, DataError> {
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..n).map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(n) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n || interrupt.is_raised() {
                        break;
                    }
                    let result = job(i);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(result);
                }
            });
        }
    });
    if interrupt.is_raised() {
        return Err(DataError::Interrupted);
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results
        .into_iter()
        .enumerate()
        .map(|(batch, result)| result.ok_or(DataError::WorkerLost { batch }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn write(folder: &std::path::Path, name: &str, seed: u32) {
        let pixel = |x: u32, y: u32| {
            let wave = ((x * (seed + 1)) as f32 / 9.0).sin() * ((y * (seed + 2)) as f32 / 7.0).cos();
            image::Luma([(128.0 + 90.0 * wave) as u8])
        };
        image::GrayImage::from_fn(80, 90, pixel)
            .save(folder.join(name))
            .unwrap();
    }

    fn row(path: &str, label: &str, patient: &str) -> Row {
        Row {
            path: path.into(),
            label: label.into(),
            patient_id: Some(patient.into()),
            ..Row::default()
        }
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a.png", 1);
        write(root, "b.png", 2);
        std::fs::copy(root.join("a.png"), root.join("copy.png")).unwrap();
        let slightly =
            image::open(root.join("b.png"))
                .unwrap()
                .brighten(9)
                .resize_exact(100, 110, image::imageops::Triangle);
        slightly.save(root.join("near.png")).unwrap();
        write(root, "cut.png", 3);
        let whole = std::fs::read(root.join("cut.png")).unwrap();
        std::fs::write(root.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
        write(root, "changed.png", 4);
        let changed = Row {
            sha256: Some("00".into()),
            ..row("changed.png", "x", "p6")
        };
        let rows = vec![
            row("a.png", "x", "p1"),
            row("b.png", "x", "p2"),
            row("copy.png", "y", "p1"),
            row("near.png", "x", "p3"),
            row("cut.png", "x", "p4"),
            row("gone.png", "x", "p5"),
            changed,
        ];
        let manifest = Manifest {
            origin: root.join("m.csv"),
            root: root.to_owned(),
            rows,
        };
        let report = check(&manifest, true, &Silent, &Interrupt::new()).unwrap();
        let codes: Vec<(&str, &str)> = report
            .faults
            .iter()
            .map(|f| (f.path.as_str(), f.code.as_str()))
            .collect();
        assert_eq!(codes.len(), 3, "{codes:?}");
        assert!(codes.contains(&("gone.png", "missing")) && codes.contains(&("changed.png", "changed")));
        assert_eq!(report.usable, 4);
        assert_eq!(report.copies.len(), 1);
        assert!(report.copies[0].labels_differ && report.must_be_fixed());
        let near = report
            .near_duplicates
            .iter()
            .find(|pair| pair.second == "near.png")
            .unwrap();
        assert!(near.first == "b.png" && near.separable && !near.labels_differ);
        assert_eq!(
            report.near_duplicates.len(),
            2,
            "and the copy: {:?}",
            report.near_duplicates
        );
        assert_eq!(report.crossings.len(), 1);
        assert_eq!(
            (report.crossings[0].id.as_str(), report.crossings[0].labels.len()),
            ("p1", 2)
        );
    }

    #[test]
    fn an_interrupt_ends_it() {
        let manifest = Manifest {
            origin: "m".into(),
            root: "".into(),
            rows: vec![row("a.png", "x", "p")],
        };
        let interrupt = Interrupt::new();
        interrupt.raise();
        assert!(matches!(
            check(&manifest, true, &Silent, &interrupt),
            Err(DataError::Interrupted)
        ));
    }
}

//! Generated images beside the data: manifests of their own, for training only, and as many as are wanted.
//!
//! An image that was translated from another (`made_from` in its manifest) belongs to that one's patient and group, so
//! that no relative of a test image is learnt from.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Sample};
use super::error::DataError;
use super::manifest::{Manifest, Provenance, Row, hex};
use super::order::shuffle;
use super::split::{Part, Split};
use crate::recipes::DataSection;
use crate::seed;

/// Column with the image that another was translated from.
const MADE_FROM: &str = "made_from";

/// Adds the images of `data.generated` to the data set, and their manifests' digests to its own.
///
/// # Errors
/// A manifest cannot be read, holds an image that was not generated, or one that was made from an image that is not in
/// the data; or the label is none of the model's.
pub(super) fn add(dataset: &mut Dataset, section: &DataSection) -> Result<(), DataError> {
    for (number, wanted) in section.generated.iter().enumerate() {
        let path = place(&dataset.root, &wanted.manifest);
        let manifest = Manifest::load(&path)?;
        let model_label = |row: &Row| section.mapping.get(&row.label).unwrap_or(&row.label).clone();
        let class_of = |row: &Row| {
            let label = model_label(row);
            let is_wanted = wanted.label.as_ref().is_none_or(|wanted| *wanted == label);
            Ok(is_wanted.then(|| dataset.class_of(&label)).flatten())
        };
        let made = samples(dataset, &manifest, number, class_of)?;
        if made.is_empty() {
            let labels = wanted.label.clone().unwrap_or_else(|| dataset.labels.join(", "));
            return Err(DataError::NoRows {
                path,
                reason: format!("data.generated wants the label {labels}, and no row has it"),
                found: manifest.describe_labels(),
            });
        }
        dataset.samples.extend(made);
        let joined = Sha256::new()
            .chain_update(&dataset.digest)
            .chain_update(manifest.digest());
        dataset.digest = hex(&joined.finalize());
    }
    Ok(())
}

/// A relative path is looked for beside the data, then where one stands.
fn place(root: &Path, path: &Path) -> PathBuf {
    let beside = root.join(path);
    match beside.exists() {
        true => beside,
        false => path.to_owned(),
    }
}

/// The images of a generator's manifest, the `number`th beside the data, whose row has a class.
///
/// # Errors
/// An image that was not generated, or one that was made from an image that is not in the data; what `class_of` refuses.
pub fn samples(
    dataset: &Dataset,
    manifest: &Manifest,
    number: usize,
    class_of: impl Fn(&Row) -> Result<Option<usize>, DataError>,
) -> Result<Vec<Sample>, DataError> {
    let mut samples = Vec::new();
    for row in &manifest.rows {
        if let Some(class) = class_of(row)? {
            samples.push(sample(dataset, manifest, row, class, number)?);
        }
    }
    Ok(samples)
}

fn sample(dataset: &Dataset, manifest: &Manifest, row: &Row, class: usize, number: usize) -> Result<Sample, DataError> {
    let file = manifest.file(row);
    let refuse = |reason: String| DataError::Provenance {
        row: file.display().to_string(),
        reason,
    };
    if row.provenance != Provenance::Synthetic {
        return Err(refuse(format!(
            "images of a generator are wanted, and this is a {} one",
            row.provenance
        )));
    }
    let mut row = Row {
        path: file.display().to_string(),
        ..row.clone()
    };
    if let Some(made_from) = row.extra.get(MADE_FROM).filter(|path| !path.is_empty()) {
        let source = origin(dataset, Path::new(made_from)).ok_or_else(|| {
            refuse(format!(
                "it was made from {made_from}, which is not in the data, so its side of the split is unknown"
            ))
        })?;
        (row.patient_id, row.group_id) = (source.patient_id.clone(), source.group_id.clone());
        if row.patient_id.is_none() && row.group_id.is_none() {
            row.group_id = Some(source.path.clone());
        }
    }
    Ok(Sample {
        row,
        class,
        file,
        expanded: None,
        generated: Some(number),
    })
}

/// The row whose image lies at this path, wherever the data lay when it was translated.
fn origin<'a>(dataset: &'a Dataset, path: &Path) -> Option<&'a Row> {
    let mut rows = dataset
        .samples
        .iter()
        .filter(|sample| sample.row.provenance.may_evaluate());
    rows.find(|sample| path.ends_with(&sample.row.path))
        .map(|sample| &sample.row)
}

/// Leaves of the generated images only as many in training as fill their label to `fill_to` images there, drawn from the
/// split's seed.
///
/// # Errors
/// There are too few.
pub fn fill(split: &mut Split, dataset: &Dataset, section: &DataSection) -> Result<(), DataError> {
    for (number, wanted) in section.generated.iter().enumerate() {
        let (Some(fill_to), Some(label)) = (wanted.fill_to, &wanted.label) else {
            continue;
        };
        let training = |row: &usize| split.parts[*row] == Part::Train;
        let rows: Vec<usize> = (0..dataset.samples.len()).filter(training).collect();
        let (mut made, others): (Vec<usize>, Vec<usize>) = rows
            .into_iter()
            .partition(|row| dataset.samples[*row].generated == Some(number));
        let others = others
            .iter()
            .filter(|row| dataset.labels[dataset.samples[**row].class] == *label)
            .count();
        let needed = fill_to.saturating_sub(others);
        if made.len() < needed {
            return Err(DataError::NoRows {
                path: wanted.manifest.clone(),
                reason: format!("to fill `{label}` to {fill_to} training images, {needed} more are needed"),
                found: format!("{} that may be learnt from, {others} others", made.len()),
            });
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed::mix(section.split.seed, &format!("fill {number}")));
        shuffle(&mut made, &mut random);
        for row in made.split_off(needed) {
            split.parts[row] = Part::Unused;
        }
    }
    Ok(())
}

/// Gives originals that have neither patient nor group a group, where a generated image was made from one: else nothing
/// would tie the two.
pub(super) fn tie(dataset: &mut Dataset) {
    let made = dataset.samples.iter().filter(|sample| sample.generated.is_some());
    let named: HashSet<String> = made.filter_map(|sample| sample.row.group_id.clone()).collect();
    for sample in dataset.samples.iter_mut().filter(|sample| sample.generated.is_none()) {
        let row = &mut sample.row;
        if row.patient_id.is_none() && row.group_id.is_none() && named.contains(&row.path) {
            row.group_id = Some(row.path.clone());
        }
    }
}

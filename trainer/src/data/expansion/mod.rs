//! Expansion of a class: each of its training images once more under each of 17 named transforms.
//!
//! Wang, Liu and Xu (2020, doi 10.1109/ICEIEC49280.2020.9152329) expand their COVID-19 images 17 times by augmentation
//! and do not say how; the 17 [`Transform`]s here are the field's usual ones, in small doses. Unlike `[augment]`, which
//! draws anew for each image and epoch, each transform gives the same image every time, and each has a name: an expanded
//! row is called `<path>#<transform>`, has the provenance `augmented`, and stays with its original. It is made when it is
//! read; no file is written. Only training may hold it.

mod transform;

pub use transform::Transform;

use super::dataset::Sample;
use super::manifest::{Provenance, Row};

/// A row that is the transformed copy of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expanded {
    /// Index of the original in [`Dataset::samples`](super::Dataset::samples).
    pub original: usize,
    /// What was done to it.
    pub transform: Transform,
}

/// Adds to the samples of these classes their 17 transformed copies, behind all others. Only what may be evaluated is
/// expanded: what a generative model made, or somebody changed already, is not.
pub(super) fn expand(samples: &mut Vec<Sample>, classes: &[usize]) {
    for original in 0..samples.len() {
        let sample = &mut samples[original];
        if !classes.contains(&sample.class) || !sample.row.provenance.may_evaluate() {
            continue;
        }
        // A copy knows its original by the patient, else by the group.
        if sample.row.patient_id.is_none() && sample.row.group_id.is_none() {
            sample.row.group_id = Some(sample.row.path.clone());
        }
        let sample = sample.clone();
        samples.extend(Transform::ALL.map(|transform| copy(&sample, original, transform)));
    }
}

fn copy(sample: &Sample, original: usize, transform: Transform) -> Sample {
    let row = Row {
        path: format!("{}#{transform}", sample.row.path),
        // A group joins its copies whatever the split goes by; the patient alone is enough where it is known.
        group_id: sample.row.group_id.clone().filter(|_| sample.row.patient_id.is_none()),
        provenance: Provenance::Augmented,
        sha256: None,
        ..sample.row.clone()
    };
    Sample {
        row,
        expanded: Some(Expanded { original, transform }),
        ..sample.clone()
    }
}

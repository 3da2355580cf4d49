//! What sets of phantoms have in common, whatever they show: which images of which patients, and how they are written.

use std::path::{Path, PathBuf};

use super::files;
use crate::data::check::parallel;
use crate::data::error::DataError;
use crate::data::table;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// The label of phantoms that show nothing abnormal.
pub const NORMAL: &str = "normal";
/// Of three images of a class, two are of one patient, so that a split by patient has something to do.
const IMAGES_PER_TWO_PATIENTS: u64 = 3;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSummary {
    /// The manifest.
    pub manifest: PathBuf,
    /// Number of images.
    pub images: usize,
    /// Labels, `normal` first.
    pub labels: Vec<String>,
}

/// One image of a set.
pub(super) struct Item<R> {
    pub label: &'static str,
    /// Of its files, without their endings.
    pub name: String,
    pub patient: String,
    /// What is drawn.
    pub request: R,
}

/// The images of a class that has the number `number` among all classes, so that leaving out a class changes no other.
/// `request` takes the patient and which of that patient's images it is.
pub(super) fn items<R>(
    label: &'static str,
    number: u64,
    count: usize,
    request: impl Fn(u64, u64) -> R,
) -> impl Iterator<Item = Item<R>> {
    (0..count as u64).map(move |i| {
        let (person, image) = person_of(i);
        Item {
            label,
            name: format!("{label}_{:05}", i + 1),
            patient: format!("phantom-{label}-{:05}", person + 1),
            request: request((number << 32) | person, image),
        }
    })
}

/// The patient of image `i` of a class, and which of that patient's images it is, both from 0.
fn person_of(i: u64) -> (u64, u64) {
    let person = 2 * i / IMAGES_PER_TWO_PATIENTS;
    let first = (person * IMAGES_PER_TWO_PATIENTS).div_ceil(2);
    (person, i - first)
}

/// Where a set goes.
pub(super) struct Place<'a> {
    /// Folder to make; one that is there must be empty.
    pub out: &'a Path,
    /// Folders in it.
    pub folders: &'a [&'a str],
    /// Of the manifest.
    pub columns: &'a [&'a str],
}

/// Writes all images on all cores, `draw` each with its line of the manifest, and the manifest. `what` is told of it:
/// what is done, and what one is called.
///
/// # Errors
/// The folder holds something, a file cannot be written, or somebody asked to stop.
pub(super) fn write<R: Sync>(
    place: &Place<'_>,
    items: &[Item<R>],
    what: [&str; 2],
    progress: &dyn Progress,
    interrupt: &Interrupt,
    draw: impl Fn(&Item<R>) -> Result<Vec<String>, DataError> + Sync,
) -> Result<SetSummary, DataError> {
    files::fresh_folders(place.out, place.folders)?;
    progress.begin(what[0], items.len() as u64, what[1]);
    let lines = parallel(items.len(), interrupt, |i| {
        let line = draw(&items[i]);
        progress.advance(1, items[i].label);
        line
    })?;
    progress.end();
    let manifest = place.out.join("manifest.csv");
    let lines = lines.into_iter().collect::<Result<Vec<_>, _>>()?;
    table::write(&manifest, place.columns, &lines)?;
    let mut labels: Vec<String> = items.iter().map(|item| item.label.to_owned()).collect();
    labels.dedup();
    Ok(SetSummary {
        manifest,
        images: items.len(),
        labels,
    })
}

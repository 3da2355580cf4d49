//! Whole sets of sign patches: pictures, masks, boxes and a manifest.

use std::path::PathBuf;

use ndarray::Array2;
use sha2::{Digest, Sha256};

use super::{Request, Sign, render};
use crate::data::check::parallel;
use crate::data::error::DataError;
use crate::data::manifest::hex;
use crate::data::phantom::dataset::{NORMAL, SetSummary};
use crate::data::phantom::files::{self, Depth};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Which set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignSetRequest {
    /// Folder to make; one that is there must be empty.
    pub out: PathBuf,
    /// Patches of each class, `normal` included.
    pub per_class: usize,
    /// The classes beside `normal`.
    pub signs: Vec<Sign>,
    /// Seed of the set.
    pub seed: u64,
    /// Side of the pictures in pixels.
    pub size: usize,
}

/// One patch of a set.
struct Item {
    label: &'static str,
    name: String,
    patient: String,
    request: Request,
}

/// The box is that of the mask, in pixels, its last row and column included; empty without a sign.
const COLUMNS: [&str; 14] = [
    "path",
    "label",
    "patient_id",
    "source",
    "group_id",
    "sha256",
    "provenance",
    "width",
    "height",
    "mask",
    "xmin",
    "ymin",
    "xmax",
    "ymax",
];

/// Writes `out/images/*.png`, `out/masks/*.png` (white where the sign is) and `out/manifest.csv`. The same request
/// writes the same bytes.
///
/// # Errors
/// The folder holds something, a file cannot be written, or somebody asked to stop.
pub fn write(
    request: &SignSetRequest,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<SetSummary, DataError> {
    let items = plan(request);
    files::fresh_folders(&request.out, ["images", "masks"].into_iter())?;
    progress.begin("drawing sign phantoms", items.len() as u64, "patch");
    let lines = parallel(items.len(), interrupt, |i| {
        let line = write_item(request, &items[i]);
        progress.advance(1, items[i].label);
        line
    })?;
    progress.end();
    let manifest = request.out.join("manifest.csv");
    let lines = lines.into_iter().collect::<Result<Vec<_>, _>>()?;
    files::write_manifest(&manifest, &COLUMNS, &lines)?;
    let names = request.signs.iter().map(|sign| sign.name());
    Ok(SetSummary {
        manifest,
        images: items.len(),
        labels: std::iter::once(NORMAL).chain(names).map(str::to_owned).collect(),
    })
}

fn plan(request: &SignSetRequest) -> Vec<Item> {
    let classes = std::iter::once(None).chain(request.signs.iter().copied().map(Some));
    let mut items = Vec::new();
    for sign in classes {
        let label = sign.map_or(NORMAL, Sign::name);
        // By its place among all signs, so that leaving out a class changes no other.
        let number = sign.map_or(0, |sign| 1 + sign as u64);
        for i in 0..request.per_class as u64 {
            let (person, image) = files::person_of(i);
            items.push(Item {
                label,
                name: format!("{label}_{:05}", i + 1),
                patient: format!("phantom-{label}-{:05}", person + 1),
                request: Request {
                    seed: request.seed,
                    patient: (number << 32) | person,
                    image,
                    size: request.size,
                    sign,
                },
            });
        }
    }
    items
}

/// Writes the files of one patch and gives its line of the manifest.
fn write_item(set: &SignSetRequest, item: &Item) -> Result<Vec<String>, DataError> {
    let patch = render(&item.request);
    let path = format!("images/{}.png", item.name);
    let bytes = files::write_png(&patch.picture, Depth::Eight, &set.out.join(&path))?;
    let bounds = bounds(&patch.mask);
    let mut mask = String::new();
    if bounds.is_some() {
        mask = format!("masks/{}.png", item.name);
        files::write_mask(&patch.mask, &set.out.join(&mask))?;
    }
    let size = item.request.size.to_string();
    let mut line = vec![
        path,
        item.label.to_owned(),
        item.patient.clone(),
        patch.scanner.to_owned(),
        item.patient.clone(),
        hex(&Sha256::digest(&bytes)),
        "phantom".to_owned(),
        size.clone(),
        size,
        mask,
    ];
    line.extend(match bounds {
        Some(sides) => sides.map(|side| side.to_string()),
        None => [(); 4].map(|()| String::new()),
    });
    Ok(line)
}

/// First column, first row, last column and last row of a mask.
fn bounds(mask: &Array2<bool>) -> Option<[usize; 4]> {
    let inside = mask.indexed_iter().filter(|(_, inside)| **inside);
    inside.fold(None, |bounds: Option<[usize; 4]>, ((y, x), _)| {
        let [x0, y0, x1, y1] = bounds.unwrap_or([x, y, x, y]);
        Some([x0.min(x), y0.min(y), x1.max(x), y1.max(y)])
    })
}

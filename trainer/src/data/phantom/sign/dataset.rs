//! Whole sets of sign patches: pictures, masks, boxes and a manifest.

use std::path::PathBuf;

use ndarray::Array2;
use sha2::{Digest, Sha256};

use super::{Request, Sign, render};
use crate::data::error::DataError;
use crate::data::manifest::hex;
use crate::data::phantom::files::{self, Depth};
use crate::data::phantom::set::{self, Item, NORMAL, Place, SetSummary};
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
    let items: Vec<_> = plan(request).collect();
    let place = Place {
        out: &request.out,
        folders: &["images", "masks"],
        columns: &COLUMNS,
    };
    let what = ["drawing sign phantoms", "patch"];
    set::write(&place, &items, what, progress, interrupt, |item| {
        write_item(request, item)
    })
}

fn plan(set: &SignSetRequest) -> impl Iterator<Item = Item<Request>> {
    let classes = std::iter::once(None).chain(set.signs.iter().copied().map(Some));
    classes.flat_map(move |sign| {
        let label = sign.map_or(NORMAL, Sign::name);
        let number = sign.map_or(0, |sign| 1 + sign as u64);
        set::items(label, number, set.per_class, move |patient, image| Request {
            seed: set.seed,
            patient,
            image,
            size: set.size,
            sign,
        })
    })
}

/// Writes the files of one patch and gives its line of the manifest.
fn write_item(set: &SignSetRequest, item: &Item<Request>) -> Result<Vec<String>, DataError> {
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

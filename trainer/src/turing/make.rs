//! `turing make`: the page for the readers, and its key.

use std::io::{Cursor, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use imaging::decode::{Limits, first_frame};
use imaging::preprocess::{CropRule, PreprocessSpec};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{FORMAT, Item, Key, Kind, TuringError, digest, read};
use crate::data::manifest::{Manifest, Provenance};
use crate::data::order::shuffle;
use crate::data::scan;
use crate::report::html::base64;
use crate::seed;
use crate::training::run::write_atomically;

/// The page, with places for what belongs to one kit.
const PAGE: &str = include_str!("page.html");
/// Sides of shown images that are allowed, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=2048;
/// An image is shown again at the earliest after so many others, where there are enough.
const APART: usize = 8;

/// What a kit is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KitRequest {
    /// Manifest, or folder of images, of real ones.
    pub real: PathBuf,
    /// The same of generated ones.
    pub generated: PathBuf,
    /// Only images with this label, of both; a folder without a manifest has none.
    pub label: Option<String>,
    /// Images of each kind.
    pub count: usize,
    /// Images that are shown a second time: half of them real.
    pub repeats: usize,
    /// Draws images and order.
    pub seed: u64,
    /// Side of the shown images in pixels; absent: the shortest side of all of them.
    pub side: Option<u32>,
}

/// A kit that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    /// For the readers.
    pub page: PathBuf,
    /// For nobody until all have read.
    pub key: PathBuf,
    /// SHA-256 of the key, which the page and all answers hold.
    pub digest: String,
    /// Images that each reader sees.
    pub items: usize,
}

/// Makes `out/test.html` and `out/key.json`; the folder is made if it is not there.
///
/// # Errors
/// [`TuringError`]: too few images, one that cannot be read, or a file that cannot be written.
pub fn make(request: &KitRequest, out: &Path) -> Result<Kit, TuringError> {
    check(request)?;
    let real = chosen(request, &request.real, Kind::Real)?;
    let generated = chosen(request, &request.generated, Kind::Generated)?;
    let order = order(request.count, request.repeats, request.seed);
    let side = side(request, real.iter().chain(&generated))?;
    let mut items = Vec::with_capacity(order.len());
    let mut pictures = Vec::with_capacity(order.len());
    for showing in &order {
        let file = match showing.kind {
            Kind::Real => &real[showing.number],
            Kind::Generated => &generated[showing.number],
        };
        items.push(Item {
            kind: showing.kind,
            repeats: showing.repeats.map(|first| first + 1),
            file: file.clone(),
            sha256: digest(&read(file)?),
        });
        pictures.push(png(file, side)?);
    }
    let key = Key {
        format: FORMAT,
        seed: request.seed,
        side,
        items,
    };
    write(&key, &pictures, out)
}

fn check(request: &KitRequest) -> Result<(), TuringError> {
    let refuse = |option, found: usize, allowed: String| {
        Err(TuringError::Setting {
            option,
            found: found.to_string(),
            allowed,
        })
    };
    if !(1..=1000).contains(&request.count) {
        return refuse("count", request.count, "1 to 1000".to_owned());
    }
    if request.repeats % 2 == 1 || request.repeats > 2 * request.count {
        let allowed = format!("an even number up to {}, half of it real", 2 * request.count);
        return refuse("repeats", request.repeats, allowed);
    }
    match request.side {
        Some(side) if !SIDES.contains(&side) => {
            refuse("side", side as usize, format!("{} to {}", SIDES.start(), SIDES.end()))
        }
        _ => Ok(()),
    }
}

/// The files of one kind, as many as are wanted, drawn from the seed.
fn chosen(request: &KitRequest, path: &Path, kind: Kind) -> Result<Vec<PathBuf>, TuringError> {
    let manifest = images(path)?;
    let mut files = Vec::new();
    for row in &manifest.rows {
        if request.label.as_ref().is_some_and(|label| *label != row.label) {
            continue;
        }
        let file = manifest.file(row);
        let fits = match (kind, row.provenance) {
            (Kind::Real, provenance) => provenance.may_evaluate(),
            // A folder of images cannot say that they were made.
            (Kind::Generated, provenance) => provenance == Provenance::Synthetic || manifest.origin.is_dir(),
        };
        if !fits {
            let provenance = row.provenance.to_string();
            return Err(TuringError::WrongKind {
                path: file,
                provenance,
                kind,
            });
        }
        files.push(file);
    }
    if files.len() < request.count {
        return Err(TuringError::TooFew {
            path: path.to_owned(),
            kind,
            found: files.len(),
            wanted: request.count,
        });
    }
    files.sort();
    let mut random = ChaCha8Rng::seed_from_u64(seed::mix(request.seed, &kind.to_string()));
    shuffle(&mut files, &mut random);
    files.truncate(request.count);
    Ok(files)
}

/// A manifest, or a folder: its own manifest where it has one, else every image below it.
fn images(path: &Path) -> Result<Manifest, TuringError> {
    Ok(match path.is_dir() && !path.join("manifest.csv").is_file() {
        true => scan::all_images(path)?,
        false => Manifest::load(path)?,
    })
}

/// An image in the order of a kit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Showing {
    kind: Kind,
    /// Which of its kind.
    number: usize,
    /// Where it was shown first.
    repeats: Option<usize>,
}

/// All images in an order from the seed, and the repeated ones put in again later: as far from their first showing as
/// the others allow, at least [`APART`] where there are enough.
fn order(count: usize, repeats: usize, seed: u64) -> Vec<Showing> {
    let mut random = ChaCha8Rng::seed_from_u64(seed::mix(seed, "order"));
    let kinds = [Kind::Real, Kind::Generated];
    let all = kinds.into_iter().flat_map(|kind| {
        (0..count).map(move |number| Showing {
            kind,
            number,
            repeats: None,
        })
    });
    let mut order: Vec<Showing> = all.collect();
    shuffle(&mut order, &mut random);
    for kind in kinds {
        // The first of its kind, as an earlier one leaves more room behind it.
        let mut firsts: Vec<usize> = (0..order.len())
            .filter(|at| order[*at].kind == kind && order[*at].repeats.is_none())
            .collect();
        firsts.truncate((repeats / 2).max(firsts.len().div_ceil(2)));
        shuffle(&mut firsts, &mut random);
        let chosen: Vec<Showing> = firsts.iter().take(repeats / 2).map(|at| order[*at].clone()).collect();
        for showing in chosen {
            let first = position(&order, &showing);
            let earliest = (first + 1 + APART).min(order.len());
            let at = random.random_range(earliest..=order.len());
            order.insert(
                at,
                Showing {
                    repeats: Some(0),
                    ..showing
                },
            );
        }
    }
    // Where the first ones stand is known only now that all are in.
    let firsts: Vec<Option<usize>> = order
        .iter()
        .map(|showing| showing.repeats.map(|_| position(&order, showing)))
        .collect();
    for (showing, first) in order.iter_mut().zip(firsts) {
        showing.repeats = first;
    }
    order
}

/// Where an image is shown first.
fn position(order: &[Showing], showing: &Showing) -> usize {
    let same =
        |other: &Showing| (other.kind, other.number) == (showing.kind, showing.number) && other.repeats.is_none();
    order.iter().position(same).unwrap_or(0)
}

/// The side of all shown images: an enlarged one would be told by its blur.
fn side<'a>(request: &KitRequest, files: impl Iterator<Item = &'a PathBuf>) -> Result<u32, TuringError> {
    let mut shortest = u32::MAX;
    for file in files {
        let image = first_frame(file, &Limits::default()).map_err(|error| unshown(file, &error))?;
        shortest = shortest.min(image.height().min(image.width()) as u32);
    }
    match request.side {
        Some(side) if side > shortest => Err(TuringError::Setting {
            option: "side",
            found: side.to_string(),
            allowed: format!(
                "up to {shortest}, the shortest side of all images: enlarged ones would be told by their blur"
            ),
        }),
        Some(side) => Ok(side),
        None => Ok(shortest.clamp(*SIDES.start(), *SIDES.end())),
    }
}

/// The image's centred square as an 8-bit grey PNG of this side: the same encoder, no names, no dates.
fn png(file: &Path, side: u32) -> Result<Vec<u8>, TuringError> {
    let image = first_frame(file, &Limits::default()).map_err(|error| unshown(file, &error))?;
    let spec = PreprocessSpec {
        crop: CropRule::CentreSquare,
        mean: vec![0.0],
        std: vec![1.0],
        ..PreprocessSpec::grey(side)
    };
    let tensor = spec.apply(&image).map_err(|error| unshown(file, &error))?;
    let bytes = tensor
        .iter()
        .map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect();
    let picture = image::GrayImage::from_raw(side, side, bytes).unwrap_or_default();
    let mut png = Cursor::new(Vec::new());
    picture
        .write_to(&mut png, image::ImageFormat::Png)
        .map_err(|error| unshown(file, &error))?;
    Ok(png.into_inner())
}

fn unshown(file: &Path, error: &dyn std::fmt::Display) -> TuringError {
    TuringError::Image {
        path: file.to_owned(),
        reason: error.to_string(),
    }
}

fn write(key: &Key, pictures: &[Vec<u8>], out: &Path) -> Result<Kit, TuringError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| TuringError::File { path, source }
    };
    let text = serde_json::to_vec_pretty(key).map_err(|error| TuringError::Malformed {
        path: out.join("key.json"),
        reason: error.to_string(),
    })?;
    std::fs::create_dir_all(out).map_err(file(out))?;
    let kit = Kit {
        page: out.join("test.html"),
        key: out.join("key.json"),
        digest: digest(&text),
        items: key.items.len(),
    };
    // A key that readers have answered to is not overwritten; others on this machine have no business with it.
    let mut sealed = std::fs::OpenOptions::new();
    let mut sealed = sealed
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&kit.key)
        .map_err(file(&kit.key))?;
    sealed
        .write_all(&text)
        .and_then(|()| sealed.sync_all())
        .map_err(file(&kit.key))?;
    let pictures: Vec<String> = pictures.iter().map(|png| format!("\"{}\"", base64(png))).collect();
    let page = PAGE
        .replace("{{KIT}}", &kit.digest)
        .replace("{{FORMAT}}", &FORMAT.to_string())
        .replace("{{IMAGES}}", &pictures.join(",\n"));
    write_atomically(&kit.page, page.as_bytes())?;
    Ok(kit)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_order_is_balanced_and_repeats_come_late_enough() {
        for seed in 0..30 {
            let order = order(20, 8, seed);
            assert_eq!(order.len(), 48);
            for kind in [Kind::Real, Kind::Generated] {
                let firsts: HashSet<usize> = order
                    .iter()
                    .filter(|s| s.kind == kind && s.repeats.is_none())
                    .map(|s| s.number)
                    .collect();
                assert_eq!(firsts.len(), 20);
                assert_eq!(
                    order.iter().filter(|s| s.kind == kind && s.repeats.is_some()).count(),
                    4
                );
            }
            for (at, showing) in order.iter().enumerate() {
                let Some(first) = showing.repeats else { continue };
                assert!(order[first].number == showing.number && order[first].kind == showing.kind);
                assert!(first + APART < at, "seed {seed}: {first} again at {at}");
            }
        }
        assert_eq!(order(20, 8, 3), order(20, 8, 3));
        assert_ne!(order(20, 8, 3), order(20, 8, 4));
    }

    #[test]
    fn the_smallest_kit_has_an_order_too() {
        let order = order(1, 2, 1);
        assert_eq!(order.len(), 4);
        assert!(
            order
                .iter()
                .enumerate()
                .all(|(at, showing)| showing.repeats.is_none_or(|first| first < at))
        );
    }
}

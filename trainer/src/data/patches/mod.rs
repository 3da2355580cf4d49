//! Square patches around what is marked in the images of a data set.
//!
//! A mark is a box, in a Pascal VOC annotation ([`voc`]) or in columns of the manifest, or a connected part of a mask
//! ([`region`]). Each becomes a picture of its own, with the patient, group, source and provenance of its image: a split
//! keeps the patches of a patient together.

pub mod region;
pub mod voc;

use std::path::{Path, PathBuf};

use imaging::decode::{Limits, first_frame};
use imaging::grey::{GreyImage, Pixels};
use imaging::preprocess::{CropRule, GreyRange, PreprocessSpec};
use ndarray::{Axis, s};
use sha2::{Digest, Sha256};

use super::check::parallel;
use super::error::DataError;
use super::manifest::{Manifest, Row, hex};
use super::phantom::files::{self, Depth};
use super::table;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use region::{Frame, Region};

/// Images that a message names.
const NAMED: usize = 8;

/// Where the marks stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marks {
    /// In an XML file of the image's name: beside it, or in this folder. The object's name is the label.
    Voc {
        /// The folder, if they lie in one of their own.
        folder: Option<PathBuf>,
    },
    /// In the columns `xmin`, `ymin`, `xmax`, `ymax` of the manifest, counted from 0, the last row and column included.
    /// The row's label is the label.
    Boxes,
    /// In the pictures of the column `mask`, white where something is. The row's label is the label.
    Masks,
}

/// Which patches.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchRequest {
    /// Folder to make; one that is there must be empty.
    pub out: PathBuf,
    /// Where the marks stand.
    pub marks: Marks,
    /// Side of the patches in pixels.
    pub size: u32,
    /// Side of the square that is cut, relative to the longer side of the box; 1 and more.
    pub context: f64,
    /// Which grey values are black and white.
    pub grey: GreyRange,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchSummary {
    /// The manifest.
    pub manifest: PathBuf,
    /// Number of patches by label.
    pub counts: std::collections::BTreeMap<String, usize>,
    /// Images in which nothing is marked.
    pub unmarked: usize,
}

/// Why no patches were written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The data set, or the folder to write.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Some images or marks cannot be used.
    #[error(
        "{count} of {total} images or their marks cannot be used, and nothing was written; mend them or take their rows \
         out: {named}"
    )]
    Unusable {
        /// How many.
        count: usize,
        /// Images in all.
        total: usize,
        /// The first of them, with what is wrong.
        named: String,
    },
    /// No image has a mark.
    #[error("{}: nothing is marked in any of the {total} images; {hint}", path.display())]
    NothingMarked {
        /// The data set.
        path: PathBuf,
        /// Images in all.
        total: usize,
        /// Where marks were looked for.
        hint: &'static str,
    },
    /// A setting out of its range.
    #[error(transparent)]
    Preprocess(#[from] imaging::preprocess::PreprocessError),
}

/// A patch that is not yet written.
struct Cut {
    label: String,
    region: Region,
    frame: Frame,
    png: Vec<u8>,
}

/// All patches of an image.
struct OfImage {
    cuts: Vec<Cut>,
    group: String,
    digest: String,
}

const COLUMNS: [&str; 18] = [
    "path",
    "label",
    "patient_id",
    "source",
    "group_id",
    "sha256",
    "provenance",
    "width",
    "height",
    "made_from",
    "made_from_sha256",
    "xmin",
    "ymin",
    "xmax",
    "ymax",
    "left",
    "top",
    "side",
];

/// Writes `out/images/*.png` and `out/manifest.csv`; nothing if an image or a mark cannot be used. The columns
/// `xmin` to `ymax` are the box in the image that a patch was made from, `left`, `top` and `side` the square.
///
/// # Errors
/// [`PatchError`].
pub fn write(
    manifest: &Manifest,
    request: &PatchRequest,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<PatchSummary, PatchError> {
    let spec = PreprocessSpec {
        crop: CropRule::FitPadded,
        grey: request.grey,
        ..PreprocessSpec::grey(request.size)
    };
    spec.check()?;
    let total = manifest.rows.len();
    progress.begin("cutting patches", total as u64, "image");
    let images = parallel(total, interrupt, |i| {
        let row = &manifest.rows[i];
        let cut = of_image(manifest, row, request, &spec);
        progress.advance(1, &row.label);
        cut
    })?;
    progress.end();
    let images = usable(manifest, images)?;
    if images.iter().all(|image| image.cuts.is_empty()) {
        let (path, hint) = (manifest.origin.clone(), request.marks.hint());
        return Err(PatchError::NothingMarked { path, total, hint });
    }
    Ok(save(manifest, &images, request)?)
}

impl Marks {
    fn hint(&self) -> &'static str {
        match self {
            Self::Voc { .. } => "an annotation has the name of its image and ends in .xml",
            Self::Boxes => "boxes stand in the columns xmin, ymin, xmax and ymax",
            Self::Masks => "masks are named in the column `mask` and are white where something is",
        }
    }

    /// Labels and boxes of an image of this height and width.
    fn of(&self, manifest: &Manifest, row: &Row, shape: [usize; 2]) -> Result<Vec<(String, Region)>, String> {
        let marks = match self {
            Self::Voc { folder } => annotated(&manifest.file(row), folder.as_deref(), shape)?,
            Self::Boxes => {
                let region = region::of_columns(&row.extra)?;
                region.map(|region| (row.label.clone(), region)).into_iter().collect()
            }
            Self::Masks => masked(manifest, row, shape)?,
        };
        marks.iter().try_for_each(|(_, region)| region.check(shape))?;
        Ok(marks)
    }
}

fn annotated(
    image: &Path,
    folder: Option<&Path>,
    [height, width]: [usize; 2],
) -> Result<Vec<(String, Region)>, String> {
    let beside = image.with_extension("xml");
    let path = match (folder, beside.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => beside,
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let annotation = voc::parse(&text).map_err(|reason| format!("{}: {reason}", path.display()))?;
    if annotation.size != [0, 0] && annotation.size != [width, height] {
        let [wide, high] = annotation.size;
        return Err(format!(
            "{} is of an image of {wide} x {high} pixels, and this one has {width} x {height}",
            path.display()
        ));
    }
    Ok(annotation.objects)
}

fn masked(manifest: &Manifest, row: &Row, [height, width]: [usize; 2]) -> Result<Vec<(String, Region)>, String> {
    let Some(name) = row.extra.get("mask").filter(|name| !name.is_empty()) else {
        return Ok(Vec::new());
    };
    let mask = first_frame(&manifest.root.join(name), &Limits::default()).map_err(|error| error.to_string())?;
    if mask.pixels.shape() != [height, width] {
        let (wide, high) = (mask.width(), mask.height());
        return Err(format!(
            "the mask {name} has {wide} x {high} pixels, and the image {width} x {height}"
        ));
    }
    let regions = region::of_mask(&mask.display());
    Ok(regions.into_iter().map(|region| (row.label.clone(), region)).collect())
}

fn of_image(manifest: &Manifest, row: &Row, request: &PatchRequest, spec: &PreprocessSpec) -> Result<OfImage, String> {
    let file = manifest.file(row);
    let image = first_frame(&file, &Limits::default()).map_err(|error| error.to_string())?;
    let shape = image.pixels.shape();
    let cuts = request
        .marks
        .of(manifest, row, shape)?
        .into_iter()
        .map(|(label, region)| {
            let frame = region.frame(request.context, shape);
            Ok(Cut {
                label,
                region,
                frame,
                png: cut(&image, frame, spec, &file)?,
            })
        });
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(OfImage {
        cuts: cuts.collect::<Result<_, String>>()?,
        group: group(row, &image),
        digest: hex(&Sha256::digest(bytes)),
    })
}

/// What a split must not cut: the row's group or patient, else the DICOM study, else the image.
fn group(row: &Row, image: &GreyImage) -> String {
    let known = row.group_id.clone().or_else(|| row.patient_id.clone());
    known
        .or_else(|| image.meta.study_uid.clone())
        .unwrap_or_else(|| row.path.clone())
}

fn cut(image: &GreyImage, frame: Frame, spec: &PreprocessSpec, path: &Path) -> Result<Vec<u8>, String> {
    let Frame {
        left,
        top,
        width,
        height,
    } = frame;
    let part = s![top..top + height, left..left + width];
    let pixels = match &image.pixels {
        Pixels::U8(pixels) => Pixels::U8(pixels.slice(part).to_owned()),
        Pixels::U16(pixels) => Pixels::U16(pixels.slice(part).to_owned()),
        Pixels::I16(pixels) => Pixels::I16(pixels.slice(part).to_owned()),
    };
    let part = GreyImage {
        pixels,
        modality_lut: image.modality_lut.clone(),
        voi: image.voi.clone(),
        photometric: image.photometric,
        bits_stored: image.bits_stored,
        meta: image.meta.clone(),
    };
    let tensor = spec.apply(&part).map_err(|error| error.to_string())?;
    let picture = tensor.index_axis(Axis(0), 0).mapv(|value| (value + 1.0) / 2.0);
    files::encode(&picture, Depth::Eight, path).map_err(|error| error.to_string())
}

fn usable(manifest: &Manifest, images: Vec<Result<OfImage, String>>) -> Result<Vec<OfImage>, PatchError> {
    let total = images.len();
    let faults = manifest.rows.iter().zip(&images).filter_map(|(row, image)| {
        let reason = image.as_ref().err()?;
        Some(format!("{}: {reason}", row.path))
    });
    let faults: Vec<String> = faults.collect();
    if faults.is_empty() {
        return Ok(images.into_iter().flatten().collect());
    }
    let mut named = faults[..faults.len().min(NAMED)].join("; ");
    if faults.len() > NAMED {
        named += &format!("; and {} more", faults.len() - NAMED);
    }
    let count = faults.len();
    Err(PatchError::Unusable { count, total, named })
}

fn save(manifest: &Manifest, images: &[OfImage], request: &PatchRequest) -> Result<PatchSummary, DataError> {
    files::fresh_folders(&request.out, &["images"])?;
    let mut lines = Vec::new();
    let mut counts = std::collections::BTreeMap::new();
    for (row, image) in manifest.rows.iter().zip(images) {
        for cut in &image.cuts {
            let path = format!("images/{:06}.png", lines.len() + 1);
            let file = request.out.join(&path);
            std::fs::write(&file, &cut.png).map_err(DataError::io(&file))?;
            lines.push(line(row, image, cut, path, request.size));
            *counts.entry(cut.label.clone()).or_insert(0) += 1;
        }
    }
    let path = request.out.join("manifest.csv");
    table::write(&path, &COLUMNS, &lines)?;
    Ok(PatchSummary {
        manifest: path,
        counts,
        unmarked: images.iter().filter(|image| image.cuts.is_empty()).count(),
    })
}

fn line(row: &Row, image: &OfImage, cut: &Cut, path: String, size: u32) -> Vec<String> {
    let Region { xmin, ymin, xmax, ymax } = cut.region;
    let Frame {
        left,
        top,
        width,
        height,
    } = cut.frame;
    let mut line = vec![
        path,
        cut.label.clone(),
        row.patient_id.clone().unwrap_or_default(),
        row.source.clone(),
        image.group.clone(),
        hex(&Sha256::digest(&cut.png)),
        row.provenance.to_string(),
        size.to_string(),
        size.to_string(),
        row.path.clone(),
        image.digest.clone(),
    ];
    let places = [xmin, ymin, xmax, ymax, left, top, width.max(height)];
    line.extend(places.map(|place| place.to_string()));
    line
}

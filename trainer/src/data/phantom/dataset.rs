//! Whole sets of phantoms: pictures, masks and a manifest.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::anatomy::Side;
use super::files::{self, Depth};
use super::lesion::{LesionKind, LesionSpec, Zone};
use super::set::{self, Item, NORMAL, Place, SetSummary};
use super::{Phantom, Request, dicom, render};
use crate::data::error::DataError;
use crate::data::manifest::hex;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Which set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetRequest {
    /// Folder to make; one that is there must be empty.
    pub out: PathBuf,
    /// Images of each class, `normal` included.
    pub per_class: usize,
    /// The abnormal classes.
    pub kinds: Vec<LesionKind>,
    /// Seed of the set.
    pub seed: u64,
    /// Side of the pictures in pixels.
    pub size: usize,
    /// Greatest share of a picture that a lesion fills.
    pub max_area: Option<f32>,
    /// Lung and third of it in which the lesions lie; drawn for each if `None`.
    pub place: Option<(Side, Zone)>,
    /// Factor on the lesions' opacity.
    pub strength: f32,
    /// Grey steps.
    pub depth: Depth,
    /// Whether each picture is also written as a DX DICOM file.
    pub dicom: bool,
}

const COLUMNS: [&str; 21] = [
    "path",
    "label",
    "patient_id",
    "source",
    "group_id",
    "sha256",
    "provenance",
    "width",
    "height",
    "age",
    "view",
    "mask",
    "dicom",
    "lesion_x",
    "lesion_y",
    "lesion_radius",
    "lesion_area",
    "lesion_opacity",
    "lesion_patches",
    "lesion_side",
    "lesion_zone",
];

/// Writes `out/images/*.png`, `out/masks/*.png` (white where the lesion is), `out/dicom/*.dcm` if
/// wanted, and `out/manifest.csv`. The same request writes the same bytes.
///
/// # Errors
/// The folder holds something, a file cannot be written, or somebody asked to stop.
pub fn write(request: &SetRequest, progress: &dyn Progress, interrupt: &Interrupt) -> Result<SetSummary, DataError> {
    let items: Vec<_> = plan(request).collect();
    let folders = ["images", "masks", "dicom"];
    let place = Place {
        out: &request.out,
        folders: if request.dicom { &folders[..] } else { &folders[..2] },
        columns: &COLUMNS,
    };
    let what = ["drawing phantoms", "image"];
    set::write(&place, &items, what, progress, interrupt, |item| {
        write_item(request, item)
    })
}

fn plan(set: &SetRequest) -> impl Iterator<Item = Item<Request>> {
    let classes = std::iter::once(None).chain(set.kinds.iter().copied().map(Some));
    classes.flat_map(move |kind| {
        let label = kind.map_or(NORMAL, LesionKind::name);
        let number = kind.map_or(0, |kind| 1 + kind as u64);
        let lesion = kind.map(|kind| LesionSpec {
            kind,
            place: set.place,
            strength: set.strength,
            max_area: set.max_area,
        });
        set::items(label, number, set.per_class, move |patient, image| Request {
            seed: set.seed,
            patient,
            image,
            size: set.size,
            lesion,
        })
    })
}

/// Writes the files of one image and gives its line of the manifest.
fn write_item(set: &SetRequest, item: &Item<Request>) -> Result<Vec<String>, DataError> {
    let phantom = render(&item.request);
    let relative = |folder: &str, extension: &str| format!("{folder}/{}.{extension}", item.name);
    let path = relative("images", "png");
    let bytes = files::write_png(&phantom.picture, set.depth, &set.out.join(&path))?;
    let mut mask = String::new();
    if let Some((lesion, _)) = &phantom.lesion {
        mask = relative("masks", "png");
        files::write_mask(lesion, &set.out.join(&mask))?;
    }
    let mut dicom_path = String::new();
    if set.dicom {
        dicom_path = relative("dicom", "dcm");
        dicom::write(
            &phantom,
            &item.patient,
            &item.name,
            set.seed,
            &set.out.join(&dicom_path),
        )?;
    }
    let size = item.request.size.to_string();
    let mut line = vec![
        path,
        item.label.to_owned(),
        item.patient.clone(),
        phantom.machine.to_owned(),
        item.patient.clone(),
        hex(&Sha256::digest(&bytes)),
        "phantom".to_owned(),
        size.clone(),
        size,
        phantom.age_years.to_string(),
        phantom.view.to_owned(),
        mask,
        dicom_path,
    ];
    line.extend(lesion_columns(&phantom));
    Ok(line)
}

fn lesion_columns(phantom: &Phantom) -> Vec<String> {
    let Some((_, lesion)) = &phantom.lesion else {
        return vec![String::new(); 8];
    };
    let zone = format!("{:?}", lesion.zone).to_lowercase();
    vec![
        format!("{:.1}", lesion.centre_px[0]),
        format!("{:.1}", lesion.centre_px[1]),
        format!("{:.1}", lesion.radius_px),
        format!("{:.5}", lesion.area_fraction),
        format!("{:.3}", lesion.opacity),
        lesion.patches.to_string(),
        lesion.side.clone(),
        zone,
    ]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{Dataset, Manifest, Provenance, Split};
    use crate::progress::Silent;
    use crate::recipes::{DataSection, SplitSection};
    use imaging::decode::{Limits, first_frame};

    fn request(out: &Path) -> SetRequest {
        SetRequest {
            out: out.to_owned(),
            per_class: 12,
            kinds: vec![LesionKind::Consolidation, LesionKind::Nodule],
            seed: 4,
            size: 64,
            max_area: Some(0.06),
            place: None,
            strength: 1.0,
            depth: Depth::Eight,
            dicom: false,
        }
    }

    #[test]
    fn a_set_is_a_data_set_with_masks_patients_and_true_digests() {
        let folder = tempfile::tempdir().unwrap();
        let summary = write(&request(folder.path()), &Silent, &Interrupt::new()).unwrap();
        assert_eq!(summary.images, 36);
        let manifest = Manifest::load(folder.path()).unwrap();
        assert!(manifest.rows.iter().all(|row| row.provenance == Provenance::Phantom));
        let report = crate::data::check::check(&manifest, true, &Silent, &Interrupt::new()).unwrap();
        assert!(
            !report.must_be_fixed() && report.usable == 36 && report.crossings.is_empty(),
            "{report:?}"
        );
        assert!(report.near_duplicates.is_empty(), "whose a phantom is is known");
        let patients: std::collections::BTreeSet<_> = manifest.rows.iter().map(|row| &row.patient_id).collect();
        assert_eq!(patients.len(), 24);
        for row in manifest.rows.iter().filter(|row| row.label != NORMAL) {
            let mask = first_frame(&folder.path().join(&row.extra["mask"]), &Limits::default())
                .unwrap()
                .display();
            let area = mask.iter().filter(|value| **value > 0.5).count() as f32 / mask.len() as f32;
            let said: f32 = row.extra["lesion_area"].parse().unwrap();
            assert!(
                area > 0.0 && area <= 0.06 && (area - said).abs() < 1e-4,
                "{}: {area} {said}",
                row.path
            );
        }
        let dataset = Dataset::load(folder.path(), &DataSection::default()).unwrap();
        Split::draw(&dataset, &SplitSection::default()).unwrap();
    }

    #[test]
    fn a_folder_that_holds_something_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("manifest.csv");
        std::fs::write(&precious, "path,label\n").unwrap();
        let error = write(&request(folder.path()), &Silent, &Interrupt::new()).unwrap_err();
        assert!(matches!(error, DataError::NotEmpty { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "path,label\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn lesions_lie_where_the_request_says() {
        let folder = tempfile::tempdir().unwrap();
        let request = SetRequest {
            place: Some((Side::Left, Zone::Upper)),
            ..request(folder.path())
        };
        write(&request, &Silent, &Interrupt::new()).unwrap();
        let rows = Manifest::load(folder.path()).unwrap().rows;
        let lesions: Vec<_> = rows.iter().filter(|row| row.label != NORMAL).collect();
        assert_eq!(lesions.len(), 24);
        for row in lesions {
            assert_eq!(row.extra["lesion_side"], "left", "{}", row.path);
            assert_eq!(row.extra["lesion_zone"], "upper", "{}", row.path);
        }
    }

    #[test]
    fn the_same_request_writes_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &two] {
            write(
                &SetRequest {
                    per_class: 3,
                    ..request(folder.path())
                },
                &Silent,
                &Interrupt::new(),
            )
            .unwrap();
        }
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("manifest.csv")).unwrap();
        assert_eq!(read(&one), read(&two));
    }

    #[test]
    fn sixteen_bits_and_dicom_hold_the_same_picture() {
        let folder = tempfile::tempdir().unwrap();
        let request = SetRequest {
            per_class: 1,
            depth: Depth::Sixteen,
            dicom: true,
            ..request(folder.path())
        };
        write(&request, &Silent, &Interrupt::new()).unwrap();
        for row in Manifest::load(folder.path()).unwrap().rows {
            let png = first_frame(&folder.path().join(&row.path), &Limits::default()).unwrap();
            let dicom = first_frame(&folder.path().join(&row.extra["dicom"]), &Limits::default()).unwrap();
            assert_eq!(png.bits_stored, 16);
            let difference = imaging::grey::greatest_difference(&png.display(), &dicom.display());
            assert!(difference < 1.0 / 2000.0, "{}: {difference}", row.path);
            assert_eq!(dicom.meta.modality.as_deref(), Some("DX"));
            assert_eq!(dicom.meta.body_part.as_deref(), Some("CHEST"));
            assert_eq!(dicom.meta.view.as_deref(), Some(row.extra["view"].as_str()));
            assert_eq!(dicom.meta.age_years, row.extra["age"].parse().ok());
        }
    }
}

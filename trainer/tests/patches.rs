//! Patches from boxes and masks: of phantoms, of the annotated CT series of the development data, and what is refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imaging::decode::{Limits, first_frame};
use imaging::preprocess::GreyRange;
use trainer::data::patches::{Marks, PatchError, PatchRequest, PatchSummary, write};
use trainer::data::phantom::sign::Sign;
use trainer::data::phantom::sign::dataset::{self, SignSetRequest};
use trainer::data::{Manifest, Provenance};
use trainer::interrupt::Interrupt;
use trainer::progress::Silent;

fn request(out: &Path, marks: Marks) -> PatchRequest {
    PatchRequest {
        out: out.to_owned(),
        marks,
        size: 64,
        context: 1.5,
        grey: GreyRange::Display,
    }
}

fn cut(data: &Path, request: &PatchRequest) -> Result<PatchSummary, PatchError> {
    write(&Manifest::load(data).unwrap(), request, &Silent, &Interrupt::new())
}

/// Phantoms, four of each of two signs and of normal lung.
fn phantoms(out: &Path) -> PathBuf {
    let request = SignSetRequest {
        out: out.join("phantoms"),
        per_class: 4,
        signs: vec![Sign::Calcification, Sign::Lobulation],
        seed: 9,
        size: 128,
    };
    dataset::write(&request, &Silent, &Interrupt::new()).unwrap().manifest
}

#[test]
fn boxes_and_masks_of_phantoms_give_the_same_patches_with_their_patients() {
    let folder = tempfile::tempdir().unwrap();
    let data = phantoms(folder.path());
    let mut digests = Vec::new();
    for (name, marks) in [("boxes", Marks::Boxes), ("masks", Marks::Masks)] {
        let out = folder.path().join(name);
        let summary = cut(&data, &request(&out, marks)).unwrap();
        assert_eq!((summary.unmarked, summary.counts["calcification"]), (4, 4), "{name}");
        let (made, whole) = (Manifest::load(&out).unwrap(), Manifest::load(&data).unwrap());
        for row in &made.rows {
            let origin = whole
                .rows
                .iter()
                .find(|whole| whole.path == row.extra["made_from"])
                .unwrap();
            assert_eq!(Some(&row.extra["made_from_sha256"]), origin.sha256.as_ref());
            assert_eq!((&row.label, &row.source), (&origin.label, &origin.source));
            assert_eq!((&row.patient_id, &row.group_id), (&origin.patient_id, &origin.group_id));
            assert_eq!(row.provenance, Provenance::Phantom);
            let picture = first_frame(&made.file(row), &Limits::default()).unwrap();
            assert_eq!(picture.pixels.shape(), [64, 64]);
        }
        digests.push(
            made.rows
                .into_iter()
                .map(|row| (row.path, row.sha256))
                .collect::<BTreeSet<_>>(),
        );
    }
    // These masks are of one piece.
    assert_eq!(digests[0], digests[1]);
}

/// A patch of the whole picture without context is the picture.
#[test]
fn a_patch_is_the_part_of_the_image_under_its_square() {
    let folder = tempfile::tempdir().unwrap();
    let image = image::GrayImage::from_fn(100, 80, |x, y| image::Luma([(x * 2 + y % 3) as u8]));
    image.save(folder.path().join("a.png")).unwrap();
    let data = folder.path().join("manifest.csv");
    std::fs::write(&data, "path,label,xmin,ymin,xmax,ymax\na.png,x,20,8,83,71\n").unwrap();
    let out = folder.path().join("out");
    let request = PatchRequest {
        context: 1.0,
        ..request(&out, Marks::Boxes)
    };
    cut(&data, &request).unwrap();
    let patch = first_frame(&out.join("images/000001.png"), &Limits::default()).unwrap();
    for (y, x) in [(0, 0), (63, 63), (10, 40)] {
        let expected = i32::from(image.get_pixel(x as u32 + 20, y as u32 + 8).0[0]);
        assert_eq!(patch.pixels.value(y, x), expected, "{x}, {y}");
    }
    let row = &Manifest::load(&out).unwrap().rows[0];
    let square = ["left", "top", "side"].map(|name| row.extra[name].clone());
    assert_eq!(square, ["20", "8", "64"]);
    assert_eq!(row.group_id.as_deref(), Some("a.png"), "whose it is is not known");
}

#[test]
fn what_cannot_be_used_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let grey = image::GrayImage::from_fn(40, 30, |x, y| image::Luma([(x + y) as u8]));
    for name in ["a.png", "mask.png"] {
        grey.save(folder.path().join(name)).unwrap();
    }
    image::GrayImage::new(20, 20)
        .save(folder.path().join("small.png"))
        .unwrap();
    let out = folder.path().join("out");
    let refusal = |columns: &str, line: &str, marks: Marks| {
        let data = folder.path().join("manifest.csv");
        std::fs::write(&data, format!("path,label,{columns}\n{line}\n")).unwrap();
        let error = cut(&data, &request(&out, marks)).unwrap_err();
        assert!(!out.exists(), "something was written");
        error.to_string()
    };
    let boxes = "xmin,ymin,xmax,ymax";
    let message = refusal(boxes, "a.png,x,1,2,45,8", Marks::Boxes);
    assert!(
        message.contains("a.png: the box x 1 to 45, y 2 to 8") && message.contains("40 x 30"),
        "{message}"
    );
    let message = refusal(boxes, "gone.png,x,1,2,5,8", Marks::Boxes);
    assert!(message.contains("gone.png"), "{message}");
    let message = refusal(boxes, "a.png,x,1,2,5,", Marks::Boxes);
    assert!(message.contains("`ymax` is ``"), "{message}");
    let message = refusal("mask", "a.png,x,small.png", Marks::Masks);
    assert!(message.contains("20 x 20") && message.contains("40 x 30"), "{message}");
    let message = refusal("mask", "a.png,x,", Marks::Masks);
    assert!(
        message.contains("nothing is marked in any of the 1 images"),
        "{message}"
    );
    let xml = |size: &str| format!("<annotation>{size}<object><name>A</name></object></annotation>");
    std::fs::write(folder.path().join("a.xml"), xml("")).unwrap();
    let message = refusal("age", "a.png,x,", Marks::Voc { folder: None });
    assert!(message.contains("a.xml: object 1: has no <bndbox>"), "{message}");
    let size = "<size><width>512</width><height>512</height></size>";
    std::fs::write(
        folder.path().join("a.xml"),
        xml(size).replace(
            "</object>",
            "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>",
        ),
    )
    .unwrap();
    let message = refusal("age", "a.png,x,", Marks::Voc { folder: None });
    assert!(
        message.contains("an image of 512 x 512 pixels, and this one has 40 x 30"),
        "{message}"
    );
}

#[test]
fn a_folder_that_holds_something_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = phantoms(folder.path());
    let out = data.parent().unwrap().to_owned();
    let before = std::fs::read(&data).unwrap();
    let error = cut(&data, &request(&out, Marks::Boxes)).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    assert_eq!(std::fs::read(&data).unwrap(), before);
}

/// The Lung-PET-CT-Dx slices with their tumour boxes, in a lung window.
#[test]
fn annotated_dicom_slices_give_patches_of_one_study() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("SCANSIDE_DATA").map_or_else(beside, PathBuf::from);
    let data = root.join("dicom/ct_series_lungpetct");
    if !data.is_dir() {
        eprintln!("skipped: no development data at {}; set SCANSIDE_DATA", data.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let window = GreyRange::Window {
        center: -400.0,
        width: 1500.0,
    };
    let request = PatchRequest {
        grey: window,
        ..request(&out, Marks::Voc { folder: None })
    };
    let summary = cut(&data, &request).unwrap();
    assert_eq!(summary.counts.keys().collect::<Vec<_>>(), ["A"]);
    let made = Manifest::load(&out).unwrap();
    assert!(made.rows.len() >= 9, "{} patches", made.rows.len());
    let groups: BTreeSet<_> = made.rows.iter().map(|row| &row.group_id).collect();
    assert_eq!(groups.len(), 1, "slices of one study must not be parted: {groups:?}");
    for row in &made.rows {
        let grey = first_frame(&made.file(row), &Limits::default()).unwrap().display();
        let middle = grey.slice(ndarray::s![24..40, 24..40]).mean().unwrap();
        // The tumour is soft tissue (0.78 in this window), and there is lung around it.
        assert!((0.6..0.95).contains(&middle), "{}: {middle}", row.path);
        assert!(grey.iter().filter(|grey| **grey < 0.35).count() > 100, "{}", row.path);
    }
}

//! Phantoms of the nine common imaging signs: what each must show, measured on the pictures, and whole sets.

use std::collections::BTreeSet;

use imaging::decode::{Limits, first_frame};
use ndarray::Array2;
use trainer::data::check::check;
use trainer::data::phantom::sign::dataset::{SignSetRequest, write};
use trainer::data::phantom::sign::{Patch, Request, Sign, WINDOW_HU, render};
use trainer::data::{Dataset, Manifest, Provenance, Split};
use trainer::interrupt::Interrupt;
use trainer::progress::Silent;
use trainer::recipes::{DataSection, SplitSection};

const PATCHES: u64 = 24;

fn patch(sign: Option<Sign>, patient: u64) -> Patch {
    render(&Request {
        seed: 3,
        patient,
        image: 0,
        size: 64,
        sign,
    })
}

/// The sign's pixels in Hounsfield units.
fn inside(patch: &Patch) -> Vec<f32> {
    let [black, white] = WINDOW_HU;
    let pixels = patch.picture.iter().zip(&patch.mask).filter(|(_, inside)| **inside);
    pixels.map(|(grey, _)| black + grey * (white - black)).collect()
}

/// Share of the sign's pixels within these Hounsfield units, over many patches.
fn share(sign: Sign, from: f32, to: f32) -> f32 {
    let pixels: Vec<f32> = (0..PATCHES)
        .flat_map(|patient| inside(&patch(Some(sign), patient)))
        .collect();
    let found = pixels.iter().filter(|hu| (from..to).contains(hu)).count();
    found as f32 / pixels.len() as f32
}

/// Perimeter squared over area, of which a disc has the least; by the pixels' sides.
fn raggedness(sign: Sign) -> f32 {
    let of = |mask: &Array2<bool>| {
        let at = |y: usize, x: usize| mask.get([y, x]).copied().unwrap_or(false);
        let mut sides = 0.0;
        for ((y, x), inside) in mask.indexed_iter() {
            sides += f32::from(u8::from(*inside != at(y + 1, x))) + f32::from(u8::from(*inside != at(y, x + 1)));
        }
        sides * sides / mask.iter().filter(|inside| **inside).count() as f32
    };
    (0..PATCHES)
        .map(|patient| of(&patch(Some(sign), patient).mask))
        .sum::<f32>()
        / PATCHES as f32
}

#[test]
fn the_same_request_gives_the_same_patch_and_another_seed_another() {
    for sign in [None, Some(Sign::Spiculation), Some(Sign::ObstructivePneumonia)] {
        let (one, other) = (patch(sign, 4), patch(sign, 4));
        assert!(one.picture == other.picture && one.mask == other.mask);
        assert_ne!(one.picture, patch(sign, 5).picture);
    }
}

#[test]
fn a_patch_without_a_sign_is_lung_and_has_an_empty_mask() {
    for patient in 0..PATCHES {
        let patch = patch(None, patient);
        assert!(patch.mask.iter().all(|inside| !inside));
        let dark = patch.picture.iter().filter(|grey| **grey < 0.3).count();
        assert!(dark > 64 * 64 / 2, "patient {patient}: {dark} dark pixels");
    }
}

#[test]
fn every_sign_is_there_and_nothing_but_the_sign_changes() {
    for sign in Sign::ALL {
        for patient in 0..PATCHES {
            let (ill, healthy) = (patch(Some(sign), patient), patch(None, patient));
            let area = ill.mask.iter().filter(|inside| **inside).count();
            assert!((60..3000).contains(&area), "{sign:?} {patient}: {area} pixels");
            if sign == Sign::PleuralDragging {
                continue;
            }
            // The edge of a sign is softer than its mask.
            let far = |(y, x): (usize, usize)| {
                let near = ndarray::s![
                    y.saturating_sub(6)..(y + 7).min(64),
                    x.saturating_sub(6)..(x + 7).min(64)
                ];
                ill.mask.slice(near).iter().all(|inside| !inside)
            };
            let changed = ill
                .picture
                .indexed_iter()
                .filter(|(place, grey)| far(*place) && (*grey - healthy.picture[*place]).abs() > 1e-3);
            assert_eq!(changed.count(), 0, "{sign:?} {patient}");
        }
    }
}

/// Densities as radiology describes them: ground glass is denser than lung and far less than soft tissue, calcium is
/// denser than soft tissue, cavities and bronchi hold air, the others neither.
#[test]
fn densities_are_those_of_the_sign() {
    let (air, hazy, soft, calcium) = ((-1150.0, -780.0), (-780.0, -300.0), (-200.0, 150.0), (280.0, 351.0));
    let of = |sign, range: (f32, f32)| share(sign, range.0, range.1);
    assert!(of(Sign::GroundGlassOpacity, hazy) > 0.75);
    assert!(of(Sign::GroundGlassOpacity, soft) < 0.12);
    assert!(of(Sign::Calcification, calcium) > 0.15);
    assert!(of(Sign::CavityVacuoles, air) > 0.12);
    assert!(of(Sign::AirBronchogram, air) > 0.02 && of(Sign::AirBronchogram, soft) > 0.55);
    for sign in [Sign::Lobulation, Sign::BronchialMucusPlugs] {
        assert!(of(sign, soft) > 0.75, "{sign:?}: {}", of(sign, soft));
    }
    for sign in Sign::ALL.into_iter().filter(|sign| *sign != Sign::Calcification) {
        assert!(of(sign, calcium) < 0.02, "{sign:?}: {}", of(sign, calcium));
    }
    for sign in [Sign::Lobulation, Sign::Calcification, Sign::BronchialMucusPlugs] {
        assert!(of(sign, air) < 0.01, "{sign:?}: {}", of(sign, air));
    }
}

#[test]
fn outlines_are_those_of_the_sign() {
    let smooth = raggedness(Sign::Calcification);
    // A disc has 64 / pi.
    assert!(smooth < 22.0, "{smooth}");
    assert!(raggedness(Sign::Lobulation) > 1.1 * smooth);
    assert!(raggedness(Sign::Spiculation) > 2.0 * smooth);
    assert!(raggedness(Sign::BronchialMucusPlugs) > 1.8 * smooth);
}

fn request(out: &std::path::Path, per_class: usize) -> SignSetRequest {
    SignSetRequest {
        out: out.to_owned(),
        per_class,
        signs: Sign::ALL.to_vec(),
        seed: 2,
        size: 64,
    }
}

#[test]
fn a_set_is_a_data_set_with_patients_masks_and_boxes() {
    let folder = tempfile::tempdir().unwrap();
    let summary = write(&request(folder.path(), 12), &Silent, &Interrupt::new()).unwrap();
    assert_eq!((summary.images, summary.labels.len()), (120, 10));
    let manifest = Manifest::load(folder.path()).unwrap();
    let report = check(&manifest, false, &Silent, &Interrupt::new()).unwrap();
    assert!(!report.must_be_fixed() && report.usable == 120, "{report:?}");
    assert!(report.crossings.is_empty());
    let patients: BTreeSet<_> = manifest.rows.iter().map(|row| &row.group_id).collect();
    assert_eq!(patients.len(), 80);
    for row in &manifest.rows {
        assert_eq!(row.provenance, Provenance::Phantom);
        let side = |name: &str| row.extra[name].parse::<usize>();
        if row.label == "normal" {
            assert!(row.extra["mask"].is_empty() && side("xmin").is_err());
            continue;
        }
        let mask = first_frame(&folder.path().join(&row.extra["mask"]), &Limits::default())
            .unwrap()
            .display();
        let rows = side("ymin").unwrap()..=side("ymax").unwrap();
        let columns = side("xmin").unwrap()..=side("xmax").unwrap();
        let white = mask.indexed_iter().filter(|(_, grey)| **grey > 0.5);
        assert!(white.clone().count() > 0);
        for ((y, x), _) in white {
            assert!(rows.contains(&y) && columns.contains(&x), "{}: {x} {y}", row.path);
        }
    }
    let dataset = Dataset::load(folder.path(), &DataSection::default()).unwrap();
    Split::draw(&dataset, &SplitSection::default()).unwrap();
}

#[test]
fn the_same_request_writes_the_same_bytes_and_fewer_signs_change_none() {
    let read = |request: SignSetRequest| {
        write(&request, &Silent, &Interrupt::new()).unwrap();
        let rows = Manifest::load(&request.out).unwrap().rows;
        rows.into_iter()
            .map(|row| (row.path, row.sha256))
            .collect::<BTreeSet<_>>()
    };
    let [one, two, three] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let all = read(request(one.path(), 3));
    assert_eq!(all, read(request(two.path(), 3)));
    let few = read(SignSetRequest {
        signs: vec![Sign::Calcification],
        ..request(three.path(), 3)
    });
    assert!(few.len() == 6 && few.is_subset(&all));
}

/// The picture in docs/results shows what is drawn today: a row without a sign, then one row a sign.
#[test]
fn the_sheet_in_the_documentation_is_of_these_phantoms() {
    const COLUMNS: u64 = 8;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let classes = std::iter::once(None).chain(Sign::ALL.map(Some));
    let patches: Vec<f32> = classes
        .flat_map(|sign| (0..COLUMNS).map(move |patient| patch(sign, 100 + patient)))
        .flat_map(|patch| patch.picture.mapv(|grey| 2.0 * grey - 1.0))
        .collect();
    let count = patches.len() / (64 * 64);
    let images = ndarray::Array4::from_shape_vec((count, 1, 64, 64), patches).unwrap();
    let made = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sign-phantoms.png");
    let drawn = trainer::report::sheet::write(&made, images.view(), COLUMNS as usize).unwrap();
    let recorded = root.join("docs/results/sign-phantoms.png");
    let message = format!(
        "look at {} and copy it to {} if it is right",
        made.display(),
        recorded.display()
    );
    let known = image::open(&recorded)
        .unwrap_or_else(|error| panic!("{error}; {message}"))
        .into_rgb8();
    assert_eq!(known.dimensions(), drawn.dimensions(), "{message}");
    // Sines may differ by a bit from one processor to another.
    let farthest = known
        .as_raw()
        .iter()
        .zip(drawn.as_raw())
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(farthest <= Some(2), "{farthest:?}; {message}");
}

//! The 17-fold expansion: each transform against SciPy, its determinism, its place in training only, and its docs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use imaging::preprocess::PreprocessSpec;
use ndarray::Array2;
use serde::Deserialize;
use trainer::data::expansion::Transform;
use trainer::data::phantom::{Request, render};
use trainer::data::{Dataset, Loader, LoaderOptions, Part, Pass, Provenance, Split};
use trainer::recipes::{AugmentSection, Balance, DataSection, SplitBy, SplitSection};

#[derive(Deserialize)]
struct Golden {
    height: usize,
    width: usize,
    every: usize,
    picture: Vec<f32>,
    transforms: std::collections::BTreeMap<String, Vec<f32>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../goldens/expansion/expected.json")).unwrap()
}

#[test]
fn every_transform_but_noise_is_that_of_scipy() {
    let golden = golden();
    let picture = Array2::from_shape_vec((golden.height, golden.width), golden.picture).unwrap();
    let mut compared = 0;
    for transform in Transform::ALL {
        let Some(expected) = golden.transforms.get(transform.name()) else {
            assert_eq!(transform.name(), "noise", "{transform} has no golden values");
            continue;
        };
        let ours = transform.apply(&picture);
        assert_ne!(ours, picture, "{transform} changes nothing");
        for (number, (ours, theirs)) in ours.iter().step_by(golden.every).zip(expected).enumerate() {
            assert!(
                (ours - theirs).abs() < 2e-4,
                "{transform}, value {number}: {ours}, SciPy has {theirs}"
            );
        }
        compared += 1;
    }
    assert_eq!((compared, golden.transforms.len()), (16, 16));
}

fn phantom(patient: u64) -> Array2<f32> {
    let request = Request {
        seed: 3,
        patient,
        image: 0,
        size: 96,
        lesion: None,
    };
    render(&request).picture
}

#[test]
fn every_transform_is_deterministic_and_keeps_size_and_range() {
    for transform in Transform::ALL {
        let once = transform.apply(&phantom(1));
        assert_eq!(once, transform.apply(&phantom(1)), "{transform}");
        assert_eq!(once.dim(), (96, 96));
        assert!(once.iter().all(|value| (0.0..=1.0).contains(value)), "{transform}");
        assert_eq!(transform.name().parse::<Transform>(), Ok(transform));
    }
    let refusal = "shear".parse::<Transform>().unwrap_err();
    assert!(
        refusal.contains("shear") && refusal.contains("rotate_left_5"),
        "{refusal}"
    );
}

#[test]
fn noise_has_the_stated_deviation_and_another_pattern_for_another_image() {
    let noise: Transform = "noise".parse().unwrap();
    // Grey enough that nothing is cut off.
    let pattern = |patient| {
        let grey = phantom(patient).mapv(|value| 0.3 + 0.4 * value);
        noise.apply(&grey) - grey
    };
    let (one, other) = (pattern(1), pattern(2));
    assert!(
        one.mean().unwrap().abs() < 1e-3 && (one.std(0.0) - 0.03).abs() < 1e-3,
        "{}",
        one.std(0.0)
    );
    let correlation = (&one * &other).mean().unwrap() / (0.03 * 0.03);
    assert!(correlation.abs() < 0.05, "{correlation}");
}

/// Phantoms with two images a patient and two classes, the second expanded.
fn set(expand: &[&str]) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = "path,label,patient_id,provenance\n".to_owned();
    for (number, label) in ["normal", "rare"].into_iter().cycle().take(24).enumerate() {
        let path = format!("{number}.png");
        let picture = phantom(number as u64).mapv(|value| (value * 255.0) as u8);
        let image = image::GrayImage::from_raw(96, 96, picture.into_raw_vec_and_offset().0).unwrap();
        image.save(folder.path().join(&path)).unwrap();
        manifest += &format!("{path},{label},p{},phantom\n", number / 4);
    }
    let path = folder.path().join("manifest.csv");
    std::fs::write(&path, manifest).unwrap();
    let section = DataSection {
        expand: expand.iter().map(|label| (*label).to_owned()).collect(),
        ..DataSection::default()
    };
    let dataset = Dataset::load(&path, &section).unwrap();
    (folder, dataset)
}

fn options() -> LoaderOptions {
    LoaderOptions {
        batch: 4,
        workers: 2,
        cache_bytes: 1 << 20,
        max_failed: 0.0,
        seed: 1,
        rare: None,
    }
}

#[test]
fn only_chosen_classes_are_expanded_and_only_in_training() {
    let (_folder, dataset) = set(&["rare"]);
    let (_plain_folder, plain) = set(&[]);
    assert_eq!((plain.samples.len(), dataset.samples.len()), (24, 24 + 12 * 17));
    let section = SplitSection::default();
    let (split, before) = (
        Split::draw(&dataset, &section).unwrap(),
        Split::draw(&plain, &section).unwrap(),
    );
    assert_eq!(
        split.parts[..24],
        before.parts[..],
        "the originals stand where they stood without it"
    );
    for part in [Part::Validation, Part::Test] {
        for row in split.rows(part) {
            assert!(
                dataset.samples[row].expanded.is_none(),
                "{}",
                dataset.samples[row].row.path
            );
        }
    }
    let training = split.rows(Part::Train);
    let originals: Vec<usize> = training
        .iter()
        .copied()
        .filter(|row| dataset.samples[*row].expanded.is_none())
        .collect();
    let rare = originals.iter().filter(|row| dataset.samples[**row].class == 1).count();
    assert!(rare > 0 && training.len() == originals.len() + 17 * rare);
    for row in training {
        let sample = &dataset.samples[row];
        let Some(expanded) = sample.expanded else { continue };
        let original = &dataset.samples[expanded.original];
        assert_eq!((sample.class, sample.row.provenance), (1, Provenance::Augmented));
        assert_eq!(sample.row.path, format!("{}#{}", original.row.path, expanded.transform));
        assert_eq!(split.parts[expanded.original], Part::Train);
    }
}

#[test]
fn a_copy_in_validation_or_test_is_refused_by_name() {
    let (folder, dataset) = set(&["rare"]);
    let split = Split::draw(&dataset, &SplitSection::default()).unwrap();
    let file = folder.path().join("split.csv");
    split.write(&dataset, SplitBy::Group, &file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("#rotate_left_10"),
        "the transform is named beside its row"
    );
    assert_eq!(Split::read(&dataset, SplitBy::Group, &file).unwrap(), split);
    for part in [Part::Validation, Part::Test] {
        let mut moved = split.clone();
        let row = split.rows(part)[0];
        // The copies of an original that is evaluated stand nowhere.
        let copy = dataset
            .samples
            .iter()
            .position(|sample| sample.expanded.is_some_and(|e| split.parts[e.original] == part));
        let copy = copy.unwrap_or_else(|| panic!("no expanded image has its original in {part}, as {row} has"));
        assert_eq!(moved.parts[copy], Part::Unused);
        moved.parts[copy] = part;
        let message = moved
            .check(&dataset, SplitBy::Group, Path::new("split.csv"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("#flip") && message.contains(part.name()), "{message}");
        let loader = Loader::new(
            Arc::new(dataset.clone()),
            vec![copy],
            &PreprocessSpec::grey(32),
            options(),
        );
        let message = loader.unwrap_err().to_string();
        assert!(message.contains("#flip") && message.contains("training"), "{message}");
    }
}

#[test]
fn a_training_batch_holds_the_transformed_image() {
    let (_folder, dataset) = set(&["rare"]);
    let dataset = Arc::new(dataset);
    let copies: Vec<usize> = (24..24 + 17).collect();
    let spec = PreprocessSpec::grey(96);
    let loader = Loader::for_training(
        Arc::clone(&dataset),
        copies,
        &spec,
        &AugmentSection::default(),
        options(),
    )
    .unwrap();
    let pass = Pass::Train {
        epoch: 0,
        balance: Balance::None,
    };
    let mut seen = BTreeSet::new();
    for batch in loader.batches(pass, 0) {
        let batch = batch.unwrap();
        for (row, tensor) in batch.rows.iter().zip(batch.images.outer_iter()) {
            let sample = &dataset.samples[*row];
            let expanded = sample.expanded.unwrap();
            let stored = image::open(&sample.file).unwrap().into_luma8();
            let picture = Array2::from_shape_fn((96, 96), |(y, x)| {
                f32::from(stored.get_pixel(x as u32, y as u32).0[0]) / 255.0
            });
            let wanted = expanded.transform.apply(&picture);
            for ((y, x), value) in wanted.indexed_iter() {
                let found = 0.5 + 0.5 * tensor[[0, y, x]];
                assert!((found - value).abs() < 1e-3, "{}: {found} {value}", sample.row.path);
            }
            seen.insert(expanded.transform);
        }
    }
    assert_eq!(seen.len(), 16, "17 images make four whole batches of four");
}

#[test]
fn a_label_that_is_not_there_is_refused() {
    let (folder, _) = set(&[]);
    let section = DataSection {
        expand: vec!["covid".into()],
        ..DataSection::default()
    };
    let message = Dataset::load(&folder.path().join("manifest.csv"), &section)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("data.expand") && message.contains("covid") && message.contains("rare"),
        "{message}"
    );
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

#[test]
fn the_docs_hold_the_table_and_the_contact_sheet_of_today() {
    let text = std::fs::read_to_string(docs("expansion.md")).unwrap();
    let documented: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let table = Transform::ALL.map(|one| format!("| `{}` | {} |", one.name(), one.words()));
    assert_eq!(documented, table);

    let folder = tempfile::tempdir().unwrap();
    let sheet = folder.path().join("sheet.png");
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"));
    let output = command
        .args(["data", "transforms", "--out"])
        .arg(&sheet)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if std::env::var_os("SCANSIDE_RECORD").is_some() {
        std::fs::copy(&sheet, docs("expansion.png")).unwrap();
    }
    let [ours, kept] = [&sheet, &docs("expansion.png")].map(|path| image::open(path).unwrap().into_rgb8());
    assert_eq!(ours.dimensions(), kept.dimensions());
    // Another rasteriser may draw the names a little otherwise; the pictures are the same.
    let off: u64 = ours
        .iter()
        .zip(kept.iter())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    assert!(
        off < ours.len() as u64 / 100,
        "the sheet has changed; record it anew with SCANSIDE_RECORD=1 and look at it"
    );
}

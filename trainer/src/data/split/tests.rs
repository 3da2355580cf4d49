use super::*;
use crate::data::manifest::{Manifest, Row};
use crate::recipes::{DataSection, SplitFractions};
use proptest::prelude::*;

fn dataset(rows: Vec<Row>) -> Dataset {
    let manifest = Manifest {
        origin: "m.csv".into(),
        root: "".into(),
        rows,
    };
    Dataset::of_manifest(&manifest, &DataSection::default()).unwrap()
}

fn row(i: usize, label: &str, patient: usize, group: usize, source: &str) -> Row {
    Row {
        path: format!("{i}.png"),
        label: label.into(),
        patient_id: Some(format!("p{patient}")),
        group_id: Some(format!("g{group}")),
        source: source.into(),
        ..Row::default()
    }
}

fn usual(n: usize) -> Vec<Row> {
    let label = |i: usize| if i.is_multiple_of(3) { "ill" } else { "normal" };
    (0..n)
        .map(|i| row(i, label(i), i / 2, i / 4, if i % 8 < 4 { "a" } else { "b" }))
        .collect()
}

#[test]
fn fractions_hold_in_every_label_and_source() {
    let dataset = dataset(
        (0..2000)
            .map(|i| row(i, ["x", "y"][i % 2], i, i, ["a", "b", "c"][i % 3]))
            .collect(),
    );
    let split = Split::draw(&dataset, &SplitSection::default()).unwrap();
    for ((part, label, source), count) in split.table(&dataset) {
        let wanted = match part {
            Part::Train => 0.7,
            _ => 0.15,
        } * 2000.0
            / 6.0;
        assert!(
            (count as f64 - wanted).abs() <= 2.0,
            "{part} {label} {source}: {count} instead of {wanted}"
        );
    }
}

#[test]
fn the_seed_decides_and_the_order_of_the_manifest_does_not() {
    let forward = dataset(usual(400));
    let mut rows = usual(400);
    rows.reverse();
    let backward = dataset(rows);
    let section = SplitSection {
        seed: 5,
        ..SplitSection::default()
    };
    let split = Split::draw(&forward, &section).unwrap();
    let mut turned = Split::draw(&backward, &section).unwrap().parts;
    turned.reverse();
    assert_eq!(split.parts, turned);
    let other = Split::draw(&forward, &SplitSection { seed: 6, ..section }).unwrap();
    assert_ne!(split.parts, other.parts);
}

/// Recorded: whoever repeats a run on another machine or a later version must get these sides.
#[test]
fn a_recorded_split_stays_the_same() {
    let split = Split::draw(&dataset(usual(48)), &SplitSection::default()).unwrap();
    let letter = |part: &Part| ['t', 'v', 'e', '-'][*part as usize];
    let sides: String = split.parts.iter().map(letter).collect();
    assert_eq!(sides, RECORDED);
}
const RECORDED: &str = "tttttttttttteeeeeeeettttttttvvvvttttttttvvvvtttt";

#[test]
fn a_split_survives_its_file_and_a_moved_row_is_refused() {
    let dataset = dataset(usual(80));
    let split = Split::draw(&dataset, &SplitSection::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.csv");
    split.write(&dataset, SplitBy::Group, &path).unwrap();
    assert_eq!(Split::read(&dataset, SplitBy::Group, &path).unwrap(), split);

    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.ends_with(",train")).unwrap();
    std::fs::write(&path, text.replacen(line, &line.replace(",train", ",test"), 1)).unwrap();
    let message = Split::read(&dataset, SplitBy::Group, &path).unwrap_err().to_string();
    assert!(
        message.contains("stands in") && message.contains("one patient"),
        "{message}"
    );

    std::fs::write(&path, "path,side\n0.png,trainn\n").unwrap();
    let message = Split::read(&dataset, SplitBy::Group, &path).unwrap_err().to_string();
    assert!(
        message.contains("trainn") && message.contains("validation"),
        "{message}"
    );
}

#[test]
fn generated_rows_follow_their_origin_and_never_evaluate() {
    let mut rows = usual(60);
    for i in 0..60 {
        let origin = rows[i].clone();
        let path = format!("copy{i}.png");
        rows.push(Row {
            path,
            provenance: Provenance::Augmented,
            patient_id: None,
            ..origin
        });
    }
    let free = Row {
        path: "gan.png".into(),
        group_id: None,
        patient_id: None,
        ..rows[60].clone()
    };
    rows.push(Row {
        provenance: Provenance::Synthetic,
        ..free
    });
    let dataset = dataset(rows);
    for by in [SplitBy::Group, SplitBy::Patient] {
        let split = Split::draw(
            &dataset,
            &SplitSection {
                by,
                ..SplitSection::default()
            },
        )
        .unwrap();
        for i in 0..60 {
            let expected = if split.parts[i] == Part::Train {
                Part::Train
            } else {
                Part::Unused
            };
            assert_eq!(split.parts[60 + i], expected, "{by:?} copy {i}");
        }
        assert_eq!(split.parts[120], Part::Train);
        let mut wrong = split.clone();
        wrong.parts[120] = Part::Test;
        let message = wrong
            .check(&dataset, by, Path::new("split.csv"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("gan.png") && message.contains("synthetic"),
            "{message}"
        );
    }
}

#[test]
fn real_and_phantom_images_are_not_evaluated_together() {
    let mut rows = usual(60);
    rows.iter_mut()
        .skip(30)
        .for_each(|row| row.provenance = Provenance::Phantom);
    let message = Split::draw(&dataset(rows), &SplitSection::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("phantom"), "{message}");
}

#[test]
fn a_class_too_small_for_every_side_is_named() {
    let mut rows = usual(60);
    rows.push(row(60, "rare", 900, 900, "a"));
    rows.push(row(61, "rare", 901, 901, "a"));
    let message = Split::draw(&dataset(rows), &SplitSection::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`rare`") && message.contains("2 independent"),
        "{message}"
    );
}

#[test]
fn without_a_test_side_nothing_goes_there() {
    let fractions = SplitFractions {
        train: 0.8,
        validation: 0.2,
        test: 0.0,
    };
    let split = Split::draw(
        &dataset(usual(80)),
        &SplitSection {
            fractions,
            ..SplitSection::default()
        },
    )
    .unwrap();
    assert!(split.rows(Part::Test).is_empty() && split.rows(Part::Validation).len() >= 12);
}

proptest! {
    /// Whatever patients and groups look like, none stands on two sides, and every row stands on one.
    #[test]
    fn no_patient_or_group_stands_on_two_sides(
        links in proptest::collection::vec((0_usize..40, 0_usize..40, 0_usize..2), 60..150),
        seed in any::<u32>(),
        by_group in any::<bool>(),
    ) {
        // Enough rows of their own that no class is too small.
        let mut rows: Vec<Row> = (0..120).map(|i| row(i, ["x", "y"][i % 2], 1000 + i, 1000 + i, "a")).collect();
        for (i, (patient, group, class)) in links.iter().enumerate() {
            rows.push(row(200 + i, ["x", "y"][*class], *patient, *group, "b"));
        }
        let dataset = dataset(rows);
        let by = if by_group { SplitBy::Group } else { SplitBy::Patient };
        let section = SplitSection { by, seed: u64::from(seed), ..SplitSection::default() };
        if let Ok(split) = Split::draw(&dataset, &section) {
            let mut side: HashMap<(bool, &str), Part> = HashMap::new();
            for (sample, part) in dataset.samples.iter().zip(&split.parts) {
                prop_assert!(*part != Part::Unused);
                let patient = (false, sample.row.patient_id.as_deref().unwrap());
                prop_assert_eq!(*side.entry(patient).or_insert(*part), *part);
                if by_group {
                    let group = (true, sample.row.group_id.as_deref().unwrap());
                    prop_assert_eq!(*side.entry(group).or_insert(*part), *part);
                }
            }
        }
    }
}

#[test]
fn an_image_that_an_earlier_split_knew_stays_on_its_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.csv");
    let section = SplitSection::default();
    let before = dataset(usual(400));
    let first = Split::draw(&before, &section).unwrap();
    first.write(&before, section.by, &path).unwrap();
    let earlier = Sides::read(&path).unwrap();

    let after = dataset(usual(800));
    let second = Split::draw_after(&earlier, &after, &section).unwrap();
    assert_eq!(second.parts[..400], first.parts[..]);
    let share = second.rows(Part::Train).len() as f64 / 800.0;
    assert!((share - section.fractions.train).abs() < 0.03, "{share}");
    // Drawn anew, many would stand elsewhere.
    assert_ne!(Split::draw(&after, &section).unwrap().parts[..400], first.parts[..]);
}

#[test]
fn what_turns_out_to_be_of_one_patient_with_a_training_image_is_trained_on() {
    let (trained, tested) = (row(0, "ill", 0, 0, "a"), row(1, "ill", 1, 1, "a"));
    let sides = [(&trained, Part::Train), (&tested, Part::Test)];
    let earlier = Sides(sides.map(|(row, part)| (row.path.clone(), part)).into());
    let mut rows = usual(100);
    rows[..2].clone_from_slice(&[trained, tested]);
    rows.push(Row {
        group_id: Some("g0".into()),
        ..row(200, "ill", 1, 0, "a")
    });
    let dataset = dataset(rows);
    let split = Split::draw_after(&earlier, &dataset, &SplitSection::default()).unwrap();
    assert_eq!([0, 1, 100].map(|row| split.parts[row]), [Part::Train; 3]);
}

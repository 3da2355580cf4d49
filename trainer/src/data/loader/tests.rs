use super::*;
use crate::data::manifest::{Manifest, Row};
use std::path::Path;

/// Little pictures of two brightnesses; `broken` of them are no pictures.
fn dataset(folder: &Path, n: usize, broken: usize) -> Arc<Dataset> {
    let rows = (0..n).map(|i| {
        let path = format!("{i}.png");
        if i < broken {
            std::fs::write(folder.join(&path), b"not a picture").unwrap();
        } else {
            let pixel = |x: u32, y: u32| image::Luma([(i as u32 * 5 + x * 3 + y * 2) as u8]);
            image::GrayImage::from_fn(40, 32, pixel)
                .save(folder.join(&path))
                .unwrap();
        }
        Row {
            path,
            label: ["x", "y"][usize::from(i % 3 == 0)].into(),
            ..Row::default()
        }
    });
    let manifest = Manifest {
        origin: folder.join("m.csv"),
        root: folder.to_owned(),
        rows: rows.collect(),
    };
    Arc::new(Dataset::of_manifest(&manifest, &DataSection::default()).unwrap())
}

fn options(workers: usize) -> LoaderOptions {
    LoaderOptions {
        batch: 4,
        workers,
        cache_bytes: 1 << 20,
        max_failed: 0.1,
        seed: 8,
        rare: None,
    }
}

fn augment() -> AugmentSection {
    AugmentSection {
        rotate_degrees: 10.0,
        shift: 0.1,
        noise: 0.05,
        contrast: 0.3,
        ..AugmentSection::default()
    }
}

fn training(folder: &Path, workers: usize) -> Loader {
    let data = dataset(folder, 22, 0);
    Loader::for_training(
        data,
        (0..22).collect(),
        &PreprocessSpec::grey(16),
        &augment(),
        options(workers),
    )
    .unwrap()
}

fn collect(batches: Batches) -> Vec<Batch> {
    batches.collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_are_the_same_for_any_number_of_workers_and_after_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let pass = Pass::Train {
        epoch: 3,
        balance: Balance::Sampling,
    };
    let alone = collect(training(folder.path(), 1).batches(pass, 0));
    assert_eq!(alone.len(), 5, "the last two images are no full batch");
    for workers in [2, 7] {
        assert_eq!(collect(training(folder.path(), workers).batches(pass, 0)), alone);
    }
    assert_eq!(collect(training(folder.path(), 3).batches(pass, 2)), alone[2..]);
    let next = Pass::Train {
        epoch: 4,
        balance: Balance::Sampling,
    };
    assert_ne!(
        collect(training(folder.path(), 1).batches(next, 0))[0].images,
        alone[0].images
    );
}

#[test]
fn evaluation_gives_every_row_in_order_as_the_appliance_prepares_it() {
    let folder = tempfile::tempdir().unwrap();
    let loader = training(folder.path(), 3);
    let batches = collect(loader.batches(Pass::Evaluate, 0));
    let rows: Vec<usize> = batches.iter().flat_map(|batch| batch.rows.clone()).collect();
    assert_eq!(rows, (0..22).collect::<Vec<_>>());
    assert_eq!(loader.batch_count(Pass::Evaluate), 6);
    let file = &loader.dataset().samples[5].file;
    let expected = PreprocessSpec::grey(16)
        .apply(&first_frame(file, &Limits::default()).unwrap())
        .unwrap();
    assert_eq!(batches[1].images.index_axis(ndarray::Axis(0), 1), expected);
    assert_eq!(batches[1].labels[1], loader.dataset().samples[5].class as i64);
}

#[test]
fn a_broken_image_is_left_out_and_named_and_too_many_end_the_pass() {
    let folder = tempfile::tempdir().unwrap();
    let spec = PreprocessSpec::grey(16);
    let one = dataset(folder.path(), 12, 1);
    let loader = Loader::new(one, (0..12).collect(), &spec, options(2)).unwrap();
    let rows: Vec<usize> = collect(loader.batches(Pass::Evaluate, 0))
        .iter()
        .flat_map(|b| b.rows.clone())
        .collect();
    assert_eq!(rows, (1..12).collect::<Vec<_>>());
    assert!(
        loader.failures().len() == 1 && loader.failures()[0].contains("0.png"),
        "{:?}",
        loader.failures()
    );

    let many = dataset(folder.path(), 12, 9);
    let loader = Loader::new(many, (0..12).collect(), &spec, options(2)).unwrap();
    let error = loader
        .batches(Pass::Evaluate, 0)
        .find_map(Result::err)
        .unwrap()
        .to_string();
    assert!(
        error.contains("of 12 images") && error.contains("0.png") && error.contains("data check"),
        "{error}"
    );
}

#[test]
fn an_iterator_that_is_dropped_early_ends_its_workers() {
    let folder = tempfile::tempdir().unwrap();
    let loader = training(folder.path(), 4);
    let mut batches = loader.batches(
        Pass::Train {
            epoch: 0,
            balance: Balance::None,
        },
        0,
    );
    assert!(batches.next().unwrap().is_ok());
    drop(batches);
    // The workers held the only other references.
    assert_eq!(Arc::strong_count(&loader.work), 1);
}

#[test]
fn an_only_batch_is_given_even_if_it_is_not_full() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 4, 0);
    let loader = Loader::new(data, vec![1, 2], &PreprocessSpec::grey(16), options(2)).unwrap();
    let batches = collect(loader.batches(
        Pass::Train {
            epoch: 0,
            balance: Balance::None,
        },
        0,
    ));
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].rows.len(), 2);
    let empty = Loader::new(
        Arc::clone(loader.dataset()),
        vec![],
        &PreprocessSpec::grey(16),
        options(2),
    )
    .unwrap();
    assert!(collect(empty.batches(Pass::Evaluate, 0)).is_empty());
}

/// Every image of these batches is broken, so that what was decoded can be counted from outside: by its failures.
#[test]
fn workers_wait_while_nobody_takes_their_batches() {
    const ROWS: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let spec = PreprocessSpec::grey(16);
    for workers in [1, 3] {
        let options = LoaderOptions {
            max_failed: 1.0,
            ..options(workers)
        };
        // One worker and two batches ahead, or three and two.
        let most = (workers + 2) * options.batch;
        let data = dataset(folder.path(), ROWS, ROWS);
        let loader = Loader::new(data, (0..ROWS).collect(), &spec, options).unwrap();
        let mut batches = loader.batches(Pass::Evaluate, 0);
        let begun = std::time::Instant::now();
        while loader.failures().len() < most {
            assert!(begun.elapsed().as_secs() < 60, "{} images", loader.failures().len());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // Time enough for an image more, if one were begun.
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(loader.failures().len(), most, "{workers} workers");
        assert!(batches.next().is_none(), "no batch holds an image");
        assert_eq!(loader.failures().len(), ROWS);
    }
}

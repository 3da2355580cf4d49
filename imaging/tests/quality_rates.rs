//! How many plausible chest images the quality limits accept, on the shared data set where it is present.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::grey::{GreyImage, Pixels};
use imaging::quality::{Quality, QualityLimits, assess};
use ndarray::Array2;
use scanside_imaging as imaging;

/// Share of normal chest radiographs that must be accepted.
const ACCEPTED_NORMAL: f64 = 0.98;

fn data_root() -> PathBuf {
    std::env::var_os("SCANSIDE_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    )
}

fn measured(path: &Path) -> Quality {
    let luma = image::open(path).expect("a readable image").into_luma8();
    let (width, height) = luma.dimensions();
    let pixels = Array2::from_shape_vec((height as usize, width as usize), luma.into_raw()).expect("H x W bytes");
    assess(&GreyImage::new(Pixels::U8(pixels), 8))
}

#[test]
fn plausible_chest_images_are_accepted() {
    let root = data_root().join("xray");
    let Ok(classes) = std::fs::read_dir(&root) else {
        eprintln!(
            "skipped: no images at {}; set SCANSIDE_DATA to the folder that holds xray/",
            root.display()
        );
        return;
    };
    let limits = QualityLimits::default();
    let mut normal = (0, 0);
    for class in classes.map(|entry| entry.expect("a folder entry").path()) {
        let (mut accepted, mut total) = (0, 0);
        let mut sharpness = Vec::new();
        let mut refused = BTreeMap::<&str, usize>::new();
        // Every third image keeps the test short; the order of names mixes the sources.
        let mut files: Vec<_> = std::fs::read_dir(&class)
            .expect("a folder")
            .flatten()
            .map(|file| file.path())
            .collect();
        files.sort();
        for file in files.iter().step_by(3) {
            let quality = measured(file);
            let reasons = quality.reasons(&limits);
            sharpness.push(quality.sharpness);
            total += 1;
            accepted += usize::from(reasons.is_empty());
            for reason in reasons {
                *refused.entry(reason.code()).or_default() += 1;
            }
        }
        let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sharpness.sort_by(f32::total_cmp);
        let quantiles = [0.0, 0.01, 0.5, 0.99, 1.0].map(|share| sharpness[(share * (total - 1) as f64) as usize]);
        println!("{name}: {accepted} of {total} accepted; refused {refused:?}; sharpness {quantiles:.3?}");
        if name == "normal" {
            normal = (accepted, total);
        }
    }
    let rate = f64::from(normal.0 as u32) / f64::from((normal.1 as u32).max(1));
    assert!(
        rate >= ACCEPTED_NORMAL,
        "{:.1} % of normal images accepted, wanted {:.0} %",
        rate * 100.0,
        ACCEPTED_NORMAL * 100.0
    );
}

//! The page and the sheet of an assessment.

use std::path::Path;

use ndarray::{Array2, Ix4};
use tch::Tensor;

use super::{Assessed, Assessment, Images, Interval};
use crate::autograd::parameters::array_of;
use crate::report::html::{Cell, Page};
use crate::report::sheet::{self, SheetError};
use crate::training::checkpoint::{self, CheckpointError};

/// Generated images on the sheet.
const SHOWN: i64 = 16;

/// Writes the sheet: generated images, below each its nearest training image by features, and by pixels.
///
/// # Errors
/// The file cannot be written.
pub fn write_sheet(path: &Path, images: &Images, assessed: &Assessed) -> Result<(), SheetError> {
    let count = SHOWN.min(images.generated.size()[0]);
    let by_feature: Vec<i64> = assessed.by_feature.iter().map(|nearest| nearest.row as i64).collect();
    let by_pixel: Vec<i64> = assessed.by_pixel.iter().map(|alike| alike.row as i64).collect();
    let chosen = |rows: &[i64]| {
        images
            .training
            .index_select(0, &Tensor::from_slice(&rows[..count as usize]))
    };
    let rows = [
        images.generated.narrow(0, 0, count),
        chosen(&by_feature),
        chosen(&by_pixel),
    ];
    let array = array_of(&Tensor::cat(&rows, 0)).unwrap_or_default();
    let array = array.into_dimensionality::<Ix4>().unwrap_or_default();
    sheet::write(path, array.view(), count as usize).map(drop)
}

/// Writes the features as `generated`, `training` and `unseen`, safetensors of float32 `[n,d]`, for other programs to judge.
///
/// # Errors
/// The file cannot be written.
pub fn write_features(path: &Path, assessed: &Assessed) -> Result<(), CheckpointError> {
    let tensor = |features: &Array2<f64>| {
        let values: Vec<f32> = features.iter().map(|value| *value as f32).collect();
        Tensor::from_slice(&values).reshape([features.nrows() as i64, features.ncols() as i64])
    };
    let sets = [
        ("generated", &assessed.generated),
        ("training", &assessed.training),
        ("unseen", &assessed.unseen),
    ];
    let tensors = sets.map(|(name, features)| (name.to_owned(), tensor(features)));
    checkpoint::save_tensors(path, tensors.into())
}

fn interval(name: &str, figure: Interval) -> Vec<Cell> {
    vec![
        name.into(),
        Cell::Value(
            format!("{:.4}", figure.value),
            format!("{:.4} to {:.4}", figure.low, figure.high),
        ),
    ]
}

/// The page; `sheet` is a PNG file's content.
#[must_use]
pub fn page(title: &str, features: &str, found: &Assessment, sheet: &[u8]) -> String {
    let [generated, training, unseen] = found.images;
    let lead =
        format!("{generated} generated images against {training} that were learnt from and {unseen} of other patients");
    let mut page = Page::new(title, &lead);
    page.section("Verdict");
    if found.objections.is_empty() {
        page.paragraph("Nothing speaks against these images as training data. Whether they help is shown only by a classifier that was trained with them.");
    }
    for objection in &found.objections {
        page.paragraph(objection);
    }
    page.section("How far from real images");
    page.paragraph(&format!(
        "In the feature space of: {features}. Smaller distances are better; intervals are 95 %."
    ));
    let share = |value: f64| Cell::from(format!("{:.1} %", value * 100.0));
    page.table(
        &["", ""],
        &[
            interval("KID", found.kid),
            interval("KID, floor: two halves of the real images", found.kid_floor),
            interval(
                "KID, ceiling: noise with each pixel's mean and deviation",
                found.kid_ceiling,
            ),
            vec!["FID".into(), format!("{:.2}", found.fid).into()],
            vec![
                "Precision: generated images among real ones".into(),
                share(found.precision),
            ],
            vec!["Recall: real images that are reached".into(), share(found.recall)],
        ],
    );
    page.section("Copies");
    page.table(
        &["", ""],
        &[
            vec![
                "Three-sample test (below -3: nearer to the training images than unseen ones are)".into(),
                format!("{:.2}", found.three_sample).into(),
            ],
            vec![
                "Images that equal a training image".into(),
                found.copies.to_string().into(),
            ],
            vec![
                "Images that equal another generated one".into(),
                found.duplicates.to_string().into(),
            ],
        ],
    );
    page.paragraph(
        "Above: generated images. Middle: the nearest training image by features. Below: the nearest by pixels.",
    );
    page.pictures(&[(
        sheet.to_vec(),
        "Generated images and their nearest training images".to_owned(),
    )]);
    page.finish()
}

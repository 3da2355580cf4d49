//! The calibration set: training images, evenly over the classes, whose activations give the INT8 ranges.

use std::collections::HashMap;

use imaging::preprocess::PreprocessSpec;
use onnx::quantize::{ImageError, Method, QuantizeOptions, Quantized};
use onnx::runtime::Runtime;

use super::error::ExportError;
use super::images::Images;
use crate::data::dataset::Sample;
use crate::data::order;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::recipes::{CalibrationMethod, QuantizeSection};
use crate::seed;

/// The rows that calibrate: up to the recipe's number of the training rows, as evenly over the classes as they allow,
/// drawn from the run's seed.
pub fn choose(samples: &[Sample], training: &[usize], section: &QuantizeSection, run_seed: u64) -> Vec<usize> {
    let seed = seed::mix(run_seed, "calibration set");
    order::evenly(training, |row| samples[row].class, section.calibration_images, seed)
}

/// The rows of the training images that calibrated an earlier run, in ascending order; `None` if one of them is not there.
pub fn again(samples: &[Sample], training: &[usize], images: &[String]) -> Option<Vec<usize>> {
    let rows: HashMap<&str, usize> = training
        .iter()
        .map(|&row| (samples[row].row.path.as_str(), row))
        .collect();
    images.iter().map(|image| rows.get(image.as_str()).copied()).collect()
}

/// The recipe's choices as the quantizer's.
pub fn options(section: &QuantizeSection) -> QuantizeOptions {
    let method = match section.method {
        CalibrationMethod::Minmax => Method::MinMax,
        CalibrationMethod::Percentile => Method::Percentile(section.percentile),
    };
    QuantizeOptions {
        method,
        ..QuantizeOptions::default()
    }
}

/// Quantizes `float`, streaming the images of `rows`. Unreadable images are left out and told.
///
/// # Errors
/// Quantization fails, no image can be read, or somebody asked to stop.
pub fn quantize(
    runtime: &Runtime,
    float: &[u8],
    source: (&[Sample], &[usize], &PreprocessSpec),
    section: &QuantizeSection,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Quantized, ExportError> {
    let (samples, rows, spec) = source;
    progress.begin("calibration", rows.len() as u64, "image");
    let mut images = Images::new(samples, rows, spec);
    let mut stream = images.by_ref().map(|batch| {
        if interrupt.is_raised() {
            return Err(ImageError::from("interrupted"));
        }
        progress.advance(batch.rows.len() as u64, "");
        Ok(batch.images)
    });
    let quantized = onnx::quantize::quantize(runtime, float, &mut stream, &options(section));
    progress.end();
    if interrupt.is_raised() {
        return Err(ExportError::Interrupted);
    }
    for one in images.unreadable() {
        progress.line(&format!(
            "left out of calibration: {}: {}",
            one.path.display(),
            one.reason
        ));
    }
    Ok(quantized?)
}

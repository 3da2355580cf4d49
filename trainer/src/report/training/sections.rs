//! The sections of the training report.

use std::path::Path;

use imaging::colormap::Colormap;
use imaging::overlay::{OverlayTable, paint, upsample_heatmap};
use onnx::quantize::QuantizationReport;
use onnx::runtime::Runtime;

use super::super::html::{Cell, Page};
use super::super::plots::{self, Series};
use super::draw;
use crate::data::split::Part;
use crate::export::context::Context;
use crate::export::evaluation::{Evaluation, Figures, THRESHOLDS_ALONE, words};
use crate::export::gate::GateReport;
use crate::export::pack::Calibration;
use crate::export::{ExportError, golden, model};
use crate::metrics::calibration::expected_calibration_error;
use crate::metrics::intervals::Estimate;
use crate::training::history::EpochRecord;

/// Phantoms with overlays on the page.
const SHOWN_PHANTOMS: usize = 4;
/// Layers in the quantization table.
const SHOWN_LAYERS: usize = 10;

/// The figures that are read first.
pub fn summary(page: &mut Page, context: &Context, evaluations: &[Evaluation], gate: &GateReport) {
    let mut tiles = Vec::new();
    if let Some(last) = evaluations.last() {
        let share = |estimate: Option<Estimate>| {
            estimate.map_or_else(|| "-".to_owned(), |e| format!("{:.1} %", e.value * 100.0))
        };
        tiles.push((
            share(last.all.balanced_accuracy),
            format!("balanced accuracy, {}", last.dataset),
        ));
        let area = last
            .all
            .mean_auroc
            .map_or_else(|| "-".to_owned(), |area| format!("{:.3}", area.value));
        tiles.push((area, format!("mean AUROC, {}", last.dataset)));
        tiles.push((last.all.n.to_string(), format!("{} images", last.dataset)));
    }
    let verdict = if gate.held { "holds" } else { "does not hold" };
    tiles.push((verdict.to_owned(), "parity gate, INT8 against float".to_owned()));
    page.tiles(&tiles);
    page.paragraph(&context.recipe.bundle.intended_use.words);
    let of_last = evaluations.last().map(Evaluation::warnings).unwrap_or_default();
    of_last.iter().for_each(|warning| page.warning(warning));
    gate.warning().iter().for_each(|warning| page.warning(warning));
}

/// Curves over the epochs.
pub fn training(page: &mut Page, folder: &Path, epochs: &[EpochRecord]) -> Result<(), ExportError> {
    if epochs.is_empty() {
        return Ok(());
    }
    page.section("Training");
    let series = |name: &str, value: &dyn Fn(&EpochRecord) -> Option<f64>| Series {
        name: name.to_owned(),
        points: epochs
            .iter()
            .filter_map(|epoch| Some((epoch.epoch as f64, value(epoch)?)))
            .collect(),
    };
    let losses = [
        series("training", &|epoch| Some(epoch.train_loss)),
        series("validation", &|epoch| epoch.validation_loss),
    ];
    let shares = [
        series("training accuracy", &|epoch| Some(epoch.train_accuracy)),
        series("validation balanced accuracy", &|epoch| {
            epoch.validation_balanced_accuracy
        }),
        series("validation AUROC", &|epoch| epoch.validation_auroc),
    ];
    let loss = draw(folder, "loss.png", |path| {
        plots::curves(path, "Loss", "epoch", "loss", &losses)
    })?;
    let share = draw(folder, "accuracy.png", |path| {
        plots::curves(path, "Accuracy and AUROC", "epoch", "share", &shares)
    })?;
    page.pictures(&[
        (loss, "Mean loss by epoch".to_owned()),
        (share, "Shares by epoch".to_owned()),
    ]);
    Ok(())
}

/// One evaluation: per label, per source, and its plots.
pub fn evaluation(page: &mut Page, folder: &Path, evaluation: &Evaluation) -> Result<(), ExportError> {
    let dataset = &evaluation.dataset;
    page.section(&format!("INT8 model on the {dataset} images"));
    if dataset == Part::Validation.name() {
        page.paragraph("Checkpoint, temperature and thresholds were chosen on these images: their figures flatter.");
    }
    page.paragraph(THRESHOLDS_ALONE);
    label_table(page, &evaluation.all);
    if !evaluation.sources.is_empty() {
        source_table(page, evaluation);
    }
    let labels = &evaluation.labels;
    let confusion = draw(folder, &format!("confusion-{dataset}.png"), |path| {
        plots::confusion(path, "Confusion matrix", labels, &evaluation.all.confusion)
    })?;
    let curves: Vec<(String, Vec<(f64, f64)>)> = evaluation
        .all
        .labels
        .iter()
        .zip(&evaluation.curves.roc)
        .filter_map(|(label, curve)| Some((format!("{} {:.3}", label.label, label.auroc?.value), curve.clone())))
        .collect();
    let roc = draw(folder, &format!("roc-{dataset}.png"), |path| {
        plots::roc(path, "ROC, one against rest", &curves)
    })?;
    let bins = &evaluation.curves.reliability;
    let reliability = draw(folder, &format!("reliability-{dataset}.png"), |path| {
        plots::reliability(path, "Calibration", bins)
    })?;
    let error = expected_calibration_error(bins);
    page.pictures(&[
        (confusion, "Counts, and shares of the row".to_owned()),
        (roc, "With the area under each curve".to_owned()),
        (
            reliability,
            format!("Right predictions by confidence; expected calibration error {error:.3}"),
        ),
    ]);
    Ok(())
}

fn cell(estimate: Option<&Estimate>) -> Cell {
    estimate.map_or_else(
        || Cell::from("-"),
        |e| Cell::Value(format!("{:.3}", e.value), format!("{:.3}-{:.3}", e.low, e.high)),
    )
}

fn label_table(page: &mut Page, figures: &Figures) {
    let heads = [
        "label",
        "images",
        "sensitivity",
        "specificity",
        "AUROC",
        "flagged from",
        "sensitivity there",
        "specificity there",
    ];
    let rows: Vec<Vec<Cell>> = figures
        .labels
        .iter()
        .map(|label| {
            let point = label.operating_point.as_ref();
            vec![
                label.label.clone().into(),
                label.n.to_string().into(),
                cell(label.sensitivity.as_ref()),
                cell(label.specificity.as_ref()),
                cell(label.auroc.as_ref()),
                point.map_or_else(|| Cell::from("-"), |point| format!("{:.3}", point.threshold).into()),
                cell(point.map(|point| &point.sensitivity)),
                cell(point.map(|point| &point.specificity)),
            ]
        })
        .collect();
    page.table(&heads, &rows);
    page.paragraph(&format!(
        "Accuracy {}, balanced accuracy {}, mean AUROC {}. Small print: 95 % intervals, Wilson's for shares of one \
         label, else a bootstrap over {} patients or groups.",
        words(figures.accuracy.as_ref()),
        words(figures.balanced_accuracy.as_ref()),
        words(figures.mean_auroc.as_ref()),
        figures.groups
    ));
}

fn source_table(page: &mut Page, evaluation: &Evaluation) {
    let mut heads = vec!["source", "images", "accuracy", "balanced accuracy", "AUROC"];
    heads.extend(evaluation.labels.iter().map(String::as_str));
    let rows: Vec<Vec<Cell>> = evaluation
        .sources
        .iter()
        .map(|(source, figures)| {
            let mut row = vec![
                source.clone().into(),
                figures.n.to_string().into(),
                cell(figures.accuracy.as_ref()),
                cell(figures.balanced_accuracy.as_ref()),
                cell(figures.mean_auroc.as_ref()),
            ];
            let of_label = |label: &crate::export::evaluation::LabelFigures| match label.sensitivity {
                Some(sensitivity) => Cell::Value(format!("{:.3}", sensitivity.value), format!("n {}", label.n)),
                None => Cell::from("-"),
            };
            row.extend(figures.labels.iter().map(of_label));
            row
        })
        .collect();
    page.paragraph(
        "By source of the images; the last columns are the sensitivity for each label. Where a source holds one \
         label only, the model may have learnt the source.",
    );
    page.table(&heads, &rows);
}

/// Temperature, operating points, prediction sets, novelty.
pub fn decisions(page: &mut Page, labels: &[String], calibration: &Calibration) {
    let decision = &calibration.decision;
    page.section("What decides on the appliance");
    let [before, after] = decision.calibration_error;
    page.paragraph(&format!(
        "Found on the INT8 file's outputs for {} validation images. Temperature {:.3} (expected calibration error \
         {before:.3} before, {after:.3} after). Prediction sets of coverage {:.0} %. An image is novel from a distance \
         of {:.2} on (validation images: {:.2} ± {:.2}, in {} directions).",
        decision.n,
        decision.temperature,
        decision.coverage * 100.0,
        calibration.novelty.threshold,
        calibration.novelty.mean,
        calibration.novelty.std,
        calibration.novelty.components,
    ));
    let rows: Vec<Vec<Cell>> = labels
        .iter()
        .enumerate()
        .map(|(class, label)| {
            let point = decision.point_of(class);
            let in_set = 1.0 - decision.quantiles.get(class).copied().unwrap_or(1.0);
            vec![
                label.clone().into(),
                point.map_or_else(
                    || Cell::from("no finding"),
                    |point| format!("{:.3}", point.threshold).into(),
                ),
                cell(point.map(|point| &point.sensitivity)),
                cell(point.map(|point| &point.specificity)),
                format!("{in_set:.3}").into(),
            ]
        })
        .collect();
    page.table(
        &["label", "flagged from", "sensitivity", "specificity", "in the set from"],
        &rows,
    );
}

/// The parity gate.
pub fn gate(page: &mut Page, gate: &GateReport) {
    page.section("Parity gate: INT8 against float");
    let rows: Vec<Vec<Cell>> = gate
        .figures
        .iter()
        .map(|figure| {
            let relation = if figure.at_least { "at least" } else { "at most" };
            vec![
                figure.name.clone().into(),
                format!("{:.4}", figure.value).into(),
                format!("{relation} {:.4}", figure.limit).into(),
                figure.n.to_string().into(),
                Cell::Verdict(figure.held, if figure.held { "holds" } else { "fails" }.to_owned()),
            ]
        })
        .collect();
    page.table(&["figure", "value", "limit", "images", "verdict"], &rows);
    let flips: u64 = gate.parity.labels.iter().map(|label| label.flips).sum();
    page.paragraph(&format!(
        "On {} validation images: {} changed their most probable label, {flips} flags changed, the largest difference \
         of a probability is {:.3}.",
        gate.parity.n, gate.parity.changed_labels, gate.parity.largest_probability_difference
    ));
}

/// The layers that lose most.
pub fn quantization(page: &mut Page, report: &QuantizationReport) {
    page.section("Quantization");
    page.paragraph(&format!(
        "{} calibration images, {} layers and tensors in 8 bits; the ones with the lowest ratio of signal to noise \
         against float, over {} images:",
        report.images,
        report.layers.len(),
        report.compared_images
    ));
    let decibels = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} dB"));
    let rows: Vec<Vec<Cell>> = report
        .worst()
        .into_iter()
        .take(SHOWN_LAYERS)
        .map(|layer| {
            let activation = layer.activation.as_ref();
            vec![
                layer.name.clone().into(),
                layer.operator.clone().into(),
                decibels(layer.weights_db).into(),
                decibels(activation.map(|activation| activation.rounding_db)).into(),
                decibels(activation.map(|activation| activation.accumulated_db)).into(),
            ]
        })
        .collect();
    page.table(
        &["tensor", "operator", "weights", "own rounding", "with all before it"],
        &rows,
    );
    let outputs: Vec<Vec<Cell>> = report
        .outputs
        .iter()
        .map(|output| {
            let equal = output.equal.map(|equal| format!("{:.1} % equal", equal * 100.0));
            vec![
                output.name.clone().into(),
                equal.unwrap_or_else(|| decibels(output.ratio_db)).into(),
                output
                    .largest_error
                    .map_or_else(|| "-".to_owned(), |error| format!("{error:.4}"))
                    .into(),
            ]
        })
        .collect();
    page.table(&["output", "signal to noise", "largest error"], &outputs);
}

/// The golden phantoms with the map of the most probable label.
pub fn phantoms(page: &mut Page, context: &Context, runtime: &Runtime, int8: &[u8]) -> Result<(), ExportError> {
    let spec = &context.recipe.preprocess;
    let phantoms = golden::phantoms(spec, SHOWN_PHANTOMS)?;
    let observed = golden::observe(runtime, int8, &model::outputs(), &phantoms)?;
    let table = OverlayTable::new(&Colormap::viridis());
    let mut pictures = Vec::new();
    for (row, phantom) in phantoms.iter().enumerate() {
        let (height, width) = phantom.picture.dim();
        let class = observed.cam_class[(row, 0)] as usize;
        let Some(map) = observed.map_of(row, class) else {
            continue;
        };
        let field = spec.source_rect(height, width)?;
        let heat = upsample_heatmap(map, field, [height, width], [height, width]);
        let grey = phantom
            .picture
            .mapv(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8);
        let colours = paint(grey.view(), heat.view(), &table);
        let probability = observed.probabilities[(row, class)];
        let label = context.record.labels.get(class).map_or("", String::as_str);
        let caption = format!("{}: {label} {:.0} %", phantom.name, probability * 100.0);
        if let Some(png) = side_by_side(&grey, &colours) {
            pictures.push((png, caption));
        }
    }
    page.section("Golden cases");
    page.paragraph("Drawn phantoms, with the Grad-CAM map of the most probable label. Every appliance must reproduce their outputs.");
    page.pictures(&pictures);
    Ok(())
}

/// The picture beside its overlay (RGB, row by row) as PNG.
fn side_by_side(grey: &ndarray::Array2<u8>, colours: &[u8]) -> Option<Vec<u8>> {
    let (height, width) = grey.dim();
    let mut both = image::RgbImage::new(2 * width as u32, height as u32);
    for (x, y, pixel) in both.enumerate_pixels_mut() {
        let (x, y) = (x as usize, y as usize);
        *pixel = match x.checked_sub(width) {
            None => image::Rgb([grey[(y, x)]; 3]),
            Some(x) => {
                let at = 3 * (y * width + x);
                image::Rgb([*colours.get(at)?, *colours.get(at + 1)?, *colours.get(at + 2)?])
            }
        };
    }
    let mut png = std::io::Cursor::new(Vec::new());
    both.write_to(&mut png, image::ImageFormat::Png).ok()?;
    Some(png.into_inner())
}

/// Where all of it came from.
pub fn provenance(page: &mut Page, context: &Context) {
    page.section("Provenance");
    let record = &context.record;
    let counts = |part: Part| {
        let rows = context.rows(part);
        let counts = context.dataset.class_counts_of(&rows);
        let each: Vec<String> = record
            .labels
            .iter()
            .zip(counts)
            .map(|(label, n)| format!("{label} {n}"))
            .collect();
        format!("{} ({})", rows.len(), each.join(", "))
    };
    let fact = |name: &str, value: String| vec![Cell::from(name), Cell::from(value)];
    let rows = vec![
        fact("network", context.recipe.network.architecture.name().to_owned()),
        fact("training images", counts(Part::Train)),
        fact("validation images", counts(Part::Validation)),
        fact("test images", counts(Part::Test)),
        fact("sources", context.dataset.sources().join(", ")),
        fact("data digest", record.data_digest.clone()),
        fact("seed", record.seed.to_string()),
        fact(
            "best epoch",
            record
                .best_epoch
                .map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
        ),
        fact("device", record.device.clone()),
        fact(
            "source revision",
            record.git_revision.clone().unwrap_or_else(|| "unknown".to_owned()),
        ),
    ];
    page.table(&["", ""], &rows);
}

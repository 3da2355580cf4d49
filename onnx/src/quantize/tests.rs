//! The quantizer as a whole, on a small residual network in ONNX Runtime.

use super::testing::{images, model, residual_graph, residual_model};
use super::*;
use crate::proto::OPSET_VERSION;
use crate::runtime::optimised::node_counts;
use crate::runtime::session::{Optimisation, Session, SessionOptions};
use crate::runtime::testing::runtime;

fn quantized(runtime: &Runtime, options: &QuantizeOptions) -> Quantized {
    quantize(runtime, &residual_model(1), &mut images(24, 2).into_iter(), options).unwrap()
}

/// The images of a batch, each [1, C, H, W].
fn split(batch: &Array4<f32>) -> Vec<ndarray::ArrayD<f32>> {
    let images = batch.outer_iter();
    images
        .map(|image| image.to_owned().insert_axis(ndarray::Axis(0)).into_dyn())
        .collect()
}

fn output<'a>(report: &'a QuantizationReport, name: &str) -> &'a report::OutputReport {
    report.outputs.iter().find(|output| output.name == name).unwrap()
}

#[test]
fn every_convolution_and_addition_is_fused() {
    let Some(runtime) = runtime() else { return };
    let quantized = quantized(runtime, &QuantizeOptions::default());
    let counts = node_counts(runtime, &quantized.model, Optimisation::All).unwrap();
    assert_eq!(counts.get("QLinearConv"), Some(&4), "{counts:?}");
    assert_eq!(counts.get("QLinearAdd"), Some(&1), "{counts:?}");
    for float in ["Conv", "FusedConv", "Add", "Relu"] {
        assert_eq!(counts.get(float), None, "{counts:?}");
    }
    // One rounding of the image, one way back to float before the head: no islands between.
    assert_eq!(counts.get("QuantizeLinear"), Some(&1), "{counts:?}");
    assert_eq!(counts.get("DequantizeLinear"), Some(&1), "{counts:?}");
}

#[test]
fn the_head_in_8_bits_is_fused_too() {
    let Some(runtime) = runtime() else { return };
    let options = QuantizeOptions {
        head: HeadPrecision::Int8,
        ..QuantizeOptions::default()
    };
    let quantized = quantized(runtime, &options);
    let counts = node_counts(runtime, &quantized.model, Optimisation::All).unwrap();
    assert_eq!(counts.get("QGemm"), Some(&1), "{counts:?}");
    assert_eq!(counts.get("QLinearGlobalAveragePool"), Some(&1), "{counts:?}");
    assert_eq!(counts.get("DequantizeLinear"), None, "{counts:?}");
    let logits = quantized.report.layers.last().unwrap();
    assert!(logits.activation.is_none() && logits.weights_db.is_some());
}

#[test]
fn outputs_stay_close_for_every_method_and_type() {
    let Some(runtime) = runtime() else { return };
    let methods = [Method::MinMax, Method::Percentile(99.9), Method::MeanSquaredError];
    for method in methods {
        for activations in [ActivationType::U8, ActivationType::S8] {
            let options = QuantizeOptions {
                method,
                activations,
                ..QuantizeOptions::default()
            };
            let report = quantized(runtime, &options).report;
            let logits = output(&report, "logits");
            assert!(logits.cosine.unwrap() > 0.999, "{options:?}\n{report}");
            assert!(logits.ratio_db.unwrap() > 25.0, "{options:?}\n{report}");
            assert!(output(&report, "first").equal.unwrap() > 0.9, "{report}");
            assert_eq!((report.images, report.compared_images), (24, 16));
        }
    }
}

#[test]
fn the_report_tells_a_bad_layer_from_a_good_one() {
    let Some(runtime) = runtime() else { return };
    let good = quantized(runtime, &QuantizeOptions::default()).report;
    // One channel of `a` a thousand times the others: its range leaves nothing for them.
    let mut graph = residual_graph(1);
    let weight = graph.initializer.iter_mut().find(|t| t.name == "a.weight").unwrap();
    let mut values = weight.to_f32().unwrap();
    values[..72].iter_mut().for_each(|value| *value *= 1000.0);
    let extents = weight.extents();
    *weight = crate::proto::TensorProto::from_f32("a.weight", &extents, &values);
    let bad = quantize(
        runtime,
        &model(graph, OPSET_VERSION),
        &mut images(24, 2).into_iter(),
        &QuantizeOptions {
            method: Method::MinMax,
            ..QuantizeOptions::default()
        },
    );
    let bad = bad.unwrap().report;
    let named = |report: &QuantizationReport, name: &str| {
        report.layers.iter().find(|layer| layer.name == name).unwrap().clone()
    };
    for report in [&good, &bad] {
        let weights = named(report, "a_relu").weights_db.unwrap();
        assert!(
            (30.0..60.0).contains(&weights),
            "by channel, the weights do not suffer: {weights}"
        );
        assert_eq!(named(report, "pool").weights_db, None);
        assert_eq!(named(report, "image").operator, "input");
        assert_eq!(named(report, "features").operator, "Add + Relu");
    }
    let rounding = |report| named(report, "stem_relu").activation.unwrap().rounding_db;
    assert!((rounding(&good) - rounding(&bad)).abs() < 10.0);
    let text = bad.to_string();
    assert!(text.contains("a_relu") && text.contains("logits"), "{text}");
    assert_eq!(bad.worst().len(), bad.layers.len());
    let json = serde_json::to_string(&bad).unwrap();
    let back: QuantizationReport = serde_json::from_str(&json).unwrap();
    assert_eq!((back.to_string(), back.options), (text, bad.options));
}

#[test]
fn the_same_input_gives_the_same_file() {
    let Some(runtime) = runtime() else { return };
    let options = QuantizeOptions {
        threads: 1,
        ..QuantizeOptions::default()
    };
    assert_eq!(quantized(runtime, &options).model, quantized(runtime, &options).model);
}

#[test]
fn batches_of_any_size_give_the_same_ranges() {
    let Some(runtime) = runtime() else { return };
    let single = images(9, 2).into_iter().flat_map(|batch| {
        let batch = batch.unwrap();
        let split = batch
            .outer_iter()
            .map(|image| Ok(image.to_owned().insert_axis(ndarray::Axis(0))));
        split.collect::<Vec<_>>()
    });
    let options = QuantizeOptions::default();
    let one = quantize(runtime, &residual_model(1), &mut single.into_iter(), &options).unwrap();
    let three = quantize(runtime, &residual_model(1), &mut images(9, 2).into_iter(), &options).unwrap();
    assert_eq!(one.model, three.model);
}

/// Root mean square over the channels of `shortcut` of the mean error, over the calibration images.
fn mean_error(runtime: &Runtime, bias_correction: bool) -> f64 {
    let options = QuantizeOptions {
        bias_correction,
        method: Method::MinMax,
        ..QuantizeOptions::default()
    };
    let model = quantized(runtime, &options).model;
    let plan = Plan::new(&residual_graph(1), &options).unwrap();
    let probe = |model: &[u8]| calibrate::Probe::new(runtime, model, &plan, &options).unwrap();
    let (mut float, mut int8) = (probe(&residual_model(1)), probe(&model));
    let mut errors = [0.0_f64; 16];
    for image in images(24, 2).into_iter().flat_map(|batch| split(&batch.unwrap())) {
        let (a, b) = (float.run(&image).unwrap(), int8.run(&image).unwrap());
        let difference = &a.tensor("shortcut").unwrap() - &b.tensor("shortcut").unwrap();
        for (channel, error) in errors.iter_mut().enumerate() {
            *error += f64::from(difference.index_axis(ndarray::Axis(1), channel).mean().unwrap());
        }
    }
    errors.iter().map(|error| error * error).sum::<f64>().sqrt()
}

#[test]
fn bias_correction_takes_out_the_mean_error() {
    let Some(runtime) = runtime() else { return };
    let (with, without) = (mean_error(runtime, true), mean_error(runtime, false));
    assert!(with < 0.7 * without, "{with} {without}");
}

#[test]
fn faults_are_named() {
    let Some(runtime) = runtime() else { return };
    let options = QuantizeOptions::default();
    let float = residual_model(1);
    let fail = |model: &[u8], images: Vec<Result<Array4<f32>, ImageError>>| {
        quantize(runtime, model, &mut images.into_iter(), &options).unwrap_err()
    };
    assert!(matches!(fail(&float, vec![]), QuantizeError::NoImages));
    let mut broken = images(3, 2);
    broken.push(Err("disk on fire".into()));
    let error = fail(&float, broken);
    assert!(error.to_string().contains("image 3: disk on fire"), "{error}");
    let mut dark = images(1, 2);
    dark.push(Ok(Array4::from_elem((1, 3, testing::SIDE, testing::SIDE), f32::NAN)));
    let error = fail(&float, dark);
    assert!(
        matches!(&error, QuantizeError::NotFinite { tensor, image: 1 } if tensor == "image"),
        "{error}"
    );
    let error = fail(&float, vec![Ok(Array4::zeros((1, 1, 24, 24)))]);
    assert!(
        error.to_string().contains("image") && error.to_string().contains("24"),
        "{error}"
    );
    assert!(matches!(fail(b"no model", images(1, 1)), QuantizeError::Decode(_)));
    let old = model(residual_graph(1), 11);
    assert!(matches!(
        fail(&old, images(1, 1)),
        QuantizeError::OperatorSet { found: 11 }
    ));
}

/// The slow way through the same file computes in float what the fast one computes in 8 bits.
#[test]
fn products_of_8_bits_are_exact_on_every_processor() {
    let Some(runtime) = runtime() else { return };
    // Bright images and equal weights: two products near the ends of their ranges are more than 16 bits hold.
    let mut graph = residual_graph(1);
    let weight = graph.initializer.iter_mut().find(|t| t.name == "a.weight").unwrap();
    let extents = weight.extents();
    let values = vec![0.1; weight.to_f32().unwrap().len()];
    *weight = crate::proto::TensorProto::from_f32("a.weight", &extents, &values);
    let bright = || images(24, 2).into_iter().map(|batch| Ok(batch.unwrap() + 3.0));
    let options = QuantizeOptions::default();
    let quantized = quantize(runtime, &model(graph, OPSET_VERSION), &mut bright(), &options).unwrap();
    let logits = |optimisation| {
        let options = SessionOptions {
            optimisation,
            ..SessionOptions::default()
        };
        let mut session = Session::from_bytes(runtime, &quantized.model, &options).unwrap();
        let input = session.inputs()[0].name.clone();
        let batch = bright().next().unwrap().unwrap().into_dyn();
        let outputs = session.run(&[(input.as_str(), batch.view())]).unwrap();
        outputs.array::<f32>("logits").unwrap().to_owned()
    };
    let (fast, slow) = (logits(Optimisation::All), logits(Optimisation::None));
    let largest = slow.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let error = (&fast - &slow)
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(error < 0.02 * largest, "{error} of {largest}");
}

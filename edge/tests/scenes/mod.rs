//! A generated chest and the four kinds of result, as the tests and the bench show them.

use imaging::grey::{GreyImage, Pixels};
use imaging::preprocess::PreprocessSpec;
use ndarray::Array2;
use scanside_edge::screens::{Bar, HeatmapView, ResultState, ResultView};

const HEIGHT: usize = 1000;
const WIDTH: usize = 1000;

/// A drawn chest, 1000 x 1000, 8 bit: body, lungs, heart, ribs, diaphragm, a dense spot.
pub fn phantom() -> GreyImage {
    let pixels = Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| {
        let (v, u) = (y as f32 / HEIGHT as f32, x as f32 / WIDTH as f32);
        grey(u, v).clamp(0.0, 255.0) as u8
    });
    GreyImage::new(Pixels::U8(pixels), 8)
}

/// 1 inside an ellipse, 0 outside, soft over `soft` of its radius.
fn ellipse(u: f32, v: f32, [cu, cv, ru, rv]: [f32; 4], soft: f32) -> f32 {
    let distance = ((u - cu) / ru).hypot((v - cv) / rv);
    ((1.0 - distance) / soft + 0.5).clamp(0.0, 1.0)
}

fn grey(u: f32, v: f32) -> f32 {
    let body = ellipse(u, v, [0.5, 0.62, 0.46, 0.72], 0.12);
    let neck = ellipse(u, v, [0.5, 0.0, 0.13, 0.25], 0.3);
    let lungs = ellipse(u, v, [0.3, 0.48, 0.155, 0.34], 0.16).max(ellipse(u, v, [0.7, 0.48, 0.155, 0.34], 0.16));
    let heart = ellipse(u, v, [0.56, 0.63, 0.14, 0.17], 0.2);
    let spine = (-((u - 0.5) / 0.035).powi(2)).exp();
    let ribs = (v * 64.0 - 26.0 * (u - 0.5).powi(2) * 4.0).sin().max(0.0);
    let spot = ellipse(u, v, [0.735, 0.6, 0.065, 0.075], 0.9);
    let diaphragm = ((v - 0.78 - 0.25 * (u - 0.5).powi(2)) * 30.0).clamp(0.0, 1.0);
    let tissue = 150.0 * body.max(neck);
    let air = lungs * (1.0 - diaphragm) * (100.0 - 22.0 * ribs) * (1.0 - 0.75 * heart);
    tissue - air + 22.0 * spine * body + 30.0 * spot * lungs + 12.0 * diaphragm * body + 14.0
}

/// Heat around a point of the field, `[7,7]`.
fn cam(row: f32, column: f32) -> Array2<f32> {
    Array2::from_shape_fn((7, 7), |(y, x)| {
        let distance = (y as f32 - row).hypot(x as f32 - column);
        (-(distance / 1.3).powi(2)).exp() + 0.25 * (-((y as f32 - 3.6).hypot(x as f32 - 1.9) / 0.9).powi(2)).exp()
    })
}

fn heatmap(row: f32, column: f32, class: &str) -> Option<HeatmapView> {
    let field = PreprocessSpec::imagenet(224)
        .source_rect(HEIGHT, WIDTH)
        .expect("a field");
    Some(HeatmapView {
        cam: cam(row, column),
        field,
        class: class.to_owned(),
    })
}

fn bars(probabilities: [f32; 3], emphasised: Option<usize>) -> Vec<Bar> {
    let labels = [
        ("COVID-19", Some(0.41)),
        ("Viral pneumonia", Some(0.36)),
        ("No finding", None),
    ];
    let bar = |(index, ((label, operating_point), probability)): (usize, ((&str, Option<f32>), f32))| Bar {
        label: label.to_owned(),
        probability,
        operating_point,
        emphasised: emphasised == Some(index),
    };
    labels.into_iter().zip(probabilities).enumerate().map(bar).collect()
}

fn words(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

/// The four kinds of result with the names of their pictures.
pub fn all(image: &GreyImage) -> Vec<(&'static str, ResultView<'_>)> {
    let flagged = ResultView {
        state: ResultState::Flagged,
        headline: "Flagged: COVID-19 pattern".to_owned(),
        next_step: "Have a clinician read this image first. Isolate as your protocol says.".to_owned(),
        code: None,
        image: Some(image),
        heatmap: heatmap(3.8, 4.7, "COVID-19"),
        bars: bars([0.83, 0.12, 0.05], Some(0)),
        reasons: words(&["Quality good", "Like the training data"]),
        what_to_do: vec![],
        case_id: "0412".to_owned(),
        case_details: "PA · 54 y · DX".to_owned(),
        time: "14:32".to_owned(),
        model: "chest-xray 1.4.0".to_owned(),
        engine: "INT8 cpu".to_owned(),
        status: "ready · queue 0".to_owned(),
        healthy: true,
        source: "phantom_0412.dcm".to_owned(),
    };
    let clear = ResultView {
        state: ResultState::NoFindingFlagged,
        headline: "No finding flagged".to_owned(),
        next_step: "Read as usual. The model does not rule out disease.".to_owned(),
        heatmap: heatmap(2.1, 2.0, "No finding"),
        bars: bars([0.06, 0.09, 0.85], Some(2)),
        ..flagged.clone()
    };
    let uncertain = ResultView {
        state: ResultState::Uncertain,
        headline: "Uncertain: let a clinician decide".to_owned(),
        next_step: "Read without the model's suggestion.".to_owned(),
        code: Some("outside-intended-use".to_owned()),
        heatmap: heatmap(4.4, 1.8, "Viral pneumonia"),
        bars: bars([0.31, 0.44, 0.25], None),
        reasons: words(&[
            "Patient is 9 years old; the model is made for adults",
            "Two patterns are equally likely",
        ]),
        ..flagged.clone()
    };
    let not_readable = ResultView {
        state: ResultState::NotReadable,
        headline: "Image not readable".to_owned(),
        next_step: "No suggestion was made. Check the image and send it again.".to_owned(),
        code: Some("under-exposed".to_owned()),
        heatmap: None,
        bars: vec![],
        reasons: words(&["The image is nearly black.", "The grey values hardly differ."]),
        what_to_do: words(&[
            "Check exposure and collimation.",
            "Send the image in its original DICOM form, not a photograph of a screen.",
            "If it stays unreadable, read it without this aid.",
        ]),
        ..flagged.clone()
    };
    vec![
        ("flagged", flagged),
        ("no-finding", clear),
        ("uncertain", uncertain),
        ("not-readable", not_readable),
    ]
}

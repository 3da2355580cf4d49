//! A generated chest and what the program makes of it, as the tests and the bench show it.
//!
//! A scene is an examination, and its screen is drawn from what `result_view` says of it: no word stands here that the
//! program could not say.

use std::sync::Arc;

use bundle::{Manifest, example};
use imaging::decode::{DecodeError, Limits, decode_bytes};
use imaging::grey::{GreyImage, ImageMeta, Pixels};
use imaging::{PreprocessSpec, quality};
use ndarray::Array2;
use scanside_edge::codes::Reason;
use scanside_edge::decision::decide;
use scanside_edge::examination::{Examination, not_readable, refusal};
use scanside_edge::finding::{self, Engine, Finding, ImageSource, Timings};
use scanside_edge::inference::{ClassMap, ModelIdentity};
use scanside_edge::intended_use;
use scanside_edge::presentation::result_view;
use scanside_edge::screens::ResultView;
use scanside_edge::text::words::Language;

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
pub fn ellipse(u: f32, v: f32, [cu, cv, ru, rv]: [f32; 4], soft: f32) -> f32 {
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

/// A model for adults whose labels are those of the manifest: "no finding", COVID-19, viral pneumonia.
fn manifest() -> Manifest {
    Manifest {
        preprocess: PreprocessSpec::imagenet(224),
        ..example::manifest()
    }
}

/// What the network says of one image.
struct Answer {
    probabilities: [f32; 3],
    /// Where it looked: row and column of the hottest place.
    place: [f32; 2],
    novelty: f32,
}

/// One result.
pub struct Scene {
    /// Name of its picture.
    pub name: &'static str,
    examination: Examination,
}

impl Scene {
    /// What its screen shows.
    pub fn view(&self) -> ResultView<'_> {
        self.view_in(Language::English)
    }

    /// The same in a language.
    pub fn view_in(&self, language: Language) -> ResultView<'_> {
        result_view(&self.examination, &manifest(), language.words(), "14:32")
    }
}

/// An adult's frontal radiograph.
fn described(age_years: f32) -> ImageMeta {
    ImageMeta {
        modality: Some("DX".to_owned()),
        body_part: Some("CHEST".to_owned()),
        view: Some("PA".to_owned()),
        age_years: Some(age_years),
        ..ImageMeta::default()
    }
}

/// A finding in which nothing was assessed yet.
fn blank(source: ImageSource) -> Finding {
    Finding {
        schema: finding::SCHEMA.to_owned(),
        case_id: "0412".to_owned(),
        time: "2026-01-31T14:32:00Z".to_owned(),
        source,
        decision: not_readable(Vec::new()),
        series: None,
        probabilities: Vec::new(),
        conformal: None,
        novelty: None,
        heatmaps: Vec::new(),
        quality: None,
        unchecked_use: Vec::new(),
        site_thresholds: None,
        model: ModelIdentity {
            name: "chest-xray".to_owned(),
            version: "1.4.0".to_owned(),
            role: "chest-xray".to_owned(),
            digest: "0".repeat(64),
            key_id: "A".repeat(16),
        },
        engine: Engine {
            provider: "cpu".to_owned(),
            precision: "int8-u8s8".to_owned(),
            ..Engine::default()
        },
        timings_ms: Timings::default(),
        warnings: Vec::new(),
        notice: finding::NOTICE.to_owned(),
    }
}

/// As [`blank`], of an image that was decoded.
fn of_image(image: &GreyImage) -> Finding {
    let size = [image.height(), image.width()];
    blank(ImageSource::decoded(
        "phantom_0412.dcm".to_owned(),
        0,
        1,
        size,
        &image.meta,
    ))
}

fn assessed(name: &'static str, age_years: f32, answer: &Answer) -> Scene {
    let manifest = manifest();
    let mut image = phantom();
    image.meta = described(age_years);
    let outside = intended_use::check(&image.meta, &manifest.intended_use).outside;
    let mut finding = of_image(&image);
    let probabilities = &answer.probabilities;
    finding.decision = decide(&manifest, probabilities, Some(answer.novelty), &outside);
    finding.probabilities = finding::label_probabilities(&manifest, probabilities);
    finding.novelty = Some(finding::NoveltyValue {
        value: answer.novelty,
        threshold: 60.0,
    });
    let top = (0..3).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let map = ClassMap {
        label: top.expect("three labels"),
        map: cam(answer.place[0], answer.place[1]),
    };
    finding.heatmaps = finding::heatmaps(&manifest, &[map]);
    Scene {
        name,
        examination: Examination {
            finding,
            image: Some(Arc::new(image)),
            small: None,
            refused: None,
        },
    }
}

/// An image that is nearly black, as the quality gate sees it.
fn under_exposed() -> Scene {
    let mut image = phantom();
    if let Pixels::U8(pixels) = &mut image.pixels {
        pixels.mapv_inplace(|grey| grey / 12);
    }
    image.meta = described(54.0);
    let mut finding = of_image(&image);
    let reasons = quality::assess(&image).reasons(&manifest().quality);
    let reasons = reasons.iter().map(|r| Reason::with_code(r.code(), r.message()));
    finding.decision = not_readable(reasons.collect());
    Scene {
        name: "not-readable",
        examination: Examination {
            finding,
            image: Some(Arc::new(image)),
            small: None,
            refused: None,
        },
    }
}

/// A DICOM file that did not arrive whole.
fn cut_file() -> Scene {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0\xE0\x7F\x10\0OW\0\0\0\x80\0\0pixels");
    let error: DecodeError = decode_bytes(bytes, &Limits::default()).expect_err("a cut file");
    let mut finding = blank(ImageSource::undecoded("phantom_0412.dcm".to_owned(), 0));
    finding.decision = not_readable(vec![refusal(&error)]);
    Scene {
        name: "cut-file",
        examination: Examination {
            finding,
            image: None,
            small: None,
            refused: Some(error),
        },
    }
}

/// The four kinds of result, one of them for two reasons.
pub fn all() -> Vec<Scene> {
    let answer = |probabilities, place, novelty| Answer {
        probabilities,
        place,
        novelty,
    };
    vec![
        assessed("flagged", 54.0, &answer([0.05, 0.83, 0.12], [3.8, 4.7], 30.0)),
        assessed("no-finding", 54.0, &answer([0.85, 0.06, 0.09], [2.1, 2.0], 30.0)),
        assessed("uncertain", 9.0, &answer([0.25, 0.31, 0.44], [4.4, 1.8], 30.0)),
        under_exposed(),
        cut_file(),
    ]
}

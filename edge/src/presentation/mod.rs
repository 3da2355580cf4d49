//! What the service knows, in words and pictures: from findings, faults and updates to the views of the screens.
//!
//! - this module: results and rows of a list
//! - [`cases`]: stored cases, as results, as rows of a list, as news
//! - [`reasons`]: why a result is in doubt, in the screen's language
//! - [`notices`]: new models on their way
//! - [`faults`]: what fails, and what helps

pub mod cases;
pub mod faults;
pub mod notices;
pub mod reasons;

use bundle::Manifest;
use bundle::manifest::Label;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use imaging::colormap::Colormap;
use imaging::overlay::{OverlayTable, paint, upsample_heatmap};
use imaging::{GreyImage, display_picture, fit_size, small_image};

use crate::decision::DecisionKind;
use crate::examination::{Examination, SMALL_SIDE};
use crate::finding::{Finding, Heatmap, ImageSource};
use crate::screens::{ApplianceMarks, Bar, CaseMarks, Edges, HeatmapView, ResultState, ResultView};
use crate::text::words::{Language, Words};

/// Longest side of a heatmap picture, in pixels.
const PICTURE_SIDE: usize = 1024;

/// An RGB picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Interleaved RGB, row by row.
    pub rgb: Vec<u8>,
}

/// The result screen of an examination; `time` is what its clock shows. Marks, position and what else the store knows
/// are left for it to fill in.
#[must_use]
pub fn result_view<'a>(
    examination: &'a Examination,
    manifest: &Manifest,
    words: &'static Words,
    time: &str,
) -> ResultView<'a> {
    let finding = &examination.finding;
    ResultView {
        state: state(finding.decision.kind),
        headline: headline(finding, Some(manifest), words),
        next_step: next_step(finding.decision.kind, words).to_owned(),
        code: finding.decision.reasons.first().map(|reason| reason.code.clone()),
        image: examination.shown(),
        heatmap: heatmap_view(examination, examination.shown(), manifest, words),
        series: None,
        bars: bars(finding, manifest, words),
        reasons: reasons::remarks(finding, manifest, words),
        what_to_do: reasons::what_to_do(finding, words),
        case_id: finding.case_id.clone(),
        case_time: String::new(),
        case_details: case_details(&finding.source, words),
        position: None,
        marks: CaseMarks::default(),
        site_thresholds: site_day(finding),
        source: file_name(&finding.source.file),
        edges: Edges {
            marks: ApplianceMarks {
                site_thresholds: finding.site_thresholds.is_some(),
                ..ApplianceMarks::default()
            },
            model: format!("{} {}", finding.model.name, finding.model.version),
            engine: engine(finding),
            status: words.status.ready.to_owned(),
            time: time.to_owned(),
            ..Edges::default()
        },
    }
}

/// The day on which the operating points were chosen at this site, if they were: the date of an RFC 3339 time.
fn site_day(finding: &Finding) -> Option<String> {
    let made = &finding.site_thresholds.as_ref()?.made;
    Some(made.split('T').next().unwrap_or(made).to_owned())
}

/// The screen of an image that no model here is for; its edges are left to be filled in.
#[must_use]
pub fn no_model_view<'a>(
    source: &ImageSource,
    image: Option<&'a GreyImage>,
    case_id: &str,
    words: &'static Words,
) -> ResultView<'a> {
    let kind = [source.modality.as_deref(), source.body_part.as_deref()];
    let kind = kind.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let reason = (!kind.is_empty()).then(|| (words.results.no_model_for)(&kind));
    ResultView {
        state: ResultState::NoModel,
        headline: words.results.no_model.to_owned(),
        next_step: words.results.step_no_model.to_owned(),
        code: None,
        image,
        heatmap: None,
        series: None,
        bars: Vec::new(),
        reasons: reason.into_iter().collect(),
        what_to_do: [words.steps.clinician, words.steps.ask_for_model]
            .map(str::to_owned)
            .to_vec(),
        case_id: case_id.to_owned(),
        case_time: String::new(),
        case_details: case_details(source, words),
        position: None,
        marks: CaseMarks::default(),
        site_thresholds: None,
        source: file_name(&source.file),
        edges: Edges::default(),
    }
}

/// A state of the status line with the number of images that wait: "ready · queue 0".
#[must_use]
pub fn status(state: &str, queue: usize, words: &Words) -> String {
    format!("{state} · {}", (words.status.queue)(queue))
}

/// The decision in words, as the banner says it. The manifest is that of the model that made it, where it is here.
#[must_use]
pub fn headline(finding: &Finding, manifest: Option<&Manifest>, words: &Words) -> String {
    let label = finding.decision.label.as_deref();
    let name = label.map(|id| label_name(finding, manifest, id, words));
    decided(finding.decision.kind, name.as_deref(), words)
}

/// A decision in words, with the name of the label that it flags.
fn decided(kind: DecisionKind, label: Option<&str>, words: &Words) -> String {
    match kind {
        DecisionKind::Flagged => (words.results.flagged)(label.unwrap_or(words.results.a_finding)),
        DecisionKind::NoFindingFlagged => words.results.no_finding_flagged.to_owned(),
        DecisionKind::Uncertain => words.results.uncertain.to_owned(),
        DecisionKind::NotReadable => words.results.not_readable.to_owned(),
    }
}

/// What a person does next.
#[must_use]
pub fn next_step(kind: DecisionKind, words: &Words) -> &'static str {
    match kind {
        DecisionKind::Flagged => words.results.step_flagged,
        DecisionKind::NoFindingFlagged => words.results.step_no_finding,
        DecisionKind::Uncertain => words.results.step_uncertain,
        DecisionKind::NotReadable => words.results.step_not_readable,
    }
}

/// The overlay of the image and the heatmap that the screen shows; `None` without an image or a map.
#[must_use]
pub fn heatmap_picture(examination: &Examination, manifest: &Manifest) -> Option<RgbPicture> {
    let image = examination.image.as_deref()?;
    let view = heatmap_view(examination, Some(image), manifest, Language::English.words())?;
    let size = [image.height(), image.width()];
    let picture = if size.iter().all(|side| *side <= PICTURE_SIDE) {
        size
    } else {
        fit_size(size, [PICTURE_SIDE, PICTURE_SIDE])
    };
    let grey = display_picture(image, picture)?;
    let heat = upsample_heatmap(view.cam.view(), view.field, size, picture);
    let table = OverlayTable::new(&Colormap::viridis());
    Some(RgbPicture {
        width: u32::try_from(picture[1]).ok()?,
        height: u32::try_from(picture[0]).ok()?,
        rgb: paint(grey.view(), heat.view(), &table),
    })
}

/// What screens show of an image as PNG, for when its file is gone: grey, at most [`SMALL_SIDE`] pixels a side, windowed as
/// the file says.
#[must_use]
pub fn small_picture(examination: &Examination) -> Option<Vec<u8>> {
    let image = examination.shown()?;
    let small = small_image(image, SMALL_SIDE);
    let image = small.as_ref().unwrap_or(image);
    let size = [image.height(), image.width()];
    let grey = display_picture(image, size)?;
    let (width, height) = (u32::try_from(size[1]).ok()?, u32::try_from(size[0]).ok()?);
    let mut png = Vec::new();
    // Filters that cost little: a result is worth more than a few kilobytes.
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Sub);
    let bytes: Vec<u8> = grey.iter().copied().collect();
    encoder.write_image(&bytes, width, height, ExtendedColorType::L8).ok()?;
    Some(png)
}

/// What a decision looks like.
#[must_use]
pub fn state(kind: DecisionKind) -> ResultState {
    match kind {
        DecisionKind::Flagged => ResultState::Flagged,
        DecisionKind::NoFindingFlagged => ResultState::NoFindingFlagged,
        DecisionKind::Uncertain => ResultState::Uncertain,
        DecisionKind::NotReadable => ResultState::NotReadable,
    }
}

/// The map of the flagged label, or else of the most probable one.
fn shown_heatmap(finding: &Finding) -> Option<&Heatmap> {
    let flagged = finding.decision.label.as_ref();
    let of_flagged = finding.heatmaps.iter().find(|map| Some(&map.label) == flagged);
    of_flagged.or_else(|| finding.heatmaps.first())
}

fn heatmap_view(
    examination: &Examination,
    image: Option<&GreyImage>,
    manifest: &Manifest,
    words: &Words,
) -> Option<HeatmapView> {
    let image = image?;
    let heatmap = shown_heatmap(&examination.finding)?;
    let cam = heatmap.to_array()?;
    let field = manifest.preprocess.source_rect(image.height(), image.width()).ok()?;
    Some(HeatmapView {
        cam,
        field,
        class: label_name(&examination.finding, Some(manifest), &heatmap.label, words),
    })
}

/// A label in a language: as the bundle translates it, as our recipes' labels are known, else its English name.
fn label_name(finding: &Finding, manifest: Option<&Manifest>, id: &str, words: &Words) -> String {
    let stored = finding.probabilities.iter().find(|p| p.label == id);
    name_of(id, stored.map(|p| p.name.as_str()), manifest, words)
}

/// As [`label_name`], with the name that is stored beside the label's id.
fn name_of(id: &str, stored: Option<&str>, manifest: Option<&Manifest>, words: &Words) -> String {
    let label: Option<&Label> = manifest.and_then(|manifest| manifest.labels.iter().find(|label| label.id == id));
    let translated = label.and_then(|label| label.translations.get(words.language.tag()));
    if let Some(name) = translated {
        return name.clone();
    }
    if words.language != Language::English
        && let Some(name) = words.label(id)
    {
        return name.to_owned();
    }
    let name = label.map(|label| label.name.as_str()).or(stored);
    name.unwrap_or(id).to_owned()
}

/// The flagged label first, then the other findings by probability, "no finding" last. Of an uncertain result all by
/// probability: nothing is flagged, and no label comes before a more probable one.
fn bars(finding: &Finding, manifest: &Manifest, words: &Words) -> Vec<Bar> {
    let no_finding = manifest
        .labels
        .iter()
        .find(|label| label.no_finding)
        .map(|label| label.id.as_str());
    let flagged = finding.decision.label.as_deref();
    let mut order: Vec<_> = finding.probabilities.iter().collect();
    let decided = finding.decision.kind != DecisionKind::Uncertain;
    order.sort_by(|a, b| {
        let rank = |label: &str| decided.then(|| (Some(label) == flagged, Some(label) != no_finding));
        rank(&b.label)
            .cmp(&rank(&a.label))
            .then(b.probability.total_cmp(&a.probability))
    });
    let emphasised = match finding.decision.kind {
        DecisionKind::Flagged => flagged,
        DecisionKind::NoFindingFlagged => no_finding,
        DecisionKind::Uncertain | DecisionKind::NotReadable => None,
    };
    let bar = |p: &crate::finding::LabelProbability| Bar {
        label: label_name(finding, Some(manifest), &p.label, words),
        probability: p.probability,
        operating_point: p.operating_point,
        emphasised: Some(p.label.as_str()) == emphasised,
    };
    order.into_iter().map(bar).collect()
}

/// "INT8 cpu".
fn engine(finding: &Finding) -> String {
    let precision = finding
        .engine
        .precision
        .split('-')
        .next()
        .unwrap_or_default()
        .to_uppercase();
    format!("{precision} {}", finding.engine.provider)
}

/// View, age and modality, as far as the image says them: "PA · 54 y · DX".
#[must_use]
pub fn case_details(source: &ImageSource, words: &Words) -> String {
    let parts = [
        source.view.clone(),
        source.age_years.map(|years| short_age(years, words)),
        source.modality.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// "54 y", and "8 mo" below two years.
fn short_age(years: f32, words: &Words) -> String {
    if years < 2.0 {
        (words.common.months)((years * 12.0) as u32)
    } else {
        (words.common.years)(years as u32)
    }
}

fn file_name(path: &str) -> String {
    std::path::Path::new(path)
        .file_name()
        .map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;
    use crate::codes::Reason;
    use crate::decision::decide;
    use crate::finding::{self, Engine, ImageSource, Timings};
    use crate::inference::ModelIdentity;

    pub(super) fn finding(probabilities: &[f32]) -> Finding {
        let manifest = example::manifest();
        Finding {
            schema: finding::SCHEMA.into(),
            case_id: "0001".into(),
            time: "2026-01-31T12:00:00Z".into(),
            source: ImageSource::undecoded("in/chest.dcm".into(), 0),
            decision: decide(&manifest, probabilities, Some(30.0), &[]),
            series: None,
            probabilities: finding::label_probabilities(&manifest, probabilities),
            conformal: None,
            novelty: None,
            heatmaps: vec![
                Heatmap {
                    label: "normal".into(),
                    size: [1, 1],
                    values: vec![1.0],
                },
                Heatmap {
                    label: "covid19".into(),
                    size: [1, 1],
                    values: vec![2.0],
                },
            ],
            quality: None,
            unchecked_use: vec![],
            site_thresholds: None,
            model: ModelIdentity {
                name: "chest".into(),
                version: "1.0.0".into(),
                role: "chest-xray".into(),
                digest: "0".repeat(64),
                key_id: "A".repeat(16),
            },
            engine: Engine::default(),
            timings_ms: Timings::default(),
            warnings: vec![],
            notice: finding::NOTICE.into(),
        }
    }

    fn view(finding: Finding) -> ResultView<'static> {
        let examination = Box::leak(Box::new(Examination {
            finding,
            image: None,
            small: None,
            refused: None,
        }));
        result_view(examination, &example::manifest(), ENGLISH.words(), "12:00")
    }

    const ENGLISH: Language = Language::English;

    #[test]
    fn a_flag_names_the_finding_and_shows_its_bar_first() {
        let view = view(finding(&[0.1, 0.8, 0.1]));
        assert_eq!(
            (view.state, view.headline.as_str()),
            (ResultState::Flagged, "Flagged: COVID-19 pattern")
        );
        let labels: Vec<_> = view.bars.iter().map(|b| (b.label.as_str(), b.emphasised)).collect();
        assert_eq!(
            labels,
            [
                ("COVID-19 pattern", true),
                ("Viral pneumonia pattern", false),
                ("No finding", false)
            ]
        );
        assert_eq!(view.bars[2].operating_point, None);
        assert_eq!(view.source, "chest.dcm");
    }

    #[test]
    fn an_uncertain_result_shows_its_labels_by_probability() {
        let mut finding = finding(&[0.5, 0.42, 0.08]);
        finding.decision.kind = DecisionKind::Uncertain;
        finding.decision.label = Some("covid19".into());
        let view = view(finding);
        let labels: Vec<_> = view.bars.iter().map(|b| (b.label.as_str(), b.emphasised)).collect();
        let wanted = ["No finding", "COVID-19 pattern", "Viral pneumonia pattern"];
        assert_eq!(labels, wanted.map(|label| (label, false)));
        let points: Vec<bool> = view.bars.iter().map(|bar| bar.operating_point.is_some()).collect();
        assert_eq!(points, [false, true, true]);
    }

    #[test]
    fn the_absence_of_a_flag_is_never_called_normal() {
        let view = view(finding(&[0.9, 0.05, 0.05]));
        assert_eq!(view.headline, "No finding flagged");
        let text = format!("{view:?}").to_lowercase();
        assert!(!text.contains("normal"), "{text}");
        assert_eq!(view.bars.iter().position(|b| b.emphasised), Some(2));
    }

    #[test]
    fn labels_speak_the_screens_language() {
        let (finding, mut manifest) = (finding(&[0.1, 0.8, 0.1]), example::manifest());
        let headlines =
            |manifest: Option<&Manifest>| Language::ALL.map(|language| headline(&finding, manifest, language.words()));
        let expected = [
            "Flagged: COVID-19 pattern",
            "Signalé\u{a0}: Aspect de COVID-19",
            "Señalado: Patrón de COVID-19",
        ];
        assert_eq!(headlines(Some(&manifest)), expected);
        assert_eq!(headlines(None), expected, "a case of a model that is gone");
        let translations = &mut manifest.labels[1].translations;
        translations.insert("fr".into(), "Aspect évocateur".into());
        assert_eq!(headlines(Some(&manifest))[1], "Signalé\u{a0}: Aspect évocateur");
    }

    #[test]
    fn an_image_without_a_model_says_what_it_is() {
        let mut source = ImageSource::undecoded("in/knee.dcm".into(), 0);
        source.modality = Some("MR".into());
        source.body_part = Some("KNEE".into());
        let view = no_model_view(&source, None, "0007", ENGLISH.words());
        assert_eq!(view.reasons, ["None of the models here is for MR KNEE."]);
        assert_eq!((view.state, view.source.as_str()), (ResultState::NoModel, "knee.dcm"));
        let plain = ImageSource::undecoded("in/knee.png".into(), 0);
        assert!(no_model_view(&plain, None, "0007", ENGLISH.words()).reasons.is_empty());
    }

    #[test]
    fn a_state_says_how_many_images_wait() {
        assert_eq!(
            status(ENGLISH.words().status.ready, 3, ENGLISH.words()),
            "ready · queue 3"
        );
    }

    #[test]
    fn the_flagged_labels_map_is_shown() {
        assert_eq!(shown_heatmap(&finding(&[0.1, 0.8, 0.1])).unwrap().label, "covid19");
        assert_eq!(shown_heatmap(&finding(&[0.9, 0.05, 0.05])).unwrap().label, "normal");
    }

    #[test]
    fn an_age_is_short_beside_the_case() {
        let short = |years| short_age(years, ENGLISH.words());
        assert_eq!([0.7, 1.99, 2.0, 54.6].map(short), ["8 mo", "23 mo", "2 y", "54 y"]);
    }

    #[test]
    fn an_unreadable_image_says_what_to_do() {
        let mut finding = finding(&[]);
        finding.decision.kind = DecisionKind::NotReadable;
        finding.decision.label = None;
        finding.decision.reasons = vec![
            Reason::with_code("blurred", "Blurred."),
            Reason::with_code("other", "Other."),
        ];
        let view = view(finding);
        assert_eq!(view.what_to_do.len(), 3);
        assert_eq!(view.code.as_deref(), Some("blurred"));
        assert!(view.bars.is_empty());
    }
}

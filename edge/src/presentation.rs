//! A finding in words and pictures: what the screens and the heatmap file show.

use bundle::Manifest;
use bundle::manifest::Label;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use imaging::colormap::Colormap;
use imaging::overlay::{OverlayTable, paint, upsample_heatmap};
use imaging::{GreyImage, display_picture, fit_size};

use crate::decision::DecisionKind;
use crate::examination::Examination;
use crate::finding::{Finding, Heatmap};
use crate::screens::{Bar, HeatmapView, ResultState, ResultView};

/// Longest side of a heatmap picture, in pixels.
const PICTURE_SIDE: usize = 1024;
/// Longest side of a picture that is kept, in pixels: half of the largest screen's height is the most that shows it.
const SMALL_SIDE: usize = 768;

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

/// The result screen of an examination; `time` is what its clock shows.
#[must_use]
pub fn result_view<'a>(examination: &'a Examination, manifest: &Manifest, time: &str) -> ResultView<'a> {
    let finding = &examination.finding;
    ResultView {
        state: state(finding.decision.kind),
        headline: headline(finding, manifest),
        next_step: next_step(finding.decision.kind).to_owned(),
        code: finding.decision.reasons.first().map(|reason| reason.code.clone()),
        image: examination.image.as_ref(),
        heatmap: heatmap_view(examination, manifest),
        bars: bars(finding, manifest),
        reasons: reasons(finding),
        what_to_do: what_to_do(finding),
        case_id: finding.case_id.clone(),
        case_details: case_details(finding),
        time: time.to_owned(),
        model: format!("{} {}", finding.model.name, finding.model.version),
        engine: engine(finding),
        status: "ready".to_owned(),
        healthy: true,
        source: file_name(&finding.source.file),
    }
}

/// The decision in words, as the banner says it.
#[must_use]
pub fn headline(finding: &Finding, manifest: &Manifest) -> String {
    match finding.decision.kind {
        DecisionKind::Flagged => {
            let name = finding
                .decision
                .label
                .as_deref()
                .map_or("finding", |id| label_name(manifest, id));
            format!("Flagged: {name}")
        }
        DecisionKind::NoFindingFlagged => "No finding flagged".to_owned(),
        DecisionKind::Uncertain => "Uncertain".to_owned(),
        DecisionKind::NotReadable => "Not readable".to_owned(),
    }
}

/// What a person does next.
#[must_use]
pub fn next_step(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Flagged => "Have a clinician read this image first.",
        DecisionKind::NoFindingFlagged => "Read in the usual order. This does not rule anything out.",
        DecisionKind::Uncertain => "A clinician must read this image; do not go by the model.",
        DecisionKind::NotReadable => "The model gave no opinion. Check the image.",
    }
}

/// The overlay of the image and the heatmap that the screen shows; `None` without an image or a map.
#[must_use]
pub fn heatmap_picture(examination: &Examination, manifest: &Manifest) -> Option<RgbPicture> {
    let image = examination.image.as_ref()?;
    let view = heatmap_view(examination, manifest)?;
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

/// A small grey picture of an image as PNG, for screens that show it when its file is gone: at most [`SMALL_SIDE`] a side,
/// windowed as the file says.
#[must_use]
pub fn small_picture(image: &GreyImage) -> Option<Vec<u8>> {
    let size = [image.height(), image.width()];
    let size = if size.iter().all(|side| *side <= SMALL_SIDE) {
        size
    } else {
        fit_size(size, [SMALL_SIDE, SMALL_SIDE])
    };
    let grey = display_picture(image, size)?;
    let (width, height) = (u32::try_from(size[1]).ok()?, u32::try_from(size[0]).ok()?);
    let mut png = Vec::new();
    // Filters that cost little: a result is worth more than a few kilobytes.
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Sub);
    let bytes: Vec<u8> = grey.iter().copied().collect();
    encoder.write_image(&bytes, width, height, ExtendedColorType::L8).ok()?;
    Some(png)
}

fn state(kind: DecisionKind) -> ResultState {
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

fn heatmap_view(examination: &Examination, manifest: &Manifest) -> Option<HeatmapView> {
    let image: &GreyImage = examination.image.as_ref()?;
    let heatmap = shown_heatmap(&examination.finding)?;
    let cam = heatmap.to_array()?;
    let field = manifest.preprocess.source_rect(image.height(), image.width()).ok()?;
    Some(HeatmapView {
        cam,
        field,
        class: label_name(manifest, &heatmap.label).to_owned(),
    })
}

fn label_name<'a>(manifest: &'a Manifest, id: &'a str) -> &'a str {
    let label: Option<&Label> = manifest.labels.iter().find(|label| label.id == id);
    label.map_or(id, |label| label.name.as_str())
}

/// The flagged label first, then the other findings by probability, "no finding" last.
fn bars(finding: &Finding, manifest: &Manifest) -> Vec<Bar> {
    let no_finding = manifest
        .labels
        .iter()
        .find(|label| label.no_finding)
        .map(|label| label.id.as_str());
    let flagged = finding.decision.label.as_deref();
    let mut order: Vec<_> = finding.probabilities.iter().collect();
    order.sort_by(|a, b| {
        let rank = |label: &str| (Some(label) == flagged, Some(label) != no_finding);
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
        label: p.name.clone(),
        probability: p.probability,
        operating_point: p.operating_point,
        emphasised: Some(p.label.as_str()) == emphasised,
    };
    order.into_iter().map(bar).collect()
}

fn what_to_do(finding: &Finding) -> Vec<String> {
    if finding.decision.kind != DecisionKind::NotReadable {
        return Vec::new();
    }
    let step = |code: &str| match code {
        "under-exposed" | "over-exposed" => "Check the exposure and take the image again if a clinician agrees.",
        "low-contrast" => "Check the window of the image, then send it again.",
        "blurred" => "Check for motion, then take the image again if a clinician agrees.",
        "noise" => "Check the detector and the exposure.",
        "framed" => "Send the image itself, not a photograph or a screen.",
        "too-small" | "elongated" => "Send the whole image in its full size.",
        "truncated" | "damaged" => "Send the image again: it did not arrive whole.",
        "colour-photograph" | "colour-image" => "Send the radiograph itself, not a photograph of it.",
        "not-an-image" | "no-pixels" | "video" => "Send an image: DICOM, PNG, JPEG or TIFF.",
        "lossy-12-bit" | "unsupported-transfer-syntax" | "unsupported" => {
            "Let the scanner send uncompressed or JPEG lossless images."
        }
        _ => "Check the file and send it again.",
    };
    let mut steps: Vec<String> = Vec::new();
    for reason in &finding.decision.reasons {
        let step = step(&reason.code).to_owned();
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps.push("A clinician reads the image as always.".to_owned());
    steps
}

/// Why a result is in doubt; of one that is not, what speaks for it.
fn reasons(finding: &Finding) -> Vec<String> {
    let mut reasons: Vec<String> = finding
        .decision
        .reasons
        .iter()
        .map(|reason| reason.message.clone())
        .collect();
    if reasons.is_empty() {
        reasons.push("Quality good".to_owned());
        if finding.novelty.is_some() {
            reasons.push("Like the training images".to_owned());
        }
    }
    reasons
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
fn case_details(finding: &Finding) -> String {
    let source = &finding.source;
    let parts = [
        source.view.clone(),
        source.age_years.map(short_age),
        source.modality.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// "54 y", and "8 mo" below two years.
fn short_age(years: f32) -> String {
    if years < 2.0 {
        format!("{} mo", (years * 12.0).floor().max(0.0))
    } else {
        format!("{} y", years.floor())
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

    fn finding(probabilities: &[f32]) -> Finding {
        let manifest = example::manifest();
        Finding {
            schema: finding::SCHEMA.into(),
            case_id: "0001".into(),
            time: "2026-01-31T12:00:00Z".into(),
            source: ImageSource::undecoded("in/chest.dcm".into(), 0),
            decision: decide(&manifest, probabilities, Some(30.0), &[]),
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
            refused: None,
        }));
        result_view(examination, &example::manifest(), "12:00")
    }

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
    fn the_absence_of_a_flag_is_never_called_normal() {
        let view = view(finding(&[0.9, 0.05, 0.05]));
        assert_eq!(view.headline, "No finding flagged");
        let text = format!("{view:?}").to_lowercase();
        assert!(!text.contains("normal"), "{text}");
        assert_eq!(view.bars.iter().position(|b| b.emphasised), Some(2));
    }

    #[test]
    fn the_flagged_labels_map_is_shown() {
        assert_eq!(shown_heatmap(&finding(&[0.1, 0.8, 0.1])).unwrap().label, "covid19");
        assert_eq!(shown_heatmap(&finding(&[0.9, 0.05, 0.05])).unwrap().label, "normal");
    }

    #[test]
    fn an_age_is_short_beside_the_case() {
        assert_eq!([0.7, 1.99, 2.0, 54.6].map(short_age), ["8 mo", "23 mo", "2 y", "54 y"]);
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

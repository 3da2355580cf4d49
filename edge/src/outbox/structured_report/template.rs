//! The content tree: TID 1500 "Measurement Report" (PS3.16) with one TID 1501 measurement group for each image.

use bundle::Manifest;
use dicom_object::InMemDicomObject;

use super::codes::{self, Code, dcm, sct};
use super::content::{Reference, Relation, code, code_item, container, image, number, text, uid_reference, with};
use crate::decision::DecisionKind;
use crate::finding::{Finding, LabelProbability};
use crate::outbox::original::Original;
use crate::outbox::{Device, MANUFACTURER, MODEL_NAME, uid};
use crate::presentation::{headline, next_step};
use crate::text::words::Language;

/// Stands beside what was measured in a slice.
const SLICE: &str = "A slice that weighs much. The result is that of the series.";

/// One image of a report.
pub struct Entry<'a> {
    /// What was found.
    pub finding: &'a Finding,
    /// The image's data set.
    pub original: &'a Original,
    /// The image.
    pub source: Reference,
}

/// The root of the tree. `capture` is the secondary capture that shows the first image.
#[must_use]
pub fn measurement_report(
    entries: &[Entry<'_>],
    manifest: &Manifest,
    device: &Device,
    capture: Option<&Reference>,
) -> InMemDicomObject {
    let mut below = vec![code(
        Relation::ConceptModifier,
        &dcm("121049", "Language of Content Item and Descendants"),
        &codes::ENGLISH,
    )];
    below.extend(observer(device));
    below.extend(entries.first().map(procedure));
    below.push(image_library(entries));
    below.push(container(
        Some(Relation::Contains),
        &dcm("126010", "Imaging Measurements"),
        None,
        groups(entries, manifest, capture),
    ));
    container(None, &dcm("126000", "Imaging Measurement Report"), Some("1500"), below)
}

/// TID 1002 and TID 1004: a device observed.
fn observer(device: &Device) -> Vec<InMemDicomObject> {
    let context = Relation::ObservationContext;
    vec![
        code(context, &dcm("121005", "Observer Type"), &dcm("121007", "Device")),
        uid_reference(context, &dcm("121012", "Device Observer UID"), &device.uid()),
        text(context, &dcm("121013", "Device Observer Name"), &device.ae_title),
        text(context, &dcm("121014", "Device Observer Manufacturer"), MANUFACTURER),
        text(context, &dcm("121015", "Device Observer Model Name"), MODEL_NAME),
        text(
            context,
            &dcm("121016", "Device Observer Serial Number"),
            &device.serial_number,
        ),
    ]
}

fn procedure(entry: &Entry<'_>) -> InMemDicomObject {
    let source = &entry.finding.source;
    let known = || {
        let [modality, part] = [&source.modality, &source.body_part].map(|text| text.as_deref().unwrap_or_default());
        codes::procedure(modality, part).item()
    };
    let value = entry.original.procedure().unwrap_or_else(known);
    code_item(Relation::ConceptModifier, &dcm("121058", "Procedure reported"), value)
}

/// TID 1600: the images that were assessed, with what they are (TID 1602).
fn image_library(entries: &[Entry<'_>]) -> InMemDicomObject {
    let images = entries.iter().map(|entry| {
        let source = &entry.finding.source;
        let mut said = Vec::new();
        let coded =
            |name: &Code, value: Option<Code>| value.map(|value| code(Relation::AcquisitionContext, name, &value));
        let modality = source.modality.as_deref().and_then(codes::modality);
        let part = source.body_part.as_deref().and_then(codes::body_part);
        said.extend(coded(&dcm("121139", "Modality"), modality));
        said.extend(coded(&dcm("123014", "Target Region"), part));
        if let Some([rows, columns]) = source.size {
            let sides = [
                (dcm("110910", "Pixel Data Rows"), rows),
                (dcm("110911", "Pixel Data Columns"), columns),
            ];
            said.extend(
                sides.map(|(name, side)| number(Relation::AcquisitionContext, &name, side as f64, &codes::PIXELS)),
            );
        }
        with(
            image(Relation::Contains, &sct("260753009", "Source"), &entry.source),
            said,
        )
    });
    let group = container(
        Some(Relation::Contains),
        &dcm("126200", "Image Library Group"),
        None,
        images.collect(),
    );
    let name = dcm("111028", "Image Library");
    container(Some(Relation::Contains), &name, None, vec![group])
}

/// A group for each image. Of a series one for the whole first, and then one for each slice that says what was measured
/// and claims nothing: a slice that would be flagged alone does not make a series flagged.
fn groups(entries: &[Entry<'_>], manifest: &Manifest, capture: Option<&Reference>) -> Vec<InMemDicomObject> {
    let series = entries.first().filter(|first| first.finding.series.is_some());
    let of_series = series.map(|first| {
        let case = &first.finding.case_id;
        let mut below = tracking(&format!("Case {case}, series"), &[case, first.original.series()]);
        below.extend(algorithm(first.finding));
        let sources = entries.iter().map(|entry| &entry.source);
        below.extend(judged(first.finding, manifest, sources, capture));
        group(below)
    });
    let of_images = entries.iter().enumerate().map(|(index, entry)| {
        let finding = entry.finding;
        let words = format!("Case {}, image {}", finding.case_id, index + 1);
        let frame = finding.source.frame.to_string();
        let mut below = tracking(&words, &[&finding.case_id, entry.original.sop_instance(), &frame]);
        below.extend(algorithm(finding));
        if series.is_some() {
            below.push(source_of_measurement(&entry.source));
            below.extend(measured(finding, manifest));
            below.push(comment(SLICE));
        } else {
            let capture = capture.filter(|_| index == 0);
            below.extend(judged(finding, manifest, std::iter::once(&entry.source), capture));
            below.extend(measured(finding, manifest));
        }
        group(below)
    });
    of_series.into_iter().chain(of_images).collect()
}

/// TID 1501.
fn group(below: Vec<InMemDicomObject>) -> InMemDicomObject {
    let name = dcm("125007", "Measurement Group");
    container(Some(Relation::Contains), &name, Some("1501"), below)
}

/// What the appliance says: finding, decision with its reasons, and in words.
fn judged<'a>(
    finding: &Finding,
    manifest: &Manifest,
    sources: impl Iterator<Item = &'a Reference>,
    capture: Option<&Reference>,
) -> Vec<InMemDicomObject> {
    let contains = Relation::Contains;
    let mut items = vec![code(contains, &dcm("121071", "Finding"), &found(finding))];
    items.extend(sources.map(source_of_measurement));
    let illustration = dcm("121080", "Best illustration of finding");
    items.extend(capture.map(|capture| image(contains, &illustration, capture)));
    items.extend(decision(finding));
    let words = Language::English.words();
    let said = format!(
        "{}. {} {}.",
        headline(finding, Some(manifest), words),
        next_step(finding.decision.kind, words),
        finding.notice
    );
    items.push(comment(&said));
    items
}

/// What the model measured: probabilities, distance to the training images, what the prediction set holds.
fn measured(finding: &Finding, manifest: &Manifest) -> Vec<InMemDicomObject> {
    let labels = finding.probabilities.iter();
    let mut items: Vec<_> = labels.map(|label| certainty(label, manifest)).collect();
    items.extend(novelty(finding));
    items.extend(not_ruled_out(finding, manifest));
    items
}

fn source_of_measurement(source: &Reference) -> InMemDicomObject {
    image(Relation::Contains, &dcm("121112", "Source of Measurement"), source)
}

fn comment(words: &str) -> InMemDicomObject {
    text(Relation::Contains, &dcm("121106", "Comment"), words)
}

/// TID 4108: a name for people and one for machines, the same in every report on what `of` names: a case, and of it an image
/// or a series.
fn tracking(words: &str, of: &[&str]) -> Vec<InMemDicomObject> {
    let unique = uid::derived(&[&["tracking"], of].concat());
    let context = Relation::ObservationContext;
    vec![
        text(context, &dcm("112039", "Tracking Identifier"), words),
        uid_reference(context, &dcm("112040", "Tracking Unique Identifier"), &unique),
    ]
}

/// TID 4019: which model in which bundle on what.
fn algorithm(finding: &Finding) -> Vec<InMemDicomObject> {
    let (model, engine) = (&finding.model, &finding.engine);
    let parameters = [
        format!("bundle sha256:{}", model.digest),
        format!("role {}, signed by key {}", model.role, model.key_id),
        format!(
            "{} on {}, ONNX Runtime {}",
            engine.precision, engine.provider, engine.onnxruntime
        ),
    ];
    let modifier = Relation::ConceptModifier;
    let mut items = vec![
        text(modifier, &dcm("111001", "Algorithm Name"), &model.name),
        text(modifier, &dcm("111003", "Algorithm Version"), &model.version),
    ];
    let name = dcm("111002", "Algorithm Parameters");
    items.extend(parameters.iter().map(|parameter| text(modifier, &name, parameter)));
    items
}

/// What the banner says, as a code: a disease only where it was flagged.
fn found(finding: &Finding) -> Code {
    match (finding.decision.kind, &finding.decision.label) {
        (DecisionKind::Flagged, Some(id)) => {
            let label = finding.probabilities.iter().find(|p| p.label == *id);
            codes::finding(id, label.map_or(id, |label| &label.name))
        }
        (kind, _) => codes::decision(kind),
    }
}

fn label_code(label: &LabelProbability, manifest: &Manifest) -> Code {
    let known = manifest.labels.iter().find(|known| known.id == label.label);
    if known.is_some_and(|known| known.no_finding) {
        return codes::NO_FINDING;
    }
    codes::finding(&label.label, &label.name)
}

/// TID 300: the probability of one label in percent, whose finding stands beside it and is thereby not claimed.
fn certainty(label: &LabelProbability, manifest: &Manifest) -> InMemDicomObject {
    let percent = |share: f32| f64::from(share) * 100.0;
    let name = dcm("111012", "Certainty of Finding");
    let item = number(Relation::Contains, &name, percent(label.probability), &codes::PERCENT);
    let mut below = vec![code(
        Relation::ConceptModifier,
        &sct("246090004", "Associated finding"),
        &label_code(label, manifest),
    )];
    below.extend(label.operating_point.map(|point| {
        number(
            Relation::Properties,
            &codes::OPERATING_POINT,
            percent(point),
            &codes::PERCENT,
        )
    }));
    with(item, below)
}

fn novelty(finding: &Finding) -> Option<InMemDicomObject> {
    let novelty = finding.novelty?;
    let item = number(
        Relation::Contains,
        &codes::NOVELTY,
        novelty.value.into(),
        &codes::NO_UNIT,
    );
    let limit = number(
        Relation::Properties,
        &codes::NOVELTY_LIMIT,
        novelty.threshold.into(),
        &codes::NO_UNIT,
    );
    Some(with(item, vec![limit]))
}

/// The decision and its reasons.
fn decision(finding: &Finding) -> Vec<InMemDicomObject> {
    let contains = Relation::Contains;
    let decision = &finding.decision;
    let mut items = vec![code(contains, &codes::DECISION, &codes::decision(decision.kind))];
    items.extend(decision.reasons.iter().map(|reason| {
        let item = code(contains, &codes::REASON, &codes::reason(&reason.code));
        let words = text(Relation::Properties, &dcm("121106", "Comment"), &reason.message);
        with(item, vec![words])
    }));
    items
}

/// What the prediction set holds.
fn not_ruled_out(finding: &Finding, manifest: &Manifest) -> Vec<InMemDicomObject> {
    let set = finding.conformal.iter().flat_map(|set| &set.labels);
    let labels = set.filter_map(|id| finding.probabilities.iter().find(|p| p.label == *id));
    let label =
        |label: &LabelProbability| code(Relation::Contains, &codes::NOT_RULED_OUT, &label_code(label, manifest));
    labels.map(label).collect()
}

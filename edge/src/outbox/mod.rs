//! What leaves the appliance for each case, and how it gets there.
//!
//! - [`build`]: a case as objects: [`secondary_capture`], [`structured_report`], the finding as JSON
//! - [`original`]: patient and study of the image that they belong to; [`uid`]: identifiers that a retry repeats
//! - [`queue`]: what waits, behind a trait; [`memory`]: its twin without a disk; [`schedule`]: when it is tried again
//! - [`sender`]: C-STORE to the archive; [`run`]: the loop that empties the queue
//! - [`config`]: the section `appliance.outbox` of the config

mod common;
pub mod config;
mod dataset;
pub mod memory;
pub mod original;
pub mod queue;
mod run;
pub mod schedule;
pub mod secondary_capture;
pub mod sender;
pub mod structured_report;
pub mod uid;

use std::path::Path;

use bundle::Manifest;
use dicom_dictionary_std::uids;
use imaging::Limits;
use imaging::decode::DecodeError;
use serde::{Deserialize, Serialize};

pub use common::Common;
pub use queue::Outbox;
pub use run::{Health, Routes, run};

use crate::examination::Examination;
use crate::finding::Finding;
use original::Original;
use structured_report::{Entry, Reference};

/// Manufacturer of the objects, as they name it.
pub const MANUFACTURER: &str = "Scanside";
/// Manufacturer's Model Name of the objects.
pub const MODEL_NAME: &str = "Scanside edge";

/// Why an object of a case cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The image's file cannot be read, or it is no DICOM and belongs to no study.
    #[error(transparent)]
    Header(#[from] DecodeError),
    /// The image lacks an identifier that archives file by.
    #[error("the image has no valid {missing}, so no archive could file a result of it; let the scanner send it")]
    Nameless {
        /// The element.
        missing: &'static str,
    },
    /// The images of a case are not of one study.
    #[error("image {index} of the case is of another study than the first")]
    Studies {
        /// Number of the image, from 1.
        index: usize,
    },
    /// The case has no image.
    #[error("a case without an image has no result to send")]
    Empty,
    /// The object cannot be written.
    #[error("the object cannot be encoded: {reason}")]
    Encode {
        /// What is wrong.
        reason: String,
    },
}

impl BuildError {
    /// Whether it would be the same at any other time.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Header(error) => error.is_refusal(),
            _ => true,
        }
    }
}

/// Which kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Secondary Capture Image Storage.
    #[serde(rename = "sc")]
    SecondaryCapture,
    /// Comprehensive 3D SR Storage.
    #[serde(rename = "sr")]
    StructuredReport,
    /// `docs/finding.schema.json`.
    #[serde(rename = "json")]
    Json,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::SecondaryCapture, Self::StructuredReport, Self::Json];

    /// The stable text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::SecondaryCapture => "sc",
            Self::StructuredReport => "sr",
            Self::Json => "json",
        }
    }

    /// The SOP class of a DICOM object.
    #[must_use]
    pub const fn sop_class(self) -> Option<&'static str> {
        match self {
            Self::SecondaryCapture => Some(uids::SECONDARY_CAPTURE_IMAGE_STORAGE),
            Self::StructuredReport => Some(uids::COMPREHENSIVE3_DSR_STORAGE),
            Self::Json => None,
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecondaryCapture => "secondary capture",
            Self::StructuredReport => "structured report",
            Self::Json => "JSON",
        }
    }
}

/// Something that leaves the appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingObject {
    /// Of a DICOM object its SOP Instance UID, of JSON the name of its file. The same case always gives the same one: a
    /// queue that knows it already has nothing to do.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// Number of the case.
    pub case_id: String,
    /// The whole file.
    pub bytes: Vec<u8>,
}

/// Which objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// A picture for every viewer.
    pub secondary_capture: bool,
    /// A report for machines.
    pub structured_report: bool,
    /// The finding as a file.
    pub json: bool,
}

/// Who made the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The appliance's AE title; its Station Name too.
    pub ae_title: String,
    /// Device Serial Number.
    pub serial_number: String,
}

impl Wanted {
    /// The kinds that are wanted.
    #[must_use]
    pub fn kinds(self) -> Vec<Kind> {
        let wanted = |kind: &Kind| match kind {
            Kind::SecondaryCapture => self.secondary_capture,
            Kind::StructuredReport => self.structured_report,
            Kind::Json => self.json,
        };
        Kind::ALL.into_iter().filter(wanted).collect()
    }

    /// These kinds.
    #[must_use]
    pub fn only(kinds: &[Kind]) -> Self {
        Self {
            secondary_capture: kinds.contains(&Kind::SecondaryCapture),
            structured_report: kinds.contains(&Kind::StructuredReport),
            json: kinds.contains(&Kind::Json),
        }
    }
}

impl Device {
    /// Its UID, which follows from the serial number.
    #[must_use]
    pub fn uid(&self) -> String {
        uid::derived(&["device", MANUFACTURER, MODEL_NAME, &self.serial_number])
    }
}

/// An image of a case.
#[derive(Debug, Clone, Copy)]
pub struct CaseImage<'a> {
    /// What was found, with the decoded image for the picture.
    pub examination: &'a Examination,
    /// The file as it was received.
    pub path: &'a Path,
    /// Which image of its case it is, from 1.
    pub member: u32,
}

/// A case whose results leave the appliance.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its images, the one that matters most first: that one stands in the picture. All of one study. Of a series its worst
    /// slices, of which the first says what the series amounts to ([`Finding::series`]).
    pub images: &'a [CaseImage<'a>],
    /// The model's manifest.
    pub manifest: &'a Manifest,
}

/// The objects of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// What leaves, in the order in which it is sent.
    pub objects: Vec<OutgoingObject>,
    /// What was wanted and cannot be, with the reason.
    pub left_out: Vec<(Kind, String)>,
}

/// Builds the wanted objects of a case. A file that is no DICOM, or lacks the identifiers of a study, gives JSON only.
///
/// # Errors
/// [`BuildError`] if it is worth another try: the file cannot be read now.
pub fn build(case: &Case<'_>, wanted: Wanted, device: &Device, limits: &Limits) -> Result<Built, BuildError> {
    let mut built = Built {
        objects: Vec::new(),
        left_out: Vec::new(),
    };
    if wanted.secondary_capture || wanted.structured_report {
        match dicom_objects(case, wanted, device, limits, &mut built) {
            Err(error) if error.is_lasting() => {
                let kinds = [
                    (wanted.secondary_capture, Kind::SecondaryCapture),
                    (wanted.structured_report, Kind::StructuredReport),
                ];
                let missing = kinds
                    .iter()
                    .filter(|(wanted, kind)| *wanted && !built.objects.iter().any(|object| object.kind == *kind));
                let missing: Vec<_> = missing.map(|(_, kind)| (*kind, error.to_string())).collect();
                built.left_out.extend(missing);
            }
            other => other?,
        }
    }
    if wanted.json {
        for image in documents(case.images) {
            built.objects.push(json(image.member, &image.examination.finding)?);
        }
    }
    Ok(built)
}

fn dicom_objects(
    case: &Case<'_>,
    wanted: Wanted,
    device: &Device,
    limits: &Limits,
    built: &mut Built,
) -> Result<(), BuildError> {
    let originals = case.images.iter().map(|image| Original::read(image.path, limits));
    let originals = originals.collect::<Result<Vec<_>, _>>()?;
    let entries: Vec<_> = case.images.iter().zip(&originals).map(entry).collect();
    let (Some(first), Some(lead)) = (entries.first(), case.images.first()) else {
        return Err(BuildError::Empty);
    };
    let other = originals.iter().position(|other| other.study() != originals[0].study());
    if let Some(index) = other {
        return Err(BuildError::Studies { index: index + 1 });
    }
    let common = Common::new(&entries, device).ok_or(BuildError::Empty)?;
    let mut capture = None;
    let mut push = |kind, bytes| {
        built.objects.push(OutgoingObject {
            id: common.instance(kind),
            kind,
            case_id: first.finding.case_id.clone(),
            bytes,
        });
    };
    if wanted.secondary_capture {
        if lead.examination.image.is_some() {
            let bytes = secondary_capture::build(&common, lead.examination, case.manifest, &first.source)?;
            push(Kind::SecondaryCapture, bytes);
            capture = common.reference(Kind::SecondaryCapture);
        } else {
            let why = "the image could not be decoded, so there is nothing to show".to_owned();
            built.left_out.push((Kind::SecondaryCapture, why));
        }
    }
    if wanted.structured_report {
        let bytes = structured_report::build(&common, &entries, case.manifest, device, capture.as_ref())?;
        push(Kind::StructuredReport, bytes);
    }
    Ok(())
}

fn entry<'a>((image, original): (&CaseImage<'a>, &'a Original)) -> Entry<'a> {
    let finding = &image.examination.finding;
    Entry {
        finding,
        original,
        source: Reference {
            class: original.sop_class().to_owned(),
            instance: original.sop_instance().to_owned(),
            series: original.series().to_owned(),
            frame: (finding.source.frames > 1).then_some(finding.source.frame + 1),
        },
    }
}

/// The images that have a document each: of a series the one that stands for it, of several frames the first one that is
/// named, which matters most.
fn documents<'c, 'a>(images: &'c [CaseImage<'a>]) -> Vec<&'c CaseImage<'a>> {
    let is_series = |image: &CaseImage<'_>| image.examination.finding.series.is_some();
    let most = if images.first().is_some_and(is_series) {
        1
    } else {
        images.len()
    };
    let mut documents: Vec<&CaseImage<'_>> = Vec::new();
    for image in &images[..most] {
        if !documents.iter().any(|known| known.member == image.member) {
            documents.push(image);
        }
    }
    documents
}

/// The name of the JSON file of an image; the first of a case bears the case's number alone. Nothing in a number leads out of
/// the folder.
#[must_use]
pub fn json_name(case_number: &str, member: u32) -> String {
    let number = match member {
        0 | 1 => String::new(),
        member => format!("-{member}"),
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    format!("{}{number}.json", case_number.replace(|letter| !plain(letter), "_"))
}

fn json(member: u32, finding: &Finding) -> Result<OutgoingObject, BuildError> {
    let reason = |error: serde_json::Error| BuildError::Encode {
        reason: error.to_string(),
    };
    let mut bytes = serde_json::to_vec_pretty(finding).map_err(reason)?;
    bytes.push(b'\n');
    Ok(OutgoingObject {
        id: json_name(&finding.case_id, member),
        kind: Kind::Json,
        case_id: finding.case_id.clone(),
        bytes,
    })
}

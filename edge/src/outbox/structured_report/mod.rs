//! A case as a Comprehensive 3D SR document (PS3.3 A.35.13): what was found, for machines and for people.
//!
//! - [`codes`]: the coded entries, standard and private
//! - `content`: content items
//! - `template`: the tree, TID 1500

pub mod codes;
mod content;
mod template;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

pub use content::Reference;
pub use template::Entry;

use bundle::Manifest;

use super::dataset::{file, put, put_items};
use super::{BuildError, Common, Device, Kind};

/// Number of the series of reports: far from those of scanners.
const SERIES_NUMBER: &str = "9902";

/// A report as a DICOM file. `common` is of the first image; `capture` the secondary capture that shows it.
///
/// # Errors
/// [`BuildError::Encode`].
pub fn build(
    common: &Common<'_>,
    entries: &[Entry<'_>],
    manifest: &Manifest,
    device: &Device,
    capture: Option<&Reference>,
) -> Result<Vec<u8>, BuildError> {
    let mut object = template::measurement_report(entries, manifest, device, capture);
    common.put(&mut object, Kind::StructuredReport);
    put(&mut object, tags::MODALITY, VR::CS, "SR");
    put(&mut object, tags::SERIES_NUMBER, VR::IS, SERIES_NUMBER);
    let description = format!(
        "Triage report: {} {}",
        common.finding.model.name, common.finding.model.version
    );
    put(&mut object, tags::SERIES_DESCRIPTION, VR::LO, &description);
    put_items(&mut object, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![]);
    put_items(&mut object, tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, vec![]);
    // Nobody has looked at it: it is whole, and neither final nor verified.
    put(&mut object, tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY");
    put(&mut object, tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    put(&mut object, tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    put_items(
        &mut object,
        tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
        vec![evidence(common.original.study(), entries, capture)],
    );
    put_items(&mut object, tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE, vec![scheme()]);
    file(
        object,
        uids::COMPREHENSIVE3_DSR_STORAGE,
        &common.instance(Kind::StructuredReport),
    )
}

/// Every object that the tree refers to (PS3.3 C.17.2.1), by series.
fn evidence(study: &str, entries: &[Entry<'_>], capture: Option<&Reference>) -> InMemDicomObject {
    let mut series: Vec<(&str, Vec<&Reference>)> = Vec::new();
    for reference in entries.iter().map(|entry| &entry.source).chain(capture) {
        let known = series.iter_mut().find(|(uid, _)| *uid == reference.series);
        match known {
            Some((_, objects)) if objects.iter().any(|known| known.instance == reference.instance) => {}
            Some((_, objects)) => objects.push(reference),
            None => series.push((&reference.series, vec![reference])),
        }
    }
    let items = series.into_iter().map(|(uid, objects)| {
        let mut item = InMemDicomObject::new_empty();
        put(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, uid);
        let objects = objects.into_iter().map(|object| object.item(false));
        put_items(&mut item, tags::REFERENCED_SOP_SEQUENCE, objects.collect());
        item
    });
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study);
    put_items(&mut item, tags::REFERENCED_SERIES_SEQUENCE, items.collect());
    item
}

/// What the private designator stands for (PS3.3 C.12.1.1.7).
fn scheme() -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, codes::PRIVATE);
    put(&mut item, tags::CODING_SCHEME_NAME, VR::ST, "Scanside triage");
    put(
        &mut item,
        tags::CODING_SCHEME_RESPONSIBLE_ORGANIZATION,
        VR::ST,
        super::MANUFACTURER,
    );
    item
}

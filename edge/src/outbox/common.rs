//! What the DICOM objects of a case share: patient, study, maker, time, identifiers.

use chrono::{DateTime, FixedOffset, Local, Utc};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::dataset::put;
use super::original::Original;
use super::structured_report::{Entry, Reference};
use super::{Device, Kind, MANUFACTURER, MODEL_NAME, uid};
use crate::finding::Finding;

/// This program with its version.
const SOFTWARE: &str = concat!("scanside-edge ", env!("CARGO_PKG_VERSION"));

/// The case of a DICOM object.
pub struct Common<'a> {
    /// What was found in its first image.
    pub finding: &'a Finding,
    /// The data set of that image.
    pub original: &'a Original,
    device: &'a Device,
    time: DateTime<FixedOffset>,
    /// What else a report on several images hangs on; empty for one image.
    further: Vec<String>,
}

impl<'a> Common<'a> {
    /// Of the images that a report is on; `None` without one. Dates and times are in the first image's time zone if it tells
    /// one, else in the appliance's.
    #[must_use]
    pub fn new(entries: &[Entry<'a>], device: &'a Device) -> Option<Self> {
        let first = entries.first()?;
        let (finding, original) = (first.finding, first.original);
        let time = DateTime::parse_from_rfc3339(&finding.time).unwrap_or_default();
        let zone = original.plain(tags::TIMEZONE_OFFSET_FROM_UTC).and_then(zone);
        let time = match zone {
            Some(zone) => time.with_timezone(&zone),
            None => time.with_timezone(&Utc).with_timezone(&Local).fixed_offset(),
        };
        Some(Self {
            finding,
            original,
            device,
            time,
            further: further(entries),
        })
    }

    /// SOP Instance UID of the object of a kind: it follows from appliance, image, model, case and time of the finding, and
    /// for several images from those of each and from what they amount to together.
    #[must_use]
    pub fn instance(&self, kind: Kind) -> String {
        self.uid("instance", kind)
    }

    fn uid(&self, level: &str, kind: Kind) -> String {
        let finding = self.finding;
        let frame = finding.source.frame.to_string();
        let mut parts = vec![
            level,
            kind.name(),
            &self.device.serial_number,
            self.original.sop_instance(),
            &frame,
            &finding.model.digest,
            &finding.case_id,
            &finding.time,
        ];
        parts.extend(self.further.iter().map(String::as_str));
        uid::derived(&parts)
    }

    /// The object of a kind, to refer to.
    #[must_use]
    pub fn reference(&self, kind: Kind) -> Option<Reference> {
        Some(Reference {
            class: kind.sop_class()?.to_owned(),
            instance: self.instance(kind),
            series: self.uid("series", kind),
            frame: None,
        })
    }

    /// Puts Patient, Study, General Equipment and SOP Common modules, and what identifies the series.
    pub fn put(&self, object: &mut InMemDicomObject, kind: Kind) {
        self.original.put_patient_and_study(object);
        let model = &self.finding.model;
        let texts = [
            (
                tags::SOP_CLASS_UID,
                VR::UI,
                kind.sop_class().unwrap_or_default().to_owned(),
            ),
            (tags::SOP_INSTANCE_UID, VR::UI, self.instance(kind)),
            (tags::SERIES_INSTANCE_UID, VR::UI, self.uid("series", kind)),
            (tags::INSTANCE_NUMBER, VR::IS, "1".to_owned()),
            (tags::INSTANCE_CREATOR_UID, VR::UI, self.device.uid()),
            (tags::MANUFACTURER, VR::LO, MANUFACTURER.to_owned()),
            (tags::MANUFACTURER_MODEL_NAME, VR::LO, MODEL_NAME.to_owned()),
            (tags::STATION_NAME, VR::SH, self.device.ae_title.clone()),
            (tags::DEVICE_SERIAL_NUMBER, VR::LO, self.device.serial_number.clone()),
            (
                tags::SOFTWARE_VERSIONS,
                VR::LO,
                format!("{SOFTWARE}\\{} {}", model.name, model.version),
            ),
        ];
        for (tag, vr, text) in texts {
            put(object, tag, vr, &text);
        }
        self.put_time(object, tags::INSTANCE_CREATION_DATE, tags::INSTANCE_CREATION_TIME);
        self.put_time(object, tags::CONTENT_DATE, tags::CONTENT_TIME);
        self.put_time(object, tags::SERIES_DATE, tags::SERIES_TIME);
    }

    /// Puts the time of the finding.
    pub fn put_time(&self, object: &mut InMemDicomObject, date: Tag, time: Tag) {
        put(object, date, VR::DA, &self.time.format("%Y%m%d").to_string());
        put(object, time, VR::TM, &self.time.format("%H%M%S").to_string());
    }

    /// "2026-01-31 14:32".
    #[must_use]
    pub fn words_of_time(&self) -> String {
        self.time.format("%Y-%m-%d %H:%M").to_string()
    }
}

/// A series that went on has another report: with other slices, or with another judgement of the same ones.
fn further(entries: &[Entry<'_>]) -> Vec<String> {
    let Some((first, others)) = entries.split_first() else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    for Entry { finding, original, .. } in others {
        let (frame, model) = (finding.source.frame.to_string(), &finding.model.digest);
        parts.extend([original.sop_instance(), &frame, model, &finding.time].map(str::to_owned));
    }
    if let Some(series) = &first.finding.series {
        let decision = &first.finding.decision;
        let codes = decision.reasons.iter().map(|reason| reason.code.clone());
        parts.extend([series.slices.to_string(), decision.kind.text().to_owned()]);
        parts.extend(decision.label.iter().cloned().chain(codes));
    }
    parts
}

/// `+0100`; as valid as [`Original::plain`] lets it be.
fn zone(text: &str) -> Option<FixedOffset> {
    let minutes = text.get(1..3)?.parse::<i32>().ok()? * 60 + text.get(3..5)?.parse::<i32>().ok()?;
    let seconds = minutes * 60;
    FixedOffset::east_opt(if text.starts_with('-') { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_read() {
        assert_eq!(zone("+0530"), FixedOffset::east_opt(19_800));
        assert_eq!(zone("-0330"), FixedOffset::west_opt(12_600));
        assert_eq!(zone("+9900"), None);
    }
}

//! A phantom as a DX DICOM file, for trying the appliance with what a scanner sends.

use std::path::Path;

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use sha2::{Digest, Sha256};

use super::Phantom;
use crate::data::error::DataError;

/// Bits of a stored value, as detectors have.
const BITS_STORED: u16 = 12;
/// Width of the simulated detector in mm.
const DETECTOR_MM: f64 = 400.0;

/// Writes a phantom as Digital X-Ray Image Storage - For Presentation (PS3.3 A.26), explicit VR little endian, 12 bits
/// in 16. `patient` and `name` become the patient's id and the UIDs; nothing in the file is of a person.
///
/// # Errors
/// The file cannot be written.
pub fn write(phantom: &Phantom, patient: &str, name: &str, seed: u64, path: &Path) -> Result<(), DataError> {
    let fault = |reason: String| DataError::Write {
        path: path.to_owned(),
        reason,
    };
    let instance = uid(seed, &format!("image {name}"));
    let mut object = InMemDicomObject::new_empty();
    for (tag, vr, text) in texts(phantom, patient, name, seed, &instance) {
        object.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
    }
    let (rows, columns) = phantom.picture.dim();
    let numbers = [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, rows as u16),
        (tags::COLUMNS, columns as u16),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, BITS_STORED),
        (tags::HIGH_BIT, BITS_STORED - 1),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, number) in numbers {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number)));
    }
    let white = f32::from((1_u16 << BITS_STORED) - 1);
    let stored: Vec<u16> = phantom
        .picture
        .iter()
        .map(|value| (value * white + 0.5) as u16)
        .collect();
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OW,
        PrimitiveValue::U16(stored.into()),
    ));
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION)
        .media_storage_sop_instance_uid(&instance);
    let file = object.with_meta(meta).map_err(|error| fault(error.to_string()))?;
    file.write_to_file(path).map_err(|error| fault(error.to_string()))
}

fn texts(phantom: &Phantom, patient: &str, name: &str, seed: u64, instance: &str) -> Vec<(Tag, VR, String)> {
    let spacing = DETECTOR_MM / phantom.picture.ncols().max(1) as f64;
    vec![
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100".into()),
        (tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY".into()),
        (
            tags::SOP_CLASS_UID,
            VR::UI,
            uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION.into(),
        ),
        (tags::SOP_INSTANCE_UID, VR::UI, instance.into()),
        (tags::STUDY_INSTANCE_UID, VR::UI, uid(seed, &format!("study {name}"))),
        (tags::SERIES_INSTANCE_UID, VR::UI, uid(seed, &format!("series {name}"))),
        (tags::MODALITY, VR::CS, "DX".into()),
        (tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PRESENTATION".into()),
        (tags::MANUFACTURER, VR::LO, "Scanside phantom".into()),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, phantom.machine.into()),
        (tags::PATIENT_NAME, VR::PN, "Phantom".into()),
        (tags::PATIENT_ID, VR::LO, patient.into()),
        (tags::PATIENT_AGE, VR::AS, format!("{:03}Y", phantom.age_years)),
        (tags::BODY_PART_EXAMINED, VR::CS, "CHEST".into()),
        (tags::VIEW_POSITION, VR::CS, phantom.view.into()),
        (tags::INSTANCE_NUMBER, VR::IS, "1".into()),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into()),
        (
            tags::IMAGER_PIXEL_SPACING,
            VR::DS,
            format!("{spacing:.5}\\{spacing:.5}"),
        ),
        (tags::BURNED_IN_ANNOTATION, VR::CS, "NO".into()),
    ]
}

/// A UID derived from a name (PS3.5 B.2: 2.25 and a 128-bit number).
fn uid(seed: u64, name: &str) -> String {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name.as_bytes())
        .finalize();
    let mut number = [0_u8; 16];
    number.copy_from_slice(&digest[..16]);
    format!("2.25.{}", u128::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_valid_and_differ() {
        let (a, b) = (uid(1, "image a"), uid(1, "image b"));
        assert_ne!(a, b);
        assert!(a.len() <= 64 && a[5..].chars().all(|c| c.is_ascii_digit()) && !a[5..].starts_with('0'));
    }
}

//! What a data set says about the image as a whole. No name and no identifier of the patient is read.

use dicom_dictionary_std::tags;

use super::dataset::DataSet;
use crate::grey::ImageMeta;

/// Fills everything but `encoding` and `warnings`.
pub(super) fn describe(set: &DataSet) -> ImageMeta {
    ImageMeta {
        modality: set.text(tags::MODALITY),
        body_part: set.text(tags::BODY_PART_EXAMINED).map(|part| part.to_ascii_uppercase()),
        view: set.text(tags::VIEW_POSITION),
        laterality: set.text(tags::IMAGE_LATERALITY).or_else(|| set.text(tags::LATERALITY)),
        age_years: age_years(set),
        sex: set.text(tags::PATIENT_SEX),
        pixel_spacing_mm: spacing(set, tags::PIXEL_SPACING).or_else(|| spacing(set, tags::IMAGER_PIXEL_SPACING)),
        slice_thickness_mm: set
            .numbers(tags::SLICE_THICKNESS)
            .first()
            .map(|&mm| mm as f32)
            .filter(|mm| *mm > 0.0),
        manufacturer: set.text(tags::MANUFACTURER),
        manufacturer_model: set.text(tags::MANUFACTURER_MODEL_NAME),
        station_name: set.text(tags::STATION_NAME),
        sop_class_uid: set.text(tags::SOP_CLASS_UID),
        sop_instance_uid: set.text(tags::SOP_INSTANCE_UID),
        study_uid: set.text(tags::STUDY_INSTANCE_UID),
        series_uid: set.text(tags::SERIES_INSTANCE_UID),
        study_date: set.text(tags::STUDY_DATE),
        ..ImageMeta::default()
    }
}

/// Row and column distance in mm.
pub(super) fn spacing(set: &DataSet, tag: dicom_core::Tag) -> Option<[f32; 2]> {
    match set.numbers(tag).as_slice() {
        &[rows, columns, ..] if rows > 0.0 && columns > 0.0 && rows.is_finite() && columns.is_finite() => {
            Some([rows as f32, columns as f32])
        }
        _ => None,
    }
}

fn age_years(set: &DataSet) -> Option<f32> {
    if let Some(age) = set.text(tags::PATIENT_AGE) {
        return parse_age(&age);
    }
    let born = parse_date(&set.text(tags::PATIENT_BIRTH_DATE)?)?;
    let seen = parse_date(&set.text(tags::STUDY_DATE)?)?;
    (seen >= born).then_some(seen - born)
}

/// An age string (PS3.5 6.2): three digits and D, W, M or Y.
fn parse_age(age: &str) -> Option<f32> {
    let unit = age.chars().last()?;
    let (digits, years) = match unit.to_ascii_uppercase() {
        'D' => (age.strip_suffix(unit)?, 1.0 / 365.25),
        'W' => (age.strip_suffix(unit)?, 7.0 / 365.25),
        'M' => (age.strip_suffix(unit)?, 1.0 / 12.0),
        'Y' => (age.strip_suffix(unit)?, 1.0),
        _ => (age, 1.0),
    };
    digits.parse::<u16>().ok().map(|number| f32::from(number) * years)
}

/// `YYYYMMDD` in years, exact enough for an age.
fn parse_date(date: &str) -> Option<f32> {
    if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range| {
        date.get(range)
            .and_then(|text: &str| text.parse::<u16>().ok())
            .map(f32::from)
    };
    Some(part(0..4)? + (part(4..6)? - 1.0) / 12.0 + (part(6..8)? - 1.0) / 365.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_four_units() {
        let ages = ["045Y", "018M", "026W", "003D", "72"].map(|age| parse_age(age).unwrap());
        assert_eq!((ages[0], ages[1], ages[4]), (45.0, 1.5, 72.0));
        assert!((ages[2] - 0.498).abs() < 1e-3 && ages[3] < 0.01);
        assert_eq!(["", "Y", "old", "é"].map(parse_age), [None; 4]);
    }

    #[test]
    fn dates_are_in_years() {
        assert!((parse_date("20200701").unwrap() - 2020.5).abs() < 0.01);
        assert_eq!(parse_date("2020.701"), None);
    }
}

//! Modality LUT and VOI LUT (PS3.3 C.11.1, C.11.2), validated, so that `grey` can apply them blindly.
//!
//! A transform that makes no sense (empty table, width below 1, slope 0) is left out with a warning: the pixels are
//! still good, and the full range is shown.

use dicom_dictionary_std::tags;

use super::dataset::DataSet;
use crate::decode::error::DecodeError;
use crate::grey::{LookupTable, ModalityLut, Voi, WindowFunction};

/// The modality LUT: a table if there is one, else slope and intercept.
pub(super) fn modality_lut(
    set: &DataSet,
    signed: bool,
    warnings: &mut Vec<String>,
) -> Result<ModalityLut, DecodeError> {
    if let Some(item) = set.first_item(tags::MODALITY_LUT_SEQUENCE)?
        && let Some(table) = lookup_table(&item, signed, "Modality LUT", warnings)
    {
        return Ok(ModalityLut::Table(table));
    }
    Ok(rescale(set, warnings).unwrap_or_default())
}

/// Slope and intercept; `None` without them, or if they make no sense.
pub(super) fn rescale(set: &DataSet, warnings: &mut Vec<String>) -> Option<ModalityLut> {
    let slope = set.numbers(tags::RESCALE_SLOPE).first().copied();
    let intercept = set.numbers(tags::RESCALE_INTERCEPT).first().copied();
    if slope.is_none() && intercept.is_none() {
        return None;
    }
    let (slope, intercept) = (slope.unwrap_or(1.0), intercept.unwrap_or(0.0));
    if slope == 0.0 || !slope.is_finite() || !intercept.is_finite() {
        warnings.push(format!("Rescale Slope {slope} and Intercept {intercept} are left out"));
        return None;
    }
    Some(ModalityLut::Rescale { slope, intercept })
}

/// The VOI transform: a table if there is one, else the first window.
pub(super) fn voi(set: &DataSet, signed: bool, warnings: &mut Vec<String>) -> Result<Option<Voi>, DecodeError> {
    if let Some(item) = set.first_item(tags::VOILUT_SEQUENCE)?
        && let Some(table) = lookup_table(&item, signed, "VOI LUT", warnings)
    {
        return Ok(Some(Voi::Table(table)));
    }
    Ok(window(set, warnings))
}

/// The first Window Center and Width, with the function.
pub(super) fn window(set: &DataSet, warnings: &mut Vec<String>) -> Option<Voi> {
    let center = set.numbers(tags::WINDOW_CENTER).first().copied()?;
    let width = set.numbers(tags::WINDOW_WIDTH).first().copied()?;
    let function = match set.text(tags::VOILUT_FUNCTION).as_deref() {
        None | Some("LINEAR") => WindowFunction::Linear,
        Some("LINEAR_EXACT") => WindowFunction::LinearExact,
        Some("SIGMOID") => WindowFunction::Sigmoid,
        Some(other) => {
            warnings.push(format!("VOI LUT Function {other} is unknown: read as LINEAR"));
            WindowFunction::Linear
        }
    };
    let wide_enough = if function == WindowFunction::Linear {
        width >= 1.0
    } else {
        width > 0.0
    };
    if !wide_enough || !width.is_finite() || !center.is_finite() {
        warnings.push(format!("window {center} / {width} is left out: the width is too small"));
        return None;
    }
    Some(Voi::Window {
        center,
        width,
        function,
    })
}

/// LUT Descriptor and LUT Data. `signed`: the first mapped value is signed where the file does not say.
fn lookup_table(item: &DataSet, signed: bool, name: &str, warnings: &mut Vec<String>) -> Option<LookupTable> {
    let (descriptor, data) = (item.get(tags::LUT_DESCRIPTOR)?, item.get(tags::LUT_DATA)?);
    let words: Vec<u16> = descriptor.words().take(3).collect();
    let &[count, first, bits, ..] = words.as_slice() else {
        warnings.push(format!("{name} is left out: its descriptor has {} values", words.len()));
        return None;
    };
    let count = if count == 0 { 65_536 } else { usize::from(count) };
    let signed = match descriptor.vr.as_ref() {
        Some(b"SS") => true,
        Some(b"US") => false,
        _ => signed,
    };
    // Tables of 8-bit entries are also found packed, one byte an entry.
    let packed = data.value.len() < 2 * count && data.value.len() >= count && bits <= 8;
    let entries: Vec<u16> = match packed {
        true => data.value.iter().take(count).map(|&entry| u16::from(entry)).collect(),
        false => data.words().take(count).collect(),
    };
    if entries.is_empty() || !(1..=16).contains(&bits) {
        warnings.push(format!("{name} is left out: {} entries of {bits} bits", entries.len()));
        return None;
    }
    if entries.len() < count {
        warnings.push(format!("{name} has {} of {count} entries", entries.len()));
    }
    let first = if signed {
        i32::from(first as i16)
    } else {
        i32::from(first)
    };
    Some(LookupTable { first, bits, entries })
}

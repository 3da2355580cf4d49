//! The attributes that describe pixels (Image Pixel Module, PS3.3 C.7.6.3), checked before anything is decoded.

use dicom_dictionary_std::tags;

use super::dataset::DataSet;
use crate::decode::error::DecodeError;
use crate::decode::limits::Limits;
use crate::grey::Photometric;

/// Attributes of the Image Pixel Module that were found consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageHeader {
    /// 1 to 65535; `rows * columns` is within the limits.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Bytes of a stored sample: 1 or 2.
    pub(super) sample_bytes: usize,
    /// Position of the most significant bit and number of bits of a value: `stored - 1 <= high < 8 * sample_bytes`.
    pub(super) high_bit: u16,
    pub(super) bits_stored: u16,
    /// Values are two's complement.
    pub(super) signed: bool,
    pub(super) photometric: Photometric,
    /// At least 1.
    pub(super) frames: usize,
}

impl ImageHeader {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// `no-pixels`, `colour-image`, `unsupported` (floats, bits allocated), `too-large`, `damaged`.
    pub(super) fn read(set: &DataSet, limits: &Limits, warnings: &mut Vec<String>) -> Result<Self, DecodeError> {
        check_has_pixels(set)?;
        let rows = required(set, tags::ROWS, "Rows (0028,0010)")?;
        let columns = required(set, tags::COLUMNS, "Columns (0028,0011)")?;
        limits.check_pixels(u64::from(rows), u64::from(columns))?;
        let photometric = read_photometric(set, warnings)?;
        let allocated = required(set, tags::BITS_ALLOCATED, "Bits Allocated (0028,0100)")?;
        if allocated != 8 && allocated != 16 {
            return Err(DecodeError::unsupported(format!(
                "{allocated} bits allocated; expected 8 or 16"
            )));
        }
        let (bits_stored, high_bit) = read_bits(set, allocated as u16, warnings)?;
        Ok(ImageHeader {
            rows: rows as usize,
            columns: columns as usize,
            sample_bytes: allocated as usize / 8,
            high_bit,
            bits_stored,
            signed: set.unsigned(tags::PIXEL_REPRESENTATION).unwrap_or(0) == 1,
            photometric,
            frames: read_frames(set, limits, warnings)?,
        })
    }

    /// Pixels of one frame.
    pub(super) fn pixels(&self) -> usize {
        self.rows * self.columns
    }
}

fn check_has_pixels(set: &DataSet) -> Result<(), DecodeError> {
    if set.get(tags::PIXEL_DATA).is_some() {
        return Ok(());
    }
    if set.get(tags::FLOAT_PIXEL_DATA).is_some() || set.get(tags::DOUBLE_FLOAT_PIXEL_DATA).is_some() {
        return Err(DecodeError::unsupported("floating point pixels"));
    }
    let found = match (set.get(tags::DIRECTORY_RECORD_SEQUENCE), set.text(tags::SOP_CLASS_UID)) {
        (Some(_), _) => "a DICOMDIR".to_owned(),
        (_, Some(class)) => format!("an object of SOP class {class} without Pixel Data (7FE0,0010)"),
        _ => "no Pixel Data (7FE0,0010)".to_owned(),
    };
    Err(DecodeError::NoPixels { found })
}

fn required(set: &DataSet, tag: dicom_core::Tag, name: &str) -> Result<u32, DecodeError> {
    set.unsigned(tag)
        .ok_or_else(|| DecodeError::damaged("image header", format!("{name} is missing")))
}

fn read_photometric(set: &DataSet, warnings: &mut Vec<String>) -> Result<Photometric, DecodeError> {
    let samples = set.unsigned(tags::SAMPLES_PER_PIXEL).unwrap_or_else(|| {
        warnings.push("Samples per Pixel (0028,0002) is missing: read as 1".to_owned());
        1
    });
    let photometric = set.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_else(|| {
        warnings.push("Photometric Interpretation (0028,0004) is missing: read as MONOCHROME2".to_owned());
        "MONOCHROME2".to_owned()
    });
    match (samples, photometric.as_str()) {
        (1, "MONOCHROME1") => Ok(Photometric::Monochrome1),
        (1, "MONOCHROME2") => Ok(Photometric::Monochrome2),
        (1, _) => Err(DecodeError::Colour { photometric }),
        (samples, _) => Err(DecodeError::Colour {
            photometric: format!("{photometric} with {samples} samples per pixel"),
        }),
    }
}

fn read_bits(set: &DataSet, allocated: u16, warnings: &mut Vec<String>) -> Result<(u16, u16), DecodeError> {
    let stored = set.unsigned(tags::BITS_STORED).unwrap_or_else(|| {
        warnings.push(format!("Bits Stored (0028,0101) is missing: read as {allocated}"));
        u32::from(allocated)
    });
    if stored == 0 || stored > u32::from(allocated) {
        return Err(DecodeError::damaged(
            "image header",
            format!("{stored} bits stored of {allocated} allocated"),
        ));
    }
    let high = set.unsigned(tags::HIGH_BIT).unwrap_or(stored - 1);
    if high >= u32::from(allocated) || high + 1 < stored {
        warnings.push(format!(
            "High Bit (0028,0102) is {high} with {stored} bits stored: read as {}",
            stored - 1
        ));
        return Ok((stored as u16, stored as u16 - 1));
    }
    Ok((stored as u16, high as u16))
}

fn read_frames(set: &DataSet, limits: &Limits, warnings: &mut Vec<String>) -> Result<usize, DecodeError> {
    let Some(&frames) = set.numbers(tags::NUMBER_OF_FRAMES).first() else {
        return Ok(1);
    };
    if !frames.is_finite() || frames < 1.0 {
        warnings.push(format!("Number of Frames (0028,0008) is {frames}: read as 1"));
        return Ok(1);
    }
    limits.check_frames(frames as u64)?;
    Ok(frames as usize)
}

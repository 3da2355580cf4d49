//! DICOM images (PS3.3, PS3.5, PS3.10).
//!
//! - `file`: preamble, file meta information, transfer syntax, deflate
//! - `dataset`, `element`: elements and their values, read in place
//! - `header`: elements copied as they stand, for what is derived from an image
//! - `identity`: which object a data set is, before the whole of it is there
//! - `header_texts`: texts of a file, without its pixels
//! - `image_header`, `transforms`, `description`: what the elements say
//! - `frames`: where each frame lies
//! - `rle`, `jpeg`, `jpeg_ls`, `jpeg2000`: one coding each
//! - `samples`: code words into stored values

mod dataset;
mod description;
mod element;
mod file;
mod frames;
mod functional_groups;
mod header;
mod header_texts;
mod identity;
mod image_header;
mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod rle;
mod samples;
mod transforms;

use dicom_dictionary_std::tags;

use dataset::DataSet;
use element::Element;
use file::{DicomFile, PixelCoding};
use frames::Frames;
use functional_groups::FrameGroups;
use image_header::ImageHeader;
use samples::{NativeOrder, UnusedBits};

pub(super) use file::{is_directory, sniff, transfer_syntaxes};
pub use header::{DicomHeader, HeaderElement, HeaderValue};
pub use header_texts::HeaderTexts;
pub(super) use header_texts::read_header_texts;
pub use identity::Identity;
pub(super) use identity::identify;

use super::error::DecodeError;
use super::limits::Limits;
use crate::grey::{GreyImage, ImageMeta, ModalityLut, Pixels, Voi};

/// A DICOM file whose header was read and accepted.
#[derive(Debug)]
pub(super) struct DicomSource {
    bytes: Vec<u8>,
    coding: PixelCoding,
    order: NativeOrder,
    header: ImageHeader,
    frames: Frames,
    modality_lut: ModalityLut,
    voi: Option<Voi>,
    groups: FrameGroups,
    meta: ImageMeta,
}

impl DicomSource {
    pub(super) fn open(bytes: Vec<u8>, limits: &Limits) -> Result<Self, DecodeError> {
        let DicomFile {
            bytes,
            start,
            syntax,
            coding,
            transfer_syntax,
            mut warnings,
        } = DicomFile::open(bytes, limits)?;
        let set = DataSet::read(&bytes, start, syntax)?;
        let header = ImageHeader::read(&set, limits, &mut warnings)?;
        let pixel_data = pixel_data(&set)?;
        let frames = match coding {
            PixelCoding::Native => Frames::native(pixel_data, &header, &mut warnings)?,
            _ => Frames::encapsulated(&set, pixel_data, header.frames)?,
        };
        let modality_lut = transforms::modality_lut(&set, header.signed, &mut warnings)?;
        let voi = transforms::voi(&set, header.signed, &mut warnings)?;
        let groups = FrameGroups::read(&set, header.frames, &mut warnings)?;
        let mut meta = description::describe(&set);
        meta.encoding = Some(transfer_syntax);
        meta.pixel_spacing_mm = meta.pixel_spacing_mm.or(groups.of(0).pixel_spacing_mm);
        meta.warnings = warnings;
        let order = NativeOrder::of(&pixel_data, &header);
        Ok(DicomSource {
            coding,
            order,
            header,
            frames,
            modality_lut,
            voi,
            groups,
            meta,
            bytes,
        })
    }

    pub(super) fn frame_count(&self) -> usize {
        self.header.frames
    }

    pub(super) fn meta(&self) -> &ImageMeta {
        &self.meta
    }

    /// Decodes a frame below `frame_count`.
    pub(super) fn decode(&self, index: usize) -> Result<GreyImage, DecodeError> {
        let pixels = self.pixels(index)?;
        let mut image = GreyImage::new(pixels, self.header.bits_stored);
        let group = self.groups.of(index);
        image.modality_lut = group.modality_lut.clone().unwrap_or_else(|| self.modality_lut.clone());
        image.voi = group.voi.clone().or_else(|| self.voi.clone());
        image.photometric = self.header.photometric;
        image.meta = self.meta.clone();
        image.meta.pixel_spacing_mm = group.pixel_spacing_mm.or(self.meta.pixel_spacing_mm);
        Ok(image)
    }

    fn pixels(&self, index: usize) -> Result<Pixels, DecodeError> {
        let frame = self.frames.bytes(&self.bytes, index)?;
        let header = &self.header;
        let (words, unused) = match self.coding {
            PixelCoding::Native => return samples::native(&frame, index * frame.len(), &self.order, header),
            PixelCoding::Rle => (rle::decode(&frame, header)?, UnusedBits::Around),
            PixelCoding::Jpeg => jpeg::decode(&frame, header)?,
            PixelCoding::JpegLs => (jpeg_ls::decode(&frame, header)?, UnusedBits::Overshoot),
            PixelCoding::Jpeg2000 => (jpeg2000::decode(&frame, header)?, UnusedBits::Overshoot),
        };
        samples::to_pixels(words, header, unused)
    }
}

fn pixel_data<'a>(set: &DataSet<'a>) -> Result<Element<'a>, DecodeError> {
    set.get(tags::PIXEL_DATA).ok_or_else(|| DecodeError::NoPixels {
        found: "no Pixel Data (7FE0,0010)".to_owned(),
    })
}

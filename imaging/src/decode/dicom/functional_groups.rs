//! Transforms of enhanced multi-frame images (PS3.3 C.7.6.16): shared by all frames, or one set a frame.

use dicom_dictionary_std::tags;

use super::dataset::{DataSet, item_ranges};
use super::{description, transforms};
use crate::decode::error::DecodeError;
use crate::grey::{ModalityLut, Voi};

/// What the groups say of one frame; `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FrameGroup {
    pub(super) modality_lut: Option<ModalityLut>,
    pub(super) voi: Option<Voi>,
    pub(super) pixel_spacing_mm: Option<[f32; 2]>,
}

/// The groups of all frames; classic images have none.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameGroups {
    shared: FrameGroup,
    per_frame: Vec<FrameGroup>,
}

impl FrameGroups {
    pub(super) fn read(set: &DataSet, frames: usize, warnings: &mut Vec<String>) -> Result<Self, DecodeError> {
        let shared = match set.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)? {
            Some(item) => FrameGroup::read(&item, &FrameGroup::default(), warnings)?,
            None => FrameGroup::default(),
        };
        let mut per_frame = Vec::new();
        if let Some(sequence) = set.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) {
            for range in item_ranges(sequence)?.into_iter().take(frames) {
                per_frame.push(FrameGroup::read(&range.read()?, &shared, warnings)?);
            }
        }
        // The same odd window in each of a thousand frames is one warning.
        warnings.dedup();
        Ok(FrameGroups { shared, per_frame })
    }

    /// The groups of a frame.
    pub(super) fn of(&self, frame: usize) -> &FrameGroup {
        self.per_frame.get(frame).unwrap_or(&self.shared)
    }
}

impl FrameGroup {
    fn read(item: &DataSet, shared: &FrameGroup, warnings: &mut Vec<String>) -> Result<Self, DecodeError> {
        let rescale = item.first_item(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE)?;
        let window = item.first_item(tags::FRAME_VOILUT_SEQUENCE)?;
        let measures = item.first_item(tags::PIXEL_MEASURES_SEQUENCE)?;
        Ok(FrameGroup {
            modality_lut: rescale
                .and_then(|item| transforms::rescale(&item, warnings))
                .or_else(|| shared.modality_lut.clone()),
            voi: window
                .and_then(|item| transforms::window(&item, warnings))
                .or_else(|| shared.voi.clone()),
            pixel_spacing_mm: measures
                .and_then(|item| description::spacing(&item, tags::PIXEL_SPACING))
                .or(shared.pixel_spacing_mm),
        })
    }
}

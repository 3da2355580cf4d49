//! A part of an image, cut into bands of rows that the processor's cache holds.

use std::ops::Range;

use fast_image_resize::FilterType;

use super::Part;

/// Pixels of a band, about: its 16-bit ones take 1 MiB.
const BAND_PIXELS: usize = 1 << 19;

/// How a part is cut into bands.
pub(super) struct Bands {
    /// Rows of the part.
    part: usize,
    /// Rows of the part for one of the result.
    scale: f64,
    /// Rows that the filter's kernel reaches beyond those of its own row.
    reach: f64,
    /// Rows of the result in a band; the last may have fewer.
    pub height: usize,
}

/// Rows of the part that make rows of the result.
pub(super) struct Band {
    /// With those that the kernel reaches.
    pub rows: Range<usize>,
    /// Where the rows' own ones begin in them.
    pub top: f64,
    /// How many their own ones are.
    pub height: f64,
}

impl Bands {
    pub fn new(part: Part, height: usize, filter: FilterType) -> Self {
        let support = match filter {
            FilterType::Bilinear => 1.0,
            FilterType::CatmullRom => 2.0,
            _ => 3.0,
        };
        let scale = part.height as f64 / height as f64;
        let reach = support * scale.max(1.0);
        // What two bands share is shown twice: never more than what is shown once.
        let rows = ((BAND_PIXELS / part.width) as f64 - 2.0 * reach).max(2.0 * reach);
        Self {
            part: part.height,
            scale,
            reach,
            height: ((rows / scale) as usize).clamp(1, height),
        }
    }

    /// `count` rows of the result from row `first` on.
    pub fn band(&self, first: usize, count: usize) -> Band {
        let (begin, height) = (first as f64 * self.scale, count as f64 * self.scale);
        // A row more than the kernel reaches, so that rounding never leaves one out.
        let from = (begin - self.reach - 1.0).max(0.0) as usize;
        let to = ((begin + height + self.reach + 1.0).ceil() as usize).min(self.part);
        let top = begin - from as f64;
        Band {
            rows: from..to,
            top,
            height: height.min((to - from) as f64 - top),
        }
    }
}

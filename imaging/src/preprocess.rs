//! From an image to the network's tensor, in one place: training, calibration, evaluation and the appliance all call
//! [`PreprocessSpec::apply`].
//!
//! The order: the display table of the image (or a fixed window) on stored values, the crop, the antialiased resize,
//! then mean and standard deviation. `(display - mean) / std`, display in 0..=1.
//!
//! Here stands the specification; `placement` says which part of the image lands where, and `apply` does it.

mod apply;
mod placement;

use fast_image_resize::FilterType;
use serde::{Deserialize, Deserializer, Serialize};

pub use placement::Rect;

/// Sides of a tensor that are accepted, in pixels.
const SIDE_RANGE: std::ops::RangeInclusive<u32> = 8..=4096;
/// The largest part of an image that a crop rule may cut off its top.
const MAXIMUM_TOP_FRACTION: f64 = 0.5;

/// How an image becomes a tensor `[C,H,W]`; stored in recipes and in bundles.
///
/// ```
/// use ndarray::Array2;
/// use scanside_imaging::grey::{GreyImage, Pixels};
/// use scanside_imaging::preprocess::PreprocessSpec;
///
/// let spec = PreprocessSpec::imagenet(224);
/// let image = GreyImage::new(Pixels::U8(Array2::from_elem((300, 280), 255)), 8);
/// let tensor = spec.apply(&image)?;
/// assert_eq!(tensor.dim(), (3, 224, 224));
/// assert!((tensor[[0, 100, 100]] - (1.0 - 0.485) / 0.229).abs() < 1e-5);
/// # Ok::<(), scanside_imaging::preprocess::PreprocessError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessSpec {
    /// `[H,W]` of the tensor, each 8..=4096.
    pub size: [u32; 2],
    /// The resize filter, always widened to the scale (antialiased).
    #[serde(default)]
    pub filter: ResizeFilter,
    /// Which part of the image the network sees.
    #[serde(default)]
    pub crop: CropRule,
    /// Which grey values are black and white.
    #[serde(default)]
    pub grey: GreyRange,
    /// 1, or 3 equal planes for networks made for colour photographs.
    pub channels: u8,
    /// One value a channel, subtracted from display values in 0..=1.
    pub mean: Vec<f32>,
    /// One value a channel, above zero.
    pub std: Vec<f32>,
}

/// The kernel of the antialiased resize.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// Triangle; Pillow's BILINEAR and torchvision's default with antialias.
    #[default]
    Bilinear,
    /// Catmull-Rom, a = -0.5; Pillow's BICUBIC.
    Bicubic,
    /// Lanczos with three lobes; Pillow's LANCZOS.
    Lanczos3,
}

impl From<ResizeFilter> for FilterType {
    fn from(filter: ResizeFilter) -> Self {
        match filter {
            ResizeFilter::Bilinear => FilterType::Bilinear,
            ResizeFilter::Bicubic => FilterType::CatmullRom,
            ResizeFilter::Lanczos3 => FilterType::Lanczos3,
        }
    }
}

/// Which part of the image fills the tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CropRule {
    /// All of it, stretched to the tensor's aspect.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    Whole,
    /// The largest centred square; stretched if the tensor is not square.
    #[serde(deserialize_with = "no_fields")]
    CentreSquare,
    /// Without the top `fraction` (labels and the neck), then whole or the centred square of the rest. COVID-Net cuts
    /// 8 % and takes the square (Wang, Lin, Wong 2020, data preparation of the published code).
    CropTop {
        /// Part of the height that is cut off, 0..=0.5.
        fraction: f64,
        /// Whether the centred square of the rest is taken.
        #[serde(default)]
        square: bool,
    },
    /// All of it in its own aspect, centred on black.
    #[serde(deserialize_with = "no_fields")]
    FitPadded,
}

/// Which grey values become 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "range", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GreyRange {
    /// What a viewer shows: the file's own window, or its full stored range.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    Display,
    /// A fixed LINEAR window in modality values (HU for CT), whatever the file says.
    Window {
        /// Window centre in modality values.
        center: f32,
        /// Window width in modality values, at least 1.
        width: f32,
    },
}

/// Refuses fields beside the tag of a rule that has none, where serde by itself passes over them.
fn no_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}

    NoFields::deserialize(deserializer).map(|NoFields {}| ())
}

/// Why an image could not become a tensor, or a specification cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// A field of the specification is out of its range.
    #[error("preprocess.{field}: {found} is not allowed; use {allowed}")]
    Field {
        /// Name of the field as written in a recipe.
        field: &'static str,
        /// The value found.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// The image has no pixels, or the crop leaves none, or a side is over 65535.
    #[error("an image of {width} x {height} pixels cannot be prepared; sides from 2 to 65535 can")]
    ImageSize {
        /// Columns of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },
    /// The buffer has not the tensor's length.
    #[error("the tensor takes {expected} values and the buffer holds {found}")]
    BufferLength {
        /// C x H x W of the specification.
        expected: usize,
        /// Length of the buffer.
        found: usize,
    },
    /// The resize refused its input.
    #[error("resize failed: {0}")]
    Resize(String),
}

impl PreprocessSpec {
    /// Three equal planes with ImageNet's mean and standard deviation, as torchvision's weights expect; the whole image
    /// at `side` x `side`.
    pub fn imagenet(side: u32) -> Self {
        Self {
            size: [side; 2],
            filter: ResizeFilter::Bilinear,
            crop: CropRule::Whole,
            grey: GreyRange::Display,
            channels: 3,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }

    /// One plane in -1..=1; the whole image at `side` x `side`.
    pub fn grey(side: u32) -> Self {
        Self {
            channels: 1,
            mean: vec![0.5],
            std: vec![0.5],
            ..Self::imagenet(side)
        }
    }

    /// Whether every field is in its range; `apply` asks first.
    pub fn check(&self) -> Result<(), PreprocessError> {
        let refuse = |field, found: String, allowed| Err(PreprocessError::Field { field, found, allowed });
        if !self.size.iter().all(|side| SIDE_RANGE.contains(side)) {
            return refuse(
                "size",
                format!("{:?}", self.size),
                "[height, width], each from 8 to 4096",
            );
        }
        if !matches!(self.channels, 1 | 3) {
            return refuse("channels", self.channels.to_string(), "1 or 3");
        }
        let planes = usize::from(self.channels);
        if self.mean.len() != planes || !self.mean.iter().all(|mean| mean.is_finite()) {
            return refuse("mean", format!("{:?}", self.mean), "one finite number for each channel");
        }
        if self.std.len() != planes || !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return refuse("std", format!("{:?}", self.std), "one number above 0 for each channel");
        }
        if let CropRule::CropTop { fraction, .. } = self.crop
            && !(0.0..=MAXIMUM_TOP_FRACTION).contains(&fraction)
        {
            return refuse("crop.fraction", fraction.to_string(), "a number from 0 to 0.5");
        }
        if let GreyRange::Window { center, width } = self.grey
            && !(center.is_finite() && width.is_finite() && width >= 1.0)
        {
            return refuse(
                "grey",
                format!("center {center}, width {width}"),
                "a finite center and a width of at least 1",
            );
        }
        Ok(())
    }

    /// C x H x W of the tensor.
    pub fn tensor_len(&self) -> usize {
        usize::from(self.channels) * self.size[0] as usize * self.size[1] as usize
    }
}

/// What the tests of this folder share.
#[cfg(test)]
mod testing {
    use ndarray::Array2;

    use super::{CropRule, PreprocessSpec};
    use crate::grey::{GreyImage, Pixels};

    pub fn ramp(height: usize, width: usize) -> GreyImage {
        let stored = Array2::from_shape_fn((height, width), |(y, x)| ((3 * y + 5 * x) % 256) as u8);
        GreyImage::new(Pixels::U8(stored), 8)
    }

    /// Grey values as the network would see them without mean and std.
    pub fn plain(size: [u32; 2], crop: CropRule) -> PreprocessSpec {
        PreprocessSpec {
            size,
            crop,
            channels: 1,
            mean: vec![0.0],
            std: vec![1.0],
            ..PreprocessSpec::imagenet(8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::ramp;
    use super::*;

    #[test]
    fn fields_out_of_range_are_named() {
        let refused = |change: fn(&mut PreprocessSpec)| {
            let mut spec = PreprocessSpec::imagenet(64);
            change(&mut spec);
            spec.apply(&ramp(20, 20)).expect_err("refused").to_string()
        };
        assert!(refused(|spec| spec.size = [0, 64]).contains("preprocess.size"));
        assert!(refused(|spec| spec.channels = 2).contains("preprocess.channels"));
        assert!(refused(|spec| spec.mean = vec![0.5]).contains("preprocess.mean"));
        assert!(refused(|spec| spec.std = vec![1.0, 0.0, 1.0]).contains("preprocess.std"));
        assert!(refused(|spec| spec.std = vec![1.0, f32::NAN, 1.0]).contains("preprocess.std"));
        let cut = |spec: &mut PreprocessSpec| {
            spec.crop = CropRule::CropTop {
                fraction: 0.6,
                square: false,
            }
        };
        assert!(refused(cut).contains("from 0 to 0.5"));
        let window = |spec: &mut PreprocessSpec| {
            spec.grey = GreyRange::Window {
                center: 0.0,
                width: 0.0,
            }
        };
        assert!(refused(window).contains("preprocess.grey"));
    }

    #[test]
    fn the_written_form_is_stable() {
        let spec = PreprocessSpec {
            crop: CropRule::CropTop {
                fraction: 0.25,
                square: true,
            },
            grey: GreyRange::Window {
                center: -600.0,
                width: 1500.0,
            },
            ..PreprocessSpec::grey(224)
        };
        let text = serde_json::to_string(&spec).expect("JSON");
        let expected = concat!(
            r#"{"size":[224,224],"filter":"bilinear","crop":{"rule":"crop-top","fraction":0.25,"square":true},"#,
            r#""grey":{"range":"window","center":-600.0,"width":1500.0},"channels":1,"mean":[0.5],"std":[0.5]}"#
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<PreprocessSpec>(&text).expect("parsed"), spec);
        let short = r#"{"size":[224,224],"channels":1,"mean":[0.5],"std":[0.5]}"#;
        assert_eq!(
            serde_json::from_str::<PreprocessSpec>(short).expect("defaults"),
            PreprocessSpec::grey(224)
        );
        let unknown = text.replace("\"square\"", "\"sqare\"");
        assert!(
            serde_json::from_str::<PreprocessSpec>(&unknown).is_err(),
            "a misspelt key is refused"
        );
    }
}

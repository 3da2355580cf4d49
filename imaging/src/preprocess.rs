//! From an image to the network's tensor, in one place: training, calibration, evaluation and the appliance all call
//! [`PreprocessSpec::apply`].
//!
//! The order: the display table of the image (or a fixed window) on stored values, the crop, the antialiased resize,
//! then mean and standard deviation. `(display - mean) / std`, display in 0..=1.

use fast_image_resize::FilterType;
use fast_image_resize::pixels::{U8, U16};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::grey::GreyImage;
use crate::resample::{Part, Resampled, resample};

/// Sides of a tensor that are accepted, in pixels.
const SIDE_RANGE: std::ops::RangeInclusive<u32> = 8..=4096;
/// The largest part of an image that a crop rule may cut off its top.
const MAXIMUM_TOP_FRACTION: f64 = 0.5;
/// Sides of an image that can be resized, in pixels.
const MAXIMUM_IMAGE_SIDE: usize = 65_535;

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
    Whole,
    /// The largest centred square; stretched if the tensor is not square.
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
    FitPadded,
}

/// Which grey values become 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "range", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GreyRange {
    /// What a viewer shows: the file's own window, or its full stored range.
    #[default]
    Display,
    /// A fixed LINEAR window in modality values (HU for CT), whatever the file says.
    Window {
        /// Window centre in modality values.
        center: f32,
        /// Window width in modality values, at least 1.
        width: f32,
    },
}

/// A rectangle in pixels of an image; it may reach beyond the image where the tensor was padded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    /// Left border, 0 at the image's left edge.
    pub left: f64,
    /// Top border, 0 at the image's top edge.
    pub top: f64,
    /// Width, above zero.
    pub width: f64,
    /// Height, above zero.
    pub height: f64,
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

/// Where a part of the image lands in the tensor, both in whole pixels.
struct Placement {
    source: Part,
    target: Part,
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

    /// The tensor `[C,H,W]` of an image.
    pub fn apply(&self, image: &GreyImage) -> Result<Array3<f32>, PreprocessError> {
        self.check()?;
        let mut tensor = Array3::zeros((usize::from(self.channels), self.size[0] as usize, self.size[1] as usize));
        if let Some(values) = tensor.as_slice_mut() {
            self.apply_into(image, values)?;
        }
        Ok(tensor)
    }

    /// The tensor `[C,H,W]`, row-major, into a buffer of exactly [`tensor_len`](Self::tensor_len) values.
    pub fn apply_into(&self, image: &GreyImage, tensor: &mut [f32]) -> Result<(), PreprocessError> {
        self.check()?;
        if tensor.len() != self.tensor_len() {
            return Err(PreprocessError::BufferLength {
                expected: self.tensor_len(),
                found: tensor.len(),
            });
        }
        let [height, width] = image.pixels.shape();
        let placement = self.placement(height, width)?;
        let table = match self.grey {
            GreyRange::Display => image.display_table(),
            GreyRange::Window { center, width } => image.window_table(center, width),
        };
        let size = [placement.target.height, placement.target.width];
        let resampled = resample(image, &table, placement.source, size, self.filter.into())
            .map_err(|error| PreprocessError::Resize(error.to_string()))?;
        let plane_len = self.size[0] as usize * self.size[1] as usize;
        for (plane, (mean, std)) in tensor.chunks_exact_mut(plane_len).zip(self.mean.iter().zip(&self.std)) {
            if size != [self.size[0] as usize, self.size[1] as usize] {
                plane.fill(-mean / std);
            }
            match &resampled {
                Resampled::U8(pixels) => self.normalise(plane, placement.target, pixels, |pixel: U8| {
                    (f32::from(pixel.0) / 255.0 - mean) / std
                }),
                Resampled::U16(pixels) => self.normalise(plane, placement.target, pixels, |pixel: U16| {
                    (f32::from(pixel.0) / 65535.0 - mean) / std
                }),
            }
        }
        Ok(())
    }

    /// Writes the resized pixels into their place of one plane.
    fn normalise<P: Copy>(&self, plane: &mut [f32], target: Part, pixels: &[P], value: impl Fn(P) -> f32) {
        let rows = plane.chunks_exact_mut(self.size[1] as usize).skip(target.top);
        for (row, pixels) in rows.zip(pixels.chunks_exact(target.width)) {
            for (out, &pixel) in row[target.left..].iter_mut().zip(pixels) {
                *out = value(pixel);
            }
        }
    }

    /// Where the tensor's field lies in an image of `height` x `width` pixels; for heatmaps. With padding it reaches
    /// beyond the image.
    pub fn source_rect(&self, height: usize, width: usize) -> Result<Rect, PreprocessError> {
        self.check()?;
        let Placement { source, target } = self.placement(height, width)?;
        let step_x = source.width as f64 / target.width as f64;
        let step_y = source.height as f64 / target.height as f64;
        Ok(Rect {
            left: source.left as f64 - target.left as f64 * step_x,
            top: source.top as f64 - target.top as f64 * step_y,
            width: f64::from(self.size[1]) * step_x,
            height: f64::from(self.size[0]) * step_y,
        })
    }

    fn placement(&self, height: usize, width: usize) -> Result<Placement, PreprocessError> {
        if !(2..=MAXIMUM_IMAGE_SIDE).contains(&height) || !(2..=MAXIMUM_IMAGE_SIDE).contains(&width) {
            return Err(PreprocessError::ImageSize { width, height });
        }
        let whole = Part {
            left: 0,
            top: 0,
            width,
            height,
        };
        let [tensor_height, tensor_width] = self.size.map(|side| side as usize);
        let full = Part {
            left: 0,
            top: 0,
            width: tensor_width,
            height: tensor_height,
        };
        Ok(match self.crop {
            CropRule::Whole => Placement {
                source: whole,
                target: full,
            },
            CropRule::CentreSquare => Placement {
                source: centre_square(whole),
                target: full,
            },
            CropRule::CropTop { fraction, square } => {
                // At most half is cut (`check`), so at least one row stays.
                let top = (height as f64 * fraction).floor() as usize;
                let rest = Part {
                    top,
                    height: height - top,
                    ..whole
                };
                Placement {
                    source: if square { centre_square(rest) } else { rest },
                    target: full,
                }
            }
            CropRule::FitPadded => {
                let [inner_height, inner_width] =
                    crate::resample::fit_size([height, width], [tensor_height, tensor_width]);
                let target = Part {
                    left: (tensor_width - inner_width) / 2,
                    top: (tensor_height - inner_height) / 2,
                    width: inner_width,
                    height: inner_height,
                };
                Placement { source: whole, target }
            }
        })
    }
}

fn centre_square(part: Part) -> Part {
    let side = part.width.min(part.height);
    Part {
        left: part.left + (part.width - side) / 2,
        top: part.top + (part.height - side) / 2,
        width: side,
        height: side,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::grey::Pixels;

    fn ramp(height: usize, width: usize) -> GreyImage {
        let stored = Array2::from_shape_fn((height, width), |(y, x)| ((3 * y + 5 * x) % 256) as u8);
        GreyImage::new(Pixels::U8(stored), 8)
    }

    /// Grey values as the network would see them without mean and std.
    fn plain(size: [u32; 2], crop: CropRule) -> PreprocessSpec {
        PreprocessSpec {
            size,
            crop,
            channels: 1,
            mean: vec![0.0],
            std: vec![1.0],
            ..PreprocessSpec::imagenet(8)
        }
    }

    #[test]
    fn planes_differ_only_by_mean_and_std() {
        let spec = PreprocessSpec::imagenet(32);
        let tensor = spec.apply(&ramp(50, 70)).expect("a tensor");
        for channel in 1..3 {
            for y in 0..32 {
                for x in 0..32 {
                    let unit = |c: usize| tensor[[c, y, x]] * spec.std[c] + spec.mean[c];
                    assert!((unit(channel) - unit(0)).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn crop_rules_take_the_stated_part() {
        // The network's size is the crop's size, so that no resize blurs the answer.
        let image = ramp(100, 60);
        let value = |y: usize, x: usize| ((3 * y + 5 * x) % 256) as f32 / 255.0;
        let cases = [
            (plain([100, 60], CropRule::Whole), (0, 0)),
            (plain([60, 60], CropRule::CentreSquare), (20, 0)),
            (
                plain(
                    [92, 60],
                    CropRule::CropTop {
                        fraction: 0.08,
                        square: false,
                    },
                ),
                (8, 0),
            ),
            (
                plain(
                    [60, 60],
                    CropRule::CropTop {
                        fraction: 0.08,
                        square: true,
                    },
                ),
                (24, 0),
            ),
        ];
        for (spec, (top, left)) in cases {
            let tensor = spec.apply(&image).expect("a tensor");
            let [height, width] = spec.size.map(|side| side as usize);
            for (y, x) in [(0, 0), (height - 1, width - 1), (height / 2, 3)] {
                assert!(
                    (tensor[[0, y, x]] - value(top + y, left + x)).abs() < 1e-6,
                    "{:?} {y} {x}",
                    spec.crop
                );
            }
            let rect = spec.source_rect(100, 60).expect("a rectangle");
            assert_eq!((rect.left, rect.top), (left as f64, top as f64));
            assert_eq!((rect.width, rect.height), (width as f64, height as f64));
        }
    }

    #[test]
    fn padding_is_black_and_the_field_reaches_beyond_the_image() {
        let image = GreyImage::new(Pixels::U8(Array2::from_elem((50, 100), 255)), 8);
        let spec = PreprocessSpec {
            crop: CropRule::FitPadded,
            ..PreprocessSpec::grey(64)
        };
        let tensor = spec.apply(&image).expect("a tensor");
        assert_eq!(tensor[[0, 15, 5]], -1.0);
        assert_eq!(tensor[[0, 16, 5]], 1.0);
        assert_eq!(tensor[[0, 47, 63]], 1.0);
        assert_eq!(tensor[[0, 48, 63]], -1.0);
        let rect = spec.source_rect(50, 100).expect("a rectangle");
        assert_eq!(
            rect,
            Rect {
                left: 0.0,
                top: -25.0,
                width: 100.0,
                height: 100.0
            }
        );
    }

    #[test]
    fn fixed_window_ignores_the_files_own() {
        let stored = Array2::from_shape_fn((16, 16), |(y, _)| y as i16 * 100);
        let mut image = GreyImage::new(Pixels::I16(stored), 12);
        image.modality_lut = crate::grey::ModalityLut::Rescale {
            slope: 1.0,
            intercept: -1024.0,
        };
        let spec = PreprocessSpec {
            grey: GreyRange::Window {
                center: -600.0,
                width: 1500.0,
            },
            ..plain([16, 16], CropRule::Whole)
        };
        let tensor = spec.apply(&image).expect("a tensor");
        let expected = image.windowed(-600.0, 1500.0);
        assert!(
            (&tensor.index_axis(ndarray::Axis(0), 0) - &expected)
                .iter()
                .all(|error| error.abs() < 1e-5)
        );
    }

    #[test]
    fn checkerboard_is_averaged_not_sampled() {
        let stored = Array2::from_shape_fn((512, 512), |(y, x)| if (x + y) % 2 == 0 { 255 } else { 0 });
        let image = GreyImage::new(Pixels::U8(stored), 8);
        for filter in [ResizeFilter::Bilinear, ResizeFilter::Bicubic, ResizeFilter::Lanczos3] {
            let spec = PreprocessSpec {
                filter,
                ..plain([64, 64], CropRule::Whole)
            };
            let tensor = spec.apply(&image).expect("a tensor");
            assert!(tensor.iter().all(|value| (value - 0.5).abs() < 0.02), "{filter:?}");
        }
    }

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
    fn wrong_buffers_and_tiny_images_are_refused() {
        let spec = PreprocessSpec::imagenet(64);
        let error = spec.apply_into(&ramp(20, 20), &mut [0.0; 7]).expect_err("too short");
        assert_eq!(
            error,
            PreprocessError::BufferLength {
                expected: 3 * 64 * 64,
                found: 7
            }
        );
        let error = spec.apply(&ramp(1, 20)).expect_err("one row");
        assert_eq!(error, PreprocessError::ImageSize { width: 20, height: 1 });
        assert!(spec.source_rect(0, 0).is_err());
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

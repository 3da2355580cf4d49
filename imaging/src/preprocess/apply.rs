//! The resize and the normalisation: an image's pixels into the tensor.

use fast_image_resize::pixels::{U8, U16};
use ndarray::Array3;

use super::{GreyRange, PreprocessError, PreprocessSpec};
use crate::grey::{GreyImage, Pixels};
use crate::resample::{Part, Reducer, Resampled, resample, small_image, small_size};

impl PreprocessSpec {
    /// The tensor `[C,H,W]` of an image.
    pub fn apply(&self, image: &GreyImage) -> Result<Array3<f32>, PreprocessError> {
        let mut tensor = self.blank()?;
        if let Some(values) = tensor.as_slice_mut() {
            self.apply_into(image, values)?;
        }
        Ok(tensor)
    }

    /// The tensor `[C,H,W]` of an image, and its [`small_image`]: see [`apply_with_small`](Self::apply_with_small).
    pub fn tensor_with_small(
        &self,
        image: &GreyImage,
        side: usize,
    ) -> Result<(Array3<f32>, Option<GreyImage>), PreprocessError> {
        let mut tensor = self.blank()?;
        let small = match tensor.as_slice_mut() {
            Some(values) => self.apply_with_small(image, values, side)?,
            None => None,
        };
        Ok((tensor, small))
    }

    fn blank(&self) -> Result<Array3<f32>, PreprocessError> {
        self.check()?;
        let [height, width] = self.size.map(|side| side as usize);
        Ok(Array3::zeros((usize::from(self.channels), height, width)))
    }

    /// The tensor `[C,H,W]`, row-major, into a buffer of exactly [`tensor_len`](Self::tensor_len) values.
    pub fn apply_into(&self, image: &GreyImage, tensor: &mut [f32]) -> Result<(), PreprocessError> {
        self.apply_beside(image, tensor, None)
    }

    /// As [`apply_into`](Self::apply_into); gives the [`small_image`] too, of the same pass over the pixels where that is
    /// possible. That of an image that cannot be applied must be asked for by itself.
    pub fn apply_with_small(
        &self,
        image: &GreyImage,
        tensor: &mut [f32],
        side: usize,
    ) -> Result<Option<GreyImage>, PreprocessError> {
        self.check()?;
        let source = image.pixels.shape();
        let Some(size) = small_size(source, side) else {
            self.apply_into(image, tensor)?;
            return Ok(None);
        };
        let mut reducer = Reducer::new(source, size);
        let shows_the_same =
            self.grey == GreyRange::Display && self.placement(source[0], source[1])?.source == Part::whole(source);
        self.apply_beside(image, tensor, shows_the_same.then_some(&mut reducer))?;
        if !reducer.is_whole() {
            return Ok(small_image(image, side));
        }
        Ok(reducer.finish().map(|picture| GreyImage::new(Pixels::U8(picture), 8)))
    }

    fn apply_beside(
        &self,
        image: &GreyImage,
        tensor: &mut [f32],
        beside: Option<&mut Reducer>,
    ) -> Result<(), PreprocessError> {
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
        let resampled = resample(image, &table, placement.source, size, self.filter.into(), beside)
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
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::testing::{plain, ramp};
    use super::super::{CropRule, Rect, ResizeFilter};
    use super::*;

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

    /// One pass or two, whatever part of the image the tensor is of.
    #[test]
    fn the_small_picture_is_the_same_beside_a_tensor_and_by_itself() {
        let stored = Array2::from_shape_fn((410, 330), |(y, x)| ((y * 37 + x * 11 + y * x / 7) % 4096) as u16);
        let mut image = GreyImage::new(Pixels::U16(stored), 12);
        image.photometric = crate::grey::Photometric::Monochrome1;
        let alone = small_image(&image, 100);
        for crop in [CropRule::Whole, CropRule::FitPadded, CropRule::CentreSquare] {
            let spec = plain([64, 48], crop);
            let (tensor, small) = spec.tensor_with_small(&image, 100).expect("both");
            assert_eq!(tensor, spec.apply(&image).expect("a tensor"), "{crop:?}");
            assert!(small.is_some() && small == alone, "{crop:?}");
            assert_eq!(spec.tensor_with_small(&image, 410).expect("both").1, None);
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
}

//! Sheets of images in a grid, as PNG.

use std::path::{Path, PathBuf};

use image::{GrayImage, ImageError, RgbImage};
use ndarray::{ArrayView3, ArrayView4};

/// Pixels between two images.
const GAP: usize = 2;

/// A sheet that was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("cannot write the sheet {path}: {source}; check that the folder exists, can be written and has room", path = path.display())]
pub struct SheetError {
    /// The file.
    pub path: PathBuf,
    /// What the encoder or the system says.
    pub source: ImageError,
}

/// Writes images `[n,C,H,W]` in [-1, 1] (C is 1 or 3) row by row into a grid of `columns`.
///
/// Gives the picture.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, images: ArrayView4<'_, f32>, columns: usize) -> Result<RgbImage, SheetError> {
    let (count, _, height, width) = images.dim();
    let columns = columns.clamp(1, count.max(1));
    let rows = count.div_ceil(columns).max(1);
    let extent = |cells: usize, side: usize| (cells * (side + GAP) + GAP) as u32;
    let mut sheet = RgbImage::new(extent(columns, width), extent(rows, height));
    for (number, image) in images.outer_iter().enumerate() {
        let left = GAP + number % columns * (width + GAP);
        let top = GAP + number / columns * (height + GAP);
        for y in 0..height {
            for x in 0..width {
                sheet.put_pixel((left + x) as u32, (top + y) as u32, image::Rgb(colour(&image, y, x)));
            }
        }
    }
    sheet.save(path).map_err(failed(path))?;
    Ok(sheet)
}

/// Writes one image `[C,H,W]` in [-1, 1], grey if it has one channel.
///
/// # Errors
/// The file cannot be written.
pub fn write_one(path: &Path, image: ArrayView3<'_, f32>) -> Result<(), SheetError> {
    let (channels, height, width) = image.dim();
    let saved = if channels == 1 {
        let pixel = |x: u32, y: u32| image::Luma([byte(image[[0, y as usize, x as usize]])]);
        GrayImage::from_fn(width as u32, height as u32, pixel).save(path)
    } else {
        let pixel = |x: u32, y: u32| image::Rgb(colour(&image, y as usize, x as usize));
        RgbImage::from_fn(width as u32, height as u32, pixel).save(path)
    };
    saved.map_err(failed(path))
}

fn colour(image: &ArrayView3<'_, f32>, y: usize, x: usize) -> [u8; 3] {
    let channels = image.dim().0;
    [0, 1, 2].map(|channel| byte(image[[channel.min(channels - 1), y, x]]))
}

/// [-1, 1] to 0..=255.
fn byte(value: f32) -> u8 {
    ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

fn failed(path: &Path) -> impl Fn(ImageError) -> SheetError {
    let path = path.to_owned();
    move |source| SheetError {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    #[test]
    fn images_stand_in_rows_and_black_is_minus_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        let images = Array4::from_shape_fn((3, 1, 4, 4), |(n, ..)| [-1.0, 0.0, 1.0][n]);
        write(&path, images.view(), 2).unwrap();
        let sheet = image::open(&path).unwrap().to_luma8();
        assert_eq!(sheet.dimensions(), (14, 14));
        let seen = [(2, 2), (8, 2), (2, 8)].map(|(x, y)| sheet.get_pixel(x, y).0[0]);
        assert_eq!(seen, [0, 128, 255]);
        let absent = folder.path().join("none/sheet.png");
        assert!(
            write(&absent, images.view(), 2)
                .unwrap_err()
                .to_string()
                .contains("none/sheet.png")
        );
    }
}

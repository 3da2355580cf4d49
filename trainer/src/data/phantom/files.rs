//! The files of a set of phantoms: a folder of its own, pictures, masks.

use std::path::Path;

use imaging::grey::{GreyImage, Pixels};
use ndarray::Array2;

use crate::data::error::DataError;

/// Grey steps of the PNG files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// 8 bits.
    Eight,
    /// 16 bits.
    Sixteen,
}

/// Makes the folder with these folders in it.
///
/// # Errors
/// It holds something, or cannot be made.
pub fn fresh_folders(out: &Path, names: &[&str]) -> Result<(), DataError> {
    // Whatever lies there, a data set of real images included, would be overwritten in part.
    let entries = std::fs::read_dir(out).ok();
    if entries.is_some_and(|mut entries| entries.next().is_some()) {
        return Err(DataError::NotEmpty { path: out.to_owned() });
    }
    for name in names {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
    }
    Ok(())
}

/// Writes a picture (grey 0..1) as PNG and gives the bytes.
///
/// # Errors
/// It cannot be encoded or written.
pub fn write_png(picture: &Array2<f32>, depth: Depth, path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = encode(picture, depth, path)?;
    std::fs::write(path, &bytes).map_err(DataError::io(path))?;
    Ok(bytes)
}

/// Writes a mask as PNG, white inside.
///
/// # Errors
/// As [`write_png`].
pub fn write_mask(mask: &Array2<bool>, path: &Path) -> Result<(), DataError> {
    let white = mask.mapv(|inside| f32::from(u8::from(inside)));
    write_png(&white, Depth::Eight, path)?;
    Ok(())
}

/// A picture (grey 0..1) as PNG; `path` is the file that messages name.
///
/// # Errors
/// It cannot be encoded.
pub fn encode(picture: &Array2<f32>, depth: Depth, path: &Path) -> Result<Vec<u8>, DataError> {
    let (height, width) = (picture.nrows() as u32, picture.ncols() as u32);
    let mut bytes = std::io::Cursor::new(Vec::new());
    let grey = GreyImage::from_unit(picture.view());
    let written = match (depth, grey.pixels) {
        (Depth::Sixteen, Pixels::U16(values)) => {
            let buffer =
                image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, values.into_raw_vec_and_offset().0);
            buffer.map(|buffer| buffer.write_to(&mut bytes, image::ImageFormat::Png))
        }
        _ => {
            let values: Vec<u8> = picture.iter().map(|value| (value * 255.0 + 0.5) as u8).collect();
            let buffer = image::GrayImage::from_raw(width, height, values);
            buffer.map(|buffer| buffer.write_to(&mut bytes, image::ImageFormat::Png))
        }
    };
    let fault = |reason: String| DataError::Write {
        path: path.to_owned(),
        reason,
    };
    match written {
        Some(Ok(())) => Ok(bytes.into_inner()),
        Some(Err(error)) => Err(fault(error.to_string())),
        None => Err(fault(format!("{width} x {height} pixels do not fit their buffer"))),
    }
}

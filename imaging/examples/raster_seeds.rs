//! Writes small PNG, JPEG and TIFF files of all kinds for the fuzz target `decode_raster` to begin with.
//!
//! `cargo run --package scanside-imaging --example raster_seeds -- FOLDER`
//!
//! The target takes the first byte as a choice of signature; a zero stands for none, so each file lies behind one.

use std::error::Error;
use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("give the folder")?.into();
    std::fs::create_dir_all(&folder)?;
    for (kind, picture) in pictures() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff] {
            let mut file = Cursor::new(vec![0]);
            file.set_position(1);
            // Not every format holds every kind.
            if picture.write_to(&mut file, format).is_ok() {
                let ending = format.extensions_str()[0];
                std::fs::write(folder.join(format!("{kind}.{ending}")), file.into_inner())?;
            }
        }
    }
    Ok(())
}

fn pictures() -> [(&'static str, DynamicImage); 6] {
    let byte = |x: u32, y: u32| (x * 5 + y * 3) as u8;
    let word = |x: u32, y: u32| (x * 1500 + y) as u16;
    [
        ("grey8", ImageBuffer::from_fn(20, 15, |x, y| Luma([byte(x, y)])).into()),
        ("grey16", ImageBuffer::from_fn(20, 15, |x, y| Luma([word(x, y)])).into()),
        (
            "grey_alpha8",
            ImageBuffer::from_fn(20, 15, |x, y| LumaA([byte(x, y), 255])).into(),
        ),
        ("rgb8", ImageBuffer::from_fn(20, 15, |x, y| Rgb([byte(x, y); 3])).into()),
        (
            "rgb16",
            ImageBuffer::from_fn(20, 15, |x, y| Rgb([word(x, y); 3])).into(),
        ),
        (
            "rgba8",
            ImageBuffer::from_fn(20, 15, |x, y| Rgba([byte(x, y), 1, 2, 255])).into(),
        ),
    ]
}

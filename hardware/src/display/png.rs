//! A display that is a PNG file; every flush writes the whole picture anew.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::primitives::Rectangle;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::{Canvas, Display, DisplayError};

/// Shows pictures in a file, so that a person, a test or a remote viewer can look at them.
#[derive(Debug)]
pub struct PngDisplay {
    path: PathBuf,
    size: Size,
}

impl PngDisplay {
    /// A display of `size` at `path`; the file is written by the first flush.
    pub fn new(path: impl Into<PathBuf>, size: Size) -> Self {
        Self {
            path: path.into(),
            size,
        }
    }

    fn io(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> DisplayError {
        let path = self.path.clone();
        move |source| DisplayError::Io { path, action, source }
    }

    /// Writes beside the file, then renames, so that no viewer ever reads half a picture.
    fn write(&self, canvas: &Canvas, partial: &Path) -> Result<(), DisplayError> {
        let file = fs::File::create(partial).map_err(self.io("create"))?;
        let mut writer = BufWriter::new(file);
        let size = canvas.size();
        PngEncoder::new_with_quality(&mut writer, CompressionType::Default, FilterType::Adaptive)
            .write_image(canvas.rgb(), size.width, size.height, ExtendedColorType::Rgb8)
            .map_err(|source| match source {
                image::ImageError::IoError(source) => self.io("write")(source),
                source => DisplayError::Encode {
                    path: self.path.clone(),
                    source,
                },
            })?;
        writer.flush().map_err(self.io("write"))?;
        drop(writer);
        fs::rename(partial, &self.path).map_err(self.io("write"))
    }
}

impl Display for PngDisplay {
    fn describe(&self) -> String {
        format!(
            "PNG file {}, {} x {}",
            self.path.display(),
            self.size.width,
            self.size.height
        )
    }

    fn size(&self) -> Size {
        self.size
    }

    fn flush(&mut self, canvas: &Canvas, _dirty: &[Rectangle]) -> Result<(), DisplayError> {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        let partial = self.path.with_file_name(name);
        self.write(canvas, &partial).inspect_err(|_| {
            // The first error is the one to tell; a leftover may not even exist.
            let _ = fs::remove_file(&partial);
        })
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::pixelcolor::Rgb888;
    use embedded_graphics::prelude::*;

    use super::*;
    use crate::display::present;

    #[test]
    fn file_holds_the_canvas_exactly() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("screen.png");
        let mut canvas = Canvas::new(Size::new(31, 17));
        let area = Rectangle::new(Point::new(2, 3), Size::new(20, 9));
        canvas
            .fill_contiguous(&area, (0..180).map(|i| Rgb888::new(i, 255 - i, 9)))
            .expect("infallible");
        let mut display = PngDisplay::new(&path, canvas.size());
        present(&mut canvas, &mut display).expect("written");
        let read = image::open(&path).expect("a PNG").into_rgb8();
        assert_eq!(read.dimensions(), (31, 17));
        assert_eq!(read.as_raw(), canvas.rgb());
        assert!(canvas.dirty().is_empty());
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "no partial file stays"
        );
    }

    #[test]
    fn missing_folder_is_told_with_its_path_and_leaves_the_canvas_dirty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("absent/screen.png");
        let mut canvas = Canvas::new(Size::new(4, 4));
        let mut display = PngDisplay::new(&path, canvas.size());
        let error = present(&mut canvas, &mut display).expect_err("no folder");
        assert!(error.to_string().contains("absent"), "{error}");
        assert_eq!(canvas.dirty().len(), 1);
    }
}

//! A display that is a PNG file; every flush writes the whole picture anew.

use std::path::PathBuf;
use std::time::Duration;

use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::primitives::Rectangle;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::{Canvas, Display, DisplayError};
use crate::whole_file;

/// Whoever looks at the file sees within so long that what writes it lives.
const MOVES_EVERY: Duration = Duration::from_secs(5);

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

    fn encode(&self, canvas: &Canvas) -> Result<Vec<u8>, DisplayError> {
        let mut png = Vec::new();
        let size = canvas.size();
        PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
            .write_image(canvas.rgb(), size.width, size.height, ExtendedColorType::Rgb8)
            .map_err(|source| DisplayError::Encode {
                path: self.path.clone(),
                source,
            })?;
        Ok(png)
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

    fn moves_every(&self) -> Option<Duration> {
        Some(MOVES_EVERY)
    }

    /// No viewer ever reads half a picture.
    fn flush(&mut self, canvas: &Canvas, _dirty: &[Rectangle]) -> Result<(), DisplayError> {
        whole_file::write(&self.path, &self.encode(canvas)?).map_err(|source| DisplayError::Io {
            path: self.path.clone(),
            action: "write",
            source,
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
            std::fs::read_dir(folder.path()).expect("a folder").count(),
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

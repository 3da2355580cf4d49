//! Displays: screens draw on a [`Canvas`] in memory, a [`Display`] shows the parts that changed.
//!
//! ```
//! use embedded_graphics::{pixelcolor::Rgb888, prelude::*, primitives::Rectangle};
//! use scanside_hardware::display::{Canvas, PngDisplay, present};
//!
//! let folder = tempfile::tempdir()?;
//! let mut display = PngDisplay::new(folder.path().join("screen.png"), Size::new(320, 240));
//! let mut canvas = Canvas::new(Size::new(320, 240));
//! canvas.fill_solid(&Rectangle::new(Point::new(8, 8), Size::new(50, 20)), Rgb888::WHITE)?;
//! present(&mut canvas, &mut display)?;
//! assert!(folder.path().join("screen.png").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canvas;
mod framebuffer;
mod png;
#[cfg(feature = "window")]
mod window;

use std::path::PathBuf;
use std::time::Duration;

use embedded_graphics::geometry::Size;
use embedded_graphics::primitives::Rectangle;

pub use canvas::Canvas;
pub use framebuffer::{Channel, FramebufferDisplay, Geometry, PixelFormat};
pub use png::PngDisplay;
#[cfg(feature = "window")]
pub use window::{WindowDisplay, Wish};

/// Something that shows pictures.
pub trait Display {
    /// What it is and where, for people: "framebuffer /dev/fb0, 800 x 480, 16 bit".
    fn describe(&self) -> String;

    /// Its size in pixels.
    fn size(&self) -> Size;

    /// Shows the canvas. Only the areas `dirty` changed since the last call; a display may show more than those.
    fn flush(&mut self, canvas: &Canvas, dirty: &[Rectangle]) -> Result<(), DisplayError>;

    /// How often it can show what moves; absent if it shows pictures that stand. A file is written anew each time.
    fn moves_every(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// Shows what changed on the canvas since the last time; does nothing if nothing did. After an error the areas are
/// still waiting.
pub fn present(canvas: &mut Canvas, display: &mut dyn Display) -> Result<(), DisplayError> {
    if !canvas.dirty().is_empty() {
        display.flush(canvas, canvas.dirty())?;
        canvas.clean();
    }
    Ok(())
}

/// Why a display cannot show anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisplayError {
    /// The device or file cannot be opened, asked or written.
    #[error("display {}: cannot {action}: {source}; check that the path exists and may be written", path.display())]
    Io {
        /// Device or file.
        path: PathBuf,
        /// What was tried: "open".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The device's pixels are of a kind that is not supported.
    #[error("display {}: {found} is not supported; set the display to 16 or 32 bits a pixel in true colour", path.display())]
    PixelFormat {
        /// Device or file.
        path: PathBuf,
        /// What the device says.
        found: String,
    },
    /// The picture could not be encoded.
    #[error("display {}: cannot encode the picture: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The encoder's reason.
        source: image::ImageError,
    },
    /// There is no desktop to open a window on.
    #[error(
        "display window: no desktop to open it on; set DISPLAY or WAYLAND_DISPLAY, or use a PNG or framebuffer display"
    )]
    NoDesktop,
    /// The desktop takes no window.
    #[error("display window: {reason}; check DISPLAY or WAYLAND_DISPLAY, or use a PNG or framebuffer display")]
    Window {
        /// SDL's reason.
        reason: String,
    },
    /// The person closed the window.
    #[error("display window: it was closed")]
    WindowClosed,
}

//! Where results go: file names, files, displays.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use embedded_graphics::geometry::Size;
#[cfg(feature = "window")]
use hardware::display::Wish;
use hardware::display::{Canvas, Display, DisplayError, FramebufferDisplay, PngDisplay, present};
use hardware::whole_file;
use image::{ExtendedColorType, ImageEncoder};

use crate::exit::{Exit, Failure};
use crate::presentation::RgbPicture;
use crate::screens::{Page, ResultScreen, ResultView};

/// Gives each image of one call its own output names.
///
/// With one image a name stays as it is; with several `out.png` becomes `out-STEM.png`, and a stem that comes again
/// gets a number.
#[derive(Debug)]
pub struct Names {
    stems: Vec<String>,
}

impl Names {
    /// Names for the outputs of `inputs`.
    pub fn new(inputs: &[PathBuf]) -> Self {
        let mut seen = HashSet::new();
        let mut unique = |stem: String| {
            let mut name = stem.clone();
            let mut number = 2;
            while !seen.insert(name.clone()) {
                name = format!("{stem}-{number}");
                number += 1;
            }
            name
        };
        let stem = |path: &PathBuf| {
            path.file_stem()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        let stems = inputs.iter().map(|path| unique(stem(path))).collect();
        Self { stems }
    }

    /// The output `out` of the input at `index`.
    pub fn of(&self, out: &Path, index: usize) -> PathBuf {
        if self.stems.len() < 2 {
            return out.to_path_buf();
        }
        let mut name = out.file_stem().map(OsString::from).unwrap_or_default();
        name.push("-");
        name.push(&self.stems[index]);
        if let Some(ending) = out.extension() {
            name.push(".");
            name.push(ending);
        }
        out.with_file_name(name)
    }
}

/// [`whole_file::write`], with a message that names the file and what to try.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    whole_file::write(path, bytes).map_err(|e| cannot_write(path, &e))
}

fn cannot_write(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    let message = format!(
        "cannot write {}: {reason}; check that the folder exists, may be written and has room",
        path.display()
    );
    Failure::new(Exit::Failed, message)
}

/// Writes a picture as PNG.
pub fn write_picture(path: &Path, picture: &RgbPicture) -> Result<(), Failure> {
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(Cursor::new(&mut png))
        .write_image(&picture.rgb, picture.width, picture.height, ExtendedColorType::Rgb8)
        .map_err(|e| cannot_write(path, &e))?;
    write_output(path, &png)
}

/// The displays of one call; the framebuffer and the window stay open from image to image.
pub struct Displays {
    screen: ResultScreen,
    devices: Vec<Box<dyn Display>>,
    #[cfg(feature = "window")]
    window: Option<hardware::display::WindowDisplay>,
}

/// Which displays to open.
#[derive(Debug, Clone, Copy)]
pub struct DisplayChoice<'a> {
    /// A framebuffer device.
    pub framebuffer: Option<&'a Path>,
    /// A window on the desktop of this size in pixels.
    pub window: Option<Size>,
}

impl Displays {
    /// Opens the chosen displays.
    ///
    /// # Errors
    /// A display that cannot be opened; a window in a build without windows.
    pub fn open(choice: DisplayChoice<'_>) -> anyhow::Result<Self> {
        let mut devices: Vec<Box<dyn Display>> = Vec::new();
        if let Some(path) = choice.framebuffer {
            devices.push(Box::new(FramebufferDisplay::open(path)?));
        }
        #[cfg(not(feature = "window"))]
        if choice.window.is_some() {
            let message =
                "this program was built without windows; build it with --features window, or use --screen FILE.png";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        Ok(Self {
            screen: ResultScreen::new(),
            devices,
            #[cfg(feature = "window")]
            window: match choice.window {
                Some(size) => Some(hardware::display::WindowDisplay::open("Scanside", size)?),
                None => None,
            },
        })
    }

    /// Shows a result on the open displays. In a window it stays until the person wants to go on: to its next page,
    /// then to the next result; after the `last` one back to its first page, until the window is closed.
    ///
    /// # Errors
    /// A display that fails. Without a window that was closed the work goes on.
    pub fn show(&mut self, view: &ResultView<'_>, last: bool) -> Result<(), Failure> {
        for device in &mut self.devices {
            show_on(&self.screen, view, Page::Pictures, device.as_mut())?;
        }
        #[cfg(feature = "window")]
        if let Some(window) = &mut self.window
            && turn_pages(&self.screen, view, window, last)? == Wish::Close
        {
            self.window = None;
        }
        #[cfg(not(feature = "window"))]
        let _ = last;
        Ok(())
    }

    /// Writes a result's screen as PNG, and its further pages beside it: `screen-page2.png`. Further pages of an
    /// earlier result do not stay.
    pub fn write_screen(&self, view: &ResultView<'_>, path: &Path, size: Size) -> Result<(), Failure> {
        let pages = self.screen.pages(view, size);
        for (number, page) in (1..).zip(&pages) {
            let path = page_path(path, number);
            if fs::metadata(&path).is_ok_and(|m| !m.is_file()) {
                return Err(cannot_write(&path, &"it is no plain file"));
            }
            let drawn = draw(&self.screen, view, *page, &mut PngDisplay::new(&path, size));
            drawn.map_err(|error| match error {
                // The display's message names the path and a remedy, as this one does.
                DisplayError::Io { source, .. } => cannot_write(&path, &source),
                error => Failure::new(Exit::Failed, error.to_string()),
            })?;
        }
        for number in pages.len() + 1..=MOST_PAGES {
            let earlier = page_path(path, number);
            match fs::remove_file(&earlier) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_write(&earlier, &error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Pages that a result can have.
const MOST_PAGES: usize = 3;

fn page_path(first: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return first.to_path_buf();
    }
    let mut name = first.file_stem().map(OsString::from).unwrap_or_default();
    name.push(format!("-page{number}"));
    if let Some(ending) = first.extension() {
        name.push(".");
        name.push(ending);
    }
    first.with_file_name(name)
}

/// Shows one page after the other, as the person at the window wants.
#[cfg(feature = "window")]
fn turn_pages(
    screen: &ResultScreen,
    view: &ResultView<'_>,
    window: &mut hardware::display::WindowDisplay,
    last: bool,
) -> Result<Wish, Failure> {
    loop {
        for page in screen.pages(view, window.size()) {
            show_on(screen, view, page, window)?;
            if window.wait() == Wish::Close {
                return Ok(Wish::Close);
            }
        }
        if !last {
            return Ok(Wish::Next);
        }
    }
}

fn show_on(screen: &ResultScreen, view: &ResultView<'_>, page: Page, display: &mut dyn Display) -> Result<(), Failure> {
    draw(screen, view, page, display).map_err(|e| Failure::new(Exit::Device, e.to_string()))
}

fn draw(
    screen: &ResultScreen,
    view: &ResultView<'_>,
    page: Page,
    display: &mut dyn Display,
) -> Result<(), DisplayError> {
    let mut canvas = Canvas::new(display.size());
    let Ok(()) = screen.draw_page(view, page, &mut canvas);
    present(&mut canvas, display)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_keeps_the_name_and_several_get_their_stems() {
        let out = Path::new("results/screen.png");
        let one = Names::new(&["a/x.dcm".into()]);
        assert_eq!(one.of(out, 0), out);
        let three = Names::new(&["a/x.dcm".into(), "b/x.png".into(), "c/y.png".into()]);
        let names: Vec<_> = (0..3).map(|i| three.of(out, i)).collect();
        let wanted = ["results/screen-x.png", "results/screen-x-2.png", "results/screen-y.png"];
        assert_eq!(names, wanted.map(PathBuf::from));
    }

    #[test]
    fn a_number_never_meets_another_stem() {
        let names = Names::new(&["x".into(), "x-2".into(), "b/x".into()]);
        let names: HashSet<_> = (0..3).map(|i| names.of(Path::new("o.png"), i)).collect();
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn a_full_device_is_told_and_stays_a_device() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("skipped: this system has no /dev/full");
            return;
        }
        let error = write_output(full, b"{}").unwrap_err();
        assert!(error.message.contains("cannot write /dev/full"), "{error}");
        assert_eq!(error.exit, Exit::Failed);
        assert!(!std::fs::metadata(full).unwrap().is_file());
    }
}

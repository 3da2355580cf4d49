//! A window on the desktop, by embedded-graphics' simulator (SDL2).

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics_simulator::{OutputSettings, SimulatorDisplay, SimulatorEvent, Window};

use super::{Canvas, Display, DisplayError};

/// What the person at the window wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To see what comes next: a key or a click.
    Next,
    /// No window: Escape, or closing it.
    Close,
}

/// A window that shows the canvas, one screen pixel a pixel.
pub struct WindowDisplay {
    title: String,
    picture: SimulatorDisplay<Rgb888>,
    window: Window,
    /// The simulator opens its window at the first update and has no events before.
    open: bool,
}

impl WindowDisplay {
    /// A window of `size`; it appears with the first flush.
    pub fn open(title: &str, size: Size) -> Result<Self, DisplayError> {
        // SDL would end the program where there is no desktop.
        let desktop = ["DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"];
        if !desktop
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
        {
            return Err(DisplayError::NoDesktop);
        }
        find_desktop()?;
        Ok(Self {
            title: title.to_owned(),
            picture: SimulatorDisplay::new(size),
            window: Window::new(title, &OutputSettings::default()),
            open: false,
        })
    }

    /// What the person wants by now, if anything; ask now and then, it also keeps the window answering.
    pub fn wish(&self) -> Option<Wish> {
        if !self.open {
            return None;
        }
        self.window.events().find_map(|event| match event {
            SimulatorEvent::Quit => Some(Wish::Close),
            SimulatorEvent::KeyDown { repeat: false, .. } | SimulatorEvent::MouseButtonDown { .. } => Some(Wish::Next),
            _ => None,
        })
    }

    /// Returns when the person wants something; at once from a window that was never shown.
    pub fn wait(&mut self) -> Wish {
        while self.open {
            if let Some(wish) = self.wish() {
                return wish;
            }
            // Update limits itself to the simulator's frame rate.
            self.window.update(&self.picture);
        }
        Wish::Close
    }
}

/// The simulator panics where SDL finds no desktop, and nobody sees the one that SDL makes up then.
fn find_desktop() -> Result<(), DisplayError> {
    let refused = |reason| DisplayError::Window { reason };
    let video = sdl2::init().and_then(|sdl| sdl.video()).map_err(refused)?;
    let driver = video.current_video_driver();
    let made_up = ["offscreen", "dummy", "evdev"].contains(&driver);
    if made_up && std::env::var_os("SDL_VIDEODRIVER").is_none_or(|name| name != driver) {
        let display = std::env::var("DISPLAY").unwrap_or_default();
        return Err(refused(format!("SDL finds no desktop (DISPLAY is '{display}')")));
    }
    Ok(())
}

impl Display for WindowDisplay {
    fn describe(&self) -> String {
        let Size { width, height } = self.picture.size();
        format!("window \"{}\", {width} x {height}", self.title)
    }

    fn size(&self) -> Size {
        self.picture.size()
    }

    fn flush(&mut self, canvas: &Canvas, dirty: &[Rectangle]) -> Result<(), DisplayError> {
        if self.wish() == Some(Wish::Close) {
            return Err(DisplayError::WindowClosed);
        }
        for area in dirty {
            let Point { x: left, y: top } = area.top_left;
            for y in top..top + area.size.height as i32 {
                let row = canvas.row(y as u32, left as u32, area.size.width).chunks_exact(3);
                let pixels = (left..).zip(row).map(|(x, rgb)| {
                    let colour = Rgb888::new(rgb[0], rgb[1], rgb[2]);
                    Pixel(Point::new(x, y), colour)
                });
                let Ok(()) = self.picture.draw_iter(pixels);
            }
        }
        self.window.update(&self.picture);
        self.open = true;
        Ok(())
    }
}

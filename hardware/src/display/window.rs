//! A window on the desktop, by embedded-graphics' simulator (SDL2).

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics_simulator::{OutputSettings, SimulatorDisplay, SimulatorEvent, Window};

use super::{Canvas, Display, DisplayError};

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
        Ok(Self {
            title: title.to_owned(),
            picture: SimulatorDisplay::new(size),
            window: Window::new(title, &OutputSettings::default()),
            open: false,
        })
    }

    /// Whether the person has asked to close the window; ask now and then, it also keeps the window answering.
    pub fn is_closed(&self) -> bool {
        self.open && self.window.events().any(|event| matches!(event, SimulatorEvent::Quit))
    }

    /// Returns when the person closes the window.
    pub fn wait_until_closed(&mut self) {
        while self.open && !self.is_closed() {
            // Update limits itself to the simulator's frame rate.
            self.window.update(&self.picture);
        }
    }
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
        if self.is_closed() {
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

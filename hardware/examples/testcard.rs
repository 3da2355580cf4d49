//! Shows a test card, to see whether a display works and has its colours in order:
//!
//! ```text
//! cargo run -p scanside-hardware --example testcard -- png card.png
//! cargo run -p scanside-hardware --example testcard -- framebuffer /dev/fb0
//! cargo run -p scanside-hardware --example testcard --features window -- window
//! ```

use std::error::Error;

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use hardware::display::{Canvas, Display, FramebufferDisplay, PngDisplay, present};
use scanside_hardware as hardware;

const USAGE: &str = "usage: testcard png PATH | framebuffer DEVICE | window";

/// From left to right: white, yellow, cyan, green, magenta, red, blue; below them a grey ramp; one pixel of white around.
fn card(size: Size) -> Canvas {
    let mut canvas = Canvas::new(size);
    let (width, height) = (size.width, size.height);
    let colours = [0b111, 0b110, 0b011, 0b010, 0b101, 0b100, 0b001_u8].map(|bits| {
        let channel = |bit: u8| if bits & bit == 0 { 0 } else { 191 };
        Rgb888::new(channel(4), channel(2), channel(1))
    });
    let area = Rectangle::new(Point::zero(), size);
    let pixels = area.points().map(|at| {
        let (x, y) = (at.x as u32, at.y as u32);
        if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
            Rgb888::WHITE
        } else if y * 3 < height * 2 {
            colours[(x * 7 / width) as usize]
        } else {
            let grey = (x * 255 / width) as u8;
            Rgb888::new(grey, grey, grey)
        }
    });
    let Ok(()) = canvas.fill_contiguous(&area, pixels);
    canvas
}

fn show(display: &mut dyn Display) -> Result<(), Box<dyn Error>> {
    println!("{}", display.describe());
    present(&mut card(display.size()), display)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["png", path] => show(&mut PngDisplay::new(path, Size::new(800, 480))),
        ["framebuffer", device] => show(&mut FramebufferDisplay::open(device)?),
        #[cfg(feature = "window")]
        ["window"] => {
            let mut display = hardware::display::WindowDisplay::open("Test card", Size::new(800, 480))?;
            show(&mut display)?;
            while display.wait() != hardware::display::Wish::Close {}
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

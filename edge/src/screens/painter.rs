//! Words on a target, placed by what the eye lines up: the middle of capitals.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, Point};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::Baseline;
use embedded_graphics::text::renderer::TextRenderer;

use super::palette;
use crate::text::{Fonts, TextStyle, Weight, ellipsize};

/// Which face and colours.
#[derive(Debug, Clone, Copy)]
pub struct Ink {
    pub weight: Weight,
    pub size: u32,
    pub colour: Rgb888,
    pub ground: Rgb888,
}

impl Ink {
    /// Regular, muted, on the screen's ground.
    pub fn muted(size: u32) -> Self {
        Self {
            weight: Weight::Regular,
            size,
            colour: palette::MUTED,
            ground: palette::GROUND,
        }
    }

    /// Regular, bright, on the screen's ground.
    pub fn text(size: u32) -> Self {
        Self {
            colour: palette::TEXT,
            ..Self::muted(size)
        }
    }

    /// Bold, bright, on the screen's ground.
    pub fn bold(size: u32) -> Self {
        Self {
            weight: Weight::Bold,
            ..Self::text(size)
        }
    }

    pub fn on(self, ground: Rgb888) -> Self {
        Self { ground, ..self }
    }

    pub fn coloured(self, colour: Rgb888) -> Self {
        Self { colour, ..self }
    }
}

/// A target that shows nothing: to see what would have room.
pub struct Nothing;

impl Dimensions for Nothing {
    fn bounding_box(&self) -> Rectangle {
        Rectangle::zero()
    }
}

impl DrawTarget for Nothing {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, _: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        Ok(())
    }

    fn fill_contiguous<I>(&mut self, _: &Rectangle, _: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Rgb888>,
    {
        Ok(())
    }

    fn fill_solid(&mut self, _: &Rectangle, _: Rgb888) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A target with the fonts to write on it.
pub struct Painter<'a, D> {
    pub target: &'a mut D,
    pub fonts: &'a Fonts,
    /// Whether something that a person must be able to read found no room.
    pub left_out: bool,
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Width of a line in pixels.
    pub fn width(&self, text: &str, ink: Ink) -> i32 {
        self.fonts.face(ink.weight, ink.size).width(text) as i32
    }

    /// The largest bold face between two sizes in which a line fits `room` pixels, else the smallest.
    pub fn bold_that_fits(&self, text: &str, room: i32, [least, most]: [u32; 2]) -> Ink {
        let sizes = (least..=most).rev().map(Ink::bold);
        let mut fitting = sizes.filter(|ink| self.width(text, *ink) <= room);
        fitting.next().unwrap_or(Ink::bold(least))
    }

    /// Writes from `x` to the right, capitals centred on row `middle`, cut to `room` pixels; returns where it ended.
    pub fn write(&mut self, text: &str, x: i32, middle: i32, room: i32, ink: Ink) -> Result<i32, D::Error> {
        let face = self.fonts.face(ink.weight, ink.size);
        let text = ellipsize(&face, text, room.max(0) as u32);
        let style = TextStyle {
            face: &face,
            colour: ink.colour,
            ground: ink.ground,
        };
        let end = style.draw_string(&text, Point::new(x, middle), Baseline::Middle, self.target)?;
        Ok(end.x)
    }

    /// As `write`, ending at `right`; returns where it began.
    pub fn write_to(&mut self, text: &str, right: i32, middle: i32, room: i32, ink: Ink) -> Result<i32, D::Error> {
        let face = self.fonts.face(ink.weight, ink.size);
        let text = ellipsize(&face, text, room.max(0) as u32);
        let x = right - face.width(&text) as i32;
        self.write(&text, x, middle, room, ink)?;
        Ok(x)
    }

    /// As `write`, centred on column `centre`.
    pub fn write_centred(&mut self, text: &str, centre: Point, room: i32, ink: Ink) -> Result<(), D::Error> {
        let face = self.fonts.face(ink.weight, ink.size);
        let text = ellipsize(&face, text, room.max(0) as u32);
        let x = centre.x - face.width(&text) as i32 / 2;
        self.write(&text, x, centre.y, room, ink).map(|_| ())
    }
}

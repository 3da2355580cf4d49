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
use crate::text::words::{Language, Words};
use crate::text::{Fonts, TextStyle, Weight, ellipsize};

/// The letters and the words of a language.
pub struct Lettering {
    pub fonts: Fonts,
    pub words: &'static Words,
}

impl Lettering {
    /// Noto Sans, with what a language says.
    pub fn new(language: Language) -> Self {
        Self {
            fonts: Fonts::noto_sans(),
            words: language.words(),
        }
    }

    /// To write on a target.
    pub fn on<'a, D>(&'a self, target: &'a mut D) -> Painter<'a, D> {
        Painter {
            target,
            fonts: &self.fonts,
            words: self.words,
            left_out: false,
            cut: Vec::new(),
        }
    }
}

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

/// A target with the letters and words to write on it.
pub struct Painter<'a, D> {
    pub target: &'a mut D,
    pub fonts: &'a Fonts,
    pub words: &'static Words,
    /// Whether something that a person must be able to read found no room.
    pub left_out: bool,
    /// Lines that were longer than their room.
    pub cut: Vec<String>,
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Width of a line in pixels.
    pub fn width(&self, text: &str, ink: Ink) -> i32 {
        self.fonts.face(ink.weight, ink.size).width(text) as i32
    }

    /// The largest face between two sizes in which a line fits `room` pixels, else the smallest.
    pub fn that_fits(&self, text: &str, room: i32, ink: Ink, [least, most]: [u32; 2]) -> Ink {
        let sized = |size| Ink { size, ..ink };
        let mut fitting = (least..=most)
            .rev()
            .map(sized)
            .filter(|ink| self.width(text, *ink) <= room);
        fitting.next().unwrap_or(sized(least))
    }

    /// The largest bold face between two sizes in which a line fits `room` pixels, else the smallest.
    pub fn bold_that_fits(&self, text: &str, room: i32, sizes: [u32; 2]) -> Ink {
        self.that_fits(text, room, Ink::bold(sizes[0]), sizes)
    }

    /// Writes from `x` to the right, capitals centred on row `middle`, cut to `room` pixels; returns where it ended.
    pub fn write(&mut self, text: &str, x: i32, middle: i32, room: i32, ink: Ink) -> Result<i32, D::Error> {
        let face = self.fonts.face(ink.weight, ink.size);
        let shown = ellipsize(&face, text, room.max(0) as u32);
        if shown != text {
            self.cut.push(text.to_owned());
        }
        let style = TextStyle {
            face: &face,
            colour: ink.colour,
            ground: ink.ground,
        };
        let end = style.draw_string(&shown, Point::new(x, middle), Baseline::Middle, self.target)?;
        Ok(end.x)
    }

    /// As `write`, ending at `right`; returns where it began.
    pub fn write_to(&mut self, text: &str, right: i32, middle: i32, room: i32, ink: Ink) -> Result<i32, D::Error> {
        let x = right - self.width(text, ink).min(room.max(0));
        self.write(text, x, middle, room, ink)?;
        Ok(x)
    }

    /// As `write`, centred on column `centre`.
    pub fn write_centred(&mut self, text: &str, centre: Point, room: i32, ink: Ink) -> Result<(), D::Error> {
        let x = centre.x - self.width(text, ink).min(room.max(0)) / 2;
        self.write(text, x, centre.y, room, ink).map(|_| ())
    }
}

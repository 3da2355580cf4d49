//! A face with its colours, for embedded-graphics' `Text`.

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::Baseline;
use embedded_graphics::text::renderer::{TextMetrics, TextRenderer};

use super::Face;

/// Text of one face and colour on an even ground. A `DrawTarget` cannot be read, so the ground's colour is told; only
/// pixels with ink are drawn.
#[derive(Debug, Clone, Copy)]
pub struct TextStyle<'a> {
    /// Weight and size.
    pub face: &'a Face,
    /// Colour of the ink.
    pub colour: Rgb888,
    /// Colour of what the text stands on.
    pub ground: Rgb888,
}

/// `over` covering `under` by `coverage` of 255.
pub fn mix(under: Rgb888, over: Rgb888, coverage: u8) -> Rgb888 {
    let share = u32::from(coverage);
    let part = |under: u8, over: u8| ((u32::from(under) * (255 - share) + u32::from(over) * share + 127) / 255) as u8;
    Rgb888::new(
        part(under.r(), over.r()),
        part(under.g(), over.g()),
        part(under.b(), over.b()),
    )
}

impl TextStyle<'_> {
    /// From the given line to the baseline, downwards.
    fn baseline_offset(&self, baseline: Baseline) -> i32 {
        match baseline {
            Baseline::Alphabetic => 0,
            Baseline::Top => self.face.ascent(),
            Baseline::Bottom => -self.face.descent(),
            Baseline::Middle => (self.face.cap_height() / 2.0).round() as i32,
        }
    }
}

impl TextRenderer for TextStyle<'_> {
    type Color = Rgb888;

    fn draw_string<D>(&self, text: &str, position: Point, baseline: Baseline, target: &mut D) -> Result<Point, D::Error>
    where
        D: DrawTarget<Color = Rgb888>,
    {
        let origin = position + Point::new(0, self.baseline_offset(baseline));
        let mut ink = Vec::with_capacity(text.len() * 64);
        let width = self.face.trace(text, |x, y, coverage| {
            let colour = if coverage == u8::MAX {
                self.colour
            } else {
                mix(self.ground, self.colour, coverage)
            };
            ink.push(Pixel(origin + Point::new(x, y), colour));
        });
        target.draw_iter(ink)?;
        Ok(position + Point::new(width.ceil() as i32, 0))
    }

    fn draw_whitespace<D>(&self, width: u32, position: Point, _: Baseline, _: &mut D) -> Result<Point, D::Error>
    where
        D: DrawTarget<Color = Rgb888>,
    {
        Ok(position + Point::new(width as i32, 0))
    }

    fn measure_string(&self, text: &str, position: Point, baseline: Baseline) -> TextMetrics {
        let width = self.face.width(text);
        let top = position.y + self.baseline_offset(baseline) - self.face.ascent();
        let height = (self.face.ascent() + self.face.descent()) as u32;
        TextMetrics {
            bounding_box: Rectangle::new(Point::new(position.x, top), Size::new(width, height)),
            next_position: position + Point::new(width as i32, 0),
        }
    }

    fn line_height(&self) -> u32 {
        self.face.line_height()
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::prelude::*;
    use embedded_graphics::text::Text;
    use hardware::display::Canvas;

    use super::*;
    use crate::text::{Fonts, Weight};

    fn drawn(text: &str, baseline: Baseline) -> (Canvas, Rectangle) {
        let fonts = Fonts::noto_sans();
        let face = fonts.face(Weight::Bold, 24);
        let style = TextStyle {
            face: &face,
            colour: Rgb888::WHITE,
            ground: Rgb888::new(10, 20, 40),
        };
        let mut canvas = Canvas::new(Size::new(400, 80));
        canvas.clear(style.ground).expect("infallible");
        canvas.clean();
        let text = Text::with_baseline(text, Point::new(20, 40), style, baseline);
        text.draw(&mut canvas).expect("infallible");
        (canvas, text.bounding_box())
    }

    #[test]
    fn ink_stays_in_the_measured_box() {
        for baseline in [Baseline::Alphabetic, Baseline::Top, Baseline::Middle, Baseline::Bottom] {
            let (canvas, bounds) = drawn("Ägypten (jÿ) Œuvre", baseline);
            let [area] = canvas.dirty() else {
                panic!("one area of ink: {:?}", canvas.dirty())
            };
            let around = bounds.offset(1);
            assert_eq!(around.intersection(area), *area, "{baseline:?}: {area:?} in {bounds:?}");
        }
    }

    #[test]
    fn edges_lie_between_ink_and_ground() {
        let (canvas, bounds) = drawn("Observation", Baseline::Alphabetic);
        let (mut full, mut partial) = (0, 0);
        for at in bounds.points() {
            match canvas.pixel(at) {
                Some(Rgb888::WHITE) => full += 1,
                Some(colour) if colour != Rgb888::new(10, 20, 40) => {
                    assert!(
                        colour.r() <= colour.g() && colour.g() <= colour.b(),
                        "a mix keeps the ground's order"
                    );
                    partial += 1;
                }
                _ => {}
            }
        }
        assert!(full > 300 && partial > 300, "{full} {partial}");
    }

    #[test]
    fn mixing_has_exact_ends() {
        let (a, b) = (Rgb888::new(3, 200, 77), Rgb888::new(255, 0, 78));
        assert_eq!((mix(a, b, 0), mix(a, b, 255)), (a, b));
        assert_eq!(mix(Rgb888::BLACK, Rgb888::WHITE, 128), Rgb888::new(128, 128, 128));
    }
}

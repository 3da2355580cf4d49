//! The line above every screen: brand and model on the left; marks, life sign, state and time on the right.

use std::time::Duration;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::marks::Mark;
use super::painter::{Ink, Painter};
use super::{Edges, palette, shapes};
use crate::text::words;

/// How long the beat takes from one end to the other and back.
const BEAT: Duration = Duration::from_secs(2);

/// Draws the mark that moves as long as the appliance lives, at its place on any screen: a screen on which it stands
/// still is frozen. Call it two to ten times a second with a steady time; only its own few pixels change.
///
/// # Errors
/// What the target says.
pub fn beat<D>(target: &mut D, now: Duration) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888> + OriginDimensions,
{
    let layout = Layout::new(target.size(), 1);
    draw_beat(target, layout.beat, now)
}

fn draw_beat<D: DrawTarget<Color = Rgb888>>(target: &mut D, area: Rectangle, now: Duration) -> Result<(), D::Error> {
    let radius = area.size.height / 2;
    shapes::rounded(target, area, radius, palette::FRAME, palette::STATUS_GROUND)?;
    let piece = (area.size.width * 2 / 5).max(area.size.height);
    let way = area.size.width.saturating_sub(piece);
    let phase = (now.as_millis() % BEAT.as_millis()) as f32 / BEAT.as_millis() as f32;
    let share = 1.0 - (2.0 * phase - 1.0).abs();
    let left = area.top_left.x + (share * way as f32).round() as i32;
    let piece = Rectangle::new(Point::new(left, area.top_left.y), Size::new(piece, area.size.height));
    shapes::rounded(target, piece, radius, palette::BRAND, palette::FRAME)
}

/// How much of the line has room.
#[derive(Debug, Clone, Copy)]
struct Form {
    engine: bool,
    marks_in_words: bool,
    status: bool,
    brand: bool,
}

/// From all of it to what must always be there: model, marks, state, time.
const FORMS: [Form; 6] = [
    form(true, true, true, true),
    form(false, true, true, true),
    form(false, false, true, true),
    form(false, false, true, false),
    form(false, false, false, true),
    form(false, false, false, false),
];

const fn form(engine: bool, marks_in_words: bool, status: bool, brand: bool) -> Form {
    Form {
        engine,
        marks_in_words,
        status,
        brand,
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the line; without a state it is a document's, which has no life sign. Time and model come first in room; the engine, the marks' words, the brand and the state's words
    /// give way.
    pub fn status_line(&mut self, edges: &Edges, layout: &Layout) -> Result<(), D::Error> {
        let area = layout.status;
        self.target.fill_solid(&area, palette::STATUS_GROUND)?;
        let lives = !edges.status.is_empty();
        if lives {
            draw_beat(self.target, layout.beat, Duration::ZERO)?;
        }
        let size = layout.sizes.small;
        let ink = Ink::text(size).on(palette::STATUS_GROUND);
        let bold = Ink::bold(size).on(palette::STATUS_GROUND);
        let quiet = ink.coloured(palette::MUTED);
        let middle = area.size.height as i32 / 2;
        let right = layout.beat.top_left.x - layout.gap * 2 / 3;
        let clock = self.write_to(&edges.time, right, middle, right / 3, bold)?;
        let marks = edges.marks.marks(self.words);
        let room = clock - layout.gap - layout.margin;
        let width = |form: &Form| self.form_width(*form, edges, &marks, layout);
        let form = FORMS
            .iter()
            .find(|form| width(form) <= room)
            .unwrap_or(&FORMS[FORMS.len() - 1]);

        let mut left = layout.margin;
        if form.brand {
            left = self.write(words::BRAND, left, middle, room, bold.coloured(palette::BRAND))? + layout.gap;
        }
        let others = self.form_width(*form, edges, &marks, layout) - self.width(&model(*form, edges), ink);
        self.write(&model(*form, edges), left, middle, room - others, ink)?;

        let mut x = clock - layout.gap;
        if form.status {
            x = self.write_to(&edges.status, x, middle, x, quiet)? - layout.gap / 2;
        }
        if !lives {
            return Ok(());
        }
        let dot = dot_side(size);
        let colour = if edges.faulty { palette::FAULT } else { palette::HEALTHY };
        let at = Point::new(x - dot, middle - dot / 2);
        let dot = Rectangle::new(at, Size::new(dot as u32, dot as u32));
        shapes::dot(self.target, dot, colour, palette::STATUS_GROUND)?;
        let mut x = at.x;
        for mark in marks.iter().rev() {
            x -= layout.gap + self.mark_width(mark, quiet, form.marks_in_words);
            self.mark(mark, x, middle, quiet, form.marks_in_words)?;
        }
        Ok(())
    }

    /// Width of everything left of the time.
    fn form_width(&self, form: Form, edges: &Edges, marks: &[Mark], layout: &Layout) -> i32 {
        let size = layout.sizes.small;
        let (ink, gap) = (Ink::text(size), layout.gap);
        let brand = self.width(words::BRAND, Ink::bold(size)) + gap;
        let status = self.width(&edges.status, ink) + gap / 2;
        let marks: i32 = marks
            .iter()
            .map(|mark| self.mark_width(mark, ink, form.marks_in_words) + gap)
            .sum();
        let optional = [(form.brand, brand), (form.status, status)];
        let optional: i32 = optional
            .iter()
            .filter(|(shown, _)| *shown)
            .map(|(_, width)| width)
            .sum();
        self.width(&model(form, edges), ink) + gap + marks + dot_side(size) + optional
    }
}

fn model(form: Form, edges: &Edges) -> String {
    if form.engine && !edges.engine.is_empty() {
        format!("{} · {}", edges.model, edges.engine)
    } else {
        edges.model.clone()
    }
}

fn dot_side(size: u32) -> i32 {
    (size * 2 / 3).max(6) as i32
}

#[cfg(test)]
mod tests {
    use hardware::display::Canvas;

    use super::*;

    #[test]
    fn the_beat_moves_in_its_own_few_pixels() {
        for (width, height) in [(320, 240), (800, 480), (1280, 800)] {
            let size = Size::new(width, height);
            let place = Layout::new(size, 1).beat;
            let mut seen = Vec::new();
            let mut canvas = Canvas::new(size);
            for step in 0..10 {
                canvas.clean();
                let Ok(()) = beat(&mut canvas, Duration::from_millis(step * 100));
                for dirty in canvas.dirty() {
                    assert_eq!(dirty.intersection(&place), *dirty, "{width}x{height}");
                }
                let row = (place.top_left.y + 1) as u32;
                seen.push(canvas.row(row, place.top_left.x as u32, place.size.width).to_vec());
            }
            let differing = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(
                differing >= 7,
                "{width}x{height}: it moved {differing} times in a second"
            );
        }
    }
}

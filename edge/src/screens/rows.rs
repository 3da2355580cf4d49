//! Cases in a list: the shape of the result, its headline, and below it case, time and marks.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{CaseRow, ResultState, palette, shapes};

/// Height of a row in pixels.
pub fn row_height(layout: &Layout) -> i32 {
    let sizes = layout.sizes;
    (sizes.body + sizes.small) as i32 + layout.gap * 5 / 3
}

/// How many rows a height has room for.
pub fn rows_in(height: i32, layout: &Layout) -> usize {
    (height / row_height(layout)).max(0) as usize
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws as many rows as an area has room for, from its top; the chosen one on a bright ground with a bar at its
    /// left. `ground` is what lies below.
    pub fn case_rows(
        &mut self,
        rows: &[CaseRow],
        chosen: Option<usize>,
        area: Rectangle,
        layout: &Layout,
        ground: Rgb888,
    ) -> Result<(), D::Error> {
        let height = row_height(layout);
        let size = Size::new(area.size.width, height as u32);
        let count = rows_in(area.size.height as i32, layout);
        for (index, row) in rows.iter().take(count).enumerate() {
            let at = area.top_left + Point::new(0, index as i32 * height);
            let place = Rectangle::new(at, size);
            if chosen == Some(index) {
                shapes::rounded(self.target, place, layout.gap as u32 / 2, palette::CHOSEN, ground)?;
                let bar = Rectangle::new(
                    at + Point::new(0, layout.gap / 3),
                    Size::new((layout.gap as u32 / 4).max(2), (height - layout.gap * 2 / 3) as u32),
                );
                self.target.fill_solid(&bar, palette::BRAND)?;
                self.case_row(row, place, layout, palette::CHOSEN)?;
            } else {
                self.case_row(row, place, layout, ground)?;
            }
        }
        Ok(())
    }

    fn case_row(&mut self, row: &CaseRow, place: Rectangle, layout: &Layout, ground: Rgb888) -> Result<(), D::Error> {
        let sizes = layout.sizes;
        let inset = layout.gap * 2 / 3;
        let shape = (sizes.body as f32 * 1.5).round() as i32;
        let middle = place.top_left.y + place.size.height as i32 / 2;
        let sign = Rectangle::new(
            Point::new(place.top_left.x + inset, middle - shape / 2),
            Size::new(shape as u32, shape as u32),
        );
        let stroke = (shape as f32 / 11.0).max(1.3);
        shapes::outline(
            self.target,
            row.state,
            sign,
            stroke,
            [palette::accent(row.state), ground],
        )?;
        let left = sign.top_left.x + shape + layout.gap * 5 / 6;
        let right = place.top_left.x + place.size.width as i32 - inset;
        // Both lines stand as close to the middle as type allows.
        let apart = (sizes.body as i32 + sizes.small as i32) * 3 / 8;
        let seen = row.marks.acknowledged || row.marks.verdict.is_some();
        let needs_eyes = matches!(row.state, ResultState::Flagged | ResultState::Uncertain) && !seen;
        let ink = if needs_eyes {
            Ink::bold(sizes.body)
        } else {
            Ink::text(sizes.body)
        };
        let room = right - left;
        let sized = self.that_fits(&row.headline, room, ink, [sizes.small, sizes.body]);
        let (text, ink) = if self.width(&row.headline, sized) <= room {
            (&row.headline, sized)
        } else {
            (
                &row.short,
                self.that_fits(&row.short, room, ink, [sizes.small, sizes.body]),
            )
        };
        self.write(text, left, middle - apart, room, ink.on(ground))?;
        self.second_line(row, [left, right], middle + apart, Ink::muted(sizes.small).on(ground))
    }

    /// Time, case, patient and marks, as many of them as have room.
    fn second_line(&mut self, row: &CaseRow, [left, right]: [i32; 2], middle: i32, ink: Ink) -> Result<(), D::Error> {
        let gap = ink.size as i32 * 2 / 3;
        let marks = row.marks.marks(self.words);
        let case = format!("{} · {} {}", row.time, self.words.common.case, row.case_id);
        let with_patient = match row.patient.as_str() {
            "" => case.clone(),
            patient => format!("{case} · {patient}"),
        };
        let width = |in_words: bool| -> i32 {
            marks
                .iter()
                .map(|mark| gap + self.mark_width(mark, ink, in_words))
                .sum()
        };
        let room = right - left;
        // Whose it is matters more than marks in words.
        let (text, in_words) = [
            (with_patient.as_str(), true),
            (with_patient.as_str(), false),
            (case.as_str(), true),
            (case.as_str(), false),
            (row.time.as_str(), false),
        ]
        .into_iter()
        .find(|(text, in_words)| self.width(text, ink) + width(*in_words) <= room)
        .unwrap_or((row.time.as_str(), false));
        let mut x = self.write(text, left, middle, room, ink)?;
        for mark in &marks {
            if x + gap + self.mark_width(mark, ink, in_words) > right {
                break;
            }
            x = self.mark(mark, x + gap, middle, ink, in_words)?;
        }
        Ok(())
    }
}

//! The column of words: case, probabilities with their operating points, reasons.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::sentences::{List, Mark};
use super::{Bar, ResultState, ResultView, palette, shapes};
use crate::text::{words, wrap};

/// Share of the column that reasons may take before bars do, where they are the message.
const REASONS_SHARE: f32 = 0.45;

/// Heights of what makes up a bar, in pixels.
#[derive(Debug, Clone, Copy)]
struct BarHeights {
    text: i32,
    label_gap: i32,
    track: i32,
    /// Between one bar and the next, at least and at most.
    spacing: [i32; 2],
}

impl BarHeights {
    fn new(layout: &Layout) -> Self {
        let text = layout.sizes.body as i32;
        Self {
            text,
            label_gap: (text as f32 * 0.45).round() as i32,
            track: ((10.0 * layout.scale).round() as i32).max(6),
            spacing: [layout.gap * 2 / 3, layout.gap * 3 / 2],
        }
    }

    fn row(&self) -> i32 {
        self.text + self.label_gap + self.track
    }
}

/// A row of the column being filled from top to bottom.
struct Cursor {
    left: i32,
    right: i32,
    y: i32,
    bottom: i32,
}

impl Cursor {
    fn room(&self) -> i32 {
        self.right - self.left
    }

    fn free(&self) -> i32 {
        self.bottom - self.y
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the column with these reasons of the result. Where the result is uncertain or refused its reasons come before the bars in room, because
    /// they are what the person needs.
    pub fn column(&mut self, view: &ResultView, reasons: &[String], layout: &Layout) -> Result<(), D::Error> {
        let Rectangle { top_left, size } = layout.column;
        let mut cursor = Cursor {
            left: top_left.x,
            right: top_left.x + size.width as i32,
            y: top_left.y,
            bottom: top_left.y + size.height as i32,
        };
        self.case(view, layout, &mut cursor)?;
        let list = self.reasons(view, reasons, layout);
        let [wanted, least] = self.heights(list, layout, cursor.room());
        let share = (cursor.free() as f32 * REASONS_SHARE) as i32;
        let heights = BarHeights::new(layout);
        let bars = view.bars.len() as i32 * (heights.row() + heights.spacing[0]);
        let most = share.max(least).max(cursor.free() - bars);
        let reserved = if list.matters { wanted.min(most) } else { 0 };
        cursor.bottom -= reserved;
        self.bars(&view.bars, view.state, layout, &mut cursor)?;
        cursor.bottom += reserved;
        let size = Size::new(cursor.room().max(0) as u32, cursor.free().max(0) as u32);
        self.list(list, Rectangle::new(Point::new(cursor.left, cursor.y), size))
    }

    fn case(&mut self, view: &ResultView, layout: &Layout, cursor: &mut Cursor) -> Result<(), D::Error> {
        let sizes = layout.sizes;
        let title = format!("{} {}", words::CASE, view.case_id);
        let cap = (sizes.title as f32 * 0.72).round() as i32;
        self.write(
            &title,
            cursor.left,
            cursor.y + cap / 2 + 1,
            cursor.room(),
            self.bold_that_fits(&title, cursor.room(), [sizes.small, sizes.title]),
        )?;
        cursor.y += cap + layout.gap * 5 / 6;
        if !view.case_details.is_empty() {
            let cap = (sizes.small as f32 * 0.72).round() as i32;
            let ink = Ink::muted(sizes.small);
            self.write(
                &view.case_details,
                cursor.left,
                cursor.y + cap / 2 + 1,
                cursor.room(),
                ink,
            )?;
            cursor.y += cap;
        }
        cursor.y += layout.gap * 5 / 3;
        Ok(())
    }

    fn bars(&mut self, bars: &[Bar], state: ResultState, layout: &Layout, cursor: &mut Cursor) -> Result<(), D::Error> {
        let heights = BarHeights::new(layout);
        let row = heights.row();
        let legend = layout.sizes.small as i32 + layout.gap;
        let even = (cursor.free() - legend) / (bars.len().max(1) as i32) - row;
        let [least, most] = heights.spacing;
        let spacing = even.clamp(least, most);
        let label_size = self.label_size(bars, layout, cursor);
        let mut drawn = 0;
        for bar in bars {
            if cursor.free() < row {
                break;
            }
            self.bar(bar, state, layout, cursor, heights, label_size)?;
            drawn += 1;
            cursor.y += row + spacing;
        }
        self.left_out |= drawn < bars.len();
        // The legend is worth room only once every bar is there.
        let marked = bars.iter().any(|bar| bar.operating_point.is_some());
        if marked && drawn == bars.len() && cursor.free() >= legend {
            self.legend(layout, cursor)?;
        }
        Ok(())
    }

    /// The size in which all labels fit beside their percentages, else the smallest, in which they are cut.
    fn label_size(&self, bars: &[Bar], layout: &Layout, cursor: &Cursor) -> u32 {
        let size = layout.sizes.body;
        let fits = |bar: &Bar| {
            let percent = self.width(&percent(bar.probability), Ink::bold(size));
            self.width(&bar.label, Ink::text(size)) + percent + layout.gap / 2 <= cursor.room()
        };
        if bars.iter().all(fits) {
            size
        } else {
            layout.sizes.small
        }
    }

    fn bar(
        &mut self,
        bar: &Bar,
        state: ResultState,
        layout: &Layout,
        cursor: &Cursor,
        heights: BarHeights,
        label_size: u32,
    ) -> Result<(), D::Error> {
        let BarHeights {
            text, label_gap, track, ..
        } = heights;
        let size = layout.sizes.body;
        let middle = cursor.y + text / 2;
        let percent = self.write_to(
            &percent(bar.probability),
            cursor.right,
            middle,
            cursor.room(),
            Ink::bold(size),
        )?;
        let room = percent - layout.gap / 2 - cursor.left;
        self.write(&bar.label, cursor.left, middle, room, Ink::text(label_size))?;

        let y = cursor.y + text + label_gap;
        let area = Rectangle::new(
            Point::new(cursor.left, y),
            Size::new(cursor.room() as u32, track as u32),
        );
        let radius = track as u32 / 2;
        shapes::rounded(self.target, area, radius, palette::TRACK, palette::GROUND)?;
        let share = if bar.probability.is_finite() {
            bar.probability.clamp(0.0, 1.0)
        } else {
            0.0
        };
        // A probability above zero shows at least a dot.
        let filled = ((cursor.room() as f32 * share).round() as u32).max(if share > 0.0 { track as u32 } else { 0 });
        if filled > 0 {
            let colour = if bar.emphasised {
                palette::accent(state)
            } else {
                palette::QUIET_BAR
            };
            let area = Rectangle::new(area.top_left, Size::new(filled, track as u32));
            shapes::rounded(self.target, area, radius, colour, palette::TRACK)?;
        }
        if let Some(point) = bar.operating_point.filter(|point| (0.0..=1.0).contains(point)) {
            let x = cursor.left + ((cursor.room() - 2) as f32 * point).round() as i32;
            self.tick(Point::new(x, y), track, layout)?;
        }
        Ok(())
    }

    /// The operating point: a bright line across the track and beyond, with a dark edge so that it shows on any fill.
    fn tick(&mut self, at: Point, track: i32, layout: &Layout) -> Result<(), D::Error> {
        let beyond = (track / 3).max(2);
        let width = if layout.scale > 1.2 { 3 } else { 2 };
        let height = (track + 2 * beyond) as u32;
        let top = at.y - beyond;
        let edge = Rectangle::new(Point::new(at.x - 1, at.y), Size::new(width + 2, track as u32));
        self.target.fill_solid(&edge, palette::GROUND)?;
        self.target.fill_solid(
            &Rectangle::new(Point::new(at.x, top), Size::new(width, height)),
            palette::TEXT,
        )
    }

    fn legend(&mut self, layout: &Layout, cursor: &mut Cursor) -> Result<(), D::Error> {
        let size = layout.sizes.small;
        let ink = Ink::muted(size);
        if self.width(words::OPERATING_POINT, ink) + layout.gap > cursor.room() {
            return Ok(());
        }
        let height = size as i32;
        let mark = Rectangle::new(Point::new(cursor.left + 1, cursor.y), Size::new(2, height as u32));
        self.target.fill_solid(&mark, palette::TEXT)?;
        let left = cursor.left + layout.gap;
        self.write(
            words::OPERATING_POINT,
            left,
            cursor.y + height / 2,
            cursor.right - left,
            ink,
        )?;
        cursor.y += height + layout.gap;
        Ok(())
    }

    /// The reasons, each with a dot in the state's colour. Where the result is in doubt they must be readable.
    fn reasons<'r>(&self, view: &ResultView, reasons: &'r [String], layout: &Layout) -> List<'r> {
        let matters = matches!(view.state, ResultState::Uncertain | ResultState::NotReadable);
        let size = layout.sizes.small;
        List {
            sentences: reasons,
            mark: Mark::Dot(palette::accent(view.state)),
            ink: if matters { Ink::text(size) } else { Ink::muted(size) },
            indent: layout.gap,
            gap: layout.gap / 3,
            matters,
        }
    }

    /// Height that a list would like to have in a column, and the height that its first sentence needs.
    fn heights(&self, list: List<'_>, layout: &Layout, room: i32) -> [i32; 2] {
        let face = self.fonts.face(list.ink.weight, list.ink.size);
        let line = face.line_height() as i32;
        let room = (room - list.indent).max(0) as u32;
        let height = |sentence: &String| wrap(&face, sentence, room, usize::MAX).len() as i32 * line + list.gap;
        let all: i32 = list.sentences.iter().map(height).sum();
        let more = if list.sentences.len() > 1 { line } else { 0 };
        let first = list.sentences.first().map_or(0, height) + more;
        [all, first].map(|height| height + layout.gap / 2)
    }
}

/// A probability in whole percent; never 0 or 100 for what is neither.
fn percent(probability: f32) -> String {
    if !probability.is_finite() {
        return "–".to_owned();
    }
    let percent = probability.clamp(0.0, 1.0) * 100.0;
    match percent {
        p if p > 0.0 && p < 1.0 => "<1 %".to_owned(),
        p if p > 99.0 && p < 100.0 => ">99 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn percentages_never_claim_certainty() {
        let cases = [
            (0.0, "0 %"),
            (0.004, "<1 %"),
            (0.126, "13 %"),
            (0.996, ">99 %"),
            (1.0, "100 %"),
            (f32::NAN, "–"),
        ];
        for (probability, text) in cases {
            assert_eq!(percent(probability), text);
        }
    }
}

//! The column of words: case, probabilities with their operating points, reasons.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::sentences::{List, Mark};
use super::{Bar, ResultState, ResultView, palette, shapes};
use crate::text::{Weight, wrap};

/// Share of the column that reasons may take before bars do, where they are the message.
const REASONS_SHARE: f32 = 0.45;

/// From this scale on the column has room for marks in words, whatever lines they take.
const ROOMY: f32 = 0.9;

/// No label is set smaller, in pixels of the em.
const SMALLEST_LABEL: u32 = 10;

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

/// How labels of bars stand.
#[derive(Debug, Clone, Copy)]
struct LabelStyle {
    size: u32,
    /// Beside the percentage, which else stands beside the track.
    beside: bool,
    /// Width of the widest percentage, so that all tracks beside them have one length.
    percent: i32,
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
        self.bars(view, layout, &mut cursor)?;
        cursor.bottom += reserved;
        let size = Size::new(cursor.room().max(0) as u32, cursor.free().max(0) as u32);
        self.list(list, Rectangle::new(Point::new(cursor.left, cursor.y), size))
    }

    /// Number and position of the case, what is known of it, and what people did with it.
    fn case(&mut self, view: &ResultView, layout: &Layout, cursor: &mut Cursor) -> Result<(), D::Error> {
        let sizes = layout.sizes;
        let title = format!("{} {}", self.words.common.case, view.case_id);
        let cap = (sizes.title as f32 * 0.72).round() as i32;
        let middle = cursor.y + cap / 2 + 1;
        let mut room = cursor.room();
        if let Some([number, of]) = view.position {
            let ink = Ink::muted(sizes.small);
            let rest = room - self.width(&title, Ink::bold(sizes.body)) - layout.gap / 2;
            let long = (self.words.common.position)(number, of);
            let fits = self.width(&long, ink) <= rest;
            let position = if fits { long } else { format!("{number}/{of}") };
            room = self.write_to(&position, cursor.right, middle, room, ink)? - layout.gap / 2 - cursor.left;
        }
        // A number that is cut is no number: the word before it gives way.
        let fits = self.width(&title, Ink::bold(sizes.small)) <= room;
        let title = if fits { title } else { view.case_id.clone() };
        let ink = self.bold_that_fits(&title, room, [sizes.small, sizes.title]);
        self.write(&title, cursor.left, middle, room, ink)?;
        cursor.y += cap + layout.gap * 2 / 3;
        let ink = Ink::muted(sizes.small);
        for line in self.details(view, cursor.room(), ink) {
            let middle = cursor.y + sizes.small as i32 / 2;
            self.write(&line, cursor.left, middle, cursor.room(), ink)?;
            cursor.y += sizes.small as i32 + layout.gap / 4;
        }
        let marks = view.marks.marks(self.words);
        let at = Point::new(cursor.left, cursor.y);
        cursor.y += self.marks(&marks, at, cursor.room(), ink, layout.scale >= ROOMY)?;
        cursor.y += layout.gap * 4 / 3;
        Ok(())
    }

    /// Time and details, broken between them where one line is too short.
    fn details(&self, view: &ResultView, room: i32, ink: Ink) -> Vec<String> {
        let pieces = std::iter::once(view.case_time.as_str()).chain(view.case_details.split(" · "));
        let mut lines: Vec<String> = Vec::new();
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} · {piece}"), ink) <= room => {
                    line.push_str(" · ");
                    line.push_str(piece);
                }
                _ => lines.push(piece.to_owned()),
            }
        }
        lines
    }

    fn bars(&mut self, view: &ResultView, layout: &Layout, cursor: &mut Cursor) -> Result<(), D::Error> {
        let bars = &view.bars;
        let heights = BarHeights::new(layout);
        let row = heights.row();
        let lines = self.legend_lines(view, layout, cursor.room());
        let legend = legend_step(layout) * lines.len() as i32 + layout.gap * 2 / 3;
        let even = (cursor.free() - legend) / (bars.len().max(1) as i32) - row;
        let [least, most] = heights.spacing;
        let spacing = even.clamp(least, most);
        let style = self.label_style(bars, layout, cursor.room());
        let mut drawn = 0;
        for bar in bars {
            if cursor.free() < row {
                break;
            }
            self.bar(bar, view.state, layout, cursor, style)?;
            drawn += 1;
            cursor.y += row + spacing;
        }
        self.left_out |= drawn < bars.len();
        // The legend is worth room only once every bar is there; thresholds of a site must be told somewhere.
        let marked = bars.iter().any(|bar| bar.operating_point.is_some());
        if !marked || drawn < bars.len() {
            return Ok(());
        }
        if cursor.free() >= legend {
            return self.legend(&lines, layout, cursor);
        }
        self.left_out |= view.site_thresholds.is_some();
        Ok(())
    }

    /// How the bars' labels stand so that all of them are whole: beside their percentages if that is possible.
    fn label_style(&self, bars: &[Bar], layout: &Layout, room: i32) -> LabelStyle {
        let [body, small] = [layout.sizes.body, layout.sizes.small];
        let percent_width = |bar: &Bar| self.width(&percent(bar.probability), Ink::bold(body));
        let widest = bars.iter().map(percent_width).max().unwrap_or(0);
        let least = (small - 1).max(SMALLEST_LABEL);
        let styles = [
            (body, true),
            (small, true),
            (body, false),
            (small, false),
            (least, false),
        ]
        .map(|(size, beside)| LabelStyle {
            size,
            beside,
            percent: widest,
        });
        let fits = |style: &LabelStyle| {
            bars.iter().all(|bar| {
                let taken = if style.beside {
                    percent_width(bar) + layout.gap / 2
                } else {
                    0
                };
                self.width(&bar.label, Ink::text(style.size)) + taken <= room
            })
        };
        styles.into_iter().find(fits).unwrap_or(styles[styles.len() - 1])
    }

    fn bar(
        &mut self,
        bar: &Bar,
        state: ResultState,
        layout: &Layout,
        cursor: &Cursor,
        style: LabelStyle,
    ) -> Result<(), D::Error> {
        let BarHeights {
            text, label_gap, track, ..
        } = BarHeights::new(layout);
        let size = layout.sizes.body;
        let y = cursor.y + text + label_gap;
        let middle = if style.beside {
            cursor.y + text / 2
        } else {
            y + track / 2
        };
        let shown = percent(bar.probability);
        let start = self.write_to(&shown, cursor.right, middle, cursor.room(), Ink::bold(size))?;
        let percent = if style.beside {
            cursor.right - start
        } else {
            style.percent
        };
        let end = cursor.right - percent - layout.gap / 2;
        let (room, right) = if style.beside {
            (end - cursor.left, cursor.right)
        } else {
            (cursor.room(), end)
        };
        let label = Ink::text(style.size);
        self.left_out |= self.width(&bar.label, label) > room;
        self.write(&bar.label, cursor.left, cursor.y + text / 2, room, label)?;

        let length = (right - cursor.left).max(track);
        let area = Rectangle::new(Point::new(cursor.left, y), Size::new(length as u32, track as u32));
        let radius = track as u32 / 2;
        shapes::rounded(self.target, area, radius, palette::TRACK, palette::GROUND)?;
        let share = if bar.probability.is_finite() {
            bar.probability.clamp(0.0, 1.0)
        } else {
            0.0
        };
        // A probability above zero shows at least a dot.
        let filled = ((length as f32 * share).round() as u32).max(if share > 0.0 { track as u32 } else { 0 });
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
            let x = cursor.left + ((length - 2) as f32 * point).round() as i32;
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

    /// What the tick means, in as many lines as it takes.
    fn legend(&mut self, lines: &[String], layout: &Layout, cursor: &mut Cursor) -> Result<(), D::Error> {
        let size = layout.sizes.small;
        let step = legend_step(layout);
        let height = step * lines.len() as i32 - (step - size as i32);
        let mark = Rectangle::new(
            Point::new(cursor.left + 1, cursor.y),
            Size::new(2, height.max(1) as u32),
        );
        self.target.fill_solid(&mark, palette::TEXT)?;
        let left = cursor.left + layout.gap;
        for line in lines {
            let middle = cursor.y + size as i32 / 2;
            self.write(line, left, middle, cursor.right - left, Ink::muted(size))?;
            cursor.y += step;
        }
        cursor.y += layout.gap - (step - size as i32);
        Ok(())
    }

    /// "flagged from here", and by whose thresholds.
    fn legend_lines(&self, view: &ResultView, layout: &Layout, room: i32) -> Vec<String> {
        let face = self.fonts.face(Weight::Regular, layout.sizes.small);
        let room = (room - layout.gap).max(0) as u32;
        let site = view.site_thresholds.as_ref();
        let site = site.map(|day| (self.words.common.site_thresholds)(day));
        let texts = std::iter::once(self.words.common.operating_point.to_owned()).chain(site);
        texts.flat_map(|text| wrap(&face, &text, room, 2)).collect()
    }

    /// The reasons, each with a dot in the state's colour. Where the result is in doubt they must be readable.
    fn reasons<'r>(&self, view: &ResultView, reasons: &'r [String], layout: &Layout) -> List<'r> {
        let matters = matches!(
            view.state,
            ResultState::Uncertain | ResultState::NotReadable | ResultState::NoModel
        );
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

/// Between the lines of the legend.
fn legend_step(layout: &Layout) -> i32 {
    layout.sizes.small as i32 * 5 / 4
}

/// A probability in whole percent; never 0 or 100 for what is neither.
pub fn percent(probability: f32) -> String {
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

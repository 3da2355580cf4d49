//! Lists of sentences: each stands whole, and what finds no room waits for the next page.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{ResultState, ResultView, palette, shapes};
use crate::text::words::Words;
use crate::text::{Room, Weight, Whole, whole};

/// What stands before each sentence.
#[derive(Debug, Clone, Copy)]
pub enum Mark {
    /// 1, 2, 3 ...
    Number,
    /// A dot in this colour.
    Dot(Rgb888),
}

/// A list and how it is set.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    pub sentences: &'a [String],
    pub mark: Mark,
    pub ink: Ink,
    /// From the mark's left edge to the words', in pixels.
    pub indent: i32,
    /// Between sentences, in pixels.
    pub gap: i32,
    /// Whether a person must be able to read all of it.
    pub matters: bool,
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws as many whole sentences as an area has room for, from its top, and how many more there are. Remarks that
    /// do not matter are left out without a word.
    pub fn list(&mut self, list: List<'_>, area: Rectangle) -> Result<(), D::Error> {
        let fitted = self.fit(list, area);
        let line = self.fonts.face(list.ink.weight, list.ink.size).line_height() as i32;
        let (left, right) = (area.top_left.x, area.top_left.x + area.size.width as i32);
        let mut top = area.top_left.y;
        for (number, lines) in (1..).zip(&fitted.sentences) {
            if !lines.is_empty() {
                self.list_mark(list, number, Point::new(left, top), line)?;
            }
            for words in lines {
                let room = right - left - list.indent;
                self.write(words, left + list.indent, top + line / 2, room, list.ink)?;
                top += line;
            }
            top += list.gap;
        }
        if !list.matters {
            return Ok(());
        }
        self.left_out |= fitted.cut || fitted.left_out > 0;
        if fitted.left_out > 0 && top + line <= area.top_left.y + area.size.height as i32 {
            let more = (self.words.common.more)(fitted.left_out);
            let ink = list.ink.coloured(palette::MUTED);
            self.write(
                &more,
                left + list.indent,
                top + line / 2,
                right - left - list.indent,
                ink,
            )?;
        }
        Ok(())
    }

    /// Which sentences have room in an area.
    pub fn fit(&self, list: List<'_>, area: Rectangle) -> Whole {
        let face = self.fonts.face(list.ink.weight, list.ink.size);
        let room = Room {
            width: (area.size.width as i32 - list.indent).max(0) as u32,
            height: area.size.height as i32,
            gap: list.gap,
        };
        whole(&face, list.sentences, room, list.matters)
    }

    fn list_mark(&mut self, list: List<'_>, number: usize, at: Point, line: i32) -> Result<(), D::Error> {
        match list.mark {
            Mark::Number => {
                let ink = list.ink.coloured(palette::MUTED);
                self.write(&format!("{number}."), at.x, at.y + line / 2, list.indent, ink)
                    .map(|_| ())
            }
            Mark::Dot(colour) => {
                let side = (list.ink.size / 3).max(3);
                let area = Rectangle::new(at + Point::new(0, (line - side as i32) / 2), Size::new(side, side));
                shapes::dot(self.target, area, colour, list.ink.ground)
            }
        }
    }

    /// A framed panel of words: what to do where the view says it, else the reasons.
    pub fn words_panel(&mut self, view: &ResultView, layout: &Layout) -> Result<(), D::Error> {
        let (heading, mark) = panel_of(view, self.words);
        let (panel, list) = self.roomiest(view, mark, layout);
        self.frame(panel, None)?;
        let area = inner(panel, layout);
        let title = layout.sizes.title;
        let middle = panel.top_left.y + layout.gap + title as i32 / 2;
        let ink = Ink::bold(title).on(palette::PANEL_GROUND);
        let ink = ink.coloured(palette::accent(view.state));
        let end = self.write(heading, area.top_left.x, middle, area.size.width as i32, ink)?;
        if layout.column.is_zero_sized() {
            // The column tells whose words these are; here is none.
            let case = format!("{} {}", self.words.common.case, view.case_id);
            let right = area.top_left.x + area.size.width as i32;
            let room = right - end - layout.gap;
            let ink = self.bold_that_fits(&case, room, [layout.sizes.small, title]);
            self.write_to(&case, right, middle, room, ink.on(palette::PANEL_GROUND))?;
        }
        self.list(list, area)
    }

    /// The larger type and the lower panel, unless more sentences have room otherwise.
    fn roomiest<'v>(&self, view: &'v ResultView, mark: Mark, layout: &Layout) -> (Rectangle, List<'v>) {
        let sizes = [layout.sizes.body, layout.sizes.small];
        let choices = layout
            .words()
            .map(|panel| sizes.map(|size| (panel, self.panel_list(view, mark, size, layout))));
        let room = |(panel, list): &(Rectangle, List<'_>)| {
            let fitted = self.fit(*list, inner(*panel, layout));
            (!fitted.cut, fitted.sentences.len())
        };
        let best = choices.as_flattened().iter().copied();
        best.reduce(|best, other| if room(&other) > room(&best) { other } else { best })
            .unwrap_or(choices[0][0])
    }

    fn panel_list<'v>(&self, view: &'v ResultView, mark: Mark, size: u32, layout: &Layout) -> List<'v> {
        let sentences = if view.what_to_do.is_empty() {
            &view.reasons
        } else {
            &view.what_to_do
        };
        let indent = match mark {
            Mark::Number => self.fonts.face(Weight::Regular, size).width("0. ") as i32,
            Mark::Dot(_) => layout.gap,
        };
        List {
            sentences,
            mark,
            ink: Ink::text(size).on(palette::PANEL_GROUND),
            indent,
            gap: layout.gap / 2,
            matters: true,
        }
    }
}

/// Heading and marks of the panel: steps where there are any, else the reasons.
fn panel_of(view: &ResultView, words: &Words) -> (&'static str, Mark) {
    let (accent, common) = (palette::accent(view.state), &words.common);
    match view.state {
        _ if !view.what_to_do.is_empty() => (common.what_to_do, Mark::Number),
        ResultState::Uncertain | ResultState::NotReadable | ResultState::NoModel => (common.why, Mark::Dot(accent)),
        ResultState::Flagged | ResultState::NoFindingFlagged => (common.remarks, Mark::Dot(accent)),
    }
}

/// The room for the list below a panel's heading.
fn inner(panel: Rectangle, layout: &Layout) -> Rectangle {
    let top = 2 * layout.gap + layout.sizes.title as i32 / 2 * 2;
    let size = panel
        .size
        .saturating_sub(Size::new(2 * layout.gap as u32, (top + layout.gap / 2) as u32));
    Rectangle::new(panel.top_left + Point::new(layout.gap, top), size)
}

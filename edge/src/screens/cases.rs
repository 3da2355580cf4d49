//! The list of cases, which somebody leafs through with the buttons.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::footer::{Keys, Remark};
use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::rows::rows_in;
use super::{CasesView, palette};

/// How many cases the list shows at a size; whoever fills it in needs to look up no more around the chosen one.
#[must_use]
pub fn case_rows(screen: Size) -> usize {
    let layout = Layout::new(screen, 1);
    rows_in(list_height(&layout), &layout)
}

fn list_height(layout: &Layout) -> i32 {
    layout.body().size.height as i32 - layout.sizes.small as i32 - layout.gap * 3 / 2 - layout.gap / 3
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the list with the chosen case in it.
    pub fn cases(&mut self, view: &CasesView, layout: &Layout) -> Result<(), D::Error> {
        self.status_line(&view.edges, layout)?;
        let remark = Remark {
            keys: Keys::List,
            ..Remark::default()
        };
        self.footer(&view.edges, layout, remark)?;
        let panel = layout.body();
        let list = self.titled_panel(self.words.waiting.cases, panel, layout)?;
        let size = layout.sizes.small;
        let middle = panel.top_left.y + (size as i32 + layout.gap * 3 / 2) / 2;
        let right = panel.top_left.x + panel.size.width as i32 - layout.gap;
        let [number, of] = view.position;
        let ink = Ink::muted(size).on(palette::PANEL_GROUND);
        self.write_to(&(self.words.common.position)(number, of), right, middle, right / 2, ink)?;
        let rows = rows_in(list.size.height as i32, layout);
        if view.rows.is_empty() {
            let ink = Ink::muted(layout.sizes.body).on(palette::PANEL_GROUND);
            return self.write_centred(
                self.words.waiting.no_results,
                list.center(),
                list.size.width as i32,
                ink,
            );
        }
        // The chosen one stands in the middle, unless the list ends before.
        let most = view.rows.len().saturating_sub(rows);
        let first = view.chosen.saturating_sub(rows / 2).min(most);
        let chosen = view.chosen.checked_sub(first);
        self.case_rows(&view.rows[first..], chosen, list, layout, palette::PANEL_GROUND)?;
        self.scroll_mark(view, list, layout)
    }

    /// At the right edge: where among all cases the chosen one is.
    fn scroll_mark(&mut self, view: &CasesView, list: Rectangle, layout: &Layout) -> Result<(), D::Error> {
        let [number, of] = view.position;
        if of <= view.rows.len() || of < 2 {
            return Ok(());
        }
        let (width, height) = ((layout.gap / 4).max(2), (list.size.height as i32 / 8).max(8));
        let way = list.size.height as i32 - height - layout.gap / 3;
        let share = number.saturating_sub(1) as f32 / (of - 1) as f32;
        let at = list.top_left
            + Point::new(
                list.size.width as i32 - width,
                (way as f32 * share.clamp(0.0, 1.0)) as i32,
            );
        let mark = Rectangle::new(at, Size::new(width as u32, height as u32));
        self.target.fill_solid(&mark, palette::FRAME)
    }
}

//! The result screen.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::OriginDimensions;
use embedded_graphics::pixelcolor::Rgb888;
use imaging::colormap::Colormap;
use imaging::overlay::OverlayTable;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::panels::HeatColours;
use super::{ResultView, banner, palette};
use crate::text::{Fonts, words};

/// Draws results; keeps its fonts and tables from one to the next.
pub struct ResultScreen {
    fonts: Fonts,
    heat: HeatColours,
}

impl Default for ResultScreen {
    fn default() -> Self {
        Self::new()
    }
}

impl ResultScreen {
    /// A screen with Noto Sans and viridis.
    pub fn new() -> Self {
        let map = Colormap::viridis();
        let scale = map.colours().map(|[red, green, blue]| Rgb888::new(red, green, blue));
        Self {
            fonts: Fonts::noto_sans(),
            heat: HeatColours {
                table: OverlayTable::new(&map),
                scale,
            },
        }
    }

    /// Draws a result over the whole target.
    pub fn draw<D>(&self, view: &ResultView, target: &mut D) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888> + OriginDimensions,
    {
        let screen = target.size();
        // The banner's height follows the number of lines, and its width does not.
        let lines = banner::next_step_lines(view, &self.fonts, &Layout::new(screen, 1));
        let layout = Layout::new(screen, lines.len().max(1) as u32);
        target.clear(palette::GROUND)?;
        let mut painter = Painter {
            target,
            fonts: &self.fonts,
        };
        painter.status_line(view.status_line(), &layout)?;
        painter.panels(view, &layout, &self.heat)?;
        painter.column(view, &layout)?;
        painter.banner(view, &layout, &lines)?;
        painter.footer(view, &layout)
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Disclaimer on the left; on the right where the image came from, or the code if the banner had no room for it.
    fn footer(&mut self, view: &ResultView, layout: &Layout) -> Result<(), D::Error> {
        let area = layout.footer;
        let middle = area.top_left.y + area.size.height as i32 / 2;
        let right = area.top_left.x + area.size.width as i32;
        let bold = Ink::bold(layout.sizes.small).coloured(palette::MUTED);
        let end = self.write(words::DISCLAIMER, area.top_left.x, middle, area.size.width as i32, bold)?;
        let room = right - end - 2 * layout.gap;
        let muted = Ink::muted(layout.sizes.small);
        let (words, ink) = match &view.code {
            Some(code) if !banner::code_fits(view, self.fonts, layout) => {
                (code, muted.coloured(palette::accent(view.state)))
            }
            _ => (&view.source, muted),
        };
        self.write_to(words, right, middle, room, ink).map(|_| ())
    }
}

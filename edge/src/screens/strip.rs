//! The slices that a series was judged by.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::column::percent;
use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{ResultState, SeriesView, SliceView, palette};

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws as many slices as the strip has room for: each small, with its number and its probability beside it.
    pub fn strip(&mut self, series: &SeriesView<'_>, state: ResultState, layout: &Layout) -> Result<(), D::Error> {
        let area = layout.strip;
        if area.is_zero_sized() {
            return Ok(());
        }
        let side = area.size.height as i32 - layout.gap / 2;
        let small = layout.sizes.small;
        let widest = |slice: &SliceView<'_>| {
            let number = self.width(&slice.number.to_string(), Ink::bold(small));
            number.max(self.width(&percent(slice.probability), Ink::text(small)))
        };
        let text = series.slices.iter().map(widest).max().unwrap_or(0);
        // As far apart as the strip allows, within what looks like one strip.
        let (one, least, most) = (side + layout.gap / 2 + text, layout.gap * 2 / 3, layout.gap * 2);
        let width = area.size.width as i32;
        let count = ((width + least) / (one + least).max(1)).clamp(0, series.slices.len() as i32);
        let apart = ((width - count * one) / (count - 1).max(1)).clamp(least, most);
        let (step, count) = (one + apart, count as usize);
        for (index, slice) in series.slices.iter().take(count).enumerate() {
            let at = area.top_left + Point::new(index as i32 * step, layout.gap / 4);
            let panel = Rectangle::new(at, Size::new(side as u32, side as u32));
            self.picture(slice.image, panel, layout)?;
            let shown = index == series.shown;
            if shown {
                self.edge(panel, palette::accent(state))?;
            }
            let left = at.x + side + layout.gap / 2;
            let apart = small as i32 * 5 / 8;
            let middle = at.y + side / 2;
            let ink = if shown { Ink::bold(small) } else { Ink::text(small) };
            self.write(&slice.number.to_string(), left, middle - apart, text, ink)?;
            let ink = Ink::muted(small);
            self.write(&percent(slice.probability), left, middle + apart, text, ink)?;
        }
        Ok(())
    }
}

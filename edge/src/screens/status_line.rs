//! The line above every screen: brand and model on the left; life sign, state and time on the right.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{palette, shapes};
use crate::text::words;

/// What the status line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// Name and version of the model: "chest-xray 1.4.0".
    pub model: &'a str,
    /// What it runs on: "INT8 cpu"; may be empty.
    pub engine: &'a str,
    /// The appliance's state: "ready"; empty on a document, which has no life sign.
    pub status: &'a str,
    /// Whether the appliance works; a fault is the only thing that is ever red.
    pub healthy: bool,
    /// "14:32".
    pub time: &'a str,
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Time and model come first in room; the state's words and the engine give way.
    pub fn status_line(&mut self, line: StatusLine<'_>, layout: &Layout) -> Result<(), D::Error> {
        let area = layout.status;
        self.target.fill_solid(&area, palette::STATUS_GROUND)?;
        let size = layout.sizes.small;
        let ink = Ink::text(size).on(palette::STATUS_GROUND);
        let bold = Ink::bold(size).on(palette::STATUS_GROUND);
        let middle = area.size.height as i32 / 2;
        let right = area.size.width as i32 - layout.margin;
        let clock = self.write_to(line.time, right, middle, right / 3, bold)?;
        let brand = self.write(
            words::BRAND,
            layout.margin,
            middle,
            right,
            bold.coloured(palette::BRAND),
        )?;
        let mut left = brand + layout.gap;
        let dot = (size * 2 / 3).max(6) as i32;
        let least_state = layout.gap * 3 + dot;
        let model_room = clock - least_state - left;
        let with_engine = format!("{} · {}", line.model, line.engine);
        let state_width = self.width(line.status, ink);
        let fits_all = self.width(&with_engine, ink) + state_width <= model_room;
        let model = if fits_all && !line.engine.is_empty() {
            &with_engine
        } else {
            line.model
        };
        left = self.write(model, left, middle, model_room, ink)?;

        let room = clock - layout.gap - left - least_state;
        let state_left = if room >= state_width {
            self.write_to(
                line.status,
                clock - layout.gap,
                middle,
                room,
                ink.coloured(palette::MUTED),
            )?
        } else {
            clock
        };
        if line.status.is_empty() {
            return Ok(());
        }
        let colour = if line.healthy { palette::HEALTHY } else { palette::FAULT };
        let at = Point::new(state_left - layout.gap / 2 - dot, middle - dot / 2);
        shapes::dot(
            self.target,
            Rectangle::new(at, Size::new(dot as u32, dot as u32)),
            colour,
            palette::STATUS_GROUND,
        )
    }
}

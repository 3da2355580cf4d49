//! The appliance does not work: the only screen in red.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::footer::Remark;
use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::sentences::{List, Mark};
use super::{FaultView, palette, shapes};
use crate::text::style::mix;
use crate::text::{Weight, wrap};

/// Lines of the engineer's detail.
const DETAIL_LINES: usize = 3;

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the screen: what failed in a red frame, below it what helps, at the end what an engineer wants to know.
    pub fn fault(&mut self, view: &FaultView, layout: &Layout) -> Result<(), D::Error> {
        self.status_line(&view.edges, layout)?;
        self.footer(&view.edges, layout, Remark::default())?;
        let (body, gap) = (layout.body(), layout.gap);
        let banner = self.fault_banner(view, body, layout)?;
        let below = banner.top_left.y + banner.size.height as i32 + gap;
        let bottom = body.top_left.y + body.size.height as i32;
        let detail = self.detail(view, body, bottom, layout)?;

        let title = layout.sizes.title;
        let below = below + gap / 2;
        let left = body.top_left.x + gap / 2;
        let middle = below + title as i32 / 2;
        let room = body.size.width as i32 - gap;
        self.write(self.words.common.what_to_do, left, middle, room, Ink::bold(title))?;
        let top = middle + title as i32 / 2 + gap * 2 / 3;
        let small = layout.sizes.small;
        let end = detail - small as i32 * 3 / 2;
        let area = Rectangle::new(
            Point::new(left, top),
            Size::new(room.max(0) as u32, (end - gap / 2 - top).max(0) as u32),
        );
        let list = |size: u32| List {
            sentences: &view.steps,
            mark: Mark::Number,
            ink: Ink::text(size),
            indent: self.width("0. ", Ink::text(size)) + gap / 3,
            gap: gap / 2,
            matters: true,
        };
        // As large as they all fit: they are read from where people stand.
        let whole = |list: &List<'_>| self.fit(*list, area).sentences.len() == view.steps.len();
        let mut sizes = (small..=title).rev().map(list);
        let list = sizes.find(whole).unwrap_or(list(small));
        self.list(list, area)?;
        let middle = end + small as i32 * 3 / 4;
        self.write(&view.assurance, left, middle, room, Ink::text(small))
            .map(|_| ())
    }

    fn fault_banner(&mut self, view: &FaultView, body: Rectangle, layout: &Layout) -> Result<Rectangle, D::Error> {
        let (sizes, gap) = (layout.sizes, layout.gap);
        let side = (sizes.headline as f32 * 1.9).round() as i32;
        let left = body.top_left.x + gap + side + gap * 4 / 3;
        let room = body.top_left.x + body.size.width as i32 - gap - left;
        let fill = mix(palette::GROUND, palette::FAULT, palette::BANNER_TINT);
        let face = self.fonts.face(Weight::Regular, sizes.title);
        let lines = wrap(&face, &view.what, room.max(0) as u32, 2);
        let (headline, step) = (sizes.headline as i32 * 5 / 4, face.line_height() as i32);
        let since = sizes.small as i32 * 3 / 2;
        let text = headline + step * lines.len() as i32 + since;
        let height = text.max(side) + gap * 3 / 2;
        let banner = Rectangle::new(body.top_left, Size::new(body.size.width, height as u32));
        let radius = (9.0 * layout.scale).round().max(4.0) as u32;
        let stroke = (2.0 * layout.scale).round().max(1.0) as u32;
        let colours = [palette::FAULT, fill, palette::GROUND];
        shapes::bordered(self.target, banner, radius, stroke, colours)?;
        let sign = Rectangle::new(
            banner.top_left + Point::new(gap, (height - side) / 2),
            Size::new(side as u32, side as u32),
        );
        shapes::stop(self.target, sign, (side as f32 / 13.0).max(1.5), [palette::FAULT, fill])?;

        let mut y = banner.top_left.y + (height - text) / 2 + headline / 2;
        let ink = self.bold_that_fits(&view.headline, room, [sizes.body, sizes.headline]);
        self.write(&view.headline, left, y, room, ink.on(fill))?;
        y += (headline + step) / 2;
        for line in &lines {
            self.write(line, left, y, room, Ink::text(sizes.title).on(fill))?;
            y += step;
        }
        y += (since - step) / 2;
        let ink = Ink::text(sizes.small).on(fill).coloured(mix(fill, palette::TEXT, 190));
        self.write(&view.since, left, y, room, ink)?;
        Ok(banner)
    }

    /// The engineer's detail at the lower end; returns where it begins.
    fn detail(&mut self, view: &FaultView, body: Rectangle, bottom: i32, layout: &Layout) -> Result<i32, D::Error> {
        let face = self.fonts.face(Weight::Regular, layout.sizes.small);
        let line = face.line_height() as i32;
        let (left, room) = (body.top_left.x + layout.gap / 2, body.size.width as i32 - layout.gap);
        let lines = wrap(&face, &view.detail, room.max(0) as u32, DETAIL_LINES);
        let top = bottom - line * lines.len() as i32;
        for (index, words) in (0..).zip(&lines) {
            let middle = top + line * index + line / 2;
            self.write(words, left, middle, room, Ink::muted(layout.sizes.small))?;
        }
        Ok(top - layout.gap / 2)
    }
}

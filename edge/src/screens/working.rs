//! The screen while an image is examined.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::footer::Remark;
use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{WorkStep, WorkingView, palette, shapes};

/// The steps in their order.
const STEPS: [WorkStep; 4] = [
    WorkStep::Receiving,
    WorkStep::Reading,
    WorkStep::Checking,
    WorkStep::Model,
];

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the screen.
    pub fn working(&mut self, view: &WorkingView<'_>, layout: &Layout) -> Result<(), D::Error> {
        self.status_line(&view.edges, layout)?;
        self.footer(&view.edges, layout, Remark::default())?;
        let body = layout.body();
        let side = body.size.height.min(body.size.width / 2);
        let panel = Rectangle::new(body.top_left, Size::new(side, side));
        self.picture(view.image, panel, layout)?;
        let left = body.top_left.x + side as i32 + layout.gap * 2;
        let width = body.top_left.x + body.size.width as i32 - left;
        let words = Rectangle::new(Point::new(left, body.top_left.y), Size::new(width.max(0) as u32, side));
        self.progress(view, words, layout)
    }

    /// Case and steps from the top, the queue at the bottom.
    fn progress(&mut self, view: &WorkingView<'_>, area: Rectangle, layout: &Layout) -> Result<(), D::Error> {
        let (sizes, gap) = (layout.sizes, layout.gap);
        let (left, room) = (area.top_left.x, area.size.width as i32);
        let words = &self.words.waiting;
        let mut y = area.top_left.y + sizes.headline as i32 / 2;
        let headline = self.bold_that_fits(words.examining, room, [sizes.body, sizes.headline]);
        self.write(words.examining, left, y, room, headline)?;
        y += sizes.headline as i32 / 2 + gap / 2 + sizes.title as i32 / 2;
        let case = format!("{} {}", self.words.common.case, view.case_id);
        let ink = self.that_fits(&case, room, Ink::text(sizes.title), [sizes.small, sizes.title]);
        self.write(&case, left, y, room, ink)?;
        y += (sizes.title + sizes.small) as i32 / 2 + gap / 2;
        self.write(&view.case_details, left, y, room, Ink::muted(sizes.small))?;
        y += sizes.small as i32 / 2;

        let queue = self.queue(view, area, layout)?;
        let count = STEPS.len() as i32;
        let row = (sizes.body as i32 * 19 / 10).min((queue - y - gap / 2) / count);
        y += ((queue - y - row * count) / 2).clamp(gap / 2, gap * 2);
        for step in STEPS {
            self.step(step, view, Point::new(left, y + row / 2), room, layout)?;
            y += row;
        }
        Ok(())
    }

    /// A step: a full dot where it is done, a ring with a dot where it is at work, an empty ring where it is to come.
    fn step(
        &mut self,
        step: WorkStep,
        view: &WorkingView<'_>,
        at: Point,
        room: i32,
        layout: &Layout,
    ) -> Result<(), D::Error> {
        let size = layout.sizes.body;
        let side = size as i32;
        let words = &self.words.waiting;
        let text = match step {
            WorkStep::Receiving => words.receiving,
            WorkStep::Reading => words.reading,
            WorkStep::Checking => words.checking,
            WorkStep::Model => words.model,
        };
        let (colour, ink) = match step.cmp(&view.step) {
            std::cmp::Ordering::Less => (palette::BRAND, Ink::muted(size)),
            std::cmp::Ordering::Equal => (palette::BRAND, Ink::bold(size)),
            std::cmp::Ordering::Greater => (palette::FRAME, Ink::muted(size)),
        };
        let area = Rectangle::new(Point::new(at.x, at.y - side / 2), Size::new(side as u32, side as u32));
        let half = side as f32 / 2.0;
        let stroke = (half / 4.5).max(1.3);
        let (done, now) = (step < view.step, step == view.step);
        shapes::signed_distance(self.target, area, colour, palette::GROUND, |x, y| {
            let distance = x.hypot(y);
            let ring = (distance - half + stroke / 2.0).abs() - stroke / 2.0;
            match (done, now) {
                (true, _) => distance - half,
                (_, true) => ring.min(distance - half * 0.45),
                _ => ring,
            }
        })?;
        let left = at.x + side + layout.gap * 2 / 3;
        let right = at.x + room;
        let end = self.write(text, left, at.y, right - left, ink)?;
        if let (true, Some([slice, of])) = (now, view.slices) {
            let slices = (self.words.common.slice_of)(slice, of);
            let ink = Ink::muted(layout.sizes.small);
            // Beside the step where there is room, else it stands in the queue's place.
            if end + layout.gap + self.width(&slices, ink) <= right {
                self.write_to(&slices, right, at.y, right - end, ink)?;
            }
        }
        Ok(())
    }

    /// Slices, and what waits, at the lower end; returns where they begin.
    fn queue(&mut self, view: &WorkingView<'_>, area: Rectangle, layout: &Layout) -> Result<i32, D::Error> {
        let (small, gap) = (layout.sizes.small, layout.gap);
        let (left, room) = (area.top_left.x, area.size.width as i32);
        let words = &self.words.waiting;
        let mut y = area.top_left.y + area.size.height as i32 - small as i32 / 2 - 1;
        let waiting = match view.behind {
            0 => words.nothing_behind.to_owned(),
            behind => (words.behind)(behind),
        };
        let urgent = (view.urgent > 0).then(|| (words.urgent)(view.urgent));
        let ink = Ink::muted(small);
        let both = urgent.as_ref().map(|urgent| format!("{waiting} · {urgent}"));
        match (both.filter(|both| self.width(both, ink) <= room), urgent) {
            (Some(both), _) => {
                self.write(&both, left, y, room, ink)?;
            }
            (None, urgent) => {
                if let Some(urgent) = urgent {
                    self.write(&urgent, left, y, room, Ink::text(small))?;
                    y -= small as i32 * 3 / 2;
                }
                self.write(&waiting, left, y, room, ink)?;
            }
        }
        y -= small as i32 / 2 + gap * 2 / 3;
        let Some([slice, of]) = view.slices else {
            return Ok(y);
        };
        let height = (gap * 2 / 3).max(5);
        y -= height;
        let track = Rectangle::new(Point::new(left, y), Size::new(room.max(1) as u32, height as u32));
        shapes::rounded(self.target, track, height as u32 / 2, palette::TRACK, palette::GROUND)?;
        let filled = (room as f32 * (slice as f32 / of.max(1) as f32).clamp(0.0, 1.0)) as u32;
        if filled >= height as u32 {
            let part = Rectangle::new(track.top_left, Size::new(filled, height as u32));
            shapes::rounded(self.target, part, height as u32 / 2, palette::BRAND, palette::TRACK)?;
        }
        Ok(y - gap / 2)
    }
}

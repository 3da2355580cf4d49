//! The screen between results: a clock, what serves, and the last results.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::footer::Remark;
use super::layout::Layout;
use super::marks::{Mark, Sign};
use super::painter::{Ink, Painter};
use super::{IdleView, ModelRow, ResultState, palette, shapes};
use crate::text::{Weight, wrap};

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the screen.
    pub fn idle(&mut self, view: &IdleView, layout: &Layout) -> Result<(), D::Error> {
        self.status_line(&view.edges, layout)?;
        self.footer(&view.edges, layout, Remark::default())?;
        let body = layout.body();
        let width = body.size.width as i32 * 2 / 5;
        let left = Rectangle::new(body.top_left, Size::new((width - layout.gap) as u32, body.size.height));
        self.waiting(view, left, layout)?;
        let at = body.top_left + Point::new(width, 0);
        let size = Size::new((body.size.width as i32 - width) as u32, body.size.height);
        self.last_results(view, Rectangle::new(at, size), layout)
    }

    /// Clock, state and models from the top; what is to be done, and the day's numbers, from the bottom.
    fn waiting(&mut self, view: &IdleView, area: Rectangle, layout: &Layout) -> Result<(), D::Error> {
        let (sizes, gap) = (layout.sizes, layout.gap);
        let (left, room) = (area.top_left.x, area.size.width as i32);
        let clock = Ink::bold(sizes.headline * 2);
        let mut y = area.top_left.y + clock.size as i32 / 2;
        self.write(&view.edges.time, left, y, room, clock)?;
        y += (clock.size as i32 + sizes.small as i32) / 2 + gap / 4;
        self.write(&view.date, left, y, room, Ink::muted(sizes.small))?;

        let words = &self.words.waiting;
        let dot = sizes.headline as i32 / 2;
        y += (sizes.small + sizes.headline) as i32 / 2 + gap;
        let place = Rectangle::new(Point::new(left, y - dot / 2), Size::new(dot as u32, dot as u32));
        shapes::dot(self.target, place, palette::HEALTHY, palette::GROUND)?;
        let text = left + dot + gap * 2 / 3;
        self.write(words.ready, text, y, left + room - text, Ink::bold(sizes.headline))?;
        y += (sizes.headline + sizes.small) as i32 / 2 + gap / 2;
        self.write(words.for_images, left, y, room, Ink::muted(sizes.small))?;
        y += sizes.small as i32 / 2 + gap * 4 / 3;

        let bottom = self.day(view, area, layout)?;
        for model in &view.models {
            let named = ModelRow {
                on_trial: false,
                ..model.clone()
            };
            // Where there is no room for more, at least its name.
            let Some(model) = [model, &named]
                .into_iter()
                .find(|model| y + self.model_height(model, room, layout) <= bottom)
            else {
                break;
            };
            self.model(model, Point::new(left, y), room, layout)?;
            y += self.model_height(model, room, layout) + gap / 2;
        }
        Ok(())
    }

    fn site_line(model: &ModelRow, words: &crate::text::words::Words) -> Option<Mark> {
        let day = model.site_thresholds.as_ref()?;
        Some(Mark {
            sign: Sign::Threshold,
            long: (words.common.site_thresholds)(day),
            short: day.clone(),
            urges: false,
        })
    }

    fn model_height(&self, model: &ModelRow, room: i32, layout: &Layout) -> i32 {
        let sizes = layout.sizes;
        let name = self.fonts.face(Weight::Regular, sizes.body);
        let lines = wrap(&name, &model.name, room.max(0) as u32, 2).len() as i32;
        let site = model.site_thresholds.as_ref().map_or(0, |_| step(layout));
        lines * name.line_height() as i32 + self.trial_lines(model, room, layout).len() as i32 * step(layout) + site
    }

    /// What is said of a model on trial.
    fn trial_lines(&self, model: &ModelRow, room: i32, layout: &Layout) -> Vec<String> {
        let face = self.fonts.face(Weight::Regular, layout.sizes.small);
        let said = if model.on_trial {
            self.words.updates.on_trial
        } else {
            ""
        };
        wrap(&face, said, room.max(0) as u32, 2)
    }

    fn model(&mut self, model: &ModelRow, at: Point, room: i32, layout: &Layout) -> Result<(), D::Error> {
        let sizes = layout.sizes;
        let face = self.fonts.face(Weight::Regular, sizes.body);
        let line = face.line_height() as i32;
        let mut y = at.y;
        for words in wrap(&face, &model.name, room.max(0) as u32, 2) {
            self.write(&words, at.x, y + line / 2, room, Ink::text(sizes.body))?;
            y += line;
        }
        let ink = Ink::muted(sizes.small);
        for words in self.trial_lines(model, room, layout) {
            self.write(&words, at.x, y + step(layout) / 2, room, ink)?;
            y += step(layout);
        }
        let Some(mark) = Self::site_line(model, self.words) else {
            return Ok(());
        };
        let in_words = self.mark_width(&mark, ink, true) <= room;
        self.mark(&mark, at.x, y + sizes.small as i32 * 2 / 3, ink, in_words)
            .map(|_| ())
    }

    /// The day's numbers at the lower end, above them what still has to be seen; returns where they begin.
    fn day(&mut self, view: &IdleView, area: Rectangle, layout: &Layout) -> Result<i32, D::Error> {
        let (small, gap) = (layout.sizes.small, layout.gap);
        let (left, room) = (area.top_left.x, area.size.width as i32);
        let face = self.fonts.face(Weight::Regular, small);
        let line = face.line_height() as i32;
        let [images, flagged] = view.today;
        let mut y = area.top_left.y + area.size.height as i32;
        let lines = wrap(
            &face,
            &(self.words.waiting.today)(images, flagged),
            room.max(0) as u32,
            2,
        );
        for words in lines.iter().rev() {
            y -= line;
            self.write(words, left, y + line / 2, room, Ink::muted(small))?;
        }
        if view.unacknowledged == 0 {
            return Ok(y - gap);
        }
        let accent = palette::accent(ResultState::Flagged);
        let shape = (small as f32 * 1.3).round() as i32;
        let text = left + shape + gap / 2;
        let room = left + room - text;
        let lines = wrap(
            &self.fonts.face(Weight::Bold, small),
            &(self.words.waiting.unacknowledged)(view.unacknowledged),
            room.max(0) as u32,
            2,
        );
        y -= gap / 2;
        for words in lines.iter().rev() {
            y -= line;
            self.write(words, text, y + line / 2, room, Ink::bold(small).coloured(accent))?;
        }
        let sign = Rectangle::new(
            Point::new(left, y + (line - shape) / 2),
            Size::new(shape as u32, shape as u32),
        );
        let stroke = (shape as f32 / 10.0).max(1.3);
        shapes::outline(
            self.target,
            ResultState::Flagged,
            sign,
            stroke,
            [accent, palette::GROUND],
        )?;
        Ok(y - gap)
    }

    fn last_results(&mut self, view: &IdleView, panel: Rectangle, layout: &Layout) -> Result<(), D::Error> {
        let list = self.titled_panel(self.words.waiting.last_results, panel, layout)?;
        if view.last.is_empty() {
            let ink = Ink::muted(layout.sizes.body).on(palette::PANEL_GROUND);
            return self.write_centred(
                self.words.waiting.no_results,
                list.center(),
                list.size.width as i32,
                ink,
            );
        }
        self.case_rows(&view.last, None, list, layout, palette::PANEL_GROUND)
    }

    /// A framed panel with a heading; returns the room below it.
    pub fn titled_panel(&mut self, title: &str, panel: Rectangle, layout: &Layout) -> Result<Rectangle, D::Error> {
        self.frame(panel, None)?;
        let (gap, size) = (layout.gap, layout.sizes.small);
        let height = size as i32 + gap * 3 / 2;
        let left = panel.top_left.x + gap;
        let room = panel.size.width as i32 - 2 * gap;
        let ink = Ink::bold(size).on(palette::PANEL_GROUND).coloured(palette::MUTED);
        self.write(title, left, panel.top_left.y + height / 2, room, ink)?;
        let edge = gap / 3;
        let size = panel
            .size
            .saturating_sub(Size::new(2 * edge as u32, (height + edge) as u32));
        Ok(Rectangle::new(panel.top_left + Point::new(edge, height), size))
    }
}

/// From one small line to the next.
fn step(layout: &Layout) -> i32 {
    layout.sizes.small as i32 * 3 / 2
}

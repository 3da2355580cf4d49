//! The screen between results: ready, an update on its way, a fault.

use std::rc::Rc;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::footer::Remark;
use super::layout::Layout;
use super::painter::{Ink, Lettering, Painter};
use super::{Edges, palette, shapes};
use crate::text::words::Language;
use crate::text::{Weight, wrap};

/// Lines of one sentence.
const SENTENCE_LINES: usize = 3;

/// What kind of news it is; said by the words as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Ready, or done.
    Good,
    /// Something is on its way.
    Busy,
    /// Something was taken back, or is missing; the appliance works.
    Setback,
    /// The appliance does not work.
    Fault,
}

/// What the screen shows, in the screen's language.
#[derive(Debug, Clone, PartialEq)]
pub struct NoticeView {
    /// Its kind.
    pub tone: Tone,
    /// "Receiving a new model".
    pub headline: String,
    /// Sentences below it, the most important first.
    pub lines: Vec<String>,
    /// How far it is, 0..=1, and that in words: "12.1 of 18.4 MB, 66 %".
    pub progress: Option<(f32, String)>,
    /// Model of the status line.
    pub model: String,
    /// State of the status line.
    pub status: String,
    /// Time of the status line.
    pub time: String,
}

/// Draws notices.
pub struct NoticeScreen {
    lettering: Rc<Lettering>,
}

impl Default for NoticeScreen {
    fn default() -> Self {
        Self::new()
    }
}

impl NoticeScreen {
    /// A screen in English.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Rc::new(Lettering::new(Language::English)))
    }

    pub(super) fn with(lettering: Rc<Lettering>) -> Self {
        Self { lettering }
    }

    /// Draws a notice over the whole target.
    ///
    /// # Errors
    /// What the target says.
    pub fn draw<D>(&self, view: &NoticeView, target: &mut D) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888> + OriginDimensions,
    {
        let layout = Layout::new(target.size(), 1);
        target.clear(palette::GROUND)?;
        self.lettering.on(target).notice(view, &layout)
    }
}

impl NoticeView {
    fn edges(&self) -> Edges {
        Edges {
            model: self.model.clone(),
            status: self.status.clone(),
            faulty: self.tone == Tone::Fault,
            time: self.time.clone(),
            ..Edges::default()
        }
    }
}

fn colour(tone: Tone) -> Rgb888 {
    match tone {
        Tone::Good => palette::HEALTHY,
        Tone::Busy => palette::BRAND,
        Tone::Setback => palette::SETBACK,
        Tone::Fault => palette::FAULT,
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the screen.
    pub fn notice(&mut self, view: &NoticeView, layout: &Layout) -> Result<(), D::Error> {
        let edges = view.edges();
        self.status_line(&edges, layout)?;
        self.news_of(view, layout)?;
        self.footer(&edges, layout, Remark::default())
    }

    /// A coloured edge, the headline beside it, sentences, and the bar; all in the middle of the height.
    fn news_of(&mut self, view: &NoticeView, layout: &Layout) -> Result<(), D::Error> {
        let sizes = layout.sizes;
        let left = layout.margin * 3;
        let room = layout.footer.size.width as i32 - 4 * layout.margin;
        let step = self.fonts.face(Weight::Regular, sizes.title).line_height() as i32;
        let headline = sizes.headline as i32 * 3 / 2;
        let bar = view.progress.as_ref().map_or(0, |_| layout.gap + step * 8 / 5);
        let top = layout.status.size.height as i32;
        let space = layout.footer.top_left.y - top;
        let mut sentences = self.sentences(&view.lines, sizes.title, room);
        sentences.truncate(((space - headline - bar) / step).max(0) as usize);
        let height = headline + step * sentences.len() as i32 + bar;
        let mut y = top + (space - height).max(0) / 2;
        let edge = Rectangle::new(
            Point::new(layout.margin, y),
            Size::new((layout.margin / 2).max(3) as u32, height as u32),
        );
        shapes::rounded(self.target, edge, 2, colour(view.tone), palette::GROUND)?;
        y += headline / 2;
        let headline_ink = self.bold_that_fits(&view.headline, room, [sizes.body + 1, sizes.headline]);
        self.write(&view.headline, left, y, room, headline_ink)?;
        y += headline / 2;
        for sentence in &sentences {
            self.write(sentence, left, y + step / 2, room, Ink::text(sizes.title))?;
            y += step;
        }
        match &view.progress {
            Some((share, said)) => self.progress_bar(*share, said, view.tone, [left, y + layout.gap, room], step),
            None => Ok(()),
        }
    }

    fn sentences(&self, lines: &[String], size: u32, room: i32) -> Vec<String> {
        let face = self.fonts.face(Weight::Regular, size);
        let wrapped = lines
            .iter()
            .flat_map(|line| wrap(&face, line, room.max(0) as u32, SENTENCE_LINES));
        wrapped.collect()
    }

    fn progress_bar(
        &mut self,
        share: f32,
        said: &str,
        tone: Tone,
        [x, y, width]: [i32; 3],
        step: i32,
    ) -> Result<(), D::Error> {
        let height = (step / 2).max(6) as u32;
        let track = Rectangle::new(Point::new(x, y), Size::new(width.max(1) as u32, height));
        shapes::rounded(self.target, track, height / 2, palette::TRACK, palette::GROUND)?;
        let filled = (share.clamp(0.0, 1.0) * width as f32) as u32;
        if filled >= height {
            let part = Rectangle::new(track.top_left, Size::new(filled, height));
            shapes::rounded(self.target, part, height / 2, colour(tone), palette::TRACK)?;
        }
        let middle = y + height as i32 + step * 3 / 4;
        let size = (step as u32 * 3 / 5).max(10);
        self.write(said, x, middle, width, Ink::muted(size)).map(|_| ())
    }
}

//! The line below every screen: the disclaimer; on the right news, a code, the buttons, or where the image came from.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{Edges, News, palette, shapes};
use crate::controls::Action;
use crate::text::style::mix;
use crate::text::words::{self, Words};

/// What only some screens say at the lower edge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remark<'a> {
    /// A code with its colour, where the banner had no room for it.
    pub code: Option<(&'a str, Rgb888)>,
    /// Where the image came from; gives way to the buttons.
    pub source: &'a str,
    /// Number of the page and of all pages.
    pub page: [usize; 2],
    /// Which buttons mean something here.
    pub keys: Keys,
}

/// Which buttons mean something on a screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keys {
    /// Those that lead to cases.
    #[default]
    Home,
    /// Those that choose a case from a list.
    List,
    /// Those that deal with a result.
    Result {
        /// Whether there is more than one look at it.
        looks: bool,
        /// Whether it says anything that a clinician can agree with.
        opinion: bool,
    },
}

/// What a button is called on a screen; nothing where it means nothing.
fn key(action: Action, keys: Keys, words: &Words) -> Option<&'static str> {
    let status = &words.status;
    match action {
        Action::Next => Some(status.key_next),
        Action::Previous => Some(status.key_previous),
        Action::Heatmap => match keys {
            Keys::List => Some(status.key_open),
            Keys::Result { looks: true, .. } => Some(status.key_heatmap),
            Keys::Result { looks: false, .. } | Keys::Home => None,
        },
        Action::Acknowledge | Action::Agree | Action::Disagree if matches!(keys, Keys::Home | Keys::List) => None,
        Action::Agree | Action::Disagree if matches!(keys, Keys::Result { opinion: false, .. }) => None,
        Action::Acknowledge => Some(status.key_acknowledge),
        Action::Agree => Some(status.key_agree),
        Action::Disagree => Some(status.key_disagree),
        Action::List => Some(status.key_list),
        Action::Night => None,
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the line.
    pub fn footer(&mut self, edges: &Edges, layout: &Layout, remark: Remark<'_>) -> Result<(), D::Error> {
        let area = layout.footer;
        let middle = area.top_left.y + area.size.height as i32 / 2;
        let width = area.size.width as i32;
        let mut right = area.top_left.x + width;
        let small = layout.sizes.small;
        let bold = Ink::bold(small).coloured(palette::MUTED);
        let end = self.write(self.words.common.disclaimer, area.top_left.x, middle, width, bold)?;
        let [page, pages] = remark.page;
        if pages > 1 {
            let page = words::page(page, pages);
            right = self.write_to(&page, right, middle, right - end, Ink::bold(small))? - layout.gap;
        }
        let room = right - end - 2 * layout.gap;
        if let Some(news) = &edges.news
            && self.news(news, layout, [right, room])?
        {
            return Ok(());
        }
        let muted = Ink::muted(small);
        match remark.code {
            Some((code, colour)) => self
                .write_to(code, right, middle, room, muted.coloured(colour))
                .map(|_| ()),
            None if edges.keys.is_empty() => self.write_to(remark.source, right, middle, room, muted).map(|_| ()),
            None => self.keys(edges, remark.keys, layout, [right, room]),
        }
    }

    /// The names of the buttons, as many as have room, the most important first.
    fn keys(&mut self, edges: &Edges, keys: Keys, layout: &Layout, [right, room]: [i32; 2]) -> Result<(), D::Error> {
        let ink = Ink::muted(layout.sizes.small);
        let gap = layout.gap * 4 / 3;
        let (mut names, mut taken) = (Vec::new(), -gap);
        for action in &edges.keys {
            let Some(name) = key(*action, keys, self.words) else {
                continue;
            };
            let width = gap + self.width(name, ink);
            if taken + width > room {
                break;
            }
            taken += width;
            names.push(name);
        }
        let middle = layout.footer.top_left.y + layout.footer.size.height as i32 / 2;
        let mut x = right - taken;
        for name in names {
            x = self.write(name, x, middle, right - x, ink)? + gap;
        }
        Ok(())
    }

    /// A new result on a ground of its colour, with its shape; whether there was room for it.
    fn news(&mut self, news: &News, layout: &Layout, [right, room]: [i32; 2]) -> Result<bool, D::Error> {
        let accent = palette::accent(news.state);
        let fill = mix(palette::GROUND, accent, palette::BANNER_TINT);
        let ink = Ink::bold(layout.sizes.small).on(fill);
        let (inset, shape) = (layout.gap / 2, layout.sizes.small as i32);
        let around = 3 * inset + shape;
        let fits = |words: &&String| self.width(words, ink) + around <= room;
        let Some(words) = news.words.iter().find(fits) else {
            return Ok(false);
        };
        let area = layout.footer;
        let middle = area.top_left.y + area.size.height as i32 / 2;
        let height = (area.size.height as i32 - 2).min(layout.sizes.small as i32 * 8 / 5);
        let width = self.width(words, ink) + around;
        let chip = Rectangle::new(
            Point::new(right - width, middle - height / 2),
            Size::new(width as u32, height as u32),
        );
        let colours = [accent, fill, palette::GROUND];
        shapes::bordered(self.target, chip, height as u32 / 3, 1, colours)?;
        let sign = Rectangle::new(
            Point::new(chip.top_left.x + inset, middle - shape / 2),
            Size::new(shape as u32, shape as u32),
        );
        let stroke = (shape as f32 / 9.0).max(1.2);
        shapes::outline(self.target, news.state, sign, stroke, [accent, fill])?;
        let left = sign.top_left.x + shape + inset;
        self.write(words, left, middle, right - inset - left, ink)?;
        Ok(true)
    }
}

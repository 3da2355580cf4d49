//! The banner: the finding in shape, words and next step.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{ResultState, ResultView, palette, shapes};
use crate::text::style::mix;
use crate::text::{Fonts, Weight, wrap};

/// The next step in at most `most` lines of the banner, and whether that is all of it. Sentences are left out from the
/// end; only one that alone is too long is cut.
pub fn next_step_lines(view: &ResultView, fonts: &Fonts, layout: &Layout, most: usize) -> (Vec<String>, bool) {
    let face = fonts.face(Weight::Regular, layout.sizes.body);
    let room = text_room(layout).max(0) as u32;
    let text = view.next_step.as_str();
    let ends = text.match_indices(". ").map(|(at, _)| at + 1).chain([text.len()]);
    let beginnings: Vec<Vec<String>> = ends.map(|end| wrap(&face, &text[..end], room, usize::MAX)).collect();
    let fitting = beginnings.iter().rposition(|lines| lines.len() <= most);
    match fitting {
        Some(index) => (beginnings[index].clone(), index + 1 == beginnings.len()),
        None => (wrap(&face, text, room, most), false),
    }
}

/// Left edge of the words; the shape stands before them.
fn text_left(layout: &Layout) -> i32 {
    let Layout { banner, gap, sizes, .. } = layout;
    banner.top_left.x + gap + mark_side(sizes.headline) + gap + gap / 2
}

fn text_room(layout: &Layout) -> i32 {
    layout.banner.top_left.x + layout.banner.size.width as i32 - layout.gap - text_left(layout)
}

/// Whether the code has room beside the headline; else it stands in the footer.
pub fn code_fits(view: &ResultView, fonts: &Fonts, layout: &Layout) -> bool {
    let headline = fonts.face(Weight::Bold, layout.sizes.headline).width(&view.headline) as i32;
    let code = view.code.as_ref().map_or(0, |code| {
        fonts.face(Weight::Regular, layout.sizes.small).width(code) as i32
    });
    headline + 2 * layout.gap + code <= text_room(layout)
}

fn mark_side(headline: u32) -> i32 {
    (headline as f32 * 1.75).round() as i32
}

/// The sign inside a state's outline where it is a letter, and how far below the centre it stands, as a share of the
/// outline's side.
fn sign(state: ResultState) -> Option<(&'static str, f32)> {
    match state {
        // A triangle's room is in its lower half.
        ResultState::Flagged => Some(("!", 0.09)),
        ResultState::Uncertain => Some(("?", 0.0)),
        ResultState::NoFindingFlagged | ResultState::NotReadable | ResultState::NoModel => None,
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws the banner with the given lines below its headline.
    pub fn banner(&mut self, view: &ResultView, layout: &Layout, lines: &[String]) -> Result<(), D::Error> {
        let accent = palette::accent(view.state);
        let fill = mix(palette::GROUND, accent, palette::BANNER_TINT);
        let stroke = (2.0 * layout.scale).round().max(1.0) as u32;
        let radius = (9.0 * layout.scale).round().max(4.0) as u32;
        shapes::bordered(
            self.target,
            layout.banner,
            radius,
            stroke,
            [accent, fill, palette::GROUND],
        )?;
        self.banner_sign(view.state, layout, [accent, fill])?;

        let sizes = layout.sizes;
        let step = self.fonts.face(Weight::Regular, sizes.body).line_height() as i32;
        let headline_height = (sizes.headline as f32 * 1.25).round() as i32;
        let text_height = headline_height + step * lines.len() as i32;
        let Rectangle { top_left, size } = layout.banner;
        let mut middle = top_left.y + (size.height as i32 - text_height) / 2 + headline_height / 2;
        let left = text_left(layout);
        let right = left + text_room(layout);
        let headline = self
            .bold_that_fits(&view.headline, text_room(layout), [sizes.body + 1, sizes.headline])
            .on(fill);
        let mut room = right - left;
        let code = view.code.as_ref().filter(|_| code_fits(view, self.fonts, layout));
        if let Some(code) = code {
            let ink = Ink::text(sizes.small).on(fill).coloured(accent);
            room = self.write_to(code, right, middle, room, ink)? - layout.gap - left;
        }
        self.write(&view.headline, left, middle, room, headline)?;
        middle += headline_height / 2 + step / 2;
        for line in lines {
            self.write(
                line,
                left,
                middle,
                right - left,
                Ink::text(sizes.body).on(fill).coloured(soft(fill)),
            )?;
            middle += step;
        }
        Ok(())
    }

    fn banner_sign(
        &mut self,
        state: ResultState,
        layout: &Layout,
        [accent, fill]: [Rgb888; 2],
    ) -> Result<(), D::Error> {
        let side = mark_side(layout.sizes.headline);
        let banner = layout.banner;
        let top = banner.top_left.y + (banner.size.height as i32 - side) / 2;
        let area = Rectangle::new(
            Point::new(banner.top_left.x + layout.gap, top),
            Size::new(side as u32, side as u32),
        );
        let stroke = (side as f32 / 14.0).max(1.5);
        shapes::outline(self.target, state, area, stroke, [accent, fill])?;
        let Some((sign, offset)) = sign(state) else {
            return Ok(());
        };
        let offset = (offset * side as f32).round() as i32;
        let centre = Point::new(area.top_left.x + side / 2, area.top_left.y + side / 2 + offset);
        let ink = Ink::bold((side as f32 * 0.48).round() as u32).on(fill).coloured(accent);
        self.write_centred(sign, centre, side, ink)
    }
}

/// Words below the headline: bright, a little into the banner's ground.
fn soft(fill: Rgb888) -> Rgb888 {
    mix(fill, palette::TEXT, 200)
}

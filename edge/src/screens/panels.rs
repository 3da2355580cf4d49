//! The two pictures: the plain image, and where the model looked, with the colour scale.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use imaging::overlay::{OverlayTable, upsample_heatmap};
use imaging::{GreyImage, display_picture, fit_size};
use ndarray::Array2;

use super::layout::Layout;
use super::painter::{Ink, Painter};
use super::{HeatmapView, ResultView, palette};

/// How heat is painted, and the colours of the scale.
pub struct HeatColours {
    pub table: OverlayTable,
    pub scale: [Rgb888; 256],
}

/// Whether steps stand in place of the overlay.
pub fn shows_words(view: &ResultView) -> bool {
    !view.what_to_do.is_empty() && (view.image.is_none() || view.heatmap.is_none())
}

/// An image at the size of its panel.
pub struct Picture {
    grey: Array2<u8>,
    /// Size of the image itself, `[H,W]`.
    image: [usize; 2],
    area: Rectangle,
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Draws both panels with their captions; the second one without heat if `plain`.
    pub fn panels(
        &mut self,
        view: &ResultView,
        layout: &Layout,
        heat: &HeatColours,
        plain: bool,
    ) -> Result<(), D::Error> {
        let picture = self.picture(view.image, layout.image, layout)?;
        let common = &self.words.common;
        let caption = match &view.series {
            Some(series) => series.slices.get(series.shown).map(|slice| {
                let long = (common.slice_of)(slice.number, series.of);
                let fits = self.width(&long, Ink::muted(layout.sizes.small)) <= layout.image_caption.size.width as i32;
                if fits { long } else { (common.slice)(slice.number) }
            }),
            None => None,
        };
        self.caption(caption.as_deref().unwrap_or(common.image), layout.image_caption, layout)?;
        if let Some(series) = &view.series {
            self.strip(series, view.state, layout)?;
        }
        match (&picture, &view.heatmap) {
            (Some(picture), Some(_)) if plain => {
                let area = beside(picture.area, layout);
                self.frame(layout.heatmap, Some(area))?;
                self.grey(&picture.grey, area)?;
                self.caption(common.heatmap_off, layout.heatmap_caption, layout)
            }
            (Some(picture), Some(map)) => self.overlay(picture, map, layout, heat),
            _ if shows_words(view) => self.words_panel(view, layout),
            _ => {
                self.frame(layout.heatmap, None)?;
                self.write_in_panel(common.no_heatmap, layout.heatmap, layout)
            }
        }
    }

    /// An image in a framed panel, as large as fits, or words where there is none.
    pub fn picture(
        &mut self,
        image: Option<&GreyImage>,
        panel: Rectangle,
        layout: &Layout,
    ) -> Result<Option<Picture>, D::Error> {
        let picture = image.and_then(|image| {
            let size = image.pixels.shape();
            let [height, width] = fit_size(size, [panel.size.height.saturating_sub(2) as usize; 2]);
            let grey = display_picture(image, [height, width])?;
            let area = centred(panel, Size::new(width as u32, height as u32));
            Some(Picture {
                grey,
                image: size,
                area,
            })
        });
        self.frame(panel, picture.as_ref().map(|picture| picture.area))?;
        match &picture {
            Some(picture) => self.grey(&picture.grey, picture.area)?,
            // A slice is too small for words.
            None if panel.size.height < layout.image.size.height.min(80) => {}
            None => self.write_in_panel(self.words.common.no_image, panel, layout)?,
        }
        Ok(picture)
    }

    fn grey(&mut self, grey: &Array2<u8>, area: Rectangle) -> Result<(), D::Error> {
        let colours = grey.iter().map(|&grey| Rgb888::new(grey, grey, grey));
        self.target.fill_contiguous(&area, colours)
    }

    fn overlay(
        &mut self,
        picture: &Picture,
        map: &HeatmapView,
        layout: &Layout,
        colours: &HeatColours,
    ) -> Result<(), D::Error> {
        let area = beside(picture.area, layout);
        self.frame(layout.heatmap, Some(area))?;
        let (height, width) = picture.grey.dim();
        let heat = upsample_heatmap(map.cam.view(), map.field, picture.image, [height, width]);
        let pixels = picture.grey.iter().zip(&heat).map(|(&grey, &heat)| {
            let [red, green, blue] = colours.table.blend(grey, heat);
            Rgb888::new(red, green, blue)
        });
        self.target.fill_contiguous(&area, pixels)?;
        self.scale(&map.class, layout, &colours.scale)
    }

    /// Caption of the overlay and the colour scale, as many words as fit.
    fn scale(&mut self, class: &str, layout: &Layout, colours: &[Rgb888; 256]) -> Result<(), D::Error> {
        let area = layout.heatmap_caption;
        let ink = Ink::muted(layout.sizes.small);
        let (left, middle) = (area.top_left.x, middle_of(area));
        let right = left + area.size.width as i32;
        let space = layout.gap / 2;
        let (heatmap, common) = (self.words.heatmap(), &self.words.common);
        let long = format!("{}: {class}", heatmap[0]);
        let bar = ((64.0 * layout.scale) as i32).max(32);
        let ends = self.width(common.low, ink) + self.width(common.high, ink) + 2 * space;
        let captions = std::iter::once(long.as_str())
            .filter(|_| !class.is_empty())
            .chain(heatmap);
        // The first words that leave room for the scale and its ends. Without ends a scale says nothing, so the words go
        // before them: what the picture is can be seen.
        let caption = captions
            .chain([""])
            .find(|words| self.width(words, ink) + 2 * space + bar + ends <= right - left);
        let (caption, with_ends) = caption.map_or((heatmap[2], false), |words| (words, true));
        let bar = match (caption, with_ends) {
            ("", true) => right - left - ends,
            _ => bar,
        };
        let mut x = right;
        if with_ends {
            x = self.write_to(common.high, x, middle, ends, ink)? - space;
        }
        let height = (layout.sizes.small as i32 * 2 / 3).max(6);
        let strip = Rectangle::new(
            Point::new(x - bar, middle - height / 2),
            Size::new(bar as u32, height as u32),
        );
        let steps = (0..strip.size.height)
            .flat_map(|_| 0..bar)
            .map(|step| colours[(step * 255 / (bar - 1)) as usize]);
        self.target.fill_contiguous(&strip, steps)?;
        if with_ends {
            self.write_to(common.low, x - bar - space, middle, ends, ink)?;
        }
        self.write(caption, left, middle, x - bar - space - left, ink)
            .map(|_| ())
    }

    /// A panel's frame and its ground, except where `picture` will be drawn.
    pub fn frame(&mut self, panel: Rectangle, picture: Option<Rectangle>) -> Result<(), D::Error> {
        let inner = panel.offset(-1);
        if picture.is_none_or(|picture| picture.size != inner.size) {
            self.target.fill_solid(&inner, palette::PANEL_GROUND)?;
        }
        self.edge(panel, palette::FRAME)
    }

    /// A line of one pixel along the inner edge of a panel.
    pub fn edge(&mut self, panel: Rectangle, colour: Rgb888) -> Result<(), D::Error> {
        let Rectangle {
            top_left: Point { x, y },
            size: Size { width, height },
        } = panel;
        let edges = [
            (x, y, width, 1),
            (x, y + height as i32 - 1, width, 1),
            (x, y, 1, height),
            (x + width as i32 - 1, y, 1, height),
        ];
        for (x, y, width, height) in edges {
            self.target
                .fill_solid(&Rectangle::new(Point::new(x, y), Size::new(width, height)), colour)?;
        }
        Ok(())
    }

    fn write_in_panel(&mut self, text: &str, panel: Rectangle, layout: &Layout) -> Result<(), D::Error> {
        let ink = Ink::muted(layout.sizes.body).on(palette::PANEL_GROUND);
        self.write_centred(text, panel.center(), panel.size.width as i32 - 2 * layout.gap, ink)
    }

    fn caption(&mut self, text: &str, area: Rectangle, layout: &Layout) -> Result<(), D::Error> {
        let ink = Ink::muted(layout.sizes.small);
        self.write(text, area.top_left.x, middle_of(area), area.size.width as i32, ink)
            .map(|_| ())
    }
}

fn middle_of(area: Rectangle) -> i32 {
    area.top_left.y + area.size.height as i32 / 2
}

/// The same place in the second panel.
fn beside(area: Rectangle, layout: &Layout) -> Rectangle {
    Rectangle::new(
        area.top_left + (layout.heatmap.top_left - layout.image.top_left),
        area.size,
    )
}

fn centred(panel: Rectangle, size: Size) -> Rectangle {
    let free = panel.size.saturating_sub(size);
    Rectangle::new(
        panel.top_left + Point::new(free.width as i32 / 2, free.height as i32 / 2),
        size,
    )
}

//! Where everything stands: one set of rules for every size.
//!
//! From top to bottom: status line, a row with image, overlay and a column of words, banner, footer. The two pictures
//! are squares as large as the row allows while the column keeps its least width. Of a series a strip of slices stands
//! below the pictures, where the screen is large enough for it. Sizes run linearly with the screen's
//! scale (1 at 800 x 480, 0.4 at 320 x 240), with more than linear room for type on small screens.

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

/// A length that is `at_800` at 800 x 480 and `at_320` at 320 x 240.
#[derive(Debug, Clone, Copy)]
struct Length {
    at_800: f32,
    at_320: f32,
}

const fn length(at_800: f32, at_320: f32) -> Length {
    Length { at_800, at_320 }
}

const MARGIN: Length = length(14.0, 6.0);
const GAP: Length = length(12.0, 6.0);
const STATUS_HEIGHT: Length = length(36.0, 20.0);
const CAPTION_HEIGHT: Length = length(26.0, 16.0);
const FOOTER_HEIGHT: Length = length(26.0, 16.0);
const STRIP_HEIGHT: Length = length(62.0, 24.0);
const BEAT_WIDTH: Length = length(20.0, 12.0);
const COLUMN_WIDTH: Length = length(160.0, 96.0);

const SMALL: Length = length(13.0, 10.0);
const BODY: Length = length(15.0, 10.5);
const TITLE: Length = length(20.0, 13.0);
const HEADLINE: Length = length(26.0, 15.0);

/// Scale of 800 x 480; the smallest supported screen is 320 x 240.
const REFERENCE: Size = Size::new(800, 480);
const SMALLEST_SCALE: f32 = 0.4;
/// From here on slices are large enough to be told apart in a strip.
const SMALLEST_STRIP: f32 = 0.55;

/// Sizes of type in pixels of the em.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeSizes {
    /// Captions, status line, footer.
    pub small: u32,
    /// Labels and sentences.
    pub body: u32,
    /// The case number.
    pub title: u32,
    /// The finding.
    pub headline: u32,
}

/// Rectangles of a result screen; none overlap, all lie on the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// 1 at 800 x 480.
    pub scale: f32,
    /// Distance of things from the edges.
    pub margin: i32,
    /// Distance of things from each other.
    pub gap: i32,
    /// Sizes of type.
    pub sizes: TypeSizes,
    /// Brand, model, state, time.
    pub status: Rectangle,
    /// Inside the status line: the mark that moves as long as the appliance lives.
    pub beat: Rectangle,
    /// The plain image; a square.
    pub image: Rectangle,
    /// The overlay; a square.
    pub heatmap: Rectangle,
    /// Below the image.
    pub image_caption: Rectangle,
    /// Below the overlay.
    pub heatmap_caption: Rectangle,
    /// Slices of a series, below both captions; empty without one, and on small screens.
    pub strip: Rectangle,
    /// Case, probabilities, reasons.
    pub column: Rectangle,
    /// The finding.
    pub banner: Rectangle,
    /// Disclaimer and source.
    pub footer: Rectangle,
}

impl Layout {
    /// The rules at a screen size, with a banner for `banner_lines` lines below its headline.
    pub fn new(screen: Size, banner_lines: u32) -> Self {
        Self::of(screen, banner_lines, false)
    }

    /// The same with a strip of slices below the pictures, on screens that are large enough for one.
    pub fn with_strip(screen: Size, banner_lines: u32) -> Self {
        Self::of(screen, banner_lines, true)
    }

    fn of(screen: Size, banner_lines: u32, with_strip: bool) -> Self {
        let scale = scale_of(screen);
        let sizes = TypeSizes {
            small: at(SMALL, scale) as u32,
            body: at(BODY, scale) as u32,
            title: at(TITLE, scale) as u32,
            headline: at(HEADLINE, scale) as u32,
        };
        let (margin, gap) = (at(MARGIN, scale), at(GAP, scale));
        let (width, height) = (screen.width as i32, screen.height as i32);
        let status = area(0, 0, width, at(STATUS_HEIGHT, scale));
        let footer_height = at(FOOTER_HEIGHT, scale);
        let footer = area(margin, height - footer_height, width - 2 * margin, footer_height);
        let banner_height = banner_height(&sizes, gap, banner_lines);
        let banner = area(
            margin,
            footer.top_left.y - banner_height,
            width - 2 * margin,
            banner_height,
        );

        let caption = at(CAPTION_HEIGHT, scale);
        let strip = if with_strip && scale >= SMALLEST_STRIP {
            at(STRIP_HEIGHT, scale)
        } else {
            0
        };
        let top = status.size.height as i32 + gap;
        let row_height = banner.top_left.y - top - gap / 2;
        let room = (width - 2 * margin - 2 * gap - at(COLUMN_WIDTH, scale)) / 2;
        let side = room.min(row_height - caption - strip).max(1);
        // What a large screen leaves below the pictures goes half above them; on a small one the column needs it.
        let slack = (row_height - caption - strip - side).max(0);
        let top = top + if scale > 1.0 { slack / 2 } else { 0 };
        let image = area(margin, top, side, side);
        let heatmap = area(margin + side + gap, top, side, side);
        let column_left = heatmap.top_left.x + side + gap;
        let below = |panel: Rectangle| area(panel.top_left.x, top + side, side, caption);
        Self {
            scale,
            margin,
            gap,
            sizes,
            status,
            beat: beat(status, margin, scale),
            strip: area(margin, top + side + caption, 2 * side + gap, strip),
            image,
            heatmap,
            image_caption: below(image),
            heatmap_caption: below(heatmap),
            column: area(
                column_left,
                top,
                width - margin - column_left,
                banner.top_left.y - gap / 2 - top,
            ),
            banner,
            footer,
        }
    }
}

impl Layout {
    /// The same screen with words in place of the pictures: the column on the left, a panel as wide on the right.
    pub fn columns(&self) -> Self {
        let width = (self.footer.size.width as i32 - self.gap) / 2;
        self.without_pictures(width, self.margin + width + self.gap)
    }

    /// The same screen with a panel of words in place of pictures and column.
    pub fn words_only(&self) -> Self {
        self.without_pictures(0, self.margin)
    }

    /// A column of a width, and a panel from `left` to the right margin.
    fn without_pictures(&self, width: i32, left: i32) -> Self {
        let (top, height) = (self.column.top_left.y, self.column.size.height as i32);
        let right = self.margin + self.footer.size.width as i32;
        Self {
            image: area(self.margin, top, 0, 0),
            image_caption: area(self.margin, top, 0, 0),
            column: area(self.margin, top, width, height),
            heatmap: area(left, top, right - left, height),
            heatmap_caption: area(left, top + height, right - left, 0),
            strip: area(self.margin, top, 0, 0),
            ..*self
        }
    }

    /// Between status line and footer.
    pub fn body(&self) -> Rectangle {
        let top = self.status.size.height as i32 + self.gap;
        let bottom = self.footer.top_left.y - self.gap / 3;
        area(self.margin, top, self.footer.size.width as i32, bottom - top)
    }

    /// A panel of words in place of the overlay: beside the image and its caption, or as high as the column where the
    /// words need it.
    pub fn words(&self) -> [Rectangle; 2] {
        let Rectangle { top_left, size } = self.heatmap;
        let column = self.column.top_left.y + self.column.size.height as i32;
        let heights = [
            (size.height + self.heatmap_caption.size.height) as i32,
            column - top_left.y,
        ];
        heights.map(|height| area(top_left.x, top_left.y, size.width as i32, height))
    }
}

/// How much larger than at 800 x 480 everything is.
pub fn scale_of(screen: Size) -> f32 {
    let (x, y) = (
        screen.width as f32 / REFERENCE.width as f32,
        screen.height as f32 / REFERENCE.height as f32,
    );
    x.min(y).max(SMALLEST_SCALE)
}

fn at(length: Length, scale: f32) -> i32 {
    let slope = (length.at_800 - length.at_320) / (1.0 - SMALLEST_SCALE);
    (length.at_320 + slope * (scale - SMALLEST_SCALE)).round() as i32
}

fn beat(status: Rectangle, margin: i32, scale: f32) -> Rectangle {
    let width = at(BEAT_WIDTH, scale);
    // Even, so that it stands in the middle of the line.
    let height = width / 5 / 2 * 2;
    let (right, middle) = (status.size.width as i32 - margin, status.size.height as i32 / 2);
    area(right - width, middle - height / 2, width, height)
}

fn banner_height(sizes: &TypeSizes, gap: i32, lines: u32) -> i32 {
    let text = sizes.headline as f32 * 1.25 + lines as f32 * sizes.body as f32 * 1.35;
    text.round() as i32 + gap + gap / 3
}

fn area(x: i32, y: i32, width: i32, height: i32) -> Rectangle {
    Rectangle::new(Point::new(x, y), Size::new(width.max(0) as u32, height.max(0) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every size that is drawn for, and odd ones between.
    const SCREENS: [(u32, u32); 8] = [
        (320, 240),
        (480, 320),
        (640, 480),
        (800, 480),
        (1024, 600),
        (1024, 768),
        (1280, 720),
        (1280, 800),
    ];

    #[test]
    fn nothing_overlaps_and_everything_is_on_the_screen() {
        for (width, height) in SCREENS {
            let size = Size::new(width, height);
            let plain = [1, 2].map(|lines| Layout::new(size, lines));
            for layout in plain.into_iter().chain([Layout::with_strip(size, 1)]) {
                let areas = [
                    layout.status,
                    layout.image,
                    layout.heatmap,
                    layout.image_caption,
                    layout.heatmap_caption,
                    layout.strip,
                    layout.column,
                    layout.banner,
                    layout.footer,
                ];
                assert_eq!(layout.beat.intersection(&layout.status), layout.beat);
                let screen = Rectangle::new(Point::zero(), Size::new(width, height));
                for (index, area) in areas.iter().enumerate() {
                    assert_eq!(area.intersection(&screen), *area, "{width}x{height} {index}");
                    for other in &areas[index + 1..] {
                        assert!(
                            area.intersection(other).is_zero_sized(),
                            "{width}x{height} {area:?} {other:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn pictures_stay_large_and_type_readable() {
        for (width, height) in SCREENS {
            let layout = Layout::new(Size::new(width, height), 2);
            assert!(
                layout.image.size.width * 10 >= width * 3,
                "{width}x{height} {:?}",
                layout.image
            );
            assert_eq!(layout.image.size, layout.heatmap.size);
            let smallest = if height >= 480 { 12 } else { 10 };
            assert!(layout.sizes.small >= smallest, "{width}x{height} {:?}", layout.sizes);
            assert!(layout.sizes.headline > layout.sizes.title && layout.sizes.title > layout.sizes.body);
        }
    }

    #[test]
    fn the_reference_screen_has_the_stated_sizes() {
        let layout = Layout::new(REFERENCE, 1);
        assert_eq!(
            layout.sizes,
            TypeSizes {
                small: 13,
                body: 15,
                title: 20,
                headline: 26
            }
        );
        assert_eq!((layout.margin, layout.gap), (14, 12));
        assert_eq!(Layout::new(Size::new(320, 240), 1).sizes.small, 10);
    }
}

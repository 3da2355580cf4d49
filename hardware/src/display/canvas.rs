//! The picture in memory that screens draw on, and which parts of it changed.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// Areas kept apart before they are merged into one.
const MAXIMUM_DIRTY_AREAS: usize = 8;

/// An RGB picture with 8 bits a channel. New canvases are black and wholly dirty.
#[derive(Debug, Clone)]
pub struct Canvas {
    size: Size,
    rgb: Vec<u8>,
    dirty: Vec<Rectangle>,
}

impl Canvas {
    /// A black canvas.
    pub fn new(size: Size) -> Self {
        let rgb = vec![0; size.width as usize * size.height as usize * 3];
        let whole = Rectangle::new(Point::zero(), size);
        Self {
            size,
            rgb,
            dirty: if whole.is_zero_sized() { Vec::new() } else { vec![whole] },
        }
    }

    /// Interleaved bytes, `[H,W,3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The bytes of a part of row `y`, from column `left`; the empty slice outside the canvas.
    pub fn row(&self, y: u32, left: u32, width: u32) -> &[u8] {
        if y >= self.size.height || left >= self.size.width {
            return &[];
        }
        let right = (left + width).min(self.size.width);
        let start = y as usize * self.size.width as usize;
        &self.rgb[(start + left as usize) * 3..(start + right as usize) * 3]
    }

    /// The colour at a point, if it is on the canvas.
    pub fn pixel(&self, at: Point) -> Option<Rgb888> {
        let (x, y) = (u32::try_from(at.x).ok()?, u32::try_from(at.y).ok()?);
        match *self.row(y, x, 1) {
            [red, green, blue] => Some(Rgb888::new(red, green, blue)),
            _ => None,
        }
    }

    /// Areas drawn on since the last [`clean`](Self::clean), inside the canvas, not overlapping.
    pub fn dirty(&self) -> &[Rectangle] {
        &self.dirty
    }

    /// Forgets what changed.
    pub fn clean(&mut self) {
        self.dirty.clear();
    }

    /// Adds an area that lies on the canvas, merged with those it meets.
    fn mark(&mut self, area: Rectangle) {
        if area.is_zero_sized() {
            return;
        }
        let mut area = area;
        while let Some(met) = self
            .dirty
            .iter()
            .position(|known| !known.intersection(&area).is_zero_sized())
        {
            area = hull(area, self.dirty.swap_remove(met));
        }
        self.dirty.push(area);
        if self.dirty.len() > MAXIMUM_DIRTY_AREAS
            && let Some(whole) = self.dirty.drain(..).reduce(hull)
        {
            self.dirty.push(whole);
        }
    }

    fn clip(&self, area: &Rectangle) -> Rectangle {
        area.intersection(&Rectangle::new(Point::zero(), self.size))
    }

    fn row_mut(&mut self, y: u32, left: u32, width: u32) -> &mut [u8] {
        let start = y as usize * self.size.width as usize + left as usize;
        &mut self.rgb[start * 3..(start + width as usize) * 3]
    }
}

/// The smallest rectangle around two that are not empty.
fn hull(a: Rectangle, b: Rectangle) -> Rectangle {
    let far = |area: Rectangle| area.top_left + area.size;
    let (near, far) = (a.top_left.component_min(b.top_left), far(a).component_max(far(b)));
    Rectangle::with_corners(near, far - Point::new(1, 1))
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        let (width, height) = (self.size.width as i32, self.size.height as i32);
        let (mut near, mut far) = (Point::new(i32::MAX, i32::MAX), Point::new(-1, -1));
        for Pixel(at, colour) in pixels {
            if at.x < 0 || at.y < 0 || at.x >= width || at.y >= height {
                continue;
            }
            near = near.component_min(at);
            far = far.component_max(at);
            let start = (at.y as usize * self.size.width as usize + at.x as usize) * 3;
            self.rgb[start..start + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
        }
        if far.x >= 0 {
            self.mark(Rectangle::with_corners(near, far));
        }
        Ok(())
    }

    fn fill_contiguous<I>(&mut self, area: &Rectangle, colors: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Rgb888>,
    {
        let visible = self.clip(area);
        if visible.is_zero_sized() {
            return Ok(());
        }
        let mut colours = colors.into_iter();
        let before = (visible.top_left.x - area.top_left.x) as usize;
        let after = area.size.width as usize - before - visible.size.width as usize;
        let above = (visible.top_left.y - area.top_left.y) as usize * area.size.width as usize;
        if above > 0 && colours.nth(above - 1).is_none() {
            return Ok(());
        }
        self.mark(visible);
        for y in 0..visible.size.height {
            let skipped = if y == 0 { before } else { before + after };
            if skipped > 0 && colours.nth(skipped - 1).is_none() {
                return Ok(());
            }
            let row = self.row_mut(
                visible.top_left.y as u32 + y,
                visible.top_left.x as u32,
                visible.size.width,
            );
            for (pixel, colour) in row.chunks_exact_mut(3).zip(&mut colours) {
                pixel.copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Rgb888) -> Result<(), Infallible> {
        let visible = self.clip(area);
        if visible.is_zero_sized() {
            return Ok(());
        }
        self.mark(visible);
        let (left, top, width) = (visible.top_left.x as u32, visible.top_left.y as u32, visible.size.width);
        for pixel in self.row_mut(top, left, width).chunks_exact_mut(3) {
            pixel.copy_from_slice(&[color.r(), color.g(), color.b()]);
        }
        let pattern_start = (top as usize * self.size.width as usize + left as usize) * 3;
        let pattern = pattern_start..pattern_start + width as usize * 3;
        for y in 1..visible.size.height as usize {
            let target = pattern.start + y * self.size.width as usize * 3;
            self.rgb.copy_within(pattern.clone(), target);
        }
        Ok(())
    }

    fn clear(&mut self, color: Rgb888) -> Result<(), Infallible> {
        self.fill_solid(&Rectangle::new(Point::zero(), self.size), color)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn area(x: i32, y: i32, width: u32, height: u32) -> Rectangle {
        Rectangle::new(Point::new(x, y), Size::new(width, height))
    }

    /// The colour that stands for an index of a contiguous fill.
    fn colour(index: u32) -> Rgb888 {
        Rgb888::new(index as u8, (index >> 8) as u8, 7)
    }

    proptest! {
        /// The overridden fills against the trait's own, pixel by pixel, also far outside the canvas.
        #[test]
        fn fills_equal_pixel_by_pixel_drawing(
            x in -30i32..50, y in -30i32..50, width in 0u32..60, height in 0u32..60, short in 0u32..40,
        ) {
            let area = area(x, y, width, height);
            let count = (width * height).saturating_sub(short);
            let mut fast = Canvas::new(Size::new(23, 19));
            fast.clean();
            let mut slow = fast.clone();
            fast.fill_contiguous(&area, (0..count).map(colour)).expect("infallible");
            slow.draw_iter(area.points().zip((0..count).map(colour)).map(|(at, colour)| Pixel(at, colour)))
                .expect("infallible");
            prop_assert_eq!(fast.rgb(), slow.rgb());

            fast.fill_solid(&area, Rgb888::RED).expect("infallible");
            slow.draw_iter(area.points().map(|at| Pixel(at, Rgb888::RED))).expect("infallible");
            prop_assert_eq!(fast.rgb(), slow.rgb());
        }

        /// Whatever is drawn, every changed pixel lies in exactly one dirty area.
        #[test]
        fn every_changed_pixel_is_dirty_once(
            areas in prop::collection::vec((-5i32..40, -5i32..40, 1u32..9, 1u32..9), 1..30),
        ) {
            let mut canvas = Canvas::new(Size::new(37, 33));
            canvas.clean();
            for (x, y, width, height) in areas {
                canvas.fill_solid(&area(x, y, width, height), Rgb888::WHITE).expect("infallible");
            }
            prop_assert!(canvas.dirty().len() <= MAXIMUM_DIRTY_AREAS);
            for at in Rectangle::new(Point::zero(), canvas.size()).points() {
                let times = canvas.dirty().iter().filter(|area| area.contains(at)).count();
                let changed = canvas.pixel(at) == Some(Rgb888::WHITE);
                prop_assert!(times <= 1 && (times == 1 || !changed), "{:?} in {:?}", at, canvas.dirty());
            }
        }
    }

    #[test]
    fn new_canvas_is_dirty_and_a_small_change_is_small() {
        let mut canvas = Canvas::new(Size::new(800, 480));
        assert_eq!(canvas.dirty(), [area(0, 0, 800, 480)]);
        canvas.clean();
        canvas
            .fill_solid(&area(700, 4, 50, 20), Rgb888::WHITE)
            .expect("infallible");
        canvas
            .draw_iter([Pixel(Point::new(3, 400), Rgb888::WHITE)])
            .expect("infallible");
        assert_eq!(canvas.dirty(), [area(700, 4, 50, 20), area(3, 400, 1, 1)]);
    }
}

//! Anti-aliased shapes: rounded areas, and the outline that says the kind of a result without colour.

use std::f32::consts::FRAC_1_SQRT_2;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::PointsIter;
use embedded_graphics::primitives::Rectangle;

use super::ResultState;
use crate::text::style::mix;

/// An area with rounded corners on an even ground. Only the corners are computed pixel by pixel.
pub fn rounded<D>(target: &mut D, area: Rectangle, radius: u32, fill: Rgb888, ground: Rgb888) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let radius = fitting_radius(area, radius);
    cross(target, area, radius, fill)?;
    corners(target, area, radius, |distance| mix(ground, fill, coverage(distance)))
}

/// A rounded area with a border of `stroke` pixels inside its edge.
pub fn bordered<D>(
    target: &mut D,
    area: Rectangle,
    radius: u32,
    stroke: u32,
    [border, fill, ground]: [Rgb888; 3],
) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let radius = fitting_radius(area, radius);
    cross(target, area, radius, border)?;
    cross(
        target,
        area.offset(-(stroke as i32)),
        radius.saturating_sub(stroke),
        fill,
    )?;
    corners(target, area, radius, |distance| {
        let edge = mix(ground, border, coverage(distance));
        mix(edge, fill, coverage(distance + stroke as f32))
    })
}

fn fitting_radius(area: Rectangle, radius: u32) -> u32 {
    radius.min(area.size.width / 2).min(area.size.height / 2)
}

/// The area without its four corners.
fn cross<D>(target: &mut D, area: Rectangle, radius: u32, fill: Rgb888) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let Size { width, height } = area.size.saturating_sub(Size::new(2 * radius, 2 * radius));
    let inset = radius as i32;
    let upright = Rectangle::new(area.top_left + Point::new(inset, 0), Size::new(width, area.size.height));
    let level = Rectangle::new(area.top_left + Point::new(0, inset), Size::new(area.size.width, height));
    target.fill_solid(&upright, fill)?;
    target.fill_solid(&level, fill)
}

/// The four corners; `colour` takes the distance to the rounded edge, negative inside.
fn corners<D>(target: &mut D, area: Rectangle, radius: u32, colour: impl Fn(f32) -> Rgb888) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let inset = radius as i32;
    let Point { x: left, y: top } = area.top_left;
    let (right, bottom) = (left + area.size.width as i32 - 1, top + area.size.height as i32 - 1);
    let pixels = (0..inset)
        .flat_map(|y| (0..inset).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            let (dx, dy) = ((inset - x) as f32 - 0.5, (inset - y) as f32 - 0.5);
            let colour = colour(dx.hypot(dy) - inset as f32);
            [
                (left + x, top + y),
                (right - x, top + y),
                (left + x, bottom - y),
                (right - x, bottom - y),
            ]
            .map(|(x, y)| Pixel(Point::new(x, y), colour))
        });
    target.draw_iter(pixels)
}

/// A filled circle in a square area.
pub fn dot<D>(target: &mut D, area: Rectangle, colour: Rgb888, ground: Rgb888) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let radius = area.size.width as f32 / 2.0;
    signed_distance(target, area, colour, ground, |x, y| x.hypot(y) - radius)
}

/// The shape of a state in a square area: triangle, circle with a dash, diamond, square with a cross, four corners with
/// a dot; all of equal visual weight.
pub fn outline<D>(
    target: &mut D,
    state: ResultState,
    area: Rectangle,
    stroke: f32,
    [colour, ground]: [Rgb888; 2],
) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let half = area.size.width as f32 / 2.0 - stroke / 2.0;
    signed_distance(target, area, colour, ground, |x, y| {
        let (edge, sign) = match state {
            ResultState::Flagged => (triangle(x, y, half), f32::INFINITY),
            ResultState::NoFindingFlagged => (x.hypot(y) - half * 0.94, segment(x, y, half * 0.36)),
            ResultState::Uncertain => ((x.abs() + y.abs() - half) * FRAC_1_SQRT_2, f32::INFINITY),
            ResultState::NotReadable => {
                let (u, v) = ((x + y) * FRAC_1_SQRT_2, (x - y) * FRAC_1_SQRT_2);
                let cross = segment(u, v, half * 0.42).min(segment(v, u, half * 0.42));
                (rounded_square(x, y, half * 0.84, half * 0.2), cross)
            }
            ResultState::NoModel => {
                let edge = rounded_square(x, y, half * 0.84, half * 0.2).abs();
                // Only the corners of the square: far from both axes.
                let corners = edge.max(half * 0.36 - x.abs().min(y.abs()));
                (corners, x.hypot(y) - half * 0.08)
            }
        };
        let edge = if state == ResultState::NoModel {
            edge
        } else {
            edge.abs()
        };
        edge.min(sign) - stroke / 2.0
    })
}

/// The sign of a fault in a square area: an octagon, as a stop sign has, with an exclamation mark.
pub fn stop<D>(target: &mut D, area: Rectangle, stroke: f32, [colour, ground]: [Rgb888; 2]) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let half = area.size.width as f32 / 2.0 - stroke / 2.0;
    signed_distance(target, area, colour, ground, |x, y| {
        let (x, y_up) = (x.abs(), y.abs());
        let octagon = x.max(y_up).max((x + y_up) * FRAC_1_SQRT_2) - half * 0.94;
        let stem = segment(y + half * 0.14, x, half * 0.28);
        let dot = x.hypot(y - half * 0.46) - stroke * 0.25;
        octagon.abs().min(stem).min(dot) - stroke / 2.0
    })
}

/// Distance to a level line of half length `half` through the centre.
pub(super) fn segment(x: f32, y: f32, half: f32) -> f32 {
    (x.abs() - half).max(0.0).hypot(y)
}

/// Distance to an upright triangle in the square of half side `half`; negative inside.
fn triangle(x: f32, y: f32, half: f32) -> f32 {
    let (base, apex) = (half * 0.78, -half * 0.88);
    // The right flank from (0, apex) to (run, base), mirrored by |x|; the stroke's mitre needs room beside it.
    let (run, rise) = (half * 0.9, base - apex);
    let flank = (x.abs() * rise - (y - apex) * run) / run.hypot(rise);
    flank.max(y - base)
}

fn rounded_square(x: f32, y: f32, half: f32, radius: f32) -> f32 {
    let (dx, dy) = (x.abs() - half + radius, y.abs() - half + radius);
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
}

/// Draws where `distance` (from the area's centre, in pixels) is below half a pixel, softly at the edge.
pub(super) fn signed_distance<D>(
    target: &mut D,
    area: Rectangle,
    colour: Rgb888,
    ground: Rgb888,
    distance: impl Fn(f32, f32) -> f32,
) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888>,
{
    let centre_x = area.top_left.x as f32 + area.size.width as f32 / 2.0;
    let centre_y = area.top_left.y as f32 + area.size.height as f32 / 2.0;
    let pixels = area.points().filter_map(|at| {
        let share = coverage(distance(at.x as f32 + 0.5 - centre_x, at.y as f32 + 0.5 - centre_y));
        (share > 0).then(|| Pixel(at, mix(ground, colour, share)))
    });
    target.draw_iter(pixels)
}

/// Share of a pixel inside an edge that runs at `distance` from its centre, 0..=255.
fn coverage(distance: f32) -> u8 {
    ((0.5 - distance).clamp(0.0, 1.0) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use embedded_graphics::prelude::*;
    use hardware::display::Canvas;

    use super::*;

    fn ink(canvas: &Canvas) -> f64 {
        canvas.rgb().iter().step_by(3).map(|&red| f64::from(red) / 255.0).sum()
    }

    #[test]
    fn rounded_area_has_the_area_of_the_figure() {
        let mut canvas = Canvas::new(Size::new(60, 50));
        let area = Rectangle::new(Point::new(5, 7), Size::new(40, 30));
        rounded(&mut canvas, area, 10, Rgb888::WHITE, Rgb888::BLACK).expect("infallible");
        let expected = 40.0 * 30.0 - (4.0 - std::f64::consts::PI) * 100.0;
        assert!((ink(&canvas) - expected).abs() < 3.0, "{} {expected}", ink(&canvas));
        assert_eq!(canvas.pixel(area.top_left), Some(Rgb888::BLACK));
        assert_eq!(canvas.pixel(Point::new(25, 7)), Some(Rgb888::WHITE));
    }

    #[test]
    fn a_radius_larger_than_the_area_gives_a_circle() {
        let mut canvas = Canvas::new(Size::new(30, 30));
        let area = Rectangle::new(Point::new(5, 5), Size::new(20, 20));
        rounded(&mut canvas, area, 99, Rgb888::WHITE, Rgb888::BLACK).expect("infallible");
        assert!((ink(&canvas) - std::f64::consts::PI * 100.0).abs() < 3.0);
    }

    #[test]
    fn outlines_differ_and_stay_in_their_area() {
        let area = Rectangle::new(Point::new(10, 10), Size::new(40, 40));
        let drawn = ResultState::ALL.map(|state| {
            let mut canvas = Canvas::new(Size::new(60, 60));
            canvas.clean();
            outline(&mut canvas, state, area, 3.0, [Rgb888::WHITE, Rgb888::BLACK]).expect("infallible");
            for dirty in canvas.dirty() {
                assert_eq!(dirty.intersection(&area), *dirty);
            }
            canvas
        });
        for (index, one) in drawn.iter().enumerate() {
            assert!(ink(one) > 250.0, "{index} {}", ink(one));
            for other in &drawn[index + 1..] {
                let differing = one
                    .rgb()
                    .iter()
                    .zip(other.rgb())
                    .filter(|(a, b)| a.abs_diff(**b) > 128)
                    .count();
                assert!(differing / 3 > 150, "{differing}");
            }
        }
    }
}

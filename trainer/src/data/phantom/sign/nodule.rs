//! Signs of solid nodules and masses: lobulation, calcification, cavity and vacuoles, spiculation, pleural dragging.
//!
//! The words are those of the Fleischner Society's glossary (Hansell et al. 2008, Radiology 246:697) where it has them.

use std::f32::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::lung::{AIR, SOFT_TISSUE, Tent, Wall};
use super::slice::{Ink, Knot, Point, Slice, add, direction, dot, length, sub};

/// Edge of a solid nodule in mm.
const SHARP_MM: f32 = 0.7;

/// An uneven round outline.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Middle.
    pub centre: Point,
    /// Mean radius in mm.
    pub radius: f32,
    waves: Vec<[f32; 3]>,
}

impl Outline {
    /// `uneven` is the deviation from a circle, relative to the radius.
    pub fn draw(rng: &mut ChaCha8Rng, centre: Point, radius: f32, uneven: f32) -> Self {
        let waves = (2..7).map(|number| {
            let number = number as f32;
            [
                number,
                uneven * rng.random_range(0.4..1.0) * 2.0 / number,
                rng.random_range(0.0..TAU),
            ]
        });
        Self {
            centre,
            radius,
            waves: waves.collect(),
        }
    }

    /// Signed distance in mm, negative inside.
    #[must_use]
    pub fn distance(&self, point: Point) -> f32 {
        let from = sub(point, self.centre);
        length(from) - self.reach(from[1].atan2(from[0]))
    }

    /// Distance of the outline from the middle at this angle.
    #[must_use]
    pub fn reach(&self, angle: f32) -> f32 {
        let wave = |[number, height, phase]: &[f32; 3]| height * (number * angle + phase).sin();
        self.radius * (1.0 + self.waves.iter().map(wave).sum::<f32>())
    }
}

/// Several round lobes with notches between.
pub fn lobulation(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let radius = rng.random_range(7.5..11.0);
    let first = rng.random_range(0.0..TAU);
    let count = rng.random_range(4..7);
    let lobes: Vec<(Point, f32)> = (0..count)
        .map(|lobe| {
            let angle = first + TAU * (lobe as f32 + rng.random_range(-0.28..0.28)) / count as f32;
            let away = radius * rng.random_range(0.50..0.88);
            (
                add(centre, direction(angle), away),
                radius * rng.random_range(0.34..0.58),
            )
        })
        .collect();
    let core = radius * 0.66;
    slice.shape(Ink::sign(SOFT_TISSUE, SHARP_MM), |p| {
        let of_lobe = |(at, radius): &(Point, f32)| length(sub(p, *at)) - radius;
        lobes.iter().map(of_lobe).fold(length(sub(p, centre)) - core, f32::min)
    });
}

/// A smooth nodule with calcium: central, in layers, like popcorn, in points, or throughout.
pub fn calcification(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let radius = rng.random_range(5.5..9.5);
    let outline = Outline::draw(rng, centre, radius, 0.06);
    slice.shape(Ink::sign(SOFT_TISSUE, SHARP_MM), |p| outline.distance(p));
    let calcium = Ink::sign(rng.random_range(500.0..950.0), 0.9);
    let disc = |slice: &mut Slice, at: Point, radius: f32| slice.shape(calcium, |p| length(sub(p, at)) - radius);
    match rng.random_range(0..5) {
        0 => disc(slice, centre, radius * rng.random_range(0.40..0.60)),
        1 => {
            disc(slice, centre, radius * 0.28);
            slice.shape(calcium, |p| (length(sub(p, centre)) - 0.72 * radius).abs() - 0.75);
        }
        2 => {
            for _ in 0..rng.random_range(5..9) {
                let at = within(rng, centre, 0.55 * radius);
                disc(slice, at, radius * rng.random_range(0.16..0.30));
            }
        }
        3 => {
            for _ in 0..rng.random_range(5..10) {
                let at = within(rng, centre, 0.70 * radius);
                disc(slice, at, rng.random_range(0.7..1.1));
            }
        }
        _ => slice.shape(calcium, |p| outline.distance(p) + 0.15 * radius),
    }
}

fn within(rng: &mut ChaCha8Rng, centre: Point, radius: f32) -> Point {
    let away = radius * rng.random_range(0.0..1.0_f32).sqrt();
    add(centre, direction(rng.random_range(0.0..TAU)), away)
}

/// A thick-walled cavity, now and then with a fluid level, or a nodule with a few bubbles.
pub fn cavity_vacuoles(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    if rng.random::<f32>() < 0.65 {
        let radius = rng.random_range(9.0..14.0);
        let outer = Outline::draw(rng, centre, radius, 0.09);
        slice.shape(Ink::sign(SOFT_TISSUE, 1.0), |p| outer.distance(p));
        let lumen = radius * rng.random_range(0.50..0.72);
        let middle = within(rng, centre, 0.14 * radius);
        let inner = Outline::draw(rng, middle, lumen, 0.12);
        slice.shape(Ink::sign(AIR, SHARP_MM), |p| inner.distance(p));
        if rng.random::<f32>() < 0.3 {
            // The patient lies on the back: fluid gathers there, with a level.
            let level = centre[1] + lumen * rng.random_range(0.1..0.5);
            slice.shape(Ink::sign(10.0, SHARP_MM), |p| inner.distance(p).max(level - p[1]));
        }
        return;
    }
    let radius = rng.random_range(7.0..10.5);
    let outline = Outline::draw(rng, centre, radius, 0.08);
    slice.shape(Ink::sign(SOFT_TISSUE, SHARP_MM), |p| outline.distance(p));
    for _ in 0..rng.random_range(2..5) {
        let (at, bubble) = (within(rng, centre, 0.60 * radius), rng.random_range(1.2..2.3));
        slice.shape(Ink::sign(AIR, SHARP_MM), |p| length(sub(p, at)) - bubble);
    }
}

/// A nodule from which fine strands radiate into the lung.
pub fn spiculation(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let radius = rng.random_range(5.5..8.5);
    let outline = Outline::draw(rng, centre, radius, 0.12);
    // Strands side by side veil the lung next to the nodule.
    let halo = rng.random_range(2.5..4.5);
    slice.haze(170.0, false, |p| (1.0 - outline.distance(p) / halo).clamp(0.0, 1.0));
    let count = rng.random_range(11..22);
    for strand in 0..count {
        let angle = TAU * (strand as f32 + rng.random_range(-0.35..0.35)) / count as f32;
        let length = rng.random_range(3.5..10.0);
        strand_from(slice, rng, &outline, angle, length);
    }
    slice.shape(Ink::sign(SOFT_TISSUE, 1.0), |p| outline.distance(p));
}

fn strand_from(slice: &mut Slice, rng: &mut ChaCha8Rng, outline: &Outline, angle: f32, length: f32) {
    let reach = outline.reach(angle);
    let width = rng.random_range(0.55..0.95);
    let bend = rng.random_range(-0.12..0.12);
    let knot = |share: f32| Knot {
        at: add(
            outline.centre,
            direction(angle + bend * share),
            0.8 * reach + share * (length + 0.2 * reach),
        ),
        radius: width * (1.0 - 0.85 * share),
    };
    slice.tube(Ink::sign(-40.0, 0.5), &[knot(0.0), knot(0.35), knot(0.7), knot(1.0)]);
}

/// A nodule that draws the pleura towards itself by one to three bands.
pub fn pleural_dragging(slice: &mut Slice, rng: &mut ChaCha8Rng, wall: &mut Wall) {
    let radius = rng.random_range(4.8..7.5);
    let along = rng.random_range(-4.0..4.0);
    let gap = rng.random_range(7.0..11.0);
    let foot = add([0.0, 0.0], wall.across(), along);
    let centre = add(foot, wall.outwards, wall.at_mm - gap - radius);
    let outline = Outline::draw(rng, centre, radius, 0.12);
    let count = rng.random_range(1..4);
    wall.tent = Some(Tent {
        along_mm: along,
        height_mm: rng.random_range(3.5..5.5),
        width_mm: rng.random_range(2.0..3.2),
    });
    for band in 0..count {
        let aside = (band as f32 - (count - 1) as f32 / 2.0) * rng.random_range(3.0..5.0);
        let end = add(add(foot, wall.across(), aside), wall.outwards, wall.at_mm + 1.0);
        let along_band = sub(end, centre);
        let start = add(centre, along_band, 0.6 * radius / length(along_band));
        let middle = add(
            add(start, sub(end, start), 0.5),
            wall.across(),
            rng.random_range(-0.6..0.6),
        );
        let knot = |at: Point, radius: f32| Knot { at, radius };
        slice.tube(
            Ink::sign(-20.0, 0.5),
            &[knot(start, 1.1), knot(middle, 0.6), knot(end, 0.9)],
        );
    }
    for _ in 0..rng.random_range(2..6) {
        let angle = rng.random_range(0.0..TAU);
        if dot(direction(angle), wall.outwards) < 0.5 {
            let length = rng.random_range(1.5..4.0);
            strand_from(slice, rng, &outline, angle, length);
        }
    }
    slice.shape(Ink::sign(SOFT_TISSUE, 0.9), |p| outline.distance(p));
}

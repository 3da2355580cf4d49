//! Signs of filled air spaces and airways: ground glass, air bronchogram, mucus plugs, obstructive pneumonia.
//!
//! The words are those of the Fleischner Society's glossary (Hansell et al. 2008, Radiology 246:697) where it has them.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::canvas::{Clouds, smooth};
use super::lung::{AIR, SOFT_TISSUE, walk};
use super::nodule::Outline;
use super::slice::{Ink, Knot, Point, Slice, add, direction, dot, length, sub};

/// Hazy, with vessels that stay visible: to be painted before them.
pub fn ground_glass(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let radius = rng.random_range(10.0..16.0);
    let outline = Outline::draw(rng, centre, radius, 0.26);
    let clouds = Clouds::new(rng, 0.22);
    let edge = rng.random_range(4.0..7.0);
    let added = rng.random_range(300.0..440.0);
    slice.haze(added, true, |p| {
        let share = smooth(0.5 - outline.distance(p) / edge);
        share * (0.85 + 0.3 * clouds.at(p)).clamp(0.0, 1.0)
    });
}

/// Consolidation in which the branching bronchi stay black.
pub fn air_bronchogram(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let radius = rng.random_range(14.0..19.0);
    let outline = Outline::draw(rng, centre, radius, 0.15);
    consolidate(slice, rng, |p| outline.distance(p), 3.0);
    let heading = rng.random_range(0.0..TAU);
    for _ in 0..rng.random_range(1..3) {
        let aside = add(
            centre,
            direction(heading + PI / 2.0),
            rng.random_range(-0.35..0.35) * radius,
        );
        let start = add(aside, direction(heading), -rng.random_range(0.45..0.90) * radius);
        let toward = heading + rng.random_range(-0.5..0.5);
        let width = rng.random_range(1.1..1.8);
        airway(slice, rng, start, toward, width, 2);
    }
    // One that crosses the slice.
    let (at, across) = (
        add(centre, direction(rng.random_range(0.0..TAU)), 0.55 * radius),
        rng.random_range(0.9..1.5),
    );
    slice.shape(Ink::sign(AIR, 0.5), |p| length(sub(p, at)) - across);
}

fn airway(slice: &mut Slice, rng: &mut ChaCha8Rng, from: Point, heading: f32, radius: f32, branchings: u32) {
    let steps = rng.random_range(3..5);
    let turn = rng.random_range(-0.16..0.16);
    let path = walk(rng, from, heading, turn, steps, 2.6, |t| radius * (1.0 - 0.25 * t));
    // A thin airway fills its pixels in part.
    slice.tube(Ink::sign(AIR + 500.0 * (1.0 - radius).clamp(0.0, 1.0), 0.5), &path);
    let Some(end) = path.last().filter(|end| branchings > 0 && end.radius > 0.45) else {
        return;
    };
    let last = heading + turn * steps as f32;
    for side in [-1.0, 1.0] {
        let angle = last + side * rng.random_range(0.30..0.60);
        airway(slice, rng, end.at, angle, 0.80 * end.radius, branchings - 1);
    }
}

/// Air spaces filled throughout, so that vessels no longer show.
fn consolidate(slice: &mut Slice, rng: &mut ChaCha8Rng, distance: impl Fn(Point) -> f32, edge: f32) {
    let clouds = Clouds::new(rng, 0.4);
    let ragged = |p: Point| distance(p) + 1.6 * clouds.at(p);
    // At its margin lobules are filled in part.
    slice.haze(230.0, true, |p| smooth(0.5 - (ragged(p) - 2.0) / (2.0 * edge)));
    slice.shape(Ink::sign(rng.random_range(15.0..45.0), edge), ragged);
}

/// Bronchi filled and widened by mucus: branching bands with blunt ends, like a gloved finger.
pub fn bronchial_mucus_plugs(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let heading = rng.random_range(0.0..TAU);
    let ink = Ink::sign(rng.random_range(10.0..45.0), 0.8);
    let start = add(centre, direction(heading), -rng.random_range(11.0..14.0));
    let width = rng.random_range(1.6..2.3);
    let trunk = walk(rng, start, heading, 0.0, 3, 3.6, |t| width * (1.0 + 0.25 * t));
    slice.tube(ink, &trunk);
    let Some(fork) = trunk.last().copied() else { return };
    for side in [-1.0, 1.0] {
        let toward = heading + side * rng.random_range(0.35..0.65);
        finger(slice, rng, ink, fork, toward);
    }
    if rng.random::<f32>() < 0.5 {
        let side = if rng.random() { 1.0 } else { -1.0 };
        let toward = heading + side * rng.random_range(0.8..1.1);
        finger(slice, rng, ink, trunk[1], toward);
    }
}

/// One branch, wider at its end.
fn finger(slice: &mut Slice, rng: &mut ChaCha8Rng, ink: Ink, from: Knot, heading: f32) {
    let steps = rng.random_range(4..6);
    let turn = rng.random_range(-0.12..0.12);
    let bulb = rng.random_range(1.2..1.75);
    let width = from.radius * rng.random_range(0.70..0.90);
    let path = walk(rng, from.at, heading, turn, steps, 2.8, |t| {
        width * (1.0 + (bulb - 1.0) * t)
    });
    slice.tube(ink, &path);
}

/// A central mass that cuts a bronchus off, and beyond it a wedge of lung without air.
pub fn obstructive_pneumonia(slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point) {
    let heading = rng.random_range(0.0..TAU);
    let radius = rng.random_range(6.5..9.0);
    let hilum = add(centre, direction(heading), -rng.random_range(9.0..12.0));
    let opening = rng.random_range(0.45..0.70_f32);
    let reach = rng.random_range(24.0..36.0);
    let wedge = |p: Point| {
        let from = sub(p, add(hilum, direction(heading), -0.3 * radius));
        let along = dot(from, direction(heading));
        let aside = dot(from, direction(heading + PI / 2.0)).abs();
        // Its sides are drawn in, since the lung has lost volume.
        let side = aside - along * opening.tan() * (1.0 - 0.25 * (along / reach).clamp(0.0, 1.0));
        (side * opening.cos()).max(length(from) - reach).max(-along)
    };
    patchy(slice, rng, wedge);
    let mass = Outline::draw(rng, hilum, radius, 0.10);
    slice.shape(Ink::sign(SOFT_TISSUE + 15.0, 0.9), |p| mass.distance(p));
    let mouth = add(hilum, direction(heading), -0.55 * radius);
    let outside = add(hilum, direction(heading), -radius - 14.0);
    let knot = |at: Point, radius: f32| Knot { at, radius };
    slice.tube(Ink::sign(-100.0, 0.5), &[knot(outside, 2.9), knot(mouth, 2.1)]);
    slice.tube(Ink::sign(AIR, 0.5), &[knot(outside, 2.1), knot(mouth, 0.9)]);
}

/// Lung behind a closed bronchus: filled, with lobules that still hold some air, and bronchi full of mucus.
fn patchy(slice: &mut Slice, rng: &mut ChaCha8Rng, distance: impl Fn(Point) -> f32) {
    let (ragged, air) = (Clouds::new(rng, 0.35), Clouds::new(rng, 0.30));
    let edge = 2.2;
    slice.haze(190.0, true, |p| smooth(0.5 - (distance(p) - 2.5) / 6.0));
    let filled = |p: Point| smooth(0.5 - (distance(p) + 1.5 * ragged.at(p)) / edge);
    slice.veil(20.0, |p| filled(p) * (0.86 + 0.40 * air.at(p)).clamp(0.35, 1.0));
}

//! Normal lung in a small field: parenchyma, vessels, bronchi, a fissure, the chest wall.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::canvas::Clouds;
use super::slice::{HALF_MM, Ink, Knot, Point, Slice, add, direction, dot, length, sub};

/// Density of soft tissue in Hounsfield units: vessels with blood, muscle, nodules.
pub const SOFT_TISSUE: f32 = 40.0;
/// Density of air in bronchi and cavities.
pub const AIR: f32 = -960.0;

/// The chest wall, where the field reaches it.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    /// From the middle of the field to the pleura.
    pub outwards: Point,
    /// Distance of the pleura from the middle in mm.
    pub at_mm: f32,
    /// Radius of the curve of the pleura in mm.
    curve_mm: f32,
    /// Where it is drawn inwards.
    pub tent: Option<Tent>,
}

/// A pleura that is drawn towards a nodule.
#[derive(Debug, Clone, Copy)]
pub struct Tent {
    /// Along the pleura, in mm from the foot of the perpendicular.
    pub along_mm: f32,
    /// Height in mm.
    pub height_mm: f32,
    /// Half of its width in mm.
    pub width_mm: f32,
}

impl Wall {
    /// A wall in a direction of its own.
    pub fn draw(rng: &mut ChaCha8Rng, outwards: Point, at_mm: f32) -> Self {
        Self {
            outwards,
            at_mm,
            curve_mm: rng.random_range(55.0..110.0),
            tent: None,
        }
    }

    /// Millimetres beyond the pleura, negative in the lung.
    #[must_use]
    pub fn depth(&self, point: Point) -> f32 {
        let centre = add([0.0, 0.0], self.outwards, self.at_mm - self.curve_mm);
        let depth = length(sub(point, centre)) - self.curve_mm;
        let drawn = self.tent.map_or(0.0, |tent| {
            let aside = (dot(point, self.across()) - tent.along_mm).abs() / tent.width_mm;
            tent.height_mm * (-aside).exp()
        });
        depth + drawn
    }

    /// Along the pleura.
    #[must_use]
    pub fn across(&self) -> Point {
        [-self.outwards[1], self.outwards[0]]
    }

    /// Intercostal muscle, a rib or two, and fat beyond.
    pub fn paint(&self, slice: &mut Slice, rng: &mut ChaCha8Rng) {
        slice.shape(Ink::normal(SOFT_TISSUE + 10.0), |p| -self.depth(p));
        let fat_at = rng.random_range(9.0..13.0);
        slice.shape(
            Ink {
                edge_mm: 1.5,
                ..Ink::normal(-95.0)
            },
            |p| fat_at - self.depth(p),
        );
        let mut along = rng.random_range(-22.0..-8.0);
        while along < HALF_MM {
            let half = [rng.random_range(6.0..9.0), rng.random_range(2.6..3.6)];
            let rib = |p: Point, shrink: f32| {
                let q = [dot(p, self.across()) - along, self.depth(p) - 5.6];
                let inner = [half[0] - shrink, half[1] - shrink];
                (length([q[0] / inner[0], q[1] / inner[1]]) - 1.0) * inner[1]
            };
            slice.shape(Ink::normal(750.0), |p| rib(p, 0.0));
            slice.shape(Ink::normal(230.0), |p| rib(p, 1.1));
            along += half[0] * 2.0 + rng.random_range(9.0..14.0);
        }
    }
}

/// The air spaces: denser towards the patient's back, uneven from lobule to lobule.
pub fn parenchyma(size: usize, rng: &mut ChaCha8Rng) -> Slice {
    let base = rng.random_range(-885.0..-835.0);
    let slope = rng.random_range(0.2..1.0);
    let clouds = Clouds::new(rng, 0.30);
    Slice::new(size, |p| base + slope * p[1] + 22.0 * clouds.at(p))
}

/// Vessels that branch from the hilum's side outwards, and others that cross the slice.
pub fn vessels(slice: &mut Slice, rng: &mut ChaCha8Rng) {
    let hilum = rng.random_range(0.0..TAU);
    for _ in 0..rng.random_range(2..5) {
        let aside = rng.random_range(-1.1..1.1);
        let from = add(
            [0.0, 0.0],
            direction(hilum + aside),
            rng.random_range(0.6..1.3) * HALF_MM,
        );
        let heading = hilum + PI + rng.random_range(-0.8..0.8);
        let radius = rng.random_range(0.55..1.30);
        vessel(slice, rng, from, heading, radius, 2);
    }
    for _ in 0..rng.random_range(12..22) {
        let at = [(); 2].map(|()| rng.random_range(-HALF_MM..HALF_MM));
        let radius = rng.random_range(0.35..1.1_f32).powf(1.3);
        slice.shape(vessel_ink(radius), |p| length(sub(p, at)) - radius);
    }
    for _ in 0..rng.random_range(0..3) {
        bronchus(slice, rng);
    }
}

/// Thin vessels leave the slice on one side and so look less dense.
fn vessel_ink(radius: f32) -> Ink {
    Ink::normal(SOFT_TISSUE - 420.0 * (1.0 - radius).clamp(0.0, 1.0))
}

fn vessel(slice: &mut Slice, rng: &mut ChaCha8Rng, from: Point, heading: f32, radius: f32, branchings: u32) {
    let steps = rng.random_range(4..8);
    let turn = rng.random_range(-0.14..0.14);
    let path = walk(rng, from, heading, turn, steps, 3.2, |t| radius * (1.0 - 0.4 * t));
    slice.tube(vessel_ink(radius), &path);
    let Some(end) = path.last().copied() else { return };
    if branchings == 0 || end.radius < 0.35 {
        return;
    }
    let last = heading + turn * steps as f32;
    for side in [-1.0, 1.0] {
        let angle = last + side * rng.random_range(0.25..0.75);
        let narrower = end.radius * rng.random_range(0.7..0.95);
        vessel(slice, rng, end.at, angle, narrower, branchings - 1);
    }
}

/// A bronchus cut across, with its artery: a thin ring beside a disc as wide.
fn bronchus(slice: &mut Slice, rng: &mut ChaCha8Rng) {
    let at = [(); 2].map(|()| rng.random_range(-HALF_MM..HALF_MM));
    let radius = rng.random_range(1.3..2.1);
    let artery = add(at, direction(rng.random_range(0.0..TAU)), 2.0 * radius + 0.3);
    slice.shape(Ink::normal(-150.0), |p| length(sub(p, at)) - radius - 0.4);
    slice.shape(Ink::normal(AIR), |p| length(sub(p, at)) - radius + 0.3);
    slice.shape(Ink::normal(SOFT_TISSUE), |p| length(sub(p, artery)) - radius);
}

/// A thin, slightly curved line across the field.
pub fn fissure(slice: &mut Slice, rng: &mut ChaCha8Rng) {
    let heading = rng.random_range(0.0..TAU);
    let start = add(
        add([0.0, 0.0], direction(heading), -1.5 * HALF_MM),
        direction(heading + PI / 2.0),
        rng.random_range(9.0..20.0),
    );
    let turn = rng.random_range(-0.03..0.03);
    let path = walk(rng, start, heading, turn, 18, 4.0, |_| 0.3);
    slice.tube(Ink::normal(-420.0), &path);
}

/// A path of so many steps that turns by `turn` radians at each, give or take.
pub fn walk(
    rng: &mut ChaCha8Rng,
    from: Point,
    heading: f32,
    turn: f32,
    steps: usize,
    step_mm: f32,
    radius: impl Fn(f32) -> f32,
) -> Vec<Knot> {
    let (mut at, mut heading) = (from, heading);
    let mut path = vec![Knot {
        at,
        radius: radius(0.0),
    }];
    for step in 1..=steps {
        heading += turn + rng.random_range(-0.06..0.06);
        at = add(at, direction(heading), step_mm);
        path.push(Knot {
            at,
            radius: radius(step as f32 / steps as f32),
        });
    }
    path
}

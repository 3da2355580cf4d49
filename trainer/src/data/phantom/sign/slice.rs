//! The slice: Hounsfield units per pixel of a small axial field, and shapes painted into it.

use std::ops::Range;

use super::super::canvas::smooth;
use crate::data::filter::blur;

/// Side of the field of a patch in mm: room for a sign with some lung around it.
pub const FIELD_MM: f32 = 48.0;
/// Half of [`FIELD_MM`].
pub const HALF_MM: f32 = FIELD_MM / 2.0;
/// Points a pixel is made of in each direction, so that thin bands keep their density.
const OVERSAMPLING: usize = 2;
/// Share of a pixel that a sign must fill to count in its mask.
const MASK_SHARE: f32 = 0.35;

/// A point in mm from the middle of the field, x to the right, y downwards (towards the patient's back).
pub type Point = [f32; 2];

/// What is painted.
#[derive(Debug, Clone, Copy)]
pub struct Ink {
    /// Density in Hounsfield units.
    pub hu: f32,
    /// Width in mm over which a shape or tube fades.
    pub edge_mm: f32,
    /// Whether it counts as the sign.
    pub sign: bool,
}

impl Ink {
    /// A sharply bounded structure of normal lung or chest wall.
    #[must_use]
    pub fn normal(hu: f32) -> Self {
        Self {
            hu,
            edge_mm: 0.5,
            sign: false,
        }
    }

    /// A part of the sign.
    #[must_use]
    pub fn sign(hu: f32, edge_mm: f32) -> Self {
        Self {
            hu,
            edge_mm,
            sign: true,
        }
    }
}

/// One point of a tube.
#[derive(Debug, Clone, Copy)]
pub struct Knot {
    /// Place.
    pub at: Point,
    /// Half of the width in mm.
    pub radius: f32,
}

/// A square field of Hounsfield units.
#[derive(Debug, Clone)]
pub struct Slice {
    side: usize,
    mm_per_point: f32,
    hu: Vec<f32>,
    sign: Vec<f32>,
}

impl Slice {
    /// A field of `size` x `size` pixels, filled by `hu`.
    #[must_use]
    pub fn new(size: usize, hu: impl Fn(Point) -> f32) -> Self {
        let side = size * OVERSAMPLING;
        let mut slice = Self {
            side,
            mm_per_point: FIELD_MM / side as f32,
            hu: Vec::new(),
            sign: vec![0.0; side * side],
        };
        slice.hu = (0..side * side).map(|i| hu(slice.point(i % side, i / side))).collect();
        slice
    }

    fn point(&self, x: usize, y: usize) -> Point {
        [x, y].map(|place| (place as f32 + 0.5) * self.mm_per_point - HALF_MM)
    }

    /// Paints a shape given by its signed distance in mm, negative inside, over what is there.
    pub fn shape(&mut self, ink: Ink, distance: impl Fn(Point) -> f32) {
        self.blend(self.whole(), ink.sign, |point, _| {
            (inside(distance(point), ink.edge_mm), ink.hu)
        });
    }

    /// Adds to what is there by the weight (0 to 1) of each point.
    pub fn haze(&mut self, added_hu: f32, sign: bool, weight: impl Fn(Point) -> f32) {
        self.blend(self.whole(), sign, |point, hu| (weight(point), hu + added_hu));
    }

    /// Lets a part of the sign take the place of what is there by the weight (0 to 1) of each point.
    pub fn veil(&mut self, hu: f32, weight: impl Fn(Point) -> f32) {
        self.blend(self.whole(), true, |point, _| (weight(point), hu));
    }

    /// Paints a tube through its knots.
    pub fn tube(&mut self, ink: Ink, knots: &[Knot]) {
        let reach = |axis: usize, sign: f32| {
            let ends = knots
                .iter()
                .map(|knot| sign * knot.at[axis] + knot.radius + ink.edge_mm);
            ends.fold(f32::MIN, f32::max)
        };
        let index = |mm: f32| ((mm + HALF_MM) / self.mm_per_point).clamp(0.0, self.side as f32) as usize;
        let range = |axis: usize| index(-reach(axis, -1.0))..(index(reach(axis, 1.0)) + 1).min(self.side);
        self.blend([range(0), range(1)], ink.sign, |point, _| {
            (inside(tube_distance(point, knots), ink.edge_mm), ink.hu)
        });
    }

    fn whole(&self) -> [Range<usize>; 2] {
        [0..self.side, 0..self.side]
    }

    fn blend(&mut self, [columns, rows]: [Range<usize>; 2], sign: bool, shade: impl Fn(Point, f32) -> (f32, f32)) {
        for y in rows {
            for x in columns.clone() {
                let place = y * self.side + x;
                let (share, hu) = shade(self.point(x, y), self.hu[place]);
                self.hu[place] += share * (hu - self.hu[place]);
                if sign {
                    self.sign[place] = self.sign[place].max(share);
                }
            }
        }
    }

    /// The pixels as a scanner with a Gaussian point spread of this deviation in mm sees them, and those of the sign.
    #[must_use]
    pub fn scanned(mut self, spread_mm: f32) -> (Vec<f32>, Vec<bool>) {
        blur(&mut self.hu, self.side, self.side, spread_mm / self.mm_per_point);
        let sign = self.averaged(&self.sign);
        let hu = self.averaged(&self.hu);
        (hu, sign.into_iter().map(|share| share > MASK_SHARE).collect())
    }

    fn averaged(&self, points: &[f32]) -> Vec<f32> {
        let size = self.side / OVERSAMPLING;
        let mean = |x: usize, y: usize| {
            let rows = (0..OVERSAMPLING).map(|row| (y * OVERSAMPLING + row) * self.side + x * OVERSAMPLING);
            let sum: f32 = rows.flat_map(|start| &points[start..start + OVERSAMPLING]).sum();
            sum / (OVERSAMPLING * OVERSAMPLING) as f32
        };
        (0..size * size).map(|i| mean(i % size, i / size)).collect()
    }
}

/// Share of a point that lies inside of a shape, from its signed distance.
fn inside(distance: f32, edge_mm: f32) -> f32 {
    smooth(0.5 - distance / edge_mm)
}

/// Signed distance to a chain of round cones.
fn tube_distance(point: Point, knots: &[Knot]) -> f32 {
    let of_segment = |pair: &[Knot]| {
        let (from, to) = (pair[0], pair[1]);
        let along = sub(to.at, from.at);
        let t = (dot(sub(point, from.at), along) / dot(along, along).max(1e-6)).clamp(0.0, 1.0);
        let nearest = add(from.at, along, t);
        length(sub(point, nearest)) - (from.radius + t * (to.radius - from.radius))
    };
    knots.windows(2).map(of_segment).fold(f32::MAX, f32::min)
}

/// a - b.
#[must_use]
pub fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

/// a + factor * b.
#[must_use]
pub fn add(a: Point, b: Point, factor: f32) -> Point {
    [a[0] + factor * b[0], a[1] + factor * b[1]]
}

/// The scalar product.
#[must_use]
pub fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// The Euclidean length.
#[must_use]
pub fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}

/// The unit vector of an angle in radians.
#[must_use]
pub fn direction(angle: f32) -> Point {
    let (sin, cos) = angle.sin_cos();
    [cos, sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_lie_at_their_millimetres_and_only_signs_are_masked() {
        let mut slice = Slice::new(64, |_| -850.0);
        slice.shape(Ink::sign(40.0, 0.5), |p| length(sub(p, [6.0, -6.0])) - 5.0);
        slice.shape(Ink::normal(700.0), |p| p[1] - -20.0);
        let (hu, sign) = slice.scanned(0.0);
        let pixel = |mm: Point| {
            let [x, y] = mm.map(|v| ((v + HALF_MM) / FIELD_MM * 64.0) as usize);
            y * 64 + x
        };
        assert_eq!(hu[pixel([6.0, -6.0])], 40.0);
        assert_eq!(hu[pixel([0.0, 10.0])], -850.0);
        assert_eq!(hu[pixel([0.0, -22.0])], 700.0);
        assert!(sign[pixel([6.0, -2.0])] && !sign[pixel([0.0, -22.0])] && !sign[pixel([12.0, -6.0])]);
        let area = sign.iter().filter(|inside| **inside).count() as f32 * (FIELD_MM / 64.0).powi(2);
        assert!((area - 25.0 * std::f32::consts::PI).abs() < 5.0, "{area} mm2");
    }

    #[test]
    fn a_band_thinner_than_a_pixel_keeps_its_density() {
        let mut slice = Slice::new(64, |_| -850.0);
        let knot = |x| Knot {
            at: [x, 0.4],
            radius: 0.25,
        };
        slice.tube(Ink::normal(50.0), &[knot(-10.0), knot(10.0)]);
        let (hu, _) = slice.scanned(0.4);
        let column: f32 = (0..64).map(|y| hu[y * 64 + 32] + 850.0).sum::<f32>() * FIELD_MM / 64.0;
        assert!((column - 900.0 * 0.5).abs() < 120.0, "{column} HU mm for 450");
    }
}

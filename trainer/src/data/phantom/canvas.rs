//! The film: attenuation per pixel, the patient's place on it, and strokes of tubular things.

use rand::RngCore;
use rand_chacha::ChaCha8Rng;

/// Where the patient stands: from the patient's plane to pixels and back.
///
/// In the patient's plane x and y run from -1 to 1 over the film, y downwards, and the patient's
/// left is at positive x, as on a frontal X-ray.
#[derive(Debug, Clone, Copy)]
pub struct Pose {
    middle: f32,
    pixels_per_unit: f32,
    cos: f32,
    sin: f32,
    shift: [f32; 2],
}

impl Pose {
    /// A film of `size` x `size` pixels; `scale` 1 fits the plane to the film, `shift` is in units
    /// of the plane, `degrees` turns clockwise.
    #[must_use]
    pub fn new(size: usize, scale: f32, shift: [f32; 2], degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let middle = size as f32 / 2.0;
        Self {
            middle,
            pixels_per_unit: middle * scale,
            cos,
            sin,
            shift,
        }
    }

    /// Pixels per unit of the plane.
    #[must_use]
    pub fn pixels(&self, length: f32) -> f32 {
        length * self.pixels_per_unit
    }

    /// The pixel coordinates (x, y) of a point of the patient's plane.
    #[must_use]
    pub fn to_pixel(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (x, y) = (x + self.shift[0], y + self.shift[1]);
        let turned = [self.cos * x - self.sin * y, self.sin * x + self.cos * y];
        turned.map(|v| v * self.pixels_per_unit + self.middle)
    }

    /// The point of the patient's plane under the middle of pixel (x, y).
    #[must_use]
    pub fn to_plane(&self, x: usize, y: usize) -> [f32; 2] {
        let u = (x as f32 + 0.5 - self.middle) / self.pixels_per_unit;
        let v = (y as f32 + 0.5 - self.middle) / self.pixels_per_unit;
        [
            self.cos * u + self.sin * v - self.shift[0],
            self.cos * v - self.sin * u - self.shift[1],
        ]
    }
}

/// One point of a stroke, in the patient's plane.
#[derive(Debug, Clone, Copy)]
pub struct Nib {
    /// Place.
    pub at: [f32; 2],
    /// Half of the width.
    pub half_width: f32,
    /// Attenuation through the middle; negative for air.
    pub strength: f32,
}

/// What a ray meets across a stroke.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Profile {
    /// A full cylinder: vessels, the air of the trachea.
    Solid,
    /// A cylinder with a dense wall: bones.
    Bone,
}

impl Profile {
    /// Path through the cylinder at the squared relative distance `r2` from its axis.
    fn path(self, r2: f32) -> f32 {
        let outer = (1.0 - r2).max(0.0).sqrt();
        match self {
            Self::Solid => outer,
            Self::Bone => outer - 0.55 * (0.60 - r2).max(0.0).sqrt(),
        }
    }
}

/// A square film with one value per pixel, row by row.
#[derive(Debug, Clone)]
pub struct Film {
    /// Side in pixels.
    pub size: usize,
    /// Where the patient stands.
    pub pose: Pose,
    /// Attenuation; 0 is air, about 1 the middle of the body.
    pub values: Vec<f32>,
}

impl Film {
    /// An empty film.
    #[must_use]
    pub fn new(size: usize, pose: Pose) -> Self {
        Self {
            size,
            pose,
            values: vec![0.0; size * size],
        }
    }

    /// Adds a smooth curve through the nibs; where the curve meets itself the greater path counts
    /// once. `within` weighs each pixel (a lung, for its vessels).
    pub fn stroke(&mut self, nibs: &[Nib], profile: Profile, within: Option<&[f32]>) {
        let Some(area) = self.bounds(nibs) else { return };
        let width = area.x1 - area.x0;
        let mut layer = vec![0.0_f32; width * (area.y1 - area.y0)];
        for pair in nibs.windows(2) {
            self.segment(&mut layer, &area, pair[0], pair[1], profile);
        }
        for y in area.y0..area.y1 {
            let row = &layer[(y - area.y0) * width..][..width];
            let start = y * self.size + area.x0;
            let film = &mut self.values[start..start + width];
            match within {
                Some(weights) => {
                    let weights = &weights[start..start + width];
                    for ((value, add), weight) in film.iter_mut().zip(row).zip(weights) {
                        *value += add * weight;
                    }
                }
                None => film.iter_mut().zip(row).for_each(|(value, add)| *value += add),
            }
        }
    }

    fn segment(&self, layer: &mut [f32], area: &Area, from: Nib, to: Nib, profile: Profile) {
        let Some(part) = self.bounds(&[from, to]) else { return };
        let (a, b) = (self.pose.to_pixel(from.at), self.pose.to_pixel(to.at));
        let along = [b[0] - a[0], b[1] - a[1]];
        let length2 = (along[0] * along[0] + along[1] * along[1]).max(1e-6);
        // A tube thinner than a pixel keeps its mass by being fainter.
        let thin = 0.6;
        let widths = [from, to].map(|nib| self.pose.pixels(nib.half_width));
        let width = area.x1 - area.x0;
        for y in part.y0..part.y1 {
            for x in part.x0..part.x1 {
                let (dx, dy) = (x as f32 + 0.5 - a[0], y as f32 + 0.5 - a[1]);
                let t = ((dx * along[0] + dy * along[1]) / length2).clamp(0.0, 1.0);
                let (ex, ey) = (dx - t * along[0], dy - t * along[1]);
                let half = widths[0] + t * (widths[1] - widths[0]);
                let drawn = half.max(thin);
                let r2 = (ex * ex + ey * ey) / (drawn * drawn);
                if r2 >= 1.0 {
                    continue;
                }
                let strength = from.strength + t * (to.strength - from.strength);
                let value = strength * profile.path(r2) * (half / drawn);
                let place = &mut layer[(y - area.y0) * width + x - area.x0];
                if value.abs() > place.abs() {
                    *place = value;
                }
            }
        }
    }

    /// The pixels that strokes between these nibs can touch.
    fn bounds(&self, nibs: &[Nib]) -> Option<Area> {
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for nib in nibs {
            let centre = self.pose.to_pixel(nib.at);
            let reach = self.pose.pixels(nib.half_width).max(1.0) + 1.0;
            for axis in 0..2 {
                low[axis] = low[axis].min(centre[axis] - reach);
                high[axis] = high[axis].max(centre[axis] + reach);
            }
        }
        let clip = |v: f32| v.clamp(0.0, self.size as f32) as usize;
        let area = Area {
            x0: clip(low[0]),
            y0: clip(low[1]),
            x1: clip(high[0]),
            y1: clip(high[1]),
        };
        (area.x0 < area.x1 && area.y0 < area.y1).then_some(area)
    }
}

#[derive(Debug, Clone, Copy)]
struct Area {
    x0: usize,
    y0: usize,
    x1: usize,
    y1: usize,
}

/// 0 below 0, 1 above 1, smooth between.
#[must_use]
pub fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Smooth noise over the patient's plane, about -1 to 1: three octaves of a random lattice.
#[derive(Debug, Clone)]
pub struct Clouds {
    lattice: Vec<f32>,
    cells_per_unit: f32,
}

impl Clouds {
    const SIDE: usize = 32;

    /// `cells_per_unit` sets the size of the largest clouds.
    pub fn new(rng: &mut ChaCha8Rng, cells_per_unit: f32) -> Self {
        let draw = |_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
        Self {
            lattice: (0..Self::SIDE * Self::SIDE).map(draw).collect(),
            cells_per_unit,
        }
    }

    /// The noise at a point.
    #[must_use]
    pub fn at(&self, [x, y]: [f32; 2]) -> f32 {
        let (x, y) = ((x + 8.0) * self.cells_per_unit, (y + 8.0) * self.cells_per_unit);
        self.octave(x, y) * 0.57
            + self.octave(2.0 * x + 5.2, 2.0 * y + 1.3) * 0.29
            + self.octave(4.0 * x + 3.7, 4.0 * y + 9.1) * 0.14
    }

    fn octave(&self, x: f32, y: f32) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let (tx, ty) = (smooth(x - x0), smooth(y - y0));
        let corner = |dx: usize, dy: usize| {
            let column = (x0 as usize).wrapping_add(dx) % Self::SIDE;
            let row = (y0 as usize).wrapping_add(dy) % Self::SIDE;
            self.lattice[row * Self::SIDE + column]
        };
        let top = corner(0, 0) + tx * (corner(1, 0) - corner(0, 0));
        let bottom = corner(0, 1) + tx * (corner(1, 1) - corner(0, 1));
        top + ty * (bottom - top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_pose_maps_to_pixels_and_back() {
        let pose = Pose::new(200, 0.9, [0.05, -0.1], 7.0);
        for (x, y) in [(0, 0), (31, 150), (199, 199)] {
            let back = pose.to_pixel(pose.to_plane(x, y));
            assert!((back[0] - x as f32 - 0.5).abs() < 1e-3, "{back:?}");
            assert!((back[1] - y as f32 - 0.5).abs() < 1e-3, "{back:?}");
        }
    }

    #[test]
    fn a_stroke_covers_its_width_and_nothing_else() {
        let mut film = Film::new(100, Pose::new(100, 1.0, [0.0, 0.0], 0.0));
        let nib = |x| Nib {
            at: [x, 0.0],
            half_width: 0.1,
            strength: 1.0,
        };
        film.stroke(&[nib(-0.5), nib(0.5)], Profile::Solid, None);
        assert!(film.values[50 * 100 + 50] > 0.95);
        assert!(film.values[50 * 100 + 10] == 0.0, "beyond its end");
        assert!(film.values[60 * 100 + 50] == 0.0, "beside it");
        let rows = (0..100).filter(|y| film.values[y * 100 + 50] > 0.0).count();
        assert!((9..=11).contains(&rows), "{rows} rows for a width of 10 pixels");
    }

    #[test]
    fn strokes_off_the_film_are_harmless() {
        let mut film = Film::new(16, Pose::new(16, 1.0, [0.0, 0.0], 0.0));
        let nib = |x, y| Nib {
            at: [x, y],
            half_width: 0.3,
            strength: 1.0,
        };
        film.stroke(&[nib(-9.0, -9.0), nib(-8.0, 9.0)], Profile::Bone, None);
        assert!(film.values.iter().all(|v| *v == 0.0));
        film.stroke(&[nib(-9.0, 0.0), nib(9.0, 0.0)], Profile::Bone, None);
        assert!(film.values.iter().any(|v| *v > 0.0));
    }

    #[test]
    fn clouds_vary_about_zero() {
        let clouds = Clouds::new(&mut ChaCha8Rng::seed_from_u64(3), 3.0);
        let values: Vec<f32> = (0..900)
            .map(|i| clouds.at([(i % 30) as f32 / 15.0, (i / 30) as f32 / 15.0]))
            .collect();
        let mean = values.iter().sum::<f32>() / 900.0;
        assert!(mean.abs() < 0.35 && values.iter().any(|v| *v > 0.3) && values.iter().any(|v| *v < -0.3));
    }
}

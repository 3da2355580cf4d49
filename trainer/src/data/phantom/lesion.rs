//! Opacities of a set kind, place and strength, and the mask of where they are.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::anatomy::Side;
use super::canvas::{Clouds, Film, Nib, Profile, smooth};

/// The abnormal classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LesionKind {
    /// One dense patch in which air of the bronchi may show.
    Consolidation,
    /// Several hazy patches near the pleura that veil the vessels.
    GroundGlass,
    /// One small round shadow.
    Nodule,
}

impl LesionKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Consolidation, Self::GroundGlass, Self::Nodule];

    /// The label in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Consolidation => "consolidation",
            Self::GroundGlass => "ground_glass",
            Self::Nodule => "nodule",
        }
    }

    /// Radius of a patch in units of the patient's plane (the film is 2 wide).
    fn radius(self, rng: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Consolidation => rng.random_range(0.19..0.34),
            Self::GroundGlass => rng.random_range(0.17..0.30),
            Self::Nodule => rng.random_range(0.050..0.085),
        }
    }

    fn patches(self, rng: &mut ChaCha8Rng) -> usize {
        match self {
            Self::GroundGlass => rng.random_range(2..=4),
            Self::Consolidation | Self::Nodule => 1,
        }
    }

    /// Share of the lung's air that a full-strength opacity replaces.
    fn opacity(self, rng: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Consolidation => rng.random_range(0.60..0.88),
            Self::GroundGlass => rng.random_range(0.36..0.54),
            Self::Nodule => rng.random_range(0.42..0.66),
        }
    }

    /// Smallest share of the film that it fills; one cut off by the heart is drawn anew.
    fn min_area(self) -> f32 {
        match self {
            Self::Consolidation => 0.010,
            Self::GroundGlass => 0.012,
            Self::Nodule => 0.0012,
        }
    }

    /// Width of the edge relative to the radius, and how ragged it is.
    fn edge(self) -> (f32, f32) {
        match self {
            Self::Consolidation => (0.80, 0.55),
            Self::GroundGlass => (1.0, 0.65),
            Self::Nodule => (0.45, 0.15),
        }
    }
}

/// A third of a lung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// Above the hilum.
    Upper,
    /// At the hilum.
    Middle,
    /// Above the diaphragm.
    Lower,
}

impl Zone {
    /// Heights in the patient's plane.
    fn range(self) -> (f32, f32) {
        match self {
            Self::Upper => (-0.62, -0.28),
            Self::Middle => (-0.28, 0.06),
            Self::Lower => (0.06, 0.45),
        }
    }

    fn of(y: f32) -> Self {
        if y < -0.28 {
            Self::Upper
        } else if y < 0.06 {
            Self::Middle
        } else {
            Self::Lower
        }
    }
}

/// What is wanted of a lesion; what is `None` is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LesionSpec {
    /// Kind.
    pub kind: LesionKind,
    /// Lung and third of it.
    pub place: Option<(Side, Zone)>,
    /// Factor on the opacity; 1 is as drawn, 0.5 half as dense.
    pub strength: f32,
    /// Greatest share of the film's pixels in the mask.
    pub max_area: Option<f32>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LesionRecord {
    /// Kind.
    pub kind: LesionKind,
    /// Middle of the largest patch in pixels, x and y.
    pub centre_px: [f32; 2],
    /// Radius of the largest patch in pixels.
    pub radius_px: f32,
    /// Number of patches.
    pub patches: usize,
    /// Share of the film's pixels in the mask.
    pub area_fraction: f32,
    /// Share of the lung's air that is replaced in the middle.
    pub opacity: f32,
    /// The patient's side, and third of the lung, of the largest patch.
    pub side: String,
    /// Third of the lung of the largest patch.
    pub zone: Zone,
}

/// A lesion on the film.
#[derive(Debug, Clone)]
pub struct Lesion {
    /// Weight per pixel, 0 to 1.
    pub weight: Vec<f32>,
    /// Pixels that count as lesion.
    pub mask: Vec<bool>,
    /// What it is.
    pub record: LesionRecord,
    airways: Vec<[Nib; 3]>,
}

#[derive(Debug, Clone, Copy)]
struct Patch {
    centre: [f32; 2],
    radius: f32,
    stretch: f32,
    angle: f32,
}

/// A weight from which a pixel counts as lesion.
const MASK_WEIGHT: f32 = 0.35;
/// Air below which a pixel is no lung for the mask.
const MASK_AIR: f32 = 0.20;

impl Lesion {
    /// Draws a lesion into the lungs (air per pixel).
    pub fn draw(spec: &LesionSpec, film: &Film, lungs: &[f32], rng: &mut ChaCha8Rng) -> Self {
        let kind = spec.kind;
        let clouds = Clouds::new(rng, 5.0);
        let opacity = (kind.opacity(rng) * spec.strength).clamp(0.0, 1.0);
        let mut attempt = 0;
        loop {
            let mut patches = draw_patches(spec, film, lungs, rng);
            let mut drawn = Drawn::new(kind, &patches, &clouds, film, lungs);
            let limit = spec.max_area.unwrap_or(1.0);
            for _ in 0..12 {
                if drawn.area <= limit {
                    break;
                }
                let shrink = (limit / drawn.area).sqrt() * 0.97;
                patches.iter_mut().for_each(|patch| patch.radius *= shrink);
                drawn = Drawn::new(kind, &patches, &clouds, film, lungs);
            }
            attempt += 1;
            if drawn.area >= kind.min_area().min(0.5 * limit) || attempt == 20 {
                return drawn.finish(kind, &patches, opacity, film, rng);
            }
        }
    }

    /// The share of the air that stays, per pixel.
    #[must_use]
    pub fn air_kept(&self) -> Vec<f32> {
        self.weight
            .iter()
            .map(|weight| 1.0 - self.record.opacity * weight)
            .collect()
    }

    /// Adds the air that stays in the bronchi of a consolidation.
    pub fn add_airways(&self, film: &mut Film) {
        for airway in &self.airways {
            film.stroke(airway, Profile::Solid, Some(&self.weight));
        }
    }
}

fn draw_patches(spec: &LesionSpec, film: &Film, lungs: &[f32], rng: &mut ChaCha8Rng) -> Vec<Patch> {
    let place = spec.place.unwrap_or_else(|| {
        let side = Side::BOTH[rng.random_range(0..2)];
        let zone = [Zone::Upper, Zone::Middle, Zone::Lower, Zone::Lower][rng.random_range(0..4)];
        (side, zone)
    });
    (0..spec.kind.patches(rng))
        .map(|i| {
            let (mut side, mut zone) = place;
            if i > 0 && spec.place.is_none() && rng.random::<f32>() < 0.5 {
                side = Side::BOTH[rng.random_range(0..2)];
                zone = [Zone::Upper, Zone::Middle, Zone::Lower][rng.random_range(0..3)];
            }
            Patch {
                centre: find_place(spec.kind, side, zone, film, lungs, rng),
                radius: spec.kind.radius(rng) * if i > 0 { 0.8 } else { 1.0 },
                stretch: if spec.kind == LesionKind::Nodule {
                    rng.random_range(0.9..1.1)
                } else {
                    rng.random_range(0.7..1.4)
                },
                angle: rng.random_range(0.0..std::f32::consts::PI),
            }
        })
        .collect()
}

/// A point with enough lung at it, in a third of a lung.
fn find_place(kind: LesionKind, side: Side, zone: Zone, film: &Film, lungs: &[f32], rng: &mut ChaCha8Rng) -> [f32; 2] {
    let (low, high) = zone.range();
    let mut best = ([0.45 * side.sign(), 0.0], 0.0);
    for _ in 0..60 {
        // Ground glass lies near the pleura, the others anywhere.
        let x = if kind == LesionKind::GroundGlass {
            rng.random_range(0.42..0.66)
        } else {
            rng.random_range(0.20..0.60)
        };
        let point = [side.sign() * x, rng.random_range(low..high)];
        let air = air_at(film, lungs, point);
        if air > 0.62 {
            return point;
        }
        if air > best.1 {
            best = (point, air);
        }
    }
    best.0
}

fn air_at(film: &Film, lungs: &[f32], point: [f32; 2]) -> f32 {
    let [x, y] = film.pose.to_pixel(point);
    let inside = |v: f32| v >= 0.0 && v < film.size as f32;
    if inside(x) && inside(y) {
        lungs[y as usize * film.size + x as usize]
    } else {
        0.0
    }
}

/// Patches on the film.
struct Drawn {
    weight: Vec<f32>,
    mask: Vec<bool>,
    area: f32,
}

impl Drawn {
    fn new(kind: LesionKind, patches: &[Patch], clouds: &Clouds, film: &Film, lungs: &[f32]) -> Self {
        let mut weight = vec![0.0_f32; lungs.len()];
        for patch in patches {
            patch.add(kind, clouds, film, &mut weight);
        }
        let mask: Vec<bool> = weight
            .iter()
            .zip(lungs)
            .map(|(weight, air)| *weight > MASK_WEIGHT && *air > MASK_AIR)
            .collect();
        let area = mask.iter().filter(|inside| **inside).count() as f32 / mask.len() as f32;
        Self { weight, mask, area }
    }

    fn finish(self, kind: LesionKind, patches: &[Patch], opacity: f32, film: &Film, rng: &mut ChaCha8Rng) -> Lesion {
        let largest = patches
            .iter()
            .fold(patches[0], |a, b| if b.radius > a.radius { *b } else { a });
        let airways = if kind == LesionKind::Consolidation {
            airways(&largest, opacity, rng)
        } else {
            Vec::new()
        };
        let record = LesionRecord {
            kind,
            centre_px: film.pose.to_pixel(largest.centre),
            radius_px: film.pose.pixels(largest.radius),
            patches: patches.len(),
            area_fraction: self.area,
            opacity,
            side: if largest.centre[0] < 0.0 {
                "right".into()
            } else {
                "left".into()
            },
            zone: Zone::of(largest.centre[1]),
        };
        Lesion {
            weight: self.weight,
            mask: self.mask,
            record,
            airways,
        }
    }
}

impl Patch {
    fn add(&self, kind: LesionKind, clouds: &Clouds, film: &Film, weight: &mut [f32]) {
        let (soft, ragged) = kind.edge();
        let (sin, cos) = self.angle.sin_cos();
        let reach = film.pose.pixels(self.radius * 2.1) + 2.0;
        let [cx, cy] = film.pose.to_pixel(self.centre);
        let range = |centre: f32| {
            let clip = |v: f32| v.clamp(0.0, film.size as f32) as usize;
            clip(centre - reach)..clip(centre + reach)
        };
        for y in range(cy) {
            for x in range(cx) {
                let point = film.pose.to_plane(x, y);
                let (dx, dy) = (point[0] - self.centre[0], point[1] - self.centre[1]);
                let along = (cos * dx + sin * dy) / self.stretch;
                let across = (cos * dy - sin * dx) * self.stretch;
                let r = (along * along + across * across).sqrt() / self.radius;
                if r > 2.0 {
                    continue;
                }
                let noise = clouds.at(point);
                let mut value = smooth((1.0 - r + ragged * noise) / soft);
                if kind == LesionKind::GroundGlass {
                    value *= 0.85 + 0.35 * noise;
                }
                let place = &mut weight[y * film.size + x];
                *place = place.max(value.clamp(0.0, 1.0));
            }
        }
    }
}

/// Two or three branching lines of air that point away from the hilum.
fn airways(patch: &Patch, opacity: f32, rng: &mut ChaCha8Rng) -> Vec<[Nib; 3]> {
    let side = patch.centre[0].signum();
    let count = rng.random_range(1..=3);
    (0..count)
        .map(|_| {
            let angle = rng.random_range(-0.9..0.9_f32) + 0.5 * patch.centre[1];
            let (sin, cos) = angle.sin_cos();
            let point = |t: f32| {
                [
                    patch.centre[0] + side * cos * t * patch.radius,
                    patch.centre[1] + (sin * t + 0.15 * t * t) * patch.radius,
                ]
            };
            [(-0.8, 0.013), (0.0, 0.011), (0.8, 0.006)].map(|(t, half_width)| Nib {
                at: point(t),
                half_width,
                strength: -0.13 * opacity,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::phantom::anatomy::Anatomy;
    use crate::data::phantom::canvas::Pose;
    use crate::data::phantom::tissue;
    use rand::SeedableRng;

    fn lesion(seed: u64, spec: &LesionSpec) -> (Lesion, Vec<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let body = Anatomy::draw(&mut rng);
        let film = Film::new(96, Pose::new(96, 0.95, [0.0, 0.0], 0.0));
        let lungs = tissue::lungs(&film, &body, 1.0);
        (Lesion::draw(spec, &film, &lungs, &mut rng), lungs)
    }

    #[test]
    fn a_lesion_lies_in_the_lungs_and_within_its_greatest_area() {
        for seed in 0..20 {
            for kind in LesionKind::ALL {
                let spec = LesionSpec {
                    kind,
                    place: None,
                    strength: 1.0,
                    max_area: Some(0.03),
                };
                let (lesion, lungs) = lesion(seed, &spec);
                let area = lesion.mask.iter().filter(|inside| **inside).count() as f32 / lesion.mask.len() as f32;
                assert!(area > 0.0005 && area <= 0.03, "{kind:?} {seed}: {area}");
                assert!((area - lesion.record.area_fraction).abs() < 1e-6);
                assert!(
                    lesion
                        .mask
                        .iter()
                        .zip(&lungs)
                        .all(|(inside, air)| !inside || *air > 0.0)
                );
            }
        }
    }

    #[test]
    fn a_set_place_and_strength_are_kept() {
        let place = Some((Side::Left, Zone::Upper));
        let spec = LesionSpec {
            kind: LesionKind::Nodule,
            place,
            strength: 0.5,
            max_area: None,
        };
        for seed in 0..10 {
            let (lesion, _) = lesion(seed, &spec);
            assert_eq!((lesion.record.side.as_str(), lesion.record.zone), ("left", Zone::Upper));
            assert!(lesion.record.opacity <= 0.46, "{}", lesion.record.opacity);
        }
    }
}

//! Soft tissue: the body's thickness, the air of the lungs, heart, abdomen and stomach bubble.

use super::anatomy::{Anatomy, Side};
use super::canvas::{Clouds, Film, smooth};

/// Share of the body's attenuation that the air of a full lung takes away.
const LUNG_AIR: f32 = 0.80;

/// Fills the film with soft tissue. `lungs` is the air per pixel as [`lungs`] gives it, `air_kept` the share of it
/// that an opacity leaves.
pub fn fill(film: &mut Film, body: &Anatomy, breath: f32, clouds: &Clouds, lungs: &[f32], air_kept: &[f32]) {
    for y in 0..film.size {
        for x in 0..film.size {
            let i = y * film.size + x;
            let point = film.pose.to_plane(x, y);
            let thickness = thickness(body, point);
            if thickness <= 0.0 {
                continue;
            }
            let air = lungs[i] * air_kept[i];
            let texture = 1.0 + 0.05 * clouds.at(point);
            let organs = organs(body, point, breath, lungs[i]);
            film.values[i] = thickness * texture * ((1.0 + organs) - LUNG_AIR * air);
        }
    }
}

/// The air of the lungs per pixel of the film, 0 to 1.
pub fn lungs(film: &Film, body: &Anatomy, breath: f32) -> Vec<f32> {
    let mut air = Vec::with_capacity(film.size * film.size);
    for y in 0..film.size {
        air.extend((0..film.size).map(|x| body.lung(film.pose.to_plane(x, y), breath)));
    }
    air
}

/// Half width of the body at height `y`: neck, shoulders, flanks.
fn outline(body: &Anatomy, y: f32) -> f32 {
    let neck = 0.30 * body.habitus.sqrt();
    let shoulders = 1.35;
    let flank = body.body_half_width;
    let to_shoulder = smooth((y + 1.02) / 0.30);
    let to_flank = smooth((y + 0.62) / 0.55);
    let upper = neck + (shoulders - neck) * to_shoulder;
    upper + (flank - upper) * to_flank
}

/// Thickness of the body along the ray, about 1 in the middle, 0 outside.
fn thickness(body: &Anatomy, [x, y]: [f32; 2]) -> f32 {
    let half = outline(body, y);
    let r = x.abs() / half;
    if r >= 1.0 {
        return 0.0;
    }
    let round = (1.0 - r * r * r * r).sqrt() * (1.0 - 0.25 * r * r);
    // The chest is thinner at the top than at the belly.
    let height = 0.86 + 0.16 * smooth((y + 0.9) / 1.6);
    let breast = breast(body, [x, y]);
    (0.90 * body.habitus * height * round) + breast * round
}

/// The shadow of a breast or pectoral muscle: a soft disc that ends below in a curve.
fn breast(body: &Anatomy, [x, y]: [f32; 2]) -> f32 {
    if body.breast == 0.0 {
        return 0.0;
    }
    let dx = (x.abs() - 0.50 * body.cage_half_width / 0.72) / 0.42;
    let dy = (y - 0.22) / 0.36;
    let r2 = dx * dx + dy * dy;
    body.breast * smooth((1.0 - r2) * 1.6)
}

/// What organs add to soft tissue: heart, mediastinum, liver; what the stomach's air takes away.
fn organs(body: &Anatomy, [x, y]: [f32; 2], breath: f32, lung: f32) -> f32 {
    let side = Side::of(x - body.midline);
    let from_midline = (x - body.midline).abs();
    let (hx, hy) = ((x - body.midline - 0.10) / 0.38, (y - 0.32) / 0.34);
    let heart = 0.16 * smooth(1.15 - (hx * hx + hy * hy)) * (1.0 - lung);
    let vessels = 0.10 * smooth((0.16 - from_midline) / 0.10) * smooth((y + 0.6) / 0.3);
    let below = y - body.diaphragm(side, from_midline, breath);
    let belly = 0.20 * smooth(below / 0.05) * smooth((body.cage_half_width + 0.10 - from_midline) / 0.25);
    heart + vessels + belly - stomach(body, x, y, breath)
}

/// The stomach's bubble under the left dome: round above, level below.
fn stomach(body: &Anatomy, x: f32, y: f32, breath: f32) -> f32 {
    if body.stomach == 0.0 || x < 0.0 {
        return 0.0;
    }
    let centre = 0.50 * body.cage_half_width;
    let top = body.diaphragm(Side::Left, centre, breath) + 0.035;
    let (dx, dy) = (
        (x - centre) / body.stomach,
        (y - top - 0.55 * body.stomach) / (0.62 * body.stomach),
    );
    let level = smooth((top + 0.85 * body.stomach - y) / 0.02);
    0.38 * smooth((1.0 - (dx * dx + dy * dy)) * 2.2) * level
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::phantom::canvas::Pose;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn lungs_are_darker_than_the_heart_and_air_is_zero() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let body = Anatomy::draw(&mut rng);
        let clouds = Clouds::new(&mut rng, 2.0);
        let mut film = Film::new(64, Pose::new(64, 0.95, [0.0, 0.0], 0.0));
        let lungs = lungs(&film, &body, 1.0);
        fill(&mut film, &body, 1.0, &clouds, &lungs, &[1.0; 64 * 64]);
        let value = |x: usize, y: usize| film.values[y * 64 + x];
        assert_eq!(value(0, 45), 0.0, "beside the body");
        assert!(value(18, 32) * 2.0 < value(33, 44), "right lung against heart");
        assert!(lungs.iter().all(|air| (0.0..=1.0).contains(air)));
    }
}

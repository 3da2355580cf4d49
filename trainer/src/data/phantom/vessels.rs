//! Pulmonary vessels: trees that leave the hila, branch and taper towards the pleura.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::anatomy::{Anatomy, Side};
use super::canvas::{Film, Nib, Profile};

/// Trunks a lung.
const TRUNKS: usize = 9;

/// Adds the vessels of both lungs; `lungs` weighs each pixel by its air.
pub fn add(film: &mut Film, body: &Anatomy, lungs: &[f32], rng: &mut ChaCha8Rng) {
    for side in Side::BOTH {
        let height = -0.06 + if side == Side::Left { -0.035 } else { 0.0 };
        let hilum = [body.midline + side.sign() * (body.border(side, height) + 0.015), height];
        hilum_shadow(film, hilum, side, lungs);
        for trunk in 0..TRUNKS {
            // From steeply up, over outwards, to steeply down.
            let spread = trunk as f32 / (TRUNKS - 1) as f32;
            let angle = -1.25 + 2.65 * spread + 0.25 * (rng.random::<f32>() - 0.5);
            let start = [hilum[0], hilum[1] + 0.10 * (spread - 0.5)];
            let half_width = 0.0135 + 0.004 * rng.random::<f32>() + 0.003 * spread;
            branch(film, start, angle, side, half_width, 4, lungs, rng);
        }
    }
}

fn hilum_shadow(film: &mut Film, [x, y]: [f32; 2], side: Side, lungs: &[f32]) {
    let s = side.sign();
    let nib = |dx: f32, dy: f32, half_width: f32, strength: f32| Nib {
        at: [x + s * dx, y + dy],
        half_width,
        strength,
    };
    film.stroke(
        &[
            nib(0.01, -0.10, 0.035, 0.05),
            nib(0.025, 0.0, 0.055, 0.13),
            nib(0.04, 0.13, 0.04, 0.10),
            nib(0.05, 0.24, 0.02, 0.03),
        ],
        Profile::Solid,
        Some(lungs),
    );
}

#[allow(clippy::too_many_arguments)] // one recursion with its whole state
fn branch(
    film: &mut Film,
    start: [f32; 2],
    angle: f32,
    side: Side,
    half_width: f32,
    generations: u32,
    lungs: &[f32],
    rng: &mut ChaCha8Rng,
) {
    let length = (0.16 + 0.07 * rng.random::<f32>()) * (0.70 + 0.12 * generations as f32 * 0.5);
    let bend = 0.5 * (rng.random::<f32>() - 0.5);
    let mut at = start;
    let mut nibs = Vec::with_capacity(5);
    for step in 0..=4 {
        let t = step as f32 / 4.0;
        nibs.push(Nib {
            at,
            half_width: half_width * (1.0 - 0.3 * t),
            strength: 7.5 * half_width * (1.0 - 0.25 * t),
        });
        let heading = angle + bend * t;
        at = [
            at[0] + side.sign() * heading.cos() * length / 4.0,
            at[1] + heading.sin() * length / 4.0,
        ];
    }
    film.stroke(&nibs, Profile::Solid, Some(lungs));
    if generations == 0 {
        return;
    }
    let end = nibs[4].at;
    let fork = 0.32 + 0.25 * rng.random::<f32>();
    let share = 0.58 + 0.16 * rng.random::<f32>();
    branch(
        film,
        end,
        angle + bend + fork * (1.0 - share),
        side,
        half_width * 0.74,
        generations - 1,
        lungs,
        rng,
    );
    if generations > 1 || rng.random::<f32>() < 0.6 {
        branch(
            film,
            end,
            angle + bend - fork * share,
            side,
            half_width * 0.62,
            generations - 1,
            lungs,
            rng,
        );
    }
}

//! Bones and airways: ribs, clavicles, shoulder blades, spine, trachea.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::anatomy::{Anatomy, Side};
use super::canvas::{Film, Nib, Profile};

const RIBS: usize = 10;

/// Adds all bones and the air of the trachea. `wobble` varies ribs a little from their rule.
pub fn add(film: &mut Film, body: &Anatomy, breath: f32, wobble: &mut ChaCha8Rng) {
    spine(film, body);
    trachea(film, body);
    for side in Side::BOTH {
        for rib in 0..RIBS {
            posterior_and_anterior(film, body, side, rib, breath, wobble.random::<f32>() - 0.5);
        }
        clavicle(film, body, side, wobble.random::<f32>() - 0.5);
        shoulder_blade(film, body, side);
        arm(film, body, side);
    }
}

/// A rib is a tilted ring: from the spine outwards and down, then forwards, down and inwards,
/// where it ends in cartilage that no X-ray shows.
fn posterior_and_anterior(film: &mut Film, body: &Anatomy, side: Side, rib: usize, breath: f32, wobble: f32) {
    let i = rib as f32;
    let lift = 0.03 * (breath - 1.0) * i;
    let top = body.apex_y + 0.015 + body.rib_pitch * i + lift + 0.008 * wobble;
    let drop = body.rib_slope * (0.20 + 0.022 * i);
    let reach = 1.015 * body.cage((top + 0.5 * drop).max(body.apex_y + 0.07)) + 0.008 * wobble;
    let half = 0.0265 * (0.82 + 0.03 * i.min(6.0));
    let point = |phi: f32| {
        let (sin, cos) = phi.sin_cos();
        let arch = -0.030 * (2.0 * phi).sin().max(0.0);
        let flat = sin.signum() * sin.abs().powf(0.85);
        [
            body.midline + side.sign() * (0.055 + (reach - 0.055) * flat),
            top + drop * 0.5 * (1.0 - cos) + arch,
        ]
    };
    let nib = |phi: f32, half_width: f32, strength: f32| Nib {
        at: point(phi),
        half_width,
        strength,
    };
    let strength = 0.155 * body.bone;
    let steps = 22;
    let turn = 1.62;
    let behind: Vec<Nib> = (0..=steps)
        .map(|s| nib(0.06 + (turn - 0.06) * s as f32 / steps as f32, half, strength))
        .collect();
    film.stroke(&behind, Profile::Bone, None);
    // The lowest ribs do not reach the front of the chest.
    if rib < 8 {
        let end = 2.42 - 0.02 * i;
        let front: Vec<Nib> = (0..=steps)
            .map(|s| {
                let t = s as f32 / steps as f32;
                let fade = 1.0 - ((t - 0.8) / 0.2).max(0.0);
                nib(turn + (end - turn) * t, half * (1.0 + 0.18 * t), 0.62 * strength * fade)
            })
            .collect();
        film.stroke(&front, Profile::Bone, None);
    }
}

fn clavicle(film: &mut Film, body: &Anatomy, side: Side, wobble: f32) {
    let inner = body.apex_y + 0.17;
    let outer = body.apex_y + 0.02 + 0.05 * wobble;
    let nibs: Vec<Nib> = (0..=14)
        .map(|s| {
            let t = s as f32 / 14.0;
            let bend = 0.028 * (t * std::f32::consts::TAU).sin();
            Nib {
                at: [
                    body.midline + side.sign() * (0.075 + 0.70 * t),
                    inner + (outer - inner) * t.powf(0.75) + bend,
                ],
                half_width: 0.036 - 0.010 * (t * std::f32::consts::PI).sin(),
                strength: 0.19 * body.bone,
            }
        })
        .collect();
    film.stroke(&nibs, Profile::Bone, None);
}

fn shoulder_blade(film: &mut Film, body: &Anatomy, side: Side) {
    let x = body.cage_half_width;
    let line = [
        [x - 0.02, -0.58],
        [x - 0.005, -0.40],
        [x + 0.03, -0.20],
        [x + 0.09, -0.02],
        [x + 0.15, -0.10],
        [x + 0.20, -0.36],
    ];
    let nibs = line.map(|[x, y]| Nib {
        at: [side.sign() * x, y],
        half_width: 0.030,
        strength: 0.055 * body.bone,
    });
    film.stroke(&nibs, Profile::Solid, None);
    let blade = [[x + 0.06, -0.52], [x + 0.11, -0.14]];
    let nibs = blade.map(|[x, y]| Nib {
        at: [side.sign() * x, y],
        half_width: 0.12,
        strength: 0.05 * body.bone,
    });
    film.stroke(&nibs, Profile::Solid, None);
}

/// Head of the upper arm, at the edge of the film.
fn arm(film: &mut Film, body: &Anatomy, side: Side) {
    let x = body.cage_half_width + 0.30;
    let line = [
        [x - 0.01, -0.70, 0.095],
        [x + 0.05, -0.60, 0.085],
        [x + 0.12, -0.40, 0.055],
        [x + 0.18, -0.15, 0.05],
    ];
    let nibs = line.map(|[x, y, half_width]| Nib {
        at: [side.sign() * x, y],
        half_width,
        strength: 0.20 * body.bone,
    });
    film.stroke(&nibs, Profile::Bone, None);
}

/// Vertebrae with their discs, and the row of spinous processes.
fn spine(film: &mut Film, body: &Anatomy) {
    let mut y = -1.05;
    let mut level = 0;
    while y < 1.1 {
        let height = 0.098 + 0.0035 * level as f32;
        let half = 0.062 + 0.0014 * level as f32;
        let strength = 0.095 * body.bone;
        let vertebra = [0.06, 0.30, 0.70, 0.94].map(|t| Nib {
            at: [body.midline * 0.6, y + height * t],
            half_width: half * if (0.2..0.8).contains(&t) { 0.95 } else { 1.05 },
            strength,
        });
        film.stroke(&vertebra, Profile::Bone, None);
        let process = [0.55, 0.95].map(|t| Nib {
            at: [body.midline * 0.5, y + height * t],
            half_width: 0.013,
            strength: 0.07 * body.bone,
        });
        film.stroke(&process, Profile::Solid, None);
        y += height * 1.12;
        level += 1;
    }
}

fn trachea(film: &mut Film, body: &Anatomy) {
    let x = body.midline + 0.005;
    let split = body.apex_y + 0.52;
    let nib = |x: f32, y: f32, half_width: f32, strength: f32| Nib {
        at: [x, y],
        half_width,
        strength,
    };
    film.stroke(
        &[
            nib(x - 0.01, -1.1, 0.048, -0.20),
            nib(x, -0.7, 0.046, -0.22),
            nib(x + 0.01, split, 0.043, -0.20),
        ],
        Profile::Solid,
        None,
    );
    for side in Side::BOTH {
        let s = side.sign();
        let branch = [
            nib(x + 0.01 * s, split - 0.01, 0.036, -0.14),
            nib(x + 0.07 * s, split + 0.08, 0.030, -0.12),
            nib(x + 0.15 * s, split + 0.15, 0.022, -0.06),
        ];
        film.stroke(&branch, Profile::Solid, None);
    }
}

//! One patient's chest: the shape of the thorax, lungs, diaphragm, heart and mediastinum.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::canvas::smooth;

/// The patient's right stands at the left of a frontal X-ray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// At negative x.
    Right,
    /// At positive x; the side of the heart.
    Left,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Right, Self::Left];

    /// -1 for the right, 1 for the left.
    #[must_use]
    pub fn sign(self) -> f32 {
        match self {
            Self::Right => -1.0,
            Self::Left => 1.0,
        }
    }

    /// The side of a point.
    #[must_use]
    pub fn of(x: f32) -> Self {
        if x < 0.0 { Self::Right } else { Self::Left }
    }
}

/// Shape parameters of one patient, in the patient's plane (see [`super::canvas::Pose`]).
#[derive(Debug, Clone)]
pub struct Anatomy {
    /// Age in years.
    pub age_years: u32,
    /// Half width of the body below the armpits.
    pub body_half_width: f32,
    /// Thickness of fat and muscle over the chest, about 1.
    pub habitus: f32,
    /// Half width of the rib cage where the lungs are widest.
    pub cage_half_width: f32,
    /// Where the lungs are widest.
    pub cage_y: f32,
    /// Top of the lungs.
    pub apex_y: f32,
    /// Height at which the domes of the diaphragm are attached, right and left, at full breath.
    pub diaphragm_y: [f32; 2],
    /// Height of the domes.
    pub dome: [f32; 2],
    /// Offset of the midline structures.
    pub midline: f32,
    /// Depth of the pectoral or breast shadow; 0 for none.
    pub breast: f32,
    /// Density of the bones, about 1.
    pub bone: f32,
    /// Slope of the ribs, about 1.
    pub rib_slope: f32,
    /// Distance of two ribs.
    pub rib_pitch: f32,
    /// Half width of the stomach's air; 0 for none.
    pub stomach: f32,
    border: [Vec<f32>; 2],
}

/// Heights at which the borders of the mediastinum are given.
const BORDER_TOP: f32 = -1.0;
const BORDER_STEP: f32 = 0.1;
/// Right: great veins, then the right atrium. Left: aortic knob, pulmonary trunk, left ventricle.
const RIGHT_BORDER: [f32; 19] = [
    0.19, 0.17, 0.15, 0.135, 0.13, 0.125, 0.12, 0.12, 0.125, 0.13, 0.14, 0.165, 0.195, 0.21, 0.215, 0.205, 0.19, 0.18,
    0.18,
];
const LEFT_BORDER: [f32; 19] = [
    0.19, 0.17, 0.15, 0.135, 0.13, 0.135, 0.165, 0.185, 0.165, 0.17, 0.205, 0.27, 0.345, 0.41, 0.45, 0.465, 0.45, 0.42,
    0.39,
];

impl Anatomy {
    /// Draws a patient.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let about =
            |rng: &mut ChaCha8Rng, middle: f32, spread: f32| middle + spread * (rng.random::<f32>() * 2.0 - 1.0);
        let heart = about(rng, 1.0, 0.20);
        let knob = about(rng, 1.0, 0.15);
        let vessels = about(rng, 1.0, 0.12);
        let border = |base: &[f32; 19]| {
            let scaled = base.iter().enumerate().map(|(i, half)| {
                let heart_part = smooth((i as f32 - 9.0) / 3.0);
                let knob_part = 1.0 - smooth((i as f32 - 7.0).abs() / 2.0);
                half * (vessels * (1.0 - heart_part) + heart * heart_part) * (1.0 + (knob - 1.0) * knob_part)
            });
            scaled.collect::<Vec<_>>()
        };
        let border = [border(&RIGHT_BORDER), border(&LEFT_BORDER)];
        let cage = about(rng, 0.72, 0.05);
        let breast = if rng.random::<f32>() < 0.45 {
            about(rng, 0.10, 0.05)
        } else {
            0.0
        };
        let base = about(rng, 0.60, 0.07);
        Self {
            age_years: rng.random_range(20..90),
            body_half_width: cage + about(rng, 0.17, 0.06),
            habitus: about(rng, 1.0, 0.16),
            cage_half_width: cage,
            cage_y: about(rng, 0.20, 0.06),
            apex_y: about(rng, -0.76, 0.04),
            diaphragm_y: [base, base + about(rng, 0.045, 0.03)],
            dome: [about(rng, 0.20, 0.04), about(rng, 0.18, 0.04)],
            midline: about(rng, 0.0, 0.025),
            breast,
            bone: about(rng, 1.0, 0.2),
            rib_slope: about(rng, 1.0, 0.25),
            rib_pitch: about(rng, 0.145, 0.015),
            stomach: if rng.random::<f32>() < 0.7 {
                about(rng, 0.13, 0.05)
            } else {
                0.0
            },
            border,
        }
    }

    /// Distance of the mediastinum's border from the midline at height `y`.
    #[must_use]
    pub fn border(&self, side: Side, y: f32) -> f32 {
        let table = &self.border[side as usize];
        let place = ((y - BORDER_TOP) / BORDER_STEP).clamp(0.0, (table.len() - 1) as f32);
        let i = (place as usize).min(table.len() - 2);
        let t = place - i as f32;
        let before = table[i.saturating_sub(1)];
        let after = table[(i + 2).min(table.len() - 1)];
        // Catmull-Rom
        let (p1, p2) = (table[i], table[i + 1]);
        p1 + 0.5
            * t
            * (p2 - before + t * (2.0 * before - 5.0 * p1 + 4.0 * p2 - after + t * (3.0 * (p1 - p2) + after - before)))
    }

    /// Half width of the rib cage at height `y`.
    #[must_use]
    pub fn cage(&self, y: f32) -> f32 {
        if y >= self.cage_y {
            return self.cage_half_width * (1.0 + 0.03 * smooth((y - self.cage_y) / 0.6));
        }
        let t = ((self.cage_y - y) / (self.cage_y - self.apex_y)).min(1.0);
        let (middle, reach) = (self.lung_middle(), self.cage_half_width - self.lung_middle());
        middle + reach * (1.0 - t.powf(2.3)).max(0.0).powf(0.5)
    }

    /// Distance of a lung's apex from the midline.
    #[must_use]
    pub fn lung_middle(&self) -> f32 {
        0.42 * self.cage_half_width
    }

    /// Height of the diaphragm above which there is lung, at distance `x` from the midline.
    /// `breath` is 1 at full inspiration; less lifts the diaphragm.
    #[must_use]
    pub fn diaphragm(&self, side: Side, x: f32, breath: f32) -> f32 {
        let i = side as usize;
        let centre = 0.50 * self.cage_half_width;
        let t = (x - centre) / (self.cage_half_width - centre);
        // Steep towards the costophrenic angle, flat towards the heart.
        let fall = if t > 0.0 { t.powi(3).min(1.6) } else { 0.45 * t * t };
        self.diaphragm_y[i] - self.dome[i] * (1.0 - fall) - 0.28 * (1.0 - breath)
    }

    /// Air at a point: 0 outside the lungs, up to 1 where the lung is deepest.
    #[must_use]
    pub fn lung(&self, [x, y]: [f32; 2], breath: f32) -> f32 {
        if y < self.apex_y - 0.02 || y > 0.95 {
            return 0.0;
        }
        let side = Side::of(x - self.midline);
        let x = (x - self.midline).abs();
        let medial = smooth((x - self.border(side, y)) / 0.05 + 0.25);
        if medial == 0.0 || x >= self.cage_half_width * 1.04 {
            return 0.0;
        }
        let middle = self.lung_middle();
        let up = ((self.cage_y - y) / (self.cage_y - self.apex_y)).max(0.0);
        let outward = x - middle;
        let across = if outward > 0.0 {
            outward / (self.cage(self.cage_y.max(y)) - middle)
        } else {
            outward / (1.5 * middle)
        };
        let inside = 1.0 - across.abs().powf(2.3) - up.powf(2.3);
        if inside <= 0.0 {
            return 0.0;
        }
        let below = self.diaphragm(side, x, breath) - y;
        // The lung reaches down behind the dome, where it is thin.
        let base = smooth(below / 0.018 + 0.5).max(0.16 * smooth(1.0 + below / 0.16));
        // Thin behind the breastbone and towards the edge, steep at the pleura.
        inside.powf(0.42) * medial * base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn lungs_lie_beside_the_heart_above_the_diaphragm() {
        for seed in 0..50 {
            let body = Anatomy::draw(&mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(body.lung([body.midline, 0.2], 1.0), 0.0, "heart, seed {seed}");
            assert!(body.lung([-0.45, 0.0], 1.0) > 0.5, "right lung, seed {seed}");
            assert!(body.lung([0.50, -0.2], 1.0) > 0.5, "left lung, seed {seed}");
            assert!(body.lung([-0.4, 0.9], 1.0) < 0.05, "abdomen, seed {seed}");
            assert_eq!(body.lung([0.0, -0.95], 1.0), 0.0, "neck, seed {seed}");
        }
    }

    #[test]
    fn breathing_out_lifts_the_diaphragm() {
        let body = Anatomy::draw(&mut ChaCha8Rng::seed_from_u64(1));
        let air = |breath: f32| -> f32 {
            (0..400)
                .map(|i| body.lung([(i % 20) as f32 / 10.0 - 1.0, (i / 20) as f32 / 10.0 - 1.0], breath))
                .sum()
        };
        assert!(air(1.0) > air(0.6) * 1.03);
    }
}

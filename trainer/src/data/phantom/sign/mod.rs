//! Phantoms of the nine common imaging signs of lung diseases (CISL): small patches of lung CT that show one sign each,
//! or none.
//!
//! The nine are those of the LISS database (Han et al. 2015, doi 10.1016/j.cmpb.2014.10.002), as He (2019, arXiv
//! 1903.00183) classifies them. A patch is an axial field of [`FIELD_MM`](slice::FIELD_MM) mm: normal lung ([`lung`])
//! in Hounsfield units, the sign ([`nodule`], [`airspace`]), and what a scanner makes of it, in a lung window.
//! [`dataset`] writes whole sets.
//!
//! Everything follows from (seed, patient, image), and what is no part of the sign is drawn alike for every class, but
//! for the chest wall: pleural dragging cannot be without it, the others have it in part.
//!
//! ```
//! use trainer::data::phantom::sign::{Request, Sign, render};
//!
//! let patch = render(&Request { seed: 7, patient: 3, image: 0, size: 64, sign: Some(Sign::Spiculation) });
//! assert_eq!(patch.picture.dim(), (64, 64));
//! assert!(patch.mask.iter().any(|inside| *inside));
//! ```

pub mod airspace;
pub mod dataset;
pub mod lung;
pub mod nodule;
pub mod slice;

use std::f32::consts::TAU;

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::square;
use crate::data::filter::{blur, normal};
use lung::Wall;
use slice::{Point, Slice, direction};

/// The lung window of the pictures: black and white in Hounsfield units. It is wide enough to tell calcium from soft
/// tissue.
pub const WINDOW_HU: [f32; 2] = [-1150.0, 350.0];
/// How often a class that needs no chest wall has one.
const WALL_SHARE: f32 = 0.35;
/// How often a fissure crosses the field.
const FISSURE_SHARE: f32 = 0.25;

/// The nine signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Hazy density through which vessels stay visible.
    GroundGlassOpacity,
    /// A mass whose outline is made of several round lobes.
    Lobulation,
    /// A nodule with calcium.
    Calcification,
    /// A mass with a cavity, or a nodule with small bubbles.
    CavityVacuoles,
    /// A nodule with strands that radiate from it.
    Spiculation,
    /// A nodule with bands to the pleura, which is drawn inwards.
    PleuralDragging,
    /// Consolidation with black, branching bronchi.
    AirBronchogram,
    /// Widened bronchi full of mucus.
    BronchialMucusPlugs,
    /// Lung without air behind a bronchus that a mass closes.
    ObstructivePneumonia,
}

impl Sign {
    /// All nine, in the order of the paper.
    pub const ALL: [Self; 9] = [
        Self::GroundGlassOpacity,
        Self::Lobulation,
        Self::Calcification,
        Self::CavityVacuoles,
        Self::Spiculation,
        Self::PleuralDragging,
        Self::AirBronchogram,
        Self::BronchialMucusPlugs,
        Self::ObstructivePneumonia,
    ];

    /// The label in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GroundGlassOpacity => "ground_glass_opacity",
            Self::Lobulation => "lobulation",
            Self::Calcification => "calcification",
            Self::CavityVacuoles => "cavity_vacuoles",
            Self::Spiculation => "spiculation",
            Self::PleuralDragging => "pleural_dragging",
            Self::AirBronchogram => "air_bronchogram",
            Self::BronchialMucusPlugs => "bronchial_mucus_plugs",
            Self::ObstructivePneumonia => "obstructive_pneumonia",
        }
    }
}

/// Which patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Seed of the set.
    pub seed: u64,
    /// Number of the patient in the set; sets the scanner.
    pub patient: u64,
    /// Number of the patch of that patient.
    pub image: u64,
    /// Side of the picture in pixels.
    pub size: usize,
    /// The sign, if any.
    pub sign: Option<Sign>,
}

/// A patch.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Grey values from 0 (black, -1150 HU) to 1 (white, 350 HU), `[H, W]`.
    pub picture: Array2<f32>,
    /// The sign's pixels, `[H, W]`; none without a sign.
    pub mask: Array2<bool>,
    /// Which of the two simulated scanners.
    pub scanner: &'static str,
}

/// One independent stream of random numbers per purpose, so that a sign never shifts another's numbers.
fn stream(request: &Request, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
    rng.set_stream((request.patient << 16) | (request.image << 8) | purpose);
    rng
}

/// Makes a patch.
#[must_use]
pub fn render(request: &Request) -> Patch {
    let size = request.size.max(8);
    let sharp = stream(&Request { image: 0, ..*request }, 1).random::<bool>();
    let mut slice = lung::parenchyma(size, &mut stream(request, 2));
    let mut wall = wall(request.sign, &mut stream(request, 3));
    let mut drawing = stream(request, 4);
    let centre = [(); 2].map(|()| drawing.random_range(-3.0..3.0));
    if request.sign == Some(Sign::GroundGlassOpacity) {
        airspace::ground_glass(&mut slice, &mut drawing, centre);
    }
    lung::vessels(&mut slice, &mut stream(request, 5));
    let mut crossing = stream(request, 6);
    if crossing.random::<f32>() < FISSURE_SHARE {
        lung::fissure(&mut slice, &mut crossing);
    }
    if let Some(sign) = request.sign {
        plant(sign, &mut slice, &mut drawing, centre, wall.as_mut());
    }
    if let Some(wall) = wall {
        wall.paint(&mut slice, &mut stream(request, 7));
    }
    let (picture, mask) = scan(slice, size, sharp, &mut stream(request, 8));
    Patch {
        picture: square(size, picture),
        mask: square(size, mask),
        scanner: if sharp { "phantom-ct-b" } else { "phantom-ct-a" },
    }
}

/// The chest wall of a patch, if the field reaches it.
fn wall(sign: Option<Sign>, rng: &mut ChaCha8Rng) -> Option<Wall> {
    let outwards = direction(rng.random_range(0.0..TAU));
    let reached = rng.random::<f32>() < WALL_SHARE;
    match sign {
        Some(Sign::PleuralDragging) => {
            let at_mm = rng.random_range(13.0..17.0);
            Some(Wall::draw(rng, outwards, at_mm))
        }
        _ => {
            let at_mm = rng.random_range(17.0..23.0);
            reached.then(|| Wall::draw(rng, outwards, at_mm))
        }
    }
}

fn plant(sign: Sign, slice: &mut Slice, rng: &mut ChaCha8Rng, centre: Point, wall: Option<&mut Wall>) {
    match sign {
        // Lies under the vessels and is there already.
        Sign::GroundGlassOpacity => {}
        Sign::Lobulation => nodule::lobulation(slice, rng, centre),
        Sign::Calcification => nodule::calcification(slice, rng, centre),
        Sign::CavityVacuoles => nodule::cavity_vacuoles(slice, rng, centre),
        Sign::Spiculation => nodule::spiculation(slice, rng, centre),
        Sign::PleuralDragging => {
            if let Some(wall) = wall {
                nodule::pleural_dragging(slice, rng, wall);
            }
        }
        Sign::AirBronchogram => airspace::air_bronchogram(slice, rng, centre),
        Sign::BronchialMucusPlugs => airspace::bronchial_mucus_plugs(slice, rng, centre),
        Sign::ObstructivePneumonia => airspace::obstructive_pneumonia(slice, rng, centre),
    }
}

/// A soft kernel with little noise, or a sharp one with more; then the window.
fn scan(slice: Slice, size: usize, sharp: bool, rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<bool>) {
    let (spread_mm, noise_hu, grain_px) = if sharp { (0.35, 42.0, 0.45) } else { (0.55, 24.0, 0.7) };
    let (mut hu, mask) = slice.scanned(spread_mm);
    let mut noise: Vec<f32> = (0..size * size).map(|_| normal(rng)).collect();
    blur(&mut noise, size, size, grain_px);
    let deviation = (noise.iter().map(|v| v * v).sum::<f32>() / noise.len() as f32).sqrt();
    let [black, white] = WINDOW_HU;
    for (hu, noise) in hu.iter_mut().zip(noise) {
        let measured = *hu + noise * noise_hu / deviation.max(1e-6);
        *hu = ((measured - black) / (white - black)).clamp(0.0, 1.0);
    }
    (hu, mask)
}

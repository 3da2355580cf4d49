//! Chest phantoms: seeded, plausible frontal chest X-rays with opacities of known kind, place and strength.
//!
//! They carry the demonstration and the tests where no patient's image may go, and they are the only data whose
//! lesions are known to the pixel. Anatomy ([`anatomy`]) becomes attenuation on a film ([`canvas`], [`tissue`],
//! [`skeleton`], [`vessels`], [`lesion`]), and a film becomes a picture ([`exposure`]); [`dataset`] writes whole sets
//! ([`set`], [`files`]), [`dicom`] single DX files. [`sign`] makes patches of lung CT instead.
//!
//! Everything follows from (seed, patient, image): the same numbers give the same picture, and nothing but the lesion
//! differs between the classes.
//!
//! ```
//! use trainer::data::phantom::{Request, render};
//!
//! let phantom = render(&Request { seed: 7, patient: 3, image: 0, size: 128, lesion: None });
//! assert_eq!(phantom.picture.dim(), (128, 128));
//! assert!(phantom.lesion.is_none());
//! ```

pub mod anatomy;
pub mod canvas;
pub mod dataset;
pub mod dicom;
pub mod exposure;
pub mod files;
pub mod lesion;
pub mod set;
pub mod sign;
pub mod skeleton;
pub mod tissue;
pub mod vessels;

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use anatomy::Anatomy;
use canvas::{Clouds, Film, Pose};
use exposure::Exposure;
use lesion::{Lesion, LesionRecord, LesionSpec};

/// Which phantom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Seed of the set.
    pub seed: u64,
    /// Number of the patient in the set; sets the anatomy.
    pub patient: u64,
    /// Number of the image of that patient; sets pose, breath, exposure, noise and the lesion.
    pub image: u64,
    /// Side of the picture in pixels.
    pub size: usize,
    /// The opacity, if any.
    pub lesion: Option<LesionSpec>,
}

/// A phantom.
#[derive(Debug, Clone)]
pub struct Phantom {
    /// Grey values from 0 (black, air) to 1 (white, bone), `[H, W]`.
    pub picture: Array2<f32>,
    /// The lesion's pixels, `[H, W]`, and what it is.
    pub lesion: Option<(Array2<bool>, LesionRecord)>,
    /// Age of the patient in years.
    pub age_years: u32,
    /// View position: `PA`, or `AP` (nearer, larger heart, less breath).
    pub view: &'static str,
    /// Which of the two simulated machines.
    pub machine: &'static str,
}

/// One independent stream of random numbers per purpose, so that a class never shifts another's numbers.
fn stream(request: &Request, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
    rng.set_stream((request.patient << 16) | (request.image << 8) | purpose);
    rng
}

/// Makes a phantom.
#[must_use]
pub fn render(request: &Request) -> Phantom {
    let size = request.size.max(8);
    let of_patient = Request { image: 0, ..*request };
    let body = Anatomy::draw(&mut stream(&of_patient, 1));
    let mut taking = stream(request, 2);
    let hard = stream(&of_patient, 3).random::<bool>();
    let view = if taking.random::<f32>() < 0.7 { "PA" } else { "AP" };
    let breath = if view == "PA" {
        taking.random_range(0.75..1.05)
    } else {
        taking.random_range(0.55..0.95)
    };
    let pose = draw_pose(&mut taking, size);
    let mut film = Film::new(size, pose);

    let lungs = tissue::lungs(&film, &body, breath);
    let lesion = request
        .lesion
        .map(|spec| Lesion::draw(&spec, &film, &lungs, &mut stream(request, 4)));
    let kept = lesion.as_ref().map_or_else(|| vec![1.0; lungs.len()], Lesion::air_kept);
    let clouds = Clouds::new(&mut stream(request, 5), 2.5);
    tissue::fill(&mut film, &body, breath, &clouds, &lungs, &kept);
    let aerated: Vec<f32> = lungs.iter().zip(&kept).map(|(air, kept)| air * kept).collect();
    vessels::add(&mut film, &body, &aerated, &mut stream(&of_patient, 6));
    skeleton::add(&mut film, &body, breath, &mut stream(&of_patient, 7));
    if let Some(lesion) = &lesion {
        lesion.add_airways(&mut film);
    }
    let mut exposing = stream(request, 8);
    let picture = Exposure::draw(&mut exposing, hard).expose(&film, &mut exposing);
    Phantom {
        picture: square(size, picture),
        lesion: lesion.map(|lesion| (square(size, lesion.mask), lesion.record)),
        age_years: body.age_years,
        view,
        machine: if hard { "phantom-b" } else { "phantom-a" },
    }
}

fn draw_pose(rng: &mut ChaCha8Rng, size: usize) -> Pose {
    let scale = rng.random_range(0.92..1.06);
    let shift = [rng.random_range(-0.05..0.05), rng.random_range(-0.05..0.06)];
    // Most stand straight; the rest lean a little.
    let lean: f32 = rng.random_range(-1.0..1.0);
    Pose::new(size, scale, shift, 5.0 * lean * lean.abs())
}

fn square<T: Default + Clone>(size: usize, values: Vec<T>) -> Array2<T> {
    Array2::from_shape_vec((size, size), values).unwrap_or_else(|_| Array2::default((size, size)))
}

#[cfg(test)]
mod tests {
    use super::lesion::LesionKind;
    use super::*;

    fn request(kind: Option<LesionKind>) -> Request {
        let lesion = kind.map(|kind| LesionSpec {
            kind,
            place: None,
            strength: 1.0,
            max_area: Some(0.06),
        });
        Request {
            seed: 11,
            patient: 5,
            image: 1,
            size: 96,
            lesion,
        }
    }

    #[test]
    fn the_same_request_gives_the_same_picture() {
        let request = request(Some(LesionKind::GroundGlass));
        assert_eq!(render(&request).picture, render(&request).picture);
        let other = Request { seed: 12, ..request };
        assert_ne!(render(&request).picture, render(&other).picture);
    }

    #[test]
    fn classes_differ_only_where_the_lesion_is() {
        let healthy = render(&request(None)).picture;
        for kind in LesionKind::ALL {
            let ill = render(&request(Some(kind)));
            let (mask, record) = ill.lesion.unwrap();
            assert!(record.area_fraction <= 0.06);
            let change = |inside: bool| {
                let changes = healthy
                    .iter()
                    .zip(&ill.picture)
                    .zip(&mask)
                    .filter(|(_, m)| **m == inside);
                let (sum, n) = changes.fold((0.0, 0.0), |(s, n), ((a, b), _)| (s + (b - a), n + 1.0));
                sum / f32::max(n, 1.0)
            };
            assert!(change(true) > 0.05, "{kind:?}: opacity of only {}", change(true));
            assert!(change(false).abs() < 0.02, "{kind:?}: {} outside", change(false));
            let far = healthy.iter().zip(&ill.picture).filter(|(a, b)| a == b).count();
            assert!(far > 96 * 96 / 2, "{kind:?}: only {far} pixels are untouched");
        }
    }

    #[test]
    fn pictures_use_the_grey_range() {
        for patient in 0..8 {
            let picture = render(&Request {
                patient,
                ..request(None)
            })
            .picture;
            let bright = picture.iter().filter(|v| **v > 0.7).count() as f32 / picture.len() as f32;
            let dark = picture.iter().filter(|v| **v < 0.35).count() as f32 / picture.len() as f32;
            assert!(
                bright > 0.1 && dark > 0.1,
                "patient {patient}: bright {bright}, dark {dark}"
            );
        }
    }
}

//! Golden cases: inputs with the outputs that every appliance must reproduce.
//!
//! A bundle holds no patient's image, so the inputs are chest phantoms, drawn from a fixed seed and prepared as any
//! image is. Whether the model was made for such images does not matter: what is compared is arithmetic.

use bundle::container::PayloadFile;
use bundle::manifest::{FileKind, GoldenCase, GoldenOutputs, GoldenTolerance, Outputs};
use imaging::grey::GreyImage;
use imaging::preprocess::PreprocessSpec;
use ndarray::{Array2, Array3, Axis};
use onnx::runtime::Runtime;

use super::error::ExportError;
use super::images::Prepared;
use super::observe::{Keep, Observed, Observer};
use crate::data::phantom::lesion::{LesionKind, LesionSpec};
use crate::data::phantom::{Request, render};

/// Seed of the phantoms; the same in all bundles, so that two versions of a model can be compared on them.
const SEED: u64 = 0x601d;
/// Phantoms are drawn at the network's larger side, within these.
const SIDE_RANGE: [u32; 2] = [128, 512];

/// A phantom as picture and tensor.
#[derive(Clone, Debug)]
pub struct Phantom {
    /// What it shows.
    pub name: String,
    /// Grey values 0 to 1, `[H,W]`.
    pub picture: Array2<f32>,
    /// As the network sees it, `[C,H,W]`.
    pub tensor: Array3<f32>,
}

/// The first `count` phantoms: one without a lesion, then one of each kind, and so on.
///
/// # Errors
/// The specification does not take a phantom's size.
pub fn phantoms(spec: &PreprocessSpec, count: usize) -> Result<Vec<Phantom>, ExportError> {
    let side = spec
        .size
        .into_iter()
        .max()
        .unwrap_or(0)
        .clamp(SIDE_RANGE[0], SIDE_RANGE[1]);
    (0..count)
        .map(|at| {
            let turn = at % (LesionKind::ALL.len() + 1);
            let kind = turn.checked_sub(1).map(|kind| LesionKind::ALL[kind]);
            let lesion = kind.map(|kind| LesionSpec {
                kind,
                place: None,
                strength: 1.0,
                max_area: None,
            });
            let request = Request {
                seed: SEED,
                patient: at as u64,
                image: 0,
                size: side as usize,
                lesion,
            };
            let picture = render(&request).picture;
            let tensor = spec.apply(&GreyImage::from_unit(picture.view()))?;
            let shows = kind.map_or("no lesion", LesionKind::name);
            Ok(Phantom {
                name: format!("phantom {at}, {shows}"),
                picture,
                tensor,
            })
        })
        .collect()
}

/// What the network says of the phantoms.
///
/// # Errors
/// ONNX Runtime refuses model or input.
pub fn observe(
    runtime: &Runtime,
    model: &[u8],
    outputs: &Outputs,
    phantoms: &[Phantom],
) -> Result<Observed, ExportError> {
    let keep = Keep {
        maps: phantoms.len(),
        features: None,
    };
    let mut observer = Observer::new(runtime, model, outputs, keep)?;
    for (row, phantom) in phantoms.iter().enumerate() {
        // One at a time, as the appliance runs them.
        let images = phantom.tensor.clone().insert_axis(Axis(0));
        observer.run(&Prepared {
            rows: vec![row],
            images,
        })?;
    }
    Ok(observer.finish())
}

/// The cases and their payload files.
///
/// # Errors
/// A value is not finite, so that JSON cannot hold it.
pub fn cases(phantoms: &[Phantom], observed: &Observed) -> Result<(Vec<GoldenCase>, Vec<PayloadFile>), ExportError> {
    let (mut cases, mut files) = (Vec::new(), Vec::new());
    for (row, phantom) in phantoms.iter().enumerate() {
        let (input, expected) = (format!("golden/{row}.f32"), format!("golden/{row}.json"));
        let cam = observed.cam.index_axis(Axis(0), row);
        let outputs = GoldenOutputs {
            probabilities: observed.probabilities.row(row).to_vec(),
            cam_class: observed.cam_class.row(row).to_vec(),
            cam_shape: [cam.dim().0, cam.dim().1, cam.dim().2],
            cam: cam.iter().copied().collect(),
            novelty: observed.novelty.get(row).copied(),
        };
        let json = serde_json::to_vec(&outputs).map_err(|error| ExportError::Malformed {
            path: expected.clone().into(),
            reason: error.to_string(),
        })?;
        let bytes = phantom.tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
        files.push(PayloadFile::new(&input, FileKind::GoldenInput, bytes));
        files.push(PayloadFile::new(&expected, FileKind::GoldenOutput, json));
        cases.push(GoldenCase {
            name: phantom.name.clone(),
            input,
            expected,
            tolerance: GoldenTolerance::default(),
        });
    }
    Ok((cases, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phantoms_are_the_same_every_time_and_turn_through_the_lesions() {
        let spec = PreprocessSpec::imagenet(64);
        let (first, second) = (phantoms(&spec, 5).unwrap(), phantoms(&spec, 5).unwrap());
        assert_eq!(first[3].tensor, second[3].tensor);
        assert_eq!(first[0].tensor.dim(), (3, 64, 64));
        assert_ne!(first[0].tensor, first[4].tensor);
        assert!(first[0].name.ends_with("no lesion") && first[1].name.ends_with("consolidation"));
        assert!(first[4].name.ends_with("no lesion"));
    }
}

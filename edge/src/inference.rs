//! A verified bundle as a model that is ready to run.

use std::collections::BTreeMap;
use std::io::Read;

use bundle::container::{Bundle, hexadecimal};
use bundle::manifest::{FileEntry, FileKind, OperatingPoint};
use bundle::{BundleError, Manifest, Policy, TrustedKeys};
use imaging::GreyImage;
use imaging::preprocess::{PreprocessError, PreprocessSpec};
use ndarray::{Array2, Array4, ArrayView4, Axis, Ix2, Ix4};
use onnx::runtime::{Outputs, ProviderUse, Runtime, Session, SessionError, SessionOptions};
use serde::{Deserialize, Serialize};

use crate::appliance::{Appliance, HardwareError};
use crate::calibration::SiteCalibration;
use crate::finding::SiteThresholds;
use crate::memory;

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bundle was refused or cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime does not load or run the network.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The image cannot become a tensor.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The network does not give what the manifest says.
    #[error("the network and the manifest contradict each other: {what}; the bundle is faulty, ask whoever made it")]
    Contradiction {
        /// What does not fit.
        what: String,
    },
    /// The bundle is made for other hardware.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    /// The network gave infinite numbers or none.
    #[error("the network's output `{output}` holds numbers that are not finite; run scanside-edge doctor")]
    NotFinite {
        /// Name of the output.
        output: String,
    },
    /// A golden case's file is malformed.
    #[error("golden case '{name}': {reason}")]
    Golden {
        /// Name of the case.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Which model it is, for every result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Name in the manifest.
    pub name: String,
    /// Version in the manifest.
    pub version: String,
    /// Role in the manifest.
    pub role: String,
    /// Digest of the bundle, hexadecimal.
    pub digest: String,
    /// Id of the key that signed it.
    pub key_id: String,
}

/// What the network makes of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// `[K]`, calibrated.
    pub probabilities: Vec<f32>,
    /// Grad-CAM of the most probable labels, the most probable first.
    pub maps: Vec<ClassMap>,
    /// Distance to the training features, if the network gives it.
    pub novelty: Option<f32>,
}

/// Where the network looked for one label.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassMap {
    /// Index of the label.
    pub label: usize,
    /// `[h,w]`, zero and above, any scale.
    pub map: Array2<f32>,
}

/// An image's tensor, made before its model's turn.
#[derive(Debug)]
pub struct Prepared {
    preprocess: PreprocessSpec,
    /// `[1,C,H,W]`.
    tensor: Array4<f32>,
    /// The picture that stands in for a large image, made in the same pass.
    pub small: Option<GreyImage>,
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    /// The bundle's own, while the site's stand in the manifest.
    bundle_points: Vec<OperatingPoint>,
    site: Option<SiteThresholds>,
    identity: ModelIdentity,
    session: Session,
    /// [1,C,H,W]; used again for every image.
    tensor: Array4<f32>,
}

/// A bundle in memory whose network was not loaded yet: reading it needs no ONNX Runtime.
#[derive(Debug)]
pub struct ReadBundle {
    manifest: Manifest,
    identity: ModelIdentity,
    network: Vec<u8>,
    golden: BTreeMap<String, Vec<u8>>,
}

impl ReadBundle {
    /// Reads and verifies a whole bundle that can run on this appliance, and keeps its network and, if asked, its golden cases.
    ///
    /// # Errors
    /// [`ModelError::Bundle`], [`ModelError::Hardware`].
    pub fn read<R: Read>(
        reader: R,
        keys: &TrustedKeys,
        policy: &Policy,
        appliance: &Appliance,
        golden: bool,
    ) -> Result<Self, ModelError> {
        let wanted = |entry: &FileEntry| match entry.kind {
            FileKind::Model => true,
            FileKind::GoldenInput | FileKind::GoldenOutput => golden,
            _ => false,
        };
        let bundle = bundle::container::open(reader, keys, policy, wanted)?;
        appliance.check(&bundle.manifest.hardware)?;
        Self::from_bundle(bundle)
    }

    fn from_bundle(bundle: Bundle) -> Result<Self, ModelError> {
        let Bundle {
            manifest,
            signed_by,
            image_digest,
            mut files,
        } = bundle;
        let network = files
            .remove(&manifest.model.file)
            .ok_or_else(|| ModelError::Contradiction {
                what: format!("the payload has no {}", manifest.model.file),
            })?;
        let identity = ModelIdentity {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            role: manifest.role.clone(),
            digest: hexadecimal(&image_digest),
            key_id: signed_by.key_id,
        };
        Ok(Self {
            manifest,
            identity,
            network,
            golden: files,
        })
    }

    /// Loads the network into ONNX Runtime; gives the files of the golden cases beside it.
    ///
    /// # Errors
    /// [`ModelError::Session`], [`ModelError::Contradiction`].
    pub fn load(
        self,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<(Model, BTreeMap<String, Vec<u8>>), ModelError> {
        let session = Session::from_bytes(runtime, &self.network, options)?;
        // ONNX Runtime has its own copy by now.
        drop(self.network);
        memory::return_freed();
        check_outputs(&self.manifest, &session)?;
        let [height, width] = self.manifest.preprocess.size.map(|side| side as usize);
        let channels = usize::from(self.manifest.preprocess.channels);
        let model = Model {
            tensor: Array4::zeros((1, channels, height, width)),
            bundle_points: self.manifest.operating_points.clone(),
            site: None,
            manifest: self.manifest,
            identity: self.identity,
            session,
        };
        Ok((model, self.golden))
    }

    /// What the bundle says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

impl Model {
    /// What the bundle says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Takes the operating points of this site, or the bundle's own again. A calibration that was made for another
    /// bundle is not taken: its thresholds mean nothing here.
    pub fn calibrate(&mut self, calibration: Option<&SiteCalibration>) {
        self.manifest.operating_points.clone_from(&self.bundle_points);
        let fitting = calibration.filter(|calibration| calibration.digest == self.identity.digest);
        if let Some(calibration) = fitting {
            calibration.apply(&mut self.manifest);
        }
        self.site = fitting.map(|calibration| SiteThresholds {
            made: calibration.made.clone(),
            n: calibration.n,
        });
    }

    /// The site's operating points, if they are in use.
    #[must_use]
    pub fn site_thresholds(&self) -> Option<&SiteThresholds> {
        self.site.as_ref()
    }

    /// Which model it is.
    #[must_use]
    pub fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// Which providers the first inference used, where that was recorded.
    #[must_use]
    pub fn provider_use(&self) -> Option<&ProviderUse> {
        self.session.provider_use()
    }

    /// Prepares the tensor of an image for [`Model::run`]; gives its small picture of at most `side` pixels a side, if it is
    /// larger.
    ///
    /// # Errors
    /// [`ModelError::Preprocess`].
    pub fn prepare(&mut self, image: &GreyImage, side: usize) -> Result<Option<GreyImage>, ModelError> {
        let tensor = self
            .tensor
            .as_slice_mut()
            .ok_or_else(|| contradiction("the tensor is not contiguous"))?;
        Ok(self.manifest.preprocess.apply_with_small(image, tensor, side)?)
    }

    /// Whether a tensor is as this model's [`Model::prepare`] would make it.
    #[must_use]
    pub fn takes(&self, prepared: &Prepared) -> bool {
        prepared.preprocess == self.manifest.preprocess
    }

    /// Takes a tensor that it [`takes`](Model::takes), in place of preparing one.
    pub fn take(&mut self, prepared: Prepared) {
        self.tensor = prepared.tensor;
    }

    /// Runs the network on the tensor that [`Model::prepare`] or [`Model::take`] left.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn run(&mut self) -> Result<Prediction, ModelError> {
        predict(&mut self.session, &self.manifest, self.tensor.view())
    }

    /// Runs the network on a prepared tensor `[1,C,H,W]`.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn run_tensor(&mut self, tensor: ArrayView4<'_, f32>) -> Result<Prediction, ModelError> {
        predict(&mut self.session, &self.manifest, tensor)
    }
}

impl Prepared {
    /// The tensor of an image, and its small picture of at most `side` pixels a side, if it is larger.
    ///
    /// # Errors
    /// As [`PreprocessSpec::apply`].
    pub fn new(image: &GreyImage, preprocess: &PreprocessSpec, side: usize) -> Result<Self, PreprocessError> {
        let (tensor, small) = preprocess.tensor_with_small(image, side)?;
        Ok(Self {
            tensor: tensor.insert_axis(Axis(0)),
            preprocess: preprocess.clone(),
            small,
        })
    }
}

fn predict(session: &mut Session, manifest: &Manifest, tensor: ArrayView4<'_, f32>) -> Result<Prediction, ModelError> {
    let names = &manifest.model.outputs;
    let outputs = session.run(&[(manifest.model.input.as_str(), tensor.into_dyn())])?;
    let probabilities = row(&outputs, &names.probabilities)?;
    if probabilities.len() != manifest.labels.len() {
        let what = format!(
            "{} probabilities for {} labels",
            probabilities.len(),
            manifest.labels.len()
        );
        return Err(contradiction(&what));
    }
    let novelty = match &names.novelty {
        Some(name) => Some(single(&outputs, name)?),
        None => None,
    };
    Ok(Prediction {
        maps: maps(&outputs, manifest)?,
        probabilities,
        novelty,
    })
}

/// The numbers of the first image of an output `[N,K]`.
fn row(outputs: &Outputs<'_>, name: &str) -> Result<Vec<f32>, ModelError> {
    let array = outputs.array::<f32>(name)?;
    let array = array.into_dimensionality::<Ix2>().map_err(|_| wrong_shape(name))?;
    let first = array.rows().into_iter().next().ok_or_else(|| wrong_shape(name))?;
    finite(first.to_vec(), name)
}

/// The number of the first image of an output `[N]`.
fn single(outputs: &Outputs<'_>, name: &str) -> Result<f32, ModelError> {
    let array = outputs.array::<f32>(name)?;
    let value = array.iter().next().copied().ok_or_else(|| wrong_shape(name))?;
    finite(vec![value], name).map(|_| value)
}

fn maps(outputs: &Outputs<'_>, manifest: &Manifest) -> Result<Vec<ClassMap>, ModelError> {
    let names = &manifest.model.outputs;
    let cams = outputs.array::<f32>(&names.cam)?;
    let cams = cams.into_dimensionality::<Ix4>().map_err(|_| wrong_shape(&names.cam))?;
    let classes = outputs.array::<i64>(&names.cam_class)?;
    let classes = classes
        .into_dimensionality::<Ix2>()
        .map_err(|_| wrong_shape(&names.cam_class))?;
    if classes.dim() != (1, cams.dim().1) || cams.dim().0 != 1 {
        return Err(wrong_shape(&names.cam_class));
    }
    let mut maps = Vec::with_capacity(classes.dim().1);
    for (k, class) in classes.row(0).iter().enumerate() {
        let label = usize::try_from(*class)
            .ok()
            .filter(|label| *label < manifest.labels.len());
        let label = label.ok_or_else(|| contradiction(&format!("a heatmap for label {class}")))?;
        let map = cams.slice(ndarray::s![0, k, .., ..]).to_owned();
        if map.iter().any(|v| !v.is_finite()) {
            return Err(not_finite(&names.cam));
        }
        maps.push(ClassMap { label, map });
    }
    Ok(maps)
}

fn finite(values: Vec<f32>, name: &str) -> Result<Vec<f32>, ModelError> {
    if values.iter().all(|v| v.is_finite()) {
        Ok(values)
    } else {
        Err(not_finite(name))
    }
}

fn check_outputs(manifest: &Manifest, session: &Session) -> Result<(), ModelError> {
    let names = &manifest.model.outputs;
    let mut wanted = vec![&names.probabilities, &names.cam, &names.cam_class];
    wanted.extend(&names.novelty);
    for name in wanted {
        if !session.outputs().iter().any(|port| &port.name == name) {
            return Err(contradiction(&format!("the network has no output `{name}`")));
        }
    }
    if !session.inputs().iter().any(|port| port.name == manifest.model.input) {
        return Err(contradiction(&format!(
            "the network has no input `{}`",
            manifest.model.input
        )));
    }
    Ok(())
}

fn contradiction(what: &str) -> ModelError {
    ModelError::Contradiction { what: what.to_owned() }
}

fn wrong_shape(name: &str) -> ModelError {
    contradiction(&format!("the output `{name}` has another shape"))
}

fn not_finite(name: &str) -> ModelError {
    ModelError::NotFinite {
        output: name.to_owned(),
    }
}

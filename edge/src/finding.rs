//! What the appliance found in one image, as it is stored, sent and printed: `docs/finding.schema.json`.

use bundle::Manifest;
use imaging::ImageMeta;
use imaging::quality::Quality;
use ndarray::Array2;
use onnx::runtime::{Provider, Runtime, SessionOptions};
use serde::{Deserialize, Serialize};

use crate::decision::{self, Decision};
use crate::inference::{ClassMap, ModelIdentity, Prediction};

/// Name and version of the JSON document; the number rises when a field changes its meaning or goes away.
pub const SCHEMA: &str = "scanside-finding/1";
/// Stands in every document.
pub const NOTICE: &str = "Triage aid - not a diagnosis";

/// Everything about one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// [`SCHEMA`].
    pub schema: String,
    /// Number of the case.
    pub case_id: String,
    /// When it was found, RFC 3339 in UTC.
    pub time: String,
    /// Where the image came from and what it says about itself.
    pub source: ImageSource,
    /// What the appliance says.
    pub decision: Decision,
    /// Of the slice that stands for a series, what [`decision`](Self::decision) is about; absent if that is this image.
    #[serde(default)]
    pub series: Option<OfSeries>,
    /// One entry for each label, in the model's order; empty if the network did not run.
    pub probabilities: Vec<LabelProbability>,
    /// The prediction set; absent if the bundle has no quantiles or the network did not run.
    pub conformal: Option<PredictionSet>,
    /// The distance to the training images; absent if the model does not give it.
    pub novelty: Option<NoveltyValue>,
    /// Where the model looked, the most probable label first.
    pub heatmaps: Vec<Heatmap>,
    /// What was measured of the image; absent if it could not be decoded.
    pub quality: Option<Quality>,
    /// What the image does not say, so that the intended use could not be checked: `modality`, `age` ...
    pub unchecked_use: Vec<String>,
    /// Whether the operating points are this site's; absent if they are the bundle's own.
    #[serde(default)]
    pub site_thresholds: Option<SiteThresholds>,
    /// Which model.
    pub model: ModelIdentity,
    /// What it ran on.
    pub engine: Engine,
    /// Milliseconds of each step.
    pub timings_ms: Timings,
    /// What was odd about the file and how it was read nevertheless.
    pub warnings: Vec<String>,
    /// [`NOTICE`].
    pub notice: String,
}

/// A series as the decision of its finding takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfSeries {
    /// Slices that have their results.
    pub slices: usize,
    /// What the slice that stands for the series would come to alone.
    pub slice_alone: Decision,
}

/// Where an image came from; no name and no identifier of the patient.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageSource {
    /// The file.
    pub file: String,
    /// The frame that was assessed, from 0.
    pub frame: usize,
    /// Number of frames in the file; 0 if it could not be decoded.
    pub frames: usize,
    /// [height, width] in pixels; absent if it could not be decoded.
    pub size: Option<[usize; 2]>,
    /// DICOM Modality.
    pub modality: Option<String>,
    /// DICOM Body Part Examined.
    pub body_part: Option<String>,
    /// DICOM View Position.
    pub view: Option<String>,
    /// The patient's age in years.
    pub age_years: Option<f32>,
    /// DICOM SOP Instance UID.
    pub sop_instance_uid: Option<String>,
    /// DICOM Study Instance UID.
    pub study_uid: Option<String>,
}

impl ImageSource {
    /// The source of a file that could not be decoded.
    #[must_use]
    pub fn undecoded(file: String, frame: usize) -> Self {
        Self {
            file,
            frame,
            ..Self::default()
        }
    }

    /// The source of a decoded frame.
    #[must_use]
    pub fn decoded(file: String, frame: usize, frames: usize, size: [usize; 2], meta: &ImageMeta) -> Self {
        Self {
            file,
            frame,
            frames,
            size: Some(size),
            modality: meta.modality.clone(),
            body_part: meta.body_part.clone(),
            view: meta.view.clone(),
            age_years: meta.age_years,
            sop_instance_uid: meta.sop_instance_uid.clone(),
            study_uid: meta.study_uid.clone(),
        }
    }
}

/// The probability of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelProbability {
    /// Id of the label.
    pub label: String,
    /// What a screen says.
    pub name: String,
    /// 0..1, temperature-scaled.
    pub probability: f32,
    /// Flagged from here; absent for the label without a finding.
    pub operating_point: Option<f32>,
}

/// The labels that cannot be ruled out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionSet {
    /// In how many of all cases the set holds the true label, 0..1, if the images are like those of the calibration.
    pub coverage: f32,
    /// Ids of the labels.
    pub labels: Vec<String>,
}

/// Operating points that were chosen on cases of this site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteThresholds {
    /// When they were chosen, RFC 3339.
    pub made: String,
    /// Labelled cases that they were chosen on.
    pub n: u64,
}

/// The distance of an image to the training images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NoveltyValue {
    /// The distance.
    pub value: f32,
    /// Above it an image is out of distribution.
    pub threshold: f32,
}

/// Where the model looked for one label: Grad-CAM after ReLU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heatmap {
    /// Id of the label.
    pub label: String,
    /// Rows and columns of the map.
    pub size: [usize; 2],
    /// Row by row, zero and above, any scale.
    pub values: Vec<f32>,
}

impl Heatmap {
    /// The map as `[h,w]`; `None` if its size and values do not fit each other.
    #[must_use]
    pub fn to_array(&self) -> Option<Array2<f32>> {
        Array2::from_shape_vec(self.size, self.values.clone()).ok()
    }
}

/// What the model ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Execution provider of ONNX Runtime.
    pub provider: String,
    /// Version of ONNX Runtime.
    pub onnxruntime: String,
    /// Numbers in the network's file: `int8-u8s8` ...
    pub precision: String,
    /// Threads of one inference.
    pub threads: usize,
}

impl Engine {
    /// What a bundle's network runs on with these options.
    #[must_use]
    pub fn new(runtime: &Runtime, session: &SessionOptions, manifest: &Manifest) -> Self {
        let provider = session.providers.first().copied().unwrap_or(Provider::Cpu);
        Self {
            provider: provider.to_string(),
            onnxruntime: runtime.library().version.clone(),
            precision: manifest.model.precision.clone(),
            threads: session.intra_threads,
        }
    }
}

/// Milliseconds of each step of one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Reading and decoding the file.
    pub decode: f64,
    /// Measuring its quality.
    pub quality: f64,
    /// Preparing the tensor.
    pub prepare: f64,
    /// The network with its heatmaps.
    pub inference: f64,
    /// From the file to the decision.
    pub total: f64,
}

/// The labels' probabilities with their names and operating points.
#[must_use]
pub fn label_probabilities(manifest: &Manifest, probabilities: &[f32]) -> Vec<LabelProbability> {
    let labels = manifest.labels.iter().zip(probabilities).enumerate();
    labels
        .map(|(index, (label, probability))| LabelProbability {
            label: label.id.clone(),
            name: label.name.clone(),
            probability: *probability,
            operating_point: manifest.operating_point(index).map(|point| point.threshold),
        })
        .collect()
}

/// The prediction set with the labels' ids.
#[must_use]
pub fn prediction_set(manifest: &Manifest, probabilities: &[f32]) -> Option<PredictionSet> {
    let set = decision::conformal_set(manifest, probabilities)?;
    Some(PredictionSet {
        coverage: manifest.conformal.as_ref()?.coverage,
        labels: set.into_iter().map(|index| manifest.labels[index].id.clone()).collect(),
    })
}

/// The distance with its limit.
#[must_use]
pub fn novelty_value(manifest: &Manifest, prediction: &Prediction) -> Option<NoveltyValue> {
    Some(NoveltyValue {
        value: prediction.novelty?,
        threshold: manifest.novelty.as_ref()?.threshold,
    })
}

/// The maps with the labels' ids.
#[must_use]
pub fn heatmaps(manifest: &Manifest, maps: &[ClassMap]) -> Vec<Heatmap> {
    let heatmap = |map: &ClassMap| Heatmap {
        label: manifest.labels[map.label].id.clone(),
        size: [map.map.nrows(), map.map.ncols()],
        values: map.map.iter().copied().collect(),
    };
    maps.iter().map(heatmap).collect()
}

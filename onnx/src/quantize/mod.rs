//! Static INT8 quantization of a float ONNX model, without any other tool.
//!
//! 1. [`plan`]: which operators run in 8 bits and which tensors are rounded.
//! 2. [`calibrate`]: the float model runs over real images, and an [`observer`] watches each of
//!    those tensors: streamed, in fixed memory.
//! 3. [`affine`] and [`weights`]: scales and zero points; weights by output channel, signed and
//!    symmetric; biases as integers.
//! 4. [`qdq`]: the graph is written with QuantizeLinear and DequantizeLinear, so that ONNX Runtime
//!    fuses every convolution and addition; pooling and heads behind the features stay float.
//! 5. [`report`]: signal to noise by layer, and the outputs of both models compared.

pub mod affine;
pub mod calibrate;
pub mod observer;
pub mod plan;
pub mod qdq;
pub mod report;
pub mod weights;

use std::collections::HashMap;

use ndarray::Array4;
use serde::{Deserialize, Serialize};

use crate::proto::{ModelProto, TensorError};
use crate::runtime::{Runtime, SessionError};
pub use affine::{ActivationType, Affine};
pub use observer::Method;
pub use report::QuantizationReport;

use calibrate::Calibration;
use plan::Plan;

/// Any reason for which a calibration image could not be given.
pub type ImageError = Box<dyn std::error::Error + Send + Sync>;

/// Whether the pooled features and the linear layer run in 8 bits too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadPrecision {
    /// In float, from the dequantized features: hardly slower, and the logits keep their resolution.
    Float,
    /// In 8 bits; the logits come out in float.
    Int8,
}

/// How a model is quantized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeOptions {
    /// How ranges are chosen.
    pub method: Method,
    /// Unsigned asymmetric for the processor (U8S8); signed symmetric for TensorRT (S8S8).
    pub activations: ActivationType,
    /// The part behind the last convolution.
    pub head: HeadPrecision,
    /// Takes the mean error that rounded weights make out of the biases.
    pub bias_correction: bool,
    /// Threads of calibration; 0 for one a core.
    pub threads: usize,
    /// How many of the first images are compared for the report; 0 for none.
    pub compared_images: usize,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self {
            method: Method::Percentile(99.999),
            activations: ActivationType::U8,
            head: HeadPrecision::Float,
            bias_correction: true,
            threads: 0,
            compared_images: 16,
        }
    }
}

/// A quantized model.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The ONNX file.
    pub model: Vec<u8>,
    /// What it cost.
    pub report: QuantizationReport,
}

/// Why a model could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// QuantizeLinear by channel came with version 13 of the operator set.
    #[error("the model uses operator set {found}; quantization needs 13 or newer: export it anew")]
    OperatorSet {
        /// Version found; 0 if there is none.
        found: i64,
    },
    /// There is no convolution with constant weights.
    #[error("the model has no convolution with constant weights: nothing to quantize")]
    NothingToQuantize,
    /// The model has none or several inputs.
    #[error("the model has the inputs {names:?}; quantization works on models of one input")]
    Inputs {
        /// Their names.
        names: Vec<String>,
    },
    /// Weights that no operator has.
    #[error("`{name}` of shape {shape:?} is no weight tensor of a convolution or linear layer")]
    Weights {
        /// Name of the initializer.
        name: String,
        /// Its extents; empty if it is missing.
        shape: Vec<usize>,
    },
    /// A weight tensor that cannot be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// ONNX Runtime refuses the model or an image.
    #[error("calibration: {0}")]
    Session(#[from] SessionError),
    /// The model cannot be written to the folder for temporary files.
    #[error("cannot write a temporary copy of the model: {0}; free some space, or set TMPDIR to another folder")]
    Scratch(#[source] std::io::Error),
    /// No calibration image came.
    #[error("no calibration images: give some from the training set, at least 50 for a usable range")]
    NoImages,
    /// A calibration image could not be given.
    #[error("calibration image {index}: {source}")]
    Image {
        /// Images before it.
        index: usize,
        /// The reason.
        source: ImageError,
    },
    /// The float model computes an infinite or undefined value.
    #[error(
        "tensor `{tensor}` holds infinite or undefined values on calibration image {image}; the float model is broken there"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Images before it.
        image: usize,
    },
}

/// Quantizes a float model. Each item of `images` is a batch `[N, C, H, W]`, prepared exactly as for
/// inference; 100 to 500 images from the training set are enough.
///
/// The weights are held a few times over and the tensors of one image at a time, so memory does not
/// grow with the number of images.
///
/// # Errors
/// [`QuantizeError`] names the tensor, layer or image at fault.
pub fn quantize(
    runtime: &Runtime,
    model: &[u8],
    images: &mut dyn Iterator<Item = Result<Array4<f32>, ImageError>>,
    options: &QuantizeOptions,
) -> Result<Quantized, QuantizeError> {
    let plan = {
        let decoded = decode(model)?;
        Plan::new(&decoded.graph.unwrap_or_default(), options)?
    };
    let calibration = calibrate::calibrate(runtime, model, &plan, images, options)?;
    let affine = ranges(&plan, &calibration, options);
    let mut decoded = decode(model)?;
    let graph = decoded.graph.get_or_insert_default();
    let nodes = graph.node.clone();
    let numbers = qdq::Numbers {
        affine: &affine,
        means: &means(&calibration, options),
    };
    let weight_ratios = qdq::rewrite(graph, &plan, &numbers)?;
    let quantized = decoded.to_bytes();
    drop(decoded);
    let report = report::Assessment {
        runtime,
        float: model,
        quantized: &quantized,
        plan: &plan,
        nodes: &nodes,
        affine: &affine,
        weight_ratios: &weight_ratios,
        calibration: &calibration,
        options,
    }
    .report()?;
    Ok(Quantized {
        model: quantized,
        report,
    })
}

fn decode(model: &[u8]) -> Result<ModelProto, QuantizeError> {
    let decoded = ModelProto::from_bytes(model)?;
    match decoded.opset_version().unwrap_or(0) {
        13.. => Ok(decoded),
        found => Err(QuantizeError::OperatorSet { found }),
    }
}

fn ranges(plan: &Plan, calibration: &Calibration, options: &QuantizeOptions) -> HashMap<String, Affine> {
    let own = plan.tensors.iter().filter(|tensor| tensor.name == tensor.range_of);
    own.filter_map(|tensor| {
        let observer = calibration.observers.get(&tensor.name)?;
        let (low, high) = observer.range(options.method, options.activations);
        Some((tensor.name.clone(), Affine::for_range(options.activations, low, high)))
    })
    .collect()
}

fn means(calibration: &Calibration, options: &QuantizeOptions) -> HashMap<String, Vec<f32>> {
    match options.bias_correction {
        true => calibration
            .observers
            .iter()
            .map(|(name, o)| (name.clone(), o.channel_means()))
            .collect(),
        false => HashMap::new(),
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

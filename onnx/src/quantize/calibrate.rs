//! Running a float model over calibration images and watching its tensors.

use std::collections::HashMap;
use std::io::Write;

use ndarray::{Array4, ArrayD, ArrayViewD, Axis};

use super::observer::Observer;
use super::plan::Plan;
use super::{ImageError, QuantizeError, QuantizeOptions};
use crate::proto::{ElementType, GraphProto, ModelProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto};
use crate::runtime::session::Optimisation;
use crate::runtime::{Outputs, Runtime, Session, SessionOptions};

/// What calibration saw.
pub struct Calibration {
    /// By tensor of the plan.
    pub observers: HashMap<String, Observer>,
    /// The first images, each [1, C, H, W], for comparing the quantized model with the float one.
    pub kept: Vec<ArrayD<f32>>,
    /// Images seen.
    pub images: usize,
}

/// What makes these tensors further outputs (float tensors of any shape) when it follows a model file.
///
/// Protobuf messages that follow each other are one message with their lists joined, so the weights
/// are neither decoded nor copied.
fn further_outputs(tensors: &[&str]) -> Vec<u8> {
    let outputs = tensors.iter().map(|name| {
        let tensor = TensorTypeProto {
            elem_type: ElementType::F32 as i32,
            shape: None,
        };
        ValueInfoProto {
            name: (*name).to_owned(),
            r#type: Some(TypeProto {
                value: Some(TypeValue::TensorType(tensor)),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    let graph = GraphProto {
        output: outputs.collect(),
        ..Default::default()
    };
    let addition = ModelProto {
        graph: Some(graph),
        ..Default::default()
    };
    addition.to_bytes()
}

/// A file of the model with these tensors exposed. On disk, because in memory it would be one more
/// copy of the weights beside the caller's and those of ONNX Runtime.
fn exposed(model: &[u8], tensors: &[&str]) -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".onnx").tempfile()?;
    file.write_all(model)?;
    file.write_all(&further_outputs(tensors))?;
    file.flush()?;
    Ok(file)
}

/// A session of a model with inner tensors exposed, run image by image.
pub struct Probe {
    session: Session,
    input: String,
}

impl Probe {
    /// Loads `model` with all tensors of the plan exposed. The model is the float one or the
    /// quantized one, which has tensors of the same names.
    pub fn new(runtime: &Runtime, model: &[u8], plan: &Plan, options: &QuantizeOptions) -> Result<Self, QuantizeError> {
        let session_options = SessionOptions {
            intra_threads: options.threads,
            // Each of these would hold the weights or the tensors once more.
            prepacking: false,
            memory_arena: false,
            optimisation: Optimisation::Extended,
            ..SessionOptions::default()
        };
        let tensors = plan.tensors.iter().map(|tensor| tensor.name.as_str());
        let inner: Vec<&str> = tensors.filter(|name| !plan.ends.contains(*name)).collect();
        let file = exposed(model, &inner).map_err(QuantizeError::Scratch)?;
        let session = Session::from_path(runtime, file.path(), &session_options)?;
        match session.inputs() {
            [only] => Ok(Self {
                input: only.name.clone(),
                session,
            }),
            inputs => Err(QuantizeError::Inputs {
                names: inputs.iter().map(|port| port.name.clone()).collect(),
            }),
        }
    }

    /// Runs one image [1, C, H, W].
    pub fn run<'a>(&'a mut self, image: &'a ArrayD<f32>) -> Result<Seen<'a>, QuantizeError> {
        let outputs = self.session.run(&[(self.input.as_str(), image.view())])?;
        Ok(Seen {
            input: &self.input,
            image: image.view(),
            outputs,
        })
    }
}

/// The tensors of one run.
pub struct Seen<'a> {
    input: &'a str,
    image: ArrayViewD<'a, f32>,
    /// All outputs.
    pub outputs: Outputs<'a>,
}

impl Seen<'_> {
    /// Whether this is the network's input.
    pub fn is_input(&self, name: &str) -> bool {
        name == self.input
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Result<ArrayViewD<'_, f32>, QuantizeError> {
        if self.is_input(name) {
            return Ok(self.image.view());
        }
        Ok(self.outputs.array::<f32>(name)?)
    }
}

/// Watches every tensor of the plan over all images; each item of `images` is `[N, C, H, W]`.
///
/// # Errors
/// [`QuantizeError`]: no images, an image that could not be read, a tensor with undefined values,
/// or ONNX Runtime's refusal.
pub fn calibrate(
    runtime: &Runtime,
    model: &[u8],
    plan: &Plan,
    images: &mut dyn Iterator<Item = Result<Array4<f32>, ImageError>>,
    options: &QuantizeOptions,
) -> Result<Calibration, QuantizeError> {
    let names: Vec<&str> = plan.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut probe = Probe::new(runtime, model, plan, options)?;
    let mut calibration = Calibration {
        observers: names
            .iter()
            .map(|name| ((*name).to_owned(), Observer::default()))
            .collect(),
        kept: Vec::new(),
        images: 0,
    };
    for batch in images {
        let batch = batch.map_err(|source| QuantizeError::Image {
            index: calibration.images,
            source,
        })?;
        // One at a time: all tensors of a deep network are 50 to 100 MB an image.
        for image in batch.axis_iter(Axis(0)) {
            let image = image.insert_axis(Axis(0)).as_standard_layout().into_owned().into_dyn();
            calibration.observe(&mut probe, &names, &image)?;
            if calibration.kept.len() < options.compared_images {
                calibration.kept.push(image);
            }
        }
    }
    match calibration.images {
        0 => Err(QuantizeError::NoImages),
        _ => Ok(calibration),
    }
}

impl Calibration {
    fn observe(&mut self, probe: &mut Probe, names: &[&str], image: &ArrayD<f32>) -> Result<(), QuantizeError> {
        let seen = probe.run(image)?;
        for name in names {
            let tensor = seen.tensor(name)?;
            let values = tensor.as_slice().unwrap_or_default();
            let channels = tensor.shape().get(1).copied().unwrap_or(0);
            let observer = self.observers.entry((*name).to_owned()).or_default();
            observer.observe_planes(values, channels);
            if !observer.is_finite() {
                return Err(QuantizeError::NotFinite {
                    tensor: (*name).to_owned(),
                    image: self.images,
                });
            }
        }
        self.images += 1;
        Ok(())
    }
}

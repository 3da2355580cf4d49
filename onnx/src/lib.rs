//! What a network is.
//!
//! - [`graph`]: the typed graph, its operators, shape inference, initialisation rules
//! - [`heads`]: temperature, Grad-CAM and novelty inside the exported graph
//! - [`export`]: graph and parameters as an ONNX file
//! - [`networks`]: every architecture, described once
//! - [`parameters`]: trained parameters by torchvision's names
//! - [`proto`]: the ONNX file format
//! - [`quantize`]: static INT8 quantization
//! - [`runtime`]: ONNX Runtime

pub mod export;
pub mod graph;
pub mod heads;
pub mod networks;
pub mod parameters;
pub mod proto;
pub mod quantize;
pub mod runtime;

//! What a network is.
//!
//! - [`graph`]: the typed graph, its operators, shape inference, initialisation rules
//! - [`networks`]: every architecture, described once
//! - [`parameters`]: trained parameters by torchvision's names
//! - [`proto`]: the ONNX file format
//! - [`runtime`]: ONNX Runtime

pub mod graph;
pub mod networks;
pub mod parameters;
pub mod proto;
pub mod runtime;

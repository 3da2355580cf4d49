//! Runs a network's one description, an [`onnx::graph::Graph`], operator by operator in libtorch, with gradients.
//!
//! | module | what it holds |
//! |---|---|
//! | [`parameters`] | the tensors that training changes, in the graph's order |
//! | [`modes`] | train, eval or frozen, per node, at run time |
//! | [`operators`] | one ONNX operator as libtorch calls |
//! | [`interpreter`] | the graph's nodes in order, any value kept |
//! | [`memory`] | the order of a tensor's axes in memory |

pub mod interpreter;
pub mod memory;
pub mod modes;
pub mod operators;
pub mod parameters;

pub use interpreter::{Interpreter, InterpreterError, Values};
pub use memory::MemoryOrder;
pub use modes::{Mode, Modes};
pub use parameters::{ParameterError, ParameterSource, Parameters};

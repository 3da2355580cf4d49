//! Outputs that are written to the same place, run after run.

use ort::memory::Allocator;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionOutputs};
use ort::value::{DynTensor, TensorElementType, ValueType};

use super::SessionError;
use super::error::run_error;

/// Outputs of the last shape of input, and buffers for them once that shape comes again: a model
/// that is run once, or with another batch each time, needs none.
pub(super) struct KeptOutputs {
    pub(super) input_shapes: Vec<Vec<usize>>,
    outputs: Vec<(String, TensorElementType, Vec<i64>)>,
    buffers: Option<RunOptions<HasSelectedOutputs>>,
}

impl KeptOutputs {
    /// Notes the outputs' types and shapes. None if one of them has no plain buffer.
    pub(super) fn of(outputs: &SessionOutputs<'_>, input_shapes: Vec<Vec<usize>>) -> Option<Self> {
        let described = outputs.iter().map(|(name, value)| match value.dtype() {
            ValueType::Tensor { ty, shape, .. } if *ty != TensorElementType::String && shape.num_elements() > 0 => {
                Some((name.to_owned(), *ty, shape.to_vec()))
            }
            _ => None,
        });
        Some(Self {
            input_shapes,
            outputs: described.collect::<Option<_>>()?,
            buffers: None,
        })
    }

    /// Run options that write into the buffers, which are made the first time.
    pub(super) fn buffers(&mut self) -> Result<&RunOptions<HasSelectedOutputs>, SessionError> {
        let options = match self.buffers.take() {
            Some(options) => options,
            None => {
                let allocator = Allocator::default();
                let mut selector = OutputSelector::default();
                for (name, ty, shape) in &self.outputs {
                    let tensor = DynTensor::new(&allocator, *ty, shape.clone()).map_err(run_error)?;
                    selector = selector.preallocate(name, tensor);
                }
                RunOptions::new().map_err(run_error)?.with_outputs(selector)
            }
        };
        Ok(self.buffers.insert(options))
    }
}

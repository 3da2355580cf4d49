//! A running average of a generator's parameters: its images are steadier and better than those of any one step
//! (Karras et al. 2018, arXiv 1710.10196, section 4).

use indexmap::IndexMap;
use onnx::graph::ParameterKind;
use tch::{TchError, Tensor};

use crate::autograd::{MemoryOrder, ParameterSource, Parameters};

/// The average; running statistics are not averaged but taken over.
#[derive(Debug)]
pub struct Average {
    tensors: IndexMap<String, Tensor>,
    order: MemoryOrder,
    decay: f64,
}

impl ParameterSource for Average {
    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    fn memory_order(&self) -> MemoryOrder {
        self.order
    }
}

impl Average {
    /// Begins at the parameters as they are; `decay` is the share of the old average that a step keeps, in [0, 1).
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(parameters: &Parameters, decay: f64) -> Result<Self, TchError> {
        let copies = parameters
            .iter()
            .map(|(name, entry)| Ok((name.to_owned(), tch::no_grad(|| entry.tensor.detach().copy()))));
        Ok(Self {
            tensors: copies.collect::<Result<_, TchError>>()?,
            order: parameters.order(),
            decay,
        })
    }

    /// Takes a step's parameters in. At the beginning it keeps less, so that the first random weights are soon forgotten.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&mut self, parameters: &Parameters, step: u64) -> Result<(), TchError> {
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        tch::no_grad(|| {
            for (name, entry) in parameters.iter() {
                let Some(average) = self.tensors.get_mut(name) else {
                    continue;
                };
                match entry.kind {
                    ParameterKind::Trainable => drop(average.f_lerp_(&entry.tensor, 1.0 - decay)?),
                    ParameterKind::RunningStatistic => average.f_copy_(&entry.tensor)?,
                }
            }
            Ok(())
        })
    }

    /// The tensors by name, for the checkpoint and for use.
    pub fn tensors(&self) -> &IndexMap<String, Tensor> {
        &self.tensors
    }

    /// Takes saved tensors; says which one is missing or of another shape.
    ///
    /// # Errors
    /// The name of the tensor.
    pub fn restore(&mut self, saved: &IndexMap<String, Tensor>) -> Result<(), String> {
        for (name, tensor) in &mut self.tensors {
            let found = saved.get(name).filter(|found| found.size() == tensor.size());
            let found = found.ok_or_else(|| name.clone())?;
            tch::no_grad(|| tensor.f_copy_(found)).map_err(|_| name.clone())?;
        }
        Ok(())
    }
}

//! AdamW and SGD with their state in our hands, so that it can be saved: libtorch's fused kernels do the arithmetic.

use indexmap::IndexMap;
use tch::{Kind, TchError, Tensor};

use crate::autograd::Parameters;
use crate::native::{AdamW, FusedTensors, NativeError};

/// Why a step was not taken, or a state not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptimizerError {
    /// libtorch refused.
    #[error("optimizer, parameter {name:?}: {source}")]
    Torch {
        /// The parameter.
        name: String,
        /// libtorch's message.
        source: TchError,
    },
    /// A fused kernel refused.
    #[error("optimizer step: {0}")]
    Fused(#[from] NativeError),
    /// The gradient is not finite.
    #[error("the norm of the gradient is {norm}: training diverged; try a smaller train.learning_rate")]
    NotFinite {
        /// The norm.
        norm: f64,
    },
    /// A saved state lacks a tensor, or it has another shape.
    #[error("the saved optimizer state does not fit the network: {name:?} is missing or of another shape")]
    State {
        /// Name of the tensor in the state.
        name: String,
    },
}

/// The rule of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    AdamW(AdamW),
    /// Stochastic gradient descent with Nesterov momentum, weight decay in the gradient.
    Sgd {
        /// Share of the old direction.
        momentum: f64,
    },
}

/// What one parameter's steps depend on, and their memory.
#[derive(Debug)]
struct Slot {
    rate_factor: f64,
    decay: f64,
    first: Tensor,
    second: Option<Tensor>,
    steps: Option<Tensor>,
}

/// An optimizer over the trainable parameters of a network.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    slots: IndexMap<String, Slot>,
}

/// Suffixes of the state's tensors, after the parameter's name.
const FIRST: &str = ".first";
const SECOND: &str = ".second";
const STEPS: &str = ".steps";

impl Optimizer {
    /// A fresh optimizer. `rate_factor` gives the factor on the learning rate by the parameter's name; weight decay
    /// falls on tensors of two and more axes (not on biases and normalisation).
    ///
    /// # Errors
    /// When the device has no room for the state.
    pub fn new(
        rule: Rule,
        parameters: &Parameters,
        weight_decay: f64,
        rate_factor: impl Fn(&str) -> f64,
    ) -> Result<Self, OptimizerError> {
        let slots = parameters
            .trainable()
            .map(|(name, tensor)| {
                let decay = if tensor.dim() > 1 { weight_decay } else { 0.0 };
                let slot = Slot::new(rule, tensor, rate_factor(name), decay).map_err(|source| torch(name, source))?;
                Ok((name.to_owned(), slot))
            })
            .collect::<Result<_, OptimizerError>>()?;
        Ok(Self { rule, slots })
    }

    /// One step at `learning_rate` for every parameter that has a gradient, the gradient shortened to the norm
    /// `clip_norm`. Gives the norm before that.
    ///
    /// # Errors
    /// [`OptimizerError::NotFinite`], with the parameters untouched, or when libtorch refuses.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        learning_rate: f64,
        clip_norm: Option<f64>,
    ) -> Result<f64, OptimizerError> {
        let gradients = gradients(parameters)?;
        let norm = total_norm(&gradients)?;
        if !norm.is_finite() {
            return Err(OptimizerError::NotFinite { norm });
        }
        let scale = clip_norm
            .filter(|limit| norm > *limit)
            .map(|limit| {
                Tensor::from_slice(&[(norm / limit) as f32])
                    .f_squeeze()?
                    .f_to_device(parameters.device())
            })
            .transpose()
            .map_err(|source| torch("gradient norm", source))?;
        for name in gradients.keys() {
            self.count_step(name)?;
        }
        for (rate_factor, decay) in self.groups() {
            let mut fused = FusedTensors::default();
            for (name, gradient) in &gradients {
                let slot = &self.slots[name];
                if (slot.rate_factor, slot.decay) != (rate_factor, decay) {
                    continue;
                }
                let Some(parameter) = parameters.get(name) else {
                    continue;
                };
                fused.parameters.push(parameter);
                fused.gradients.push(gradient);
                fused.first.push(&slot.first);
                fused.second.extend(&slot.second);
                fused.steps.extend(&slot.steps);
            }
            if fused.parameters.is_empty() {
                continue;
            }
            let rate = learning_rate * rate_factor;
            match self.rule {
                Rule::AdamW(rule) => fused.adamw(rate, decay, rule, scale.as_ref())?,
                Rule::Sgd { momentum } => fused.sgd(rate, decay, momentum, scale.as_ref())?,
            }
        }
        Ok(norm)
    }

    /// The state under `<parameter>.first`, `.second`, `.steps`; the tensors are shared, not copied.
    pub fn state(&self) -> IndexMap<String, Tensor> {
        let mut state = IndexMap::new();
        for (name, slot) in &self.slots {
            for (suffix, tensor) in slot.tensors() {
                state.insert(format!("{name}{suffix}"), tensor.shallow_clone());
            }
        }
        state
    }

    /// Copies a saved state back.
    ///
    /// # Errors
    /// [`OptimizerError::State`] for a state of another network or rule.
    pub fn restore(&mut self, state: &IndexMap<String, Tensor>) -> Result<(), OptimizerError> {
        for (name, slot) in &mut self.slots {
            for (suffix, tensor) in slot.tensors() {
                let key = format!("{name}{suffix}");
                let saved = state.get(&key).filter(|saved| saved.size() == tensor.size());
                let Some(saved) = saved else {
                    return Err(OptimizerError::State { name: key });
                };
                let mut tensor = tensor.shallow_clone();
                tch::no_grad(|| tensor.f_copy_(saved)).map_err(|source| torch(name, source))?;
            }
        }
        Ok(())
    }

    fn count_step(&mut self, name: &str) -> Result<(), OptimizerError> {
        if let Some(steps) = self.slots.get_mut(name).and_then(|slot| slot.steps.as_mut()) {
            let _counted = steps.f_add_scalar_(1.0).map_err(|source| torch(name, source))?;
        }
        Ok(())
    }

    /// The distinct (rate factor, decay), each one fused call.
    fn groups(&self) -> Vec<(f64, f64)> {
        let mut groups = Vec::new();
        for slot in self.slots.values() {
            if !groups.contains(&(slot.rate_factor, slot.decay)) {
                groups.push((slot.rate_factor, slot.decay));
            }
        }
        groups
    }
}

impl Slot {
    fn new(rule: Rule, tensor: &Tensor, rate_factor: f64, decay: f64) -> Result<Self, TchError> {
        let zeros = || tensor.detach().f_zeros_like();
        let (second, steps) = match rule {
            Rule::AdamW(_) => {
                let steps = Tensor::f_zeros([], (Kind::Float, tensor.device()))?;
                (Some(zeros()?), Some(steps))
            }
            Rule::Sgd { .. } => (None, None),
        };
        Ok(Self {
            rate_factor,
            decay,
            first: zeros()?,
            second,
            steps,
        })
    }

    fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let second = self.second.iter().map(|tensor| (SECOND, tensor));
        let steps = self.steps.iter().map(|tensor| (STEPS, tensor));
        std::iter::once((FIRST, &self.first)).chain(second).chain(steps)
    }
}

fn torch(name: &str, source: TchError) -> OptimizerError {
    OptimizerError::Torch {
        name: name.to_owned(),
        source,
    }
}

/// The gradients that there are, laid out as their parameters.
fn gradients(parameters: &Parameters) -> Result<IndexMap<String, Tensor>, OptimizerError> {
    let mut gradients = IndexMap::new();
    for (name, tensor) in parameters.trainable() {
        let gradient = tensor.grad();
        if !gradient.defined() {
            continue;
        }
        let gradient = like(&gradient, tensor).map_err(|source| torch(name, source))?;
        gradients.insert(name.to_owned(), gradient);
    }
    Ok(gradients)
}

/// The fused kernels walk memory, so a gradient must lie there as its parameter does.
fn like(gradient: &Tensor, parameter: &Tensor) -> Result<Tensor, TchError> {
    if gradient.stride() == parameter.stride() {
        return Ok(gradient.shallow_clone());
    }
    let mut copy = parameter.detach().f_empty_like()?;
    copy.f_copy_(gradient)?;
    Ok(copy)
}

fn total_norm(gradients: &IndexMap<String, Tensor>) -> Result<f64, OptimizerError> {
    let norms = || -> Result<f64, TchError> {
        let norms = gradients.values().map(Tensor::f_norm).collect::<Result<Vec<_>, _>>()?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        f64::try_from(Tensor::f_stack(&norms, 0)?.f_to_kind(Kind::Double)?.f_norm()?)
    };
    norms().map_err(|source| torch("gradient norm", source))
}

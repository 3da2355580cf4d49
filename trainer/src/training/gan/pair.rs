//! Both sides of a game, and the generator's running average: what is saved, and what is used afterwards.

use indexmap::IndexMap;
use tch::{Kind, Tensor};

use super::average::Average;
use super::error::GanError;
use super::player::{Player, under};
use crate::autograd::{Mode, Modes, ParameterSource};

/// Generator and discriminator.
#[derive(Debug)]
pub struct Pair {
    /// Makes images.
    pub generator: Player,
    /// Judges them.
    pub discriminator: Player,
    /// The generator's running average, if one is kept.
    pub average: Option<Average>,
}

impl Pair {
    /// Both sides; `decay` is the share of the running average that a step keeps, 0 for none.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(generator: Player, discriminator: Player, decay: f64) -> Result<Self, GanError> {
        let average = match decay > 0.0 {
            true => Some(Average::new(&generator.network.parameters, decay)?),
            false => None,
        };
        Ok(Self {
            generator,
            discriminator,
            average,
        })
    }

    /// Takes the step's generator into the average.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&mut self, step: u64) -> Result<(), GanError> {
        if let Some(average) = &mut self.average {
            average.follow(&self.generator.network.parameters, step)?;
        }
        Ok(())
    }

    /// What the generator is used with.
    #[must_use]
    pub fn source(&self) -> &dyn ParameterSource {
        match &self.average {
            Some(average) => average,
            None => &self.generator.network.parameters,
        }
    }

    /// The generator's output for these inputs as it is used afterwards: averaged, and not in training.
    ///
    /// # Errors
    /// [`GanError`].
    pub fn use_generator(&self, inputs: &[Tensor]) -> Result<Tensor, GanError> {
        tch::no_grad(|| {
            let interpreter = &self.generator.network.interpreter;
            let values = interpreter.run(inputs, self.source(), &Modes::all(Mode::Eval), &[])?;
            Ok(values.first().f_to_kind(Kind::Float)?)
        })
    }

    /// The generator's parameters as they are used and exported.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn generator_in_use(&self) -> Result<IndexMap<String, Tensor>, GanError> {
        match &self.average {
            Some(average) => Ok(under(average.tensors(), "")),
            None => self.generator.in_use(),
        }
    }

    /// All that must be saved to go on.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = self.generator.tensors("generator");
        tensors.extend(self.discriminator.tensors("discriminator"));
        for (name, tensor) in self.average.iter().flat_map(Average::tensors) {
            tensors.push((format!("average/{name}"), tensor.shallow_clone()));
        }
        tensors
    }

    /// Takes back what [`Pair::tensors`] gave.
    ///
    /// # Errors
    /// [`GanError::State`] if it is of other networks.
    pub fn restore(&mut self, saved: &IndexMap<String, Tensor>) -> Result<(), GanError> {
        self.generator.restore("generator", saved)?;
        self.discriminator.restore("discriminator", saved)?;
        if let Some(average) = &mut self.average {
            let tensors = under(saved, "average/");
            average.restore(&tensors).map_err(|name| GanError::State { name })?;
        }
        Ok(())
    }
}

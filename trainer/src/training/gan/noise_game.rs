//! Noise against real images: DCGAN, with or without classes, with a plain discriminator or a pretrained one.

use tch::{Kind, Tensor};

use super::diff_augment::{self, Change};
use super::error::GanError;
use super::game::{DISCRIMINATOR, Figures, GENERATED_SCORE, GENERATOR, Game, REAL_SCORE, Rates, Round};
use super::losses::{AdversarialLoss, r1};
use super::pair::Pair;
use crate::autograd::{Mode, Modes};
use crate::seed;
use crate::training::batches::images_tensor;

/// Images on a sheet of samples; a square.
pub const SAMPLES: i64 = 64;
/// Passes that settle the running statistics of averaged weights: of the old ones, which are close, 0.9^20 is left.
const SETTLING: u64 = 20;

/// The rules of the game.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseRules {
    /// Length of the noise vector.
    pub latent: usize,
    /// Number of classes, if a class can be asked for.
    pub classes: Option<usize>,
    /// The adversarial loss.
    pub loss: AdversarialLoss,
    /// Taken from the target of real images.
    pub label_smoothing: f64,
    /// Weight of the gradient penalty.
    pub r1: f64,
    /// Steps between two penalties.
    pub r1_every: u64,
    /// Changes before images are judged.
    pub changes: Vec<Change>,
    /// Draws noise for the sheets.
    pub seed: u64,
}

/// A generator of images from noise, and its discriminator.
#[derive(Debug)]
pub struct NoiseGame {
    pair: Pair,
    rules: NoiseRules,
    references: Tensor,
}

impl NoiseGame {
    /// A game that compares its samples with these real images `[n,C,H,W]`.
    #[must_use]
    pub fn new(pair: Pair, rules: NoiseRules, references: Tensor) -> Self {
        Self {
            pair,
            rules,
            references,
        }
    }

    fn noise(&self, count: i64) -> Result<Tensor, GanError> {
        let device = self.pair.generator.network.device;
        Ok(Tensor::f_randn(
            [count, self.rules.latent as i64],
            (Kind::Float, device),
        )?)
    }

    /// What both networks are told besides the image.
    fn with_class(&self, first: Tensor, labels: &Tensor) -> Vec<Tensor> {
        match self.rules.classes {
            Some(_) => vec![first, labels.shallow_clone()],
            None => vec![first],
        }
    }

    fn judge(&self, images: &Tensor, labels: &Tensor) -> Result<Tensor, GanError> {
        let changed = diff_augment::apply(images, &self.rules.changes)?;
        self.pair.discriminator.run(&self.with_class(changed, labels))
    }

    fn discriminator_step(
        &mut self,
        real: &Tensor,
        made: &Tensor,
        labels: &Tensor,
        step: u64,
        rate: f64,
    ) -> Result<Figures, GanError> {
        self.pair.discriminator.begin_step()?;
        let of_real = self.judge(real, labels)?;
        let of_made = self.judge(&made.detach(), labels)?;
        let loss = self
            .rules
            .loss
            .discriminator(&of_real, &of_made, self.rules.label_smoothing)?;
        loss.f_backward()?;
        if self.rules.r1 > 0.0 && step.is_multiple_of(self.rules.r1_every) {
            self.penalise(real, labels)?;
        }
        let figures = vec![
            (DISCRIMINATOR, f64::try_from(&loss)?),
            (REAL_SCORE, f64::try_from(of_real.f_mean(Kind::Float)?)?),
            (GENERATED_SCORE, f64::try_from(of_made.f_mean(Kind::Float)?)?),
        ];
        self.pair.discriminator.end_step(rate)?;
        Ok(figures)
    }

    /// Adds the gradient of R1; seldom, and then as heavy as the steps in between (Karras et al. 2020, arXiv
    /// 1912.04958, section 3.1).
    fn penalise(&self, real: &Tensor, labels: &Tensor) -> Result<(), GanError> {
        let images = real.detach().copy().set_requires_grad(true);
        let scores = self
            .pair
            .discriminator
            .run_exactly(&self.with_class(images.shallow_clone(), labels))?;
        let penalty = r1(&scores, &images, self.rules.r1 * self.rules.r1_every as f64)?;
        Ok(penalty.f_backward()?)
    }

    fn generator_step(&mut self, made: &Tensor, labels: &Tensor, rate: f64) -> Result<f64, GanError> {
        self.pair.generator.begin_step()?;
        // Its gradients would be thrown away.
        self.pair.discriminator.set_learning(false);
        let scores = self.judge(made, labels);
        let loss = scores.and_then(|scores| {
            let loss = self.rules.loss.generator(&scores)?;
            loss.f_backward()?;
            Ok(loss)
        });
        self.pair.discriminator.set_learning(true);
        let value = f64::try_from(&loss?)?;
        self.pair.generator.end_step(rate)?;
        Ok(value)
    }

    /// Noise for so many images, the classes in turn.
    fn asked(&self, count: i64) -> Result<Vec<Tensor>, GanError> {
        let noise = self.noise(count)?;
        let labels = Tensor::f_arange(count, (Kind::Int64, noise.device()))?;
        let labels = labels.f_remainder(self.rules.classes.unwrap_or(1) as i64)?;
        Ok(self.with_class(noise, &labels))
    }
}

impl Game for NoiseGame {
    fn step(&mut self, round: &Round, step: u64, rates: Rates) -> Result<Figures, GanError> {
        let device = self.pair.generator.network.device;
        let real = self
            .pair
            .discriminator
            .order()
            .apply(&images_tensor(&round.images)?.f_to_device(device)?)?;
        let labels = Tensor::f_from_slice(&round.labels)?.f_to_device(device)?;
        let noise = self.noise(real.size()[0])?;
        let made = self.pair.generator.run(&self.with_class(noise, &labels))?;
        let mut figures = self.discriminator_step(&real, &made, &labels, step, rates.discriminator)?;
        figures.push((GENERATOR, self.generator_step(&made, &labels, rates.generator)?));
        self.pair.follow(step)?;
        Ok(figures)
    }

    fn samples(&self) -> Result<Tensor, GanError> {
        seed::seed_step(seed::mix(self.rules.seed, "samples"), 0);
        let inputs = self.asked(SAMPLES)?;
        tch::no_grad(|| {
            let (interpreter, modes) = (&self.pair.generator.network.interpreter, Modes::all(Mode::Eval));
            let values = interpreter.run(&inputs, self.pair.source(), &modes, &[])?;
            Ok(values.first().f_to_kind(Kind::Float)?)
        })
    }

    /// Averaged weights were never used with the running statistics of any step: these are measured anew.
    fn settle(&self) -> Result<(), GanError> {
        let Some(average) = &self.pair.average else {
            return Ok(());
        };
        tch::no_grad(|| {
            for pass in 0..SETTLING {
                seed::seed_step(seed::mix(self.rules.seed, "settle"), pass);
                let inputs = self.asked(SAMPLES)?;
                let modes = Modes::all(Mode::Train);
                self.pair
                    .generator
                    .network
                    .interpreter
                    .run(&inputs, average, &modes, &[])?;
            }
            Ok(())
        })
    }

    fn references(&self) -> &Tensor {
        &self.references
    }

    fn sources(&self) -> Option<&Tensor> {
        None
    }

    fn pair(&self) -> &Pair {
        &self.pair
    }

    fn pair_mut(&mut self) -> &mut Pair {
        &mut self.pair
    }
}

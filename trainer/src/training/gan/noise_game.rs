//! Noise against real images: DCGAN, with or without classes, with a plain discriminator or a pretrained one.

use tch::{Kind, TchError, Tensor};

use super::error::GanError;
use super::game::{Figures, GENERATOR, Game, Rates, Round};
use super::health::least_diversity;
use super::losses::r1;
use super::pair::Pair;
use super::player::Player;
use super::turn::{self, Judgement};
use crate::autograd::{Mode, Modes};
use crate::seed;

/// Images on a sheet of samples; a square.
pub const SAMPLES: i64 = 64;
/// Classes of which a sheet shows enough images to compare with each other.
pub const CLASSES: usize = SAMPLES as usize / 4;
/// Passes that settle the running statistics of averaged weights: of the old ones, which are close, 0.9^20 is left.
const SETTLING: u64 = 20;

/// The rules of the game.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseRules {
    /// Length of the noise vector.
    pub latent: usize,
    /// Number of classes, if a class can be asked for.
    pub classes: Option<usize>,
    /// How images are judged.
    pub judgement: Judgement,
    /// Weight of the gradient penalty.
    pub r1: f64,
    /// Steps between two penalties.
    pub r1_every: u64,
    /// Draws noise for the sheets.
    pub seed: u64,
}

impl NoiseRules {
    /// What both networks are told besides the image.
    fn with_class(&self, first: Tensor, labels: &Tensor) -> Vec<Tensor> {
        match self.classes {
            Some(_) => vec![first, labels.shallow_clone()],
            None => vec![first],
        }
    }

    fn judge(&self, discriminator: &Player, images: &Tensor, labels: &Tensor) -> Result<Tensor, GanError> {
        let changed = self.judgement.changed(images)?;
        discriminator.run(&self.with_class(changed, labels))
    }

    /// Adds the gradient of R1; seldom, and then as heavy as the steps in between (Karras et al. 2020, arXiv
    /// 1912.04958, section 3.1).
    fn penalise(&self, discriminator: &Player, real: &Tensor, labels: &Tensor) -> Result<(), GanError> {
        let images = real.detach().copy().set_requires_grad(true);
        let scores = discriminator.run_exactly(&self.with_class(images.shallow_clone(), labels))?;
        let penalty = r1(&scores, &images, self.r1 * self.r1_every as f64)?;
        Ok(penalty.f_backward()?)
    }
}

/// A generator of images from noise, and its discriminator.
#[derive(Debug)]
pub struct NoiseGame {
    pair: Pair,
    rules: NoiseRules,
    references: Vec<Tensor>,
}

impl NoiseGame {
    /// A game that compares its samples with these real images `[n,C,H,W]`: of each class if one can be asked for.
    #[must_use]
    pub fn new(pair: Pair, rules: NoiseRules, references: Vec<Tensor>) -> Self {
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

    fn discriminator_step(
        &mut self,
        real: &Tensor,
        made: &Tensor,
        labels: &Tensor,
        step: u64,
        rate: f64,
    ) -> Result<Figures, GanError> {
        let rules = &self.rules;
        let penalised = rules.r1 > 0.0 && step.is_multiple_of(rules.r1_every);
        rules.judgement.discriminator(
            &mut self.pair.discriminator,
            [1.0, rate],
            |player| {
                Ok([
                    rules.judge(player, real, labels)?,
                    rules.judge(player, &made.detach(), labels)?,
                ])
            },
            |player| match penalised {
                true => rules.penalise(player, real, labels),
                false => Ok(()),
            },
        )
    }

    fn generator_step(&mut self, made: &Tensor, labels: &Tensor, rate: f64) -> Result<f64, GanError> {
        let (rules, pair) = (&self.rules, &mut self.pair);
        let discriminator = &pair.discriminator;
        let [loss] = turn::generators(&mut [&mut pair.generator], &[discriminator], rate, || {
            let loss = rules
                .judgement
                .loss
                .generator(&rules.judge(discriminator, made, labels)?)?;
            Ok((loss.shallow_clone(), [loss]))
        })?;
        Ok(loss)
    }

    /// Noise for so many images, the classes in turn.
    fn asked(&self, count: i64) -> Result<Vec<Tensor>, GanError> {
        let noise = self.noise(count)?;
        let labels = Tensor::f_arange(count, (Kind::Int64, noise.device()))?;
        let labels = labels.f_remainder(self.rules.classes.unwrap_or(1) as i64)?;
        Ok(self.rules.with_class(noise, &labels))
    }
}

impl Game for NoiseGame {
    fn step(&mut self, round: &Round, step: u64, rates: Rates) -> Result<Figures, GanError> {
        let [_, real] = round.placed(&self.pair)?;
        let labels = Tensor::f_from_slice(&round.labels)?.f_to_device(real.device())?;
        let noise = self.noise(real.size()[0])?;
        let made = self.pair.generator.run(&self.rules.with_class(noise, &labels))?;
        let mut figures = self.discriminator_step(&real, &made, &labels, step, rates.discriminator)?;
        figures.push((GENERATOR, self.generator_step(&made, &labels, rates.generator)?));
        self.pair.follow(step)?;
        Ok(figures)
    }

    fn samples(&self) -> Result<Tensor, GanError> {
        seed::seed_step(seed::mix(self.rules.seed, "samples"), 0);
        self.pair.use_generator(&self.asked(SAMPLES)?)
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

    fn diversity(&self, samples: &Tensor) -> Result<f64, TchError> {
        least_diversity(samples, &self.references)
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

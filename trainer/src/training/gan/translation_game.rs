//! Image against image: Pix2Pix (Isola et al. 2017, arXiv 1611.07004).

use tch::{Reduction, TchError, Tensor};

use super::error::GanError;
use super::game::{DISTANCE, Figures, GENERATOR, Game, Rates, Round};
use super::health::diversity;
use super::pair::Pair;
use super::player::Player;
use super::turn::{self, Judgement};

/// The rules of the game.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslationRules {
    /// How images are judged, each beside its source.
    pub judgement: Judgement,
    /// Weight of the pixel-wise distance.
    pub l1: f64,
}

impl TranslationRules {
    /// Source and image are changed as one: they must stay a pair.
    fn judge(&self, discriminator: &Player, source: &Tensor, image: &Tensor) -> Result<Tensor, GanError> {
        if self.judgement.changes.is_empty() {
            return discriminator.run(&[source.shallow_clone(), image.shallow_clone()]);
        }
        let channels = source.size()[1];
        let changed = self.judgement.changed(&Tensor::f_cat(&[source, image], 1)?)?;
        let part = |from: i64| changed.f_narrow(1, from, channels);
        discriminator.run(&[part(0)?, part(channels)?])
    }
}

/// A generator that translates images, and its discriminator, which sees each image beside its source.
#[derive(Debug)]
pub struct TranslationGame {
    pair: Pair,
    rules: TranslationRules,
    sources: Tensor,
    references: Tensor,
}

impl TranslationGame {
    /// A game whose sheets show these sources translated, compared with these real images; both `[n,C,H,W]`.
    #[must_use]
    pub fn new(pair: Pair, rules: TranslationRules, sources: Tensor, references: Tensor) -> Self {
        Self {
            pair,
            rules,
            sources,
            references,
        }
    }
}

impl Game for TranslationGame {
    fn step(&mut self, round: &Round, step: u64, rates: Rates) -> Result<Figures, GanError> {
        let (rules, pair) = (&self.rules, &mut self.pair);
        let [source, image] = round.placed(pair)?;
        let made = pair.generator.run(&[source.shallow_clone()])?;
        // The discriminator learns half as fast as the generator (section 3.3 of the paper).
        let mut figures = rules.judgement.discriminator(
            &mut pair.discriminator,
            [0.5, rates.discriminator],
            |player| {
                Ok([
                    rules.judge(player, &source, &image)?,
                    rules.judge(player, &source, &made.detach())?,
                ])
            },
            |_| Ok(()),
        )?;
        let discriminator = &pair.discriminator;
        let [adversarial, distance] =
            turn::generators(&mut [&mut pair.generator], &[discriminator], rates.generator, || {
                let scores = rules.judge(discriminator, &source, &made)?;
                let adversarial = rules.judgement.loss.generator(&scores)?;
                let distance = made.f_l1_loss(&image, Reduction::Mean)?;
                let loss = adversarial.f_add(&distance.f_mul_scalar(rules.l1)?)?;
                Ok((loss, [adversarial, distance]))
            })?;
        figures.extend([(GENERATOR, adversarial), (DISTANCE, distance)]);
        pair.follow(step)?;
        Ok(figures)
    }

    fn samples(&self) -> Result<Tensor, GanError> {
        self.pair.use_generator(&[self.sources.shallow_clone()])
    }

    /// Instances are normalised by themselves: there is nothing to measure.
    fn settle(&self) -> Result<(), GanError> {
        Ok(())
    }

    fn diversity(&self, samples: &Tensor) -> Result<f64, TchError> {
        diversity(samples, &self.references)
    }

    fn sources(&self) -> Option<&Tensor> {
        Some(&self.sources)
    }

    fn pair(&self) -> &Pair {
        &self.pair
    }

    fn pair_mut(&mut self) -> &mut Pair {
        &mut self.pair
    }
}

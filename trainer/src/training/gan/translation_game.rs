//! Image against image: Pix2Pix (Isola et al. 2017, arXiv 1611.07004).

use tch::{Kind, Reduction, Tensor};

use super::diff_augment::{self, Change};
use super::error::GanError;
use super::game::{DISCRIMINATOR, DISTANCE, Figures, GENERATED_SCORE, GENERATOR, Game, REAL_SCORE, Rates, Round};
use super::losses::AdversarialLoss;
use super::pair::Pair;
use crate::autograd::{Mode, Modes};
use crate::training::batches::images_tensor;

/// The rules of the game.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslationRules {
    /// The adversarial loss.
    pub loss: AdversarialLoss,
    /// Weight of the pixel-wise distance.
    pub l1: f64,
    /// Taken from the target of real images.
    pub label_smoothing: f64,
    /// Changes before pairs are judged.
    pub changes: Vec<Change>,
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

    /// Source and image are changed as one: they must stay a pair.
    fn judge(&self, source: &Tensor, image: &Tensor) -> Result<Tensor, GanError> {
        if self.rules.changes.is_empty() {
            return self
                .pair
                .discriminator
                .run(&[source.shallow_clone(), image.shallow_clone()]);
        }
        let channels = source.size()[1];
        let pair = Tensor::f_cat(&[source, image], 1)?;
        let changed = diff_augment::apply(&pair, &self.rules.changes)?;
        let part = |from: i64| changed.f_narrow(1, from, channels);
        self.pair.discriminator.run(&[part(0)?, part(channels)?])
    }

    fn discriminator_step(
        &mut self,
        source: &Tensor,
        image: &Tensor,
        made: &Tensor,
        rate: f64,
    ) -> Result<Figures, GanError> {
        self.pair.discriminator.begin_step()?;
        let of_made = self.judge(source, &made.detach())?;
        let of_real = self.judge(source, image)?;
        let loss = self
            .rules
            .loss
            .discriminator(&of_real, &of_made, self.rules.label_smoothing)?;
        // Half as fast as the generator (section 3.3 of the paper).
        loss.f_mul_scalar(0.5)?.f_backward()?;
        let figures = vec![
            (DISCRIMINATOR, f64::try_from(&loss)?),
            (REAL_SCORE, f64::try_from(of_real.f_mean(Kind::Float)?)?),
            (GENERATED_SCORE, f64::try_from(of_made.f_mean(Kind::Float)?)?),
        ];
        self.pair.discriminator.end_step(rate)?;
        Ok(figures)
    }

    fn generator_step(
        &mut self,
        source: &Tensor,
        image: &Tensor,
        made: &Tensor,
        rate: f64,
    ) -> Result<[f64; 2], GanError> {
        self.pair.generator.begin_step()?;
        self.pair.discriminator.set_learning(false);
        let scores = self.judge(source, made);
        let losses = scores.and_then(|scores| {
            let adversarial = self.rules.loss.generator(&scores)?;
            let distance = made.f_l1_loss(image, Reduction::Mean)?;
            adversarial
                .f_add(&distance.f_mul_scalar(self.rules.l1)?)?
                .f_backward()?;
            Ok([adversarial, distance])
        });
        self.pair.discriminator.set_learning(true);
        let [adversarial, distance] = losses?;
        let values = [f64::try_from(&adversarial)?, f64::try_from(&distance)?];
        self.pair.generator.end_step(rate)?;
        Ok(values)
    }
}

impl Game for TranslationGame {
    fn step(&mut self, round: &Round, step: u64, rates: Rates) -> Result<Figures, GanError> {
        let device = self.pair.generator.network.device;
        let order = self.pair.discriminator.order();
        let placed = |tensor: Tensor| order.apply(&tensor.f_to_device(device)?);
        let image = placed(images_tensor(&round.images)?)?;
        let source = match &round.sources {
            Some(sources) => placed(images_tensor(sources)?)?,
            None => image.shallow_clone(),
        };
        let made = self.pair.generator.run(&[source.shallow_clone()])?;
        let mut figures = self.discriminator_step(&source, &image, &made, rates.discriminator)?;
        let [adversarial, distance] = self.generator_step(&source, &image, &made, rates.generator)?;
        figures.extend([(GENERATOR, adversarial), (DISTANCE, distance)]);
        self.pair.follow(step)?;
        Ok(figures)
    }

    fn samples(&self) -> Result<Tensor, GanError> {
        tch::no_grad(|| {
            let (interpreter, modes) = (&self.pair.generator.network.interpreter, Modes::all(Mode::Eval));
            let inputs = [self.sources.shallow_clone()];
            let values = interpreter.run(&inputs, self.pair.source(), &modes, &[])?;
            Ok(values.first().f_to_kind(Kind::Float)?)
        })
    }

    /// Instances are normalised by themselves: there is nothing to measure.
    fn settle(&self) -> Result<(), GanError> {
        Ok(())
    }

    fn references(&self) -> &Tensor {
        &self.references
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

//! There and back again: CycleGAN (Zhu et al. 2017, arXiv 1703.10593), which needs no pairs.
//!
//! One generator translates, another one translates back, and what comes back must be what went. Without a partner to be
//! near to, an image keeps what is its own, where Pix2Pix on partners drawn at random blurs it away. The authors' pool of
//! earlier images is left out: it would have to be saved with every checkpoint.

use indexmap::IndexMap;
use tch::{Reduction, TchError, Tensor};

use super::error::GanError;
use super::game::{CYCLE, DISCRIMINATOR, DISCRIMINATOR_BACK, Figures, GENERATOR, GENERATOR_BACK, Game, Rates, Round};
use super::health::diversity;
use super::pair::Pair;
use super::player::{Player, under};
use super::turn::{self, Judgement};

/// Prefix of the way back among the saved tensors.
const BACK: &str = "back/";

/// The rules of the game.
#[derive(Debug, Clone, PartialEq)]
pub struct CycleRules {
    /// How images are judged, each by itself.
    pub judgement: Judgement,
    /// Weight of the pixel-wise distance to what comes back.
    pub cycle: f64,
    /// Weight, relative to `cycle`, of the distance to what a generator makes of an image that already is what it is to
    /// become; 0 for none (section 5.2 of the paper).
    pub identity: f64,
}

impl CycleRules {
    fn judge(&self, discriminator: &Player, image: &Tensor) -> Result<Tensor, GanError> {
        discriminator.run(&[self.judgement.changed(image)?])
    }

    /// A turn of one of the discriminators, which learns half as fast as the generators (appendix 7.1).
    fn discriminate(
        &self,
        discriminator: &mut Player,
        real: &Tensor,
        made: &Tensor,
        rate: f64,
    ) -> Result<Figures, GanError> {
        self.judgement.discriminator(
            discriminator,
            [0.5, rate],
            |player| Ok([self.judge(player, real)?, self.judge(player, &made.detach())?]),
            |_| Ok(()),
        )
    }

    fn distance(&self, made: &Made) -> Result<Tensor, TchError> {
        let cycle = made.cycle.f_mul_scalar(self.cycle)?;
        match &made.identity {
            Some(identity) => cycle.f_add(&identity.f_mul_scalar(self.cycle * self.identity)?),
            None => Ok(cycle),
        }
    }
}

/// A generator in each direction, and the discriminator of what each makes.
#[derive(Debug)]
pub struct CycleGame {
    there: Pair,
    back: Pair,
    rules: CycleRules,
    sources: Tensor,
    references: Tensor,
}

/// What the generators make of a round.
struct Made {
    /// Of the source, and of the image on the way back.
    images: [Tensor; 2],
    /// Mean distance of source and image to what comes back of them, added.
    cycle: Tensor,
    /// The same for what already is what it is to become.
    identity: Option<Tensor>,
}

impl CycleGame {
    /// A game whose sheets show these sources translated, compared with these real images; both `[n,C,H,W]`.
    #[must_use]
    pub fn new([there, back]: [Pair; 2], rules: CycleRules, sources: Tensor, references: Tensor) -> Self {
        Self {
            there,
            back,
            rules,
            sources,
            references,
        }
    }

    fn make(&self, source: &Tensor, image: &Tensor) -> Result<Made, GanError> {
        let run = |pair: &Pair, x: &Tensor| pair.generator.run(&[x.shallow_clone()]);
        let apart = |x: &Tensor, y: &Tensor| x.f_l1_loss(y, Reduction::Mean);
        let (there, back) = (run(&self.there, source)?, run(&self.back, image)?);
        let returned = [run(&self.back, &there)?, run(&self.there, &back)?];
        let cycle = apart(&returned[0], source)?.f_add(&apart(&returned[1], image)?)?;
        let identity = match self.rules.identity > 0.0 {
            true => {
                let same = [run(&self.there, image)?, run(&self.back, source)?];
                Some(apart(&same[0], image)?.f_add(&apart(&same[1], source)?)?)
            }
            false => None,
        };
        Ok(Made {
            images: [there, back],
            cycle,
            identity,
        })
    }

    fn generator_turn(&mut self, made: &Made, rate: f64) -> Result<[f64; 3], GanError> {
        let (rules, judges) = (&self.rules, [&self.there.discriminator, &self.back.discriminator]);
        let generators = &mut [&mut self.there.generator, &mut self.back.generator];
        turn::generators(generators, &judges, rate, || {
            let adversarial = |way: usize| -> Result<Tensor, GanError> {
                let scores = rules.judge(judges[way], &made.images[way])?;
                Ok(rules.judgement.loss.generator(&scores)?)
            };
            let (there, back) = (adversarial(0)?, adversarial(1)?);
            let loss = there.f_add(&back)?.f_add(&rules.distance(made)?)?;
            Ok((loss, [there, back, made.cycle.shallow_clone()]))
        })
    }
}

impl Game for CycleGame {
    fn step(&mut self, round: &Round, step: u64, rates: Rates) -> Result<Figures, GanError> {
        let [source, image] = round.placed(&self.there)?;
        let made = self.make(&source, &image)?;
        let (rules, rate) = (&self.rules, rates.discriminator);
        let mut figures = rules.discriminate(&mut self.there.discriminator, &image, &made.images[0], rate)?;
        let back = rules.discriminate(&mut self.back.discriminator, &source, &made.images[1], rate)?;
        let of_back = back.iter().filter(|(name, _)| *name == DISCRIMINATOR);
        figures.extend(of_back.map(|(_, loss)| (DISCRIMINATOR_BACK, *loss)));
        let [there, back, cycle] = self.generator_turn(&made, rates.generator)?;
        figures.extend([(GENERATOR, there), (GENERATOR_BACK, back), (CYCLE, cycle)]);
        self.there.follow(step)?;
        self.back.follow(step)?;
        Ok(figures)
    }

    fn samples(&self) -> Result<Tensor, GanError> {
        self.there.use_generator(&[self.sources.shallow_clone()])
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
        &self.there
    }

    fn pair_mut(&mut self) -> &mut Pair {
        &mut self.there
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let back = self.back.tensors().into_iter();
        let mut tensors = self.there.tensors();
        tensors.extend(back.map(|(name, tensor)| (format!("{BACK}{name}"), tensor)));
        tensors
    }

    fn restore(&mut self, saved: &IndexMap<String, Tensor>) -> Result<(), GanError> {
        self.there.restore(saved)?;
        self.back.restore(&under(saved, BACK)).map_err(|error| match error {
            GanError::State { name } => GanError::State {
                name: format!("{BACK}{name}"),
            },
            other => other,
        })
    }
}

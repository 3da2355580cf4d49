//! The loop of a generative training: steps, looks at its health, sheets, checkpoints, and the way back from a collapse.

use std::time::Instant;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Tensor;

use super::error::GanError;
use super::game::{DISCRIMINATOR, Figures, GENERATOR, Game, Rates, Round};
use super::health::{Health, Verdict, not_finite};
use super::history::History;
use super::rounds::RoundSource;
use crate::autograd::parameters::array_of;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::recipes::GanTrainSection;
use crate::report::sheet;
use crate::seed;
use crate::training::checkpoint;
use crate::training::optimizer::OptimizerError;
use crate::training::run::RunFolder;

/// Columns of a sheet of samples.
const COLUMNS: usize = 8;

/// Where a training stands, apart from its tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// How often it went back to an earlier checkpoint; each halves the rates.
    pub back_offs: u32,
    /// Whether all steps are done.
    pub finished: bool,
}

/// How training ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was stopped from outside; the state is saved then.
    pub interrupted: bool,
    /// Where it stands.
    pub state: State,
}

/// What makes a training go back.
enum Trouble {
    NotFinite { what: String, value: f64 },
    Collapse { ratio: f64 },
}

/// A training under way.
pub struct Training<'a> {
    section: &'a GanTrainSection,
    run: &'a RunFolder,
    game: Box<dyn Game>,
    history: History,
    health: Health,
    state: State,
    progress: &'a dyn Progress,
}

impl<'a> Training<'a> {
    /// A fresh training, or with `resume` the run's from its last checkpoint.
    ///
    /// # Errors
    /// [`GanError`].
    pub fn begin(
        section: &'a GanTrainSection,
        run: &'a RunFolder,
        mut game: Box<dyn Game>,
        resume: bool,
        progress: &'a dyn Progress,
    ) -> Result<Self, GanError> {
        let state = match resume {
            true => {
                let (tensors, state): (IndexMap<String, Tensor>, State) = checkpoint::load(&run.last_checkpoint())?;
                game.restore(&tensors)?;
                state
            }
            false => State::default(),
        };
        Ok(Self {
            section,
            run,
            history: History::open(run, state.step)?,
            game,
            health: Health::default(),
            state,
            progress,
        })
    }

    /// Trains until the steps are done or `interrupt` is raised.
    ///
    /// # Errors
    /// [`GanError`]; the last checkpoint stays.
    pub fn run(mut self, source: &dyn RoundSource, interrupt: &Interrupt) -> Result<Outcome, GanError> {
        if self.state.step == 0 {
            // There is always something to go back to.
            self.game.settle()?;
            self.save()?;
        }
        while !self.state.finished {
            self.progress.begin("training", self.section.steps, "step");
            self.progress.skip(self.state.step);
            match self.steps(source, interrupt)? {
                None if !self.state.finished => return self.interrupted(),
                None => {}
                Some(trouble) => self.go_back(trouble)?,
            }
        }
        self.progress.end();
        self.history.plot()?;
        Ok(Outcome {
            interrupted: false,
            state: self.state,
        })
    }

    /// Steps until all are done, it is interrupted, or something is wrong.
    fn steps(&mut self, source: &dyn RoundSource, interrupt: &Interrupt) -> Result<Option<Trouble>, GanError> {
        for round in source.rounds(self.state.step) {
            let begun = Instant::now();
            let figures = match self.one_step(&round?)? {
                Ok(figures) => figures,
                Err(trouble) => return Ok(Some(trouble)),
            };
            self.state.step += 1;
            let step = self.state.step;
            self.state.finished = step >= self.section.steps;
            if !figures.is_empty() {
                self.history.add(step, &figures)?;
                self.progress.advance(1, &in_words(&figures, begun));
            }
            let due = |every: u64| step.is_multiple_of(every) || self.state.finished;
            let (look, keep) = (due(self.section.sample_every), due(self.section.checkpoint_every));
            if look || keep {
                self.game.settle()?;
            }
            if look && let Some(trouble) = self.look()? {
                return Ok(Some(trouble));
            }
            if keep {
                self.save()?;
            }
            if self.state.finished || interrupt.is_raised() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// No figures for a round without images.
    fn one_step(&mut self, round: &Round) -> Result<Result<Figures, Trouble>, GanError> {
        if round.labels.is_empty() {
            return Ok(Ok(Figures::new()));
        }
        seed::seed_step(self.section.seed, self.state.step);
        // The rates say how often training went back, and so does what is drawn.
        let slower = 0.5_f64.powi(self.state.back_offs as i32);
        let rates = Rates {
            generator: self.section.generator_rate * slower,
            discriminator: self.section.discriminator_rate * slower,
        };
        let figures = match self.game.step(round, self.state.step, rates) {
            Ok(figures) => figures,
            Err(GanError::Optimizer(OptimizerError::NotFinite { norm })) => {
                let what = "the norm of the gradient".to_owned();
                return Ok(Err(Trouble::NotFinite { what, value: norm }));
            }
            Err(error) => return Err(error),
        };
        Ok(match not_finite(&figures) {
            Some((what, value)) => Err(Trouble::NotFinite {
                what: format!("the figure `{what}`"),
                value,
            }),
            None => Ok(figures),
        })
    }

    /// Draws a sheet and judges it.
    fn look(&mut self) -> Result<Option<Trouble>, GanError> {
        let samples = self.game.samples()?;
        self.write_sheet(&samples)?;
        self.history.plot()?;
        let ratio = self.game.diversity(&samples)?;
        Ok(match self.health.look(ratio, self.state.step, self.section.steps) {
            Verdict::Well => None,
            Verdict::Collapsed { ratio } => Some(Trouble::Collapse { ratio }),
        })
    }

    /// Samples, or each source above its translation.
    fn write_sheet(&mut self, samples: &Tensor) -> Result<(), GanError> {
        let step = self.state.step;
        let shown = match self.game.sources() {
            None => samples.shallow_clone(),
            Some(sources) => {
                let mut rows = Vec::new();
                for from in (0..samples.size()[0]).step_by(COLUMNS) {
                    let count = (samples.size()[0] - from).min(COLUMNS as i64);
                    rows.push(sources.f_narrow(0, from, count)?);
                    rows.push(samples.f_narrow(0, from, count)?);
                }
                Tensor::f_cat(&rows, 0)?
            }
        };
        let array = array_of(&shown)?;
        let array = array
            .into_dimensionality::<ndarray::Ix4>()
            .map_err(|error| tch::TchError::Shape(error.to_string()))?;
        let path = self.run.samples().join(format!("{step:07}.png"));
        let drawn = sheet::write(&path, array.view(), COLUMNS)?;
        self.history.add_sheet(&drawn, step);
        self.progress.record("samples", &json!({ "step": step, "path": path }));
        Ok(())
    }

    /// The whole state, and both networks as they are used: the game is settled.
    fn save(&self) -> Result<(), GanError> {
        let pair = self.game.pair();
        checkpoint::save(&self.run.last_checkpoint(), self.game.tensors(), &self.state)?;
        let named = |tensors: IndexMap<String, Tensor>| tensors.into_iter().collect();
        checkpoint::save_tensors(&self.run.generator(), named(pair.generator_in_use()?))?;
        Ok(checkpoint::save_tensors(
            &self.run.discriminator(),
            named(pair.discriminator.in_use()?),
        )?)
    }

    fn interrupted(self) -> Result<Outcome, GanError> {
        self.game.settle()?;
        self.save()?;
        self.progress.line(&format!(
            "interrupted after step {}; the state is saved, --resume goes on from it",
            self.state.step
        ));
        Ok(Outcome {
            interrupted: true,
            state: self.state,
        })
    }

    /// Back to the last checkpoint with half the rates; or the end, if that was done often enough.
    fn go_back(&mut self, trouble: Trouble) -> Result<(), GanError> {
        let (at, back_offs) = (self.state.step, self.state.back_offs);
        if back_offs >= self.section.back_offs {
            return Err(match trouble {
                Trouble::NotFinite { what, value } => GanError::Diverged {
                    step: at,
                    what,
                    value,
                    back_offs,
                },
                Trouble::Collapse { ratio } => GanError::Collapsed {
                    step: at,
                    ratio,
                    back_offs,
                },
            });
        }
        let (tensors, state): (IndexMap<String, Tensor>, State) = checkpoint::load(&self.run.last_checkpoint())?;
        self.game.restore(&tensors)?;
        self.state = State {
            back_offs: back_offs + 1,
            finished: false,
            ..state
        };
        self.history.go_back(self.state.step)?;
        self.health = Health::default();
        let why = match trouble {
            Trouble::NotFinite { what, value } => format!("{what} is {value}"),
            Trouble::Collapse { ratio } => format!("the images differ {ratio:.2} times as much as real ones"),
        };
        self.progress.line(&format!(
            "step {at}: {why}; back to step {} with half the rates ({} of {})",
            self.state.step, self.state.back_offs, self.section.back_offs
        ));
        Ok(())
    }
}

fn in_words(figures: &Figures, begun: Instant) -> String {
    let figure = |name: &str| {
        figures
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0.0, |(_, value)| *value)
    };
    format!(
        "D {:.3}  G {:.3}  {:.0} ms",
        figure(DISCRIMINATOR),
        figure(GENERATOR),
        begun.elapsed().as_secs_f64() * 1e3
    )
}

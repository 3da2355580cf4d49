//! Power cuts at every operation of a life that is lived on a simulated folder.

use super::fate::Random;
use super::{Moment, Simulated};
use crate::slots::SlotError;

/// Something that is lived on a [`Simulated`] folder: after each power cut it goes on from what the folder holds and from
/// what whoever uses it remembers.
pub trait Life {
    /// The folder.
    fn disk(&self) -> &Simulated;

    /// A second life with the same past, on a medium of its own with the same future.
    #[must_use]
    fn fork(&self) -> Self;

    /// One time from power on to power off, or to the end of all that is wanted, with everything looked at that must hold.
    /// Whatever this fails with while the power is off counts as [`Stop::Power`].
    ///
    /// # Errors
    /// [`Stop`].
    fn live(&mut self) -> Result<(), Stop>;
}

/// Why a life does not go on.
#[derive(Debug)]
pub enum Stop {
    /// The power went off.
    Power,
    /// Something is wrong.
    Wrong(String),
}

impl From<SlotError> for Stop {
    fn from(error: SlotError) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// What was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lives.
    pub cases: u64,
    /// Power cuts in all of them.
    pub cuts: u64,
}

/// The cuts behind the first: number of operations from the power's return, and when.
pub type Cuts = Vec<(u64, Moment)>;

/// Cuts the power at every operation of a life, before and within it; `rest` gives, for the number of that operation, the
/// seeds of what the cut does and the cuts that follow it.
///
/// # Errors
/// What is wrong, and after which cuts.
pub fn every_first_cut<L: Life>(whole: &L, rest: &dyn Fn(u64) -> Vec<(u64, Cuts)>) -> Result<Tally, String> {
    let first = whole.disk().operations();
    let mut uncut = whole.fork();
    live_through(&mut uncut, &[])?;
    let mut tally = Tally::default();
    for operation in 0..uncut.disk().operations() - first {
        for moment in [Moment::Before, Moment::Within] {
            let mut life = whole.fork();
            life.disk().cut_at(first + operation, moment);
            match live(&mut life) {
                Err(Stop::Power) => {}
                Err(Stop::Wrong(why)) => return Err(why),
                Ok(()) => return Err(format!("operation {operation} never came")),
            }
            for (seed, cuts) in rest(operation) {
                let mut life = life.fork();
                life.disk().reseed(seed);
                life.disk().restart();
                let place = || format!("{moment:?} operation {operation}, seed {seed:#x}, then {cuts:?}");
                let more = live_through(&mut life, &cuts).map_err(|why| format!("{}: {why}", place()))?;
                tally.cases += 1;
                tally.cuts += 1 + more;
            }
        }
    }
    Ok(tally)
}

/// For each first cut: each number of further cuts up to four, `seeds` times each, wherever the seed says.
#[must_use]
pub fn up_to_five(operation: u64, seeds: u64) -> Vec<(u64, Cuts)> {
    let case = |n: u64| {
        let seed = (operation << 20) + n;
        let mut random = Random::new(seed);
        let mut cut = |_| {
            // A start has some dozens of operations; what it does after a cut matters most.
            let reach = [4, 30, 30, 200][random.below(4)];
            let moment = [Moment::Before, Moment::Within][random.below(2)];
            (random.below(reach) as u64, moment)
        };
        (seed, (0..n % 5).map(&mut cut).collect())
    };
    (0..5 * seeds).map(case).collect()
}

fn live(life: &mut impl Life) -> Result<(), Stop> {
    let done = life.live();
    if life.disk().has_power() {
        done
    } else {
        Err(Stop::Power)
    }
}

/// Lives with cuts, then without. Gives the number of cuts that happened.
fn live_through(life: &mut impl Life, cuts: &[(u64, Moment)]) -> Result<u64, String> {
    let mut happened = 0;
    for &(after, moment) in cuts {
        life.disk().cut_at(life.disk().operations() + after, moment);
        match live(life) {
            Ok(()) => break,
            Err(Stop::Power) => happened += 1,
            Err(Stop::Wrong(why)) => return Err(format!("after {happened} more cuts: {why}")),
        }
        life.disk().restart();
    }
    life.disk().restart();
    match live(life) {
        Ok(()) => Ok(happened),
        Err(Stop::Power) => Err("the power is off".to_owned()),
        Err(Stop::Wrong(why)) => Err(format!("after {happened} more cuts and none to come: {why}")),
    }
}

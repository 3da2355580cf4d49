//! How far a thread is that the appliance cannot do without, so that one that hangs is told from one that works long.
//!
//! The thread says what it begins ([`Pulse::at`]); whoever keeps the watchdog counts how long nothing new was said
//! ([`Watch::look`]). Every step has a limit far above what the slowest machine takes for it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One look counts for so much at most: a machine that was stopped, or too busy to look, has not waited.
const LOOK: Duration = Duration::from_secs(1);

/// What a thread is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// A step of an image: reading, checking, the model once it has run; the store. Milliseconds to seconds.
    Step,
    /// A model is loaded, or runs for the first time: some providers compile it then, which takes minutes.
    Loading,
    /// Old cases are deleted, thousands perhaps.
    Tidying,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Step => "a step of an image or of the store",
            Self::Loading => "a model is loaded or runs for the first time",
            Self::Tidying => "old cases are deleted",
        })
    }
}

/// How long each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// [`Doing::Step`].
    pub step: Duration,
    /// [`Doing::Loading`] and [`Doing::Tidying`].
    pub long: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(10 * 60),
            long: Duration::from_secs(60 * 60),
        }
    }
}

impl Patience {
    fn with(&self, doing: Doing) -> Duration {
        match doing {
            Doing::Step => self.step,
            Doing::Loading | Doing::Tidying => self.long,
        }
    }
}

/// What a thread says of itself.
#[derive(Debug)]
pub struct Pulse(Mutex<(u64, Doing)>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Mutex::new((0, Doing::Step)))
    }
}

impl Pulse {
    /// The thread begins something.
    pub fn at(&self, doing: Doing) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *said = (said.0.wrapping_add(1), doing);
    }

    fn said(&self) -> (u64, Doing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// What it was at.
    pub doing: Doing,
    /// How long nothing came of it, at least.
    pub waited: Duration,
}

/// Whoever looks at a pulse.
#[derive(Debug)]
pub struct Watch {
    patience: Patience,
    said: Option<u64>,
    waited: Duration,
    looked: Instant,
}

impl Watch {
    /// From now on.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            said: None,
            waited: Duration::ZERO,
            looked: Instant::now(),
        }
    }

    /// Looks, which is to be done several times a second.
    ///
    /// # Errors
    /// [`Stuck`] if the thread has said nothing new for longer than what it is at can take.
    pub fn look(&mut self, pulse: &Pulse) -> Result<(), Stuck> {
        let now = Instant::now();
        let since = now.duration_since(self.looked);
        self.looked = now;
        self.count(pulse, since)
    }

    fn count(&mut self, pulse: &Pulse, since: Duration) -> Result<(), Stuck> {
        let (said, doing) = pulse.said();
        if self.said.replace(said) != Some(said) {
            self.waited = Duration::ZERO;
        } else {
            self.waited += since.min(LOOK);
        }
        let waited = self.waited;
        if waited > self.patience.with(doing) {
            return Err(Stuck { doing, waited });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(500);

    /// Looks for a while; gives after how long the thread was held to be stuck.
    fn stuck_after(watch: &mut Watch, pulse: &Pulse, turns: u32) -> Option<Duration> {
        (0..turns).find_map(|_| watch.count(pulse, TURN).err().map(|stuck| stuck.waited))
    }

    #[test]
    fn a_thread_that_says_something_now_and_then_is_never_stuck() {
        let (pulse, mut watch) = (Pulse::default(), Watch::new(Patience::default()));
        for _ in 0..50 {
            pulse.at(Doing::Step);
            assert_eq!(stuck_after(&mut watch, &pulse, 1_200), None, "ten minutes each");
        }
        assert!(stuck_after(&mut watch, &pulse, 2).is_some());
    }

    #[test]
    fn loading_may_take_longer_than_a_step() {
        let (pulse, mut watch) = (Pulse::default(), Watch::new(Patience::default()));
        pulse.at(Doing::Loading);
        assert_eq!(stuck_after(&mut watch, &pulse, 7_200), None);
        assert!(stuck_after(&mut watch, &pulse, 10).is_some());
    }

    #[test]
    fn a_machine_that_slept_has_not_waited() {
        let (pulse, mut watch) = (Pulse::default(), Watch::new(Patience::default()));
        for _ in 0..100 {
            assert_eq!(watch.count(&pulse, Duration::from_secs(3_600)), Ok(()));
        }
    }
}

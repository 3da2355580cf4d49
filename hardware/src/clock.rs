//! A clock for an appliance without a network: set over the serial line, and never before a time that it once showed.
//!
//! It does not touch the system's clock. On a start it goes on from the system's clock (with the difference that was
//! known when the clock was set), or, where that is not plausible because no battery kept it, from the last time seen.
//! While the service runs it follows the machine's steady clock, so nothing that steps the system's clock moves it.
//!
//! The file holds a time that is not shown before a later one stands in the file, so a power cut cannot bring the clock
//! back, not even by a second.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::slots::kept::{Found, Kept};
use crate::slots::storage::Storage;

/// Name of the file, without the number of its copy.
const NAME: &str = "clock";
/// How far the time in the file runs ahead: the time between two writes, and how long the clock may stand after a cut.
const AHEAD: Duration = Duration::from_secs(60);
/// A laptop's clock may be behind by so much: the clock is set and stands until it reaches what it showed before.
const MAX_BEHIND: Duration = Duration::from_secs(5 * 60);
/// A year that was mistyped is refused, because there is no way back.
const MAX_FORWARD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A system clock that was wrong by more when the clock was set had not been kept by a battery.
const MAX_DIFFERENCE: Duration = Duration::from_secs(24 * 3600);

/// Why the clock was not set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// It would go back.
    #[error("the time is {} s before the last one seen here; check the laptop's clock and time zone", .by.as_secs())]
    Behind {
        /// By how much.
        by: Duration,
    },
    /// It would jump too far.
    #[error(
        "the time is {} days after the last one seen here, which must be a mistake: the clock cannot be set back later",
        .by.as_secs() / 86400
    )]
    Forward {
        /// By how much.
        by: Duration,
    },
    /// It is set, but would not be after a power cut.
    #[error("the clock cannot be written down: {0}")]
    Storage(#[from] io::Error),
}

/// Where the time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was set since the start.
    Set,
    /// The system's clock at the start.
    System,
    /// The last time seen before the start: the time that the machine was off is missing.
    LastSeen,
}

/// The machine's clocks.
pub trait Machine: Send + Sync {
    /// Time since 1970-01-01T00:00:00 UTC as the system has it, whether that is right or not.
    fn system(&self) -> Duration;

    /// Time since some moment, which nobody can set.
    fn steady(&self) -> Duration;
}

/// This machine's.
#[derive(Debug)]
pub struct ThisMachine {
    start: Instant,
}

impl Default for ThisMachine {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Machine for ThisMachine {
    fn system(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

/// What the file holds, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Written {
    /// No later time was shown.
    bound: u64,
    /// The time minus the system's clock when the clock was set; nothing if the system's clock is not to be believed.
    difference: Option<i64>,
}

struct State {
    kept: Kept,
    written: Written,
    /// The time when the steady clock showed `at`.
    base: Duration,
    at: Duration,
    /// The latest time that was shown or must not be fallen below.
    floor: Duration,
    origin: Origin,
}

/// The clock.
pub struct Clock {
    machine: Box<dyn Machine>,
    state: Mutex<State>,
}

impl Clock {
    /// The clock that is kept in a folder, as the files `clock.0` and `clock.1`. It shows no time before `not_before`,
    /// such as the day when the program was released.
    #[must_use]
    pub fn open(storage: Arc<dyn Storage>, not_before: Duration) -> Self {
        Self::open_on(Box::new(ThisMachine::default()), storage, not_before)
    }

    /// As [`open`](Self::open), on another machine's clocks.
    #[must_use]
    pub fn open_on(machine: Box<dyn Machine>, storage: Arc<dyn Storage>, not_before: Duration) -> Self {
        let (kept, found) = Kept::open(storage, NAME);
        let written = match found {
            Found::Body(body) => serde_json::from_slice(&body).ok(),
            Found::Nothing | Found::Damaged => None,
        };
        let written = written.unwrap_or(Written {
            bound: 0,
            difference: Some(0),
        });
        let floor = Duration::from_millis(written.bound).max(not_before);
        let system = written.difference.and_then(|d| shifted(machine.system(), d));
        // A system clock far in the future is as wrong as one in 1970, and could not be undone.
        let plausible = |time: &Duration| *time + AHEAD >= floor && *time <= floor + MAX_FORWARD;
        let (base, origin) = match system.filter(plausible) {
            Some(time) => (time, Origin::System),
            None => (floor, Origin::LastSeen),
        };
        let state = State {
            kept,
            // Nothing that the file does not hold may be shown.
            written: Written { bound: 0, ..written },
            base,
            at: machine.steady(),
            floor,
            origin,
        };
        let state = Mutex::new(state);
        Self { machine, state }
    }

    /// Time since 1970-01-01T00:00:00 UTC. Never before a time that was shown earlier, also before the last power cut.
    ///
    /// Once a minute this writes to the folder; a folder that cannot be written is told by [`keep`](Self::keep).
    #[must_use]
    pub fn now(&self) -> Duration {
        let mut state = self.state();
        let now = state.read(self.machine.steady());
        if millis(now) > state.written.bound {
            // There is a time to show all the same.
            let _ = state.write(now + AHEAD);
        }
        now
    }

    /// Sets the clock. A time up to five minutes before the last one seen lets it stand until that is reached.
    ///
    /// # Errors
    /// [`ClockError`]; only after [`ClockError::Storage`] is it set nevertheless.
    pub fn set(&self, time: Duration) -> Result<(), ClockError> {
        let mut state = self.state();
        let steady = self.machine.steady();
        let now = state.read(steady);
        let behind = now.saturating_sub(time);
        if behind > MAX_BEHIND {
            return Err(ClockError::Behind { by: behind });
        }
        let forward = time.saturating_sub(now);
        if forward > MAX_FORWARD {
            return Err(ClockError::Forward { by: forward });
        }
        let system = self.machine.system();
        let believed = system.abs_diff(time) <= MAX_DIFFERENCE;
        let difference = millis(time) as i64 - millis(system) as i64;
        state.written.difference = believed.then_some(difference);
        (state.base, state.at, state.origin) = (time, steady, Origin::Set);
        let ahead = time.max(now) + AHEAD;
        Ok(state.write(ahead)?)
    }

    /// Writes down exactly the time that it is, for a stop in order: the next start need not wait for anything.
    ///
    /// # Errors
    /// What the storage says.
    pub fn keep(&self) -> io::Result<()> {
        let mut state = self.state();
        let now = state.read(self.machine.steady());
        state.write(now)
    }

    /// Where the time comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.state().origin
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read(&mut self, steady: Duration) -> Duration {
        let time = self.base.saturating_add(steady.saturating_sub(self.at));
        self.floor = self.floor.max(time);
        self.floor
    }

    fn write(&mut self, bound: Duration) -> io::Result<()> {
        let written = Written {
            // Rounded up: no later time was shown.
            bound: millis(bound) + 1,
            ..self.written
        };
        let body = serde_json::to_vec(&written).map_err(io::Error::other)?;
        self.kept.write(&body)?;
        self.written = written;
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    // Years beyond the calendar's end only.
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX / 4)
        .min(u64::MAX / 4)
}

fn shifted(time: Duration, by_millis: i64) -> Option<Duration> {
    let by = Duration::from_millis(by_millis.unsigned_abs());
    if by_millis < 0 {
        time.checked_sub(by)
    } else {
        time.checked_add(by)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::slots::simulated::{Moment, Simulated};

    const RELEASE: Duration = Duration::from_secs(1_767_225_600);

    /// Clocks of a machine, in seconds.
    #[derive(Default)]
    struct Clocks {
        system: AtomicU64,
        steady: AtomicU64,
    }

    impl Machine for Arc<Clocks> {
        fn system(&self) -> Duration {
            Duration::from_secs(self.system.load(Ordering::Relaxed))
        }

        fn steady(&self) -> Duration {
            Duration::from_secs(self.steady.load(Ordering::Relaxed))
        }
    }

    impl Clocks {
        fn at(system: u64) -> Arc<Self> {
            let clocks = Self::default();
            clocks.system.store(system, Ordering::Relaxed);
            Arc::new(clocks)
        }

        fn pass(&self, seconds: u64) {
            self.steady.fetch_add(seconds, Ordering::Relaxed);
            self.system.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    fn after(seconds: u64) -> Duration {
        RELEASE + Duration::from_secs(seconds)
    }

    fn open(disk: &Arc<Simulated>, clocks: &Arc<Clocks>) -> Clock {
        Clock::open_on(Box::new(clocks.clone()), disk.clone(), RELEASE)
    }

    #[test]
    fn without_a_battery_it_goes_on_from_the_last_time_seen() {
        let disk = Arc::new(Simulated::new(1));
        let clocks = Clocks::at(5);
        let clock = open(&disk, &clocks);
        assert_eq!((clock.now(), clock.origin()), (RELEASE, Origin::LastSeen));
        clock.set(after(1000)).unwrap();
        clocks.pass(30);
        assert_eq!((clock.now(), clock.origin()), (after(1030), Origin::Set));
        clock.keep().unwrap();
        // The machine is off for an hour, and its own clock begins anew.
        let clocks = Clocks::at(5);
        let clock = open(&disk, &clocks);
        let now = clock.now();
        assert!(now > after(1030) && now < after(1031), "{now:?}");
        assert_eq!(clock.origin(), Origin::LastSeen);
    }

    #[test]
    fn with_a_battery_it_follows_the_systems_clock_and_keeps_the_difference() {
        let disk = Arc::new(Simulated::new(1));
        let clocks = Clocks::at(after(0).as_secs() + 500);
        let clock = open(&disk, &clocks);
        assert_eq!((clock.now(), clock.origin()), (after(500), Origin::System));
        clock.set(after(700)).unwrap();
        clocks.pass(3600);
        let clock = open(&disk, &clocks);
        assert_eq!((clock.now(), clock.origin()), (after(4300), Origin::System));
        // Steps of the system's clock do not move it.
        clocks.system.store(17, Ordering::Relaxed);
        assert_eq!(clock.now(), after(4300));
    }

    #[test]
    fn a_wrong_system_clock_is_not_believed_again() {
        let disk = Arc::new(Simulated::new(1));
        let clocks = Clocks::at(after(90_000_000).as_secs());
        let clock = open(&disk, &clocks);
        assert_eq!(clock.now(), after(90_000_000));
        // Behind what was shown: that time cannot be had back.
        assert!(matches!(clock.set(after(100)), Err(ClockError::Behind { .. })));
        clock.set(after(180_000_000)).unwrap();
        let clock = open(&disk, &clocks);
        assert_eq!(clock.origin(), Origin::LastSeen);
        let far = Clocks::at(after(0).as_secs() * 3);
        let disk = Arc::new(Simulated::new(1));
        assert_eq!(open(&disk, &far).now(), RELEASE);
    }

    #[test]
    fn a_little_behind_it_stands_and_far_off_it_refuses() {
        let disk = Arc::new(Simulated::new(1));
        let clocks = Clocks::at(0);
        let clock = open(&disk, &clocks);
        clock.set(after(1000)).unwrap();
        clock.set(after(900)).unwrap();
        assert_eq!(clock.now(), after(1000));
        clocks.pass(60);
        assert_eq!(clock.now(), after(1000));
        clocks.pass(60);
        assert_eq!(clock.now(), after(1020));
        assert!(matches!(clock.set(after(700)), Err(ClockError::Behind { .. })));
        assert!(matches!(clock.set(after(400_000_000)), Err(ClockError::Forward { .. })));
        assert!(matches!(clock.set(Duration::MAX), Err(ClockError::Forward { .. })));
        assert_eq!(clock.now(), after(1020));
    }

    #[test]
    fn no_power_cut_brings_it_back() {
        let mut cases = 0;
        for operation in 0..120 {
            for (seed, moment) in (0..8).flat_map(|seed| [(seed, Moment::Before), (seed, Moment::Within)]) {
                let disk = Arc::new(Simulated::new(seed * 1000 + operation));
                disk.cut_at(operation, moment);
                let mut last = Duration::ZERO;
                for _life in 0..3 {
                    let clocks = Clocks::at(7);
                    let clock = open(&disk, &clocks);
                    for step in 0..10 {
                        let now = clock.now();
                        // What a clock shows while the power goes off, nobody sees.
                        if !disk.has_power() {
                            break;
                        }
                        assert!(
                            now >= last,
                            "operation {operation}, seed {seed}: {now:?} after {last:?}"
                        );
                        last = now;
                        if step == 5 {
                            let _ = clock.set(now + Duration::from_secs(100));
                        }
                        clocks.pass(25);
                    }
                    disk.restart();
                }
                cases += 1;
            }
        }
        println!("clock: {cases} cases, none skipped");
    }

    #[test]
    fn a_folder_that_cannot_be_written_still_has_a_time() {
        let disk = Arc::new(Simulated::new(1));
        let clocks = Clocks::at(0);
        let clock = open(&disk, &clocks);
        disk.cut_now();
        clocks.pass(10);
        assert_eq!(clock.now(), after(10));
        assert!(clock.keep().is_err());
        assert!(matches!(clock.set(after(50)), Err(ClockError::Storage(_))));
        assert_eq!(clock.now(), after(50));
    }
}

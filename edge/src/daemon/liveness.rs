//! Tells whoever watches the service that it is ready, alive, at what, and about to end; looks whether it is alive.

use std::time::{Duration, Instant};

use hardware::watchdog::{News, Watchdog};

use super::DaemonError;
use super::pulse::{Patience, Stuck, Watch};
use super::shared::Shared;

/// The watchdog with what it was told.
pub struct Liveness {
    watchdog: Box<dyn Watchdog>,
    /// How often it is told that the service lives.
    every: Option<Duration>,
    alive: Option<Instant>,
    status: String,
    failed: bool,
}

impl Liveness {
    /// Told several times within the interval that the watchdog asks for.
    #[must_use]
    pub fn new(watchdog: Box<dyn Watchdog>) -> Self {
        Self {
            every: watchdog.interval().map(|interval| interval / 4),
            watchdog,
            alive: None,
            status: String::new(),
            failed: false,
        }
    }

    /// The start is over.
    pub fn ready(&mut self) {
        self.tell(News::Ready);
    }

    /// Everything that the service cannot do without lives at this moment, and `status` goes on.
    pub fn alive(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            self.tell(News::Status(status.to_owned()));
        }
        let Some(every) = self.every else { return };
        if self.alive.is_none_or(|told| told.elapsed() >= every) {
            self.alive = Some(Instant::now());
            self.tell(News::Alive);
        }
    }

    /// An orderly end begins, after which nothing runs.
    pub fn stopping(&mut self) {
        self.tell(News::Stopping);
    }

    fn tell(&mut self, news: News) {
        let told = self.watchdog.tell(news);
        // Said once: the next second it is the same.
        if let Err(error) = &told
            && !self.failed
        {
            tracing::warn!("the service manager cannot be told how the service is: {error}");
        }
        self.failed = told.is_err();
    }
}

/// Looks whether the threads get on that the appliance cannot do without.
pub struct Keeper {
    serving: Watch,
    filing: Watch,
}

impl Keeper {
    /// From now on.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            serving: Watch::new(patience),
            filing: Watch::new(patience),
        }
    }

    /// Looks, which is to be done several times a second.
    ///
    /// # Errors
    /// [`DaemonError::Stuck`].
    pub fn look(&mut self, shared: &Shared) -> Result<(), DaemonError> {
        let stuck = |thread, Stuck { doing, waited }: Stuck, case| DaemonError::Stuck {
            thread,
            doing,
            seconds: waited.as_secs(),
            case,
        };
        let case = || shared.work().map(|work| work.case_number);
        let serving = self.serving.look(shared.serving_pulse());
        serving.map_err(|found| stuck("serving", found, case()))?;
        let filing = self.filing.look(shared.filing_pulse());
        filing.map_err(|found| stuck("filing", found, None))
    }
}

#[cfg(test)]
mod tests {
    use hardware::watchdog::SimulatedWatchdog;

    use super::*;

    #[test]
    fn it_is_told_no_more_often_than_it_asks_for_and_each_status_once() {
        let watchdog = SimulatedWatchdog::with_interval(Duration::from_secs(3600));
        let mut liveness = Liveness::new(Box::new(watchdog.clone()));
        liveness.ready();
        for status in ["ready", "ready", "fault"] {
            liveness.alive(status);
        }
        liveness.stopping();
        let status = |text: &str| News::Status(text.to_owned());
        let expected = [
            News::Ready,
            status("ready"),
            News::Alive,
            status("fault"),
            News::Stopping,
        ];
        assert_eq!(watchdog.told(), expected);
    }

    #[test]
    fn nobody_who_does_not_ask_is_told_that_it_lives() {
        let watchdog = SimulatedWatchdog::default();
        let mut liveness = Liveness::new(Box::new(watchdog.clone()));
        liveness.alive("");
        assert_eq!(watchdog.told(), []);
    }
}

//! Whoever starts the program again when it ends or hangs: systemd, or anything that speaks sd_notify(3).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

/// What is told to whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The start is over.
    Ready,
    /// The program still does its work; to be told within the [`interval`](Watchdog::interval).
    Alive,
    /// An orderly end has begun.
    Stopping,
    /// What goes on, in one line, for `systemctl status`.
    Status(String),
}

/// Whoever watches the program.
pub trait Watchdog: Send {
    /// Within which time [`News::Alive`] must come, or the program is ended; absent if nobody waits for it. Tell it at
    /// least twice as often.
    fn interval(&self) -> Option<Duration>;

    /// Tells news.
    ///
    /// # Errors
    /// What the system says; the program does its work nevertheless.
    fn tell(&mut self, news: News) -> io::Result<()>;
}

/// The service manager that started this program; nobody, if none did.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemdWatchdog;

impl Watchdog for SystemdWatchdog {
    fn interval(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }

    fn tell(&mut self, news: News) -> io::Result<()> {
        match news {
            News::Ready => sd_notify::notify(&[NotifyState::Ready]),
            News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            News::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            News::Status(line) => {
                // A line break would begin another message.
                let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                sd_notify::notify(&[NotifyState::Status(&line)])
            }
        }
    }
}

/// A watchdog that a test looks at.
#[derive(Debug, Clone, Default)]
pub struct SimulatedWatchdog {
    /// What it asks for.
    pub interval: Option<Duration>,
    told: Arc<Mutex<Vec<News>>>,
}

impl SimulatedWatchdog {
    /// One that must hear [`News::Alive`] within a time.
    #[must_use]
    pub fn with_interval(interval: Duration) -> Self {
        Self {
            interval: Some(interval),
            ..Self::default()
        }
    }

    /// What it was told since the last call, the oldest first.
    #[must_use]
    pub fn told(&self) -> Vec<News> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watchdog for SimulatedWatchdog {
    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn tell(&mut self, news: News) -> io::Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(news);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// Marks the process that the test below starts: the service of a service manager.
    const SERVICE: &str = "SCANSIDE_TEST_SERVICE";

    #[test]
    fn service() {
        if std::env::var_os(SERVICE).is_none() {
            return;
        }
        let mut watchdog = SystemdWatchdog;
        assert_eq!(watchdog.interval(), Some(Duration::from_secs(20)));
        for news in [
            News::Ready,
            News::Status("7 images\nREADY=0".to_owned()),
            News::Alive,
            News::Stopping,
        ] {
            watchdog.tell(news).expect("told");
        }
    }

    /// The messages of sd_notify(3), as they arrive at the socket of a service manager.
    #[test]
    fn a_service_manager_is_told_in_its_own_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let service = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "watchdog::tests::service"])
            .env(SERVICE, "1")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "20000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .expect("a process");
        assert!(service.status.success(), "{}", String::from_utf8_lossy(&service.stdout));
        socket.set_nonblocking(true).expect("set");
        let next = || {
            let mut message = [0; 256];
            let length = socket.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        assert_eq!(next(), "READY=1\n");
        assert_eq!(next(), "STATUS=7 images READY=0\n");
        assert_eq!(next(), "WATCHDOG=1\n");
        assert_eq!(next(), "STOPPING=1\n");
    }

    #[test]
    fn without_a_service_manager_nobody_is_told() {
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            eprintln!("skipped: a service manager runs this test");
            return;
        }
        assert!(SystemdWatchdog.tell(News::Ready).is_ok());
        assert_eq!(SystemdWatchdog.interval(), None);
    }

    #[test]
    fn a_simulated_watchdog_keeps_what_it_was_told() {
        let watchdog = SimulatedWatchdog::default();
        watchdog.clone().tell(News::Alive).expect("told");
        assert_eq!(watchdog.told(), [News::Alive]);
        assert_eq!(watchdog.told(), []);
    }
}

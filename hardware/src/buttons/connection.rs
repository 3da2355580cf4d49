//! A device that may go away and come back: a keypad that is unplugged, a chip whose driver is loaded anew.

use std::io;
use std::time::{Duration, Instant};

use super::contacts::{Contacts, Edge, Timing, collect};
use super::{ButtonsError, Press, Wired};

/// How often a device that went away is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A source of edges with the contacts behind it.
pub(super) struct Connection<S> {
    source: Option<S>,
    looked: Duration,
    contacts: Contacts,
    start: Instant,
}

impl<S> Connection<S> {
    /// To an open device.
    pub fn new<W>(source: S, buttons: &[Wired<W>], timing: Timing) -> Self {
        Self {
            source: Some(source),
            looked: Duration::ZERO,
            contacts: Contacts::new(buttons.iter().map(|button| button.has_long), timing),
            start: Instant::now(),
        }
    }

    pub fn source(&self) -> Option<&S> {
        self.source.as_ref()
    }

    /// Presses within a time. `find` opens the device again after it went away, `edges` waits for edges.
    pub fn poll(
        &mut self,
        device: &str,
        timeout: Duration,
        find: impl FnOnce() -> Result<S, ButtonsError>,
        mut edges: impl FnMut(&mut S, Duration) -> io::Result<Vec<Edge>>,
    ) -> Result<Vec<Press>, ButtonsError> {
        let start = self.start;
        if self.source.is_none() && start.elapsed().saturating_sub(self.looked) >= LOOK_AGAIN {
            self.looked = start.elapsed();
            self.source = find().ok();
        }
        let Some(source) = &mut self.source else {
            std::thread::sleep(timeout);
            return Ok(Vec::new());
        };
        let collected = collect(
            &mut self.contacts,
            timeout,
            || start.elapsed(),
            |time| edges(source, time),
        );
        collected.map_err(|source| {
            self.source = None;
            self.looked = start.elapsed();
            self.contacts.release();
            ButtonsError::Lost {
                device: device.to_owned(),
                source,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_goes_away_is_told_once_and_not_asked_again_at_once() {
        let button = Wired {
            wire: (),
            has_long: false,
        };
        let mut connection = Connection::new((), &[button], Timing::default());
        let mut asked = 0;
        let mut poll = |connection: &mut Connection<()>| {
            let edges = |(): &mut (), _: Duration| {
                asked += 1;
                Err(io::Error::from_raw_os_error(libc::ENODEV))
            };
            connection.poll("keypad", Duration::ZERO, || Ok(()), edges)
        };
        let error = poll(&mut connection).unwrap_err().to_string();
        assert!(error.contains("keypad") && error.contains("went away"), "{error}");
        assert_eq!(poll(&mut connection).unwrap(), []);
        assert!(connection.source().is_none());
        connection.start -= LOOK_AGAIN;
        assert!(poll(&mut connection).is_err(), "it was opened again");
        assert_eq!(asked, 2);
    }
}

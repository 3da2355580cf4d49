//! A device that may be missing, and go away and come back: a keypad that is unplugged, a chip whose driver is loaded anew.

use std::io;
use std::time::{Duration, Instant};

use super::contacts::{Contacts, Edge, Timing, collect};
use super::{ButtonsError, Press, Wired};

/// How often a device that is not there is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A source of edges with the contacts behind it.
pub(super) struct Connection<S> {
    source: Option<S>,
    looked: Option<Duration>,
    /// Why it could not be opened, as it was told last.
    told: String,
    contacts: Contacts,
    start: Instant,
}

impl<S> Connection<S> {
    /// To a device that the first poll opens.
    pub fn new<W>(buttons: &[Wired<W>], timing: Timing) -> Self {
        Self {
            source: None,
            looked: None,
            told: String::new(),
            contacts: Contacts::new(buttons.iter().map(|button| button.has_long), timing),
            start: Instant::now(),
        }
    }

    pub fn source(&self) -> Option<&S> {
        self.source.as_ref()
    }

    /// Presses within a time. `find` opens the device, at first and after it went away; `edges` waits for edges.
    pub fn poll(
        &mut self,
        device: &str,
        timeout: Duration,
        find: impl FnOnce() -> Result<S, ButtonsError>,
        mut edges: impl FnMut(&mut S, Duration) -> io::Result<Vec<Edge>>,
    ) -> Result<Vec<Press>, ButtonsError> {
        let start = self.start;
        let is_due = |looked| start.elapsed().saturating_sub(looked) >= LOOK_AGAIN;
        if self.source.is_none() && self.looked.is_none_or(is_due) {
            self.looked = Some(start.elapsed());
            match find() {
                Ok(source) => (self.source, self.told) = (Some(source), String::new()),
                // What stays as it is is told once.
                Err(error) if error.to_string() != self.told => {
                    self.told = error.to_string();
                    return Err(error);
                }
                Err(_) => {}
            }
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
            self.looked = Some(start.elapsed());
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
        let mut connection = Connection::new(&[button], Timing::default());
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

    #[test]
    fn a_device_that_is_missing_at_first_is_told_once_and_looked_for() {
        let button = Wired {
            wire: (),
            has_long: false,
        };
        let mut connection = Connection::new(&[button], Timing::default());
        let mut poll = |is_there: bool| {
            let find = || match is_there {
                true => Ok(()),
                false => Err(ButtonsError::NoTerminal("a keypad".to_owned())),
            };
            let presses = connection.poll("keypad", Duration::ZERO, find, |(), _| Ok(Vec::new()));
            connection.start -= LOOK_AGAIN;
            (presses.is_err(), connection.source().is_some())
        };
        let found = [false, false, true, true].map(&mut poll);
        assert_eq!(found, [(true, false), (false, false), (false, true), (false, true)]);
    }
}

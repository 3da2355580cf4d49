//! From bouncing contacts to presses.
//!
//! A change counts at once, and further changes of the same contact within the bounce time do not; at its end the
//! contact's state is looked at again, so nothing is lost. Time is any steady clock that only the caller reads.

use std::time::Duration;

use super::{Length, Press};

/// The times that make a press of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a contact may bounce; mechanical buttons take 1 to 20 ms.
    pub bounce: Duration,
    /// From when on a press is a long one.
    pub long: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            bounce: Duration::from_millis(20),
            long: Duration::from_millis(800),
        }
    }
}

/// A contact went down or came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Index of the button.
    pub button: usize,
    /// Whether it is down now.
    pub down: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Contact {
    has_long: bool,
    /// As last told.
    raw: bool,
    /// As it counts.
    down: bool,
    /// When it last counted as changed.
    changed: Option<Duration>,
    /// Whether the present press was told already.
    told: bool,
}

/// The contacts of a set of buttons.
#[derive(Debug, Clone)]
pub struct Contacts {
    timing: Timing,
    contacts: Vec<Contact>,
}

impl Contacts {
    /// One contact for each entry, which says whether it has a long press; all are up.
    #[must_use]
    pub fn new(has_long: impl IntoIterator<Item = bool>, timing: Timing) -> Self {
        let contact = |has_long| Contact {
            has_long,
            ..Contact::default()
        };
        Self {
            timing,
            contacts: has_long.into_iter().map(contact).collect(),
        }
    }

    /// Takes an edge at time `at`; a button that does not exist is none.
    pub fn edge(&mut self, edge: Edge, at: Duration) -> Option<Press> {
        let contact = self.contacts.get_mut(edge.button)?;
        contact.raw = edge.down;
        self.settle(edge.button, at)
    }

    /// What time alone brings by `now`: contacts that came to rest, and presses that have become long.
    pub fn due(&mut self, now: Duration) -> Vec<Press> {
        let mut presses = Vec::new();
        for button in 0..self.contacts.len() {
            presses.extend(self.settle(button, now));
            let long = self.timing.long;
            let contact = &mut self.contacts[button];
            let held = contact.changed.is_some_and(|since| now >= since + long);
            if contact.down && contact.has_long && !contact.told && held {
                contact.told = true;
                presses.push(Press {
                    button,
                    length: Length::Long,
                });
            }
        }
        presses
    }

    /// When [`due`](Self::due) should be asked again if no edge comes.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let times = self.contacts.iter().filter_map(|contact| {
            let changed = contact.changed?;
            if contact.raw != contact.down {
                return Some(changed + self.timing.bounce);
            }
            let waits = contact.down && contact.has_long && !contact.told;
            waits.then_some(changed + self.timing.long)
        });
        times.min()
    }

    /// The device went away: nothing is held any more, and what was held is no press.
    pub fn release(&mut self) {
        for contact in &mut self.contacts {
            *contact = Contact {
                has_long: contact.has_long,
                ..Contact::default()
            };
        }
    }

    /// Lets a change count unless the contact may still be bouncing.
    fn settle(&mut self, button: usize, now: Duration) -> Option<Press> {
        let bounce = self.timing.bounce;
        let contact = &mut self.contacts[button];
        let bouncing = contact.changed.is_some_and(|since| now < since + bounce);
        if contact.raw == contact.down || bouncing {
            return None;
        }
        contact.down = contact.raw;
        contact.changed = Some(now);
        let short = Press {
            button,
            length: Length::Short,
        };
        match (contact.down, contact.has_long) {
            (true, has_long) => {
                contact.told = !has_long;
                (!has_long).then_some(short)
            }
            (false, _) if !contact.told => {
                contact.told = true;
                Some(short)
            }
            (false, _) => None,
        }
    }
}

/// Waits for presses up to `timeout`: `now` reads the clock, `wait` gives the edges that come within a time.
///
/// # Errors
/// What `wait` says.
pub fn collect<E>(
    contacts: &mut Contacts,
    timeout: Duration,
    now: impl Fn() -> Duration,
    mut wait: impl FnMut(Duration) -> Result<Vec<Edge>, E>,
) -> Result<Vec<Press>, E> {
    let deadline = now() + timeout;
    loop {
        let mut presses = contacts.due(now());
        let until = contacts.next_due().map_or(deadline, |due| due.min(deadline));
        let time = if presses.is_empty() {
            until.saturating_sub(now())
        } else {
            Duration::ZERO
        };
        for edge in wait(time)? {
            presses.extend(contacts.edge(edge, now()));
        }
        if !presses.is_empty() || now() >= deadline {
            return Ok(presses);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const TIMING: Timing = Timing {
        bounce: Duration::from_millis(20),
        long: Duration::from_millis(800),
    };

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Replays edges of button 0 on a clock that stops wherever something is due.
    fn presses(has_long: bool, edges: &[(u64, bool)]) -> Vec<Length> {
        let mut contacts = Contacts::new([has_long], TIMING);
        let mut told = Vec::new();
        for (at, down) in edges {
            while let Some(due) = contacts.next_due().filter(|due| *due <= ms(*at)) {
                told.extend(contacts.due(due));
            }
            let edge = Edge { button: 0, down: *down };
            told.extend(contacts.edge(edge, ms(*at)));
        }
        while let Some(due) = contacts.next_due() {
            told.extend(contacts.due(due));
        }
        told.into_iter().map(|press| press.length).collect()
    }

    #[test]
    fn a_press_is_told_once_however_it_bounces() {
        let clean = [(100, true), (300, false)];
        let bouncing = [
            (100, true),
            (102, false),
            (103, true),
            (300, false),
            (301, true),
            (305, false),
        ];
        for has_long in [false, true] {
            assert_eq!(presses(has_long, &clean), [Length::Short]);
            assert_eq!(presses(has_long, &bouncing), [Length::Short]);
        }
    }

    #[test]
    fn a_press_shorter_than_the_bounce_time_is_still_one() {
        for has_long in [false, true] {
            assert_eq!(presses(has_long, &[(100, true), (105, false)]), [Length::Short]);
        }
    }

    #[test]
    fn a_long_press_is_told_while_it_is_held_and_not_again() {
        assert_eq!(presses(true, &[(0, true), (2_000, false)]), [Length::Long]);
        assert_eq!(presses(true, &[(0, true), (799, false)]), [Length::Short]);
        assert_eq!(presses(false, &[(0, true), (2_000, false)]), [Length::Short]);
        assert_eq!(presses(true, &[(0, true)]), [Length::Long], "nobody let go");
    }

    #[test]
    fn what_was_held_when_the_device_went_away_is_no_press() {
        let mut contacts = Contacts::new([true], TIMING);
        let edge = |down| Edge { button: 0, down };
        assert_eq!(contacts.edge(edge(true), ms(0)), None);
        contacts.release();
        assert_eq!(contacts.due(ms(5_000)), []);
        assert_eq!(contacts.edge(edge(false), ms(5_001)), None);
        assert_eq!(contacts.edge(Edge { button: 9, down: true }, ms(6_000)), None);
    }

    #[test]
    fn collecting_waits_no_longer_than_told_and_wakes_for_a_long_press() {
        let clock = Cell::new(ms(0));
        let mut contacts = Contacts::new([true], TIMING);
        let mut edges = vec![vec![Edge { button: 0, down: true }]];
        let mut asked = Vec::new();
        let mut wait = |time: Duration| {
            asked.push(time);
            if let Some(edges) = edges.pop() {
                return Ok::<_, ()>(edges);
            }
            clock.set(clock.get() + time);
            Ok(Vec::new())
        };
        let told = collect(&mut contacts, ms(3_000), || clock.get(), &mut wait).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].length, Length::Long);
        assert_eq!(clock.get(), ms(800));
        let none = collect(&mut contacts, ms(50), || clock.get(), &mut wait).unwrap();
        assert_eq!((none.len(), clock.get()), (0, ms(850)));
        assert_eq!(asked, [ms(3_000), ms(800), ms(0), ms(50)]);
    }

    proptest! {
        /// Any number of presses with any bouncing at each edge gives exactly those presses, each of its length.
        #[test]
        fn bouncing_changes_nothing(
            pressed in prop::collection::vec((60u64..2_000, 60u64..500, prop::collection::vec(1u64..4, 0..8)), 1..12),
        ) {
            // A long press must not be told from one whose end falls into its last bounce.
            prop_assume!(pressed.iter().all(|(held, ..)| held.abs_diff(800) > 40));
            let (mut at, mut edges) = (0, Vec::new());
            let mut bounce = |at: u64, down: bool, gaps: &[u64]| {
                let mut time = at;
                edges.push((time, down));
                for pair in gaps.chunks_exact(2) {
                    edges.push((time + pair[0], !down));
                    time += pair[0] + pair[1];
                    edges.push((time, down));
                }
            };
            for (held, pause, gaps) in &pressed {
                bounce(at, true, gaps);
                bounce(at + held, false, gaps);
                at += held + pause;
            }
            let expected: Vec<_> = pressed
                .iter()
                .map(|(held, ..)| if *held > 800 { Length::Long } else { Length::Short })
                .collect();
            prop_assert_eq!(presses(true, &edges), expected);
            prop_assert_eq!(presses(false, &edges).len(), pressed.len());
        }
    }
}

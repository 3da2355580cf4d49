//! A queue in memory: the twin of the store's for tests and trials. A restart loses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::OutgoingObject;
use super::queue::{Destination, Entry, Failure, Outbox, QueueError, State, Waiting};
use super::schedule::is_due;

/// The queue.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    /// In the order in which they were added.
    kept: Mutex<Vec<Kept>>,
    /// How often another try was asked for.
    retries: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// Or why they are gone.
    bytes: Result<Vec<u8>, String>,
}

impl MemoryOutbox {
    /// Adds the objects of a case, due at once; those that are known already stay as they are.
    pub fn add(&self, objects: Vec<OutgoingObject>, now: Duration) {
        let mut kept = self.kept();
        for object in objects {
            if kept.iter().all(|known| known.entry.id != object.id) {
                kept.push(Kept {
                    entry: Entry {
                        id: object.id,
                        kind: object.kind,
                        case_id: object.case_id,
                        state: State::Waiting { due: now },
                        attempts: 0,
                        reason: None,
                    },
                    bytes: Ok(object.bytes),
                });
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, id: &str, change: impl FnOnce(&mut Kept) -> T) -> Result<T, QueueError> {
        let mut kept = self.kept();
        let known = kept.iter_mut().find(|known| known.entry.id == id);
        Ok(change(known.ok_or_else(|| format!("{id} is not in the outbox"))?))
    }
}

impl MemoryOutbox {
    /// Makes a parked or waiting object due at once, with no attempts; says whether there was one.
    #[must_use]
    pub fn retry(&self, id: &str, now: Duration) -> bool {
        let retry = |kept: &mut Kept| {
            let waits = !matches!(kept.entry.state, State::Sent { .. });
            if waits {
                kept.entry.state = State::Waiting { due: now };
                kept.entry.attempts = 0;
            }
            waits
        };
        let retried = self.change(id, retry).unwrap_or(false);
        self.retries.fetch_add(u64::from(retried), Ordering::SeqCst);
        retried
    }

    /// From now on the bytes of an object cannot be read, as when a disk has lost them.
    pub fn lose(&self, id: &str) {
        let lost = self.change(id, |kept| kept.bytes = Err("input/output error".to_owned()));
        debug_assert!(lost.is_ok(), "{lost:?}");
    }

    /// Everything that the queue knows, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Entry> {
        self.kept().iter().map(|kept| kept.entry.clone()).collect()
    }
}

impl Outbox for MemoryOutbox {
    fn next_due(&self, destination: Destination, now: Duration, most: usize) -> Result<Vec<Waiting>, QueueError> {
        let kept = self.kept();
        let mut due: Vec<(Duration, Waiting)> = Vec::new();
        for Kept { entry, .. } in kept.iter() {
            match entry.state {
                State::Waiting { due: at } if is_due(at, now) && entry.kind.destination() == destination => {
                    let waiting = Waiting {
                        id: entry.id.clone(),
                        kind: entry.kind,
                        attempts: entry.attempts,
                    };
                    due.push((at, waiting));
                }
                _ => {}
            }
        }
        due.sort_by_key(|(at, _)| *at);
        Ok(due.into_iter().take(most).map(|(_, waiting)| waiting).collect())
    }

    fn retries(&self) -> Result<u64, QueueError> {
        Ok(self.retries.load(Ordering::SeqCst))
    }

    fn bytes(&self, id: &str) -> Result<Vec<u8>, QueueError> {
        Ok(self.change(id, |kept| kept.bytes.clone())??)
    }

    fn sent(&self, id: &str, at: Duration, remark: Option<&str>) -> Result<(), QueueError> {
        self.change(id, |kept| {
            kept.entry.state = State::Sent { at };
            kept.entry.reason = remark.map(str::to_owned);
            kept.bytes = Err(format!("{id} was sent"));
        })
    }

    fn failed(&self, id: &str, failure: Failure<'_>) -> Result<(), QueueError> {
        self.change(id, |kept| {
            kept.entry.state = State::Waiting { due: failure.due };
            kept.entry.attempts = kept.entry.attempts.saturating_add(1);
            kept.entry.reason = Some(failure.reason.to_owned());
        })
    }

    fn parked(&self, id: &str, at: Duration, reason: &str) -> Result<(), QueueError> {
        self.change(id, |kept| {
            kept.entry.state = State::Parked { at };
            kept.entry.reason = Some(reason.to_owned());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Kind;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn object(id: &str, kind: Kind) -> OutgoingObject {
        OutgoingObject {
            id: id.to_owned(),
            kind,
            case_id: "0001".to_owned(),
            bytes: id.as_bytes().to_vec(),
        }
    }

    fn due(outbox: &MemoryOutbox, now: u64) -> Vec<String> {
        let due = outbox.next_due(Destination::Archive, seconds(now), 9).unwrap();
        due.into_iter().map(|waiting| waiting.id).collect()
    }

    #[test]
    fn what_is_longest_due_comes_first_and_nothing_comes_twice() {
        let outbox = MemoryOutbox::default();
        let objects = || {
            vec![
                object("a", Kind::SecondaryCapture),
                object("b", Kind::StructuredReport),
                object("c.json", Kind::Json),
            ]
        };
        outbox.add(objects(), seconds(10));
        outbox.add(objects(), seconds(11));
        assert_eq!(due(&outbox, 10), ["a", "b"]);
        let (at, reason) = (seconds(10), "away");
        let failure = Failure {
            at,
            due: seconds(25),
            reason,
        };
        outbox.failed("a", failure).unwrap();
        assert_eq!(
            (due(&outbox, 24), due(&outbox, 25)),
            (vec!["b".to_owned()], vec!["b".to_owned(), "a".to_owned()])
        );
        outbox.sent("b", at, None).unwrap();
        outbox.parked("a", at, "refused").unwrap();
        assert!(due(&outbox, 99).is_empty() && outbox.bytes("b").is_err());
        outbox.add(objects(), seconds(100));
        assert!(due(&outbox, 100).is_empty(), "it is known already");
        assert!(outbox.retry("a", seconds(100)));
        assert!(!outbox.retry("b", seconds(100)) && !outbox.retry("z", seconds(100)));
        assert_eq!(due(&outbox, 100), ["a"]);
        assert_eq!(outbox.bytes("a").unwrap(), b"a");
        let files = outbox.next_due(Destination::Folder, seconds(100), 9).unwrap();
        assert_eq!(files.len(), 1);
        assert!(outbox.sent("z", at, None).is_err());
    }
}

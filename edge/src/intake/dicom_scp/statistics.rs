//! What the port has seen since its start, for screens, doctor and logs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::journal::Journal;

/// Counters that grow.
#[derive(Debug, Default)]
pub struct Statistics {
    open: AtomicU64,
    associations: AtomicU64,
    rejected: AtomicU64,
    objects: AtomicU64,
    repeated: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    problem: Option<Problem>,
    journal: Journal,
}

/// The last thing that went wrong; no patient data is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// When, on the appliance's clock.
    #[serde(serialize_with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// What, and with whom.
    pub what: String,
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339())
}

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Associations that are open.
    pub open: u64,
    /// Associations that were accepted.
    pub associations: u64,
    /// Connections and associations that were refused.
    pub rejected: u64,
    /// Objects for which success was answered.
    pub objects: u64,
    /// Those of them that were there already.
    pub repeated: u64,
    /// Objects for which a failure was answered.
    pub failed: u64,
    /// Bytes of the data sets of `objects`.
    pub bytes: u64,
    /// The last problem.
    pub last_problem: Option<Problem>,
}

impl Statistics {
    /// The counters now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            open: read(&self.open),
            associations: read(&self.associations),
            rejected: read(&self.rejected),
            objects: read(&self.objects),
            repeated: read(&self.repeated),
            failed: read(&self.failed),
            bytes: read(&self.bytes),
            last_problem: self.last().problem.clone(),
        }
    }

    /// Takes one of `limit` places for an association, until the returned place goes.
    pub(super) fn open(&self, limit: usize) -> Option<Place<'_>> {
        let next = |open: u64| (open < limit as u64).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        self.associations.fetch_add(1, Ordering::Relaxed);
        Some(Place(self))
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, bytes: u64, repeated: bool) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.repeated.fetch_add(repeated.into(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a problem, and logs it.
    pub(super) fn problem(&self, time: DateTime<Utc>, what: String) {
        let mut last = self.last();
        last.journal.write(&what);
        last.problem = Some(Problem { time, what });
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an open association.
pub(super) struct Place<'a>(&'a Statistics);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_come_back() {
        let statistics = Statistics::default();
        let places: Vec<_> = (0..3).map_while(|_| statistics.open(2)).collect();
        assert_eq!((places.len(), statistics.figures().open), (2, 2));
        drop(places);
        assert_eq!((statistics.figures().open, statistics.figures().associations), (0, 2));
        assert!(statistics.open(2).is_some());
    }

    #[test]
    fn the_last_problem_is_kept() {
        let statistics = Statistics::default();
        for what in ["first", "second"] {
            statistics.problem(DateTime::UNIX_EPOCH, what.to_owned());
        }
        assert_eq!(statistics.figures().last_problem.unwrap().what, "second");
    }
}

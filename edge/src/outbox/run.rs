//! The loop that empties the queue, on a thread of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hardware::whole_file;

use super::queue::{Destination, Failure, Outbox, QueueError, Waiting};
use super::schedule::{Backoff, Contact};
use super::sender::{self, Archive, Batch, Delivery, Interrupted, SendError};

/// Objects of one association: a few seconds of work.
const BATCH: usize = 16;
/// How often the queue is looked at, unless the thread is unparked.
const POLL: Duration = Duration::from_secs(1);
/// How long to leave a queue alone that cannot be read or written.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(10);

/// Where objects go; what has no way waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// The archive.
    pub archive: Option<Archive>,
    /// The folder of JSON files.
    pub folder: Option<PathBuf>,
}

/// Who hears of the queue itself: that it cannot be read or written, and that it can again. What becomes of an object stands
/// with it.
pub trait Health {
    /// The queue failed, or works (`None`).
    fn tell(&self, problem: Option<&QueueError>);
}

impl Health for () {
    fn tell(&self, _: Option<&QueueError>) {}
}

/// Sends what is due until `stop` says so. `now` is the appliance's clock.
///
/// Unpark the thread after something was queued, and after `stop` was set. A stop waits for an answer of the archive at
/// most; it may as well be left alone, because what was not recorded as sent is sent again and is the same object there.
pub fn run(
    outbox: &dyn Outbox,
    routes: &Routes,
    backoff: Backoff,
    now: &dyn Fn() -> Duration,
    health: &dyn Health,
    stop: &AtomicBool,
) {
    let mut post = Post::new(outbox, routes, backoff, now, stop);
    while !stop.load(Ordering::Relaxed) {
        let passed = post.pass();
        health.tell(passed.as_ref().err());
        match passed {
            Ok(true) => {}
            Ok(false) => thread::park_timeout(POLL),
            Err(error) => {
                tracing::error!("the outbox cannot be read or written: {error}");
                thread::park_timeout(PAUSE_AFTER_FAULT);
            }
        }
    }
}

/// How a batch ended.
enum End {
    /// The archive answered for each object.
    Done,
    /// It can take nothing more now.
    Busy,
    /// It did not answer for each.
    Interrupted(Interrupted),
}

/// What the loop holds.
struct Post<'a> {
    outbox: &'a dyn Outbox,
    routes: &'a Routes,
    backoff: Backoff,
    now: &'a dyn Fn() -> Duration,
    stop: &'a AtomicBool,
    archive: Contact,
    folder: Contact,
    /// [`Outbox::retries`] when it was last looked at.
    retries: Option<u64>,
}

impl<'a> Post<'a> {
    fn new(
        outbox: &'a dyn Outbox,
        routes: &'a Routes,
        backoff: Backoff,
        now: &'a dyn Fn() -> Duration,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            outbox,
            routes,
            backoff,
            now,
            stop,
            archive: Contact::default(),
            folder: Contact::default(),
            retries: None,
        }
    }

    /// One batch for each destination; says whether there may be more at once.
    fn pass(&mut self) -> Result<bool, QueueError> {
        self.heed_retry()?;
        let sent = self.send_due()?;
        let written = self.write_due()?;
        Ok(sent || written)
    }

    /// A person who asks for another try has often just mended what failed: no wait of before holds.
    fn heed_retry(&mut self) -> Result<(), QueueError> {
        let retries = self.outbox.retries()?;
        if self.retries.replace(retries) != Some(retries) {
            self.archive = Contact::default();
            self.folder = Contact::default();
        }
        Ok(())
    }

    fn send_due(&mut self) -> Result<bool, QueueError> {
        let now = (self.now)();
        if !self.archive.may_try(now) {
            return Ok(false);
        }
        let objects = self.outbox.next_due(Destination::Archive, now, BATCH)?;
        match &self.routes.archive {
            _ if objects.is_empty() => Ok(false),
            Some(archive) => {
                let (told, end) = self.deliver(archive, &objects)?;
                self.settle(&objects, told, end)
            }
            None => {
                let due = self.archive.failed(now, &self.backoff);
                self.all_failed(&objects, due, "no archive is configured")
                    .map(|()| false)
            }
        }
    }

    /// Sends a batch and records what becomes of each object; gives how many it was told of, and how the batch ended.
    fn deliver(&self, archive: &Archive, objects: &[Waiting]) -> Result<(usize, End), QueueError> {
        let (mut told, mut busy, mut recorded) = (0, false, Ok(()));
        let mut done = |object: &Waiting, delivery: Delivery| {
            told += 1;
            busy = matches!(delivery, Delivery::Later { .. });
            recorded = self.record(object, delivery);
            recorded.is_ok() && !busy
        };
        let batch = Batch {
            objects,
            load: &|id| self.outbox.bytes(id),
            done: &mut done,
            stop: self.stop,
        };
        let sent = sender::send(archive, batch);
        recorded?;
        let end = match sent {
            Err(interrupted) => End::Interrupted(interrupted),
            Ok(()) if busy => End::Busy,
            Ok(()) => End::Done,
        };
        Ok((told, end))
    }

    /// What the end of a batch means for the archive, and for the objects that it was not told of.
    fn settle(&mut self, objects: &[Waiting], told: usize, end: End) -> Result<bool, QueueError> {
        let Interrupted { in_flight, error } = match end {
            End::Done => {
                self.archive.worked();
                return Ok(true);
            }
            End::Busy => {
                self.archive.failed((self.now)(), &self.backoff);
                return Ok(false);
            }
            End::Interrupted(interrupted) => interrupted,
        };
        if matches!(error, SendError::Stopped) {
            return Ok(false);
        }
        let due = self.archive.failed((self.now)(), &self.backoff);
        let reason = error.to_string();
        tracing::warn!(failures = self.archive.failures(), "{reason}");
        match in_flight {
            // It may be this object that the archive does not survive: the others go first.
            Some(index) => self.failed(&objects[index], &reason)?,
            None => self.all_failed(&objects[told..], due, &reason)?,
        }
        Ok(false)
    }

    fn record(&self, object: &Waiting, delivery: Delivery) -> Result<(), QueueError> {
        let at = (self.now)();
        match delivery {
            Delivery::Sent { remark } => {
                tracing::info!(object = object.id, remark, "sent");
                self.outbox.sent(&object.id, at, remark.as_deref())
            }
            Delivery::Refused { reason } => {
                tracing::warn!(object = object.id, reason, "refused");
                self.outbox.parked(&object.id, at, &reason)
            }
            Delivery::Later { reason } | Delivery::Unread { reason } => {
                tracing::warn!(object = object.id, reason, "not sent now");
                self.failed(object, &reason)
            }
        }
    }

    fn failed(&self, object: &Waiting, reason: &str) -> Result<(), QueueError> {
        let at = (self.now)();
        let due = at.saturating_add(self.backoff.after(object.attempts.saturating_add(1)));
        self.outbox.failed(&object.id, Failure { at, due, reason })
    }

    fn all_failed(&self, objects: &[Waiting], due: Duration, reason: &str) -> Result<(), QueueError> {
        let at = (self.now)();
        let mut objects = objects.iter();
        objects.try_for_each(|object| self.outbox.failed(&object.id, Failure { at, due, reason }))
    }

    fn write_due(&mut self) -> Result<bool, QueueError> {
        let now = (self.now)();
        if !self.folder.may_try(now) {
            return Ok(false);
        }
        let files = self.outbox.next_due(Destination::Folder, now, BATCH)?;
        for (index, file) in files.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let bytes = match self.outbox.bytes(&file.id) {
                Ok(bytes) => bytes,
                // This one alone: the others go.
                Err(error) => {
                    let reason = format!("it cannot be read: {error}");
                    tracing::warn!(file = file.id, "{reason}");
                    self.failed(file, &reason)?;
                    continue;
                }
            };
            let written = match &self.routes.folder {
                Some(folder) => write(folder, &file.id, &bytes),
                None => Err("no folder for JSON is configured".to_owned()),
            };
            if let Err(reason) = written {
                tracing::warn!(file = file.id, "{reason}");
                let due = self.folder.failed((self.now)(), &self.backoff);
                return self.all_failed(&files[index..], due, &reason).map(|()| false);
            }
            self.folder.worked();
            self.outbox.sent(&file.id, (self.now)(), None)?;
        }
        Ok(!files.is_empty())
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    let written = fs::create_dir_all(folder).and_then(|()| whole_file::write(&path, bytes));
    written.map_err(|error| {
        format!(
            "cannot write {}: {error}; check that the folder is there and has room",
            path.display()
        )
    })
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

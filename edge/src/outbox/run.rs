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
        }
    }

    /// One batch for each destination; says whether there may be more at once.
    fn pass(&mut self) -> Result<bool, QueueError> {
        let sent = self.send_due()?;
        let written = self.write_due()?;
        Ok(sent || written)
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
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;

    use super::*;
    use crate::outbox::memory::MemoryOutbox;
    use crate::outbox::queue::State;
    use crate::outbox::{Kind, OutgoingObject};

    fn object(id: String, kind: Kind) -> OutgoingObject {
        OutgoingObject {
            id,
            kind,
            case_id: "0001".to_owned(),
            bytes: b"no DICOM at all".to_vec(),
        }
    }

    /// A port on which nobody listens.
    fn nobody() -> Archive {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Archive {
            address: listener.local_addr().unwrap().to_string(),
            called_ae: "PACS".to_owned(),
            calling_ae: "SCANSIDE".to_owned(),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            max_pdu_bytes: 16_384,
        }
    }

    #[test]
    fn an_outage_of_days_costs_few_attempts_and_loses_nothing() {
        let outbox = MemoryOutbox::default();
        let clock = Cell::new(1_000_u64);
        let now = || Duration::from_secs(clock.get());
        let routes = Routes {
            archive: Some(nobody()),
            folder: None,
        };
        let stop = AtomicBool::new(false);
        let mut post = Post::new(&outbox, &routes, Backoff::default(), &now, &stop);
        // Three days, looked at every five seconds, with a case every hour.
        for step in 0..3 * 24 * 720_u64 {
            if step % 720 == 0 {
                let id = format!("2.25.{step}");
                outbox.add(vec![object(id, Kind::SecondaryCapture)], now());
            }
            post.pass().unwrap();
            clock.set(clock.get() + 5);
        }
        let entries = outbox.list();
        assert_eq!(entries.len(), 72);
        let waiting = |state: &State| matches!(state, State::Waiting { .. });
        assert!(entries.iter().all(|entry| waiting(&entry.state)));
        let reason = entries[0].reason.as_deref().unwrap();
        assert!(
            reason.contains("PACS at 127.0.0.1:") && reason.contains("cannot be reached"),
            "{reason}"
        );
        let attempts = post.archive.failures();
        assert!((140..160).contains(&attempts), "a try every half an hour: {attempts}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("out");
        fs::write(&blocked, "a file in its place").unwrap();
        let outbox = MemoryOutbox::default();
        let objects = ["0001.json", "0002.json"].map(|id| object(id.to_owned(), Kind::Json));
        let clock = Cell::new(1_000_u64);
        let now = || Duration::from_secs(clock.get());
        outbox.add(objects.to_vec(), now());
        let routes = Routes {
            archive: None,
            folder: Some(blocked.clone()),
        };
        let stop = AtomicBool::new(false);
        let mut post = Post::new(&outbox, &routes, Backoff::default(), &now, &stop);
        assert!(!post.pass().unwrap());
        let reason = outbox.list()[1].reason.clone().unwrap();
        assert!(reason.contains("0001.json") && reason.contains("has room"), "{reason}");
        fs::remove_file(&blocked).unwrap();
        assert!(!post.pass().unwrap(), "it is not due yet");
        clock.set(clock.get() + 15);
        assert!(post.pass().unwrap());
        assert_eq!(fs::read(blocked.join("0002.json")).unwrap(), b"no DICOM at all");
        let sent = |state: &State| matches!(state, State::Sent { .. });
        assert!(outbox.list().iter().all(|entry| sent(&entry.state)));
    }

    /// A queue whose disk fails for a while.
    #[derive(Default)]
    struct Failing {
        queue: MemoryOutbox,
        fails: AtomicBool,
    }

    impl Outbox for Failing {
        fn next_due(&self, to: Destination, now: Duration, most: usize) -> Result<Vec<Waiting>, QueueError> {
            if self.fails.load(Ordering::SeqCst) {
                return Err("input/output error".into());
            }
            self.queue.next_due(to, now, most)
        }

        fn bytes(&self, id: &str) -> Result<Vec<u8>, QueueError> {
            self.queue.bytes(id)
        }

        fn sent(&self, id: &str, at: Duration, remark: Option<&str>) -> Result<(), QueueError> {
            self.queue.sent(id, at, remark)
        }

        fn failed(&self, id: &str, failure: Failure<'_>) -> Result<(), QueueError> {
            self.queue.failed(id, failure)
        }

        fn parked(&self, id: &str, at: Duration, reason: &str) -> Result<(), QueueError> {
            self.queue.parked(id, at, reason)
        }
    }

    #[test]
    fn a_file_that_is_lost_holds_no_other_up() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = MemoryOutbox::default();
        let objects = ["0001.json", "0002.json"].map(|id| object(id.to_owned(), Kind::Json));
        let now = || Duration::from_secs(1_000);
        outbox.add(objects.to_vec(), now());
        outbox.lose("0001.json");
        let routes = Routes {
            archive: None,
            folder: Some(folder.path().to_owned()),
        };
        let stop = AtomicBool::new(false);
        Post::new(&outbox, &routes, Backoff::default(), &now, &stop)
            .pass()
            .unwrap();
        let entries = outbox.list();
        assert!(matches!(entries[1].state, State::Sent { .. }), "{entries:?}");
        assert_eq!(entries[0].attempts, 1);
        let reason = entries[0].reason.as_deref().unwrap();
        assert!(reason.contains("cannot be read: input/output error"), "{reason}");
    }

    /// Hears of a queue, mends it at the first word and ends the loop at the second.
    struct Listener<'a> {
        outbox: &'a Failing,
        heard: std::sync::Mutex<Vec<Option<String>>>,
        stop: &'a AtomicBool,
    }

    impl Health for Listener<'_> {
        fn tell(&self, problem: Option<&QueueError>) {
            let mut heard = self.heard.lock().unwrap();
            heard.push(problem.map(ToString::to_string));
            self.outbox.fails.store(false, Ordering::SeqCst);
            self.stop.store(heard.len() == 2, Ordering::SeqCst);
            // The loop rests after a fault unless it is woken.
            thread::current().unpark();
        }
    }

    #[test]
    fn a_queue_that_fails_is_told_until_it_works_again() {
        let outbox = Failing {
            fails: AtomicBool::new(true),
            ..Failing::default()
        };
        let stop = AtomicBool::new(false);
        let listener = Listener {
            outbox: &outbox,
            heard: std::sync::Mutex::default(),
            stop: &stop,
        };
        let now = || Duration::from_secs(1_000);
        run(&outbox, &Routes::default(), Backoff::default(), &now, &listener, &stop);
        let heard = listener.heard.into_inner().unwrap();
        assert_eq!(heard, [Some("input/output error".to_owned()), None]);
    }

    #[test]
    fn without_an_archive_objects_wait_with_a_reason() {
        let outbox = MemoryOutbox::default();
        outbox.add(
            vec![object("2.25.1".to_owned(), Kind::StructuredReport)],
            Duration::ZERO,
        );
        let (routes, stop) = (Routes::default(), AtomicBool::new(false));
        let now = || Duration::from_secs(1);
        let mut post = Post::new(&outbox, &routes, Backoff::default(), &now, &stop);
        assert!(!post.pass().unwrap());
        let entry = outbox.list().remove(0);
        assert_eq!(
            entry.state,
            State::Waiting {
                due: Duration::from_secs(16)
            }
        );
        assert_eq!(entry.reason.as_deref(), Some("no archive is configured"));
    }
}

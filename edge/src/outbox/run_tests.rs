//! The loop against destinations that fail.

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

#[test]
fn a_wait_ends_when_a_person_asks_for_another_try() {
    let outbox = MemoryOutbox::default();
    let clock = Cell::new(1_000_u64);
    let now = || Duration::from_secs(clock.get());
    let objects = ["2.25.1", "2.25.2"].map(|id| object(id.to_owned(), Kind::SecondaryCapture));
    outbox.add(objects.to_vec(), now());
    let (routes, stop) = (Routes::default(), AtomicBool::new(false));
    let mut post = Post::new(&outbox, &routes, Backoff::default(), &now, &stop);
    for _ in 0..3 {
        post.pass().unwrap();
        clock.set(clock.get() + 1_800);
    }
    post.pass().unwrap();
    let attempts = |index: usize| outbox.list()[index].attempts;
    assert_eq!((attempts(0), attempts(1)), (4, 4));
    clock.set(clock.get() + 1);
    post.pass().unwrap();
    assert_eq!(attempts(0), 4, "it is left alone");
    assert!(outbox.retry("2.25.1", now()));
    post.pass().unwrap();
    assert_eq!(
        (attempts(0), attempts(1)),
        (1, 4),
        "the one that was asked for, at once"
    );
    assert_eq!(post.archive.failures(), 1, "and the waits begin anew");
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

    fn retries(&self) -> Result<u64, QueueError> {
        self.queue.retries()
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

//! Archives of others on ports of this machine.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use scanside_edge::outbox::memory::MemoryOutbox;
use scanside_edge::outbox::queue::{Entry, State};
use scanside_edge::outbox::schedule::Backoff;
use scanside_edge::outbox::sender::Archive;
use scanside_edge::outbox::{Routes, run};

use crate::peers::script;
use crate::peers::servers::Server;

/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn archive(port: u16, called: &str) -> Archive {
    Archive {
        address: format!("127.0.0.1:{port}"),
        called_ae: called.to_owned(),
        calling_ae: "SCANSIDE".to_owned(),
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(20),
        max_pdu_bytes: 16_384,
    }
}

/// An archive that answers each C-STORE with the next of these statuses, then with success (`archive.py`).
pub fn obedient(port: u16, log: &Path, answers: &[&str]) -> Server {
    let mut command = script("outbox/archive.py");
    command.arg(port.to_string()).args(answers);
    Server::start(command, port, log)
}

/// The loop on its own thread with a queue in memory; it ends with this value.
pub struct Running {
    pub outbox: Arc<MemoryOutbox>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(outbox: Arc<MemoryOutbox>, archive: Archive) -> Self {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(400),
        };
        Self::start_with(outbox, archive, backoff)
    }

    pub fn start_with(outbox: Arc<MemoryOutbox>, archive: Archive, backoff: Backoff) -> Self {
        let routes = Routes {
            archive: Some(archive),
            folder: None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (outbox.clone(), stop.clone());
        let thread = thread::spawn(move || run(&*shared, &routes, backoff, &now, &(), &stopped));
        Self {
            outbox,
            stop,
            thread: Some(thread),
        }
    }

    /// Looks until the entries are as wanted, and gives them.
    pub fn wait(&self, what: &str, wanted: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let start = Instant::now();
        loop {
            let entries = self.outbox.list();
            if wanted(&entries) {
                return entries;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {entries:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait_until_sent(&self) -> Vec<Entry> {
        self.wait("everything to be sent", |entries| entries.iter().all(is_sent))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

pub fn is_sent(entry: &Entry) -> bool {
    matches!(entry.state, State::Sent { .. })
}

pub fn is_parked(entry: &Entry) -> bool {
    matches!(entry.state, State::Parked { .. })
}

/// Tests with servers run one after the other: ports that were free stay free.
pub static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

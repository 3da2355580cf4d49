//! Archives of others on ports of this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use scanside_edge::outbox::memory::MemoryOutbox;
use scanside_edge::outbox::queue::{Entry, State};
use scanside_edge::outbox::schedule::Backoff;
use scanside_edge::outbox::sender::Archive;
use scanside_edge::outbox::{Outbox, Routes, run};

use crate::peers::{dcmtk, script};

/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running program with a port; it ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts a program whose output goes to a file, and waits until something listens.
    pub fn start(mut command: Command, port: u16, log: &Path) -> Self {
        let output = fs::File::create(log).unwrap();
        let child = command
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            port,
            log: log.to_owned(),
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn archive(&self, called: &str) -> Archive {
        archive(self.port, called)
    }

    /// The answer of its HTTP server.
    pub fn get(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(" 200 OK"), "{path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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

/// dcmtk's storescp, which stores into a folder.
pub fn storescp(port: u16, folder: &Path, options: &[&str]) -> Server {
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(dcmtk("storescp").expect("asked for before"));
    command.args(["-v", "-aet", "ARCHIVE", "+B", "-od"]).arg(folder);
    command.args(options).arg(port.to_string());
    Server::start(command, port, &folder.with_extension("log"))
}

/// An archive that answers each C-STORE with the next of these statuses, then with success (`archive.py`).
pub fn obedient(port: u16, log: &Path, answers: &[&str]) -> Server {
    let mut command = script("archive.py");
    command.arg(port.to_string()).args(answers);
    Server::start(command, port, log)
}

/// A queue that tests can look into.
pub trait Listed: Outbox {
    fn list(&self) -> Vec<Entry>;
}

impl Listed for MemoryOutbox {
    fn list(&self) -> Vec<Entry> {
        Self::list(self)
    }
}

/// The loop on its own thread with a queue in memory; it ends with this value.
pub struct Running {
    pub outbox: Arc<dyn Listed>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(outbox: Arc<dyn Listed>, archive: Archive) -> Self {
        let routes = Routes {
            archive: Some(archive),
            folder: None,
        };
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(400),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (outbox.clone(), stop.clone());
        let thread = thread::spawn(move || run(&*shared, &routes, backoff, &now, &stopped));
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

//! Whoever watches the service: told that it lives as long as every thread does that it cannot do without.

mod inside;
mod service;
mod support;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use hardware::watchdog::News;
use inside::tampered::Tampered;
use inside::{Setup, receive, site, slots};
use scanside_edge::daemon::board::Part;
use scanside_edge::daemon::tasks::{MadeObjects, ObjectMaker, Owing, Surroundings, Task};
use scanside_edge::daemon::{DaemonError, Ended, Outgoing, Parts};
use scanside_edge::outbox::Kind;
use service::Site;

/// A maker that brings its thread down.
struct Bomb;

impl ObjectMaker for Bomb {
    fn make(&mut self, _: &Owing<'_>) -> Result<MadeObjects, Box<dyn std::error::Error + Send + Sync>> {
        panic!("the test wants this thread to end");
    }
}

/// A line that brings its thread down once it is told to.
struct BadLine(Arc<AtomicBool>);

impl Read for BadLine {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        assert!(!self.0.load(Ordering::SeqCst), "the test wants this thread to end");
        thread::sleep(Duration::from_millis(20));
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Write for BadLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for signs of life, lets a thread end, and looks whether there are any after that.
fn loses_a_thread(site: &Site, change: impl FnOnce(&mut Parts) + Send + 'static, end: impl FnOnce()) {
    let setup = Setup {
        parts: Box::new(change),
        ..Setup::new(site)
    };
    let running = setup.start();
    let mut told = Vec::new();
    running.site.wait("signs of life", || {
        told.extend(running.watchdog.told());
        (told.iter().filter(|news| **news == News::Alive).count() >= 3).then_some(())
    });
    assert_eq!(told[0], News::Ready);
    end();
    site.wait("the end", || running.thread.is_finished().then_some(()));
    let watchdog = running.watchdog.clone();
    let lost = running.thread.join().unwrap().unwrap_err();
    assert!(matches!(lost, DaemonError::Lost), "{lost}");
    let _ = watchdog.told();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(watchdog.told(), [], "nothing lives");
}

#[test]
fn it_hears_what_goes_on() {
    let Some(site) = site() else { return };
    let running = Setup::new(&site).start();
    let serves = |news: &News| matches!(news, News::Status(line) if line.starts_with("serving "));
    running.site.wait("what goes on", || {
        running.watchdog.told().iter().any(serves).then_some(())
    });
    running.stop();
}

#[test]
fn it_hears_no_more_once_the_filing_thread_is_lost() {
    let Some(site) = site() else { return };
    let outgoing = Outgoing {
        kinds: vec![Kind::Json],
        maker: Box::new(Bomb),
    };
    // Its object for the outbox ends the thread.
    let end = || drop(site.image("a.png"));
    loses_a_thread(&site, |parts| parts.outgoing = Some(outgoing), end);
}

/// A task that is lost at its first run, and works from its second on.
struct Faint {
    runs: Arc<AtomicU32>,
    part: Part,
}

impl Task for Faint {
    fn name(&self) -> &'static str {
        "faint"
    }

    fn part(&self) -> Part {
        self.part
    }

    fn run(&mut self, surroundings: &Surroundings) {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        assert!(run > 0, "the test wants this thread to end");
        surroundings.clear_fault(self.part);
        while !surroundings.is_ending() {
            surroundings.rest(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_task_that_is_lost_is_told_and_started_again_and_the_service_lives() {
    let Some(site) = site() else { return };
    let runs = Arc::new(AtomicU32::new(0));
    let faint = Faint {
        runs: runs.clone(),
        part: Part::Media,
    };
    let setup = Setup {
        tasks: Box::new(|_| vec![Box::new(faint)]),
        ..Setup::new(&site)
    };
    let running = setup.start();
    let said = |wanted: &str| {
        running.site.wait(wanted, || {
            let mut told = running.watchdog.told().into_iter();
            told.any(|news| matches!(news, News::Status(line) if line.contains(wanted)))
                .then_some(())
        });
    };
    said("the faint thread panicked; it is started again");
    said("serving ");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(running.stop(), Ended::Stopped);
}

#[test]
fn it_hears_no_more_once_the_serial_thread_is_lost() {
    let Some(site) = site() else { return };
    let ends = Arc::new(AtomicBool::new(false));
    let line = Box::new(BadLine(ends.clone()));
    loses_a_thread(
        &site,
        |parts| parts.line = Some(line),
        || ends.store(true, Ordering::SeqCst),
    );
}

#[test]
fn it_hears_no_more_once_the_verifier_is_lost() {
    let Some(site) = site() else { return };
    receive(&mut slots(&site), &site.bundle(|_| ()));
    let ends = Arc::new(AtomicBool::new(false));
    let told = ends.clone();
    let before_read = move |_| {
        let ends = told.load(Ordering::SeqCst) && thread::current().name() == Some("verifier");
        assert!(!ends, "the test wants this thread to end");
    };
    // What is read back cannot be written down, so it is read back again and again.
    let change = move |parts: &mut Parts| Tampered::put(parts, false, before_read);
    loses_a_thread(&site, change, || ends.store(true, Ordering::SeqCst));
}

#[test]
fn a_service_manager_hears_that_it_is_ready_also_after_a_restart() {
    let Some(mut site) = Site::new() else { return };
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    site.environment = vec![("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "2000000".into())];
    let hear = |wanted: &str| {
        let mut heard = Vec::new();
        site.wait(wanted, || {
            let mut message = [0; 1024];
            while let Ok(length) = socket.recv(&mut message) {
                heard.push(String::from_utf8_lossy(&message[..length]).trim().to_owned());
            }
            heard.iter().any(|one| one == wanted).then_some(())
        });
        heard
    };
    let mut service = site.start();
    hear("READY=1");
    hear("WATCHDOG=1");
    service.restart();
    let heard = hear("READY=1");
    assert!(
        !heard.contains(&"STOPPING=1".to_owned()),
        "a restart is no stop: {heard:?}"
    );
    hear("WATCHDOG=1");
    assert_eq!(service.stop(), 0);
    hear("STOPPING=1");
}

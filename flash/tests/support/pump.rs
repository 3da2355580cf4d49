//! A line between the program and a device that is as slow, or as noisy, as a real one.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long a side is waited for at a time.
const PATIENCE: Duration = Duration::from_millis(200);

/// The seeds of a noisy test: `SCANSIDE_SEEDS` says how many from 0 on, or from which to which.
pub fn seeds(usually: u64) -> Range<u64> {
    let Ok(wanted) = std::env::var("SCANSIDE_SEEDS") else {
        return 0..usually;
    };
    let (from, to) = wanted.split_once("..").unwrap_or(("0", &wanted));
    let number = |text: &str| {
        text.parse()
            .expect("SCANSIDE_SEEDS is a number, or two with .. between them")
    };
    number(from)..number(to)
}

/// What the line does to the bytes of one direction.
pub trait Channel: Send {
    /// How many bytes are taken at once.
    fn piece(&self) -> usize;
    /// What comes out of a piece; it may take its time.
    fn carry(&mut self, piece: &[u8]) -> Vec<u8>;
    /// The line has nothing to carry.
    fn rest(&mut self) {}
    /// Whether the cable was pulled.
    fn pulled(&mut self) -> bool {
        false
    }
}

/// Lets bytes through at the speed of a line: a tenth of its baud a second.
pub struct Paced {
    bytes_a_second: f64,
    free_at: Option<Instant>,
}

impl Paced {
    pub fn new(baud: u32) -> Self {
        Self {
            bytes_a_second: f64::from(baud) / 10.0,
            free_at: None,
        }
    }
}

impl Channel for Paced {
    fn piece(&self) -> usize {
        // A millisecond's worth.
        (self.bytes_a_second / 1000.0).ceil() as usize
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        let now = Instant::now();
        // A late wake-up is made good, if there was something to carry all the time.
        let late = Duration::from_millis(20);
        let begin = self.free_at.filter(|free| *free + late > now).unwrap_or(now);
        let end = begin + Duration::from_secs_f64(piece.len() as f64 / self.bytes_a_second);
        self.free_at = Some(end);
        sleep(end.saturating_duration_since(now));
        piece.to_vec()
    }

    fn rest(&mut self) {
        self.free_at = None;
    }
}

/// Flips, drops, duplicates and inserts bytes, bursts, stalls, and sometimes pulls the cable.
pub struct Noisy {
    random: ChaCha8Rng,
    /// One fault in so many bytes.
    rarity: f64,
    left: u64,
    pulls: bool,
    pulled: bool,
    faults: Arc<AtomicU64>,
}

impl Noisy {
    pub fn new(seed: u64, rarity: f64, pulls: bool, faults: &Arc<AtomicU64>) -> Self {
        let mut noisy = Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            rarity,
            left: 0,
            pulls,
            pulled: false,
            faults: faults.clone(),
        };
        noisy.left = noisy.next_distance();
        noisy
    }

    /// Bytes until the next fault: as if each byte were hit with the same chance.
    fn next_distance(&mut self) -> u64 {
        let chance: f64 = self.random.random_range(f64::EPSILON..1.0);
        (-chance.ln() * self.rarity) as u64
    }

    fn fault(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        match self.random.random_range(0..100) {
            0..50 => out.push(byte ^ 1 << self.random.random_range(0..8)),
            50..65 => {}
            65..75 => out.extend([byte, byte]),
            75..85 => out.extend([self.random.random(), byte]),
            85..95 => {
                let length = self.random.random_range(2..40);
                out.extend((0..length).map(|_| self.random.random::<u8>()));
            }
            95..98 => {
                sleep(Duration::from_millis(self.random.random_range(50..1500)));
                out.push(byte);
            }
            _ => {
                self.pulled = self.pulls;
                out.push(byte);
            }
        }
    }
}

impl Channel for Noisy {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 64);
        for byte in piece {
            if self.left > 0 {
                self.left -= 1;
                out.push(*byte);
            } else {
                self.fault(*byte, &mut out);
                self.left = self.next_distance();
            }
        }
        out
    }

    fn pulled(&mut self) -> bool {
        std::mem::take(&mut self.pulled)
    }
}

/// A line with a channel for each direction.
pub struct Pump {
    stop: Arc<AtomicBool>,
    port: PathBuf,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

type Channels = [Box<dyn Channel>; 2];

impl Pump {
    /// Joins a device's end with a port for the program. The first channel carries what the program says.
    pub fn new(device: &Path, there: impl Channel + 'static, back: impl Channel + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("port");
        let stop = Arc::new(AtomicBool::new(false));
        let device = open_end(device);
        let mut channels: Channels = [Box::new(there), Box::new(back)];
        let cable = Cable::plug(&port);
        let (link, stopping) = (port.clone(), stop.clone());
        let thread = spawn(move || {
            let mut cable = Some(cable);
            while !stopping.load(Ordering::Relaxed) {
                let plugged = cable.take().unwrap_or_else(|| Cable::plug(&link));
                channels = carry_until_pulled(&plugged, &device, channels, &stopping);
                plugged.pull(&link);
                sleep(Duration::from_millis(300));
            }
        });
        Self {
            stop,
            port,
            thread: Some(thread),
            _folder: folder,
        }
    }

    /// What the program opens.
    pub fn port(&self) -> &Path {
        &self.port
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The program's end of the line: a pseudo-terminal behind a name that stays.
struct Cable {
    controller: File,
    /// Keeps the pseudo-terminal alive while the program does not have it open.
    _end: File,
}

impl Cable {
    fn plug(link: &Path) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let path = PathBuf::from(name.into_string().unwrap());
        let end = open_end(&path);
        let mut attributes = rustix::termios::tcgetattr(&end).unwrap();
        attributes.make_raw();
        rustix::termios::tcsetattr(&end, rustix::termios::OptionalActions::Now, &attributes).unwrap();
        std::os::unix::fs::symlink(&path, link).unwrap();
        Self {
            controller: File::from(controller),
            _end: end,
        }
    }

    fn pull(self, link: &Path) {
        let _ = std::fs::remove_file(link);
    }
}

fn open_end(path: &Path) -> File {
    let end: OwnedFd = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    File::from(end)
}

/// Carries both directions until either pulls the cable, and gives the channels back.
fn carry_until_pulled(cable: &Cable, device: &File, channels: Channels, stop: &Arc<AtomicBool>) -> Channels {
    let pulled = Arc::new(AtomicBool::new(false));
    let [there, back] = channels;
    let clone = |file: &File| file.try_clone().unwrap();
    let join = |from: File, to: File, channel: Box<dyn Channel>| {
        let (stop, pulled) = (stop.clone(), pulled.clone());
        spawn(move || carry(from, to, channel, &[stop, pulled]))
    };
    let there = join(clone(&cable.controller), clone(device), there);
    let back = join(clone(device), clone(&cable.controller), back);
    [there.join().unwrap(), back.join().unwrap()]
}

fn carry(mut from: File, mut to: File, mut channel: Box<dyn Channel>, ends: &[Arc<AtomicBool>; 2]) -> Box<dyn Channel> {
    let mut piece = vec![0; channel.piece()];
    while ends.iter().all(|end| !end.load(Ordering::Relaxed)) {
        if !ready(&from, PollFlags::IN, Duration::ZERO) {
            channel.rest();
            if !ready(&from, PollFlags::IN, PATIENCE) {
                continue;
            }
        }
        let Ok(read @ 1..) = from.read(&mut piece) else { break };
        let out = channel.carry(&piece[..read]);
        for part in out.chunks(64) {
            // A side that reads nothing loses what does not fit, as on a wire.
            if ready(&to, PollFlags::OUT, PATIENCE) && to.write_all(part).is_err() {
                break;
            }
        }
        if channel.pulled() {
            ends[1].store(true, Ordering::Relaxed);
        }
    }
    channel
}

fn ready(file: &File, what: PollFlags, patience: Duration) -> bool {
    let mut fds = [PollFd::new(file, what)];
    let patience = Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: patience.subsec_nanos().into(),
    };
    poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0)
}

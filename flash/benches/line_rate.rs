//! How much of a line the program uses: uploads over a pseudo-terminal that lets bytes through at a line's rate.
//!
//! Raw is compared with the line's capacity, console with the framing's own ceiling: 93 bytes on a line of 127. At
//! 921,600 baud either must reach 0.95, and other clients that are installed are measured on the same line.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use support::pump::{Channel, Paced, Pump};
use support::{Bundle, device, flash};

/// Bytes of a message on a full console line, and the length of that line.
const CONSOLE: f64 = 93.0 / 127.0;
/// Seconds of an upload at full rate.
const SECONDS: f64 = 8.0;
/// The speed at which the limit holds and other clients are measured.
const MEASURED_BAUD: u32 = 921_600;
/// The least share of what is possible.
const LEAST: f64 = 0.95;

fn main() -> ExitCode {
    println!(
        "{:>9}  {:<8} {:>10} {:>9}  of its ceiling",
        "baud", "framing", "bytes/s", "of line"
    );
    let mut good = true;
    for baud in [115_200, MEASURED_BAUD, 3_000_000] {
        for (framing, ceiling) in [("raw", 1.0), ("console", CONSOLE)] {
            let capacity = capacity(baud);
            let bundle = Bundle::new((capacity * ceiling * SECONDS) as usize, 1);
            let rate = rate(&bundle, baud, framing);
            let share = rate / capacity;
            let of_ceiling = share / ceiling;
            let short = baud == MEASURED_BAUD && of_ceiling < LEAST;
            let verdict = if short { "  TOO LITTLE" } else { "" };
            println!("{baud:>9}  {framing:<8} {rate:>10.0} {share:>9.3}  {of_ceiling:.3}{verdict}");
            good &= !short;
        }
    }
    println!("\nother clients at {MEASURED_BAUD} baud");
    for client in CLIENTS {
        client.measure();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bytes a second.
fn capacity(baud: u32) -> f64 {
    f64::from(baud) / 10.0
}

/// Bytes a second of an upload, from the first question to the last answer.
fn rate(bundle: &Bundle, baud: u32, framing: &str) -> f64 {
    let device = device(|_| ());
    let pump = Pump::new(device.path(), Paced::new(baud), Paced::new(baud));
    let speed = baud.to_string();
    let arguments = [
        "upload",
        bundle.file(),
        "--framing",
        framing,
        "--baud",
        &speed,
        "--json",
    ];
    let sent = flash(pump.port(), &arguments).expect(0).event("sent");
    let number = |key: &str| sent[key].as_f64().unwrap_or_default();
    number("bytes") / number("seconds")
}

/// A client that is not ours.
struct Client {
    name: &'static str,
    /// What shows that it is installed.
    present: &'static [&'static str],
    /// `PORT` and `FILE` stand for those.
    command: &'static [&'static str],
    /// The share of the line that it is expected to use, for an upload that lasts long enough and not too long.
    about: f64,
}

const SMPCLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/smpclient_upload.py");
const CLIENTS: &[Client] = &[
    Client {
        name: "smpclient, raw",
        present: &["python3", "-c", "import smpclient, serial"],
        command: &["python3", "-B", SMPCLIENT, "PORT", "raw", "FILE"],
        about: 0.95,
    },
    Client {
        name: "smpclient, console",
        present: &["python3", "-c", "import smpclient, serial"],
        command: &["python3", "-B", SMPCLIENT, "PORT", "console", "FILE"],
        about: 0.7,
    },
    Client {
        name: "smpmgr",
        present: &["smpmgr", "--version"],
        command: &["smpmgr", "--port", "PORT", "image", "upload", "FILE"],
        about: 0.2,
    },
    Client {
        name: "smpmgr --line-length 8192 --line-buffers 1",
        present: &["smpmgr", "--version"],
        command: &[
            "smpmgr",
            "--port",
            "PORT",
            "--line-length",
            "8192",
            "--line-buffers",
            "1",
            "image",
            "upload",
            "FILE",
        ],
        about: 0.7,
    },
    Client {
        name: "mcumgrctl --raw",
        present: &["mcumgrctl", "--version"],
        command: &["mcumgrctl", "--serial", "PORT", "--raw", "image", "upload", "FILE"],
        about: 0.95,
    },
    Client {
        name: "mcumgrctl",
        present: &["mcumgrctl", "--version"],
        command: &["mcumgrctl", "--serial", "PORT", "image", "upload", "FILE"],
        about: 0.7,
    },
];

impl Client {
    fn measure(&self) {
        let runs = |mut command: Command| command.output().is_ok_and(|output| output.status.success());
        if !runs(command(self.present)) {
            println!("  {}: not installed", self.name);
            return;
        }
        let capacity = capacity(MEASURED_BAUD);
        let bundle = Bundle::new((capacity * self.about * SECONDS) as usize, 2);
        let device = device(|_| ());
        let seen = Arc::default();
        let there = Timed::new(&seen);
        let pump = Pump::new(device.path(), there, Timed::new(&seen));
        let done = runs(self.on(pump.port(), &bundle));
        drop(pump);
        let stored = device.device().pairs[0][1]
            .as_ref()
            .is_some_and(|slot| slot.bytes == bundle.bytes);
        if !(done && stored) {
            println!("  {}: did not complete", self.name);
            return;
        }
        let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = seen.map_or(f64::NAN, |[first, last]| (last - first).as_secs_f64());
        let rate = bundle.bytes.len() as f64 / seconds;
        println!("  {}: {rate:.0} bytes/s, {:.2} of the line", self.name, rate / capacity);
    }

    fn on(&self, port: &Path, bundle: &Bundle) -> Command {
        let mut filled = Command::new(self.command[0]);
        for argument in &self.command[1..] {
            match *argument {
                "PORT" => filled.arg(port),
                "FILE" => filled.arg(&bundle.path),
                other => filled.arg(other),
            };
        }
        filled
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// When the first and the last byte went by: a program's start takes longer than some uploads.
type Seen = Arc<Mutex<Option<[Instant; 2]>>>;

/// A paced channel that looks at the clock.
struct Timed {
    paced: Paced,
    seen: Seen,
}

impl Timed {
    fn new(seen: &Seen) -> Self {
        Self {
            paced: Paced::new(MEASURED_BAUD),
            seen: seen.clone(),
        }
    }
}

impl Channel for Timed {
    fn piece(&self) -> usize {
        self.paced.piece()
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        let begun = Instant::now();
        let carried = self.paced.carry(piece);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.map_or(begun, |[first, _]| first);
        *seen = Some([first, Instant::now()]);
        carried
    }

    fn rest(&mut self) {
        self.paced.rest();
    }
}

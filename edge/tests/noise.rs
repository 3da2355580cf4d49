//! The real service behind a line that damages what it carries, each fault from its seed: a bundle arrives and is used, or
//! the one before serves on; never anything else.
//!
//! `SCANSIDE_SEEDS=100 cargo test -p scanside-edge --test noise` runs the long form; `SCANSIDE_SEEDS=21..22` repeats one
//! seed. The same against the simulated device is in `flash/tests/noise.rs`.

mod desk;
#[path = "../../flash/tests/support/pump.rs"]
#[allow(dead_code, reason = "the pump can be paced as well")]
mod pump;
mod service;
mod support;

use std::cell::RefCell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bundle::container::{PayloadFile, hexadecimal};
use bundle::manifest::FileKind;
use desk::{Desk, Run};
use pump::{Noisy, Pump, seeds};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use support::{FROM_PYPI, peer};

/// Seeds of a plain test run.
const SEEDS: u64 = 1;
/// The same for clients that are not ours.
const OTHERS_SEEDS: u64 = 2;
/// Bytes in which no two bundles agree.
const UNLIKE: usize = 100_000;
/// The same for a client that is slow and gives up early.
const OTHERS_UNLIKE: usize = 10_000;
/// How long such a client may take before it counts as having given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// One fault in so many bytes, in turn from seed to seed.
const OTHERS_RARITIES: [f64; 2] = [10_000.0, 100_000.0];

/// The service and all bundles that may serve there.
struct Place {
    desk: Desk,
    known: RefCell<Vec<Vec<u8>>>,
}

impl Place {
    fn new() -> Option<Self> {
        let place = Self {
            desk: Desk::new()?,
            known: RefCell::default(),
        };
        place.file(u64::MAX, UNLIKE);
        Some(place)
    }

    /// Writes the next bundle into a file of its own, and gives its path.
    fn file(&self, seed: u64, unlike: usize) -> String {
        let mut unlike = vec![0; unlike];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut unlike);
        let unlike = PayloadFile::new("report/unlike.bin", FileKind::Report, unlike);
        let name = format!("{}.scanside", self.count());
        let path = self.desk.site.file_with(&name, |files| files.push(unlike));
        self.known.borrow_mut().push(std::fs::read(&path).unwrap());
        path
    }

    /// Number of bundles.
    fn count(&self) -> usize {
        self.known.borrow().len()
    }

    /// The file of the first bundle.
    fn first(&self) -> String {
        self.desk.site.path("0.scanside").to_string_lossy().into_owned()
    }

    /// The bundle that serves by its number: one of those that were sent, every byte of which lies in a slot.
    fn serving(&self) -> usize {
        let images = self.desk.images();
        let active = images.iter().find(|image| image["active"] == true).unwrap();
        let hash = active["hash"].as_str().unwrap();
        let is = |file: &[u8]| hexadecimal(&file[file.len() - 32..]) == hash;
        let known = self.known.borrow();
        let number = known.iter().position(|file| is(file));
        let number = number.unwrap_or_else(|| panic!("{active} was never sent"));
        let slots = ["a", "b"].map(|side| self.desk.site.path(&format!("state/slots/chest-xray.{side}")));
        let lies = |path: &Path| std::fs::read(path).is_ok_and(|file| file == known[number]);
        assert!(slots.iter().any(|path| lies(path)), "{active} is not in its slot");
        number
    }

    /// Updates with our tool over a line with one fault in `rarity` bytes, which must succeed.
    fn update(&self, seed: u64, rarity: f64, arguments: &[&str]) -> Run {
        let file = self.file(seed, UNLIKE);
        let faults = Arc::new(AtomicU64::new(0));
        let pump = noisy(&self.desk.port, seed, rarity, true, &faults);
        let arguments = [&["upload", &file, "--confirm", "--wait"], arguments].concat();
        let run = Run::of(self.desk.command(pump.port(), &arguments).output().unwrap());
        drop(pump);
        let faults = faults.load(Ordering::Relaxed);
        let right = self.serving() + 1 == self.count();
        assert!(
            run.code == Some(0) && right,
            "seed {seed}, {faults} faults, right: {right}: {}",
            run.text
        );
        let sent = run.event("sent");
        println!(
            "seed {seed}: {faults} faults, {} bytes on the line for {}, {} at the end, as {}",
            sent["line_bytes"], sent["bytes"], sent["framing"], sent["as"]
        );
        run
    }
}

fn noisy(device: &Path, seed: u64, rarity: f64, pulls: bool, faults: &Arc<AtomicU64>) -> Pump {
    let channel = |salt: u64| Noisy::new(seed * 2 + salt, rarity, pulls, faults);
    Pump::new(device, channel(0), channel(1))
}

/// Updates from each seed with our tool; one bundle serves from the beginning.
fn updates(first_seed: u64, rarity: f64, arguments: &[&str]) -> Vec<Run> {
    let Some(place) = Place::new() else {
        return Vec::new();
    };
    let _service = place.desk.site.spawn();
    place.desk.done(&["upload", &place.first(), "--confirm", "--wait"]);
    let seeds = seeds(SEEDS).map(|seed| first_seed + seed);
    seeds.map(|seed| place.update(seed, rarity, arguments)).collect()
}

#[test]
fn console_completes_at_one_error_in_ten_thousand_bytes() {
    updates(0, 10_000.0, &["--full", "--framing", "console"]);
}

#[test]
fn raw_completes_at_one_error_in_a_hundred_thousand_bytes() {
    updates(1000, 100_000.0, &["--full", "--framing", "raw"]);
}

#[test]
fn auto_goes_over_to_console_at_one_error_in_ten_thousand_bytes() {
    updates(2000, 10_000.0, &["--full", "--framing", "auto"]);
}

#[test]
fn a_difference_completes_at_one_error_in_a_hundred_thousand_bytes() {
    for run in updates(3000, 100_000.0, &["--framing", "raw"]) {
        assert_eq!(run.event("sent")["as"], "delta");
    }
}

/// A client that is not ours, with its own timeouts.
struct Client {
    name: &'static str,
    /// Succeeds if it is there.
    present: &'static [&'static str],
    install: &'static str,
    /// One after the other; `PORT`, `FILE` and `HASH` stand for those.
    commands: &'static [&'static [&'static str]],
}

const FROM_CRATES: &str = "cargo install --locked --version 0.20.0 --no-default-features mcumgrctl";
const SMPCLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/smpclient_noise.py");
const HAS_SMPCLIENT: &[&str] = &["python3", "-c", "import smpclient, serial"];

const CLIENTS: [Client; 5] = [
    Client {
        name: "smpclient, console",
        present: HAS_SMPCLIENT,
        install: FROM_PYPI,
        commands: &[&["python3", SMPCLIENT, "PORT", "console", "FILE"]],
    },
    Client {
        name: "smpclient, raw",
        present: HAS_SMPCLIENT,
        install: FROM_PYPI,
        commands: &[&["python3", SMPCLIENT, "PORT", "raw", "FILE"]],
    },
    Client {
        name: "smpmgr",
        present: &["smpmgr", "--version"],
        install: FROM_PYPI,
        commands: &[&["smpmgr", "--port", "PORT", "upgrade", "FILE", "--confirm"]],
    },
    Client {
        name: "mcumgrctl",
        present: &["mcumgrctl", "--version"],
        install: FROM_CRATES,
        commands: &[
            &["mcumgrctl", "--serial", "PORT", "image", "upload", "FILE"],
            &[
                "mcumgrctl",
                "--serial",
                "PORT",
                "image",
                "set-state",
                "--hash",
                "HASH",
                "--confirm",
            ],
            &["mcumgrctl", "--serial", "PORT", "os", "system-reset"],
        ],
    },
    Client {
        name: "mcumgrctl, raw",
        present: &["mcumgrctl", "--version"],
        install: FROM_CRATES,
        commands: &[
            &["mcumgrctl", "--serial", "PORT", "--raw", "image", "upload", "FILE"],
            &[
                "mcumgrctl",
                "--serial",
                "PORT",
                "--raw",
                "image",
                "set-state",
                "--hash",
                "HASH",
                "--confirm",
            ],
            &["mcumgrctl", "--serial", "PORT", "--raw", "os", "system-reset"],
        ],
    },
];

impl Client {
    /// Lets it update a device, as far as it gets.
    fn update(&self, port: &Path, file: &str) {
        let bundle = std::fs::read(file).unwrap();
        let hash = hexadecimal(&bundle[bundle.len() - 32..]);
        for command in self.commands {
            let filled = command[1..].iter().map(|argument| match *argument {
                "PORT" => port.to_str().unwrap(),
                "FILE" => file,
                "HASH" => &hash,
                other => other,
            });
            if !succeeds(Command::new(command[0]).args(filled)) {
                // It gave up, as they do; what is on the device must be right all the same.
                return;
            }
        }
    }
}

/// Whether a client succeeds before our patience ends: some wait for ever for what noise swallowed.
fn succeeds(command: &mut Command) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

impl Place {
    /// Waits until the device does nothing by itself any more: no restart, no reading back, no self-test. A restart has a
    /// moment in which it does not say what it is about to do.
    fn wait_for_rest(&self) {
        let mut looks = 0;
        self.desk.site.wait("the end of the update", || {
            let status = self.desk.run(&["status"]);
            let rests = |activity: &Value| activity["state"] == "receiving" || activity["state"] == "trial";
            let rest = |status: &Value| status["activities"].as_array().unwrap().iter().all(rests);
            let is_quiet = status.code == Some(0) && rest(status.event("status"));
            looks = if is_quiet { looks + 1 } else { 0 };
            (looks > 3).then_some(())
        });
    }
}

/// They are no tools for such lines; what they bring must be right all the same.
fn others_update(client: &Client, first_seed: u64) {
    if !peer(client.present[0], &client.present[1..], client.install) {
        return;
    }
    let Some(place) = Place::new() else { return };
    let _service = place.desk.site.spawn();
    place.desk.done(&["upload", &place.first(), "--confirm", "--wait"]);
    let mut before = place.serving();
    let mut outcomes = [[0; 2]; 2];
    for seed in seeds(OTHERS_SEEDS) {
        let which = (seed % 2) as usize;
        let seed = first_seed + seed;
        let file = place.file(seed, OTHERS_UNLIKE);
        let faults = Arc::new(AtomicU64::new(0));
        let pump = noisy(&place.desk.port, seed, OTHERS_RARITIES[which], false, &faults);
        client.update(pump.port(), &file);
        drop(pump);
        place.wait_for_rest();
        let now = place.serving();
        assert!(
            now == before || now + 1 == place.count(),
            "{}, seed {seed}: {now} serves",
            client.name
        );
        outcomes[which][usize::from(now != before)] += 1;
        // What it left behind is not to be in the way of the next seed.
        place.desk.run(&["revert"]);
        place.wait_for_rest();
        before = place.serving();
    }
    for (rarity, [given_up, completed]) in OTHERS_RARITIES.iter().zip(outcomes) {
        println!(
            "{}, one error in {rarity} bytes: {completed} completed, {given_up} given up",
            client.name
        );
    }
}

#[test]
fn smpclient_activates_the_right_image_or_none_in_console_framing() {
    others_update(&CLIENTS[0], 4000);
}

#[test]
fn smpclient_activates_the_right_image_or_none_in_raw_framing() {
    others_update(&CLIENTS[1], 5000);
}

#[test]
fn smpmgr_activates_the_right_image_or_none() {
    others_update(&CLIENTS[2], 6000);
}

#[test]
fn mcumgrctl_activates_the_right_image_or_none_in_console_framing() {
    others_update(&CLIENTS[3], 7000);
}

#[test]
fn mcumgrctl_activates_the_right_image_or_none_in_raw_framing() {
    others_update(&CLIENTS[4], 8000);
}

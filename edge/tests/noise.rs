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
const PATIENCE: Duration = Duration::from_secs(30);
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

/// Whether smpclient succeeds before our patience ends.
fn smpclient(port: &Path, framing: &str, file: &str) -> bool {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/smpclient_noise.py"));
    command.arg(port).args([framing, file]);
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

/// Smpclient is no tool for such lines; what it brings must be right all the same.
fn smpclient_updates(framing: &str, first_seed: u64) {
    if !peer("python3", &["-c", "import smpclient, serial"], FROM_PYPI) {
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
        let succeeded = smpclient(pump.port(), framing, &file);
        drop(pump);
        if succeeded {
            place.desk.site.wait("the end of the update", || {
                let images = place.desk.images();
                let rests = |image: &serde_json::Value| {
                    image["pending"] != true && (image["active"] == true) == (image["confirmed"] == true)
                };
                images.iter().all(rests).then_some(())
            });
        }
        let now = place.serving();
        assert!(now == before || now + 1 == place.count(), "seed {seed}: {now} serves");
        outcomes[which][usize::from(now != before)] += 1;
        before = now;
        // What it left behind is not to be in the way of the next seed.
        place.desk.run(&["revert"]);
    }
    for (rarity, [given_up, completed]) in OTHERS_RARITIES.iter().zip(outcomes) {
        println!("smpclient, {framing}, one error in {rarity} bytes: {completed} completed, {given_up} given up");
    }
}

#[test]
fn smpclient_activates_the_right_image_or_none_in_console_framing() {
    smpclient_updates("console", 4000);
}

#[test]
fn smpclient_activates_the_right_image_or_none_in_raw_framing() {
    smpclient_updates("raw", 5000);
}

//! Uploads over a noisy line, each from its seed: they complete with the right digest, or nothing is activated.
//!
//! `SCANSIDE_SEEDS=100 cargo test -p scanside-flash --test noise` runs the long form; `SCANSIDE_SEEDS=21..22` repeats
//! one seed.

mod support;

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hardware::smp::SimulatedLine;
use support::pump::{Noisy, Pump, seeds};
use support::{Bundle, Run, device, flash, relatives, serving};

/// Seeds of a plain test run.
const SEEDS: u64 = 3;
/// Bytes of a bundle.
const BYTES: usize = 300_000;
/// Seeds of a plain test run for clients that take half a minute to give up.
const OTHERS_SEEDS: u64 = 1;
/// Bytes of a bundle for clients that are slow or give up early.
const OTHERS_BYTES: usize = 60_000;
/// How long such a client may take before it counts as having given up.
const OTHERS_PATIENCE: Duration = Duration::from_secs(120);

/// Sends a bundle over a line with one fault in `rarity` bytes, and lets it be confirmed.
fn flash_over_noise(seed: u64, rarity: f64, framing: &str) -> Run {
    let bundle = Bundle::new(BYTES, seed);
    let device = device(|device| device.expected = Some(bundle.bytes.clone()));
    over_noise(&bundle, &device, (seed, rarity, framing), &[])
}

/// Sends it to that device.
fn over_noise(bundle: &Bundle, device: &SimulatedLine, noise: (u64, f64, &str), more: &[&str]) -> Run {
    let (seed, rarity, framing) = noise;
    let faults = Arc::new(AtomicU64::new(0));
    let noisy = |salt: u64| Noisy::new(seed * 2 + salt, rarity, true, &faults);
    let pump = Pump::new(device.path(), noisy(0), noisy(1));
    let arguments = [
        "upload",
        bundle.file(),
        "--framing",
        framing,
        "--confirm",
        "--wait",
        "--json",
    ];
    let run = flash(pump.port(), &[&arguments[..], more].concat());
    let faults = faults.load(Ordering::Relaxed);
    let active = device.device().pairs[0][0].clone();
    let right = active.as_ref().is_none_or(|slot| slot.bytes == bundle.bytes);
    assert!(right, "seed {seed}, {framing}: a wrong image was activated");
    let confirmed = active.is_some_and(|slot| slot.confirmed);
    assert!(
        run.code == 0 && confirmed,
        "seed {seed}, {framing}, {faults} faults: code {}, confirmed {confirmed}\n{}{}",
        run.code,
        run.out,
        run.errors
    );
    let sent = run.event("sent");
    println!(
        "seed {seed}: {faults} faults, {} bytes on the line for {}, {:.1} s, {} at the end",
        sent["line_bytes"],
        sent["bytes"],
        sent["seconds"].as_f64().unwrap_or_default(),
        sent["framing"]
    );
    run
}

#[test]
fn console_completes_at_one_error_in_ten_thousand_bytes() {
    for seed in seeds(SEEDS) {
        flash_over_noise(seed, 10_000.0, "console");
    }
}

#[test]
fn raw_completes_at_one_error_in_a_hundred_thousand_bytes() {
    for seed in seeds(SEEDS) {
        let run = flash_over_noise(1000 + seed, 100_000.0, "raw");
        assert_eq!(run.event("sent")["framing"], "raw");
    }
}

#[test]
fn a_difference_has_no_blocks_and_completes_raw_all_the_same() {
    for seed in seeds(SEEDS).map(|seed| 3000 + seed) {
        let (old, new) = relatives(2, seed);
        let device = serving(&old, |device| device.expected = Some(new.bytes.clone()));
        let noise = (seed, 100_000.0, "raw");
        let run = over_noise(&new, &device, noise, &["--base", old.file()]);
        assert_eq!(run.event("sent")["as"], "delta", "{}", run.out);
    }
}

#[test]
fn auto_goes_over_to_console_at_one_error_in_ten_thousand_bytes() {
    let mut went_over = 0;
    for seed in seeds(SEEDS) {
        let run = flash_over_noise(2000 + seed, 10_000.0, "auto");
        went_over += u64::from(run.event("sent")["framing"] == "console");
    }
    assert_eq!(
        went_over,
        seeds(SEEDS).count() as u64,
        "raw is no framing for such a line"
    );
}

/// A client that is not ours.
struct Other {
    name: &'static str,
    present: &'static [&'static str],
    install: &'static str,
    /// One after the other; `PORT`, `FILE` and `HASH` stand for those.
    commands: &'static [&'static [&'static str]],
}

const FROM_CRATES: &str = "cargo install --locked --version 0.20.0 --no-default-features mcumgrctl";
const OTHERS: &[Other] = &[
    Other {
        name: "mcumgrctl --raw",
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
    Other {
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
    Other {
        name: "smpmgr",
        present: &["smpmgr", "--version"],
        install: "pip install -r .ci/requirements.txt",
        commands: &[&["smpmgr", "--port", "PORT", "upgrade", "FILE", "--confirm"]],
    },
];

impl Other {
    /// Whether it can be started; absent, it is skipped with what to install, but in CI that fails.
    fn is_present(&self) -> bool {
        let found = Command::new(self.present[0]).args(&self.present[1..]).output();
        let found = found.is_ok_and(|output| output.status.success());
        if !found {
            let absent = format!("{} is not on the PATH; {}", self.present[0], self.install);
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{absent}");
            eprintln!("skipped: {absent}");
        }
        found
    }

    /// Lets it update a device over a noisy line, and gives whether the image became active.
    fn update(&self, seed: u64, rarity: f64) -> bool {
        let bundle = Bundle::new(OTHERS_BYTES, seed);
        let device = device(|device| device.expected = Some(bundle.bytes.clone()));
        let faults = Arc::new(AtomicU64::new(0));
        let noisy = |salt: u64| Noisy::new(seed * 2 + salt, rarity, false, &faults);
        let pump = Pump::new(device.path(), noisy(0), noisy(1));
        for command in self.commands {
            let filled = command[1..].iter().map(|argument| match *argument {
                "PORT" => pump.port().as_os_str(),
                "FILE" => bundle.path.as_os_str(),
                "HASH" => OsStr::new(&bundle.hash),
                other => OsStr::new(other),
            });
            if !succeeds(Command::new(command[0]).args(filled)) {
                // It gave up, as they do; what is on the device must be right all the same.
                break;
            }
        }
        let active = device.device().pairs[0][0].clone();
        let right = active.as_ref().is_none_or(|slot| slot.bytes == bundle.bytes);
        assert!(right, "seed {seed}, {}: a wrong image was activated", self.name);
        active.is_some()
    }
}

/// Whether a client succeeds before our patience ends: some wait for ever for what noise swallowed.
fn succeeds(command: &mut Command) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < OTHERS_PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[test]
fn other_clients_give_up_or_activate_the_right_image() {
    for other in OTHERS.iter().filter(|other| other.is_present()) {
        for rarity in [10_000.0, 100_000.0] {
            let seeds = seeds(OTHERS_SEEDS);
            let all = seeds.clone().count();
            let completed = seeds.filter(|seed| other.update(3000 + seed, rarity)).count();
            println!(
                "{} at one error in {rarity} bytes: {completed} of {all} completed",
                other.name
            );
        }
    }
}

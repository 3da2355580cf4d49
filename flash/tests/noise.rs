//! Uploads over a noisy line, each from its seed: they complete with the right digest, or nothing is activated.
//!
//! `SCANSIDE_SEEDS=100 cargo test -p scanside-flash --test noise` runs the long form; `SCANSIDE_SEEDS=21..22` repeats
//! one seed. Clients that are not ours, and a device that does not know the right file, are in `edge/tests/noise.rs`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hardware::smp::SimulatedLine;
use support::pump::{Noisy, Pump, seeds};
use support::{Bundle, Run, device, flash, relatives, serving};

/// Seeds of a plain test run.
const SEEDS: u64 = 3;
/// Bytes of a bundle.
const BYTES: usize = 300_000;

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

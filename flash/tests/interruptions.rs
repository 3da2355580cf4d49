//! Uploads that are interrupted: the program killed, the cable pulled, answers lost, blocks damaged.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use hardware::smp::port::Pty;
use hardware::smp::{Activity, ScansideGroup, SimulatedLine};
use support::pump::{Channel, Paced, Pump};
use support::{Bundle, Run, device, end, flash, start};

const UPLOAD: [&str; 3] = ["upload", "--json", "--patience=20"];

fn upload(port: &Path, bundle: &Bundle) -> Run {
    flash(port, &[&UPLOAD[..], &[bundle.file()]].concat())
}

/// Pulls the cable once, after so many bytes.
struct PulledAt(Option<usize>);

impl Channel for PulledAt {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        if let Some(left) = &mut self.0 {
            *left = left.saturating_sub(piece.len());
        }
        piece.to_vec()
    }

    fn pulled(&mut self) -> bool {
        self.0.take_if(|left| *left == 0).is_some()
    }
}

/// Loses every n-th piece as a whole.
struct Losing {
    every: u64,
    seen: u64,
    lost: Arc<AtomicU64>,
}

impl Channel for Losing {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return piece.to_vec();
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    }
}

/// Changes nothing.
struct Clear;

impl Channel for Clear {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        piece.to_vec()
    }
}

#[test]
fn a_killed_program_leaves_an_upload_that_the_next_one_goes_on_with() {
    let (bundle, device) = (Bundle::new(400_000, 20), device(|_| ()));
    let pump = Pump::new(device.path(), Paced::new(921_600), Paced::new(921_600));
    let mut first = start(pump.port(), &[&UPLOAD[..], &[bundle.file()]].concat());
    wait_for_bytes(&device, 100_000);
    first.kill().unwrap();
    let killed = end(first);
    assert_ne!(killed.code, 0);
    // The device waits as long as it takes: also for what was on its way.
    sleep(Duration::from_millis(1500));
    let had = received(&device);
    assert!(had < bundle.bytes.len() as u64, "it was done before it could be killed");
    let run = upload(pump.port(), &bundle).expect(0);
    let sent = run.event("sent");
    assert_eq!(sent["resumed_at"], had);
    assert!(
        sent["line_bytes"].as_u64().unwrap() < bundle.bytes.len() as u64,
        "{sent}"
    );
    assert!(device.device().pairs[0][1].as_ref().unwrap().bytes == bundle.bytes);
}

/// Waits until the device has so many bytes, and not yet all.
fn wait_for_bytes(device: &SimulatedLine, bytes: u64) {
    for _ in 0..3000 {
        if received(device) >= bytes {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("{bytes} bytes have not arrived in a minute");
}

fn received(device: &SimulatedLine) -> u64 {
    let status = device.device().status();
    let bytes = status.activities.iter().find_map(|activity| match activity {
        Activity::Receiving { bytes, .. } => Some(*bytes),
        _ => None,
    });
    bytes.unwrap_or(0)
}

#[test]
fn a_pulled_cable_is_waited_for() {
    let bundle = Bundle::new(200_000, 21);
    // What is left of a piece and the beginning of another may look like one: the checksums of blocks find that.
    let device = device(|device| device.expected = Some(bundle.bytes.clone()));
    let pump = Pump::new(device.path(), PulledAt(Some(100_000)), Clear);
    let run = upload(pump.port(), &bundle).expect(0);
    let remarks: Vec<_> = run
        .events()
        .into_iter()
        .filter(|event| event["event"] == "remark")
        .collect();
    assert!(
        remarks.iter().any(|remark| remark["text"] == "the port is back"),
        "{remarks:?}"
    );
    assert!(device.device().pairs[0][1].as_ref().unwrap().bytes == bundle.bytes);
}

#[test]
fn a_cable_that_stays_away_ends_with_code_5() {
    let (bundle, device) = (Bundle::new(400_000, 22), device(|_| ()));
    let pump = Pump::new(device.path(), Paced::new(921_600), Paced::new(921_600));
    let child = start(pump.port(), &["upload", bundle.file(), "--json", "--patience=1"]);
    wait_for_bytes(&device, 10_000);
    drop(pump);
    let run = end(child).expect(5);
    let error = run.event("error");
    assert!(
        error["message"].as_str().unwrap().contains("did not come back"),
        "{error}"
    );
    assert!(
        error["try"].as_str().unwrap().contains("goes on where it stood"),
        "{error}"
    );
}

#[test]
fn lost_answers_do_no_harm() {
    let (bundle, device) = (Bundle::new(300_000, 23), device(|_| ()));
    let lost = Arc::new(AtomicU64::new(0));
    let losing = Losing {
        every: 5,
        seen: 0,
        lost: lost.clone(),
    };
    let pump = Pump::new(device.path(), Clear, losing);
    upload(pump.port(), &bundle).expect(0);
    assert!(lost.load(Ordering::Relaxed) > 0);
    assert!(device.device().pairs[0][1].as_ref().unwrap().bytes == bundle.bytes);
}

#[test]
fn a_damaged_block_is_sent_again() {
    let bundle = Bundle::new(100_000, 24);
    let device = device(|device| device.damage_at = Some(512));
    let run = upload(device.path(), &bundle).expect(0);
    assert!(run.event("sent")["faults"].as_u64().unwrap() > 0);
    assert!(device.device().pairs[0][1].as_ref().unwrap().bytes == bundle.bytes);
}

#[test]
fn a_device_that_dies_half_way_is_told_from_a_pulled_cable() {
    let bundle = Bundle::new(400_000, 25);
    // It echoes nothing and answers nothing: the port is there, the service is not.
    let silent = Pty::open().unwrap();
    let run = flash(silent.path(), &["upload", bundle.file(), "--patience", "1"]).expect(5);
    assert!(run.errors.contains("no device answers"), "{}", run.errors);
}

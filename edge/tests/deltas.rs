//! scanside-flash against the service: a bundle goes as a difference, is interrupted, or goes whole where it must.

mod desk;
mod service;
mod support;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bundle::container::PayloadFile;
use bundle::manifest::FileKind;
use desk::{Desk, Run};

/// Bytes of a file that makes bundles long enough to be interrupted.
const LONG: usize = 2_000_000;
/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file of noise, and after that every second byte of it another.
fn long(changed: bool) -> impl FnOnce(&mut Vec<PayloadFile>) {
    let mut state = 7_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let old: Vec<u8> = (0..LONG).map(|_| next()).collect();
    let new = old
        .iter()
        .enumerate()
        .map(|(n, byte)| if n % 2 == 0 { next() } else { *byte });
    let bytes = if changed { new.collect() } else { old };
    move |files| files.push(PayloadFile::new("report/long.bin", FileKind::Report, bytes))
}

#[test]
fn a_relative_goes_as_a_difference_is_tried_and_confirmed() {
    let Some(desk) = Desk::new() else { return };
    let site = &desk.site;
    let (first, second) = (site.file("first.scanside"), site.file("second.scanside"));
    let _service = site.spawn();
    let run = desk.done(&["upload", &first, "--confirm", "--wait"]);
    assert_eq!(run.choices(), ["no-model"]);

    let run = desk.done(&["upload", &second, "--confirm", "--wait"]);
    assert_eq!(run.choices(), ["smaller"]);
    let (choice, sent) = (run.event("choice"), run.event("sent"));
    assert_eq!(
        (&choice["base_file"], &sent["as"]),
        (&first.as_str().into(), &"delta".into())
    );
    assert!(sent["line_bytes"].as_u64() < choice["whole_bytes"].as_u64(), "{sent}");
    let images = desk.images();
    let serving = images.iter().find(|image| image["active"] == true).unwrap();
    assert!(
        serving["confirmed"] == true && serving["hash"] == sent["hash"],
        "{images:?}"
    );
}

#[test]
fn a_difference_goes_on_after_the_service_was_killed() {
    let Some(desk) = Desk::paced(300_000) else { return };
    let site = &desk.site;
    let first = site.file_with("first.scanside", long(false));
    let second = site.file_with("second.scanside", long(true));
    let deltas = site.path("state/deltas");
    let service = site.spawn();
    desk.done(&["upload", &first, "--confirm", "--wait"]);

    let child = desk.start(&["upload", &second, "--patience=60"]);
    let had = wait_for_bytes(&deltas, 200_000);
    service.kill();
    let _service = site.spawn();
    // The tool is patient: the same run goes on where the service finds what it had.
    let run = Run::of(child.wait_with_output().unwrap()).well();
    assert_eq!(run.choices(), ["smaller"]);
    let (choice, sent) = (run.event("choice"), run.event("sent"));
    let (sent_bytes, line) = (
        sent["sent_bytes"].as_u64().unwrap(),
        sent["line_bytes"].as_u64().unwrap(),
    );
    assert_eq!(choice["delta_bytes"], sent_bytes);
    assert!(had + 50_000 < sent_bytes, "it was done before it could be killed");
    // What was there was not sent again.
    assert!(
        line < sent_bytes + had / 2,
        "{line} bytes for {sent_bytes}, {had} were there"
    );
    assert_eq!(run.event("stored")["hash"], sent["hash"]);
}

#[test]
fn a_difference_whose_program_was_killed_goes_on_and_leads_to_the_bundle() {
    let Some(desk) = Desk::paced(300_000) else { return };
    let site = &desk.site;
    let first = site.file_with("first.scanside", long(false));
    let second = site.file_with("second.scanside", long(true));
    let deltas = site.path("state/deltas");
    let _service = site.spawn();
    desk.done(&["upload", &first, "--confirm", "--wait"]);

    let mut child = desk.start(&["upload", &second]);
    wait_for_bytes(&deltas, 200_000);
    child.kill().unwrap();
    child.wait().unwrap();
    sleep(Duration::from_secs(2));
    let run = desk.done(&["upload", &second]);
    assert_eq!(run.choices(), ["smaller"]);
    let sent = run.event("sent");
    assert!(sent["resumed_at"].as_u64().unwrap() >= 200_000, "{sent}");
    let images = desk.images();
    let stored = images.iter().find(|image| image["active"] != true).unwrap();
    assert!(
        stored["bootable"] == true && stored["hash"] == sent["hash"],
        "{images:?}"
    );
}

#[test]
fn without_a_base_or_with_another_one_it_goes_whole() {
    let Some(desk) = Desk::new() else { return };
    let site = &desk.site;
    let (first, second) = (site.file("first.scanside"), site.file("second.scanside"));
    std::fs::create_dir(site.path("elsewhere")).unwrap();
    let moved = site.path("elsewhere/new.scanside");
    std::fs::rename(&second, &moved).unwrap();
    let moved = moved.to_str().unwrap();
    let other = site.file("other.scanside");
    let _service = site.spawn();
    desk.done(&["upload", &first, "--no-cache", "--confirm", "--wait"]);
    let run = desk.done(&["upload", moved, "--no-cache", "--base", &other]);
    assert_eq!(run.choices(), ["base-absent"]);
    assert_eq!(run.event("sent")["as"], "whole");
    desk.done(&["erase"]);
    let run = desk.done(&["upload", moved, "--no-cache", "--base", &first]);
    assert_eq!(run.choices(), ["smaller"]);
    assert_eq!(run.event("stored")["hash"], run.event("sent")["hash"]);
}

/// Waits until a difference of so many bytes lies in the folder, and gives how many.
fn wait_for_bytes(folder: &Path, bytes: u64) -> u64 {
    let start = Instant::now();
    loop {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).max();
        if let Some(found) = found.filter(|found| *found >= bytes) {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {bytes} bytes of a difference");
        sleep(Duration::from_millis(10));
    }
}

//! Uploads to a device that has a relative of the bundle: whole or as a difference, and what becomes of either.

mod support;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use hardware::smp::{Activity, Code, Rebuild, Refusal, ScansideGroup, SimulatedLine};
use serde_json::Value;
use support::pump::{Paced, Pump};
use support::{Bundle, NETWORK, Run, command, device, end, flash, relatives, serving, start};

/// What a bundle here may be long beside its network, in bytes.
const REST: u64 = 20_000;

fn upload(port: &Path, bundle: &Bundle, more: &[&str]) -> Run {
    let arguments = ["upload", bundle.file(), "--json", "--patience=20"];
    flash(port, &[&arguments[..], more].concat())
}

/// What was chosen, first to last.
fn choices(run: &Run) -> Vec<(String, String)> {
    let choices = run.events().into_iter().filter(|event| event["event"] == "choice");
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    choices
        .map(|choice| (word(&choice["send"]), word(&choice["why"])))
        .collect()
}

#[track_caller]
fn chose(run: &Run, wanted: &[(&str, &str)]) {
    let found = choices(run);
    let found: Vec<(&str, &str)> = found.iter().map(|(send, why)| (send.as_str(), why.as_str())).collect();
    assert_eq!(found, wanted, "{}{}", run.out, run.errors);
}

fn stored(device: &SimulatedLine) -> Option<Vec<u8>> {
    device.device().pairs[0][1].as_ref().map(|slot| slot.bytes.clone())
}

#[test]
fn a_relative_goes_as_a_difference_from_each_place_that_a_base_may_lie_in() {
    let (old, new) = relatives(10, 40);
    let beside = new.folder.path().join("old.scanside");
    let folder = old.folder.path().to_str().unwrap();
    for more in [&["--base", old.file()][..], &["--bases", folder], &[]] {
        if more.is_empty() {
            std::fs::copy(&old.path, &beside).unwrap();
        }
        let device = serving(&old, |device| device.slowness = 2);
        let run = upload(device.path(), &new, &[more, &["--no-cache"]].concat()).expect(0);
        chose(&run, &[("delta", "smaller")]);
        let choice = run.event("choice");
        assert_eq!(choice["base"], old.hash.as_str(), "{choice}");
        assert_eq!(choice["whole_left"], new.bytes.len(), "{choice}");
        let sent = run.event("sent");
        assert_eq!(
            (&sent["as"], &sent["bytes"]),
            (&"delta".into(), &new.bytes.len().into())
        );
        assert_eq!(sent["sent_bytes"], choice["delta_bytes"]);
        assert!(
            sent["line_bytes"].as_u64().unwrap() * 3 < new.bytes.len() as u64,
            "{sent}"
        );
        assert_eq!(run.stages(), ["preflight", "comparing", "sending", "verifying"]);
        assert_eq!(run.event("stored")["hash"], new.hash.as_str());
        assert!(stored(&device) == Some(new.bytes.clone()));
    }
}

#[test]
fn without_the_base_it_goes_whole_and_is_a_base_itself_from_then_on() {
    let (old, new) = relatives(10, 41);
    let caches = tempfile::tempdir().unwrap();
    let run = |device: &SimulatedLine, bundle: &Bundle, more: &[&str]| {
        let arguments = [&["upload", bundle.file(), "--json"], more].concat();
        let mut command = command(device.path(), &arguments);
        command.env("XDG_CACHE_HOME", caches.path());
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        end(command.spawn().unwrap()).expect(0)
    };
    let first = device(|_| ());
    chose(&run(&first, &old, &["--no-cache"]), &[("whole", "no-model")]);
    let device = serving(&old, |_| ());
    let text = run(&device, &new, &[]);
    chose(&text, &[("whole", "base-absent")]);
    assert!(text.out.contains(&old.hash[..12]), "{}", text.out);
    assert!(stored(&device) == Some(new.bytes.clone()));
    // A copy of what was sent is kept, and serves when that bundle's successor comes.
    let device = serving(&new, |_| ());
    chose(&run(&device, &old, &["--no-cache"]), &[("whole", "base-absent")]);
    let device = serving(&new, |_| ());
    chose(&run(&device, &old, &[]), &[("delta", "smaller")]);
    assert!(stored(&device) == Some(old.bytes.clone()));
}

#[test]
fn whoever_asks_for_it_goes_whole() {
    let (old, new) = relatives(10, 44);
    std::fs::copy(&old.path, new.folder.path().join("old.scanside")).unwrap();
    let device = serving(&old, |_| ());
    let run = upload(device.path(), &new, &["--full"]).expect(0);
    chose(&run, &[("whole", "asked")]);
    assert_eq!(run.event("sent")["as"], "whole");
    assert!(stored(&device) == Some(new.bytes.clone()));
    upload(device.path(), &new, &["--full", "--base", old.file()]).expect(2);
}

#[test]
fn of_a_stranger_a_difference_has_little_less_to_send_and_leads_to_it_all_the_same() {
    let (old, new) = (Bundle::new(NETWORK, 42), Bundle::new(NETWORK + 1, 43));
    let device = serving(&old, |_| ());
    let run = upload(device.path(), &new, &["--base", old.file()]).expect(0);
    // What both share is a few files that are no network.
    chose(&run, &[("delta", "smaller")]);
    let left = run.event("choice")["delta_left"].as_u64().unwrap();
    assert!((NETWORK as u64..new.bytes.len() as u64).contains(&left), "{}", run.out);
    assert!(stored(&device) == Some(new.bytes.clone()));
}

#[test]
fn a_refused_difference_is_followed_by_the_whole_bundle() {
    let (old, new) = relatives(10, 45);
    for (code, words) in [
        (Code::WrongBase, "another model serves"),
        (Code::Space, "no room for it"),
    ] {
        let device = serving(&old, |device| {
            device.refuse_delta = Some(Refusal::new(code, words));
        });
        let run = upload(device.path(), &new, &["--base", old.file()]).expect(0);
        chose(&run, &[("whole", "refused")]);
        assert!(
            run.event("choice")["text"].as_str().unwrap().contains(words),
            "{}",
            run.out
        );
        assert!(stored(&device) == Some(new.bytes.clone()));
    }
}

#[test]
fn a_difference_that_leads_nowhere_is_followed_by_the_whole_bundle() {
    let (old, new) = relatives(10, 46);
    let device = serving(&old, |device| device.rebuild = Rebuild(|_, _| None));
    let run = upload(device.path(), &new, &["--base", old.file()]).expect(0);
    chose(&run, &[("delta", "smaller"), ("whole", "failed")]);
    assert!(
        run.event("choice")["text"].as_str().unwrap().contains("does not lead"),
        "{}",
        run.out
    );
    assert_eq!(run.event("sent")["as"], "whole");
    assert!(stored(&device) == Some(new.bytes.clone()));
}

/// Waits until the device has so many bytes of what is being sent, and not yet all.
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

/// Uploads until so many bytes are there, kills the program, and gives what the device has then.
fn killed_at(device: &SimulatedLine, pump: &Pump, arguments: &[&str], bytes: u64) -> u64 {
    let mut first = start(pump.port(), arguments);
    wait_for_bytes(device, bytes);
    first.kill().unwrap();
    assert_ne!(end(first).code, 0);
    // The device waits as long as it takes: also for what was on its way.
    sleep(Duration::from_millis(1500));
    received(device)
}

#[test]
fn a_difference_that_was_interrupted_goes_on_where_it_stood() {
    let (old, new) = relatives(2, 47);
    let device = serving(&old, |_| ());
    let pump = Pump::new(device.path(), Paced::new(921_600), Paced::new(921_600));
    let arguments = ["upload", new.file(), "--base", old.file(), "--patience=20"];
    let had = killed_at(&device, &pump, &arguments, 60_000);
    let run = upload(pump.port(), &new, &["--base", old.file()]).expect(0);
    chose(&run, &[("delta", "smaller")]);
    let (choice, sent) = (run.event("choice"), run.event("sent"));
    assert_eq!(sent["resumed_at"], had);
    assert_eq!(choice["delta_left"], choice["delta_bytes"].as_u64().unwrap() - had);
    assert!(stored(&device) == Some(new.bytes.clone()));
}

#[test]
fn a_difference_larger_than_what_is_left_of_a_whole_upload_is_not_sent() {
    let (old, new) = relatives(2, 48);
    let device = serving(&old, |_| ());
    let pump = Pump::new(device.path(), Paced::new(921_600), Paced::new(921_600));
    let arguments = ["upload", new.file(), "--full", "--patience=20"];
    let had = killed_at(&device, &pump, &arguments, NETWORK as u64 - 2 * REST);
    let run = upload(pump.port(), &new, &["--base", old.file()]).expect(0);
    chose(&run, &[("whole", "not-smaller")]);
    assert_eq!(run.event("choice")["whole_left"], new.bytes.len() as u64 - had);
    assert_eq!(run.event("sent")["resumed_at"], had);
    assert!(stored(&device) == Some(new.bytes.clone()));
}

#[test]
fn a_person_reads_what_was_chosen_and_why() {
    let (old, new) = relatives(10, 49);
    let device = serving(&old, |_| ());
    let run = flash(
        device.path(),
        &["upload", new.file(), "--base", old.file(), "--no-cache"],
    )
    .expect(0);
    for words in [
        "sending the difference to",
        &old.hash[..12],
        "instead of",
        "stored and checked",
    ] {
        assert!(
            format!("{}{}", run.out, run.errors).contains(words),
            "{words}: {}{}",
            run.out,
            run.errors
        );
    }
    let again = flash(
        device.path(),
        &["upload", new.file(), "--base", old.file(), "--no-cache"],
    )
    .expect(0);
    assert!(again.out.contains("nothing to send"), "{}", again.out);
}

//! Each verb of the built program against a simulated device.

mod support;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use hardware::smp::{Code, Outcome, OutcomeKind, Problem, Receiver, Refusal, SimulatedLine, Slot};
use support::pump::{Channel, Pump};
use support::{Bundle, device, end, flash, start};

#[test]
fn a_bundle_is_stored_and_nothing_else_happens() {
    let (bundle, device) = (Bundle::new(50_000, 1), device(|device| device.slowness = 3));
    let run = flash(device.path(), &["upload", bundle.file(), "--json"]).expect(0);
    assert_eq!(run.stages(), ["preflight", "sending", "verifying"]);
    assert_eq!(run.event("stored")["hash"], bundle.hash.as_str());
    assert_eq!(run.event("sent")["bytes"], bundle.bytes.len());
    let pair = device.device().pairs[0].clone();
    let stored = pair[1].clone().unwrap();
    assert!(stored.bytes == bundle.bytes && !stored.pending && pair[0].is_none());
}

#[test]
fn trial_and_confirmation_are_followed_to_their_end() {
    let (bundle, device) = (Bundle::new(20_000, 2), device(|device| device.slowness = 2));
    let run = flash(device.path(), &["upload", bundle.file(), "--test", "--wait", "--json"]).expect(0);
    assert_eq!(
        run.stages(),
        ["preflight", "sending", "verifying", "restarting", "self-test"]
    );
    let state = run.event("done")["state"].clone();
    assert!(state["active"] == true && state["confirmed"] == false, "{state}");

    let status = flash(device.path(), &["status"]).expect(0);
    assert!(status.out.contains("runs on trial"), "{}", status.out);
    let run = flash(device.path(), &["confirm", "--json"]).expect(0);
    assert_eq!(run.event("done")["state"]["confirmed"], true);
    let again = flash(device.path(), &["confirm", bundle.file()]).expect(0);
    assert!(again.out.contains("nothing to do"), "{}", again.out);
    let nothing = flash(device.path(), &["confirm"]).expect(3);
    assert!(nothing.errors.contains("no image is on trial"), "{}", nothing.errors);
    let nothing = flash(device.path(), &["revert"]).expect(5);
    assert!(nothing.errors.contains("no trial runs"), "{}", nothing.errors);
}

#[test]
fn confirm_at_once_waits_for_the_self_test() {
    let (bundle, device) = (Bundle::new(20_000, 3), device(|device| device.slowness = 2));
    let run = flash(
        device.path(),
        &["upload", bundle.file(), "--confirm", "--wait", "--json"],
    )
    .expect(0);
    assert_eq!(run.event("done")["state"]["confirmed"], true);
    assert!(device.device().pairs[0][0].as_ref().unwrap().confirmed);
}

#[test]
fn a_failed_self_test_is_told_with_its_reason_and_code_4() {
    let bundle = Bundle::new(20_000, 4);
    let device = device(|device| (device.slowness, device.passes) = (2, false));
    let run = flash(device.path(), &["upload", bundle.file(), "--confirm", "--wait"]).expect(4);
    assert!(run.errors.contains("a golden case differs"), "{}", run.errors);
    assert!(run.errors.contains("try: "), "{}", run.errors);
}

#[test]
fn an_image_on_the_device_is_put_to_use_without_sending_it_again() {
    let (bundle, device) = (Bundle::new(20_000, 5), device(|_| ()));
    flash(device.path(), &["upload", bundle.file()]).expect(0);
    let run = flash(device.path(), &["upload", bundle.file(), "--json"]).expect(0);
    assert_eq!(run.event("present")["state"]["bootable"], true);
    assert!(!run.stages().contains(&"sending".to_owned()));
    let run = flash(device.path(), &["test", &bundle.hash[..8], "--no-reset", "--json"]).expect(0);
    assert_eq!(run.event("done")["state"]["pending"], true);
    assert!(device.device().pairs[0][1].as_ref().unwrap().pending);

    flash(device.path(), &["revert"]).expect(0);
    assert!(!device.device().pairs[0][1].as_ref().unwrap().pending);
    flash(device.path(), &["revert"]).expect(0);

    flash(device.path(), &["test", bundle.file(), "--wait"]).expect(0);
    flash(device.path(), &["revert", "--json"]).expect(0);
    assert!(device.device().pairs[0][0].is_none());
    flash(device.path(), &["erase"]).expect(0);
    assert!(device.device().pairs[0][1].is_none());
}

#[test]
fn refusals_come_before_anything_is_sent_with_their_codes() {
    let bundle = Bundle::new(20_000, 6);
    for (code, exit) in [
        (Code::Signature, 4),
        (Code::Downgrade, 4),
        (Code::Role, 3),
        (Code::Space, 3),
    ] {
        let refusal = Refusal::new(code, "in the device's own words");
        let device = device(|device| device.refuse = Some(refusal));
        for verb in ["preflight", "upload"] {
            let run = flash(device.path(), &[verb, bundle.file(), "--json"]).expect(exit);
            let error = run.event("error");
            assert!(
                error["message"].as_str().unwrap().contains("in the device's own words"),
                "{error}"
            );
            assert!(!error["try"].as_str().unwrap().is_empty());
            assert_eq!(run.stages(), ["preflight"]);
        }
    }
    let device = device(|device| device.roles = vec!["chest-ct".to_owned()]);
    let run = flash(device.path(), &["upload", bundle.file()]).expect(3);
    assert!(run.errors.contains("this device has chest-ct"), "{}", run.errors);
    flash(device.path(), &["preflight", bundle.file(), "--image", "0"]).expect(0);
}

#[test]
fn a_bundle_goes_to_the_image_of_its_role() {
    let bundle = Bundle::new(60_000, 7);
    let device = device(|device| {
        device.roles.insert(0, "chest-ct".to_owned());
        device.pairs.push([None, None]);
    });
    let run = flash(device.path(), &["upload", bundle.file(), "--json"]).expect(0);
    assert_eq!(run.event("stored")["image"], 1);
    assert!(device.device().pairs[1][1].is_some());
    flash(device.path(), &["erase", "--image", "1"]).expect(0);
    assert!(device.device().pairs[1][1].is_none());
}

#[test]
fn a_key_is_checked_before_a_port_is_opened() {
    let (bundle, other) = (Bundle::new(1000, 8), Bundle::new(1000, 9));
    let (none, key) = (Path::new("/dev/there-is-none"), other.key.to_str().unwrap());
    let run = flash(none, &["upload", bundle.file(), "--key", key]).expect(4);
    assert!(run.errors.contains("unknown key"), "{}", run.errors);
    let run = flash(none, &["upload", bundle.file(), "--key", bundle.key.to_str().unwrap()]).expect(5);
    assert!(
        run.errors.contains("no serial port") && run.errors.contains("scanside-flash ports"),
        "{}",
        run.errors
    );
}

#[test]
fn inspect_and_ports_need_no_device() {
    let bundle = Bundle::new(1000, 10);
    let none = Path::new("/dev/there-is-none");
    let key = bundle.key.to_str().unwrap();
    let run = flash(none, &["inspect", bundle.file(), "--key", key]).expect(0);
    assert!(
        run.out.contains("security counter 7") && run.out.contains("signed by"),
        "{}",
        run.out
    );
    let run = flash(none, &["inspect", bundle.file(), "--key", key, "--json"]).expect(0);
    assert_eq!(run.event("bundle")["manifest"]["name"], "example-triage");
    assert_eq!(run.out.lines().count(), 1);
    flash(none, &["inspect", bundle.file()]).expect(2);
    assert!(flash(none, &["ports", "--json"]).expect(0).event("ports")["ports"].is_array());
}

#[test]
fn files_come_whole_and_where_they_are_wanted() {
    let log: Vec<u8> = (0..5000_u32)
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect();
    let device = device(|device| {
        device.files.insert("logs/long.log".to_owned(), log.clone());
        device
            .files
            .insert("doctor.json".to_owned(), b"{\"healthy\":true}".to_vec());
        for number in 0..100 {
            device.files.insert(format!("results/{number:05}.json"), Vec::new());
        }
    });
    let run = flash(device.path(), &["logs"]).expect(0);
    assert!(
        run.out.contains("logs/long.log") && !run.out.contains("results/"),
        "{}",
        run.out
    );
    let run = flash(device.path(), &["results", "--json"]).expect(0);
    assert_eq!(run.event("files")["files"].as_array().unwrap().len(), 101);

    assert_eq!(
        flash(device.path(), &["logs", "long.log"]).expect(0).out.as_bytes(),
        log
    );
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    flash(device.path(), &["logs", "--out", out, "--quiet"]).expect(0);
    assert_eq!(std::fs::read(folder.path().join("logs/long.log")).unwrap(), log);
    assert!(folder.path().join("logs/service.log").exists());
    let run = flash(device.path(), &["logs", "none.log"]).expect(3);
    assert!(run.errors.contains("list the files"), "{}", run.errors);

    let run = flash(device.path(), &["doctor", "--json"]).expect(0);
    assert_eq!(run.event("line")["lost"], 0);
    assert_eq!(run.event("report")["report"]["healthy"], true);
}

#[test]
fn doctor_tests_the_running_model() {
    let failing = device(|device| {
        device.pairs[0][0] = Some(Slot::new(vec![1; 100]));
        device.passes = false;
    });
    let run = flash(failing.path(), &["doctor", "--self-test"]).expect(4);
    assert!(run.errors.contains("a golden case differs"), "{}", run.errors);
    assert!(run.out.contains("20 of 20 echoes"), "{}", run.out);
}

#[test]
fn a_self_test_from_before_is_no_answer_for_the_one_that_was_asked_for() {
    let failing = device(|device| {
        device.pairs[0][0] = Some(Slot::new(vec![1; 100]));
        device.outcomes.push(Outcome {
            image: 0,
            kind: OutcomeKind::Passed,
            reason: "long ago".to_owned(),
        });
        (device.slowness, device.passes) = (3, false);
    });
    let run = flash(failing.path(), &["doctor", "--self-test"]).expect(4);
    assert!(run.errors.contains("a golden case differs"), "{}", run.errors);
}

#[test]
fn what_is_wrong_with_the_device_is_told() {
    let problem = |image, problem: &str| Problem {
        image,
        problem: problem.to_owned(),
    };
    let device = device(|device| {
        device.problems = vec![
            problem(None, "no library"),
            problem(Some(0), "cannot write the record chest-xray: no space"),
        ];
    });
    for verb in ["status", "doctor"] {
        let run = flash(device.path(), &[verb]).expect(0);
        let told = "PROBLEM: no library\nPROBLEM with chest-xray: cannot write the record chest-xray: no space\n";
        assert!(run.out.contains(told), "{verb}: {}", run.out);
        let run = flash(device.path(), &[verb, "--json"]).expect(0);
        let name = if verb == "status" { "status" } else { "problems" };
        assert_eq!(run.event(name)["problems"][1]["image"], 0);
    }
}

#[test]
fn the_clock_is_shown_and_set_and_never_goes_back() {
    let device = device(|_| ());
    let run = flash(device.path(), &["time"]).expect(0);
    assert!(run.out.contains("never set"), "{}", run.out);
    flash(device.path(), &["time", "--set", "2030-01-31T23:59:59Z"]).expect(0);
    let run = flash(device.path(), &["time", "--json"]).expect(0);
    assert_eq!(run.event("time")["device"], "2030-01-31T23:59:59+00:00");
    flash(device.path(), &["time", "--set", "2029-01-01T00:00:00Z"]).expect(5);
    flash(device.path(), &["time", "--set", "yesterday"]).expect(2);
}

#[test]
fn reset_waits_for_the_device() {
    let device = device(|_| ());
    let run = flash(device.path(), &["reset", "--wait", "--json"]).expect(0);
    assert_eq!(run.event("restarted")["event"], "restarted");
    flash(device.path(), &["reset", "--force", "--quiet"]).expect(0);
}

/// Loses what asks for a restart, so many times.
struct Deaf(u32);

impl Channel for Deaf {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut receiver = Receiver::new(8192, Duration::from_secs(1));
        receiver.push(piece, Duration::ZERO);
        let restart = |message: &[u8]| message[0] & 7 == 2 && message[4..6] == [0, 0] && message[7] == 5;
        let asks = std::iter::from_fn(|| receiver.next()).any(|frame| restart(&frame.message));
        if self.0 > 0 && asks {
            self.0 -= 1;
            return Vec::new();
        }
        piece.to_vec()
    }
}

/// A port whose line loses so many restarts.
fn deaf(device: &SimulatedLine, times: u32) -> Pump {
    Pump::new(device.path(), Deaf(times), Deaf(0))
}

#[test]
fn a_restart_that_was_lost_on_the_line_is_asked_for_again() {
    let bundle = Bundle::new(2000, 21);
    for arguments in [
        &["reset"][..],
        &["reset", "--wait"],
        &["upload", bundle.file(), "--test"],
        &["upload", bundle.file(), "--confirm", "--wait"],
    ] {
        let device = device(|_| ());
        flash(deaf(&device, 1).port(), arguments).expect(0);
        assert_eq!(device.device().run, 1, "{arguments:?}");
        let device = support::device(|_| ());
        let run = flash(deaf(&device, 99).port(), arguments).expect(5);
        assert!(run.errors.contains("did not hear"), "{}", run.errors);
        assert_eq!(device.device().run, 0, "{arguments:?}");
    }
}

#[test]
fn a_restart_waits_for_a_self_test_unless_it_is_forced() {
    let (bundle, device) = (Bundle::new(2000, 22), device(|_| ()));
    flash(device.path(), &["upload", bundle.file(), "--test", "--no-reset"]).expect(0);
    device.device().slowness = u64::MAX;
    flash(device.path(), &["reset"]).expect(0);
    let run = flash(device.path(), &["reset"]).expect(5);
    assert!(run.errors.contains("self-test of a new image runs"), "{}", run.errors);
    assert_eq!(device.device().run, 1);
    flash(device.path(), &["reset", "--force"]).expect(0);
}

#[test]
fn a_promise_to_keep_an_image_must_be_shown_and_is_renewed() {
    let bundle = Bundle::new(2000, 23);
    let confirm = ["upload", bundle.file(), "--confirm", "--wait"];
    let forgetful = device(|device| device.forgets_promises = true);
    let run = flash(forgetful.path(), &confirm).expect(5);
    assert!(run.errors.contains("shows it otherwise"), "{}", run.errors);
    // One that forgets it later, during the self-test.
    let device = device(|device| device.slowness = 20);
    let running = start(device.path(), &confirm);
    let forgot = (0..3000).any(|_| {
        sleep(Duration::from_millis(20));
        let mut device = device.device();
        let tested = device.pairs[0][1]
            .as_mut()
            .filter(|slot| slot.permanent && !slot.pending);
        tested.map(|slot| slot.permanent = false).is_some()
    });
    assert!(forgot, "it is never tested");
    end(running).expect(0);
    assert!(device.device().pairs[0][0].as_ref().unwrap().confirmed);
}

#[test]
fn a_return_says_what_is_to_serve() {
    let (first, second) = (Bundle::new(2000, 24), Bundle::new(2000, 25));
    let device = device(|_| ());
    flash(device.path(), &["upload", first.file(), "--test", "--wait"]).expect(0);
    let run = flash(device.path(), &["revert"]).expect(0);
    assert!(run.out.contains("none serves"), "{}", run.out);
    flash(device.path(), &["upload", first.file(), "--confirm", "--wait"]).expect(0);
    flash(device.path(), &["upload", second.file(), "--full", "--test", "--wait"]).expect(0);
    let run = flash(device.path(), &["revert", "--json"]).expect(0);
    assert_eq!(run.event("reverted")["confirmed"]["confirmed"], true, "{}", run.out);
}

#[test]
fn a_file_that_cannot_be_had_keeps_nobody_from_the_others() {
    let device = device(|device| {
        for name in ["logs/a.log", "logs/b.log", "logs/c.log"] {
            device.files.insert(name.to_owned(), b"text".to_vec());
        }
        device.unreadable.insert("logs/a.log".to_owned());
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let run = flash(device.path(), &["logs", "--out", out]).expect(5);
    assert!(
        run.errors.contains("cannot fetch logs/a.log") && run.errors.contains("1 of 4 files"),
        "{}",
        run.errors
    );
    for name in ["logs/b.log", "logs/c.log", "logs/service.log"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn either_framing_may_be_asked_for_and_the_silent_one_is_left() {
    let bundle = Bundle::new(30_000, 11);
    for framing in ["raw", "console", "auto"] {
        let device = device(|_| ());
        let run = flash(
            device.path(),
            &["upload", bundle.file(), "--framing", framing, "--json"],
        )
        .expect(0);
        let used = if framing == "console" { "console" } else { "raw" };
        assert_eq!(run.event("sent")["framing"], used);
        let counted = device.stop().unwrap();
        assert_eq!(counted.console_frames > 0, used == "console", "{counted:?}");
    }
}

#[test]
fn a_silent_line_ends_with_code_5_and_advice() {
    let silent = hardware::smp::port::Pty::open().unwrap();
    let run = flash(silent.path(), &["status", "--framing", "console"]).expect(5);
    assert!(
        run.errors.contains("no device answers") && run.errors.contains("--baud"),
        "{}",
        run.errors
    );
}

#[test]
fn wrong_command_lines_have_code_2() {
    let bundle = Bundle::new(1000, 12);
    let none = Path::new("/dev/there-is-none");
    flash(none, &["upload", bundle.file(), "--wait"]).expect(2);
    flash(none, &["upload", bundle.file(), "--test", "--confirm"]).expect(2);
    flash(none, &["status", "--framing", "raw", "--flow-control", "software"]).expect(2);
    flash(none, &["dance"]).expect(2);
    // Slots are numbered through, two of each image.
    for image in ["2147483648", "4294967295"] {
        for verb in ["erase", "revert"] {
            flash(none, &[verb, "--image", image]).expect(2);
        }
    }
}

#[test]
fn completions_and_manual_pages_name_the_verbs() {
    let none = Path::new("/dev/there-is-none");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            flash(none, &["completions", shell]).expect(0).out.contains("preflight"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    flash(none, &["man", folder.path().to_str().unwrap()]).expect(0);
    let page = std::fs::read_to_string(folder.path().join("scanside-flash-upload.1")).unwrap();
    assert!(page.contains("bundle") && folder.path().join("scanside-flash.1").exists());
}

//! The engineer's tool and the service, two programs joined by a pair of pseudo-terminals.

mod desk;
mod service;
mod support;

use desk::Desk;
use serde_json::Value;

fn is(state: &Value, flag: &str) -> bool {
    state[flag] == true
}

#[test]
fn trial_confirmation_and_return_with_the_engineers_tool() {
    let Some(desk) = Desk::new() else { return };
    let files = ["first.scanside", "second.scanside"].map(|name| desk.site.file(name));
    let _service = desk.site.spawn();
    let run = desk.done(&["upload", &files[0], "--test", "--wait"]);
    run.assert_order(&["preflight", "sending", "verifying", "restarting"]);
    let state = &run.event("done")["state"];
    assert!(is(state, "active") && !is(state, "confirmed"), "{state}");
    let status = desk.done(&["status"]);
    assert_eq!(
        status.event("status")["activities"][0]["state"],
        "trial",
        "{}",
        status.text
    );
    desk.done(&["confirm"]);
    assert!(is(&desk.images()[0], "confirmed"));

    let run = desk.done(&["upload", &files[1], "--test", "--wait"]);
    let new = run.event("sent")["hash"].as_str().unwrap().to_owned();
    desk.site.image("trial.png");
    assert_eq!(desk.site.wait_for_result()["model"]["digest"], new.as_str());
    desk.done(&["revert"]);
    desk.site
        .wait("the return", || is(&desk.images()[0], "confirmed").then_some(()));
    desk.site.image("after.png");
    assert_ne!(desk.site.wait_for_result()["model"]["digest"], new.as_str());

    // It is still there: told at once, and put to use without another upload.
    let run = desk.done(&["upload", &files[1]]);
    assert_eq!(run.event("present")["hash"], new.as_str());
    assert!(!run.stages().contains(&"sending"), "{:?}", run.stages());
    desk.done(&["confirm", &files[1], "--wait"]);
    let images = desk.images();
    assert!(
        is(&images[0], "confirmed") && !is(&images[1], "confirmed"),
        "{images:?}"
    );
    desk.site.image("last.png");
    assert_eq!(desk.site.wait_for_result()["model"]["digest"], new.as_str());
    desk.done(&["erase"]);
    assert_eq!(desk.images().len(), 1);
}

#[test]
fn a_refusal_comes_before_anything_is_sent() {
    let Some(desk) = Desk::new() else { return };
    let write = |name: &str, bundle: Vec<u8>| {
        std::fs::write(desk.site.path(name), bundle).unwrap();
        desk.site.path(name).to_string_lossy().into_owned()
    };
    let stranger = write("stranger.scanside", desk.site.stranger());
    let other = write("other.scanside", desk.site.of_role("chest-ct"));
    let _service = desk.site.spawn();
    for (file, code) in [(&stranger, 4), (&other, 3)] {
        for verb in ["preflight", "upload"] {
            let run = desk.run(&[verb, file]);
            assert_eq!(run.code, Some(code), "{}", run.text);
            assert!(!run.event("error")["try"].as_str().unwrap().is_empty());
            assert!(!run.stages().contains(&"sending"), "{:?}", run.stages());
        }
    }
    assert!(desk.images().is_empty());
}

#[test]
fn logs_results_report_and_clock_come_over_the_line() {
    let Some(desk) = Desk::new() else { return };
    let file = desk.site.file("first.scanside");
    let _service = desk.site.spawn();
    desk.done(&["upload", &file, "--confirm", "--wait"]);
    desk.site.image("a.png");
    desk.site.wait_for_result();
    desk.done(&["time", "--set", "2031-01-31T23:59:59Z"]);
    let time = desk.done(&["time"]);
    let shown = time.event("time")["device"].as_str().unwrap().to_owned();
    assert!(shown.starts_with("2031-0"), "{shown}");
    let earlier = desk.run(&["time", "--set", "2030-01-01T00:00:00Z"]);
    assert_eq!(earlier.code, Some(5), "{}", earlier.text);
    let report = desk.done(&["doctor", "--self-test"]);
    assert_eq!(report.event("report")["report"]["healthy"], true, "{}", report.text);
    let out = desk.site.path("fetched");
    desk.done(&["results", "--out", out.to_str().unwrap()]);
    desk.done(&["logs", "--out", out.to_str().unwrap()]);
    assert_eq!(std::fs::read_dir(out.join("results")).unwrap().count(), 1);
    assert!(std::fs::read_dir(out.join("logs")).unwrap().count() > 0);
    // The clock is kept over an orderly restart.
    desk.done(&["reset", "--wait"]);
    let later = desk.done(&["time"]);
    assert!(
        later.event("time")["device"].as_str().unwrap() >= shown.as_str(),
        "{}",
        later.text
    );
}

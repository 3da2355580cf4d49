//! Operating points of a site: derived from labelled cases, taken up by the running service, undone, and left alone by
//! another model.

mod inside;
mod service;
mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hardware::clock::Clock;
use hardware::slots::Folder;
use inside::{Setup, body};
use serde_json::Value;
use service::Site;
use support::{code, program, stderr, stdout};

/// `calibrate` beside the service; gives exit code, output and what it complained of.
fn calibrate(site: &Site, arguments: &[&str]) -> (i32, String, String) {
    let config = site.path("edge.toml");
    let output = program()
        .args(["calibrate", "--config"])
        .arg(config)
        .args(arguments)
        .output();
    let output = output.expect("started");
    (code(&output), stdout(&output), stderr(&output))
}

/// `n` cases of each label as the site saw them; the model says `probability` of a finding where there is none, and more
/// where there is one.
fn labelled(site: &Site, result: &Value, n: usize) -> String {
    let labels: Vec<&str> = result["probabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["label"].as_str().unwrap())
        .collect();
    let flagged = result["decision"]["label"].as_str().unwrap();
    let seen = probability(result, flagged);
    let digest = result["model"]["digest"].as_str().unwrap();
    let mut text = format!(
        "digest,label,{}\n",
        labels.iter().map(|l| format!("p:{l}")).collect::<Vec<_>>().join(",")
    );
    for case in 0..n {
        // Between what the model said of the image and 1, so that a threshold above that image must come out.
        let above = seen + (1.0 - seen) * (0.5 + 0.4 * case as f64 / n as f64);
        for (truth, value) in [(labels[0], seen), (flagged, above)] {
            let row = labels.iter().map(|label| match *label {
                label if label == flagged => value.to_string(),
                label if label == labels[0] => (1.0 - value).to_string(),
                _ => "0".to_owned(),
            });
            text += &format!("{digest},{truth},{}\n", row.collect::<Vec<_>>().join(","));
        }
    }
    let path = site.path("labelled.csv");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn probability(result: &Value, label: &str) -> f64 {
    let all = result["probabilities"].as_array().unwrap();
    all.iter().find(|p| p["label"] == label).unwrap()["probability"]
        .as_f64()
        .unwrap()
}

#[test]
fn a_site_calibrates_sees_it_and_takes_it_back() {
    let Some(site) = Site::new() else { return };
    let service = site.with_confirmed_model();
    site.image("first.png");
    let first = site.wait_for_result();
    assert_eq!(first["decision"]["kind"], "flagged");
    assert!(first["site_thresholds"].is_null());

    let cases = labelled(&site, &first, 60);
    let (code, said, complaint) = calibrate(&site, &["--cases", &cases, "--dry-run"]);
    assert_eq!(code, 0, "{complaint}");
    assert!(
        said.contains("from 120 labelled cases") && said.contains("no case with it"),
        "{said}"
    );
    assert_eq!(
        calibrate(&site, &["--show", "--json"]).1.trim(),
        "null",
        "a dry run keeps nothing"
    );

    let (code, said, complaint) = calibrate(&site, &["--cases", &cases, "--json"]);
    assert_eq!(code, 0, "{complaint}");
    let kept: Value = serde_json::from_str(&said).unwrap();
    let label = first["decision"]["label"].as_str().unwrap();
    assert_eq!(kept["points"][0]["label"], label);
    assert!(kept["points"][0]["threshold"].as_f64().unwrap() > probability(&first, label));

    site.image("second.png");
    let second = site.wait_for_result();
    assert_eq!(second["site_thresholds"]["n"], 120, "{second}");
    assert_ne!(second["decision"]["kind"], "flagged");
    assert_eq!(
        probability(&second, label),
        probability(&first, label),
        "the network is the same"
    );

    for undone in [true, false] {
        let (code, said, _) = calibrate(&site, &["--undo", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, &said["undone"]), (0, &Value::Bool(undone)), "{said}");
    }
    site.image("third.png");
    let third = site.wait_for_result();
    assert_eq!(third["decision"]["kind"], "flagged");
    assert!(third["site_thresholds"].is_null());
    assert_eq!(service.stop(), 0);
}

#[test]
fn the_screen_tells_of_the_sites_thresholds_before_the_next_image_comes() {
    let Some(site) = inside::site() else { return };
    let running = Setup::new(&site).start();
    site.image("first.png");
    let cases = labelled(&site, &site.wait_for_result(), 60);
    running.stop();
    let running = Setup::new(&site).start();
    let before = running.settled();
    assert_eq!(calibrate(&site, &["--cases", &cases]).0, 0);
    running.wait_for_screen("their day", |canvas| body(canvas) != body(&before));
    assert_eq!(calibrate(&site, &["--undo"]).0, 0);
    running.wait_for_screen("their end", |canvas| body(canvas) == body(&before));
    running.stop();
}

#[test]
fn another_model_never_runs_with_the_thresholds_of_the_last() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    site.image("first.png");
    let cases = labelled(&site, &site.wait_for_result(), 60);
    assert_eq!(calibrate(&site, &["--cases", &cases]).0, 0);
    service.upload(&site.bundle(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    service.wait_for_outcome("passed");
    site.image("second.png");
    let second = site.wait_for_result();
    assert!(second["site_thresholds"].is_null(), "{second}");
    assert_eq!(second["decision"]["kind"], "flagged");
    let (_, said, _) = calibrate(&site, &["--show"]);
    assert!(said.contains("Not in use"), "{said}");

    // The trial is taken back, and with it the old thresholds hold again.
    service.revert();
    service.wait_for_outcome("reverted");
    site.image("third.png");
    assert_eq!(site.wait_for_result()["site_thresholds"]["n"], 120);
    let (code, _, complaint) = calibrate(&site, &["--cases", &cases, "--role", "chest-ct"]);
    assert!(code == 2 && complaint.contains("chest-ct"), "{complaint}");
}

#[test]
fn a_calibration_is_dated_by_the_appliances_clock() {
    let Some(site) = Site::new() else { return };
    let service = site.with_confirmed_model();
    site.image("first.png");
    let cases = labelled(&site, &site.wait_for_result(), 60);
    assert_eq!(service.stop(), 0);
    // An engineer set it a month ahead of the machine's.
    let folder = Arc::new(Folder::open(site.path("state/monotonic")).unwrap());
    let clock = Clock::open(folder, Duration::ZERO);
    clock.set(clock.now() + Duration::from_secs(30 * 24 * 3600)).unwrap();
    let (code, said, complaint) = calibrate(&site, &["--cases", &cases, "--json"]);
    assert_eq!(code, 0, "{complaint}");
    let kept: Value = serde_json::from_str(&said).unwrap();
    let made: DateTime<Utc> = kept["made"].as_str().unwrap().parse().unwrap();
    let now = DateTime::UNIX_EPOCH + clock.now();
    assert!((now - made).abs() < TimeDelta::days(1), "{made} is not {now}");
}

#[test]
fn cases_that_cannot_be_used_are_refused() {
    let Some(site) = Site::new() else { return };
    let service = site.with_confirmed_model();
    let wrong = site.path("wrong.csv");
    fs::write(&wrong, "case_id,label\n1,normal\n").unwrap();
    let (code, _, complaint) = calibrate(&site, &["--cases", &wrong.to_string_lossy()]);
    assert!(
        code == 3 && complaint.contains("wrong.csv") && complaint.contains("digest"),
        "{complaint}"
    );
    let (code, _, complaint) = calibrate(&site, &["--cases", "/nowhere.csv"]);
    assert!(code == 1 && complaint.contains("/nowhere.csv"), "{complaint}");
    assert_eq!(service.stop(), 0);
}

//! `doctor` on an appliance: beside the running service, after its end, and when something is broken.

mod peers;
mod scanner;
mod service;
mod support;

use std::fs;
use std::process::Output;

use peers::servers::{free_port, storescp};
use serde_json::Value;
use service::Site;
use support::{code, program, stderr, stdout};

fn doctor(site: &Site, options: &[&str]) -> Output {
    let mut command = program();
    command.arg("doctor").arg("--config").arg(site.path("edge.toml"));
    command.args(options).output().unwrap()
}

/// The checks by what they looked at: whether each is as it should be, and what was found.
fn checks(site: &Site) -> (i32, Vec<(String, bool, String)>) {
    let output = doctor(site, &["--json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let check = |check: &Value| {
        let text = |key: &str| check[key].as_str().unwrap().to_owned();
        (text("what"), check["ok"].as_bool().unwrap(), text("found"))
    };
    let checks = report["checks"].as_array().unwrap().iter().map(check).collect();
    (code(&output), checks)
}

fn found<'a>(checks: &'a [(String, bool, String)], what: &str) -> (bool, &'a str) {
    let check = checks.iter().find(|(name, ..)| name == what);
    let (_, ok, found) = check.unwrap_or_else(|| panic!("nothing looked at {what}: {checks:?}"));
    (*ok, found.as_str())
}

#[test]
fn an_appliance_is_looked_through_beside_its_service_and_what_is_broken_is_told() {
    let Some(mut site) = Site::new() else { return };
    if peers::dcmtk("storescp").is_none() {
        return;
    }
    let [port, archive] = [free_port(), free_port()];
    site.extra = format!(
        "{}[appliance.store]\nreserve_megabytes = 1\n[appliance.outbox.archive]\naddress = \"127.0.0.1:{archive}\"\n\
         ae_title = \"ARCHIVE\"\n",
        scanner::section(port)
    );
    let server = storescp(archive, &site.path("archived"), &[]);
    let service = site.with_confirmed_model();
    let output = doctor(&site, &[]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    for wanted in [
        "golden case   good",
        "store         ok",
        "space         ok",
        "clock         ok",
        "healthy",
    ] {
        assert!(stdout(&output).contains(wanted), "{wanted}: {}", stdout(&output));
    }
    let (exit, running) = checks(&site);
    assert_eq!(exit, 0, "{running:?}");
    assert!(found(&running, "DICOM port").1.contains("is served"), "{running:?}");
    assert!(found(&running, "archive").1.contains("answers SCANSIDE"), "{running:?}");
    assert!(
        found(&running, "model").1.contains("1 golden cases agree"),
        "{running:?}"
    );
    assert_eq!(service.stop(), 0);

    drop(server);
    let (exit, alone) = checks(&site);
    assert_eq!(exit, 5, "{alone:?}");
    assert!(found(&alone, "DICOM port").1.contains("is free"), "{alone:?}");
    let (ok, said) = found(&alone, "archive");
    assert!(!ok && said.contains("cannot be reached"), "{said}");

    // The disk lost a part of the model, and of the database.
    for side in ["a", "b"] {
        let slot = site.path("state/slots").join(format!("chest-xray.{side}"));
        if let Ok(mut bytes) = fs::read(&slot) {
            let middle = bytes.len() * 3 / 4;
            bytes[middle] ^= 1;
            fs::write(&slot, bytes).unwrap();
        }
    }
    fs::write(site.path("state/store.sqlite"), vec![7; 8192]).unwrap();
    let (_, broken) = checks(&site);
    for what in ["model", "store"] {
        let (ok, said) = found(&broken, what);
        assert!(!ok && !said.is_empty(), "{what}: {said}");
    }
}

#[test]
fn an_appliance_that_never_ran_is_told_what_it_lacks() {
    let Some(site) = Site::new() else { return };
    site.write_config();
    let (exit, checks) = checks(&site);
    assert_ne!(exit, 0);
    for what in ["store", "clock", "model"] {
        assert!(!found(&checks, what).0, "{checks:?}");
    }
    assert!(found(&checks, "model").1.contains("none serves yet"), "{checks:?}");
    assert!(!site.path("state").exists(), "looking makes nothing");
}

#[test]
fn without_a_bundle_and_a_config_there_is_nothing_to_check() {
    let output = program().arg("doctor").output().unwrap();
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(said.contains("--config") && said.contains("--bundle"), "{said}");
}

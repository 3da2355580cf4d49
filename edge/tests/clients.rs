//! The service updated by a client that is not ours: smpmgr (PyPI), which knows nothing of Scanside.

mod service;
mod support;

use std::path::PathBuf;
use std::process::Command;

use service::Site;
use service::cable::Cable;

/// smpmgr on the PATH; absent, the test is skipped with what to install, but in CI it fails.
fn smpmgr() -> Option<PathBuf> {
    let found = Command::new("smpmgr").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some("smpmgr".into());
    }
    let install = "smpmgr is not on the PATH; pip install -r .ci/requirements.txt";
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{install}");
    eprintln!("skipped: {install}");
    None
}

/// Runs smpmgr on a port; its patience is a hang guard, not a limit.
fn run(port: &PathBuf, arguments: &[&str]) -> String {
    let mut command = Command::new("smpmgr");
    command
        .env("NO_COLOR", "1")
        .env("COLUMNS", "200")
        .arg("--port")
        .arg(port);
    let output = command.args(["--timeout", "300"]).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{text}");
    text
}

fn images(text: &str) -> usize {
    text.matches("ImageState(").count()
}

#[test]
fn smpmgr_brings_the_first_model_and_stores_a_second_without_activating_it() {
    let (Some(mut site), Some(_)) = (Site::new(), smpmgr()) else {
        return;
    };
    let cable = Cable::new().unwrap();
    site.port = Some(cable.ends[0].clone());
    let client = &cable.ends[1];
    let (first, second) = (site.file("first.scanside"), site.file("second.scanside"));
    let _service = site.spawn();
    assert!(run(client, &["os", "echo", "hello"]).contains("r='hello'"));

    let text = run(client, &["upgrade", &first, "--confirm"]);
    assert!(text.contains("Upgrade complete"), "{text}");
    site.image("one.png");
    let served = site.wait_for_result();
    let state = run(client, &["image", "state-read"]);
    assert!(images(&state) == 1 && state.contains("confirmed=True"), "{state}");

    run(client, &["upgrade", &second]);
    site.image("two.png");
    assert_eq!(site.wait_for_result()["model"]["digest"], served["model"]["digest"]);
    let state = run(client, &["image", "state-read"]);
    assert_eq!(images(&state), 2, "{state}");
}

#[test]
fn smpmgr_confirms_a_trial() {
    let (Some(mut site), Some(_)) = (Site::new(), smpmgr()) else {
        return;
    };
    let cable = Cable::new().unwrap();
    site.port = Some(cable.ends[0].clone());
    let client = &cable.ends[1];
    let bundles = [site.file("first.scanside"), site.file("second.scanside")];
    let _service = site.spawn();
    let mut digests = Vec::new();
    for (name, bundle) in ["one.png", "two.png"].iter().zip(&bundles) {
        run(client, &["upgrade", bundle, "--confirm"]);
        site.image(name);
        digests.push(site.wait_for_result()["model"]["digest"].clone());
    }
    assert_ne!(digests[0], digests[1], "the second model serves");
}

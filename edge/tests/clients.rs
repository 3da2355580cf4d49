//! The service updated by clients that are not ours and know nothing of Scanside: smpmgr and smpclient (PyPI),
//! mcumgrctl (crates.io).

mod service;
mod support;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use service::Site;
use service::cable::{Cable, Terminal};
use support::{FROM_PYPI, peer};

const FROM_CRATES: &str = "cargo install --locked --version 0.20.0 --no-default-features mcumgrctl";

/// The service on one end of a cable.
fn desk() -> Option<(Site, Cable)> {
    let mut site = Site::new()?;
    let cable = Cable::new().unwrap();
    site.port = Some(cable.ends[0].clone());
    Some((site, cable))
}

fn text(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs smpmgr on a port; its patience is a hang guard, not a limit.
fn smpmgr(port: &PathBuf, arguments: &[&str]) -> String {
    let mut command = Command::new("smpmgr");
    command
        .env("NO_COLOR", "1")
        .env("COLUMNS", "200")
        .arg("--port")
        .arg(port);
    let output = command.args(["--timeout", "300"]).args(arguments).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{arguments:?}\n{text}");
    text
}

fn images(text: &str) -> usize {
    text.matches("ImageState(").count()
}

#[test]
fn smpmgr_brings_the_first_model_and_stores_a_second_without_activating_it() {
    if !peer("smpmgr", &["--version"], FROM_PYPI) {
        return;
    }
    let Some((site, cable)) = desk() else { return };
    let client = &cable.ends[1];
    let (first, second) = (site.file("first.scanside"), site.file("second.scanside"));
    let _service = site.spawn();
    assert!(smpmgr(client, &["os", "echo", "hello"]).contains("r='hello'"));

    let text = smpmgr(client, &["upgrade", &first, "--confirm"]);
    assert!(text.contains("Upgrade complete"), "{text}");
    site.image("one.png");
    let served = site.wait_for_result();
    let state = smpmgr(client, &["image", "state-read"]);
    assert!(images(&state) == 1 && state.contains("confirmed=True"), "{state}");

    smpmgr(client, &["upgrade", &second]);
    site.image("two.png");
    assert_eq!(site.wait_for_result()["model"]["digest"], served["model"]["digest"]);
    let state = smpmgr(client, &["image", "state-read"]);
    assert_eq!(images(&state), 2, "{state}");
}

/// What smpmgr tells of the images, once it is as wanted.
fn state_read(site: &Site, client: &PathBuf, is: impl Fn(&[String]) -> bool) -> Vec<String> {
    site.wait("the states", || {
        let text = smpmgr(client, &["image", "state-read"]);
        let states: Vec<String> = text.split("ImageState(").skip(1).map(str::to_owned).collect();
        is(&states).then_some(states)
    })
}

#[test]
fn smpmgr_confirms_a_trial() {
    if !peer("smpmgr", &["--version"], FROM_PYPI) {
        return;
    }
    let Some((site, cable)) = desk() else { return };
    let client = &cable.ends[1];
    let bundles = [site.file("first.scanside"), site.file("second.scanside")];
    let hashes = bundles
        .each_ref()
        .map(|file| hex(&site.hash(&std::fs::read(file).unwrap())));
    let _service = site.spawn();
    smpmgr(client, &["upgrade", &bundles[0], "--confirm"]);
    let is = |state: &str, flag: &str| state.contains(&format!("{flag}=True"));
    let confirmed = state_read(&site, client, |states| is(&states[0], "confirmed"));
    assert!(
        is(&confirmed[0], "active") && is(&confirmed[0], "bootable"),
        "{confirmed:?}"
    );
    site.image("one.png");
    assert_eq!(site.wait_for_result()["model"]["digest"], hashes[0]);

    // Asked for while it is read back or afterwards: the next start tries it.
    smpmgr(client, &["image", "upload", &bundles[1]]);
    smpmgr(client, &["image", "state-write", &hashes[1]]);
    let pending = state_read(&site, client, |states| is(&states[1], "bootable"));
    assert!(
        is(&pending[1], "pending") && !is(&pending[1], "permanent"),
        "{pending:?}"
    );
    smpmgr(client, &["os", "reset"]);
    let trial = state_read(&site, client, |states| is(&states[1], "confirmed"));
    assert!(is(&trial[0], "active") && !is(&trial[0], "confirmed"), "{trial:?}");
    assert!(is(&trial[1], "bootable") && !is(&trial[1], "active"), "{trial:?}");
    site.image("two.png");
    assert_eq!(
        site.wait_for_result()["model"]["digest"],
        hashes[1],
        "it passed its self-test"
    );

    smpmgr(client, &["image", "state-write", "--confirm"]);
    let confirmed = state_read(&site, client, |states| is(&states[0], "confirmed"));
    assert!(
        is(&confirmed[0], "active") && !is(&confirmed[1], "confirmed"),
        "{confirmed:?}"
    );
}

/// A state of an image as the clients tell it: those flags that are true.
fn state(slot: u32, version: &str, hash: &str, flags: &[&str]) -> Value {
    let mut state = json!({"image": 0, "slot": slot, "version": version, "hash": hash});
    flags.iter().for_each(|flag| state[flag] = json!(true));
    state
}

/// What smpclient and the service say to each other.
fn smpclient_updates(framing: &str) {
    if !peer("python3", &["-c", "import smpclient, serial"], FROM_PYPI) {
        return;
    }
    let Some((site, cable)) = desk() else { return };
    let bundle = site.bundle(|_| ());
    let file = site.path("model.scanside");
    std::fs::write(&file, &bundle).unwrap();
    let _service = site.spawn();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/smpclient_update.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(&cable.ends[1]).arg(framing).arg(file);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let lines = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let hash = hex(&site.hash(&bundle));
    let read = |name: &str, answer: &str, slot, flags: &[&str]| json!({"name": name, "answer": answer, "images": [state(slot, "1.0.0", &hash, flags)]});
    let wanted = [
        json!({"name": "states", "answer": "ImageStatesReadResponse", "images": []}),
        json!({"name": "upload", "off": bundle.len()}),
        // Where none is active, the first image stands in slot 0.
        read("stored", "ImageStatesReadResponse", 0, &["bootable"]),
        read("test", "ImageStatesWriteResponse", 0, &["bootable", "pending"]),
        json!({"name": "reset", "answer": "ResetWriteResponse"}),
        read("trial", "ImageStatesReadResponse", 0, &["bootable", "active"]),
    ];
    assert_eq!(said[..wanted.len()], wanted);
    // A confirmation that comes while the self-test still runs is carried out when that has passed.
    let last = said.last().unwrap();
    let confirmed = &["bootable", "active", "confirmed"];
    assert_eq!(*last, read("confirmed", "ImageStatesReadResponse", 0, confirmed));
    site.image("after.png");
    assert_eq!(site.wait_for_result()["model"]["digest"], hash);
}

#[test]
fn smpclient_updates_over_the_console() {
    smpclient_updates("console");
}

#[test]
fn smpclient_updates_raw() {
    smpclient_updates("raw");
}

/// mcumgrctl on a port. It asks again by itself; the number of times is a hang guard.
fn mcumgrctl(port: &Path, framing: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new("mcumgrctl");
    command.arg("--serial").arg(port).args(framing);
    command.args(["--retries", "100"]).args(arguments);
    command
}

/// Runs it at a terminal, where it tells what it does, and gives what it said.
fn told(mut command: Command) -> String {
    let Terminal { controller, end, .. } = Terminal::open().unwrap();
    let end = File::from(end);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let mut child = command
        .stdout(end.try_clone().unwrap())
        .stderr(end)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // The command holds the other end: without it, reading ends with the child.
    drop(command);
    let mut said = Vec::new();
    let mut controller = controller;
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = controller.read(&mut piece) {
        said.extend_from_slice(&piece[..read]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

/// The states that it reads, once they are as wanted: a restart takes a while.
fn states(site: &Site, port: &Path, framing: &[&str], are: impl Fn(&Value) -> bool) -> Value {
    site.wait("the states", || {
        let output = mcumgrctl(port, framing, &["--json", "image", "get-state"])
            .output()
            .unwrap();
        let states = output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap());
        states.filter(&are)
    })
}

fn mcumgrctl_updates(framing: &[&str]) {
    if !peer("mcumgrctl", &["--version"], FROM_CRATES) {
        return;
    }
    let Some((site, cable)) = desk() else { return };
    let port = cable.ends[1].as_path();
    let bundles: Vec<Vec<u8>> = (0..2).map(|_| site.bundle(|_| ())).collect();
    let hashes: Vec<String> = bundles.iter().map(|bundle| hex(&site.hash(bundle))).collect();
    let files = ["first.scanside", "second.scanside"].map(|name| site.path(name));
    files
        .iter()
        .zip(&bundles)
        .for_each(|(file, bundle)| std::fs::write(file, bundle).unwrap());
    let files = files.map(|file| file.to_string_lossy().into_owned());
    let _service = site.spawn();

    // `firmware update` needs an image that runs; the first one comes step by step.
    told(mcumgrctl(port, framing, &["image", "upload", &files[0]]));
    let set = ["image", "set-state", "--hash", &hashes[0], "--confirm"];
    told(mcumgrctl(port, framing, &set));
    told(mcumgrctl(port, framing, &["os", "system-reset"]));
    states(&site, port, framing, |states| states[0]["confirmed"] == true);

    let said = told(mcumgrctl(
        port,
        framing,
        &["firmware", "update", "-b", "mcuboot", &files[1]],
    ));
    let mut rest = said.as_str();
    for step in [
        "Parsing firmware image",
        "Querying device state",
        &format!("Update: 1.0.0-{} -> 1.1.0-{}", &hashes[0][..8], &hashes[1][..8]),
        "Uploading new firmware",
        "Activating new firmware",
        "Triggering device reboot",
        "Success.",
    ] {
        rest = rest
            .split_once(step)
            .unwrap_or_else(|| panic!("no {step:?} in its place: {said}"))
            .1;
    }
    let on_trial = states(&site, port, framing, |states| states[0]["hash"] == hashes[1].as_str());
    assert_eq!(flags(&on_trial[0]), ["active", "bootable"], "{on_trial}");
    assert_eq!(on_trial[1]["hash"], hashes[0].as_str(), "{on_trial}");
    assert_eq!(flags(&on_trial[1]), ["bootable", "confirmed"], "{on_trial}");
    site.image("trial.png");
    assert_eq!(
        site.wait_for_result()["model"]["digest"],
        hashes[1],
        "the self-test passed"
    );

    told(mcumgrctl(port, framing, &["image", "set-state", "--confirm"]));
    let confirmed = states(&site, port, framing, |states| states[0]["confirmed"] == true);
    assert_eq!(confirmed[0]["hash"], hashes[1].as_str(), "{confirmed}");
    assert_eq!(flags(&confirmed[0]), ["active", "bootable", "confirmed"], "{confirmed}");
    assert_eq!(flags(&confirmed[1]), ["bootable"], "{confirmed}");
}

/// The names of the flags that are true, in the order of the alphabet.
fn flags(state: &Value) -> Vec<&str> {
    let fields = state.as_object().unwrap().iter();
    let mut flags: Vec<&str> = fields
        .filter(|(_, value)| **value == json!(true))
        .map(|(name, _)| name.as_str())
        .collect();
    flags.sort_unstable();
    flags
}

#[test]
fn mcumgrctl_updates_over_the_console() {
    mcumgrctl_updates(&[]);
}

#[test]
fn mcumgrctl_updates_raw() {
    mcumgrctl_updates(&["--raw"]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

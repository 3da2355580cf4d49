//! scanside-flash against the service: a bundle goes as a difference, is interrupted, or goes whole where it must.

mod service;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bundle::container::PayloadFile;
use bundle::manifest::FileKind;
use serde_json::Value;
use service::cable::Cable;
use service::{Service, Site};

/// Bytes of a file that makes bundles long enough to be interrupted.
const LONG: usize = 2_000_000;
/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The engineer's tool as it was built beside the tests; absent, the test is skipped, but in CI it fails.
fn tool() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("scanside-flash");
    if path.exists() {
        return Some(path);
    }
    let build = "scanside-flash is not built; cargo build -p scanside-flash";
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{build}");
    eprintln!("skipped: {build}");
    None
}

/// The tool on an end of a cable.
struct Engineer<'a> {
    tool: PathBuf,
    port: PathBuf,
    site: &'a Site,
}

impl Engineer<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.tool);
        command.arg("--port").arg(&self.port).args(arguments).arg("--json");
        command.env("XDG_CACHE_HOME", self.site.path("caches"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The events of a run that must end well.
    fn done(&self, arguments: &[&str]) -> Vec<Value> {
        events(&self.command(arguments).output().unwrap())
    }

    fn images(&self) -> Vec<Value> {
        let status = one(&self.done(&["status"]), "status");
        status["images"].as_array().unwrap().clone()
    }
}

fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last event of a name.
#[track_caller]
fn one(events: &[Value], name: &str) -> Value {
    let found = events.iter().rev().find(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {events:?}")).clone()
}

/// What was chosen, first to last.
fn choices(events: &[Value]) -> Vec<String> {
    let choices = events.iter().filter(|event| event["event"] == "choice");
    choices
        .map(|choice| choice["why"].as_str().unwrap().to_owned())
        .collect()
}

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

/// The service, on one end of a cable, and the tool on the other.
fn place<'a>(site: &'a mut Site, cable: &Cable) -> Option<(Service<'a>, Engineer<'a>)> {
    let tool = tool()?;
    site.port = Some(cable.ends[0].clone());
    let port = cable.ends[1].clone();
    let site = &*site;
    Some((site.spawn(), Engineer { tool, port, site }))
}

#[test]
fn a_relative_goes_as_a_difference_is_tried_and_confirmed() {
    let Some(mut site) = Site::new() else { return };
    let cable = Cable::new().unwrap();
    let (first, second) = (site.file("first.scanside"), site.file("second.scanside"));
    let Some((_service, engineer)) = place(&mut site, &cable) else {
        return;
    };
    let run = engineer.done(&["upload", &first, "--confirm", "--wait"]);
    assert_eq!(choices(&run), ["no-model"]);

    let run = engineer.done(&["upload", &second, "--confirm", "--wait"]);
    assert_eq!(choices(&run), ["smaller"]);
    let (choice, sent) = (one(&run, "choice"), one(&run, "sent"));
    assert_eq!(
        (&choice["base_file"], &sent["as"]),
        (&first.as_str().into(), &"delta".into())
    );
    assert!(sent["line_bytes"].as_u64() < choice["whole_bytes"].as_u64(), "{sent}");
    let images = engineer.images();
    let serving = images.iter().find(|image| image["active"] == true).unwrap();
    assert!(
        serving["confirmed"] == true && serving["hash"] == sent["hash"],
        "{images:?}"
    );
}

#[test]
fn a_difference_goes_on_after_the_service_was_killed() {
    let Some(mut site) = Site::new() else { return };
    let cable = Cable::paced(300_000).unwrap();
    let first = site.file_with("first.scanside", long(false));
    let second = site.file_with("second.scanside", long(true));
    let deltas = site.path("state/deltas");
    let Some((service, engineer)) = place(&mut site, &cable) else {
        return;
    };
    engineer.done(&["upload", &first, "--confirm", "--wait"]);

    let child = engineer.start(&["upload", &second, "--patience=60"]);
    let had = wait_for_bytes(&deltas, 200_000);
    service.kill();
    let _service = engineer.site.spawn();
    // The tool is patient: the same run goes on where the service finds what it had.
    let run = events(&child.wait_with_output().unwrap());
    assert_eq!(choices(&run), ["smaller"]);
    let (choice, sent) = (one(&run, "choice"), one(&run, "sent"));
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
    assert_eq!(one(&run, "stored")["hash"], sent["hash"]);
}

#[test]
fn a_difference_whose_program_was_killed_goes_on_and_leads_to_the_bundle() {
    let Some(mut site) = Site::new() else { return };
    let cable = Cable::paced(300_000).unwrap();
    let first = site.file_with("first.scanside", long(false));
    let second = site.file_with("second.scanside", long(true));
    let deltas = site.path("state/deltas");
    let Some((_service, engineer)) = place(&mut site, &cable) else {
        return;
    };
    engineer.done(&["upload", &first, "--confirm", "--wait"]);

    let mut child = engineer.start(&["upload", &second]);
    wait_for_bytes(&deltas, 200_000);
    child.kill().unwrap();
    child.wait().unwrap();
    sleep(Duration::from_secs(2));
    let run = engineer.done(&["upload", &second]);
    assert_eq!(choices(&run), ["smaller"]);
    let sent = one(&run, "sent");
    assert!(sent["resumed_at"].as_u64().unwrap() >= 200_000, "{sent}");
    let images = engineer.images();
    let stored = images.iter().find(|image| image["active"] != true).unwrap();
    assert!(
        stored["bootable"] == true && stored["hash"] == sent["hash"],
        "{images:?}"
    );
}

#[test]
fn without_a_base_or_with_another_one_it_goes_whole() {
    let Some(mut site) = Site::new() else { return };
    let cable = Cable::new().unwrap();
    let (first, second) = (site.file("first.scanside"), site.file("second.scanside"));
    std::fs::create_dir(site.path("elsewhere")).unwrap();
    let moved = site.path("elsewhere/new.scanside");
    std::fs::rename(&second, &moved).unwrap();
    let moved = moved.to_str().unwrap();
    let other = site.file("other.scanside");
    let Some((_service, engineer)) = place(&mut site, &cable) else {
        return;
    };
    engineer.done(&["upload", &first, "--no-cache", "--confirm", "--wait"]);
    let run = engineer.done(&["upload", moved, "--no-cache", "--base", &other]);
    assert_eq!(choices(&run), ["base-absent"]);
    assert_eq!(one(&run, "sent")["as"], "whole");
    engineer.done(&["erase"]);
    let run = engineer.done(&["upload", moved, "--no-cache", "--base", &first]);
    assert_eq!(choices(&run), ["smaller"]);
    assert_eq!(one(&run, "stored")["hash"], one(&run, "sent")["hash"]);
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

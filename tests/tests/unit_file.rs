//! The systemd unit: systemd itself finds nothing wrong with it, and finds it well shut.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scanside_tests::{peer, root};

const UNIT: &str = "edge/systemd/scanside-edge.service";
const PROGRAM: &str = "/usr/bin/scanside-edge";
/// Tenths of systemd's exposure level, 0 (shut) to 100 (open); services of a distribution stand at 90 and above.
const MOST_EXPOSURE: u32 = 20;

/// The unit with a program that is there, in a folder of its own.
fn unit(folder: &Path, change: impl Fn(String) -> String) -> PathBuf {
    let text = fs::read_to_string(root().join(UNIT)).expect("the unit");
    assert!(text.contains(PROGRAM), "the unit starts {PROGRAM}");
    let path = folder.join("scanside-edge.service");
    fs::write(&path, change(text.replace(PROGRAM, "/bin/true"))).expect("written");
    path
}

/// What `systemd-analyze` says, and whether it is content.
fn analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .expect("started");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    if !peer("systemd-analyze", "apt install systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (content, said) = analyze(&["verify"], &unit(folder.path(), |text| text));
    assert!(content && said.trim().is_empty(), "{said}");
    let (_, said) = analyze(
        &["verify"],
        &unit(folder.path(), |text| text.replace("WatchdogSec", "WatchdogSecs")),
    );
    assert!(said.contains("WatchdogSecs"), "a fault would be seen: {said}");
}

#[test]
fn the_service_is_shut_but_for_what_it_needs() {
    if !peer("systemd-analyze", "apt install systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let asked = ["security", "--offline=true", "--no-pager", &threshold];
    let (content, said) = analyze(&asked, &unit(folder.path(), |text| text));
    assert!(content, "{said}");
    let open = |text: String| {
        text.lines()
            .filter(|line| !line.starts_with("Protect"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (content, _) = analyze(&asked, &unit(folder.path(), open));
    assert!(!content, "an open unit would be seen");
}

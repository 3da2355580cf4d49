//! The systemd unit: systemd itself finds nothing wrong with it and finds it well shut, and docs/appliance.md, which says how to
//! install it, agrees with it.

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

const MANUAL: &str = "docs/appliance.md";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The block of the manual's chapter "Install it" in this language.
fn block(chapter: &str, language: &str) -> String {
    let begin = format!("```{language}\n");
    let rest = chapter.split(&begin).nth(1).expect("the block");
    rest.split("```").next().expect("its end").to_owned()
}

fn chapter(manual: &str) -> &str {
    let rest = manual.split("## Install it").nth(1).expect("the chapter");
    rest.split("\n## ").next().expect("its end")
}

/// The values of a setting, in the order of a unit and its drop-in.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

/// What the example config gives a key, without its quotes.
fn configured(manual: &str, section: &str, key: &str) -> String {
    let config = manual.split("```toml\n").nth(1).expect("the example");
    let section = config.split(&format!("\n[{section}]")).nth(1).expect("the section");
    let lines = section.split("\n[").next().expect("its lines").lines();
    let value = lines
        .filter_map(|line| line.split_once(" = "))
        .find(|(name, _)| *name == key);
    let (_, value) = value.unwrap_or_else(|| panic!("[{section}] has no {key}"));
    value.split('"').nth(1).expect("a text").to_owned()
}

#[test]
fn every_device_that_the_manual_names_is_let_in() {
    let (unit, manual) = (read(UNIT), read(MANUAL));
    let allowed = values(&unit, "DeviceAllow");
    let mut seen = Vec::new();
    for named in manual.split("/dev/").skip(1) {
        let name: String = named.chars().take_while(char::is_ascii_alphabetic).collect();
        let class = format!("char-{name} ");
        assert!(
            allowed.iter().any(|device| device.starts_with(&class)),
            "{MANUAL} names /dev/{name}, which {UNIT} keeps out"
        );
        seen.push(name);
    }
    for name in ["fb", "ttyS", "ttyAMA", "gpiochip", "input"] {
        assert!(
            seen.iter().any(|found| found == name),
            "{MANUAL} no longer names /dev/{name}"
        );
    }
}

#[test]
fn the_manuals_drop_in_lets_its_example_work() {
    let manual = read(MANUAL);
    let unit = read(UNIT) + &block(chapter(&manual), "ini");
    let port = configured(&manual, "appliance.dicom", "address");
    let (scanners, port) = port.rsplit_once(':').expect("a port");
    assert!(values(&unit, "SocketBindAllow").contains(&format!("tcp:{port}").as_str()));
    let archive = configured(&manual, "appliance.outbox.archive", "address");
    let (archive, _) = archive.rsplit_once(':').expect("a port");
    let network = scanners.rsplit_once('.').expect("an address").0;
    let reached = values(&unit, "IPAddressAllow");
    assert!(reached.contains(&archive), "the archive {archive}: {reached:?}");
    assert!(
        reached.contains(&format!("{network}.0/24").as_str()),
        "the scanners {scanners}: {reached:?}"
    );
    // Folders that others share lie outside the state, and may be written.
    let writable = values(&unit, "ReadWritePaths");
    for (section, key) in [("appliance.intake", "folder"), ("appliance.outbox", "json")] {
        let folder = configured(&manual, section, key);
        assert!(
            !folder.starts_with("/var/lib/scanside"),
            "[{section}] {key} lies in a folder of mode 0700"
        );
        let is_within = |path: &&str| folder.starts_with(&format!("{}/", path.trim_start_matches('-')));
        assert!(
            writable.iter().any(is_within),
            "[{section}] {key} = {folder}: {writable:?}"
        );
        assert!(
            read("edge/systemd/scanside.tmpfiles").contains(&format!("d {folder} ")),
            "nobody makes {folder}"
        );
    }
    let lights = configured(&manual, "appliance.leds", "kind");
    let is_shut = values(&unit, "ProtectKernelTunables").last() == Some(&"yes");
    assert!(
        !(lights == "sysfs" && is_shut),
        "lights of sysfs cannot be switched with ProtectKernelTunables"
    );
}

#[test]
fn the_manual_tells_where_every_file_goes_and_its_groups_exist() {
    let (unit, manual) = (read(UNIT), read(MANUAL));
    let steps = block(chapter(&manual), "sh");
    for entry in fs::read_dir(root().join("edge/systemd")).expect("the folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            steps.contains(&format!("edge/systemd/{name} ")),
            "{MANUAL} does not install {name}"
        );
    }
    let users = read("edge/systemd/scanside.sysusers");
    let groups = values(&unit, "SupplementaryGroups").join(" ");
    for group in groups.split_whitespace() {
        // Those that Debian's base-passwd and systemd bring.
        let is_common = ["dialout", "video", "input"].contains(&group);
        assert!(
            is_common || users.contains(&format!("g {group} ")),
            "nobody makes the group {group}"
        );
        assert!(
            manual.contains(&format!("`{group}`")),
            "{MANUAL} does not name the group {group}"
        );
    }
    assert!(
        groups.contains("gpio"),
        "buttons and lights on GPIO lines need their group"
    );
}

#[test]
fn systemd_finds_no_fault_in_the_manuals_drop_in() {
    if !peer("systemd-analyze", "apt install systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = unit(folder.path(), |text| text);
    let drop_ins = folder.path().join("scanside-edge.service.d");
    fs::create_dir(&drop_ins).expect("a folder");
    let manual = read(MANUAL);
    let site = block(chapter(&manual), "ini");
    // What stands there as a comment is meant to be taken in.
    let whole: Vec<&str> = site
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.starts_with(char::is_uppercase))
                .unwrap_or(line)
        })
        .collect();
    for text in [site.clone(), whole.join("\n")] {
        fs::write(drop_ins.join("site.conf"), text).expect("written");
        let (content, said) = analyze(&["verify"], &unit);
        assert!(content && said.trim().is_empty(), "{said}");
    }
    fs::write(
        drop_ins.join("site.conf"),
        site.replace("IPAddressAllow", "IPAddressAllowed"),
    )
    .expect("written");
    let (_, said) = analyze(&["verify"], &unit);
    assert!(said.contains("IPAddressAllowed"), "a fault would be seen: {said}");
}

/// Settings of the sandbox that a transient unit takes as they stand.
const SANDBOX: [&str; 5] = ["Protect", "Restrict", "SystemCall", "Private", "Lock"];

#[test]
fn a_program_starts_in_the_sandbox_of_the_unit() {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n");
    if !(is_root && Path::new("/run/systemd/system").exists()) {
        eprintln!("skipped: systemd does not run here, or this is not root, so that no unit can be started");
        return;
    }
    let unit = read(UNIT);
    let settings = unit
        .lines()
        .filter(|line| SANDBOX.iter().any(|beginning| line.starts_with(beginning)));
    let mut command = Command::new("systemd-run");
    command.args(["--wait", "--pipe", "--quiet", "--collect"]);
    command.args(settings.map(|setting| format!("--property={setting}")));
    let output = command
        .args(["/bin/sh", "-c", "! touch /usr/x && echo shut"])
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("shut"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

//! The server against clients that are not ours: smpclient, whose models refuse any key that SMP does not define, and
//! smpmgr, the command line over it. Both come from PyPI; `.ci/requirements.txt` names the versions.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scanside_hardware::smp::{Code, LinkStatistics, Parameters, Refusal, Simulated, SimulatedLine, Slot};
use serde_json::{Value, json};
use support::image;

const INSTALL: &str = "pip install -r .ci/requirements.txt";

/// The program on the PATH, if `arguments` make it succeed; absent, the test is skipped, but in CI it fails.
fn peer(name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let found = Command::new(name)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        assert!(
            std::env::var_os("CI").is_none_or(|v| v != "true"),
            "{name} {arguments:?} fails; {INSTALL}"
        );
        eprintln!("skipped: {name} {arguments:?} fails; {INSTALL}");
    }
    found.then(|| name.into())
}

/// What smpclient and a device say to each other, by the names of the questions.
struct Transcript(Vec<Value>);

impl Transcript {
    fn of(python: &Path, line: &SimulatedLine, framing: &str, image: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/smpclient_session.py");
        let mut command = Command::new(python);
        command.arg("-B").arg(script).arg(line.path()).arg(framing).arg(image);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{error}");
        Self(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The answer to a question, without its name.
    fn answer(&self, name: &str) -> Value {
        let found = self.0.iter().find(|answer| answer["name"] == name);
        let mut answer = found.unwrap_or_else(|| panic!("no answer to {name}")).clone();
        answer.as_object_mut().unwrap().remove("name");
        answer
    }

    fn assert(&self, name: &str, kind: &str, fields: Value) {
        let mut wanted = fields;
        wanted["answer"] = json!(kind);
        assert_eq!(self.answer(name), wanted, "{name}");
    }

    /// A refusal with a code of the group's own.
    fn assert_refused(&self, name: &str, group: &str, number: u16, rc: u16) {
        let wanted = json!({"err": {"group": number, "rc": rc}});
        self.assert(name, &format!("{group}ManagementErrorV2"), wanted);
    }
}

/// One session in a framing, on a device with nothing in its slots.
fn session(framing: &str) -> Option<(Transcript, LinkStatistics, Vec<u8>)> {
    let python = peer("python3", &["-c", "import smpclient, serial"])?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.bin");
    let image = image(60_000, 0);
    std::fs::write(&file, &image).unwrap();
    let line = SimulatedLine::start(Simulated::new(), Parameters::default()).unwrap();
    let transcript = Transcript::of(&python, &line, framing, &file);
    assert_eq!(line.device().pairs[0][0].as_ref().unwrap().bytes, image);
    Some((transcript, line.stop().unwrap(), image))
}

fn assert_transcript(said: &Transcript, image: &[u8]) {
    let hash = hex(&Slot::new(image.to_vec()).hash);
    assert_os(said);
    said.assert("states", "ImageStatesReadResponse", json!({"images": []}));
    assert_eq!(said.answer("upload")["off"], image.len());
    assert_eq!(said.answer("upload again"), json!({"offsets": [image.len()]}));
    let state = |slot: u32, flags: &[&str]| {
        let mut state = json!({"image": 0, "slot": slot, "version": "1.2.3+4", "hash": hash});
        flags.iter().for_each(|flag| state[flag] = json!(true));
        json!({"images": [state]})
    };
    said.assert("stored", "ImageStatesReadResponse", state(1, &["bootable"]));
    said.assert("test", "ImageStatesWriteResponse", state(1, &["bootable", "pending"]));
    said.assert_refused("test unknown", "Image", 1, 24);
    said.assert(
        "test unknown v1",
        "ImageManagementErrorV1",
        json!({"rc": 3, "rsn": "no slot holds an image of this hash"}),
    );
    said.assert(
        "erase pending",
        "ImageManagementErrorV1",
        json!({"rc": 6, "rsn": "the slot is in use"}),
    );
    said.assert("reset", "ResetWriteResponse", json!({}));
    said.assert("trial", "ImageStatesReadResponse", state(0, &["bootable", "active"]));
    let confirmed = state(0, &["bootable", "active", "confirmed"]);
    said.assert("confirm", "ImageStatesWriteResponse", confirmed.clone());
    said.assert("erase", "ImageEraseResponse", json!({}));
    said.assert("after erase", "ImageStatesReadResponse", confirmed);
    assert_files(said);
}

fn assert_os(said: &Transcript) {
    said.assert("echo", "EchoWriteResponse", json!({"r": "hello ä\n"}));
    said.assert("echo v1", "EchoWriteResponse", json!({"r": "hello"}));
    said.assert(
        "parameters",
        "MCUMgrParametersReadResponse",
        json!({"buf_size": 8192, "buf_count": 4}),
    );
    said.assert(
        "information",
        "OSApplicationInfoReadResponse",
        json!({"output": format!("Scanside {}", std::env::consts::OS)}),
    );
    said.assert_refused("information x", "OS", 0, 2);
    said.assert_refused("clock unset", "OS", 0, 4);
    said.assert("set clock", "DateTimeWriteResponse", json!({}));
    said.assert(
        "clock",
        "DateTimeReadResponse",
        json!({"datetime": "2026-01-31T23:59:59.500"}),
    );
    assert_eq!(said.answer("tasks")["rc"], 8);
    assert_eq!(said.answer("shell")["answer"], "ShellManagementErrorV1");
    assert_eq!(said.answer("shell")["rc"], 8);
}

fn assert_files(said: &Transcript) {
    said.assert(
        "statistics",
        "ListOfGroupsResponse",
        json!({"stat_list": ["link", "slots"]}),
    );
    assert!(said.answer("link")["fields"]["bytes_received"].as_u64().unwrap() > 60_000);
    said.assert_refused("no statistics", "Statistics", 2, 2);
    assert_eq!(said.answer("log"), json!({"length": 1600, "begin": "started\n"}));
    said.assert("file", "FileStatusResponse", json!({"len": 3}));
    // `printf '{}\n' | sha256sum`, `printf '}' | crc32`
    let sha256 = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356";
    said.assert(
        "sha256",
        "FileHashChecksumResponse",
        json!({"type": "sha256", "len": 3, "output": sha256}),
    );
    said.assert(
        "crc32",
        "FileHashChecksumResponse",
        json!({"type": "crc32", "off": 1, "len": 1, "output": 0xfcb6_e20c_u32}),
    );
    // As SMP's specification has it.
    assert_eq!(said.answer("default hash")["type"], "crc32");
    said.assert(
        "hashes",
        "SupportedFileHashChecksumTypesResponse",
        json!({"types": {"sha256": {"format": 1, "size": 32}, "crc32": {"format": 0, "size": 4}}}),
    );
    said.assert("close", "FileCloseResponse", json!({}));
    said.assert_refused("absent", "FileSystem", 8, 3);
    said.assert_refused("path", "FileSystem", 8, 2);
    said.assert_refused("write", "FileSystem", 8, 15);
}

#[test]
fn smpclient_is_served_on_the_console() {
    let Some((said, link, image)) = session("console") else {
        return;
    };
    assert_transcript(&said, &image);
    // It asks for the buffer's length and fills it: 8192, less length, checksum, header and keys.
    assert_eq!(said.answer("upload")["steps"], json!([8164]));
    assert_eq!(
        (link.raw_frames, link.bytes_skipped, link.crc_errors, link.bad_lines),
        (0, 0, 0, 0)
    );
    assert_eq!(link.console_frames, link.frames_sent);
}

#[test]
fn smpclient_is_served_raw() {
    let Some((said, link, image)) = session("raw") else {
        return;
    };
    assert_transcript(&said, &image);
    assert_eq!(said.answer("upload")["steps"], json!([8168]));
    assert_eq!((link.console_frames, link.bytes_skipped, link.raw_damaged), (0, 0, 0));
    assert_eq!(link.raw_frames, link.frames_sent);
}

/// Runs smpmgr with a patience that is a hang guard, not a limit.
fn smpmgr(program: &Path, line: &SimulatedLine, arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(program);
    command
        .env("NO_COLOR", "1")
        .env("COLUMNS", "200")
        .arg("--port")
        .arg(line.path());
    let output = command.args(["--timeout", "300"]).args(arguments).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output, text)
}

#[test]
fn smpmgr_upgrades_the_device() {
    let Some(program) = peer("smpmgr", &["--version"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (old, new) = (image(1000, 1), image(20_000, 2));
    let (file, log) = (path("image.bin"), path("service.log"));
    std::fs::write(&file, &new).unwrap();
    let mut device = Simulated::new();
    let running = Slot {
        confirmed: true,
        ..Slot::new(old.clone())
    };
    device.pairs[0][0] = Some(running);
    let line = SimulatedLine::start(device, Parameters::default()).unwrap();
    let run = |arguments: &[&str]| {
        let (output, text) = smpmgr(&program, &line, arguments);
        assert!(output.status.success(), "{arguments:?}\n{text}");
        text
    };
    assert!(run(&["os", "echo", "hello"]).contains("r='hello'"));

    // Without --confirm it stores the image and resets; nothing is activated.
    assert!(run(&["upgrade", &file]).contains("Upgrade complete"));
    let text = run(&["image", "state-read"]);
    assert_eq!(text.matches("ImageState(").count(), 2, "{text}");
    assert_eq!(line.device().pairs[0][0].as_ref().unwrap().bytes, old);
    assert_eq!(line.device().pairs[0][1].as_ref().unwrap().bytes, new);

    assert!(run(&["upgrade", &file, "--confirm"]).contains("Upgrade complete"));
    assert_eq!(line.device().pairs[0][0].as_ref().unwrap().bytes, new);
    assert!(line.device().pairs[0][0].as_ref().unwrap().confirmed);

    run(&["image", "erase", "1"]);
    assert_eq!(line.device().pairs[0][1], None);
    assert!(run(&["statistics", "list"]).contains("link"));
    run(&["file", "download", "logs/service.log", &log]);
    assert_eq!(std::fs::read(&log).unwrap(), b"started\n".repeat(200));
    // As the README of the engineer's tool advises: one long line instead of many short ones.
    let text = run(&["--line-length", "8192", "--line-buffers", "1", "image", "upload", &file]);
    assert!(text.contains("100.0%"), "{text}");
}

#[test]
fn smpmgr_shows_why_an_image_is_refused() {
    let Some(program) = peer("smpmgr", &["--version"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.bin");
    std::fs::write(&file, image(20_000, 2)).unwrap();
    let mut device = Simulated::new();
    device.refuse = Some(Refusal::new(
        Code::Signature,
        "signed by a key that is not trusted here",
    ));
    let line = SimulatedLine::start(device, Parameters::default()).unwrap();
    let (output, text) = smpmgr(&program, &line, &["image", "upload", &file.to_string_lossy()]);
    assert!(!output.status.success());
    assert!(
        text.contains("not trusted here") && text.contains("EACCESSDENIED"),
        "{text}"
    );
    assert_eq!(line.device().pairs[0], [None, None]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

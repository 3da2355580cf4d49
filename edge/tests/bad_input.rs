//! Bad input: each case has its exit code and a message that names the file and the reason, and the other files of
//! the call are still done.

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bundle::container::{PROLOGUE_BYTES, PayloadFile};
use bundle::manifest::{FileKind, HardwareRequirement};
use bundle::mcuboot::HEADER_BYTES;
use support::{EXPLICIT, Element, Place, chest, chest_dicom, code, findings, place, program, stderr, stdout};

/// Triages `bad` between two good images: exit code 3, a message with the file's name and `reason`, `wanted_code` in
/// the JSON, and both others done.
fn assert_refused(place: &Place, bad: &Path, wanted_code: &str, reason: &str) {
    let good = place.path("chest.png");
    let output = place.triage(&[good.clone(), bad.to_path_buf(), good], &["--json"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let message = stderr(&output);
    let name = bad.file_name().unwrap().to_str().unwrap();
    assert!(message.contains(name) && message.contains(reason), "{message}");
    assert_eq!(message.lines().count(), 1, "told once: {message}");
    let kinds: Vec<_> = findings(&output)
        .iter()
        .map(|f| f["decision"]["kind"].clone())
        .collect();
    assert_eq!(kinds, ["flagged", "not-readable", "flagged"]);
    let found = &findings(&output)[1]["decision"]["reasons"][0];
    assert_eq!(found["code"], wanted_code, "{found}");
}

#[test]
fn a_truncated_png_is_refused() {
    let Some(place) = place() else { return };
    let bytes = fs::read(place.path("chest.png")).unwrap();
    let path = place.write("cut.png", &bytes[..bytes.len() / 2]);
    assert_refused(place, &path, "truncated", "truncated");
}

#[test]
fn a_truncated_dicom_is_refused() {
    let Some(place) = place() else { return };
    let bytes = chest_dicom("054Y", "DX", None, EXPLICIT, 12);
    let path = place.write("cut.dcm", &bytes[..bytes.len() / 2]);
    assert_refused(place, &path, "truncated", "truncated");
}

#[test]
fn a_text_that_is_called_dicom_is_refused() {
    let Some(place) = place() else { return };
    let path = place.write("letter.dcm", b"Dear colleague,\nthank you for the patient.\n");
    assert_refused(place, &path, "not-an-image", "not an image");
}

#[test]
fn an_empty_file_is_refused() {
    let Some(place) = place() else { return };
    let path = place.write("empty.dcm", b"");
    assert_refused(place, &path, "not-an-image", "not an image");
}

#[test]
fn a_colour_photograph_is_refused() {
    let Some(place) = place() else { return };
    let path = place.path("holiday.jpg");
    let photograph = image::RgbImage::from_fn(300, 300, |x, y| image::Rgb([(x / 2) as u8, (y / 2) as u8, 200]));
    photograph.save(&path).unwrap();
    assert_refused(place, &path, "colour-photograph", "colour photograph");
}

#[test]
fn a_lossy_jpeg_of_12_bits_is_refused() {
    let Some(place) = place() else { return };
    // Start of image, frame header of extended sequential coding with 12 bits, end of image.
    let frame = [
        0xff, 0xd8, 0xff, 0xc1, 0, 11, 12, 1, 44, 1, 4, 1, 1, 0x11, 0, 0xff, 0xd9,
    ];
    let pixels = Element::fragments(&frame);
    let bytes = chest_dicom("054Y", "DX", Some(pixels), "1.2.840.10008.1.2.4.51", 12);
    let path = place.write("lossy.dcm", &bytes);
    assert_refused(place, &path, "lossy-12-bit", "12-bit lossy JPEG");
}

#[test]
fn an_absent_file_is_a_failed_read() {
    let Some(place) = place() else { return };
    let output = place.triage(&[place.path("nowhere.png"), place.path("chest.png")], &["--json"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("nowhere.png"), "{}", stderr(&output));
    assert_eq!(findings(&output)[1]["decision"]["kind"], "flagged");
}

fn with_bundle(place: &Place, bundle: &Path) -> Output {
    let mut command = program();
    command
        .arg("triage")
        .arg(place.path("chest.png"))
        .arg("--bundle")
        .arg(bundle);
    command.arg("--key").arg(place.path("site.pub")).output().unwrap()
}

#[test]
fn a_bundle_with_one_bit_flipped_is_refused() {
    let Some(place) = place() else { return };
    let good = fs::read(place.path("finding.scanside")).unwrap();
    // Header, signature, model, trailer.
    for at in [HEADER_BYTES + 100, good.len() / 2, good.len() - 1, 21] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        let path = place.write("flipped.scanside", &bytes);
        let output = with_bundle(place, &path);
        assert_eq!(code(&output), 4, "byte {at}: {}", stderr(&output));
        assert!(stderr(&output).contains("flipped.scanside"), "{}", stderr(&output));
        assert!(stdout(&output).is_empty(), "nothing is assessed with it");
    }
}

#[test]
fn an_unsigned_bundle_is_refused() {
    let Some(place) = place() else { return };
    let mut bytes = fs::read(place.path("finding.scanside")).unwrap();
    let at = HEADER_BYTES + 12;
    let header = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let signature = HEADER_BYTES + PROLOGUE_BYTES + header;
    let length = u32::from_le_bytes(bytes[signature..signature + 4].try_into().unwrap()) as usize;
    bytes.splice(signature..signature + 4 + length, [0; 4]);
    let path = place.write("unsigned.scanside", &bytes);
    let output = with_bundle(place, &path);
    assert_eq!(code(&output), 4);
    let message = stderr(&output);
    assert!(
        message.contains("unsigned.scanside") && message.contains("not signed"),
        "{message}"
    );
}

#[test]
fn a_bundle_of_a_stranger_is_refused() {
    let Some(place) = place() else { return };
    let stranger = bundle::sign::generate(None).unwrap();
    let key = place.write("stranger.key.pub.txt", stranger.public_file.as_bytes());
    let mut command = program();
    command
        .arg("triage")
        .arg(place.path("chest.png"))
        .arg("--bundle")
        .arg(place.path("finding.scanside"));
    let output = command.arg("--key").arg(key).output().unwrap();
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("unknown key"), "{}", stderr(&output));
}

#[test]
fn without_a_key_nothing_is_believed() {
    let Some(place) = place() else { return };
    let mut command = program();
    command.arg("triage").arg(place.path("chest.png"));
    let output = command
        .arg("--bundle")
        .arg(place.path("finding.scanside"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--key"), "{}", stderr(&output));
}

#[test]
fn a_signed_bundle_whose_network_is_none_is_told() {
    let Some(place) = place() else { return };
    let (manifest, mut files) = support::tiny(support::Says::Finding);
    files[0] = PayloadFile::new(&manifest.model.file, FileKind::Model, b"no network".to_vec());
    let keys = bundle::sign::generate(None).unwrap();
    let secret = bundle::sign::parse_secret(&keys.secret_file).unwrap();
    let path = place.path("nonsense.scanside");
    bundle::container::write(&manifest, &files, &secret, File::create(&path).unwrap()).unwrap();
    let key = place.write("nonsense.key.txt", keys.public_file.as_bytes());
    let mut command = program();
    command
        .arg("triage")
        .arg(place.path("chest.png"))
        .arg("--bundle")
        .arg(&path);
    let output = command.arg("--key").arg(key).output().unwrap();
    assert_eq!(code(&output), 5);
    assert!(stderr(&output).contains("nonsense.scanside"), "{}", stderr(&output));
}

#[test]
fn a_bundle_for_other_hardware_is_refused_by_triage_and_doctor() {
    let Some(place) = place() else { return };
    let keys = bundle::sign::generate(None).unwrap();
    let secret = bundle::sign::parse_secret(&keys.secret_file).unwrap();
    let key = place.write("hardware.key.txt", keys.public_file.as_bytes());
    let path = place.path("elsewhere.scanside");
    let requirement = HardwareRequirement::default;
    let cases = [
        (
            HardwareRequirement {
                architectures: vec!["mips".into()],
                ..requirement()
            },
            "processor of mips",
        ),
        (
            HardwareRequirement {
                memory_bytes: 1 << 50,
                ..requirement()
            },
            "needs 1073741824 MiB of memory",
        ),
        (
            HardwareRequirement {
                providers: vec!["tensorrt".into()],
                ..requirement()
            },
            "provider tensorrt",
        ),
    ];
    for (hardware, reason) in cases {
        let (mut manifest, files) = support::tiny(support::Says::Finding);
        manifest.hardware = hardware;
        bundle::container::write(&manifest, &files, &secret, File::create(&path).unwrap()).unwrap();
        let chest = place.path("chest.png");
        for verb in [&["triage".as_ref(), chest.as_os_str()][..], &["doctor".as_ref()]] {
            let mut command = program();
            command.args(verb).arg("--bundle").arg(&path).arg("--key").arg(&key);
            let output = command.output().unwrap();
            let message = stderr(&output);
            assert_eq!(code(&output), 5, "{message}");
            assert!(
                message.contains("elsewhere.scanside") && message.contains(reason),
                "{message}"
            );
            assert!(stdout(&output).is_empty(), "nothing is assessed with it");
        }
    }
}

fn with_library(place: &Place, library: &Path) -> Output {
    place.triage(
        &[place.path("chest.png")],
        &["--onnxruntime", library.to_str().unwrap()],
    )
}

#[test]
fn a_missing_library_is_a_device_error() {
    let Some(place) = place() else { return };
    let output = with_library(place, &place.path("libnone.so"));
    assert_eq!(code(&output), 5);
    let message = stderr(&output);
    assert!(message.contains("libnone.so") && message.contains("1.17"), "{message}");
}

#[test]
fn a_library_that_is_too_old_names_both_versions() {
    let Some(place) = place() else { return };
    let source = place.write(
        "old.c",
        b"typedef struct { const void* (*api)(unsigned); const char* (*version)(void); } Base;
          static const void* api(unsigned v) { return v <= 16 ? \"\" : 0; }
          static const char* version(void) { return \"1.16.3\"; }
          static const Base base = { api, version };
          const Base* OrtGetApiBase(void) { return &base; }",
    );
    let library = place.path("libonnxruntime.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "no C compiler");
        eprintln!("skipped: no C compiler for the old library");
        return;
    }
    let output = with_library(place, &library);
    assert_eq!(code(&output), 5);
    let message = stderr(&output);
    assert!(message.contains("1.16.3") && message.contains("1.17"), "{message}");
}

#[test]
fn an_unwritable_output_folder_fails_and_the_rest_is_done() {
    let Some(place) = place() else { return };
    let screen = place.path("no such folder/screen.png");
    let heatmap = place.path("no such folder/heatmap.png");
    let files = [place.path("chest.png"), place.path("chest.png")];
    let arguments = [
        "--json",
        "--screen",
        screen.to_str().unwrap(),
        "--heatmap",
        heatmap.to_str().unwrap(),
    ];
    let output = place.triage(&files, &arguments);
    assert_eq!(code(&output), 1);
    let message = stderr(&output);
    assert_eq!(message.matches("cannot write").count(), 4, "{message}");
    assert!(message.contains("no such folder/screen-chest-2.png"), "{message}");
    assert_eq!(findings(&output).len(), 2);
}

#[test]
fn a_full_disk_fails_and_the_rest_is_done() {
    let Some(place) = place() else { return };
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        eprintln!("skipped: this system has no /dev/full");
        return;
    }
    let json = place.out("full").join("result.json");
    std::os::unix::fs::symlink(&full, &json).unwrap();
    let screen = place.path("full/screen.png");
    let arguments = [
        "--json-out",
        json.to_str().unwrap(),
        "--screen",
        screen.to_str().unwrap(),
    ];
    let output = place.triage(&[place.path("chest.png")], &arguments);
    assert_eq!(code(&output), 1);
    let message = stderr(&output);
    assert!(
        message.contains("full/result.json") && message.contains("No space left"),
        "{message}"
    );
    assert!(screen.exists(), "the screen is still written");

    // The same for standard output.
    let mut command = program();
    command.arg("triage").arg(place.path("chest.png")).arg("--json");
    command
        .arg("--bundle")
        .arg(place.path("finding.scanside"))
        .arg("--key")
        .arg(place.path("site.pub"));
    command.stdout(Stdio::from(File::create(&full).unwrap()));
    let output = command.output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("standard output"), "{}", stderr(&output));
}

#[test]
fn one_call_with_every_kind_of_file_does_them_all() {
    let Some(place) = place() else { return };
    let out = place.out("mixed");
    let small = place.path("small.png");
    chest(64, 64).save(&small).unwrap();
    let text = place.write("note.dcm", b"a note");
    let files = [place.path("chest.png"), text, small, place.path("nowhere.png")];
    let screen = out.join("s.png");
    let output = place.triage(&files, &["--json", "--screen", screen.to_str().unwrap()]);
    assert_eq!(code(&output), 3, "the worst code wins: {}", stderr(&output));
    let kinds: Vec<_> = findings(&output)
        .iter()
        .map(|f| f["decision"]["kind"].clone())
        .collect();
    assert_eq!(kinds, ["flagged", "not-readable", "not-readable", "not-readable"]);
    let mut screens: Vec<_> = fs::read_dir(out).unwrap().map(|e| e.unwrap().file_name()).collect();
    screens.sort();
    assert_eq!(screens, ["s-chest.png", "s-note.png", "s-nowhere.png", "s-small.png"]);
}

#[test]
fn nothing_that_stands_in_a_file_commands_the_terminal() {
    let Some(place) = place() else { return };
    let hostile = "\u{1b}[2J\u{7}RGB";
    let file = |name: &str, elements: &[Element]| place.write(name, &support::dicom(EXPLICIT, elements));
    let colour = file(
        "colour.dcm",
        &[
            Element::number(0x28, 2, 1),
            Element::text(0x28, 4, *b"CS", hostile),
            Element::number(0x28, 0x10, 1),
            Element::number(0x28, 0x11, 1),
            Element::new(0x7fe0, 0x10, *b"OW", vec![0, 0]),
        ],
    );
    let report = file("report.dcm", &[Element::text(8, 0x16, *b"UI", hostile)]);
    let coding = place.write("coding.dcm", &support::dicom(hostile, &[]));
    let output = place.triage(&[colour, report, coding], &[]);
    assert_eq!(code(&output), 3);
    let text = stdout(&output) + &stderr(&output);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert_eq!(text.matches("[2JRGB").count(), 3, "{text:?}");
}

/// `triage` of two good images with a free choice of outputs; what must not change is compared with what it was.
fn assert_outputs_refused(place: &Place, folder: &str, arguments: &[(&str, &str)], words: &[&str]) {
    let folder = place.out(folder);
    for name in ["a.png", "s-a.png", "finding.scanside", "site.pub"] {
        let source = if name.ends_with("png") { "chest.png" } else { name };
        fs::copy(place.path(source), folder.join(name)).unwrap();
    }
    fs::write(folder.join("edge.toml"), "").unwrap();
    let listing = || {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let before = listing();
    let mut command = program();
    command.current_dir(&folder).arg("triage").args(["a.png", "s-a.png"]);
    command.args([
        "--bundle",
        "finding.scanside",
        "--key",
        "site.pub",
        "--config",
        "edge.toml",
    ]);
    for (option, value) in arguments {
        command.args([option, value]);
    }
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(code(&output), 2, "{arguments:?}: {message}");
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    assert!(listing() == before, "{arguments:?} changed the folder");
    assert!(stdout(&output).is_empty(), "nothing was begun");
}

#[test]
fn an_output_never_takes_the_place_of_an_input_or_another_output() {
    let Some(place) = place() else { return };
    let refused = |arguments: &[(&str, &str)], words: &[&str]| {
        assert_outputs_refused(place, "collisions", arguments, words);
    };
    // With two images `s.png` becomes `s-a.png` and `s-s-a.png`.
    refused(&[("--screen", "s.png")], &["--screen", "s-a.png", "image"]);
    refused(&[("--heatmap", "../collisions/s.png")], &["--heatmap", "image"]);
    refused(
        &[("--screen", "o.png"), ("--heatmap", "./o.png")],
        &["--screen", "--heatmap", "o-a.png"],
    );
    refused(
        &[("--screen", "o.png"), ("--json-out", "o.png")],
        &["--screen", "--json-out"],
    );
    let one = |option: &str, name: &str, what: &str| {
        let folder = place.out("collision-of-one");
        for (name, source) in [
            ("in.png", "chest.png"),
            ("b.scanside", "finding.scanside"),
            ("k.pub", "site.pub"),
        ] {
            fs::copy(place.path(source), folder.join(name)).unwrap();
        }
        let before = fs::read(folder.join(name)).unwrap();
        let mut command = program();
        command
            .current_dir(&folder)
            .args(["triage", "in.png", "--bundle", "b.scanside", "--key", "k.pub"]);
        let output = command.args([option, name]).output().unwrap();
        let message = stderr(&output);
        assert_eq!(code(&output), 2, "{option} {name}: {message}");
        assert!(message.contains(name) && message.contains(what), "{message}");
        assert!(
            fs::read(folder.join(name)).unwrap() == before,
            "{option} changed {name}"
        );
    };
    one("--screen", "in.png", "image");
    one("--heatmap", "in.png", "image");
    one("--json-out", "b.scanside", "bundle");
    one("--json-out", "k.pub", "public key");
}

#[test]
fn several_outputs_may_go_to_the_same_device() {
    let Some(place) = place() else { return };
    let arguments = ["--json-out", "/dev/null", "--heatmap", "/dev/null"];
    let output = place.triage(&[place.path("chest.png")], &arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

/// What a person reads of a failure says each thing once.
fn assert_told_once(message: &str, things: &[&str]) {
    assert_eq!(message.lines().count(), 1, "{message}");
    for thing in things {
        assert_eq!(message.matches(thing).count(), 1, "{thing:?} in {message}");
    }
}

#[test]
fn a_failure_says_each_thing_once() {
    let Some(place) = place() else { return };
    let of = |arguments: &[&str]| {
        let mut command = program();
        stderr(&command.args(arguments).output().unwrap())
    };
    let key = place.path("site.pub");
    let key = key.to_str().unwrap();
    let system = "No such file or directory";
    assert_told_once(
        &of(&["bundle", "inspect", "none.scanside", "--key", key]),
        &["none.scanside", system],
    );
    assert_told_once(
        &of(&["triage", "x.png", "--bundle", "none.scanside", "--key", key]),
        &["none.scanside", system],
    );
    assert_told_once(
        &of(&["triage", "x.png", "--bundle", "b", "--config", "none.toml"]),
        &["none.toml", system],
    );
    assert_told_once(
        &of(&["triage", "x.png", "--bundle", "b", "--key", "none.pub"]),
        &["none.pub", system],
    );
    let output = place.triage(&[place.path("chest.png")], &["--screen", "no such folder/screen.png"]);
    assert_told_once(&stderr(&output), &["no such folder/screen.png", system, "check that"]);
}

#[test]
fn a_refusal_is_short_on_the_screen_and_whole_in_the_json() {
    let Some(place) = place() else { return };
    let bytes = chest_dicom("054Y", "DX", None, EXPLICIT, 12);
    let path = place.write("cut-short.dcm", &bytes[..bytes.len() / 2]);
    let report = place.write(
        "report-2.dcm",
        &support::dicom(EXPLICIT, &[Element::text(8, 0x16, *b"UI", "1.2.3")]),
    );
    let output = place.triage(&[path.clone(), report.clone()], &["--json"]);
    let reasons: Vec<_> = findings(&output)
        .iter()
        .map(|f| f["decision"]["reasons"][0].clone())
        .collect();
    assert_eq!(reasons[0]["message"], "The file ends too early.");
    let detail = reasons[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("(7FE0,0010)") && !detail.contains("cut-short.dcm"),
        "{detail}"
    );
    assert_eq!(reasons[1]["message"], "The file holds no image.");
    assert!(
        reasons[1]["detail"].as_str().unwrap().contains("1.2.3"),
        "{}",
        reasons[1]
    );
    let output = place.triage(&[path, report], &[]);
    let text = stdout(&output) + &stderr(&output);
    for doubled in ["truncated: truncated", "no-pixels: no pixels"] {
        assert!(!text.contains(doubled), "{text}");
    }
    assert!(text.contains("  The file ends too early. [truncated]\n"), "{text}");
}

//! `triage` on good images: decisions, files, JSON.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use scanside_edge::codes::Code;
use support::{EXPLICIT, chest_dicom, code, findings, place, program, root, stderr, stdout};

#[test]
fn a_finding_is_flagged_with_screen_heatmap_and_json() {
    let Some(place) = place() else { return };
    let out = place.out("flagged");
    let [screen, heatmap, json] = ["screen.png", "heatmap.png", "result.json"].map(|name| out.join(name));
    let paths = [&screen, &heatmap, &json].map(|p| p.to_str().unwrap());
    let output = place.triage(
        &[place.path("chest.png")],
        &[
            "--json",
            "--screen",
            paths[0],
            "--heatmap",
            paths[1],
            "--json-out",
            paths[2],
        ],
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let finding = &findings(&output)[0];
    assert_eq!(finding["decision"]["kind"], "flagged");
    assert_eq!(finding["decision"]["label"], "covid19");
    assert_eq!(finding["model"]["name"], "example-triage");
    assert_eq!(finding["engine"]["provider"], "cpu");
    assert_eq!(
        finding["unchecked_use"].as_array().unwrap().len(),
        4,
        "a PNG says nothing"
    );
    assert_eq!(finding["heatmaps"].as_array().unwrap().len(), 2);
    let sum: f64 = finding["probabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["probability"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(&written, finding);
    assert_eq!(image::open(&screen).unwrap().to_rgb8().dimensions(), (800, 480));
    assert_eq!(image::open(&heatmap).unwrap().to_rgb8().dimensions(), (260, 300));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3, "nothing else is left");
}

#[test]
fn the_absence_of_a_finding_is_told_in_words() {
    let Some(place) = place() else { return };
    let mut command = program();
    command.arg("triage").arg(place.path("chest.png"));
    command.arg("--bundle").arg(place.path("none.scanside"));
    // The keys' folder holds other files as well.
    command.arg("--keys").arg(place.path(""));
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("No finding flagged") && text.contains("not a diagnosis"),
        "{text}"
    );
    assert!(!text.to_lowercase().contains("normal"), "{text}");
}

#[test]
fn a_config_names_the_keys() {
    let Some(place) = place() else { return };
    let config = format!("trusted_keys = {:?}\nthreads = 1\n", place.path(""));
    let config = place.write("edge.toml", config.as_bytes());
    let triage = |config: &PathBuf| {
        let mut command = program();
        command.arg("triage").arg(place.path("chest.png"));
        command
            .arg("--bundle")
            .arg(place.path("finding.scanside"))
            .arg("--config")
            .arg(config);
        command.output().unwrap()
    };
    let output = triage(&config);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let newer = format!("trusted_keys = {:?}\nlowest_security_counter = 8\n", place.path(""));
    let output = triage(&place.write("newer.toml", newer.as_bytes()));
    assert_eq!(code(&output), 4);
    assert!(
        stderr(&output).contains("security counter 7 is lower than 8"),
        "{}",
        stderr(&output)
    );
    let output = triage(&place.write("wrong.toml", b"threads = \"many\"\n"));
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("wrong.toml") && stderr(&output).contains("threads"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_intended_use_is_checked_where_the_image_says_something() {
    let Some(place) = place() else { return };
    let adult = place.write("adult.dcm", &chest_dicom("054Y", "DX", None, EXPLICIT, 12));
    let child = place.write("child.dcm", &chest_dicom("004Y", "DX", None, EXPLICIT, 12));
    let tomogram = place.write("ct.dcm", &chest_dicom("054Y", "CT", None, EXPLICIT, 12));
    let output = place.triage(&[adult, child, tomogram], &["--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let found: Vec<_> = findings(&output)
        .iter()
        .map(|f| {
            (
                f["decision"]["kind"].clone(),
                f["decision"]["reasons"][0]["code"].clone(),
            )
        })
        .collect();
    assert_eq!(found[0].0, "flagged", "{}", stdout(&output));
    assert_eq!(found[1], ("uncertain".into(), "outside-intended-use-age".into()));
    assert_eq!(found[2], ("uncertain".into(), "outside-intended-use-modality".into()));
}

#[test]
fn another_modality_is_told_before_the_quality_that_follows_from_it() {
    let Some(place) = place() else { return };
    let mut bytes = chest_dicom("054Y", "CT", None, EXPLICIT, 12);
    let pixels = bytes.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0]).unwrap() + 12;
    bytes[pixels..].fill(0);
    let output = place.triage(&[place.write("dark.dcm", &bytes)], &["--json"]);
    let decision = &findings(&output)[0]["decision"];
    assert_eq!(decision["kind"], "not-readable", "{}", stdout(&output));
    let codes: Vec<_> = decision["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| &reason["code"])
        .collect();
    assert_eq!(codes[0], "outside-intended-use-modality");
    assert!(codes.contains(&&"under-exposed".into()), "{codes:?}");
}

#[test]
fn help_offers_a_window_only_where_there_is_one() {
    let Some(place) = place() else { return };
    let output = place.triage(&[], &["--help"]);
    assert_eq!(stdout(&output).contains("--window"), cfg!(feature = "window"));
}

#[test]
fn an_image_without_a_picture_is_not_readable_and_done() {
    let Some(place) = place() else { return };
    let black = place.path("black.png");
    image::GrayImage::new(300, 300).save(&black).unwrap();
    let screen = place.out("black").join("screen.png");
    let output = place.triage(&[black], &["--json", "--screen", screen.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let finding = &findings(&output)[0];
    assert_eq!(finding["decision"]["kind"], "not-readable");
    assert_eq!(finding["decision"]["reasons"][0]["code"], "under-exposed");
    assert!(screen.exists());
}

#[test]
fn the_framebuffer_of_a_plain_file_is_refused_as_a_device() {
    let Some(place) = place() else { return };
    let file = place.write("fb", &[0; 16]);
    let output = place.triage(&[place.path("chest.png")], &["--framebuffer", file.to_str().unwrap()]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
}

#[test]
fn every_finding_fits_the_schema() {
    let Some(place) = place() else { return };
    let schema = root().join("docs/finding.schema.json");
    let text = fs::read_to_string(&schema).unwrap();
    let own = Code::ALL.map(Code::text);
    let quality = imaging::quality::QualityReason::ALL.map(|reason| reason.code());
    for code in own.iter().chain(&quality) {
        assert!(text.contains(&format!("\"{code}\"")), "{code} is not in the schema");
    }
    let installed = Command::new("python3").args(["-c", "import jsonschema"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        let message = "python3 cannot import jsonschema; pip install jsonschema";
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{message}");
        eprintln!("skipped: {message}");
        return;
    }
    let text = place.write("text.dcm", b"just some text");
    let black = place.path("black-2.png");
    image::GrayImage::new(300, 300).save(&black).unwrap();
    let child = place.write("child-2.dcm", &chest_dicom("004Y", "DX", None, EXPLICIT, 12));
    let output = place.triage(&[place.path("chest.png"), text, black, child], &["--json"]);
    let lines = place.write("findings.jsonl", &output.stdout);
    let script = "import json, sys, jsonschema\n\
                  validator = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))\n\
                  validator.check_schema(validator.schema)\n\
                  lines = [json.loads(line) for line in open(sys.argv[2])]\n\
                  assert len(lines) == 4, len(lines)\n\
                  [validator.validate(line) for line in lines]\n\
                  lines[0]['series'] = {'slices': 3, 'slice_alone': lines[1]['decision']}\n\
                  validator.validate(lines[0])\n\
                  lines[0]['decision']['kind'] = 'normal'\n\
                  assert not validator.is_valid(lines[0])\n";
    let checked = Command::new("python3")
        .args(["-c", script])
        .arg(&schema)
        .arg(&lines)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
}

#[test]
fn doctor_runs_the_golden_cases_and_names_the_provider() {
    let Some(place) = place() else { return };
    let doctor = |bundle: &str, arguments: &[&str]| {
        let mut command = program();
        command.arg("doctor").arg("--bundle").arg(place.path(bundle));
        command.arg("--key").arg(place.path("site.pub")).args(arguments);
        command.output().unwrap()
    };
    let output = doctor("finding.scanside", &[]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output);
    for wanted in [
        "CPUExecutionProvider",
        "golden case   good",
        "latency",
        "healthy",
        "onnx runtime",
        "asks for nothing in particular",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let output = doctor("finding.scanside", &["--json", "--framebuffer", "/dev/none"]);
    assert_eq!(code(&output), 5, "a display that is not there");
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["golden"][0]["passed"], true);
    assert_eq!(report["healthy"], false);
    assert!(report["latency_ms"]["median"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_reader_that_left_stops_neither_the_images_nor_the_exit_code() {
    let Some(place) = place() else { return };
    let out = place.out("left");
    let note = place.write("left.dcm", b"no image");
    let unread = |verb: &[&str], arguments: &[&OsStr]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program();
        command.args(verb).args(arguments);
        command.arg("--key").arg(place.path("site.pub"));
        command.stdout(writer).stderr(Stdio::piped()).output().unwrap()
    };
    let bundle = place.path("finding.scanside");
    let inspected = unread(&["bundle", "inspect"], &[bundle.as_os_str()]);
    assert_eq!((code(&inspected), stderr(&inspected)), (0, String::new()));
    let checked = unread(&["doctor", "--bundle"], &[bundle.as_os_str()]);
    assert_eq!((code(&checked), stderr(&checked)), (0, String::new()));
    let (chest, screen) = (place.path("chest.png"), out.join("screen.png"));
    let files = [chest.as_os_str(), note.as_os_str(), chest.as_os_str()];
    let rest = [
        "--screen".as_ref(),
        screen.as_os_str(),
        "--bundle".as_ref(),
        bundle.as_os_str(),
    ];
    let triaged = unread(&["triage"], &[&files[..], &rest[..]].concat());
    assert_eq!(code(&triaged), 3, "the refused file still counts");
    assert!(!stderr(&triaged).contains("standard output"), "{}", stderr(&triaged));
    assert_eq!(fs::read_dir(out).unwrap().count(), 3, "every screen is written");
}

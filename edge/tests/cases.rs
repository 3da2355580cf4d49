//! The service and its cases: taken in once, whatever ends it; kept, told, and gone without a trace of a name.

mod service;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use service::Site;
use support::dice::{Dice, number};
use support::{CHEST, Said, code, program, stderr, stdout};

/// Puts a file into the inbox as whole files come: by rename.
fn put(site: &Site, name: &str, bytes: &[u8]) -> PathBuf {
    fs::write(site.path("arriving"), bytes).unwrap();
    let path = site.path("inbox").join(name);
    fs::rename(site.path("arriving"), &path).unwrap();
    path
}

/// A verb beside the service.
fn verb(site: &Site, arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).arg("--config").arg(site.path("edge.toml"));
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    assert_eq!(code(output), 0, "{}", stderr(output));
    let text = stdout(output);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(folder: PathBuf) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Kills during the intake of many images; `SCANSIDE_KILLS=100 SCANSIDE_IMAGES=500` is the long run.
#[test]
fn whenever_it_is_killed_every_image_is_there_once_and_gets_its_result() {
    let Some(site) = Site::new() else { return };
    let (kills, images, seed) = (
        number("SCANSIDE_KILLS", 8),
        number("SCANSIDE_IMAGES", 60),
        number("SCANSIDE_SEED", 1),
    );
    let mut dice = Dice::new(seed);
    site.with_confirmed_model().stop();
    let mut sent = 0;
    let mut send = |until: u64| {
        for n in sent..until {
            let (uid, study) = (format!("1.2.3.{n}"), format!("1.2.{}", n / 3));
            let said = Said {
                uid: &uid,
                study: &study,
                ..CHEST
            };
            put(&site, &format!("{n}.dcm"), &said.bytes());
        }
        sent = until.max(sent);
    };
    for kill in 1..=kills {
        let service = site.spawn();
        send(images * kill / kills);
        std::thread::sleep(Duration::from_micros(dice.below(1_200_000)));
        service.kill();
    }
    let service = site.start();
    let inbox = site.path("inbox");
    site.wait("all images to be put away", || {
        (names(inbox.clone()).len() == 2).then_some(())
    });
    site.wait("all results to be filed", || {
        let results = names(site.path("state/results"));
        let whole = results.iter().filter(|name| name.ends_with(".json"));
        (whole.count() as u64 == images).then_some(())
    });
    assert_eq!(service.stop(), 0);
    assert_eq!(names(inbox.join("done")).len() as u64, images);
    site.assert_each_once(images as i64);
    println!("{kills} kills from seed {seed} over {images} images");
}

#[test]
fn cases_can_be_listed_shown_and_taken_out_while_it_serves() {
    let Some(site) = Site::new() else { return };
    let _service = site.with_confirmed_model();
    put(&site, "a.dcm", &CHEST.bytes());
    let second = Said {
        uid: "1.2.3.2",
        ..CHEST
    };
    put(&site, "b.dcm", &second.bytes());
    for _ in 0..2 {
        site.wait_for_result();
    }
    // The display draws after the result is stored.
    let listed = site.wait("the result on the display", || {
        let listed = lines(&verb(&site, &["cases", "list", "--json"]));
        listed[0]["latency_ms"].is_number().then_some(listed)
    });
    assert_eq!(listed.len(), 1, "two radiographs of one study: {listed:?}");
    let case = &listed[0];
    assert_eq!(case["images"]["done"], 2);
    assert_eq!(case["summary"]["decision"], "flagged");
    assert_eq!(case["patient"]["name"], "O. G.", "initials unless the config says more");
    assert!(case["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{case}");
    let number = case["number"].as_str().unwrap();

    let shown = verb(&site, &["cases", "show", number]);
    for part in [number, "flagged", "1.2.3.2", "after its last byte", "folder"] {
        assert!(stdout(&shown).contains(part), "no {part} in {}", stdout(&shown));
    }
    let shown = lines(&verb(&site, &["cases", "show", number, "--json"]));
    assert_eq!(shown[0]["results"][0]["finding"]["schema"], "scanside-finding/1");
    let picture = shown[0]["members"][0]["picture"].as_str().unwrap();
    assert_eq!(image::open(picture).unwrap().to_luma8().dimensions(), (180, 200));

    let table = stdout(&verb(&site, &["cases", "export"]));
    assert!(
        table.starts_with("case_id,digest,label,opinion") && table.contains(number),
        "{table}"
    );
    let exported = lines(&verb(&site, &["cases", "export", "--json"]));
    assert_eq!(exported.len(), 1);
    let absent = verb(&site, &["cases", "show", "990101-0001"]);
    assert_eq!(code(&absent), 2);
    assert!(stderr(&absent).contains("990101-0001"), "{}", stderr(&absent));
    let outbox = verb(&site, &["outbox", "list"]);
    assert!(stdout(&outbox).contains("0 to be made"), "{}", stdout(&outbox));
    assert!(stdout(&verb(&site, &["audit", "verify"])).contains("sound"));
}

#[test]
fn the_slices_of_a_series_are_one_case_with_one_result_file() {
    let Some(mut site) = Site::new() else { return };
    site.modalities = vec!["CT"];
    site.extra = "[appliance.store]\nseries_quiet_seconds = 1\n".to_owned();
    let service = site.with_confirmed_model();
    let slice = Said {
        modality: "CT",
        series: "1.2.3.9",
        ..CHEST
    };
    for n in 0..10 {
        let uid = format!("1.2.3.9.{n}");
        put(&site, &format!("{n}.dcm"), &Said { uid: &uid, ..slice }.bytes());
    }
    // A second series, of which one file holds all slices.
    let enhanced = Said {
        uid: "1.2.3.8.1",
        series: "1.2.3.8",
        frames: 4,
        ..slice
    };
    put(&site, "enhanced.dcm", &enhanced.bytes());
    let mut numbers = BTreeSet::new();
    for _ in 0..2 {
        numbers.insert(site.wait_for_result()["case_id"].as_str().unwrap().to_owned());
    }
    site.wait("the files to be released", || {
        names(site.path("state/images")).is_empty().then_some(())
    });
    service.stop();
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    for (number, images, results) in numbers.iter().zip([(10, 8), (1, 4)]).map(|(n, (i, r))| (n, i, r)) {
        let shown = &lines(&verb(&site, &["cases", "show", number, "--json"]))[0];
        assert_eq!(shown["kind"], "series");
        assert_eq!(shown["images"]["done"], images);
        assert_eq!(shown["summary"]["decision"], "flagged", "{shown}");
        assert_eq!(shown["results"].as_array().unwrap().len(), results, "the strip");
    }
    assert_eq!(names(site.path("state/results")).len(), 2);
    assert_eq!(site.count("SELECT count(*) FROM results"), 14);
}

#[test]
fn an_image_that_no_model_is_for_is_kept_told_and_put_away() {
    let Some(site) = Site::new() else { return };
    let _service = site.with_confirmed_model();
    let head = Said {
        modality: "CT",
        body_part: "HEAD",
        ..CHEST
    };
    put(&site, "head.dcm", &head.bytes());
    put(&site, "letter.dcm", b"Dear colleague,\nthank you for the patient.\n");
    let refused = site.path("inbox/refused");
    site.wait("both to be put away", || {
        (names(refused.clone()).len() == 2).then_some(())
    });
    let listed = verb(&site, &["cases", "list"]);
    let text = stdout(&listed);
    assert!(text.contains("no model for this kind of image"), "{text}");
    assert!(text.contains("not readable [not-an-image]"), "{text}");
    assert_eq!(
        site.count("SELECT count(*) FROM images WHERE state = 'no-model' AND file IS NOT NULL"),
        1
    );
}

#[test]
fn the_same_image_again_is_put_away_without_a_second_result() {
    let Some(site) = Site::new() else { return };
    let service = site.with_confirmed_model();
    for name in ["first.dcm", "second.dcm"] {
        put(&site, name, &CHEST.bytes());
        site.wait("it to be put away", || {
            site.path("inbox/done").join(name).exists().then_some(())
        });
    }
    service.stop();
    assert_eq!(site.count("SELECT count(*) FROM results"), 1);
    assert_eq!(
        site.count("SELECT count(*) FROM audit WHERE event = 'image-repeated'"),
        1
    );
}

#[test]
fn images_on_a_medium_are_copied_in_and_the_medium_is_left_as_it_is() {
    let Some(mut site) = Site::new() else { return };
    let mounts = site.path("media");
    site.extra = format!("[appliance.media]\nmounts = \"{}/*\"\n", mounts.display());
    let service = site.with_confirmed_model();
    let stick = mounts.join("stick/DICOM/S1");
    fs::create_dir_all(&stick).unwrap();
    fs::write(stick.join("IM1"), CHEST.bytes()).unwrap();
    fs::write(stick.join("holiday.jpg"), b"\xff\xd8\xff....").unwrap();
    fs::write(mounts.join("stick/letter.txt"), b"Dear colleague").unwrap();
    let before = names(stick.clone());
    let result = site.wait_for_result();
    assert_eq!(result["source"]["sop_instance_uid"], "1.2.3.1");
    service.stop();
    assert_eq!(site.count("SELECT count(*) FROM images"), 1);
    assert_eq!(names(stick), before);
}

#[test]
fn neither_logs_nor_results_hold_a_name_unless_the_config_lets_it_in() {
    for privacy in ["none", "full"] {
        let Some(mut site) = Site::new() else { return };
        site.extra = format!("[appliance.store]\nprivacy = \"{privacy}\"\n");
        let service = site.with_confirmed_model();
        put(&site, "ottilie_geheimrat.dcm", &CHEST.bytes());
        site.wait_for_result();
        put(&site, "geheimrat_letter.dcm", b"Dear Ottilie");
        site.wait_for_result();
        service.stop();
        let mut said = fs::read_to_string(site.path("stderr")).unwrap();
        let mut logs = 0;
        for entry in fs::read_dir(site.path("state/logs")).unwrap() {
            said += &fs::read_to_string(entry.unwrap().path()).unwrap();
            logs += 1;
        }
        assert!(logs > 0 && said.contains("examined"), "the logs tell something");
        for name in names(site.path("state/results")) {
            let result = fs::read_to_string(site.path("state/results").join(name)).unwrap();
            if privacy == "none" {
                said += &result;
            } else {
                let lower = result.to_lowercase();
                assert!(
                    lower.contains("geheimrat"),
                    "the file's name, if it may be kept: {result}"
                );
            }
        }
        let lower = said.to_lowercase();
        for name in ["geheimrat", "ottilie", "vertraulich"] {
            assert!(!lower.contains(name), "{privacy}: {name}");
        }
        // What a level lets in is in the database, and nowhere else.
        let (database, wal) = (site.path("state/store.sqlite"), site.path("state/store.sqlite-wal"));
        let bytes = [fs::read(database).unwrap(), fs::read(wal).unwrap_or_default()].concat();
        let kept = String::from_utf8_lossy(&bytes).contains("Geheimrat");
        assert_eq!(kept, privacy == "full");
        let files = names(site.path("state/images"));
        assert!(files.is_empty(), "the received file is gone: {files:?}");
    }
}

#[test]
fn a_config_is_checked_with_file_key_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = program()
            .args(["config", "check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        (code(&output), stdout(&output))
    };
    let (exit, text) = check("[appliance]\nstate = \"/var/lib/scanside\"\n");
    assert_eq!(exit, 0, "{text}");
    assert!(
        text.contains("good") && text.contains("[appliance.serial] is left out"),
        "{text}"
    );
    for (section, told) in [
        (
            "[appliance.store]\nkeep_days = 0",
            "appliance.store.keep_days is 0; give 1 to",
        ),
        ("[appliance.store]\nprivacy = \"some\"", "initials"),
        ("[appliance.store]\nkept = 3", "expected one of"),
        ("[appliance.media]\nmounts = \"usb\"", "appliance.media.mounts"),
        ("[appliance.intake]\nfolder = \"/in\"\nfinished = \"burn\"", "delete"),
    ] {
        let (exit, text) = check(&format!("[appliance]\nstate = \"/s\"\n{section}\n"));
        assert_eq!(exit, 2, "{section}: {text}");
        assert!(text.contains("edge.toml") && text.contains(told), "{section}: {text}");
    }
    let (exit, text) = check("trusted_keys = \"/nowhere\"\n[appliance]\nstate = \"/s\"\n");
    assert!(exit == 2 && text.contains("trusted_keys"), "{text}");
}

//! The whole way: dcmtk pushes to the service's DICOM port, results arrive on the display, in the store, and as
//! Secondary Capture and structured report at archives of others.
//!
//! Everything of the development data: `SCANSIDE_EVERY=1 cargo test --test network everything` (or `cargo xtask soak
//! appliance`); a plain run takes every hundredth of the X-rays.

mod dicom;
mod peers;
mod scanner;
mod service;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::servers::{Orthanc, Server, free_port, storescp};
use peers::{dciodvfy, printed, script};
use scanner::{ROOM, SMALL, push, sender};
use serde_json::Value;
use service::{Service, Site};
use support::dice::number;
use support::{CHEST, Said, code, program, stderr, stdout};

/// Files of the development data that no model is for: a scout image, and an abdomen.
const WITHOUT_MODEL: i64 = 2;

/// A site with a DICOM port and an archive that is called `title`; gives both ports.
fn networked(title: &str) -> Option<(Site, u16, u16)> {
    for name in ["echoscu", "storescu", "dcmsend", "storescp", "dsrdump"] {
        peers::dcmtk(name)?;
    }
    let mut site = Site::new()?;
    let [port, archive] = [free_port(), free_port()];
    site.extra = format!(
        "{dicom}[appliance.store]\nseries_quiet_seconds = 2\n\
         [appliance.outbox]\njson = {json:?}\nretry_first_seconds = 1\nretry_longest_seconds = 2\n\
         [appliance.outbox.archive]\naddress = \"127.0.0.1:{archive}\"\nae_title = \"{title}\"\n",
        dicom = scanner::section(port),
        json = site.path("outgoing"),
    );
    Some((site, port, archive))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect()
}

fn outbox(site: &Site) -> Value {
    let mut command = program();
    command
        .args(["outbox", "list", "--json", "--config"])
        .arg(site.path("edge.toml"));
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap_or_default()
}

#[test]
fn what_a_scanner_pushes_comes_back_to_the_archive_with_its_result() {
    let Some((site, port, archive)) = networked("ARCHIVE") else {
        return;
    };
    let service = site.with_confirmed_model();
    let image = scanner::write(&site.path("scanner"), [1], SMALL);

    let strange = sender("storescu", "STRANGER", &[], port).args(&image).output().unwrap();
    assert!(!strange.status.success(), "only who is on the list may send");
    assert!(push("storescu", &[], port, &image).status.success());
    let result = site.wait_for_result();
    assert_eq!(result["source"]["modality"], "DX", "{result}");

    // The archive was away; now it is there.
    let archived = site.path("archived");
    let _archive = storescp(archive, &archived, &[]);
    let described = |path: &PathBuf| {
        let output = Command::new("dsrdump").args(["+Pc", "+Pt"]).arg(path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    site.wait("both objects", || {
        let found = files(&archived);
        let is_report = |path: &PathBuf| described(path).contains("\"Imaging Measurement Report\"");
        (found.len() == 2 && found.iter().any(is_report)).then_some(())
    });
    let json = site.wait("the finding as JSON", || files(&site.path("outgoing")).pop());
    let sent: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(sent["case_id"], result["case_id"]);

    // The same object once more: taken, and neither examined nor sent again.
    assert!(push("storescu", &[], port, &image).status.success());
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(files(&archived).len(), 2, "{}", outbox(&site));
    assert_eq!(service.stop(), 0);
}

#[test]
fn an_image_of_a_role_without_a_model_gets_its_result_once_the_role_has_one() {
    let Some((mut site, port, _)) = networked("ARCHIVE") else {
        return;
    };
    site.roles = vec!["chest-xray", "chest-ct"];
    let mut service = site.with_models(&[("chest-xray", &["CR", "DX"])]);
    let file = site.path("slice.dcm");
    let pixels = Said { size: SMALL, ..CHEST }.pixels();
    fs::write(&file, scanner::slice(1, SMALL, &pixels)).unwrap();
    assert!(push("storescu", &[], port, &[file]).status.success());
    let count = |state: &str| site.count(&format!("SELECT count(*) FROM images WHERE state = '{state}'"));
    site.wait("the slice without a model", || (count("no-model") == 1).then_some(()));
    service.serve(1, &site.model_for("chest-ct", &["CT"]));
    site.wait("its result", || (count("done") == 1).then_some(()));
    assert_eq!(site.texts("SELECT role FROM results"), ["chest-ct"]);
    assert_eq!(service.stop(), 0);
}

#[test]
fn outbox_retry_sends_at_once_what_a_running_service_would_keep_for_an_hour() {
    let Some((mut site, port, archive)) = networked("ARCHIVE") else {
        return;
    };
    let [often, seldom] = [["1", "2"], ["3600", "3600"]]
        .map(|[first, longest]| format!("retry_first_seconds = {first}\nretry_longest_seconds = {longest}\n"));
    assert!(site.extra.contains(&often));
    site.extra = site.extra.replace(&often, &seldom);
    let service = site.with_confirmed_model();
    let image = scanner::write(&site.path("scanner"), [1], SMALL);
    assert!(push("storescu", &[], port, &image).status.success());
    site.wait_for_all("a failure of both objects", 2, || {
        site.count("SELECT count(*) FROM outbox WHERE kind <> 'json' AND attempts = 1")
    });
    let archived = site.path("archived");
    let _archive = storescp(archive, &archived, &[]);
    let mut retry = program();
    retry.args(["outbox", "retry", "--config"]).arg(site.path("edge.toml"));
    let output = retry.output().unwrap();
    assert!(stdout(&output).contains("to be tried at once"), "{}", stdout(&output));
    site.wait("both objects", || (files(&archived).len() == 2).then_some(()));
    assert_eq!(service.stop(), 0);
}

/// What scanners send: everything that the development data holds.
struct Load {
    /// The DICOM files, but for those of the series.
    samples: Vec<PathBuf>,
    /// The slices of one CT series.
    series: Vec<PathBuf>,
    /// X-rays, made into DICOM by img2dcm.
    rays: Vec<PathBuf>,
}

impl Load {
    fn make(folder: &Path) -> Option<Self> {
        let data = dicom::shared_data()?;
        fs::create_dir_all(folder).unwrap();
        let is_slice = |file: &PathBuf| file.to_string_lossy().contains("lungpetct");
        let (series, mut samples): (Vec<_>, Vec<_>) = dicom::files(&data.join("dicom")).into_iter().partition(is_slice);
        for sample in &mut samples {
            if sample.to_string_lossy().contains("Headless") {
                *sample = named(sample, &folder.join("headless.dcm"));
            }
        }
        let rays = dicom::files(&data.join("xray"));
        let every = number("SCANSIDE_EVERY", 100) as usize;
        let rays: Vec<_> = rays.into_iter().step_by(every).collect();
        Some(Self {
            samples,
            series,
            rays: dicom::converted(&rays, folder),
        })
    }

    fn len(&self) -> i64 {
        (self.samples.len() + self.series.len() + self.rays.len()) as i64
    }
}

/// A copy with the identifiers without which nobody can send it: a file of before DICOM has none.
fn named(headless: &Path, copy: &Path) -> PathBuf {
    printed(Command::new("dcmconv").arg("+F").args([headless, copy]));
    let class = "0008,0016=1.2.840.10008.5.1.4.1.1.2";
    let identify = ["--no-backup", "-gst", "-gse", "-gin", "-i", class];
    printed(Command::new("dcmodify").args(identify).arg(copy));
    copy.to_owned()
}

/// Pushes everything with dcmtk's programs, and waits until the last result has left.
fn push_everything(site: &Site, port: u16, load: &Load) {
    let echo = sender("echoscu", ROOM, &["--verbose"], port).output().unwrap();
    assert!(
        dicom::said(&echo).contains("Echo Response (Success)"),
        "{}",
        dicom::said(&echo)
    );
    let send = |name: &str, options: &[&str], files: &[PathBuf]| {
        let output = push(name, options, port, files);
        assert!(output.status.success(), "{name}: {}", dicom::said(&output));
    };
    // Nothing stands there that would keep the first result from the display.
    let (first, others) = load.samples.split_at(1);
    send("dcmsend", &["--read-file", "--decompress-never"], first);
    site.wait_for_all("a result on the display", 1, || {
        site.count("SELECT count(*) FROM images WHERE state = 'done' AND latency_ms > 0")
    });
    send("dcmsend", &["--read-file", "--decompress-never"], others);
    send("storescu", &[], &load.series);
    let (first, second) = load.rays.split_at(load.rays.len() / 2);
    send("dcmsend", &["--decompress-never"], first);
    send("storescu", &["--propose-jpeg8"], second);
    site.wait_for_all("everything to be settled and sent", 0, || {
        -site.count(
            "SELECT (SELECT count(*) FROM images WHERE state = 'waiting') + (SELECT count(*) FROM cases WHERE settled IS NULL) \
             + (SELECT count(*) FROM outbox WHERE state IN ('owed', 'waiting'))",
        )
    });
}

fn serving(site: &Site) -> Service<'_> {
    site.with_models(&[("chest-xray", &["CR", "DX"]), ("chest-ct", &["CT"])])
}

/// Everything is in the store once, and has its result unless no model is for it.
fn check_store(site: &Site, load: &Load) {
    // One file is the image of another in another transfer syntax.
    let kept = load.len() - 1;
    for (event, wanted) in [("image-repeated", 1), ("image-differs", 0)] {
        let found = site.count(&format!("SELECT count(*) FROM audit WHERE event = '{event}'"));
        assert_eq!(found, wanted, "{event}");
    }
    for (state, wanted) in [("no-model", WITHOUT_MODEL), ("done", kept - WITHOUT_MODEL)] {
        let found = site.count(&format!("SELECT count(*) FROM images WHERE state = '{state}'"));
        assert_eq!(found, wanted, "{state}");
    }
    let kept_twice = "SELECT count(*) - count(DISTINCT key) FROM images";
    assert_eq!(site.count(kept_twice), 0);
    assert_eq!(site.count("SELECT count(*) FROM results"), kept - WITHOUT_MODEL);
    assert_eq!(
        site.count("SELECT count(*) FROM outbox WHERE state = 'parked'"),
        0,
        "{}",
        outbox(site)
    );
    let roles = site.texts("SELECT DISTINCT role FROM results ORDER BY role");
    assert_eq!(roles, ["chest-ct", "chest-xray"]);
    let drawn = site.count("SELECT count(*) FROM images WHERE latency_ms > 0");
    let assessed = site.count("SELECT count(*) FROM results WHERE decision <> 'not-readable'");
    println!(
        "{} objects, {} results, {assessed} of readable images, {drawn} drawn one by one",
        load.len(),
        kept - WITHOUT_MODEL
    );
    // Among the samples are strips, test patterns and images of a few pixels; of chests hardly one is refused.
    assert!(assessed > (kept - WITHOUT_MODEL) / 2, "{assessed}");
}

/// Looks at what arrived with programs that are not ours: both objects of each result, and none beyond.
fn check_archive(site: &Site, archived: &Path) {
    let (mut wrong, mut reports) = (Vec::new(), 0);
    for file in files(archived) {
        // An identifier that the image has is the archive's key, whatever its root.
        let errors = dciodvfy(&file).into_iter();
        wrong.extend(errors.filter(|error| !error.contains("Illegal root for UID")));
        let dump = Command::new("dsrdump")
            .args(["+Pc", "+Pt"])
            .arg(&file)
            .output()
            .unwrap();
        reports += i64::from(dicom::said(&dump).contains("\"Imaging Measurement Report\""));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let sent = |kind: &str| {
        site.count(&format!(
            "SELECT count(*) FROM outbox WHERE kind = '{kind}' AND state = 'sent'"
        ))
    };
    assert_eq!(reports, sent("sr"), "as dsrdump sees them");

    let read = printed(script("peers/archived.py").arg(archived));
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for line in read.lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let kind = object["kind"].as_str().unwrap().to_owned();
        *counts.entry(kind.clone()).or_default() += 1;
        for image in object["images"].as_array().unwrap() {
            let of_kind = images.entry(kind.clone()).or_default();
            of_kind.insert(image.as_str().unwrap().to_owned());
        }
    }
    for kind in ["sc", "sr"] {
        assert_eq!(counts[kind], sent(kind), "{kind}");
    }
    println!("{counts:?} at the archive");
    let radiographs =
        "SELECT key FROM images JOIN cases ON cases.id = case_id WHERE state = 'done' AND kind <> 'series'";
    let readable = "AND NOT EXISTS (SELECT 1 FROM results WHERE image_id = images.id AND decision = 'not-readable')";
    for key in site.texts(radiographs) {
        assert!(images["sr"].contains(&key), "no report of {key}");
    }
    for key in site.texts(&format!("{radiographs} {readable}")) {
        assert!(images["sc"].contains(&key), "no picture of {key}");
    }
    // A series is settled once more if one of its slices was late.
    let settled = "SELECT count(*) FROM audit JOIN cases ON number = subject WHERE event = 'case-settled' AND decision IS NOT NULL";
    let result = "SELECT count(*) FROM results JOIN images ON images.id = image_id JOIN cases ON cases.id = case_id";
    let of_radiographs = site.count(&format!("{result} WHERE kind <> 'series'"));
    assert_eq!(
        sent("sr"),
        of_radiographs + site.count(settled),
        "one report of each radiograph and of each series"
    );
}

/// Pushes everything to a service whose archive is what `start` starts; `fetch` brings what it holds into a folder.
fn everything<A>(title: &str, start: impl Fn(u16, &Path) -> A, fetch: impl Fn(&A, &Path)) {
    if !(peers::program("dciodvfy", "dicom3tools") && peers::python("highdicom")) {
        return;
    }
    let Some((mut site, port, archive)) = networked(title) else {
        return;
    };
    let Some(load) = Load::make(&site.path("scanner")) else {
        return;
    };
    site.roles = vec!["chest-xray", "chest-ct"];
    let server = start(archive, &site.path("archive"));
    // Without the news of the update.
    serving(&site).stop();
    let service = site.start();
    let idle = site.wait_for_screen();
    push_everything(&site, port, &load);
    assert!(site.wait_for_screen() != idle, "the display shows the last result");
    assert_eq!(service.stop(), 0);
    check_store(&site, &load);
    let archived = site.path("archived");
    fs::create_dir_all(&archived).unwrap();
    fetch(&server, &archived);
    check_archive(&site, &archived);
}

#[test]
fn everything_comes_back_to_dcmtks_archive() {
    let start = |port, folder: &Path| -> (Server, PathBuf) { (storescp(port, folder, &[]), folder.to_owned()) };
    everything("ARCHIVE", start, |(_, folder), archived| {
        for file in files(folder) {
            fs::rename(&file, archived.join(file.file_name().unwrap())).unwrap();
        }
    });
}

#[test]
fn everything_comes_back_to_orthanc() {
    if !peers::program("Orthanc", "orthanc") {
        return;
    }
    let start = |port, folder: &Path| Orthanc::start(port, folder, "ORTHANC", Value::Null);
    everything("ORTHANC", start, |orthanc, archived| {
        let instances = orthanc.json("/instances");
        for instance in instances.as_array().unwrap() {
            let id = instance.as_str().unwrap();
            fs::write(archived.join(id), orthanc.get(&format!("/instances/{id}/file"))).unwrap();
        }
    });
}

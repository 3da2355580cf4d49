//! The whole way: dcmtk pushes to the service's DICOM port, results arrive on the display, in the store, and as
//! Secondary Capture and structured report at an archive of others.

mod service;
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use service::Site;
use support::{CHEST, Said, code, program, stderr, stdout};

/// dcmtk's programs, or a line that says what to install; in CI they must be there.
fn has_dcmtk() -> bool {
    let found = ["storescu", "storescp", "echoscu", "dsrdump", "dcmdump"]
        .iter()
        .all(|name| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .is_ok()
        });
    if !found {
        let install = "dcmtk is absent; apt install dcmtk";
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{install}");
        eprintln!("skipped: {install}");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// dcmtk's archive; it ends with this value.
struct Archive(Child);

impl Archive {
    fn start(port: u16, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut command = Command::new("storescp");
        command
            .args(["-aet", "ARCHIVE", "+B", "-od"])
            .arg(folder)
            .arg(port.to_string());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A site with a DICOM port and an archive; gives both ports.
fn networked() -> Option<(Site, u16, u16)> {
    if !has_dcmtk() {
        return None;
    }
    let mut site = Site::new()?;
    let [port, archive] = [free_port(), free_port()];
    site.extra = format!(
        "[appliance.dicom]\naddress = \"127.0.0.1:{port}\"\ncalling = [\"ROOM_1\"]\n\
         [appliance.outbox]\njson = {json:?}\nretry_first_seconds = 1\nretry_longest_seconds = 2\n\
         [appliance.outbox.archive]\naddress = \"127.0.0.1:{archive}\"\nae_title = \"ARCHIVE\"\n",
        json = site.path("outgoing"),
    );
    Some((site, port, archive))
}

fn push(port: u16, calling: &str, files: &[PathBuf]) -> bool {
    let mut command = Command::new("storescu");
    command
        .args(["-aet", calling, "-aec", "SCANSIDE", "127.0.0.1"])
        .arg(port.to_string());
    command
        .args(files)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect()
}

fn outbox(site: &Site) -> serde_json::Value {
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
    let Some((site, port, archive)) = networked() else {
        return;
    };
    let service = site.with_confirmed_model();
    let image = site.path("radiograph.dcm");
    fs::write(&image, radiograph(1)).unwrap();

    assert!(
        !push(port, "STRANGER", std::slice::from_ref(&image)),
        "only who is on the list may send"
    );
    assert!(push(port, "ROOM_1", std::slice::from_ref(&image)));
    let result = site.wait_for_result();
    assert_eq!(result["source"]["modality"], "DX", "{result}");

    // The archive was away; now it is there.
    let archived = site.path("archived");
    let _archive = Archive::start(archive, &archived);
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
    let sent: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(sent["case_id"], result["case_id"]);

    // The same object once more: taken, and neither examined nor sent again.
    assert!(push(port, "ROOM_1", &[image]));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(files(&archived).len(), 2, "{}", outbox(&site));
    assert_eq!(service.stop(), 0);
}

#[test]
fn nothing_that_was_accepted_is_lost_when_the_power_goes() {
    let Some((site, port, _)) = networked() else { return };
    let service = site.with_confirmed_model();
    let images: Vec<PathBuf> = (1..=12)
        .map(|number| {
            let path = site.path(&format!("image-{number}.dcm"));
            fs::write(&path, radiograph(number)).unwrap();
            path
        })
        .collect();
    assert!(push(port, "ROOM_1", &images));
    service.kill();
    let service = site.start();
    let numbers = site.wait("every result", || {
        let names = files(&site.path("state/results"));
        Some(names.len()).filter(|count| *count >= images.len())
    });
    assert_eq!(numbers, images.len(), "each once");
    assert_eq!(service.stop(), 0);
}

/// A frontal radiograph of a study of its own, as a scanner makes it.
fn radiograph(number: usize) -> Vec<u8> {
    let uid = |kind: usize| format!("1.2.826.0.1.3680043.8.498.{kind}.{number}");
    let said = Said {
        uid: &uid(1),
        study: &uid(2),
        series: &uid(3),
        ..CHEST
    };
    said.bytes()
}

//! Disks that are full or may not be written: the service lives, says so, loses nothing, and goes on by itself.
//!
//! Each service has a small disk in a mount namespace of its own; where a system does not allow that, the tests are
//! skipped with a line.

mod service;
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use service::{Service, Site};
use support::{code, program, stderr};

const MEGABYTES: u32 = 24;

/// A site whose service has a disk of its own.
fn site() -> Option<Site> {
    let allowed = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /mnt",
        ])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this system does not allow mount namespaces (unshare --user --mount)");
        return None;
    }
    let mut site = Site::new()?;
    site.disk_megabytes = Some(MEGABYTES);
    site.extra = "[appliance.store]\nreserve_megabytes = 1\n".to_owned();
    Some(site)
}

/// Takes all that is free, byte by byte at the end.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for piece in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
}

fn problem(service: &mut Service<'_>, site: &Site, of: &str) -> String {
    site.wait(&format!("a problem of {of}"), || {
        service.problems().into_iter().find(|problem| problem.contains(of))
    })
}

fn done(site: &Site, name: &str) -> PathBuf {
    let path = site.path("inbox/done").join(name);
    site.wait("the image to be put away", || path.exists().then_some(()));
    path
}

fn is_sound(service: &Service<'_>) -> bool {
    let connection = rusqlite::Connection::open(service.inside("state/store.sqlite")).unwrap();
    let sound: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    sound == "ok"
}

#[test]
fn a_full_disk_keeps_images_outside_until_there_is_room() {
    let Some(site) = site() else { return };
    let mut service = site.with_confirmed_model();
    site.image("before.png");
    done(&site, "before.png");
    let filler = service.inside("state/filler");
    fill(&filler);
    let image = site.image("meanwhile.png");
    let told = problem(&mut service, &site, "full");
    assert!(image.exists(), "{told}");
    assert!(service.states()[0].active, "the service lives");
    fs::remove_file(filler).unwrap();
    done(&site, "meanwhile.png");
    site.wait("the fault to be over", || service.problems().is_empty().then_some(()));
    assert!(is_sound(&service));
}

#[test]
fn a_disk_that_is_read_only_is_told_with_the_folder_and_nothing_begins() {
    let Some(site) = site() else { return };
    site.write_config();
    let script = "mkdir -p \"$1\" && mount -t tmpfs -o ro none \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(site.path("state")).arg(program().get_program());
    command.args(["run", "--config"]).arg(site.path("edge.toml"));
    let output = command.output().unwrap();
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("ead-only") && said.contains("state"), "{said}");
}

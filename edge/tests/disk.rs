//! Disks that are full or may not be written: the service lives, says so, loses nothing, and goes on by itself.
//!
//! Each service has a small disk in a mount namespace of its own; where a system does not allow that, the tests are
//! skipped with a line.

mod dicom;
mod service;
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dicom::peer::{DX, EXPLICIT, IN_CT, Peer, command, request_of};
use dicom_ul::Pdu;
use embedded_graphics::prelude::RgbColor;
use scanside_edge::screens::palette;
use service::{Service, Site};
use support::{CHEST, Said, code, program, stderr};

const MEGABYTES: u32 = 24;

/// A program that another test starts meanwhile gets its own view of what is mounted, and in it the disk of this one stays
/// as it was: one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// Whether the screen is the red one.
fn is_fault(site: &Site) -> bool {
    let Ok(screen) = image::open(site.path("screen.png")) else {
        return false;
    };
    let red = [palette::FAULT.r(), palette::FAULT.g(), palette::FAULT.b()];
    screen.to_rgb8().pixels().filter(|pixel| pixel.0 == red).count() > 500
}

/// The SOP Instance UID of a radiograph.
fn instance(number: usize) -> String {
    format!("1.2.826.0.1.3680043.8.498.1.{number}")
}

/// Sends a radiograph; gives the status, if there was an answer.
fn send(address: SocketAddr, number: usize) -> Option<u16> {
    let (instance, study) = (instance(number), format!("1.2.3.{number}"));
    let said = Said {
        uid: &instance,
        study: &study,
        ..CHEST
    };
    let mut peer = Peer::connect(address);
    peer.send(&request_of(&[(IN_CT, DX, EXPLICIT)]));
    assert!(matches!(peer.receive(), Some(Pdu::AssociationAC(_))));
    peer.try_store(
        &command(0x0001, DX, Some(&instance), true),
        &dicom::data_set_of(&said.bytes()),
    )
}

/// Sends a radiograph that is taken; gives its SOP Instance UID.
fn accepted(address: SocketAddr, number: usize) -> String {
    assert_eq!(send(address, number), Some(0));
    instance(number)
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
    let _alone = alone();
    let Some(mut site) = site() else { return };
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.extra += &format!("[appliance.dicom]\naddress = \"{address}\"\ncalling = [\"TEST_SCU\"]\nbusy_seconds = 1\n");
    let mut service = site.with_confirmed_model();
    site.image("before.png");
    done(&site, "before.png");
    let filler = service.inside("state/filler");
    fill(&filler);
    let image = site.image("meanwhile.png");
    let told = problem(&mut service, &site, "full");
    assert!(image.exists(), "{told}");
    assert_eq!(send(address, 1), Some(0xA700), "the sender keeps it");
    site.wait("the screen to say so", || is_fault(&site).then_some(()));
    assert!(service.states()[0].active, "the service lives");
    fs::remove_file(filler).unwrap();
    done(&site, "meanwhile.png");
    site.wait("the sender to be heard", || (send(address, 1) == Some(0)).then_some(()));
    site.wait("the fault to be over", || service.problems().is_empty().then_some(()));
    assert!(is_sound(&service));
}

#[test]
fn a_disk_that_is_read_only_is_told_with_the_folder_and_on_the_screen_and_nothing_begins() {
    let _alone = alone();
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
    assert!(is_fault(&site), "the screen says so too");
}

/// A disk of its own for the state folder, which a test can let fail as the kernel lets a failing medium: read-only from
/// one moment to the next, with files open. `None` with a line where this user may not do that.
struct Failing {
    image: PathBuf,
    folder: PathBuf,
}

impl Failing {
    fn mount(site: &Site) -> Option<Self> {
        let disk = Self {
            image: site.path("disk"),
            folder: site.path("state"),
        };
        fs::create_dir(&disk.folder).unwrap();
        File::create(&disk.image).unwrap().set_len(64 << 20).unwrap();
        let made = done_by(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image));
        if made && disk.mount_again() && disk.trigger().exists() {
            return Some(disk);
        }
        eprintln!("skipped: this user may not mount a disk image whose ext4 fails at a word; run as root");
        None
    }

    fn mount_again(&self) -> bool {
        let mut mount = Command::new("mount");
        done_by(
            mount
                .args(["-o", "loop,errors=remount-ro"])
                .arg(&self.image)
                .arg(&self.folder),
        )
    }

    /// Where the kernel lets an error of the file system be made up.
    fn trigger(&self) -> PathBuf {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let folder = self.folder.to_string_lossy();
        let mounted = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&folder));
        let device = mounted.and_then(|line| line.split(' ').next()).unwrap_or_default();
        let name = device.rsplit('/').next().unwrap_or_default();
        Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error")
    }

    fn fail(&self) {
        fs::write(self.trigger(), "a test").unwrap();
        assert!(File::create(self.folder.join("probe")).is_err(), "it is read-only now");
    }

    /// What a technician does, or the next start of the machine.
    fn repair(&self) {
        assert!(done_by(Command::new("umount").arg(&self.folder)));
        // 1: errors were corrected.
        let checked = Command::new("fsck.ext4").arg("-y").arg(&self.image).output().unwrap();
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        assert!(self.mount_again());
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        done_by(Command::new("umount").arg("--lazy").arg(&self.folder));
    }
}

fn done_by(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_disk_that_becomes_read_only_is_told_nothing_more_is_taken_and_nothing_that_was_is_lost() {
    let _alone = alone();
    let Some(mut site) = Site::new() else { return };
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.extra = format!(
        "[appliance.store]\nreserve_megabytes = 1\n[appliance.dicom]\naddress = \"{address}\"\ncalling = [\"TEST_SCU\"]\n"
    );
    let Some(disk) = Failing::mount(&site) else { return };
    let mut service = site.with_confirmed_model();
    let mut accepted: Vec<String> = (0..4).map(|number| accepted(address, number)).collect();
    disk.fail();
    let refused = send(address, 100).expect("an answer");
    assert!(refused == 0xA700 || refused == 0x0110, "{refused:04X}");
    let told = problem(&mut service, &site, "read");
    assert!(
        told.to_lowercase().contains("read-only") || told.contains("readonly"),
        "{told}"
    );
    site.wait("the screen to say so", || is_fault(&site).then_some(()));
    assert!(service.states()[0].active, "the service lives");
    let log = fs::read_to_string(site.path("stderr")).unwrap();
    service.stop();

    disk.repair();
    let service = site.start();
    site.wait("the port", || TcpStream::connect(address).ok());
    accepted.push(self::accepted(address, 101));
    let database = || rusqlite::Connection::open(site.path("state/store.sqlite")).unwrap();
    site.wait("every result", || {
        let sql = "SELECT count(*) FROM images WHERE state = 'done'";
        let done: i64 = database().query_row(sql, [], |row| row.get(0)).unwrap();
        (done as usize == accepted.len()).then_some(())
    });
    for instance in accepted {
        let sql = "SELECT count(*) FROM images JOIN results ON image_id = images.id WHERE key = ?";
        let count: i64 = database().query_row(sql, [&instance], |row| row.get(0)).unwrap();
        assert_eq!(count, 1, "{instance}");
    }
    assert!(is_sound(&service), "{log}");
    assert_eq!(service.stop(), 0);
}

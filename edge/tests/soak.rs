//! Many images one after the other: the service's memory and open files do not grow, and its database and files stay
//! within what they may take.
//!
//! `SCANSIDE_IMAGES=10000 cargo test --release --test soak -- --nocapture` (or `cargo xtask soak images`) is the long run.

mod peers;
mod scanner;
mod service;
mod support;

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use peers::servers::{free_port, storescp};
use scanner::SMALL;
use service::{Service, Site};
use support::dice::number;

/// Images of one association.
const BATCH: usize = 100;
/// What grows until then is what a service needs.
const FIRST: usize = 500;
/// The least that can be configured, so that many images reach it.
const QUOTA_MEGABYTES: u64 = 64;
/// By which share memory may grow after the first images.
const GROWTH: f64 = 0.05;

/// The service at rest after some images.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    images: usize,
    /// Resident bytes.
    memory: u64,
    /// Open file descriptors.
    files: usize,
    /// Bytes of the database with its log.
    database: u64,
    /// Bytes of the database and of all files of cases.
    disk: u64,
    cases: i64,
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|data| data.len())
        .sum()
}

impl Sample {
    fn take(site: &Site, service: &Service<'_>, images: usize) -> Self {
        let state = |name: &str| site.path("state").join(name);
        let length = |name: &str| fs::metadata(state(name)).map_or(0, |data| data.len());
        let database = length("store.sqlite") + length("store.sqlite-wal");
        let folders = ["incoming", "images", "pictures", "results", "outbox"];
        Self {
            images,
            memory: service.memory("VmRSS"),
            files: service.open_files(),
            database,
            disk: database + folders.iter().map(|name| bytes(&state(name))).sum::<u64>(),
            cases: site.count("SELECT count(*) FROM cases"),
        }
    }

    fn print(&self) {
        let mega = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{:>6} images: {:6.1} MB resident, {} open files, database {:.1} MB, all {:.1} MB, {} cases",
            self.images,
            mega(self.memory),
            self.files,
            mega(self.database),
            mega(self.disk),
            self.cases
        );
    }
}

/// Pushes a batch, and waits until the service has nothing more to do with it.
fn push(site: &Site, port: u16, numbers: std::ops::Range<usize>) {
    let folder = site.path("scanner");
    let files = scanner::write(&folder, numbers, SMALL);
    let output = scanner::push("dcmsend", &[], port, &files);
    assert!(output.status.success(), "{output:?}");
    site.wait_for_all("the batch to be dealt with", 0, || {
        -site.count(
            "SELECT (SELECT count(*) FROM images WHERE state = 'waiting') + (SELECT count(*) FROM cases WHERE filed = 0) \
             + (SELECT count(*) FROM outbox WHERE state IN ('owed', 'waiting'))",
        )
    });
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn many_images_leave_the_service_as_it_was() {
    if peers::dcmtk("dcmsend").and(peers::dcmtk("storescp")).is_none() {
        return;
    }
    let Some(mut site) = Site::new() else { return };
    let images = number("SCANSIDE_IMAGES", 400) as usize;
    let first = FIRST.min(images / 2);
    let [port, archive] = [free_port(), free_port()];
    site.extra = format!(
        "{dicom}[appliance.store]\nmax_megabytes = {QUOTA_MEGABYTES}\n\
         [appliance.outbox.archive]\naddress = \"127.0.0.1:{archive}\"\nae_title = \"ARCHIVE\"\n",
        dicom = scanner::section(port),
    );
    let _archive = storescp(archive, &site.path("archive"), &["--ignore"]);
    site.with_confirmed_model().stop();
    // A service that was only ever used for images.
    let service = site.start();
    site.wait("the port", || TcpStream::connect(("127.0.0.1", port)).ok());
    let mut samples = Vec::new();
    for begin in (0..images).step_by(BATCH) {
        let end = images.min(begin + BATCH);
        push(&site, port, begin..end);
        let sample = Sample::take(&site, &service, end);
        sample.print();
        samples.push(sample);
    }
    assert_eq!(
        site.count("SELECT count(*) FROM audit WHERE event = 'result'"),
        images as i64
    );
    assert_eq!(service.stop(), 0);
    let (before, after): (Vec<Sample>, Vec<Sample>) = samples.into_iter().partition(|sample| sample.images <= first);
    let most = |samples: &[Sample], value: fn(&Sample) -> u64| samples.iter().map(value).max().unwrap();
    let [then, now] = [&before, &after].map(|samples| most(samples, |sample| sample.memory));
    let growth = now as f64 / then as f64 - 1.0;
    println!("memory after the first {first}: {:+.1} %", growth * 100.0);
    assert!(growth < GROWTH, "memory grew from {then} to {now} bytes");
    let [then, now] = [&before, &after].map(|samples| most(samples, |sample| sample.files as u64));
    assert!(now <= then + 2, "open files grew from {then} to {now}");
    let disk = most(&after, |sample| sample.disk);
    assert!(disk <= QUOTA_MEGABYTES * 1_000_000, "{disk} bytes are taken");
}

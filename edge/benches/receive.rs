//! Images received, and received, stored and triaged, against Orthanc, which only receives: `cargo bench -p scanside-edge
//! --bench receive`.
//!
//! dcmtk's dcmsend pushes the same files in turns within one run to the appliance's port and store, to the whole appliance
//! (an INT8 ResNet-18 examines what arrives while more comes), and to an Orthanc that is started here: CT slices of 512 KiB
//! and radiographs of 10 MiB, by one sender and by four at the same time. Both receivers sync each object and enter it into
//! SQLite, both take PDUs of 128 KiB, both begin each round empty. The best round of each counts, because the machine's
//! other work only ever adds. Ends with an error if Orthanc is faster, or if processors rest while images wait.

mod appliance;
#[path = "../tests/dicom/mod.rs"]
mod dicom;
#[path = "../tests/inside/mod.rs"]
mod inside;
mod model;
#[path = "../tests/peers/mod.rs"]
mod peers;
#[path = "../tests/scanner/mod.rs"]
mod scanner;
#[path = "../tests/service/mod.rs"]
mod service;
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use appliance::Appliance;
use appliance::cpu::Moment;
use chrono::Utc;
use peers::servers::{Orthanc, free_port};
use scanside_edge::intake::dicom_scp::{self, Scp};
use scanside_edge::store::Store;
use scanside_edge::store::config::StoreConfig;
use support::{CHEST, Said};

const ROUNDS: usize = 5;
const SENDERS: [usize; 2] = [1, 4];
/// The share of the processors that must be used while images wait.
const BUSY: f64 = 0.9;

/// Files that are pushed.
struct Load {
    name: &'static str,
    count: usize,
    size: [usize; 2],
    sliced: bool,
}

const LOADS: [Load; 2] = [
    Load {
        name: "CT slices",
        count: 120,
        size: [512, 512],
        sliced: true,
    },
    Load {
        name: "radiographs",
        count: 16,
        size: [2560, 2048],
        sliced: false,
    },
];

/// The best of some rounds.
struct Best {
    port: Duration,
    received: Duration,
    triaged: Duration,
    used: f64,
    orthanc: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    if peers::dcmtk("dcmsend").is_none() || !peers::program("Orthanc", "orthanc") {
        return Ok(());
    }
    let most = LOADS.iter().map(|load| load.count).max().unwrap_or(0);
    let Some(appliance) = Appliance::set_up(most + 1)? else {
        return Ok(());
    };
    println!(
        "images a second; in brackets against Orthanc; then the share of the processors that was used when all had come and \
         some still waited"
    );
    println!(
        "{:<12}{:>8}{:>10}{:>17}{:>26}{:>12}{:>10}",
        "", "senders", "Orthanc", "port and store", "received while triaging", "triaged", "used"
    );
    let mut worse = Vec::new();
    for load in &LOADS {
        let folder = tempfile::tempdir()?;
        let files = load.write(folder.path())?;
        for senders in SENDERS {
            let best = best(&appliance, &files, senders)?;
            let rate = |time: Duration| load.count as f64 / time.as_secs_f64();
            let against = |time: Duration| rate(time) / rate(best.orthanc);
            println!(
                "{:<12}{senders:>8}{:>10.1}{:>10.1} ({:.2}){:>19.1} ({:.2}){:>12.1}{:>9.0}%",
                load.name,
                rate(best.orthanc),
                rate(best.port),
                against(best.port),
                rate(best.received),
                against(best.received),
                rate(best.triaged),
                best.used * 100.0,
            );
            let what = format!("{} from {senders}", load.name);
            if against(best.port).min(against(best.received)) < 1.0 {
                worse.push(format!("Orthanc received {what} faster"));
            }
            if best.used < BUSY {
                worse.push(format!("processors rested while {what} waited"));
            }
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(worse.join("; ").into()),
    }
}

impl Load {
    fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let pixels = Said {
            size: self.size,
            ..CHEST
        }
        .pixels();
        let write = |number: usize| {
            let path = folder.join(format!("{number}.dcm"));
            let bytes = match self.sliced {
                true => scanner::slice(number, self.size, &pixels),
                false => scanner::radiograph(number, self.size, &pixels),
            };
            fs::write(&path, bytes)?;
            Ok(path)
        };
        (0..self.count).map(write).collect()
    }
}

fn best(appliance: &Appliance, files: &[PathBuf], senders: usize) -> Result<Best, Box<dyn Error>> {
    let mut best = Best {
        port: Duration::MAX,
        received: Duration::MAX,
        triaged: Duration::MAX,
        used: 0.0,
        orthanc: Duration::MAX,
    };
    for _ in 0..ROUNDS {
        best.port = best.port.min(at_the_port(files, senders)?);
        best.orthanc = best.orthanc.min(at_orthanc(files, senders)?);
        let (received, triaged, used) = at_the_appliance(appliance, files, senders)?;
        best.received = best.received.min(received);
        if triaged < best.triaged {
            (best.triaged, best.used) = (triaged, used);
        }
    }
    Ok(best)
}

/// From the start of the senders to the end of the last one.
fn push(port: u16, files: &[PathBuf], senders: usize) -> Result<Duration, Box<dyn Error>> {
    let begin = Instant::now();
    let start = |files: &[PathBuf]| {
        let mut command = scanner::sender("dcmsend", scanner::ROOM, &[], port);
        command
            .args(files)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    let share = files.len().div_ceil(senders);
    let running = files.chunks(share).map(start).collect::<Result<Vec<_>, _>>()?;
    for sender in running {
        let output = sender.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("dcmsend failed: {}", dicom::said(&output)).into());
        }
    }
    Ok(begin.elapsed())
}

/// A port before the appliance's store, with nobody who assesses what waits there.
fn at_the_port(files: &[PathBuf], senders: usize) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = StoreConfig {
        queue: u32::try_from(files.len())?,
        ..StoreConfig::default()
    };
    let store = Arc::new(Store::open(folder.path(), config, Vec::new())?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let scp = Arc::new(Scp::new(dicom::config_for(scanner::ROOM, ""), store, Utc::now));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let serving = dicom_scp::spawn(listener, scp.clone(), move || stopped.load(Ordering::SeqCst))?;
    let time = push(port, files, senders);
    stop.store(true, Ordering::SeqCst);
    serving.join().map_err(|_| "the port panicked")?;
    let figures = scp.statistics().figures();
    if figures.objects != files.len() as u64 || figures.repeated > 0 {
        return Err(format!("{} files were sent: {figures:?}", files.len()).into());
    }
    time
}

/// The whole appliance: until the last success, until the last result is stored, and what it used of the processors
/// between the two, when images wait and nobody else is at work.
fn at_the_appliance(
    appliance: &Appliance,
    files: &[PathBuf],
    senders: usize,
) -> Result<(Duration, Duration, f64), Box<dyn Error>> {
    let service = appliance.start()?;
    let begin = Instant::now();
    let received = push(appliance.port, files, senders)?;
    let before = Moment::now()?;
    service.wait("all results", || service.results() == files.len())?;
    let triaged = begin.elapsed();
    let used = before.used_until(&Moment::now()?);
    let decided = appliance
        .site
        .count("SELECT count(*) FROM results WHERE decision <> 'not-readable'");
    service.stop()?;
    if decided != files.len() as i64 + 1 {
        return Err(format!("{decided} of {} images were assessed", files.len() + 1).into());
    }
    Ok((received, triaged, used))
}

fn at_orthanc(files: &[PathBuf], senders: usize) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let more = serde_json::json!({ "MaximumPduLength": 131_072 });
    let orthanc = Orthanc::start(free_port(), folder.path(), "SCANSIDE", more);
    let time = push(orthanc.server.port, files, senders)?;
    let kept = orthanc.json("/instances");
    let kept = kept.as_array().map_or(0, Vec::len);
    if kept < files.len() {
        return Err(format!("{kept} of {} objects lie at Orthanc", files.len()).into());
    }
    Ok(time)
}

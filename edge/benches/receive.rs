//! Images received, against Orthanc: `cargo bench -p scanside-edge --bench receive`.
//!
//! dcmtk's dcmsend pushes the same files to the appliance's port and to an Orthanc that is started here, in turns within one
//! run: CT slices of 512 KiB and radiographs of 10 MiB, by one sender and by four at the same time. Both receivers sync each
//! object and enter it into SQLite, both take PDUs of 128 KiB, both begin each round empty. The best round of each counts,
//! because the machine's other work only ever adds. Ends with an error if Orthanc is faster.

#[path = "../tests/dicom/mod.rs"]
mod dicom;

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use dicom::{PATIENCE, dcmtk};
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use scanside_edge::intake::dicom_scp::{self, Scp};
use scanside_edge::store::Store;
use scanside_edge::store::config::StoreConfig;

const ROUNDS: usize = 5;
const SENDERS: [usize; 2] = [1, 4];
/// Name, files, rows, columns.
const SETS: [(&str, usize, u16, u16); 2] = [("CT slices", 120, 512, 512), ("radiographs", 16, 2560, 2048)];

fn main() -> Result<(), Box<dyn Error>> {
    if !dcmtk() || !orthanc() {
        return Ok(());
    }
    println!(
        "{:<14}{:>9}{:>18}{:>18}{:>8}",
        "", "senders", "here, images/s", "Orthanc, images/s", "ratio"
    );
    let mut slower = Vec::new();
    for (name, count, rows, columns) in SETS {
        let folder = tempfile::tempdir()?;
        let files = (0..count)
            .map(|number| write(folder.path(), number, rows, columns))
            .collect::<Result<Vec<_>, _>>()?;
        for senders in SENDERS {
            let (mut here, mut there) = (Duration::MAX, Duration::MAX);
            for _ in 0..ROUNDS {
                here = here.min(round_here(&files, senders)?);
                there = there.min(round_at_orthanc(&files, senders)?);
            }
            let rate = |time: Duration| count as f64 / time.as_secs_f64();
            let ratio = rate(here) / rate(there);
            println!(
                "{name:<14}{senders:>9}{:>18.1}{:>18.1}{ratio:>8.2}",
                rate(here),
                rate(there)
            );
            if ratio < 1.0 {
                slower.push(format!("{name} from {senders}"));
            }
        }
    }
    match slower.is_empty() {
        true => Ok(()),
        false => Err(format!("Orthanc received faster: {}", slower.join(", ")).into()),
    }
}

fn orthanc() -> bool {
    let found = Command::new("Orthanc")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: Orthanc is absent; apt install orthanc");
    }
    found
}

/// An image with noise, which no file system compresses.
fn write(folder: &Path, number: usize, rows: u16, columns: u16) -> Result<PathBuf, Box<dyn Error>> {
    let instance = format!("2.25.{}.{rows}", number + 1);
    let mut noise = number as u32 + 1;
    let pixels: Vec<u16> = (0..u32::from(rows) * u32::from(columns))
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 20) as u16
        })
        .collect();
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    let number_of = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let object = InMemDicomObject::from_element_iter([
        text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, &instance),
        text(tags::STUDY_DATE, VR::DA, "20260101"),
        text(tags::MODALITY, VR::CS, "CT"),
        text(tags::PATIENT_NAME, VR::PN, "Phantom"),
        text(tags::PATIENT_ID, VR::LO, "1"),
        text(tags::BODY_PART_EXAMINED, VR::CS, "CHEST"),
        text(tags::STUDY_INSTANCE_UID, VR::UI, "2.25.7"),
        text(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.8"),
        text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string()),
        number_of(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        number_of(tags::ROWS, rows),
        number_of(tags::COLUMNS, columns),
        number_of(tags::BITS_ALLOCATED, 16),
        number_of(tags::BITS_STORED, 12),
        number_of(tags::HIGH_BIT, 11),
        number_of(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
    ]);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(&instance)
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let path = folder.join(format!("{number}.dcm"));
    object.with_meta(meta)?.write_to_file(&path)?;
    Ok(path)
}

/// From the start of the senders to the end of the last one.
fn push(port: u16, files: &[PathBuf], senders: usize) -> Result<Duration, Box<dyn Error>> {
    let begin = Instant::now();
    let start = |files: &[PathBuf]| {
        let mut command = Command::new("dcmsend");
        command.args(["-aet", "TEST_SCU", "-aec", "SCANSIDE", "127.0.0.1", &port.to_string()]);
        command.args(files).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let share = files.len().div_ceil(senders);
    let running = files.chunks(share).map(start).collect::<Result<Vec<_>, _>>()?;
    for mut sender in running {
        if !sender.wait()?.success() {
            return Err("dcmsend failed".into());
        }
    }
    Ok(begin.elapsed())
}

/// A port before the appliance's store, with nobody who assesses what waits there.
fn round_here(files: &[PathBuf], senders: usize) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = StoreConfig {
        queue: u32::try_from(files.len())?,
        ..StoreConfig::default()
    };
    let store = Arc::new(Store::open(folder.path(), config, Vec::new())?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let scp = Arc::new(Scp::new(dicom::config(""), store, Utc::now));
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

struct Orthanc(Child);

impl Drop for Orthanc {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn round_at_orthanc(files: &[PathBuf], senders: usize) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = serde_json::json!({
        "StorageDirectory": folder.path().join("storage"),
        "IndexDirectory": folder.path().join("index"),
        "DicomAet": "SCANSIDE",
        "DicomPort": port,
        "HttpServerEnabled": false,
        "MaximumPduLength": 131_072,
        "Plugins": [],
    });
    let file = folder.path().join("orthanc.json");
    fs::write(&file, config.to_string())?;
    let child = Command::new("Orthanc")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _running = Orthanc(child);
    let begin = Instant::now();
    let ask = || {
        Command::new("echoscu")
            .args(["-aec", "SCANSIDE", "127.0.0.1", &port.to_string()])
            .output()
    };
    while !ask()?.status.success() {
        if begin.elapsed() > PATIENCE {
            return Err("Orthanc does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let time = push(port, files, senders)?;
    let kept = dicom::files(&folder.path().join("storage")).len();
    // Orthanc keeps each object as a file, and a JSON file of it beside.
    if kept < files.len() {
        return Err(format!("{kept} files of {} objects lie at Orthanc", files.len()).into());
    }
    Ok(time)
}

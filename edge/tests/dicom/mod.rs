//! What the tests of the DICOM port share: a port on a loopback address, a store that is a list, and dcmtk's programs.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod peer;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::Utc;
use scanside_edge::intake::arrival::{AcceptError, Accepted, Acceptor, Arrival, Room};
use scanside_edge::intake::dicom_scp::{self, Scp, config::DicomConfig, statistics::Figures};

/// So long a test waits for what must happen; it fails only if that never does.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A store that keeps what it accepts in a list.
pub struct Shelf {
    spool: PathBuf,
    _folder: tempfile::TempDir,
    arrivals: Mutex<Vec<Arrival>>,
    pub room: Mutex<Room>,
    pub refuse: Mutex<Option<AcceptError>>,
}

impl Shelf {
    fn new(spool: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            spool: spool.unwrap_or_else(|| folder.path().to_owned()),
            _folder: folder,
            arrivals: Mutex::default(),
            room: Mutex::new(Room::Free),
            refuse: Mutex::new(None),
        }
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// Names of the files in the spool, those that are being written too.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.spool).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Acceptor for Shelf {
    fn spool(&self) -> &Path {
        &self.spool
    }

    fn room(&self) -> Room {
        *self.room.lock().unwrap()
    }

    fn accept(&self, arrival: Arrival) -> Result<Accepted, AcceptError> {
        if let Some(error) = self.refuse.lock().unwrap().take() {
            return Err(error);
        }
        assert!(arrival.path.is_file(), "{arrival:?}");
        fs::File::open(&self.spool).unwrap().sync_all().unwrap();
        let mut arrivals = self.arrivals.lock().unwrap();
        let known = arrivals
            .iter()
            .any(|known| known.known.sop_instance_uid == arrival.known.sop_instance_uid);
        if known {
            fs::remove_file(&arrival.path).unwrap();
            return Ok(Accepted::Known);
        }
        arrivals.push(arrival);
        Ok(Accepted::New)
    }
}

/// A DICOM port that ends with the test.
pub struct Port {
    pub address: SocketAddr,
    pub shelf: Arc<Shelf>,
    pub scp: Arc<Scp>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The config of a port that takes objects from `TEST_SCU`, with more lines.
pub fn config(lines: &str) -> DicomConfig {
    config_for("TEST_SCU", lines)
}

/// The config of a port that takes objects from one sender, with more lines.
pub fn config_for(calling: &str, lines: &str) -> DicomConfig {
    let text = format!("address = \"127.0.0.1:11112\"\ncalling = [\"{calling}\"]\n{lines}");
    let config: DicomConfig = toml::from_str(&text).unwrap();
    config.check().unwrap();
    config
}

impl From<&Port> for SocketAddr {
    fn from(port: &Port) -> Self {
        port.address
    }
}

impl Port {
    pub fn open(lines: &str) -> Self {
        Self::open_in(lines, None)
    }

    /// With another folder as spool.
    pub fn open_in(lines: &str, spool: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = Arc::new(Shelf::new(spool));
        let scp = Arc::new(Scp::new(config(lines), shelf.clone(), Utc::now));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = dicom_scp::spawn(listener, scp.clone(), move || stopped.load(Ordering::SeqCst)).unwrap();
        Self {
            address,
            shelf,
            scp,
            stop,
            thread: Some(thread),
        }
    }

    pub fn figures(&self) -> Figures {
        self.scp.statistics().figures()
    }

    /// A program of dcmtk that is called with this port.
    pub fn dcmtk(&self, name: &str, options: &[&str], files: &[PathBuf]) -> Output {
        let mut command = Command::new(name);
        command.args(["-aet", "TEST_SCU", "-aec", "SCANSIDE"]).args(options);
        command
            .arg("127.0.0.1")
            .arg(self.address.port().to_string())
            .args(files);
        command.output().unwrap()
    }

    /// Waits until the figures are as they should be.
    pub fn wait_for(&self, what: &str, is: impl Fn(&Figures) -> bool) {
        let begin = Instant::now();
        while !is(&self.figures()) {
            assert!(begin.elapsed() < PATIENCE, "waited for {what}: {:?}", self.figures());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn last_problem(&self) -> String {
        self.figures()
            .last_problem
            .map(|problem| problem.what)
            .unwrap_or_default()
    }

    /// Gives the stop signal, and waits for the end.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a program of dcmtk wrote.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The data set of a DICOM file as it lies behind the file meta information.
pub fn data_set(path: &Path) -> Vec<u8> {
    data_set_of(&fs::read(path).unwrap())
}

/// As [`data_set`], of the bytes of a file.
pub fn data_set_of(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(&bytes[128..132], b"DICM");
    // Group length is the first element of the meta information (PS3.10 section 7.1).
    assert_eq!(&bytes[132..140], b"\x02\0\0\0UL\x04\0");
    let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
    bytes[144 + length..].to_vec()
}

/// The DICOM files of the repository: every transfer syntax that is decoded.
pub fn goldens() -> Vec<PathBuf> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../imaging/goldens/dicom"))
}

/// `../shared/data` or `SCANSIDE_DATA`, or `None` with a line that says so.
pub fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("SCANSIDE_DATA").map_or(beside, PathBuf::from);
    if folder.join("manifest.csv").exists() {
        return Some(folder);
    }
    eprintln!(
        "skipped: no development data at {}; set SCANSIDE_DATA",
        folder.display()
    );
    None
}

/// The files below a folder that are no texts, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_none_or(|end| end != "xml" && end != "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// X-rays of the development data as DICOM, made by dcmtk's img2dcm with modality and body part.
pub fn converted(jpegs: &[PathBuf], folder: &Path) -> Vec<PathBuf> {
    let convert = |(number, jpeg): (usize, &PathBuf)| {
        let file = folder.join(format!("{number}.dcm"));
        let keys = ["-k", "Modality=CR", "-k", "BodyPartExamined=CHEST"];
        let output = Command::new("img2dcm")
            .args(keys)
            .arg(jpeg)
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", jpeg.display(), said(&output));
        file
    };
    jpegs.iter().enumerate().map(convert).collect()
}

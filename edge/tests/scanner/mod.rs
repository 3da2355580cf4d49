//! What a scanner of the tests sends, and how: radiographs of studies of their own, pushed by dcmtk.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::peers;
use crate::support::{CHEST, Said};

/// The AE title that the port knows.
pub const ROOM: &str = "ROOM_1";
/// Rows and columns of a radiograph of the tests, in pixels.
pub const SMALL: [usize; 2] = [300, 260];

/// The config of a port that takes objects from [`ROOM`], on this port of the loopback address.
pub fn section(port: u16) -> String {
    format!("[appliance.dicom]\naddress = \"127.0.0.1:{port}\"\ncalling = [\"{ROOM}\"]\n")
}

/// SOP Instance UID of the radiograph with this number.
pub fn uid(number: usize) -> String {
    format!("1.2.826.0.1.3680043.8.498.1.{number}")
}

/// A frontal radiograph of a study of its own, as a scanner makes it.
pub fn radiograph(number: usize, size: [usize; 2], pixels: &[u8]) -> Vec<u8> {
    let of = |kind: usize| format!("1.2.826.0.1.3680043.8.498.{kind}.{number}");
    let said = Said {
        uid: &uid(number),
        study: &of(2),
        series: &of(3),
        size,
        ..CHEST
    };
    said.with(pixels)
}

/// A slice of the one CT series of this scanner.
pub fn slice(number: usize, size: [usize; 2], pixels: &[u8]) -> Vec<u8> {
    let said = Said {
        uid: &uid(number),
        study: "1.2.826.0.1.3680043.8.498.4",
        series: "1.2.826.0.1.3680043.8.498.5",
        modality: "CT",
        size,
        ..CHEST
    };
    said.with(pixels)
}

/// Radiographs with these numbers as files of a folder.
pub fn write(folder: &Path, numbers: impl IntoIterator<Item = usize>, size: [usize; 2]) -> Vec<PathBuf> {
    fs::create_dir_all(folder).unwrap();
    let pixels = Said { size, ..CHEST }.pixels();
    let write = |number| {
        let path = folder.join(format!("{number}.dcm"));
        fs::write(&path, radiograph(number, size, &pixels)).unwrap();
        path
    };
    numbers.into_iter().map(write).collect()
}

/// One of dcmtk's senders as `calling`, with its options.
pub fn sender(name: &str, calling: &str, options: &[&str], port: u16) -> Command {
    let mut command = Command::new(peers::dcmtk(name).expect("asked for before"));
    command.args(["-aet", calling, "-aec", "SCANSIDE"]).args(options);
    command.arg("127.0.0.1").arg(port.to_string());
    command
}

/// Sends files from [`ROOM`], all in one association if that can be.
pub fn push(name: &str, options: &[&str], port: u16, files: &[PathBuf]) -> Output {
    sender(name, ROOM, options, port).args(files).output().unwrap()
}

/// storescu at work, and what it was told of each file.
pub struct Push {
    child: Child,
    acknowledged: Receiver<PathBuf>,
}

impl Push {
    pub fn start(port: u16, files: &[PathBuf]) -> Self {
        let mut command = sender("storescu", ROOM, &["--verbose"], port);
        command.args(files).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (told, acknowledged) = channel();
        thread::spawn(move || {
            let mut sending = PathBuf::new();
            for line in log.lines().map_while(Result::ok) {
                if let Some(file) = line.strip_prefix("I: Sending file: ") {
                    sending = PathBuf::from(file);
                } else if line.contains("Received Store Response (Success)") {
                    let _ = told.send(sending.clone());
                }
            }
        });
        Self { child, acknowledged }
    }

    /// The next file for which success was answered; `None` at the end of the association.
    pub fn next(&self) -> Option<PathBuf> {
        self.acknowledged.recv().ok()
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Any bytes as what a sender says: from the first one, and behind a request that is accepted.
//!
//! Seeds need no file: the beginnings of a conversation are here.
#![no_main]

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use scanside_edge::intake::arrival::{AcceptError, Accepted, Acceptor, Arrival, Room};
use scanside_edge::intake::dicom_scp::{Scp, config::DicomConfig};

const CONFIG: &str = "address = \"127.0.0.1:104\"\nae_title = \"A\"\ncalling = [\"B\"]\nobject_mib = 1\nbusy_seconds = 0";

/// A-ASSOCIATE-RQ of B to A with context 1 for CT Image Storage in explicit VR little endian.
fn request() -> Vec<u8> {
    let item = |kind: u8, content: &[u8]| [&[kind, 0][..], &(content.len() as u16).to_be_bytes(), content].concat();
    let context = [
        &[1, 0, 0, 0][..],
        &item(0x30, b"1.2.840.10008.5.1.4.1.1.2"),
        &item(0x40, b"1.2.840.10008.1.2.1"),
    ]
    .concat();
    let body = [
        &[0, 1, 0, 0][..],
        b"A               B               ",
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        &item(0x20, &context),
        &item(0x50, &item(0x51, &16384_u32.to_be_bytes())),
    ]
    .concat();
    [&[1, 0][..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

/// A C-STORE-RQ of instance 1.2 in context 1, as a PDU.
fn store() -> Vec<u8> {
    let element = |number: u16, value: &[u8]| {
        [&[0, 0][..], &number.to_le_bytes(), &(value.len() as u32).to_le_bytes(), value].concat()
    };
    let command = [
        element(0x0002, b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(0x0100, &1_u16.to_le_bytes()),
        element(0x0110, &1_u16.to_le_bytes()),
        element(0x0800, &1_u16.to_le_bytes()),
        element(0x1000, b"1.2\0"),
    ]
    .concat();
    let value = [&(command.len() as u32 + 2).to_be_bytes()[..], &[1, 3], &command].concat();
    [&[4, 0][..], &(value.len() as u32).to_be_bytes(), &value].concat()
}

/// Takes everything, and keeps nothing.
struct Nowhere(PathBuf);

impl Acceptor for Nowhere {
    fn spool(&self) -> &Path {
        &self.0
    }

    fn room(&self) -> Room {
        Room::Free
    }

    fn accept(&self, arrival: Arrival) -> Result<Accepted, AcceptError> {
        std::fs::remove_file(arrival.path).expect("the file is there");
        Ok(Accepted::New)
    }
}

struct Said<'a>(&'a [u8]);

impl Read for Said<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Said<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static SPOOL: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
static PORT: LazyLock<Scp> = LazyLock::new(|| {
    let config: DicomConfig = toml::from_str(CONFIG).expect("a config");
    Scp::new(config, Arc::new(Nowhere(SPOOL.path().to_owned())), chrono::Utc::now)
});

fuzz_target!(|bytes: &[u8]| {
    for beginning in [Vec::new(), request(), [request(), store()].concat()] {
        PORT.serve(Said(&[&beginning, bytes].concat()), "peer", &|| false);
    }
    let left = std::fs::read_dir(SPOOL.path()).expect("the spool").count();
    assert_eq!((left, PORT.statistics().figures().open), (0, 0), "something stayed behind");
});

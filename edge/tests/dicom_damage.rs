//! The DICOM port against conversations that are damaged, from seeds.

mod dicom;

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use dicom::config;
use dicom::peer::{
    CT, IN_CT, IN_ECHO, VERIFICATION, command, command_pdu, data_pdu, data_set, encoded, request, store_command,
};
use dicom_ul::Pdu;
use scanside_edge::intake::arrival::{AcceptError, Accepted, Acceptor, Arrival, Room};
use scanside_edge::intake::dicom_scp::Scp;

/// A conversation from memory: what is sent is given, what is answered is forgotten.
struct Script<'a>(&'a [u8]);

impl Read for Script<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes everything and keeps nothing.
struct Nowhere(tempfile::TempDir);

impl Acceptor for Nowhere {
    fn spool(&self) -> &Path {
        self.0.path()
    }

    fn room(&self) -> Room {
        Room::Free
    }

    fn accept(&self, arrival: Arrival) -> Result<Accepted, AcceptError> {
        let uid = arrival.known.sop_instance_uid.expect("an instance");
        assert!(uid.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()), "{uid}");
        assert_eq!(arrival.known.bytes.unwrap(), arrival.path.metadata().unwrap().len());
        std::fs::remove_file(arrival.path).map_err(|error| AcceptError::Failed(error.into()))?;
        Ok(Accepted::New)
    }
}

/// A whole conversation as a sender writes it.
fn conversation() -> Vec<u8> {
    let mut bytes = encoded(&request());
    for instance in ["1.2.3", "1.2.4"] {
        let data = data_set(CT, instance, 300);
        bytes.extend(encoded(&command_pdu(
            IN_ECHO,
            &command(0x30, VERIFICATION, None, false),
        )));
        bytes.extend(encoded(&command_pdu(IN_CT, &store_command(instance))));
        bytes.extend(encoded(&data_pdu(IN_CT, &data[..200], false)));
        bytes.extend(encoded(&data_pdu(IN_CT, &data[200..], true)));
    }
    bytes.extend(encoded(&Pdu::ReleaseRQ));
    bytes
}

/// Numbers that look random and are the same every time.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// Flips, cuts, repeats or drops a piece.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(12)).min(bytes.len());
        match self.below(5) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = [0, 1, 0x7F, 0xFF][self.below(4)],
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn no_damage_makes_it_panic_or_leaves_a_file() {
    let acceptor = Arc::new(Nowhere(tempfile::tempdir().unwrap()));
    let scp = Scp::new(config(""), acceptor.clone(), chrono::Utc::now);
    scp.serve(Script(&conversation()), "peer", &|| false);
    assert_eq!(
        scp.statistics().figures().objects,
        2,
        "{:?}",
        scp.statistics().figures()
    );
    let mut seeded = Seeded(4);
    for _ in 0..3000 {
        let mut bytes = conversation();
        for _ in 0..=seeded.below(4) {
            if bytes.is_empty() {
                break;
            }
            seeded.damage(&mut bytes);
        }
        scp.serve(Script(&bytes), "peer", &|| false);
        assert_eq!(std::fs::read_dir(acceptor.spool()).unwrap().count(), 0);
    }
    let figures = scp.statistics().figures();
    assert!(
        figures.objects > 1000 && figures.failed > 100 && figures.rejected > 100,
        "{figures:?}"
    );
    assert_eq!(figures.open, 0);
}

#[test]
fn a_cut_at_every_byte_ends_the_conversation() {
    let acceptor = Arc::new(Nowhere(tempfile::tempdir().unwrap()));
    let scp = Scp::new(config(""), acceptor.clone(), chrono::Utc::now);
    let whole = conversation();
    for length in 0..whole.len() {
        let before = scp.statistics().figures().objects;
        scp.serve(Script(&whole[..length]), "peer", &|| false);
        let stored = scp.statistics().figures().objects - before;
        assert!(
            stored <= 2 && std::fs::read_dir(acceptor.spool()).unwrap().count() == 0,
            "{length}"
        );
    }
}

#[test]
fn a_connection_that_fails_is_no_reason_to_panic() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionAborted.into())
        }
    }
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let scp = Scp::new(
        config(""),
        Arc::new(Nowhere(tempfile::tempdir().unwrap())),
        chrono::Utc::now,
    );
    scp.serve(Failing, "peer", &|| false);
    assert_eq!(scp.statistics().figures().rejected, 1);
}

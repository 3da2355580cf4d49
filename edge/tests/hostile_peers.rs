//! The whole service against peers that break the rules: each has its answer and its line in the log, the scanner is
//! served meanwhile, and what was accepted gets its result. `dicom_bad_peers.rs` has every rule, against the port alone.

mod dicom;
mod peers;
mod scanner;
mod service;
mod support;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dicom::peer::{
    CT, IN_CT, Peer, command_pdu, data_pdu, data_set, encoded, request, request_of, store_command, store_once,
};
use dicom_ul::Pdu;
use dicom_ul::pdu::PresentationContextResultReason;
use scanner::SMALL;
use service::{Service, Site};
use support::{CHEST, Said};

/// A transfer syntax that is not read: MPEG-4 AVC/H.264.
const VIDEO: &str = "1.2.840.10008.1.2.4.102";
/// Radiographs that the scanner sends while others misbehave.
const RADIOGRAPHS: usize = 24;
/// Files that the service may have open beyond those it began with: the store opens some as it goes.
const FILES: usize = 8;

/// A service with a DICOM port for `TEST_SCU` that is soon out of patience.
fn site() -> Option<(Site, SocketAddr)> {
    let mut site = Site::new()?;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.extra = format!(
        "[appliance.dicom]\naddress = \"{address}\"\ncalling = [\"TEST_SCU\"]\nidle_seconds = 1\nassociations = 4\n\
         object_mib = 1\n"
    );
    Some((site, address))
}

/// Waits until the service has said something since the log had so many bytes.
fn says(site: &Site, since: usize, what: &str) {
    site.wait(&format!("the log to say {what:?}"), || {
        let log = fs::read_to_string(site.path("stderr")).unwrap();
        log[since..].contains(what).then_some(())
    });
}

fn log_bytes(site: &Site) -> usize {
    fs::metadata(site.path("stderr")).unwrap().len() as usize
}

/// What nobody may be hurt by: an echo is answered, and the serial line too.
fn lives(service: &mut Service<'_>, address: SocketAddr) {
    let served = (0..200).any(|_| {
        let echoes = try_associate(address).is_some_and(|mut peer| {
            let echoes = peer.echoes();
            peer.send(&Pdu::ReleaseRQ);
            echoes && peer.receive() == Some(Pdu::ReleaseRP)
        });
        if !echoes {
            thread::sleep(Duration::from_millis(50));
        }
        echoes
    });
    assert!(served, "nobody is served");
    assert!(service.states()[0].active);
}

/// An association, unless there is no room for one.
fn try_associate(address: SocketAddr) -> Option<Peer> {
    let mut peer = Peer::connect(address);
    peer.send(&request());
    matches!(peer.receive(), Some(Pdu::AssociationAC(_))).then_some(peer)
}

/// The SOP Instance UID of a radiograph, and its data set.
fn radiograph(number: usize) -> (String, Vec<u8>) {
    let file = scanner::radiograph(number, SMALL, &Said { size: SMALL, ..CHEST }.pixels());
    (scanner::uid(number), dicom::data_set_of(&file))
}

#[test]
fn each_kind_of_bad_peer_has_its_answer_and_its_line_in_the_log() {
    let Some((site, address)) = site() else { return };
    let mut service = site.with_confirmed_model();
    let mut tried = |peer: &mut dyn FnMut(), line: &str| {
        let since = log_bytes(&site);
        peer();
        says(&site, since, line);
        lives(&mut service, address);
    };
    let rejected = |called: &str, calling: &str| {
        let mut peer = Peer::connect(address);
        let Pdu::AssociationRQ(mut asked) = request() else {
            unreachable!()
        };
        (asked.called_ae_title, asked.calling_ae_title) = (called.to_owned(), calling.to_owned());
        peer.send(&asked.into());
        assert!(matches!(peer.receive(), Some(Pdu::AssociationRJ(_))));
    };
    tried(
        &mut || rejected("SCANSIDE", "STRANGER"),
        "\"STRANGER\" may not send; if it should, add it to appliance.dicom.calling",
    );
    tried(
        &mut || rejected("PACS", "TEST_SCU"),
        "\"PACS\" was called by \"TEST_SCU\"; this is \"SCANSIDE\"",
    );
    tried(
        &mut || {
            let mut peer = Peer::connect(address);
            peer.send(&request_of(&[(IN_CT, CT, VIDEO)]));
            let Some(Pdu::AssociationAC(answer)) = peer.receive() else {
                panic!("an answer")
            };
            let refused = PresentationContextResultReason::TransferSyntaxesNotSupported;
            assert_eq!(answer.presentation_contexts[0].reason, refused);
            peer.send_bytes(&encoded(&command_pdu(IN_CT, &store_command("1.2.3"))));
            assert_eq!(peer.abort(), [2, 6], "the context was not accepted");
        },
        "is offered only in 1.2.840.10008.1.2.4.102, which is not read",
    );
    tried(
        &mut || {
            let mut peer = Peer::associate(address);
            let cut = &data_set(CT, "1.2.3", 10)[..20];
            assert_eq!(peer.store(&store_command("1.2.3"), cut), 0xC000);
        },
        "the data set cannot be read",
    );
    tried(
        &mut || {
            let mut peer = Peer::associate(address);
            let large = data_set(CT, "1.2.3", 3 << 19);
            assert_eq!(peer.store(&store_command("1.2.3"), &large), 0xA701);
        },
        "the object is larger than 1 MiB",
    );
    tried(
        &mut || {
            let mut peer = Peer::connect(address);
            peer.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
            assert_eq!(peer.abort(), [2, 1]);
        },
        "a PDU of the unknown type",
    );
    tried(
        &mut || {
            // Half open: it asked for an association, and nothing comes any more, not even its end.
            let mut peer = Peer::associate(address);
            assert_eq!(peer.abort(), [2, 0]);
        },
        "TEST_SCU 127.0.0.1: no whole PDU came within 1 s",
    );
    tried(
        &mut || {
            let mut peer = Peer::connect(address);
            let asked = encoded(&request());
            let mut bytes = asked.iter();
            while !peer.hears() {
                peer.send_bytes(&[*bytes.next().expect("it is ended before its request is whole")]);
                thread::sleep(Duration::from_millis(200));
            }
            assert_eq!(peer.abort(), [2, 0]);
        },
        "127.0.0.1: no whole PDU came within 1 s",
    );
    tried(
        &mut || {
            let mut peer = Peer::associate(address);
            peer.send(&command_pdu(IN_CT, &store_command("1.2.3")));
            peer.send(&data_pdu(IN_CT, &[0; 10_000], false));
        },
        "the peer closed the connection",
    );
    tried(
        &mut || {
            let open: Vec<Peer> = (0..4).map(|_| Peer::associate(address)).collect();
            assert!(try_associate(address).is_none());
            drop(open);
        },
        "4 associations are open, which is the limit",
    );
    assert_eq!(fs::read_dir(site.path("state/incoming")).unwrap().count(), 0);
    site.image("after.png");
    site.wait_for_result();
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_scanner_is_served_through_floods_and_every_success_has_its_result_once() {
    let Some((site, address)) = site() else { return };
    let mut service = site.with_confirmed_model();
    lives(&mut service, address);
    let (files, threads) = (service.open_files(), service.threads());
    let over = AtomicBool::new(false);
    let accepted = thread::scope(|scope| {
        for number in 0..3 {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    misbehave(address, number);
                }
            });
        }
        // Also when the scanner fails.
        let _over = Over(&over);
        (0..RADIOGRAPHS).map(|number| push(address, number)).collect::<Vec<_>>()
    });
    let database = rusqlite::Connection::open(site.path("state/store.sqlite")).unwrap();
    let count = |sql: &str| -> usize {
        let found: i64 = database.query_row(sql, [], |row| row.get(0)).unwrap();
        found as usize
    };
    site.wait("every result", || {
        (count("SELECT count(*) FROM results") >= RADIOGRAPHS).then_some(())
    });
    for instance in accepted {
        let once = format!(
            "SELECT count(*) FROM images JOIN results ON image_id = images.id WHERE key = '{instance}' AND state = 'done'"
        );
        assert_eq!(count(&once), 1, "{instance}");
    }
    assert_eq!(
        count("SELECT count(*) FROM images"),
        RADIOGRAPHS,
        "nothing else was taken"
    );
    assert_eq!(fs::read_dir(site.path("state/incoming")).unwrap().count(), 0);
    lives(&mut service, address);
    site.wait("connections and threads to be gone", || {
        (service.open_files() <= files + FILES && service.threads() <= threads).then_some(())
    });
    assert_eq!(service.stop(), 0);
}

/// Ends the floods when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One of the things that nobody should do.
fn misbehave(address: SocketAddr, number: usize) {
    match number {
        0 => {
            // Connections that say nothing.
            let silent: Vec<Peer> = (0..40).map(|_| Peer::connect(address)).collect();
            thread::sleep(Duration::from_millis(100));
            drop(silent);
        }
        1 => {
            // As many associations as can be had, that vanish within an object.
            let peers: Vec<Peer> = (0..3).filter_map(|_| try_associate(address)).collect();
            for mut peer in peers {
                let begun = encoded(&command_pdu(IN_CT, &store_command("1.2.3.4")));
                let fragment = encoded(&data_pdu(IN_CT, &[0; 4096], false));
                let _ = peer.stream.write_all(&[begun, fragment].concat());
            }
            thread::sleep(Duration::from_millis(20));
        }
        _ => {
            let mut peer = Peer::connect(address);
            let _ = peer.stream.write_all(&encoded(&request())[..40]);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Sends a radiograph as a scanner does: again and again, until it hears of success. Gives its SOP Instance UID.
fn push(address: SocketAddr, number: usize) -> String {
    let (instance, data) = radiograph(number);
    for _ in 0..2000 {
        if store_once(address, &instance, &data) == Some(0) {
            return instance;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the scanner is never served");
}

#[test]
fn a_damaged_image_that_was_taken_is_told_as_not_readable_on_the_screen() {
    let Some((site, address)) = site() else { return };
    let service = site.with_confirmed_model();
    let (instance, data) = radiograph(1);
    // The data set says what it is, and its pixels end early.
    let cut = &data[..data.len() / 2];
    let before = site.wait_for_screen();
    let status = store_once(address, &instance, cut);
    assert_eq!(status, Some(0), "its identity can be read: it is kept");
    let result = site.wait_for_result();
    assert_eq!(result["decision"]["kind"], "not-readable", "{result}");
    assert_eq!(result["decision"]["reasons"][0]["code"], "truncated", "{result}");
    site.wait("the screen to show it", || {
        (site.wait_for_screen() != before).then_some(())
    });
    assert_eq!(service.stop(), 0);
}

//! Senders that break the rules: each has its answer, the others are served meanwhile, and nothing half stays behind.

mod dicom;

use std::io::{self, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use dicom::peer::{
    CR, CT, IN_CT, IN_ECHO, Peer, VERIFICATION, command, command_pdu, data_pdu, data_set, encoded, number, request,
    store_command,
};
use dicom::{PATIENCE, Port};
use dicom_ul::Pdu;
use dicom_ul::pdu::AssociationRJ;
use scanside_edge::intake::arrival::{AcceptError, Room};

const NOT_SPECIFIED: [u8; 2] = [2, 0];
const UNRECOGNIZED_PDU: [u8; 2] = [2, 1];
const UNEXPECTED_PDU: [u8; 2] = [2, 2];
const INVALID_PARAMETER: [u8; 2] = [2, 6];
const BY_USER: [u8; 2] = [0, 0];

#[test]
fn a_data_set_is_kept_byte_by_byte() {
    let port = Port::open("");
    let mut peer = Peer::associate(&port);
    let data = data_set(CT, "1.2.3", 100_000);
    assert_eq!(peer.store(&store_command("1.2.3"), &data), 0);
    let arrivals = port.shelf.arrivals();
    assert!(dicom::data_set(&arrivals[0].path) == data);
    assert_eq!(port.figures().bytes, data.len() as u64);
    peer.send(&Pdu::ReleaseRQ);
    assert_eq!(peer.receive(), Some(Pdu::ReleaseRP));
    assert_eq!(peer.receive(), None);
    port.wait_for("the release", |figures| figures.open == 0);
    assert_eq!(port.last_problem(), "");
}

#[test]
fn associations_beyond_the_limit_are_rejected_until_one_ends() {
    let port = Port::open("associations = 2");
    let mut peers = [Peer::associate(&port), Peer::associate(&port)];
    let mut third = Peer::connect(&port);
    third.send(&request());
    let Some(Pdu::AssociationRJ(AssociationRJ { result, source })) = third.receive() else {
        panic!("a rejection")
    };
    let bytes = encoded(&AssociationRJ { result, source }.into());
    assert_eq!(bytes[7..10], [2, 3, 2], "transient, presentation, local limit exceeded");
    assert!(peers.iter_mut().all(Peer::echoes));
    let [first, mut second] = peers;
    drop(first);
    port.wait_for("the end of the first", |figures| figures.open == 1);
    assert!(Peer::associate(&port).echoes() && second.echoes());
}

#[test]
fn connections_that_say_nothing_hold_nobody_up() {
    let port = Port::open("");
    let mut silent: Vec<Peer> = (0..200).map(|_| Peer::connect(&port)).collect();
    assert!(Peer::associate(&port).echoes());
    assert_eq!(silent[0].receive(), None, "the oldest was closed");
    let beginning = &encoded(&request())[..20];
    let mut last = silent.pop().unwrap();
    // The latest may still go on.
    last.send_bytes(beginning);
    last.send_bytes(&encoded(&request())[20..]);
    assert!(matches!(last.receive(), Some(Pdu::AssociationAC(_))));
}

/// Sends a byte every now and then until the port has had enough, and gives its last words.
fn trickle(mut peer: Peer, bytes: &[u8]) -> [u8; 2] {
    let begin = Instant::now();
    let mut bytes = bytes.iter().cycle();
    while !peer.hears() {
        peer.send_bytes(&[*bytes.next().unwrap()]);
        assert!(begin.elapsed() < PATIENCE, "never ended");
    }
    peer.abort()
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_is_ended_and_holds_nobody() {
    let port = Port::open("idle_seconds = 1\nassociations = 2");
    // Before the association, and within it: every byte would be welcome.
    let before = Peer::connect(&port);
    let within = Peer::associate(&port);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| trickle(before, &encoded(&request())));
        let slow_within = scope.spawn(|| trickle(within, &[4, 0, 0, 0, 16, 0]));
        while !(slow.is_finished() && slow_within.is_finished()) {
            let mut other = Peer::associate(&port);
            assert!(other.echoes());
            other.send(&Pdu::ReleaseRQ);
            assert_eq!(other.receive(), Some(Pdu::ReleaseRP));
            port.wait_for("the echo's end", |figures| figures.open <= 1);
        }
        assert_eq!([slow.join().unwrap(), slow_within.join().unwrap()], [NOT_SPECIFIED; 2]);
    });
    assert!(
        port.last_problem().contains("no whole PDU came within 1 s"),
        "{}",
        port.last_problem()
    );
}

#[test]
fn a_peer_that_is_busy_for_ever_is_ended_by_the_time_of_the_association() {
    let port = Port::open("association_seconds = 2");
    let mut peer = Peer::associate(&port);
    let begin = Instant::now();
    peer.send(&command_pdu(IN_CT, &store_command("1.2.3")));
    while peer.stream.write_all(&encoded(&data_pdu(IN_CT, b"12", false))).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "never ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    port.wait_for("the end", |figures| figures.open == 0);
    assert!(
        port.last_problem().contains("longer than its limit"),
        "{}",
        port.last_problem()
    );
    assert!(port.shelf.files().is_empty());
}

#[test]
fn a_peer_that_says_nothing_more_is_aborted() {
    let port = Port::open("idle_seconds = 1");
    let mut peer = Peer::associate(&port);
    assert_eq!(peer.abort(), NOT_SPECIFIED);
    assert_eq!(peer.receive(), None);
}

#[test]
fn an_object_over_the_limit_is_refused_and_the_next_one_is_not() {
    let port = Port::open("object_mib = 1");
    let mut peer = Peer::associate(&port);
    let large = data_set(CT, "1.2.3", (1 << 20) + 100);
    assert_eq!(peer.store(&store_command("1.2.3"), &large), 0xA701);
    assert!(port.shelf.files().is_empty());
    assert!(
        port.last_problem().contains("larger than 1 MiB"),
        "{}",
        port.last_problem()
    );
    let small = data_set(CT, "1.2.4", (1 << 20) - 100);
    assert_eq!(peer.store(&store_command("1.2.4"), &small), 0);
    // Who never comes to an end does not hear of it that way.
    peer.send(&command_pdu(IN_CT, &store_command("1.2.5")));
    let fragment = encoded(&data_pdu(IN_CT, &[0; 16 << 10], false));
    for _ in 0..=(2 << 20) / (16 << 10) {
        let _ = peer.stream.write_all(&fragment);
    }
    assert_eq!(peer.abort(), BY_USER);
    port.wait_for("the end", |figures| figures.open == 0);
    assert_eq!((port.shelf.files().len(), port.figures().failed), (1, 1));
}

#[test]
fn what_does_not_fit_its_command_has_its_status_and_the_association_goes_on() {
    let port = Port::open("");
    let mut peer = Peer::associate(&port);
    let good = data_set(CT, "1.2.3", 10);
    for (command, data, status) in [
        (store_command("1.2.4"), &good, 0xC001),
        (store_command("1.2.3"), &data_set(CR, "1.2.3", 10), 0xA900),
        (command(1, CR, Some("1.2.3"), true), &good, 0x0122),
        (command(1, CT, None, true), &good, 0x0117),
        (store_command("../../etc/passwd"), &good, 0x0117),
        (store_command("1.2.3"), &good[..20].to_vec(), 0xC000),
        (store_command("1.2.3"), &b"not a data set but a text".to_vec(), 0xC000),
    ] {
        assert_eq!(peer.store(&command, data), status, "{status:04X}");
        assert!(peer.echoes());
    }
    peer.send(&command_pdu(IN_CT, &command(1, CT, Some("1.2.3"), false)));
    assert_eq!(peer.status(), 0xC000, "no data set");
    peer.send(&command_pdu(IN_ECHO, &command(1, VERIFICATION, Some("1.2.3"), true)));
    peer.send(&data_pdu(IN_ECHO, &good, true));
    assert_eq!(peer.status(), 0x0122, "C-STORE in the context of Verification");
    peer.send(&command_pdu(IN_CT, &command(0x30, VERIFICATION, None, false)));
    assert_eq!(peer.status(), 0x0122, "C-ECHO in the context of CT");
    assert!(port.shelf.files().is_empty());
    assert_eq!(peer.store(&store_command("1.2.3"), &good), 0);
    assert_eq!((port.figures().objects, port.figures().failed), (1, 9));
}

#[test]
fn operations_that_are_not_served_are_answered_and_the_association_goes_on() {
    let port = Port::open("");
    let mut peer = Peer::associate(&port);
    // C-GET, C-FIND, C-MOVE, N-EVENT-REPORT, N-GET, N-SET, N-ACTION, N-CREATE, N-DELETE, and one that does not exist.
    for field in [0x10, 0x20, 0x21, 0x100, 0x110, 0x120, 0x130, 0x140, 0x150, 0x77] {
        for has_data_set in [true, false] {
            peer.send(&command_pdu(IN_CT, &command(field, CT, None, has_data_set)));
            if has_data_set {
                peer.send_data(&data_set(CT, "1.2.3", 40_000));
            }
            let response = peer.response();
            assert_eq!(number(&response, 0x0900), Some(0x0211), "{field:04X}");
            assert_eq!(
                (number(&response, 0x0100), number(&response, 0x0120)),
                (Some(field | 0x8000), Some(7))
            );
        }
    }
    // Nothing answers a C-CANCEL.
    peer.send(&command_pdu(IN_CT, &command(0x0FFF, CT, None, false)));
    assert!(peer.echoes());
    assert!(port.shelf.files().is_empty());
}

#[test]
fn what_breaks_the_protocol_ends_the_association_with_the_standards_reason() {
    let port = Port::open("pdu_bytes = 4096");
    let ended = |bytes: &[u8]| {
        let mut peer = Peer::associate(&port);
        peer.send_bytes(bytes);
        let reason = peer.abort();
        assert_eq!(peer.receive(), None);
        reason
    };
    let echo = command(0x30, VERIFICATION, None, false);
    assert_eq!(ended(&[9, 0, 0, 0, 0, 4, 0, 0, 0, 0]), UNRECOGNIZED_PDU);
    assert_eq!(ended(&encoded(&request())), UNEXPECTED_PDU);
    assert_eq!(ended(&encoded(&Pdu::ReleaseRP)), UNEXPECTED_PDU);
    assert_eq!(ended(&encoded(&command_pdu(5, &echo))), INVALID_PARAMETER);
    assert_eq!(ended(&encoded(&data_pdu(IN_CT, &[0; 4096], true))), INVALID_PARAMETER);
    assert_eq!(ended(&[4, 0, 0, 0, 0, 5, 0, 0, 0, 1, 1]), INVALID_PARAMETER);
    assert_eq!(ended(&encoded(&data_pdu(IN_CT, b"no command", true))), BY_USER);
    assert_eq!(
        ended(&encoded(&command_pdu(IN_CT, b"nothing that is a command"))),
        BY_USER
    );
    assert_eq!(
        ended(&encoded(&command_pdu(IN_CT, &command(0x8001, CT, None, false)))),
        BY_USER
    );
    let release_within = [
        encoded(&command_pdu(IN_CT, &store_command("1.2.3"))),
        encoded(&Pdu::ReleaseRQ),
    ]
    .concat();
    assert_eq!(ended(&release_within), UNEXPECTED_PDU);
    let mut aborts = Peer::associate(&port);
    aborts.send_bytes(&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    assert_eq!(aborts.receive(), None);
    port.wait_for("all ends", |figures| figures.open == 0);
    let mut no_request = Peer::connect(&port);
    no_request.send(&Pdu::ReleaseRQ);
    assert_eq!(no_request.abort(), UNEXPECTED_PDU);
    let mut text = Peer::connect(&port);
    text.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(text.abort(), UNRECOGNIZED_PDU);
}

#[test]
fn a_peer_that_vanishes_within_an_object_leaves_nothing() {
    let port = Port::open("");
    let data = data_set(CT, "1.2.3", 200_000);
    let mut peer = Peer::associate(&port);
    peer.send(&command_pdu(IN_CT, &store_command("1.2.3")));
    peer.send(&data_pdu(IN_CT, &data[..100_000], false));
    let begin = Instant::now();
    while port.shelf.files().is_empty() {
        assert!(begin.elapsed() < PATIENCE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(port.shelf.files()[0].ends_with(".part"), "{:?}", port.shelf.files());
    drop(peer);
    port.wait_for("the end", |figures| figures.open == 0);
    assert!(port.shelf.files().is_empty() && port.shelf.arrivals().is_empty());
}

#[test]
fn a_stop_ends_associations_and_leaves_nothing_half() {
    let mut port = Port::open("");
    let mut peer = Peer::associate(&port);
    peer.send(&command_pdu(IN_CT, &store_command("1.2.3")));
    peer.send(&data_pdu(IN_CT, &[0; 1000], false));
    port.wait_for("the association", |figures| figures.open == 1);
    port.stop();
    assert_eq!(peer.abort(), NOT_SPECIFIED);
    assert!(port.shelf.files().is_empty());
    assert!(TcpStream::connect(port.address).is_err(), "nobody listens");
}

#[test]
fn a_full_queue_leaves_the_object_with_its_sender_and_then_says_so() {
    let port = Port::open("busy_seconds = 1");
    let mut peer = Peer::associate(&port);
    *port.shelf.room.lock().unwrap() = Room::QueueFull;
    let data = data_set(CT, "1.2.3", 1000);
    assert_eq!(peer.store(&store_command("1.2.3"), &data), 0xA700);
    std::thread::scope(|scope| {
        peer.send(&command_pdu(IN_CT, &store_command("1.2.3")));
        peer.send_data(&data);
        scope.spawn(|| *port.shelf.room.lock().unwrap() = Room::Free);
        assert_eq!(peer.status(), 0, "there is room now");
    });
    *port.shelf.room.lock().unwrap() = Room::DiskFull;
    assert_eq!(peer.store(&store_command("1.2.4"), &data_set(CT, "1.2.4", 10)), 0xA700);
    assert!(peer.echoes());
}

#[test]
fn what_the_store_refuses_is_told_and_removed() {
    let port = Port::open("");
    let mut peer = Peer::associate(&port);
    let broken = || io::Error::other("disk I/O error").into();
    for (error, status) in [
        (AcceptError::DiskFull("3 MiB are free".to_owned()), 0xA700),
        (AcceptError::Busy { waiting: 100 }, 0xA700),
        (AcceptError::Broken("no series".to_owned()), 0xC000),
        (AcceptError::Failed(broken()), 0x0110),
    ] {
        *port.shelf.refuse.lock().unwrap() = Some(error);
        assert_eq!(peer.store(&store_command("1.2.3"), &data_set(CT, "1.2.3", 10)), status);
        assert!(port.shelf.files().is_empty());
    }
    assert_eq!(peer.store(&store_command("1.2.3"), &data_set(CT, "1.2.3", 10)), 0);
}

#[test]
fn addresses_that_are_not_on_the_list_are_not_heard() {
    let port = Port::open("peers = [\"192.0.2.1\"]");
    let mut peer = Peer::connect(&port);
    let _ = peer.stream.write_all(&encoded(&request()));
    assert_eq!(peer.receive(), None);
    port.wait_for("the refusal", |figures| figures.rejected == 1);
    assert!(
        port.last_problem().contains("appliance.dicom.peers"),
        "{}",
        port.last_problem()
    );
    let listed = Port::open("peers = [\"192.0.2.1\", \"127.0.0.1\"]");
    assert!(Peer::associate(&listed).echoes());
}

/// A small file system in memory, if this test may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("skipped: this user may not mount a tmpfs; run as root");
        None
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_the_next_object_that_fits_is_stored() {
    let Some(disk) = Small::mount("size=256k") else { return };
    let port = Port::open_in("", Some(disk.path()));
    let mut peer = Peer::associate(&port);
    let large = data_set(CT, "1.2.3", 400_000);
    for _ in 0..3 {
        assert_eq!(peer.store(&store_command("1.2.3"), &large), 0xA700);
        assert!(port.shelf.files().is_empty());
    }
    assert!(
        port.last_problem().contains("the disk is full"),
        "{}",
        port.last_problem()
    );
    assert_eq!(peer.store(&store_command("1.2.4"), &data_set(CT, "1.2.4", 100_000)), 0);
    assert_eq!(port.shelf.files().len(), 1);
}

#[test]
fn a_disk_that_cannot_be_written_is_told() {
    let Some(disk) = Small::mount("size=1m,ro") else { return };
    let port = Port::open_in("", Some(disk.path()));
    let mut peer = Peer::associate(&port);
    assert_eq!(peer.store(&store_command("1.2.3"), &data_set(CT, "1.2.3", 10)), 0x0110);
    assert!(peer.echoes());
    assert!(port.last_problem().contains("Read-only"), "{}", port.last_problem());
}

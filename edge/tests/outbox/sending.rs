//! Objects on their way to archives of others: good ones, and those that refuse, are away, die, or dawdle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use scanside_edge::outbox::memory::MemoryOutbox;
use scanside_edge::outbox::queue::State;
use scanside_edge::outbox::schedule::Backoff;
use scanside_edge::outbox::sender::{self, SendError};
use scanside_edge::outbox::{Kind, OutgoingObject, Wanted};
use serde_json::Value;

use crate::archives::{ONE_AT_A_TIME, Running, archive, is_parked, is_sent, now, obedient};
use crate::cases::each_kind;
use crate::peers::servers::{Orthanc, free_port, storescp};
use crate::peers::{self, printed};

/// A picture and a report, a folder, and the right to use ports; `None` where something is not installed.
struct Sending {
    objects: Vec<OutgoingObject>,
    folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Sending {
    fn new() -> Option<Self> {
        let cases = each_kind()?;
        peers::dcmtk("storescp")?;
        let dicom = Wanted {
            secondary_capture: true,
            structured_report: true,
            json: false,
        };
        Some(Self {
            objects: cases[0].build(dicom).objects,
            folder: tempfile::tempdir().unwrap(),
            _turn: ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn queued(&self) -> Arc<MemoryOutbox> {
        let outbox = Arc::new(MemoryOutbox::default());
        outbox.add(self.objects.clone(), now());
        outbox
    }

    /// The data set behind the file meta information.
    fn data_set(&self, kind: Kind) -> &[u8] {
        let object = self.objects.iter().find(|object| object.kind == kind).unwrap();
        let length = u32::from_le_bytes(object.bytes[140..144].try_into().unwrap());
        &object.bytes[144 + length as usize..]
    }

    /// Whether a folder of storescp holds both objects, each once and byte by byte.
    fn assert_stored(&self, folder: &Path) {
        let stored: Vec<Vec<u8>> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert_eq!(stored.len(), 2);
        for kind in [Kind::SecondaryCapture, Kind::StructuredReport] {
            let data_set = self.data_set(kind);
            assert_eq!(
                stored.iter().filter(|file| file.ends_with(data_set)).count(),
                1,
                "{kind:?}"
            );
        }
    }
}

#[test]
fn storescp_takes_both_byte_by_byte() {
    let Some(sending) = Sending::new() else { return };
    let store = sending.path("store");
    let server = storescp(free_port(), &store, &[]);
    sender::echo(&archive(server.port, "ARCHIVE")).unwrap();
    let running = Running::start(sending.queued(), archive(server.port, "ARCHIVE"));
    let entries = running.wait_until_sent();
    assert!(
        entries
            .iter()
            .all(|entry| entry.attempts == 0 && entry.reason.is_none())
    );
    drop(running);
    sending.assert_stored(&store);
    let associations = server.log().matches("Association Acknowledged").count();
    assert_eq!(associations, 2, "an echo, and one for both objects:\n{}", server.log());
}

#[test]
fn an_archive_that_takes_implicit_vr_only_gets_the_same_values() {
    let Some(sending) = Sending::new() else { return };
    let store = sending.path("store");
    let server = storescp(free_port(), &store, &["+xi"]);
    let running = Running::start(sending.queued(), archive(server.port, "ARCHIVE"));
    running.wait_until_sent();
    let dump = |path: &Path| printed(Command::new("dcmdump").args(["-q", "+L", "+R", "4096"]).arg(path));
    let plain = |dump: String| {
        let lines = dump
            .lines()
            .filter(|line| !line.starts_with("(0002,") && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for object in &sending.objects {
        let ours = sending.path("ours.dcm");
        fs::write(&ours, &object.bytes).unwrap();
        let mut stored = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
        let stored = stored
            .find(|path| path.to_string_lossy().ends_with(&object.id))
            .unwrap();
        let head = printed(Command::new("dcmdump").args(["-q", "+P", "0002,0010"]).arg(&stored));
        assert!(head.contains("LittleEndianImplicit"), "{head}");
        let (ours, theirs) = (plain(dump(&ours)), plain(dump(&stored)));
        assert!(ours.len() > 30);
        // Pixels are OB or OW, as the syntax asks for: the same bytes.
        let same = |(a, b): (&String, &String)| a == b || a.starts_with("(7fe0,0010)") && b.starts_with("(7fe0,0010)");
        let differing: Vec<_> = ours.iter().zip(&theirs).filter(|pair| !same(*pair)).collect();
        assert!(differing.is_empty() && ours.len() == theirs.len(), "{differing:#?}");
    }
}

#[test]
fn an_archive_that_is_away_gets_everything_when_it_comes() {
    let Some(sending) = Sending::new() else { return };
    let (port, store) = (free_port(), sending.path("store"));
    let error = sender::echo(&archive(port, "ARCHIVE")).unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. }), "{error}");
    let running = Running::start(sending.queued(), archive(port, "ARCHIVE"));
    let entries = running.wait("three attempts", |entries| entries[0].attempts >= 3);
    let reason = entries[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("cannot be reached") && reason.contains("refused"),
        "{reason}"
    );
    let _server = storescp(port, &store, &[]);
    running.wait_until_sent();
    sending.assert_stored(&store);
}

#[test]
fn a_person_who_asks_for_another_try_waits_for_no_back_off() {
    let Some(sending) = Sending::new() else { return };
    let (port, store) = (free_port(), sending.path("store"));
    let outbox = sending.queued();
    let hour = Duration::from_secs(3600);
    let backoff = Backoff {
        first: hour,
        longest: hour,
    };
    let running = Running::start_with(outbox.clone(), archive(port, "ARCHIVE"), backoff);
    let entries = running.wait("a failure of both", |entries| {
        entries.iter().all(|entry| entry.attempts == 1)
    });
    let _server = storescp(port, &store, &[]);
    for entry in &entries {
        assert!(outbox.retry(&entry.id, now()));
    }
    running.wait_until_sent();
    sending.assert_stored(&store);
}

#[test]
fn an_archive_that_refuses_the_association_is_asked_again() {
    let Some(sending) = Sending::new() else { return };
    let (port, store) = (free_port(), sending.path("store"));
    let refusing = storescp(port, &store, &["--refuse"]);
    let running = Running::start(sending.queued(), archive(port, "ARCHIVE"));
    let entries = running.wait("a refusal", |entries| entries.iter().all(|entry| entry.attempts >= 2));
    let reason = entries[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("refused the association") && reason.contains("SCANSIDE"),
        "{reason}"
    );
    drop(refusing);
    let _server = storescp(port, &store, &[]);
    running.wait_until_sent();
    sending.assert_stored(&store);
}

#[test]
fn a_storage_class_that_is_not_accepted_parks_its_objects_until_somebody_retries() {
    let Some(sending) = Sending::new() else { return };
    let (port, store) = (free_port(), sending.path("store"));
    let profile = "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianExplicit\n\
                   [[PresentationContexts]]\n[Pictures]\n\
                   PresentationContext1 = SecondaryCaptureImageStorage\\Plain\n\
                   [[Profiles]]\n[PicturesOnly]\nPresentationContexts = Pictures\n";
    let config = sending.path("storescp.cfg");
    fs::write(&config, profile).unwrap();
    let options = ["-xf", config.to_str().unwrap(), "PicturesOnly"];
    let pictures_only = storescp(port, &store, &options);
    let outbox = sending.queued();
    let running = Running::start(outbox.clone(), archive(port, "ARCHIVE"));
    let entries = running.wait("a picture", |entries| is_sent(&entries[0]) && is_parked(&entries[1]));
    let reason = entries[1].reason.as_deref().unwrap();
    assert!(
        reason.contains("does not accept structured report (1.2.840.10008.5.1.4.1.1.88.34)"),
        "{reason}"
    );
    drop(pictures_only);
    let _server = storescp(port, &store, &[]);
    assert!(outbox.retry(&entries[1].id, now()));
    running.wait_until_sent();
    sending.assert_stored(&store);
}

#[test]
fn an_archive_that_accepts_nothing_parks_everything() {
    let Some(sending) = Sending::new() else { return };
    let config = sending.path("storescp.cfg");
    let profile = "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianExplicit\n\
                   [[PresentationContexts]]\n[Echo]\nPresentationContext1 = VerificationSOPClass\\Plain\n\
                   [[Profiles]]\n[EchoOnly]\nPresentationContexts = Echo\n";
    fs::write(&config, profile).unwrap();
    let options = ["-xf", config.to_str().unwrap(), "EchoOnly"];
    let server = storescp(free_port(), &sending.path("store"), &options);
    let running = Running::start(sending.queued(), archive(server.port, "ARCHIVE"));
    running.wait("two refusals", |entries| entries.iter().all(is_parked));
}

#[test]
fn an_archive_that_dies_in_the_middle_has_each_object_once_in_the_end() {
    let Some(sending) = Sending::new() else { return };
    for (name, option) in [("during", "--abort-during"), ("after", "--abort-after")] {
        let (port, store) = (free_port(), sending.path(name));
        let dying = storescp(port, &store, &[option]);
        let running = Running::start(sending.queued(), archive(port, "ARCHIVE"));
        let entries = running.wait("two deaths", |entries| entries.iter().all(|entry| entry.attempts >= 1));
        assert!(!entries.iter().any(is_sent));
        let reason = entries[0].reason.as_deref().unwrap();
        assert!(reason.contains("ended the association"), "{reason}");
        drop(dying);
        let _server = storescp(port, &store, &[]);
        running.wait_until_sent();
        drop(running);
        sending.assert_stored(&store);
    }
}

#[test]
fn an_archive_that_dawdles_is_given_up_for_now() {
    let Some(sending) = Sending::new() else { return };
    let (port, store) = (free_port(), sending.path("store"));
    let slow = storescp(port, &store, &["--sleep-during", "30"]);
    let mut archive = archive(port, "ARCHIVE");
    archive.answer = Duration::from_millis(300);
    let running = Running::start(sending.queued(), archive);
    let entries = running.wait("a time-out", |entries| entries[0].attempts >= 1);
    let reason = entries[0].reason.as_deref().unwrap();
    assert!(reason.contains("did not answer within 0.3 s"), "{reason}");
    drop(slow);
    let _server = storescp(port, &store, &[]);
    running.wait_until_sent();
    drop(running);
    sending.assert_stored(&store);
}

#[test]
fn statuses_are_kept_as_remark_reason_or_another_try() {
    let Some(sending) = Sending::new() else { return };
    if !peers::program("python3", "python3") {
        return;
    }
    let port = free_port();
    let server = obedient(port, &sending.path("log"), &["B007", "A700", "C000"]);
    let running = Running::start(sending.queued(), archive(port, "ARCHIVE"));
    let entries = running.wait("both", |entries| is_sent(&entries[0]) && is_parked(&entries[1]));
    let [first, second] = [0, 1].map(|index| entries[index].reason.clone().unwrap());
    // The archive comments each status, in words that may name a patient.
    assert!(first.starts_with("status B007, stored"), "{first}");
    assert!(second.starts_with("status C000"), "{second}");
    assert!(
        ![&first, &second].iter().any(|said| said.contains("as the test wishes")),
        "{first} {second}"
    );
    assert_eq!(entries[1].attempts, 1, "out of resources was another try");
    let log = server.log();
    let order: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, status)| status)
        .collect();
    assert_eq!(order, ["B007", "A700", "C000"], "{log}");
    sender::echo(&archive(server.port, "ARCHIVE")).unwrap();
}

#[test]
fn an_object_that_an_archive_does_not_survive_holds_no_other_up() {
    let Some(sending) = Sending::new() else { return };
    if !peers::program("python3", "python3") {
        return;
    }
    let port = free_port();
    let deadly = format!("deadly:{}", Kind::SecondaryCapture.sop_class().unwrap());
    let _server = obedient(port, &sending.path("log"), &[&deadly]);
    let running = Running::start(sending.queued(), archive(port, "ARCHIVE"));
    let entries = running.wait("the report", |entries| is_sent(&entries[1]) && entries[0].attempts >= 2);
    assert!(matches!(entries[0].state, State::Waiting { .. }));
}

#[test]
fn an_object_that_cannot_be_read_holds_no_other_up() {
    let Some(sending) = Sending::new() else { return };
    let server = storescp(free_port(), &sending.path("store"), &[]);
    let queue = sending.queued();
    queue.lose(&sending.objects[0].id);
    let running = Running::start(queue, archive(server.port, "ARCHIVE"));
    let entries = running.wait("the report", |entries| is_sent(&entries[1]) && entries[0].attempts >= 2);
    let reason = entries[0].reason.as_deref().unwrap();
    assert!(reason.contains("cannot be read: input/output error"), "{reason}");
}

#[test]
fn a_stop_ends_the_loop_while_an_archive_is_away() {
    let Some(sending) = Sending::new() else { return };
    let running = Running::start(sending.queued(), archive(free_port(), "ARCHIVE"));
    running.wait("an attempt", |entries| entries[0].attempts >= 1);
    // Dropping it joins its thread.
    drop(running);
}

#[test]
fn orthanc_takes_both_and_files_them_with_the_image() {
    let Some(sending) = Sending::new() else { return };
    if !peers::program("Orthanc", "orthanc") {
        return;
    }
    let orthanc = Orthanc::start(free_port(), &sending.path("orthanc"), "ORTHANC", Value::Null);
    let port = orthanc.server.port;
    let stranger = sender::echo(&archive(port, "PACS")).unwrap_err();
    assert!(matches!(stranger, SendError::Rejected { .. }), "{stranger}");
    assert!(stranger.to_string().contains("called AE title"), "{stranger}");
    sender::echo(&archive(port, "ORTHANC")).unwrap();

    let running = Running::start(sending.queued(), archive(port, "ORTHANC"));
    running.wait_until_sent();
    let json = |path: &str| orthanc.json(path);
    let studies = json("/studies?expand");
    assert_eq!(studies.as_array().unwrap().len(), 1, "one study: {studies}");
    let study = &studies[0];
    assert_eq!(
        study["MainDicomTags"]["StudyInstanceUID"],
        "1.2.826.0.1.3680043.8.498.2"
    );
    assert_eq!(study["PatientMainDicomTags"]["PatientID"], "PID-00042");
    assert_eq!(study["PatientMainDicomTags"]["PatientName"], "Müller^Jörg");
    let instances = json("/instances?expand");
    let uids: Vec<_> = instances.as_array().unwrap().iter().collect();
    assert_eq!(uids.len(), 2);
    for object in &sending.objects {
        let known = |instance: &&&serde_json::Value| instance["MainDicomTags"]["SOPInstanceUID"] == object.id.as_str();
        let instance = uids
            .iter()
            .find(known)
            .unwrap_or_else(|| panic!("{} is missing", object.id));
        let tags = json(&format!(
            "/instances/{}/simplified-tags",
            instance["ID"].as_str().unwrap()
        ));
        let modality = if object.kind == Kind::SecondaryCapture {
            "OT"
        } else {
            "SR"
        };
        assert_eq!(tags["Modality"], modality);
    }
    // Sent once more, it is the same object.
    let again = Running::start(sending.queued(), archive(port, "ORTHANC"));
    again.wait_until_sent();
    assert_eq!(json("/instances").as_array().unwrap().len(), 2);
}

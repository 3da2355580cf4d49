//! Nothing that is owed is lost, and nothing is sent twice under two names.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hardware::clock::Clock;
use hardware::slots::Folder;
use scanside_edge::outbox::Kind;
use scanside_edge::store::outbox::{EntryState, Made};
use scanside_edge::store::{Store, StoreError};

use crate::support::{code, program, stderr, stdout};
use crate::{CLEAR, Shelf, config, radiograph, slice};

const BOTH: [Kind; 2] = [Kind::SecondaryCapture, Kind::StructuredReport];

fn shelf() -> Shelf {
    Shelf::with(config(), BOTH.to_vec())
}

fn make(shelf: &Shelf, kind: Kind, object: &str) -> Made {
    fs::write(shelf.store.folders().outbox().join(object), object).unwrap();
    Made {
        kind,
        object: object.to_owned(),
        file: object.to_owned(),
    }
}

#[test]
fn a_result_owes_its_objects_until_they_are_sent() {
    let mut shelf = shelf();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    assert!(shelf.store.owed(shelf.now, 9).unwrap().is_empty());
    shelf.judge(image, CLEAR);
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    assert_eq!(owed.iter().map(|entry| entry.kind).collect::<Vec<_>>(), BOTH);
    assert_eq!(
        (owed[0].image, owed[0].case_number.as_str()),
        (Some(image), "260314-0001")
    );

    let made = [
        make(&shelf, Kind::SecondaryCapture, "2.1"),
        make(&shelf, Kind::StructuredReport, "2.2"),
    ];
    shelf.store.objects_made(&owed, &made, &[], shelf.now).unwrap();
    assert!(shelf.store.owed(shelf.now, 9).unwrap().is_empty());
    let due = shelf
        .store
        .due_objects(&[Kind::StructuredReport], shelf.now, 9)
        .unwrap();
    assert_eq!(due[0].object.as_deref(), Some("2.2"));
    assert_eq!(shelf.store.object_bytes("2.2").unwrap(), b"2.2");

    let later = shelf.now + chrono::TimeDelta::seconds(15);
    shelf.store.object_failed("2.2", later, "no answer").unwrap();
    assert!(
        shelf
            .store
            .due_objects(&[Kind::StructuredReport], shelf.now, 9)
            .unwrap()
            .is_empty()
    );
    assert_eq!(shelf.store.outbox_counts().unwrap().failing, 1);
    shelf.pass(15);
    let due = shelf
        .store
        .due_objects(&[Kind::StructuredReport], shelf.now, 9)
        .unwrap();
    assert_eq!((due[0].attempts, due[0].last_error.as_deref()), (1, Some("no answer")));
    shelf.store.object_sent("2.2", shelf.now, None).unwrap();
    assert!(!shelf.store.folders().outbox().join("2.2").exists());
    assert!(matches!(
        shelf.store.object_sent("2.2", shelf.now, None),
        Err(StoreError::Gone { .. })
    ));
    let case = shelf.store.case("260314-0001").unwrap().case;
    assert_eq!(case.unsent, 1, "the picture still waits");
}

#[test]
fn what_cannot_be_made_is_dropped_with_its_reason_and_what_fails_is_owed_again() {
    let mut shelf = shelf();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, CLEAR);
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    let later = shelf.now + chrono::TimeDelta::seconds(60);
    shelf.store.making_failed(&owed, "the disk is full", later).unwrap();
    assert!(shelf.store.owed(shelf.now, 9).unwrap().is_empty());
    shelf.pass(60);
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    let made = [make(&shelf, Kind::StructuredReport, "2.2")];
    let left_out = [(Kind::SecondaryCapture, "there is no picture".to_owned())];
    shelf.store.objects_made(&owed, &made, &left_out, shelf.now).unwrap();
    let entries = shelf.store.outbox_entries(9).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|e| (e.kind, e.state, e.last_error.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (Kind::StructuredReport, EntryState::Waiting, None),
            (Kind::SecondaryCapture, EntryState::Dropped, Some("there is no picture")),
        ]
    );
}

#[test]
fn a_refused_object_is_parked_until_a_person_retries_it() {
    let shelf = shelf();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, CLEAR);
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    let made = [
        make(&shelf, Kind::SecondaryCapture, "2.1"),
        make(&shelf, Kind::StructuredReport, "2.2"),
    ];
    shelf.store.objects_made(&owed, &made, &[], shelf.now).unwrap();
    shelf.store.object_parked("2.1", shelf.now, "refused").unwrap();
    assert!(
        shelf
            .store
            .due_objects(&[Kind::SecondaryCapture], shelf.now, 9)
            .unwrap()
            .is_empty()
    );
    assert_eq!(shelf.store.object_bytes("2.1").unwrap(), b"2.1", "it is kept");
    assert_eq!(shelf.store.retry(Some("2.1")).unwrap(), 1);
    assert_eq!(
        shelf
            .store
            .due_objects(&[Kind::SecondaryCapture], shelf.now, 9)
            .unwrap()
            .len(),
        1
    );
    let asked = shelf.store.retries().unwrap();
    assert!(matches!(shelf.store.retry(Some("2.9")), Err(StoreError::Gone { .. })));
    assert_eq!(shelf.store.retries().unwrap(), asked, "nothing was asked for");
    // Another program asks, and this one hears of it.
    let other = Store::open(shelf.folder.path(), config(), Vec::new()).unwrap();
    assert_eq!(other.retry(None).unwrap(), 2);
    assert_eq!(shelf.store.retries().unwrap(), asked + 1);
}

#[test]
fn objects_of_a_series_are_owed_once_it_settles_and_again_if_it_goes_on() {
    let mut shelf = shelf();
    let take = |shelf: &Shelf, n: u32| {
        let image = shelf.take(&slice(&format!("3.{n}"), "3").bytes());
        shelf.judge(image, CLEAR);
    };
    take(&shelf, 1);
    assert!(shelf.store.owed(shelf.now, 9).unwrap().is_empty());
    shelf.pass(20);
    shelf.store.settle(shelf.now).unwrap();
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    assert_eq!((owed.len(), owed[0].image), (2, None));
    take(&shelf, 2);
    shelf.pass(20);
    shelf.store.settle(shelf.now).unwrap();
    assert_eq!(
        shelf.store.owed(shelf.now, 9).unwrap().len(),
        2,
        "not made yet: not owed twice"
    );
    let made = [
        make(&shelf, Kind::SecondaryCapture, "2.1"),
        make(&shelf, Kind::StructuredReport, "2.2"),
    ];
    shelf.store.objects_made(&owed, &made, &[], shelf.now).unwrap();
    take(&shelf, 3);
    shelf.pass(20);
    shelf.store.settle(shelf.now).unwrap();
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    assert_eq!(owed.len(), 2, "the report of three slices is another one");
    // An object that is there already is not there twice.
    let same = [
        make(&shelf, Kind::SecondaryCapture, "2.1"),
        make(&shelf, Kind::StructuredReport, "2.3"),
    ];
    shelf.store.objects_made(&owed, &same, &[], shelf.now).unwrap();
    let objects: Vec<_> = shelf
        .store
        .outbox_entries(9)
        .unwrap()
        .into_iter()
        .filter_map(|e| e.object)
        .collect();
    assert_eq!(objects, ["2.3", "2.2", "2.1"]);
}

#[test]
fn a_wrong_clock_does_not_delay_an_object_for_years() {
    let shelf = shelf();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, CLEAR);
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    let made = [
        make(&shelf, Kind::SecondaryCapture, "2.1"),
        make(&shelf, Kind::StructuredReport, "2.2"),
    ];
    shelf.store.objects_made(&owed, &made, &[], shelf.now).unwrap();
    let years = shelf.now + chrono::TimeDelta::days(4000);
    shelf.store.object_failed("2.1", years, "no answer").unwrap();
    assert_eq!(
        shelf
            .store
            .due_objects(&[Kind::SecondaryCapture], shelf.now, 9)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_file_that_was_written_is_replaced_when_its_series_goes_on() {
    let mut shelf = Shelf::with(config(), vec![Kind::Json]);
    for n in 1..3 {
        let image = shelf.take(&slice(&format!("3.{n}"), "3").bytes());
        shelf.judge(image, CLEAR);
        shelf.pass(20);
        shelf.store.settle(shelf.now).unwrap();
        let owed = shelf.store.owed(shelf.now, 9).unwrap();
        let made = [make(&shelf, Kind::Json, "260314-0001.json")];
        shelf.store.objects_made(&owed, &made, &[], shelf.now).unwrap();
        let due = shelf.store.due_objects(&[Kind::Json], shelf.now, 9).unwrap();
        assert_eq!(due.len(), 1, "after slice {n}");
        assert!(shelf.store.object_bytes("260314-0001.json").is_ok());
        shelf.store.object_sent("260314-0001.json", shelf.now, None).unwrap();
    }
    assert_eq!(shelf.store.outbox_entries(9).unwrap().len(), 1);
    assert!(shelf.files("outbox").is_empty());
}

#[test]
fn an_object_is_given_up_by_the_appliances_clock_and_whoever_does_it_hears_so() {
    let shelf = shelf();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, CLEAR);
    let owed = shelf.store.owed(shelf.now, 9).unwrap();
    let objects = ["2.1", "2.2"];
    let made: Vec<_> = BOTH
        .iter()
        .zip(objects)
        .map(|(kind, object)| make(&shelf, *kind, object))
        .collect();
    shelf.store.objects_made(&owed, &made, &[], shelf.now).unwrap();
    let state = shelf.folder.path();
    // An engineer set it a month ahead, and the service holds the folder.
    fs::create_dir(state.join("monotonic")).unwrap();
    let folder = Arc::new(Folder::open(state.join("monotonic")).unwrap());
    let clock = Clock::open(folder, Duration::from_secs(1_767_225_600));
    clock.set(clock.now() + Duration::from_secs(30 * 24 * 3600)).unwrap();
    let config = state.join("edge.toml");
    fs::write(&config, format!("[appliance]\nstate = {state:?}\n")).unwrap();
    let drop = |object: &str, json: &[&str]| {
        let mut command = program();
        command.args(["outbox", "drop", object, "--reason", "sent by hand"]);
        let output = command.args(json).arg("--config").arg(&config).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    assert!(drop("2.1", &[]).contains("2.1 is given up"));
    assert!(drop("2.2", &["--json"]).contains("{\"dropped\":\"2.2\"}"));
    for verb in [&["retry", "2.9"][..], &["drop", "2.9", "--reason", "none"]] {
        let output = program().arg("outbox").args(verb).arg("--config").arg(&config).output();
        let output = output.unwrap();
        assert_eq!(code(&output), 2, "{verb:?}: {}", stdout(&output));
        assert!(
            stderr(&output).contains("is called 2.9"),
            "{verb:?}: {}",
            stderr(&output)
        );
    }
    let ended = shelf.store.outbox_entries(9).unwrap()[0].ended.unwrap();
    let day = chrono::TimeDelta::days(1);
    let now = chrono::DateTime::UNIX_EPOCH + clock.now();
    assert!((now - ended).abs() < day, "{ended} is not {now}");
}

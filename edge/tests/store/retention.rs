//! What goes, and what never does.

use std::fs;
use std::time::Duration;

use scanside_edge::outbox::Kind;
use scanside_edge::store::config::StoreConfig;
use scanside_edge::store::outbox::Made;
use scanside_edge::store::retention::{Shortage, Tidied};

use crate::{CLEAR, Shelf, config, radiograph};

const DAY: i64 = 86_400;

/// A case with its result, as the filing thread leaves it.
fn finished(shelf: &Shelf, n: u32) -> String {
    let image = shelf.take(&radiograph(&format!("{n}.1"), &n.to_string()).bytes());
    shelf.judge(image, CLEAR);
    let number = shelf.store.case_of_image(image).unwrap().unwrap().number;
    fs::write(shelf.store.folders().result(&number, 1), "{}").unwrap();
    shelf
        .tool()
        .execute_batch("UPDATE cases SET filed = 1 WHERE settled IS NOT NULL")
        .unwrap();
    number
}

/// Lets days pass as a service sees them that runs all the time.
fn days(shelf: &mut Shelf, days: i64) -> Tidied {
    let mut sum = Tidied::default();
    for _ in 0..days {
        shelf.pass(DAY);
        let elapsed = Some(Duration::from_secs(DAY as u64));
        let tidied = shelf.store.tidy(shelf.now, elapsed).unwrap();
        sum.too_old += tidied.too_old;
        sum.for_space += tidied.for_space;
    }
    sum
}

fn numbers(shelf: &Shelf) -> Vec<String> {
    let cases = shelf.store.cases(0, 100).unwrap();
    cases.into_iter().rev().map(|case| case.number).collect()
}

#[test]
fn old_cases_go_with_all_their_files() {
    let mut shelf = Shelf::with(
        StoreConfig {
            keep_days: 10,
            ..config()
        },
        Vec::new(),
    );
    shelf.store.tidy(shelf.now, None).unwrap();
    let old = finished(&shelf, 1);
    days(&mut shelf, 8);
    let young = finished(&shelf, 2);
    assert_eq!((shelf.files("images").len(), shelf.files("results").len()), (2, 2));
    assert_eq!(days(&mut shelf, 3).too_old, 1);
    assert_eq!(numbers(&shelf), [young]);
    assert_eq!((shelf.files("images").len(), shelf.files("results").len()), (1, 1));
    assert!(!shelf.store.folders().result(&old, 1).exists());
    assert!(shelf.is_sound());
    // It may come again, as a new case.
    shelf.take(&radiograph("1.1", "1").bytes());
}

#[test]
fn what_waits_or_is_unsent_never_goes() {
    let config = StoreConfig {
        keep_days: 10,
        ..config()
    };
    let mut shelf = Shelf::with(config, vec![Kind::StructuredReport]);
    shelf.store.tidy(shelf.now, None).unwrap();
    let waiting = shelf.take(&radiograph("1.1", "1").bytes());
    let owed = finished(&shelf, 2);
    let unsent = finished(&shelf, 3);
    let parked = finished(&shelf, 4);
    let sent = finished(&shelf, 5);
    for (number, entry) in [&unsent, &parked, &sent].into_iter().zip(2..) {
        let entries = shelf.store.owed(shelf.now, 9).unwrap();
        let entry = entries
            .iter()
            .find(|e| e.case_number == *number)
            .unwrap_or_else(|| panic!("{entry}"));
        let object = format!("9.{number}");
        fs::write(shelf.store.folders().outbox().join(&object), "x").unwrap();
        let made = Made {
            kind: Kind::StructuredReport,
            object: object.clone(),
            file: object,
        };
        shelf
            .store
            .objects_made(std::slice::from_ref(entry), &[made], &[], shelf.now)
            .unwrap();
    }
    shelf
        .store
        .object_parked(&format!("9.{parked}"), shelf.now, "refused")
        .unwrap();
    shelf.store.object_sent(&format!("9.{sent}"), shelf.now, None).unwrap();
    assert_eq!(days(&mut shelf, 30).too_old, 1);
    assert_eq!(
        numbers(&shelf),
        ["260314-0001".to_owned(), owed, unsent.clone(), parked]
    );
    shelf
        .store
        .object_sent(&format!("9.{unsent}"), shelf.now, None)
        .unwrap();
    shelf.judge(waiting, CLEAR);
    assert_eq!(days(&mut shelf, 1).too_old, 1);
}

#[test]
fn the_oldest_go_when_space_is_short_and_only_as_many_as_must() {
    let mut shelf = Shelf::with(
        StoreConfig {
            max_megabytes: 64,
            ..config()
        },
        Vec::new(),
    );
    let all: Vec<_> = (1..=40).map(|n| finished(&shelf, n)).collect();
    shelf.tool().execute_batch("UPDATE images SET bytes = 2000000").unwrap();
    let tidied = days(&mut shelf, 1);
    assert!((8..=16).contains(&tidied.for_space), "{tidied:?}");
    assert_eq!(numbers(&shelf), all[tidied.for_space as usize..]);
    assert_eq!(days(&mut shelf, 1), Tidied::default());
}

#[test]
fn a_disk_that_stays_full_is_told() {
    let shelf = Shelf::with(
        StoreConfig {
            reserve_megabytes: 1_000_000,
            ..config()
        },
        Vec::new(),
    );
    assert_eq!(shelf.store.tidy(shelf.now, None).unwrap().short, Some(Shortage::Disk));
}

#[test]
fn a_clock_that_jumps_deletes_nothing_for_a_while() {
    let mut shelf = Shelf::with(
        StoreConfig {
            keep_days: 30,
            ..config()
        },
        Vec::new(),
    );
    shelf.store.tidy(shelf.now, None).unwrap();
    let case = finished(&shelf, 1);
    // Nine years in a minute.
    shelf.pass(9 * 365 * DAY);
    let tidy = |shelf: &Shelf, elapsed| shelf.store.tidy(shelf.now, elapsed).unwrap();
    // A day, minute by minute, with a start in between.
    for minute in 0..24 * 60 {
        let elapsed = (minute % 700 != 0).then_some(Duration::from_secs(60));
        shelf.pass(60);
        assert_eq!(tidy(&shelf, elapsed), Tidied::default(), "minute {minute}");
    }
    assert_eq!(numbers(&shelf), [case]);
    // Day by day it still goes in the end, and not before its time by much.
    let days = (1..30).find(|_| {
        shelf.pass(DAY);
        tidy(&shelf, Some(Duration::from_secs(24 * 3600))).too_old == 1
    });
    assert_eq!(days, Some(4), "a week and a day, and then five days a day");
}

#[test]
fn an_appliance_that_is_switched_off_at_night_keeps_up() {
    let mut shelf = Shelf::with(
        StoreConfig {
            keep_days: 30,
            ..config()
        },
        Vec::new(),
    );
    shelf.store.tidy(shelf.now, None).unwrap();
    finished(&shelf, 1);
    let days = (1..40).find(|_| {
        let mut gone = 0;
        for hour in 0..8 {
            shelf.pass(3600);
            let elapsed = (hour > 0).then_some(Duration::from_secs(3600));
            gone += shelf.store.tidy(shelf.now, elapsed).unwrap().too_old;
        }
        shelf.pass(DAY - 8 * 3600);
        gone == 1
    });
    assert!(days.is_some_and(|days| (30..=32).contains(&days)), "{days:?}");
}

#[test]
fn the_database_shrinks_when_cases_go() {
    let mut shelf = Shelf::with(
        StoreConfig {
            keep_days: 1,
            ..config()
        },
        Vec::new(),
    );
    shelf.store.tidy(shelf.now, None).unwrap();
    for n in 1..=60 {
        finished(&shelf, n);
    }
    let before = shelf.store.usage().unwrap();
    days(&mut shelf, 3);
    let after = shelf.store.usage().unwrap();
    assert!(after.database < before.database, "{after:?} {before:?}");
    assert_eq!(after.files, 0);
}

#[test]
fn all_that_lies_in_the_state_folder_counts_and_a_full_quota_is_told_as_that() {
    let shelf = Shelf::with(
        StoreConfig {
            max_megabytes: 64,
            ..config()
        },
        Vec::new(),
    );
    let before = shelf.store.usage().unwrap().files;
    let state = shelf.folder.path();
    fs::create_dir_all(state.join("logs")).unwrap();
    fs::create_dir_all(state.join("store.sqlite.damaged-260301-120000.files")).unwrap();
    let names = [
        "outbox/object",
        "logs/edge.log",
        "store.sqlite.damaged-260301-120000",
        "store.sqlite.damaged-260301-120000.files/image",
    ];
    for name in names {
        fs::write(state.join(name), vec![0; 1000]).unwrap();
    }
    assert_eq!(shelf.store.usage().unwrap().files, before + 4000);
    assert_eq!(shelf.store.tidy(shelf.now, None).unwrap().short, None);
    fs::File::create(state.join("outbox/object"))
        .unwrap()
        .set_len(65_000_000)
        .unwrap();
    assert_eq!(shelf.store.tidy(shelf.now, None).unwrap().short, Some(Shortage::Quota));
    shelf.take(&radiograph("1.1", "1").bytes());
}

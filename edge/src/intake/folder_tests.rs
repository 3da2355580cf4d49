use std::sync::Arc;

use bundle::{Policy, TrustedKeys, example, sign};
use hardware::clock::Clock;
use hardware::slots::simulated::Simulated;
use hardware::slots::{FileCounter, Slots};

use super::*;
use crate::appliance::Appliance;
use crate::daemon::gatekeeper::BundleGate;
use crate::daemon::shared::Shared;
use crate::store::Store;
use crate::store::config::StoreConfig;

/// A service around the folder that does nothing by itself.
fn around(state: &Path) -> Surroundings {
    let keys = TrustedKeys::new(vec![sign::generate(None).unwrap().public]);
    let gate = Arc::new(BundleGate::new(keys, Policy::default(), Appliance::here(&[])));
    let counter = Arc::new(FileCounter::new(Arc::new(Simulated::new(1))));
    let slots = Slots::open(Arc::new(Simulated::new(2)), &[example::manifest().role], gate, counter).unwrap();
    let clock = Clock::open(Arc::new(Simulated::new(3)), Duration::ZERO);
    let config = StoreConfig {
        reserve_megabytes: 1,
        ..StoreConfig::default()
    };
    let store = Store::open(state, config, Vec::new()).unwrap();
    Surroundings::new(Arc::new(store), Arc::new(Shared::new(slots, clock)))
}

#[test]
fn a_file_that_cannot_be_read_keeps_nobody_from_a_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (state, inbox) = (folder.path().join("state"), folder.path().join("inbox"));
    let around = around(&state);
    let mut intake = FolderIntake::open(&inbox, Duration::ZERO, Finished::Keep).unwrap();
    intake.open = Box::new(|path| match path.to_string_lossy().contains("MUELLER") {
        true => Err(io::Error::from_raw_os_error(5)),
        false => File::open(path),
    });
    // The one that fails is the oldest, and so the first.
    for name in ["MUELLER_HANS.dcm", "second.dcm", "third.dcm"] {
        fs::write(inbox.join(name), name).unwrap();
    }
    for _ in 0..2 {
        intake.pass(&around).unwrap();
    }
    assert_eq!(around.store.waiting().unwrap(), 2);
    let problem = intake.unread.problem().unwrap();
    assert!(
        problem.contains("16 bytes of 2") && problem.contains("cannot be read"),
        "{problem}"
    );
    assert!(!problem.contains("MUELLER"), "{problem}");
    fs::remove_file(inbox.join("MUELLER_HANS.dcm")).unwrap();
    intake.pass(&around).unwrap();
    assert_eq!(intake.unread.problem(), None);
    assert_eq!(intake.taken.len(), 2);
    fs::remove_file(inbox.join("second.dcm")).unwrap();
    intake.pass(&around).unwrap();
    assert!(
        intake.taken.keys().all(|path| path.ends_with("third.dcm")),
        "what is gone is forgotten"
    );
    assert_eq!(intake.taken.len(), 1);
}

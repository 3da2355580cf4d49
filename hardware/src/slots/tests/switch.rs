//! From a bootable image to the confirmed one, and back.

use std::slice;
use std::sync::Arc;

use super::toy::{self, Toy};
use crate::slots::simulated::Simulated;
use crate::slots::*;

fn disk() -> Arc<Simulated> {
    Arc::new(Simulated::new(7))
}

/// Image 1 confirmed, image 2 of a higher counter bootable.
fn updated(storage: &Arc<Simulated>) -> (Slots, Toy, Toy) {
    let (old, new) = (Toy::new(1, 2), Toy::new(2, 3));
    let mut slots = toy::open(storage.clone());
    toy::install(&mut slots, &old);
    toy::upload(&mut slots, &new);
    (slots, old, new)
}

fn load(slots: &mut Slots) -> Load {
    let start = slots.begin_start().remove(0);
    assert!(start.problem.is_none(), "{:?}", start.problem);
    start.load
}

fn cause(slots: &Slots) -> Option<Cause> {
    slots.setback(0).unwrap().map(|setback| setback.cause)
}

#[test]
fn the_life_of_an_update_on_a_real_folder() {
    let place = tempfile::tempdir().unwrap();
    let folder = || -> Arc<dyn Storage> { Arc::new(Folder::open(place.path().join("slots")).unwrap()) };
    let (old, new) = (Toy::new(1, 2), Toy::new(2, 3));
    let mut slots = toy::open(folder());
    assert_eq!(load(&mut slots), Load::Nothing);
    toy::install(&mut slots, &old);
    drop(slots);
    let mut slots = toy::open(folder());
    assert_eq!(load(&mut slots), Load::Confirmed(Side::A));
    toy::upload(&mut slots, &new);
    slots.request(&new.hash, false).unwrap();
    assert_eq!(slots.lowest_counter(0).unwrap(), 2);
    slots.stop_in_order().unwrap();
    drop(slots);
    let mut slots = toy::open(folder());
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    assert!(!slots.trial_passed(0).unwrap());
    let (state, was) = (toy::state(&slots, &new).unwrap(), toy::state(&slots, &old).unwrap());
    assert_eq!((state.slot, state.active, state.confirmed), (0, true, false));
    assert_eq!((was.slot, was.active, was.confirmed), (1, false, true));
    assert_eq!(
        (slots.count_good_result(0).unwrap(), slots.count_good_result(0).unwrap()),
        (1, 2)
    );
    slots.stop_in_order().unwrap();
    drop(slots);
    let mut slots = toy::open(folder());
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    slots.trial_passed(0).unwrap();
    let trial = Activity::Trial {
        phase: Phase::Serving,
        good_results: Some(2),
    };
    assert_eq!(slots.activity(0).unwrap(), trial);
    assert_eq!(slots.confirm(0).unwrap(), Confirmed::Now);
    assert_eq!(slots.lowest_counter(0).unwrap(), 3);
    // The old image stays until its place is needed, but is not bootable any more.
    let was = toy::state(&slots, &old).unwrap();
    assert!(!was.bootable);
    assert!(matches!(
        slots.request(&old.hash, false),
        Err(SlotError::Rollback { found: 2, lowest: 3 })
    ));
    drop(slots);
    let mut slots = toy::open(folder());
    assert_eq!(
        (load(&mut slots), slots.states()[0].hash),
        (Load::Confirmed(Side::B), new.hash)
    );
    assert!(slots.problems().is_empty());
}

#[test]
fn a_test_before_reading_back_is_kept_as_pending() {
    let disk = disk();
    let (old, new) = (Toy::new(1, 2), Toy::new(2, 3));
    let mut slots = toy::open(disk.clone());
    toy::install(&mut slots, &old);
    toy::send(&mut slots, &new.bytes, Some(&new.sha), 700).unwrap();
    slots.request(&new.hash, true).unwrap();
    let state = toy::state(&slots, &new).unwrap();
    assert!(state.pending && state.permanent && !state.bootable);
    // A restart comes first.
    slots.stop_in_order().unwrap();
    let mut slots = toy::open(disk.clone());
    assert_eq!(load(&mut slots), Load::Confirmed(Side::A));
    let pending = Outcome::Bootable { pending: true };
    assert_eq!(toy::verify(&mut slots, slice::from_ref(&new)), [pending]);
    slots.stop_in_order().unwrap();
    let mut slots = toy::open(disk.clone());
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    assert!(slots.trial_passed(0).unwrap());
    assert!(toy::state(&slots, &new).unwrap().confirmed);
}

#[test]
fn what_is_read_back_wrong_empties_the_slot() {
    let disk = disk();
    let (mut slots, _, _) = updated(&disk);
    let bad = Toy::new(3, 3);
    toy::send(&mut slots, &bad.bytes, Some(&bad.sha), 700).unwrap();
    slots.request(&bad.hash, false).unwrap();
    // The appliance does not find that toy among those it believes.
    assert!(matches!(toy::verify(&mut slots, &[])[..], [Outcome::Refused(_)]));
    assert_eq!(
        (cause(&slots), toy::state(&slots, &bad)),
        (Some(Cause::Verification), None)
    );
    assert_eq!(disk.length("chest-xray.b").unwrap(), None);
    assert_eq!(load(&mut slots), Load::Confirmed(Side::A));
    // The same file may come again from the beginning. It must also be the one that was received.
    toy::send(&mut slots, &bad.bytes, Some(&bad.sha), 700).unwrap();
    let verified = slots.verifications().remove(0).run(|_| Ok([0; 32]));
    assert!(matches!(
        slots.finish_verification(verified).unwrap(),
        Outcome::Refused(_)
    ));
    toy::upload(&mut slots, &bad);
}

#[test]
fn what_is_in_use_is_neither_written_nor_erased() {
    let disk = disk();
    let (mut slots, old, new) = updated(&disk);
    let other = Toy::new(3, 3);
    let untouched = |slots: &mut Slots| {
        let operations = disk.operations();
        let refused = toy::send(slots, &other.bytes, None, 700);
        assert!(matches!(refused, Err(SlotError::InUse { .. })), "{refused:?}");
        for slot in [None, Some(0), Some(1)] {
            assert!(slots.erase(0, slot).is_err());
        }
        assert_eq!(disk.operations(), operations);
    };
    slots.request(&new.hash, false).unwrap();
    untouched(&mut slots);
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    untouched(&mut slots);
    slots.trial_passed(0).unwrap();
    untouched(&mut slots);
    assert_eq!(
        slots.revert(0, Cause::Engineer, "no").unwrap(),
        Load::Confirmed(Side::A)
    );
    assert!(matches!(slots.erase(0, Some(0)), Err(SlotError::InUse { .. })));
    assert!(matches!(slots.erase(0, Some(2)), Err(SlotError::WrongState { .. })));
    slots.erase(0, None).unwrap();
    assert_eq!(slots.states().len(), 1);
    assert!(toy::state(&slots, &old).unwrap().confirmed);
    assert!(matches!(
        slots.request(&new.hash, false),
        Err(SlotError::NoSuchHash { .. })
    ));
}

#[test]
fn reverting_needs_no_working_storage() {
    let disk = disk();
    let (mut slots, _, new) = updated(&disk);
    slots.request(&new.hash, false).unwrap();
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    disk.cut_now();
    assert_eq!(
        slots.revert(0, Cause::SelfTest, "case 1").unwrap(),
        Load::Confirmed(Side::A)
    );
    assert_eq!((cause(&slots), slots.problems().len()), (Some(Cause::SelfTest), 1));
    assert!(slots.trial_passed(0).is_err());
    disk.restart();
    let mut slots = toy::open(disk.clone());
    assert_eq!(
        (load(&mut slots), cause(&slots)),
        (Load::Confirmed(Side::A), Some(Cause::Interrupted))
    );
}

#[test]
fn a_trial_that_cannot_be_written_down_does_not_begin() {
    let disk = disk();
    let (mut slots, _, new) = updated(&disk);
    slots.request(&new.hash, false).unwrap();
    disk.cut_now();
    let start = slots.begin_start().remove(0);
    assert_eq!(start.load, Load::Confirmed(Side::A));
    assert!(matches!(start.problem, Some(SlotError::Storage { .. })));
    disk.restart();
    assert_eq!(load(&mut toy::open(disk.clone())), Load::Trial(Side::B));
}

#[test]
fn a_confirmed_image_that_does_not_load_may_be_sent_again() {
    let disk = disk();
    let (mut slots, old, _) = updated(&disk);
    slots.erase(0, None).unwrap();
    disk.write_at("chest-xray.a", 300, b"rot").unwrap();
    assert_eq!(slots.fall_back(0, "block 0 is damaged").unwrap(), Load::Nothing);
    assert_eq!(cause(&slots), Some(Cause::Load));
    toy::upload(&mut slots, &old);
    slots.request(&old.hash, true).unwrap();
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    assert!(slots.trial_passed(0).unwrap());
}

#[test]
fn good_results_of_an_image_that_nobody_asked_for_do_not_count() {
    let disk = disk();
    let (mut slots, old, new) = updated(&disk);
    assert_eq!(slots.fall_back(0, "block 0 is damaged").unwrap(), Load::Trial(Side::B));
    assert!(!slots.trial_passed(0).unwrap());
    assert_eq!(slots.count_good_result(0).unwrap(), 0);
    let trial = Activity::Trial {
        phase: Phase::Serving,
        good_results: None,
    };
    assert_eq!(slots.activity(0).unwrap(), trial);
    assert!(!toy::state(&slots, &old).unwrap().bootable);
    slots.stop_in_order().unwrap();
    let mut slots = toy::open(disk.clone());
    assert_eq!(load(&mut slots), Load::Confirmed(Side::A));
    slots.loaded(0).unwrap();
    drop(slots);
    let mut slots = toy::open(disk.clone());
    assert!(toy::state(&slots, &old).unwrap().bootable);
    assert_eq!(slots.lowest_counter(0).unwrap(), 2);
    // An engineer may keep it all the same.
    slots.fall_back(0, "block 0 is damaged").unwrap();
    slots.trial_passed(0).unwrap();
    assert_eq!(slots.confirm(0).unwrap(), Confirmed::Now);
    assert!(toy::state(&slots, &new).unwrap().confirmed);
}

#[test]
fn a_file_that_ends_the_service_by_being_read_is_given_up() {
    let disk = disk();
    let (mut slots, _, _) = updated(&disk);
    let bad = Toy::new(3, 3);
    toy::send(&mut slots, &bad.bytes, Some(&bad.sha), 700).unwrap();
    for _ in 0..3 {
        slots = toy::open(disk.clone());
        assert_eq!(slots.verifications().len(), 1);
    }
    slots = toy::open(disk.clone());
    assert!(slots.verifications().is_empty());
    assert_eq!(
        (cause(&slots), load(&mut slots)),
        (Some(Cause::Verification), Load::Confirmed(Side::A))
    );
    toy::upload(&mut slots, &bad);
}

#[test]
fn without_its_record_an_appliance_tries_what_is_there() {
    for damage in [true, false] {
        let disk = disk();
        let (slots, old, new) = updated(&disk);
        drop(slots);
        for copy in ["chest-xray.state.0", "chest-xray.state.1"] {
            if damage {
                disk.write_at(copy, 20, b"????").unwrap()
            } else {
                disk.remove(copy).unwrap()
            }
        }
        let mut slots = toy::open(disk.clone());
        assert_eq!(
            (slots.verifications().len(), cause(&slots)),
            (2, Some(Cause::RecordLost))
        );
        let whole = Outcome::Bootable { pending: false };
        assert_eq!(
            toy::verify(&mut slots, &[old.clone(), new.clone()]),
            [whole.clone(), whole]
        );
        assert_eq!(load(&mut slots), Load::Trial(Side::B));
        // Image 2 fails its self-test, image 1 does not.
        assert_eq!(
            slots.revert(0, Cause::SelfTest, "case 1").unwrap(),
            Load::Trial(Side::A)
        );
        assert!(slots.trial_passed(0).unwrap());
        assert!(toy::state(&slots, &old).unwrap().confirmed);
        assert_eq!(slots.lowest_counter(0).unwrap(), 2);
    }
}

#[test]
fn a_record_of_which_one_copy_is_damaged_is_whole() {
    for copy in ["chest-xray.state.0", "chest-xray.state.1"] {
        let disk = disk();
        let (slots, _, new) = updated(&disk);
        let states = slots.states();
        disk.write_at(copy, 20, b"????").unwrap();
        let slots = toy::open(disk.clone());
        assert_eq!(slots.states(), states);
        assert!(toy::state(&slots, &new).unwrap().bootable);
        // And both copies are again.
        let (kept, _) = kept::Kept::open(disk.clone(), "chest-xray.state");
        assert!(kept.copies_agree());
    }
}

#[test]
fn the_counter_is_repaired_from_the_record_and_the_other_way() {
    let disk = disk();
    let (slots, _, _) = updated(&disk);
    drop(slots);
    for copy in ["chest-xray.counter.0", "chest-xray.counter.1"] {
        disk.remove(copy).unwrap();
    }
    let slots = toy::open(disk.clone());
    assert_eq!(slots.lowest_counter(0).unwrap(), 2);
    let counter = FileCounter::new(disk.clone());
    assert_eq!(counter.read(toy::ROLE).unwrap(), 2);
    counter.advance(toy::ROLE, 9).unwrap();
    let slots = toy::open(disk.clone());
    assert_eq!(slots.lowest_counter(0).unwrap(), 9);
    assert!(slots.states().iter().all(|state| !state.bootable));
}

#[test]
fn roles_have_pairs_of_their_own() {
    let disk = disk();
    let open = |roles: &[&str]| {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        Slots::open(
            disk.clone(),
            &roles,
            Arc::new(toy::ToyGate),
            Arc::new(FileCounter::new(disk.clone())),
        )
    };
    for roles in [&["a", "a"][..], &[""], &["../a"], &["A"], &["a", "b.c"]] {
        assert!(matches!(open(roles), Err(SlotError::Role { .. })), "{roles:?}");
    }
    let mut slots = open(&["ct", "mr"]).unwrap();
    let toy = Toy::new(1, 5);
    let chunk = |data| Chunk {
        image: 1,
        offset: 0,
        data,
        length: Some(toy.bytes.len() as u64),
        sha: None,
        upgrade: false,
    };
    assert_eq!(slots.upload(&chunk(&toy.bytes)).unwrap().offset, toy.bytes.len() as u64);
    toy::verify(&mut slots, slice::from_ref(&toy));
    slots.request(&toy.hash, true).unwrap();
    let loads: Vec<Load> = slots.begin_start().iter().map(|start| start.load).collect();
    assert_eq!(loads, [Load::Nothing, Load::Trial(Side::A)]);
    slots.trial_passed(1).unwrap();
    assert_eq!(
        (slots.lowest_counter(0).unwrap(), slots.lowest_counter(1).unwrap()),
        (0, 5)
    );
    assert_eq!(
        slots.states().iter().map(|s| (s.image, s.slot)).collect::<Vec<_>>(),
        [(1, 0)]
    );
}

#[test]
fn a_promise_made_during_the_self_test_is_shown_until_it_is_kept() {
    let storage = disk();
    let (mut slots, _, new) = updated(&storage);
    slots.request(&new.hash, false).unwrap();
    assert_eq!(load(&mut slots), Load::Trial(Side::B));
    let flags = |slots: &Slots| {
        let state = toy::state(slots, &new).unwrap();
        (state.active, state.permanent, state.confirmed)
    };
    assert_eq!(flags(&slots), (true, false, false));
    assert_eq!(slots.confirm(0).unwrap(), Confirmed::WhenPassed);
    assert_eq!(flags(&slots), (true, true, false));
    assert!(slots.trial_passed(0).unwrap());
    assert_eq!(flags(&slots), (true, false, true));
}

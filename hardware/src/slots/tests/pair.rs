//! The states of a pair, without any file.

use crate::slots::pair::*;
use crate::slots::record::tests::{image, valid};
use crate::slots::record::{Cause, Phase, Record, Side, Slot};

/// Image 3 confirmed on A, image 4 valid on B.
fn updated() -> Record {
    Record {
        slots: [valid(3), valid(4)],
        confirmed: Some(Side::A),
        highest_counter: 3,
        ..Record::default()
    }
}

fn on_trial(permanent: bool) -> Record {
    let mut record = updated();
    record.request(Side::B, permanent, 3).unwrap();
    assert_eq!(record.begin_start(3), Load::Trial(Side::B));
    record
}

fn serving() -> Record {
    let mut record = on_trial(false);
    assert_eq!(record.trial_passed(), Ok(false));
    record
}

fn cause(record: &Record) -> Option<Cause> {
    record.setback.as_ref().map(|setback| setback.cause)
}

#[test]
fn an_image_is_tried_and_confirmed() {
    let mut record = updated();
    assert_eq!((record.active(), record.logical(Side::B)), (Some(Side::A), 1));
    record.request(Side::B, false, 3).unwrap();
    assert_eq!(record.active(), Some(Side::A));
    assert_eq!(record.begin_start(3), Load::Trial(Side::B));
    assert_eq!(
        (record.active(), record.confirmed, record.logical(Side::B)),
        (Some(Side::B), Some(Side::A), 0)
    );
    assert_eq!(record.trial_passed(), Ok(false));
    assert_eq!(record.confirm(), Ok(Confirmed::Now));
    assert_eq!((record.active(), record.confirmed), (Some(Side::B), Some(Side::B)));
    assert_eq!((record.highest_counter, record.trial), (4, None));
    assert_eq!(record.begin_start(4), Load::Confirmed(Side::B));
    assert_eq!(record.target(), Ok(Side::A));
}

#[test]
fn a_permanent_request_confirms_itself_after_the_self_test() {
    let mut record = on_trial(true);
    assert_eq!(record.confirmed, Some(Side::A));
    assert_eq!(record.trial_passed(), Ok(true));
    assert_eq!(record.confirmed, Some(Side::B));
}

#[test]
fn a_confirmation_during_the_self_test_waits_for_it() {
    let mut record = on_trial(false);
    assert_eq!(record.confirm(), Ok(Confirmed::WhenPassed));
    assert_eq!((record.confirmed, record.highest_counter), (Some(Side::A), 3));
    assert_eq!(record.trial_passed(), Ok(true));
    assert_eq!((record.confirmed, record.highest_counter), (Some(Side::B), 4));
    let mut record = on_trial(false);
    record.confirm().unwrap();
    assert!(record.end_trial(Cause::SelfTest, "differs"));
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
}

#[test]
fn a_start_that_finds_a_trial_reverts_unless_it_was_stopped_in_order() {
    for mut record in [on_trial(false), on_trial(true), serving()] {
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
        assert_eq!((cause(&record), record.trial), (Some(Cause::Interrupted), None));
        assert_eq!(record.setback.as_ref().unwrap().version, "4.0.0");
        // The image stays, and may be tried again.
        record.request(Side::B, false, 3).unwrap();
        assert_eq!((record.begin_start(3), record.setback), (Load::Trial(Side::B), None));
    }
    let mut record = serving();
    record.trial.as_mut().unwrap().good_results = 7;
    assert!(record.stop_in_order());
    assert_eq!(record.begin_start(3), Load::Trial(Side::B));
    assert_eq!(
        record.trial.map(|t| (t.phase, t.good_results)),
        Some((Phase::Loading, 7))
    );
    // This start, too, must reach the end of the self-test.
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
}

#[test]
fn a_stop_in_the_self_test_is_no_reason_to_go_on() {
    let mut record = on_trial(false);
    assert!(record.stop_in_order());
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    // It is not taken for a crash.
    let setback = record.setback.as_ref().unwrap();
    assert_eq!(setback.cause, Cause::Interrupted);
    assert!(setback.message.contains("was stopped"), "{}", setback.message);
    assert!(!updated().stop_in_order());
}

#[test]
fn asking_for_the_confirmed_image_takes_back() {
    let mut record = updated();
    record.request(Side::B, true, 3).unwrap();
    record.request(Side::A, false, 3).unwrap();
    assert_eq!(
        (record.request, record.begin_start(3)),
        (None, Load::Confirmed(Side::A))
    );
    let mut record = serving();
    record.request(Side::A, false, 3).unwrap();
    assert_eq!(record.active(), Some(Side::B));
    record.stop_in_order();
    assert_eq!(
        (record.begin_start(3), cause(&record)),
        (Load::Confirmed(Side::A), Some(Cause::Engineer))
    );
    // Asked for once more, the trial goes on.
    let mut record = serving();
    record.request(Side::A, false, 3).unwrap();
    record.request(Side::B, false, 3).unwrap();
    record.stop_in_order();
    assert_eq!(record.begin_start(3), Load::Trial(Side::B));
}

#[test]
fn revert_gives_what_to_serve_and_keeps_the_reason() {
    for cause in [Cause::Load, Cause::SelfTest, Cause::Results, Cause::Engineer] {
        let mut record = serving();
        assert!(record.end_trial(cause, &"x".repeat(9999)));
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
        let setback = record.setback.unwrap();
        assert_eq!((setback.cause, setback.message.len()), (cause, 500));
    }
    let mut record = updated();
    assert!(!record.end_trial(Cause::Engineer, ""));
    assert!(record.withdraw().is_err());
    record.request(Side::B, false, 3).unwrap();
    assert_eq!((record.withdraw(), record.request), (Ok(()), None));
}

#[test]
fn what_is_used_or_asked_for_is_not_written_to() {
    let mut record = updated();
    assert_eq!(record.target(), Ok(Side::B));
    assert_eq!(
        (record.writable(Side::A), record.erasable(Side::A)),
        (Err(IS_CONFIRMED), Err(IS_ACTIVE))
    );
    record.request(Side::B, false, 3).unwrap();
    assert_eq!(record.target(), Err((Side::B, IS_PENDING)));
    record.begin_start(3);
    for side in Side::BOTH {
        assert_eq!(record.writable(side), Err(TRIAL_RUNS));
        assert!(record.erasable(side).is_err());
    }
    let mut first = Record {
        slots: [Slot::Empty, valid(1)],
        ..Record::default()
    };
    assert_eq!(first.target(), Ok(Side::A));
    first.request(Side::B, false, 0).unwrap();
    assert_eq!(first.target(), Ok(Side::A));
}

#[test]
fn nothing_below_the_counter_is_tried() {
    let mut record = updated();
    assert_eq!(
        record.request(Side::B, false, 5),
        Err(Unfit::Rollback { found: 4, lowest: 5 })
    );
    record.request(Side::B, false, 4).unwrap();
    assert_eq!(record.begin_start(5), Load::Confirmed(Side::A));
    assert_eq!((cause(&record), record.request), (Some(Cause::Rollback), None));
    // What is confirmed is served whatever the counter says: there is nothing better.
    assert_eq!(updated().begin_start(99), Load::Confirmed(Side::A));
}

#[test]
fn a_request_waits_until_the_image_was_read_back() {
    let mut record = updated();
    *record.slot_mut(Side::B) = Slot::Received {
        image: image(4),
        starts: 0,
    };
    record.request(Side::B, true, 3).unwrap();
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    assert!(record.request.is_some());
    *record.slot_mut(Side::B) = valid(4);
    assert_eq!(record.begin_start(3), Load::Trial(Side::B));
}

#[test]
fn a_confirmed_image_that_does_not_load_is_not_the_end() {
    let mut record = updated();
    *record.slot_mut(Side::B) = valid(3);
    assert_eq!(record.fall_back("damaged", 3), Load::Trial(Side::B));
    assert_eq!((record.confirmed, cause(&record)), (Some(Side::A), Some(Cause::Load)));
    assert_eq!(record.slot(Side::A).valid(), None);
    // It is not what anybody asked for: the next start tries the confirmed one first, however this one ended.
    for end in [false, true] {
        record.trial_passed().unwrap();
        if end {
            assert!(record.stop_in_order());
        }
        assert_eq!(
            (record.begin_start(3), cause(&record)),
            (Load::Confirmed(Side::A), Some(Cause::Load))
        );
        assert_eq!(record.fall_back("damaged", 3), Load::Trial(Side::B));
    }
    let mut record = updated();
    *record.slot_mut(Side::B) = valid(2);
    assert_eq!(record.fall_back("damaged", 3), Load::Nothing);
}

#[test]
fn what_was_taken_back_is_no_rescue_until_somebody_asks_for_it() {
    for cause in [Cause::SelfTest, Cause::Results, Cause::Engineer] {
        let mut record = on_trial(false);
        record.end_trial(cause, "");
        assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
        let rejected = record.clone();
        assert_eq!(record.fall_back("damaged", 3), Load::Nothing, "{cause:?}");
        let mut record = rejected;
        record.request(Side::B, false, 3).unwrap();
        record.withdraw().unwrap();
        assert_eq!(record.fall_back("damaged", 3), Load::Trial(Side::B), "{cause:?}");
    }
    // An interruption says nothing about the image.
    let mut record = serving();
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    assert_eq!(record.fall_back("damaged", 3), Load::Trial(Side::B));
    // A rescue that fails is not tried again.
    record.end_trial(Cause::SelfTest, "");
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    assert_eq!(record.fall_back("damaged", 3), Load::Nothing);
}

#[test]
fn a_confirmed_image_that_loads_again_is_not_damaged() {
    let mut record = updated();
    assert!(!record.loaded());
    record.fall_back("no memory", 3);
    assert_eq!(record.begin_start(3), Load::Confirmed(Side::A));
    assert_eq!(record.slot(Side::A).valid(), None);
    assert!(record.loaded());
    assert!(record.slot(Side::A).valid().is_some() && record.setback.is_none());
    // What else went wrong stays known.
    let mut record = on_trial(false);
    record.end_trial(Cause::Load, "no memory");
    assert!(!record.loaded());
    assert_eq!(cause(&record), Some(Cause::Load));
}

#[test]
fn without_a_record_each_image_is_tried_once() {
    let lost = Record {
        slots: [valid(3), valid(4)],
        salvage: Some([false; 2]),
        ..Record::default()
    };
    let mut record = lost.clone();
    assert_eq!(record.begin_start(3), Load::Trial(Side::B));
    record.end_trial(Cause::SelfTest, "");
    assert_eq!(record.begin_start(3), Load::Trial(Side::A));
    assert_eq!(record.trial_passed(), Ok(true));
    assert_eq!((record.confirmed, record.salvage), (Some(Side::A), None));
    let mut record = lost.clone();
    assert_eq!(record.begin_start(4), Load::Trial(Side::B));
    assert_eq!(record.begin_start(4), Load::Nothing);
    assert_eq!(record.target(), Ok(Side::B));
    let mut record = lost.clone();
    record.begin_start(3);
    record.end_trial(Cause::SelfTest, "");
    assert_eq!((record.begin_start(4), record.target()), (Load::Nothing, Ok(Side::B)));
}

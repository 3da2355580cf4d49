//! What waits: order, mishaps, and when to give up.

use scanside_edge::store::images::{GivenUp, ImageState};
use scanside_edge::store::queue::{FAULTS_TO_GIVE_UP, ForWhom, INTERRUPTIONS_TO_GIVE_UP};

use crate::{CLEAR, Said, Shelf, config, radiograph};

fn three(shelf: &Shelf) -> Vec<i64> {
    let take = |n| shelf.take(&radiograph(&format!("{n}.1"), &format!("{n}")).bytes());
    (1..=3).map(take).collect()
}

fn next(shelf: &Shelf) -> Option<i64> {
    shelf.store.next_waiting(&[]).unwrap().map(|waiting| waiting.image)
}

#[test]
fn images_wait_in_the_order_of_their_arrival_and_urgent_ones_go_first() {
    let shelf = Shelf::new();
    let images = three(&shelf);
    assert_eq!(next(&shelf), Some(images[0]));
    let urgent = Said {
        priority: "STAT",
        ..radiograph("9.1", "9")
    };
    let urgent = shelf.take(&urgent.bytes());
    let first = shelf.store.next_waiting(&[]).unwrap().unwrap();
    assert!(first.urgent && first.image == urgent && first.arrived.is_some());
    assert_eq!(first.modality.as_deref(), Some("DX"));
    let second = shelf.store.next_waiting(&[urgent]).unwrap().unwrap();
    assert_eq!(second.image, images[0]);
    assert_eq!(
        shelf
            .store
            .next_waiting(&[urgent, images[0], images[1]])
            .unwrap()
            .unwrap()
            .image,
        images[2]
    );
    for image in [urgent, images[0], images[1], images[2]] {
        assert_eq!(next(&shelf), Some(image));
        shelf.judge(image, CLEAR);
    }
    assert_eq!(next(&shelf), None);
}

#[test]
fn an_image_that_ends_the_service_steps_back_and_is_given_up_at_last() {
    let mut shelf = Shelf::new();
    let images = three(&shelf);
    for interruption in 1..=INTERRUPTIONS_TO_GIVE_UP {
        shelf.store.note_examining(&[images[0]]).unwrap();
        shelf = shelf.reopen(config());
        shelf.store.recover(shelf.now).unwrap();
        let wanted = if interruption < 2 { images[0] } else { images[1] };
        assert_eq!(next(&shelf), Some(wanted), "after {interruption}");
    }
    let given_up = shelf.store.image(images[0]).unwrap().unwrap();
    assert_eq!(given_up.state, ImageState::Failed);
    assert_eq!(given_up.given_up, Some(GivenUp::EndedTheService));
    assert!(given_up.problem.unwrap().contains("ended while"));
    let case = shelf.store.case_of_image(images[0]).unwrap().unwrap();
    assert_eq!((case.images.failed, case.settled.is_some()), (1, true));
    // The same interruption does not count twice.
    shelf.store.recover(shelf.now).unwrap();
    assert_eq!(shelf.store.waiting().unwrap(), 2);
}

#[test]
fn an_image_is_given_up_only_while_the_model_does_well_on_others() {
    let mut shelf = Shelf::new();
    let images = three(&shelf);
    for _ in 0..FAULTS_TO_GIVE_UP * 3 {
        assert!(
            !shelf
                .store
                .record_fault(images[0], "the model failed", shelf.now)
                .unwrap()
        );
    }
    assert_eq!(next(&shelf), Some(images[1]), "it does not hold up the others");
    shelf.pass(1);
    shelf.judge(images[1], CLEAR);
    assert!(
        shelf
            .store
            .record_fault(images[0], "the model failed", shelf.now)
            .unwrap()
    );
    let record = shelf.store.image(images[0]).unwrap().unwrap();
    assert_eq!(
        (record.state, record.given_up, record.problem.as_deref()),
        (ImageState::Failed, Some(GivenUp::ModelFailed), Some("the model failed"))
    );
    assert!(!shelf.store.record_fault(images[0], "again", shelf.now).unwrap());
}

#[test]
fn an_image_that_no_model_is_for_is_kept_and_waits_no_longer() {
    let shelf = Shelf::new();
    let images = three(&shelf);
    shelf
        .store
        .leave_without_model(images[0], ForWhom::Nobody, shelf.now)
        .unwrap();
    assert_eq!(next(&shelf), Some(images[1]));
    let record = shelf.store.image(images[0]).unwrap().unwrap();
    assert!(record.state == ImageState::NoModel && record.file.is_some_and(|file| file.exists()));
    let case = shelf.store.case_of_image(images[0]).unwrap().unwrap();
    assert_eq!((case.images.no_model, case.summary), (1, None));
    assert!(!shelf.judge(images[0], CLEAR));
}

#[test]
fn an_image_that_was_left_for_want_of_a_model_waits_again_once_there_is_one() {
    let shelf = Shelf::new();
    let images = three(&shelf);
    for (image, whom) in [(images[0], ForWhom::RoleWithoutModel), (images[1], ForWhom::Nobody)] {
        shelf.store.leave_without_model(image, whom, shelf.now).unwrap();
    }
    assert_eq!(next(&shelf), Some(images[2]));
    let before = shelf.store.case_of_image(images[0]).unwrap().unwrap();
    assert_eq!(shelf.store.examine_unserved(shelf.now).unwrap(), 1);
    assert_eq!(next(&shelf), Some(images[0]));
    let after = shelf.store.case_of_image(images[0]).unwrap().unwrap();
    assert!(after.images.no_model < before.images.no_model);
    assert!(shelf.judge(images[0], CLEAR));
    let other = shelf.store.image(images[1]).unwrap().unwrap();
    assert_eq!(other.state, ImageState::NoModel);
    assert_eq!(shelf.store.examine_unserved(shelf.now).unwrap(), 0, "once");
}

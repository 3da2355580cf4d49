//! Every image exactly once.

use std::fs;
use std::sync::Barrier;

use scanside_edge::intake::arrival::{AcceptError, Accepted, Acceptor, Origin, Room};
use scanside_edge::store::cases::CaseKind;

use crate::{CLEAR, Said, Shelf, config, radiograph, slice};

#[test]
fn an_image_has_its_place_its_case_and_its_number() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    assert!(shelf.files("incoming").is_empty());
    let record = shelf.store.image(image).unwrap().unwrap();
    assert_eq!((record.key.as_str(), record.member), ("1.1", 1));
    assert_eq!(record.origin, "dicom SCANNER 10.0.0.1");
    assert_eq!(fs::read(record.file.unwrap()).unwrap(), radiograph("1.1", "1").bytes());
    let case = shelf.store.case_of_image(image).unwrap().unwrap();
    assert_eq!((case.number.as_str(), case.kind), ("260314-0001", CaseKind::Study));
    assert_eq!((case.images.waiting, case.summary), (1, None));
    assert_eq!(case.modality.as_deref(), Some("DX"));
}

#[test]
fn a_repeated_push_is_recognised_before_and_after_the_result() {
    let shelf = Shelf::new();
    let bytes = radiograph("1.1", "1").bytes();
    let image = shelf.take(&bytes);
    let again = shelf.try_take(&bytes).unwrap();
    assert_eq!(
        (again.image, again.accepted, again.finished),
        (image, Accepted::Known, false)
    );
    shelf.judge(image, CLEAR);
    let again = shelf.try_take(&bytes).unwrap();
    assert_eq!((again.accepted, again.finished), (Accepted::Known, true));
    assert!(!shelf.judge(image, CLEAR), "nothing is done twice");
    assert_eq!(shelf.files("images").len(), 1);
    assert!(shelf.files("incoming").is_empty());
    assert_eq!(shelf.store.waiting().unwrap(), 0);
}

#[test]
fn the_same_uid_with_another_content_is_another_image() {
    let shelf = Shelf::new();
    let first = radiograph("1.1", "1");
    let image = shelf.take(&first.bytes());
    let other = Said {
        pixels: 9,
        ..first.clone()
    };
    let taken = shelf.try_take(&other.bytes()).unwrap();
    assert_eq!(taken.accepted, Accepted::New);
    assert_ne!(taken.image, image);
    for (image, said) in [(image, &first), (taken.image, &other)] {
        let file = shelf.store.image(image).unwrap().unwrap().file.unwrap();
        assert_eq!(fs::read(file).unwrap(), said.bytes());
        assert!(shelf.judge(image, CLEAR));
    }
    // Both are recognised from then on.
    for said in [&first, &other] {
        assert_eq!(shelf.try_take(&said.bytes()).unwrap().accepted, Accepted::Known);
    }
    assert_eq!(shelf.files("images").len(), 2);
    assert_eq!(differing(&shelf), 1);
}

#[test]
fn images_of_two_patients_are_two_cases_whatever_their_study_says() {
    let shelf = Shelf::new();
    let of = |uid: &str, id: &'static str| Said {
        id,
        name: if id.is_empty() { "" } else { "Meier^Anna" },
        ..radiograph(uid, "1")
    };
    let case = |said: &Said| {
        let image = shelf.take(&said.bytes());
        shelf.store.case_of_image(image).unwrap().unwrap().id
    };
    let [nobody, anna] = [case(&of("1", "")), case(&of("2", "A-1"))];
    assert_eq!(nobody, anna, "an image that names nobody belongs to its study");
    let berta = case(&of("3", "B-2"));
    assert_ne!(berta, anna);
    assert_eq!(case(&of("4", " a-1 ")), anna);
    assert_eq!(case(&of("5", "B-2")), berta);
}

#[test]
fn the_sender_is_no_part_of_an_image() {
    let shelf = Shelf::new();
    let bytes = radiograph("1.1", "1").bytes();
    shelf.take(&bytes);
    // The file meta information names who sent it; here its group length and version differ.
    let mut other = bytes.clone();
    let version = other.windows(4).position(|w| w == [2, 0, 1, 0]).unwrap();
    other[version + 12] = 7;
    assert_ne!(bytes, other);
    shelf.try_take(&other).unwrap();
    assert_eq!(differing(&shelf), 0);
}

fn differing(shelf: &Shelf) -> i64 {
    let sql = "SELECT count(*) FROM audit WHERE event = 'image-differs'";
    shelf.tool().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn files_without_a_uid_are_known_by_their_content() {
    let shelf = Shelf::new();
    let arrive = |bytes: &[u8]| {
        let mut arrival = shelf.incoming(bytes);
        arrival.origin = Origin::Folder { name: "a.png".into() };
        shelf.store.take_in(&arrival).unwrap()
    };
    let first = arrive(b"some picture");
    assert_eq!(arrive(b"some picture").image, first.image);
    let second = arrive(b"another picture");
    assert_ne!(second.image, first.image);
    let record = shelf.store.image(first.image).unwrap().unwrap();
    assert!(record.key.starts_with("sha256:"), "{}", record.key);
    let cases = shelf.store.cases(0, 10).unwrap();
    let numbers: Vec<_> = cases.iter().map(|case| (case.number.as_str(), case.kind)).collect();
    assert_eq!(
        numbers,
        [("260314-0002", CaseKind::Single), ("260314-0001", CaseKind::Single)]
    );
}

#[test]
fn radiographs_gather_by_study_and_slices_by_series() {
    let shelf = Shelf::new();
    for image in [
        radiograph("1.1", "1"),
        radiograph("1.2", "1"),
        radiograph("2.1", "2"),
        slice("3.1", "3"),
        slice("3.2", "3"),
        slice("4.1", "4"),
    ] {
        shelf.take(&image.bytes());
    }
    let cases = shelf.store.cases(0, 10).unwrap();
    let found: Vec<_> = cases
        .iter()
        .rev()
        .map(|case| (case.kind, case.images.waiting))
        .collect();
    use CaseKind::{Series, Study};
    assert_eq!(found, [(Study, 2), (Study, 1), (Series, 2), (Series, 1)]);
    let members = shelf.store.case(&cases[3].number).unwrap().members;
    assert_eq!(members.iter().map(|image| image.member).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn what_a_scanner_sends_broken_is_refused_and_its_file_stays_the_senders() {
    let shelf = Shelf::new();
    let bytes = radiograph("1.1", "1").bytes();
    let arrival = shelf.incoming(&bytes[..220]);
    assert!(matches!(shelf.store.take_in(&arrival), Err(AcceptError::Broken(_))));
    assert!(arrival.path.exists());
    let mut arrival = shelf.incoming(&bytes);
    arrival.known.sop_instance_uid = Some("1.7".into());
    assert!(matches!(shelf.store.take_in(&arrival), Err(AcceptError::Broken(_))));
    // From a folder it is a case that says so.
    let mut arrival = shelf.incoming(&bytes[..220]);
    arrival.origin = Origin::Folder { name: "x".into() };
    assert_eq!(shelf.store.take_in(&arrival).unwrap().accepted, Accepted::New);
}

#[test]
fn a_full_queue_and_a_full_disk_push_back() {
    let mut config = config();
    config.queue = 2;
    let shelf = Shelf::with(config.clone(), Vec::new());
    let images: Vec<_> = (0..2)
        .map(|n| shelf.take(&radiograph(&format!("1.{n}"), "1").bytes()))
        .collect();
    assert_eq!(shelf.store.room(), Room::QueueFull);
    let refused = shelf.incoming(&radiograph("1.9", "1").bytes());
    assert!(matches!(
        shelf.store.take_in(&refused),
        Err(AcceptError::Busy { waiting: 2 })
    ));
    assert!(refused.path.exists());
    let known = shelf.try_take(&radiograph("1.0", "1").bytes()).unwrap();
    assert_eq!(known.accepted, Accepted::Known, "what is there needs no room");
    shelf.judge(images[0], CLEAR);
    assert_eq!(shelf.store.room(), Room::Free);
    config.reserve_megabytes = 1_000_000;
    let shelf = shelf.reopen(config);
    assert_eq!(shelf.store.room(), Room::DiskFull);
    assert!(matches!(
        shelf.try_take(&radiograph("1.9", "1").bytes()),
        Err(AcceptError::DiskFull(_))
    ));
}

#[test]
fn senders_that_push_the_same_images_at_once_make_one_of_each() {
    let shelf = Shelf::new();
    let (threads, images) = (4, 12);
    let barrier = Barrier::new(threads);
    let new: usize = std::thread::scope(|scope| {
        let push = || {
            barrier.wait();
            let new = |n: &usize| {
                let bytes = radiograph(&format!("1.{n}"), "1").bytes();
                shelf.try_take(&bytes).unwrap().accepted == Accepted::New
            };
            (0..images).filter(new).count()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(push)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(new, images);
    assert_eq!(shelf.store.waiting().unwrap(), images as u64);
    assert_eq!(shelf.files("images").len(), images);
    assert!(shelf.files("incoming").is_empty() && shelf.is_sound());
}

#[test]
fn numbers_begin_anew_each_day_and_none_comes_twice() {
    let mut shelf = Shelf::new();
    fs::write(shelf.store.folders().results().join("260314-0041.json"), "{}").unwrap();
    shelf.take(&radiograph("1.1", "1").bytes());
    shelf.take(&radiograph("2.1", "2").bytes());
    shelf.pass(86_400);
    shelf.take(&radiograph("3.1", "3").bytes());
    let numbers: Vec<_> = shelf
        .store
        .cases(0, 9)
        .unwrap()
        .into_iter()
        .map(|case| case.number)
        .collect();
    assert_eq!(numbers, ["260315-0001", "260314-0043", "260314-0042"]);
}

//! Whatever ended the service, a start puts files and rows in order.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use scanside_edge::intake::arrival::Accepted;
use scanside_edge::outbox::Kind;
use scanside_edge::store::Store;
use scanside_edge::store::audit::{Event, NoHead, verify};
use scanside_edge::store::images::ImageState;
use scanside_edge::store::startup::Found;

use crate::{Said, Shelf, config, radiograph};

#[test]
fn what_nobody_heard_of_is_removed_and_what_was_accepted_stays() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    // A power cut between the file's place and its row, one within a file, and one before an object's row.
    for stray in [
        "images/no-row",
        "incoming/half.part",
        "incoming/whole",
        "outbox/no-row",
        "pictures/no-row",
    ] {
        fs::write(shelf.folder.path().join(stray), "x").unwrap();
    }
    let shelf = shelf.reopen(config());
    let found = shelf.store.recover(shelf.now).unwrap();
    assert_eq!(
        found,
        Found {
            waiting: 1,
            removed: 5,
            lost: 0
        }
    );
    assert_eq!(shelf.store.next_waiting(&[]).unwrap().unwrap().image, image);
    assert_eq!(shelf.store.recover(shelf.now).unwrap().removed, 0);
}

#[test]
fn an_image_whose_file_is_gone_is_told_and_holds_nothing_up() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    fs::remove_file(shelf.store.image(image).unwrap().unwrap().file.unwrap()).unwrap();
    assert_eq!(shelf.store.recover(shelf.now).unwrap().lost, 1);
    let record = shelf.store.image(image).unwrap().unwrap();
    assert_eq!(record.state, ImageState::Failed);
    assert!(record.problem.unwrap().contains("send it again"));
    let again = shelf.try_take(&radiograph("1.1", "1").bytes()).unwrap();
    assert_eq!(
        (again.image, again.accepted, again.finished),
        (image, Accepted::New, false)
    );
    let record = shelf.store.image(image).unwrap().unwrap();
    assert_eq!((record.state, record.problem), (ImageState::Waiting, None));
    assert!(record.file.unwrap().is_file());
    assert_eq!(shelf.store.waiting().unwrap(), 1);
}

/// As a power cut leaves it between an image's row and the moment when file and row are known to be on the medium.
fn in_doubt(shelf: &Shelf, image: i64) {
    let sql = "UPDATE images SET durable = 0 WHERE id = ?";
    shelf.tool().execute(sql, [image]).unwrap();
}

fn tear(shelf: &Shelf, image: i64) {
    let file = shelf.store.image(image).unwrap().unwrap().file.unwrap();
    let length = fs::metadata(&file).unwrap().len();
    fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
}

#[test]
fn what_a_power_cut_left_in_doubt_stays_if_it_is_whole() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    in_doubt(&shelf, image);
    let found = shelf.store.recover(shelf.now).unwrap();
    assert_eq!((found.waiting, found.removed, found.lost), (1, 0, 0));
    assert_eq!(shelf.store.next_waiting(&[]).unwrap().unwrap().image, image);
    let doubtful: i64 = shelf
        .tool()
        .query_row("SELECT count(*) FROM images WHERE durable = 0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(doubtful, 0);
}

#[test]
fn what_a_power_cut_tore_before_success_goes_and_may_come_again() {
    let shelf = Shelf::new();
    let [torn, kept] = ["1.1", "1.2"].map(|uid| shelf.take(&radiograph(uid, "1").bytes()));
    let alone = shelf.take(&radiograph("2.1", "2").bytes());
    shelf.judge(kept, crate::CLEAR);
    for image in [torn, alone] {
        in_doubt(&shelf, image);
        tear(&shelf, image);
    }
    assert_eq!(shelf.store.recover(shelf.now).unwrap().removed, 2);
    assert_eq!((shelf.store.waiting().unwrap(), shelf.files("images").len()), (0, 1));
    assert!(
        shelf.store.case_of_image(alone).unwrap().is_none(),
        "it was alone in its case"
    );
    let case = shelf.store.case_of_image(kept).unwrap().unwrap();
    assert_eq!((case.images.waiting, case.images.done), (0, 1));
    let connection = scanside_edge::store::open_reader(shelf.folder.path()).unwrap();
    assert!(verify(&connection, Err(NoHead::Absent)).unwrap().problems.is_empty());
    for uid in ["1.1", "2.1"] {
        let study = &uid[..1];
        shelf.take(&radiograph(uid, study).bytes());
    }
    assert_eq!(shelf.store.waiting().unwrap(), 2);
}

#[test]
fn a_result_outlives_the_file_that_a_power_cut_tore() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, crate::CLEAR);
    in_doubt(&shelf, image);
    tear(&shelf, image);
    shelf.store.recover(shelf.now).unwrap();
    let record = shelf.store.image(image).unwrap().unwrap();
    assert_eq!((record.state, record.file), (ImageState::Done, None));
    assert_eq!(shelf.store.results_of_image(image).unwrap().len(), 1);
}

#[test]
fn a_damaged_database_is_put_aside_and_a_new_one_begun() {
    let shelf = Shelf::new();
    shelf.take(&radiograph("1.1", "1").bytes());
    let head = shelf.store.audit_head().unwrap();
    let Shelf { folder, store, now, .. } = shelf;
    drop(store);
    let path = folder.path().join("store.sqlite");
    fs::write(&path, vec![0x5a; 8192]).unwrap();
    let (store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, Some(&head)).unwrap();
    let aside = aside.expect("the damaged file");
    assert_eq!(fs::read(aside).unwrap(), vec![0x5a; 8192]);
    assert_eq!(store.waiting().unwrap(), 1, "the image that was there is taken in anew");
    assert_eq!(store.recover(now).unwrap().removed, 0);
    let connection = scanside_edge::store::open_reader(folder.path()).unwrap();
    let event: String = connection
        .query_row("SELECT event FROM audit WHERE seq = 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(event, Event::StoreRenewed.text());
    let found = verify(&connection, Ok(head)).unwrap();
    assert_eq!(found.problems.len(), 1, "the old head does not fit: {found:?}");
    let (_store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, None).unwrap();
    assert_eq!(aside, None, "a sound one stays");
}

/// The store of a shelf with a new database in place of its damaged one.
fn renewed(shelf: Shelf, now: DateTime<Utc>) -> (tempfile::TempDir, Store) {
    let Shelf { folder, store, .. } = shelf;
    drop(store);
    fs::write(folder.path().join("store.sqlite"), vec![0x5a; 8192]).unwrap();
    let (store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, None).unwrap();
    assert!(aside.is_some());
    (folder, store)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_unsent_is_sent_by_a_new_database_and_what_is_unknown_is_put_aside() {
    let shelf = Shelf::new();
    let report = Said {
        modality: "SR",
        ..radiograph("2.25.7", "1")
    };
    let class = "1.2.840.10008.5.1.4.1.1.88.34";
    let bytes = report.bytes_of(class);
    shelf.store.write_object("2.25.7", &bytes).unwrap();
    let json = serde_json::to_vec(&crate::found("260314-0007", &crate::CLEAR)).unwrap();
    shelf.store.write_object("260314-0007-2.json", &json).unwrap();
    fs::write(shelf.store.folders().outbox().join("stray"), "x").unwrap();
    // An image without a place among the others: a folder stands there.
    let image = radiograph("1.1", "1").bytes();
    let name = {
        let taken = shelf.take(&image);
        let path = shelf.store.image(taken).unwrap().unwrap().file.unwrap();
        path.file_name().unwrap().to_owned()
    };
    let images = shelf.store.folders().images();
    fs::rename(images.join(&name), images.join("moved")).unwrap();
    fs::create_dir_all(images.join(&name).join("in the way")).unwrap();
    let now = shelf.now;
    let (folder, store) = renewed(shelf, now);
    for _ in 0..2 {
        store.recover(now).unwrap();
        let due = store.due_objects(&Kind::ALL, now, 9).unwrap();
        let due: Vec<_> = due
            .iter()
            .map(|entry| (entry.case_number.as_str(), entry.kind, entry.object.as_deref().unwrap()))
            .collect();
        let expected = [
            ("260314-unsent", Kind::StructuredReport, "2.25.7"),
            ("260314-unsent", Kind::Json, "260314-0007-2.json"),
        ];
        assert!(
            expected.iter().all(|one| due.contains(one)) && due.len() == 2,
            "{due:?}"
        );
    }
    assert_eq!(store.object_bytes("2.25.7").unwrap(), bytes);
    assert_eq!(store.latest_cases(9).unwrap(), [], "there is nothing to look at");
    let aside = folder.path().join("store.sqlite.damaged-260314-120000.files");
    assert_eq!(names(&aside), ["moved", "stray"]);
    store.object_sent("2.25.7", now, None).unwrap();
    assert_eq!(store.outbox_counts().unwrap().sent, 1);
}

#[test]
fn a_start_that_was_cut_while_it_renewed_goes_on_with_the_next_one() {
    let shelf = Shelf::new();
    let first = shelf.take(&radiograph("1.1", "1").bytes());
    let now = shelf.now;
    let (folder, store) = renewed(shelf, now);
    // As if the power had gone between the images: one more is there that no row names.
    drop(store);
    let images = folder.path().join("images");
    fs::write(images.join("second"), radiograph("1.2", "1").bytes()).unwrap();
    fs::write(folder.path().join("store.renewing"), "").unwrap();
    let (store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, None).unwrap();
    assert_eq!((aside, store.waiting().unwrap()), (None, 2));
    assert!(
        store.image(first).unwrap().unwrap().file.unwrap().exists(),
        "it is not taken in twice"
    );
    assert_eq!(store.recover(now).unwrap().removed, 0);
}

#[test]
fn of_many_damaged_databases_the_last_ones_are_kept() {
    let mut shelf = Shelf::new();
    for _ in 0..5 {
        shelf.pass(3600);
        let now = shelf.now;
        let (folder, store) = renewed(shelf, now);
        shelf = Shelf::of(folder, store, now);
    }
    let kept = names(shelf.folder.path());
    let kept: Vec<_> = kept.iter().filter(|name| name.contains(".damaged-")).collect();
    let expected = ["150000", "160000", "170000"].map(|time| format!("store.sqlite.damaged-260314-{time}"));
    assert_eq!(kept, expected.iter().collect::<Vec<_>>());
}

/// A page of the table of images that makes no sense, as a failing medium leaves it.
#[test]
fn damage_that_a_run_came_upon_is_looked_for_by_the_next_start() {
    let shelf = Shelf::new();
    for n in 0..40 {
        shelf.take(&radiograph(&format!("1.{n}"), "1").bytes());
    }
    let root: i64 = shelf
        .tool()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'images'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let Shelf { folder, store, now, .. } = shelf;
    drop(store);
    let path = folder.path().join("store.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let page = (root as usize - 1) * 4096;
    bytes[page..page + 4096].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let (store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, None).unwrap();
    assert_eq!(aside, None, "opening does not see it");
    let error = store.next_waiting(&[]).unwrap_err();
    assert!(error.is_damaged(), "{error}");
    store.suspect();
    drop(store);
    let (store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, None).unwrap();
    assert!(aside.is_some());
    assert_eq!(store.waiting().unwrap(), 40);
    drop(store);
    let (_store, aside) = Store::open_or_renew(folder.path(), config(), vec![], now, None).unwrap();
    assert_eq!(aside, None, "the suspicion is over");
}

#[test]
fn a_file_that_went_before_its_row_knew_is_forgotten() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, crate::CLEAR);
    fs::remove_file(shelf.store.image(image).unwrap().unwrap().file.unwrap()).unwrap();
    assert_eq!(shelf.store.recover(shelf.now).unwrap().lost, 0, "its result is there");
    assert_eq!(shelf.store.image(image).unwrap().unwrap().file, None);
}

#[test]
fn a_reader_sees_what_a_running_service_writes_and_changes_nothing() {
    let shelf = Shelf::new();
    let connection = scanside_edge::store::open_reader(shelf.folder.path()).unwrap();
    shelf.take(&radiograph("1.1", "1").bytes());
    let cases = scanside_edge::store::cases::list(&connection, 0, 9).unwrap();
    assert_eq!(cases.len(), 1);
    assert!(connection.execute_batch("DELETE FROM images").is_err());
    let empty = tempfile::tempdir().unwrap();
    assert!(scanside_edge::store::open_reader(empty.path()).is_err());
    assert!(fs::read_dir(empty.path()).unwrap().next().is_none(), "nothing was made");
}

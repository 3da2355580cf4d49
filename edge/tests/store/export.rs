//! The labelled file of a calibration.

use scanside_edge::store::export::labelled_cases;
use scanside_edge::store::verdicts::Opinion;

use crate::{CLEAR, FLAGGED, Shelf, radiograph, slice};

fn exported(shelf: &Shelf, labelled: bool) -> Vec<Vec<String>> {
    let mut text = Vec::new();
    let count = labelled_cases(&shelf.tool(), labelled, &mut text).unwrap();
    let mut csv = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_slice());
    let rows: Vec<Vec<String>> = csv
        .records()
        .map(|row| row.unwrap().iter().map(str::to_owned).collect())
        .collect();
    assert_eq!(count + 1, rows.len() as u64);
    rows
}

#[test]
fn opinions_become_labels_where_they_tell_one() {
    let shelf = Shelf::new();
    let cases = [
        (radiograph("1.1", "1"), FLAGGED, Some(Opinion::Agree)),
        (radiograph("2.1", "2"), CLEAR, Some(Opinion::Agree)),
        // Of three labels a disagreement does not say which one it is.
        (radiograph("3.1", "3"), FLAGGED, Some(Opinion::Disagree)),
        (radiograph("4.1", "4"), FLAGGED, None),
        (slice("5.1", "5"), FLAGGED, Some(Opinion::Agree)),
    ];
    for (n, (said, probabilities, opinion)) in (1..).zip(cases) {
        let image = shelf.take(&said.bytes());
        shelf.judge(image, probabilities);
        if let Some(opinion) = opinion {
            shelf
                .store
                .give_opinion(&format!("260314-{n:04}"), opinion, shelf.now)
                .unwrap();
        }
    }
    let rows = exported(&shelf, false);
    assert_eq!(rows[0][..4], ["case_id", "digest", "label", "opinion"]);
    assert_eq!(rows[0][9..], ["p:covid19", "p:normal", "p:viral_pneumonia"]);
    let told: Vec<_> = rows[1..]
        .iter()
        .map(|row| (row[0].as_str(), row[2].as_str(), row[3].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("260314-0001", "covid19", "agree"),
            ("260314-0002", "normal", "agree"),
            ("260314-0003", "", "disagree"),
            ("260314-0004", "", ""),
            ("260314-0005", "covid19", "agree"),
        ]
    );
    assert_eq!(rows[1][9..], ["0.9", "0.05", "0.05"]);
    assert_eq!(exported(&shelf, true).len(), 5, "four labelled cases");
}

#[test]
fn an_opinion_is_on_the_image_that_it_was_given_on() {
    let shelf = Shelf::new();
    let first = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(first, CLEAR);
    let agree = || {
        shelf
            .store
            .give_opinion("260314-0001", Opinion::Agree, shelf.now)
            .unwrap()
    };
    agree();
    let second = shelf.take(&radiograph("1.2", "1").bytes());
    shelf.judge(second, FLAGGED);
    let row = || exported(&shelf, true).remove(1);
    assert_eq!(row()[2..6], ["normal", "agree", "no-finding-flagged", ""]);
    assert_eq!(
        row()[9..],
        ["0.05", "0.9", "0.05"],
        "of the clear image: covid19, normal, viral pneumonia"
    );
    agree();
    assert_eq!(row()[2..6], ["covid19", "agree", "flagged", "covid19"]);
}

#[test]
fn an_opinion_on_a_series_is_on_the_series() {
    let shelf = Shelf::new();
    let judge = |n: u32, probabilities| {
        let image = shelf.take(&slice(&format!("3.{n}"), "3").bytes());
        shelf.judge(image, probabilities);
    };
    judge(0, FLAGGED);
    (1..20).for_each(|n| judge(n, CLEAR));
    let say = |opinion| shelf.store.give_opinion("260314-0001", opinion, shelf.now).unwrap();
    let row = || exported(&shelf, false).remove(1);
    assert_eq!(row()[2..6], ["", "", "no-finding-flagged", ""], "one slice of twenty");
    say(Opinion::Agree);
    assert_eq!(
        row()[2..4],
        ["normal", "agree"],
        "nothing is in it, nor in its worst slice"
    );
    say(Opinion::Disagree);
    assert_eq!(row()[2..4], ["", "disagree"], "which slice it is in nobody said");
    say(Opinion::Agree);
    (20..22).for_each(|n| judge(n, FLAGGED));
    assert_eq!(
        row()[2..6],
        ["", "", "flagged", "covid19"],
        "that was said to no finding"
    );
    assert_eq!(exported(&shelf, true).len(), 1);
}

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

//! Findings of images, and of cases by their worst images.

use scanside_edge::decision::DecisionKind;
use scanside_edge::store::cases::STRIP;
use scanside_edge::store::images::ImageState;
use scanside_edge::store::verdicts::Opinion;

use crate::{CLEAR, FLAGGED, Shelf, radiograph, slice};

#[test]
fn a_result_ends_the_waiting_and_stands_in_the_case() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    assert!(shelf.judge(image, FLAGGED));
    let record = shelf.store.image(image).unwrap().unwrap();
    assert_eq!((record.state, record.finished), (ImageState::Done, Some(shelf.now)));
    let details = shelf.store.case("260314-0001").unwrap();
    let summary = details.case.summary.unwrap();
    assert_eq!(summary.decision, DecisionKind::Flagged);
    assert_eq!(summary.label_name.as_deref(), Some("COVID-19 pattern"));
    assert_eq!(
        (summary.probability, summary.model.as_str()),
        (Some(0.9), "chest 1.0.0")
    );
    assert!((summary.suspicion.unwrap() - 2.25).abs() < 1e-4, "0.9 of 0.4");
    assert_eq!(
        (details.case.age_years, details.case.settled),
        (Some(54.0), Some(shelf.now))
    );
    assert_eq!(details.results[0].finding.decision.label.as_deref(), Some("covid19"));
}

#[test]
fn a_study_takes_its_worst_radiograph_and_opens_again_for_a_further_one() {
    let mut shelf = Shelf::new();
    let first = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(first, CLEAR);
    let decision = |shelf: &Shelf| {
        let case = shelf.store.case("260314-0001").unwrap().case;
        (case.summary.unwrap().decision, case.settled.is_some())
    };
    assert_eq!(decision(&shelf), (DecisionKind::NoFindingFlagged, true));
    shelf.pass(60);
    let second = shelf.take(&radiograph("1.2", "1").bytes());
    assert_eq!(decision(&shelf), (DecisionKind::NoFindingFlagged, false));
    shelf.judge(second, FLAGGED);
    assert_eq!(decision(&shelf), (DecisionKind::Flagged, true));
}

#[test]
fn a_series_is_judged_by_its_worst_slices_and_settles_when_it_is_quiet() {
    let mut shelf = Shelf::new();
    let images: Vec<_> = (0..20)
        .map(|n| shelf.take(&slice(&format!("3.{n}"), "3").bytes()))
        .collect();
    for (n, image) in images.iter().enumerate() {
        assert_eq!(shelf.store.settle(shelf.now).unwrap(), 0, "slices wait");
        shelf.judge(*image, if n == 7 { FLAGGED } else { CLEAR });
    }
    let case = || shelf.store.case("260314-0001").unwrap();
    assert_eq!(
        case().case.summary.unwrap().decision,
        DecisionKind::NoFindingFlagged,
        "one of twenty"
    );
    assert_eq!(shelf.store.settle(shelf.now).unwrap(), 0, "it may go on");
    shelf.pass(30);
    for n in 20..22 {
        let late = shelf.take(&slice(&format!("3.{n}"), "3").bytes());
        shelf.judge(late, FLAGGED);
    }
    assert_eq!(shelf.store.settle(shelf.now).unwrap(), 0, "it went on");
    shelf.pass(10);
    assert_eq!(shelf.store.settle(shelf.now).unwrap(), 1);
    assert_eq!(shelf.store.settle(shelf.now).unwrap(), 0, "once");
    let details = shelf.store.case("260314-0001").unwrap();
    assert_eq!(details.case.summary.unwrap().decision, DecisionKind::Flagged);
    assert_eq!(details.results.len(), STRIP as usize, "the top ones for the strip");
    let flagged = details.results.iter().filter(|r| r.decision == DecisionKind::Flagged);
    assert_eq!(flagged.count(), 3);
    assert!(details.results.is_sorted_by(|a, b| a.suspicion >= b.suspicion));
}

#[test]
fn an_image_of_many_frames_is_done_with_its_last_one() {
    let shelf = Shelf::new();
    let image = shelf.take(&slice("3.1", "3").bytes());
    for frame in 0..3 {
        assert_eq!(shelf.store.image(image).unwrap().unwrap().state, ImageState::Waiting);
        assert_eq!(shelf.store.next_waiting(&[]).unwrap().unwrap().frames_done, frame);
        assert!(shelf.judge_frame(image, frame, 3, CLEAR));
        assert!(!shelf.judge_frame(image, frame, 3, FLAGGED), "a frame has one result");
    }
    assert_eq!(shelf.store.image(image).unwrap().unwrap().state, ImageState::Done);
    assert_eq!(shelf.store.results_of_image(image).unwrap().len(), 3);
}

#[test]
fn latency_and_opinions_stand_with_the_case() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(image, FLAGGED);
    shelf.store.set_latency(image, 123.5).unwrap();
    shelf.store.acknowledge("260314-0001", shelf.now).unwrap();
    for opinion in [Opinion::Agree, Opinion::Disagree] {
        shelf.store.give_opinion("260314-0001", opinion, shelf.now).unwrap();
    }
    let case = shelf.store.case("260314-0001").unwrap().case;
    assert_eq!((case.latency_ms, case.opinion), (Some(123.5), Some(Opinion::Disagree)));
    assert_eq!(case.acknowledged, Some(shelf.now));
    let message = shelf
        .store
        .acknowledge("260314-0009", shelf.now)
        .unwrap_err()
        .to_string();
    assert!(message.contains("260314-0009"), "{message}");
}

#[test]
fn a_case_that_comes_to_a_result_somebody_must_see_is_not_seen_any_more() {
    let shelf = Shelf::new();
    let number = "260314-0001";
    let state = || {
        let case = shelf.store.case(number).unwrap().case;
        (case.acknowledged.is_some(), case.opinion)
    };
    let first = shelf.take(&radiograph("1.1", "1").bytes());
    shelf.judge(first, CLEAR);
    shelf.store.give_opinion(number, Opinion::Agree, shelf.now).unwrap();
    assert_eq!(state(), (true, Some(Opinion::Agree)));
    let again = shelf.take(&radiograph("1.2", "1").bytes());
    shelf.judge(again, FLAGGED);
    assert_eq!(state(), (false, None), "that was said to the clear one");
    assert_eq!(shelf.store.unseen().unwrap().flagged, 1);
    shelf.store.give_opinion(number, Opinion::Agree, shelf.now).unwrap();
    let third = shelf.take(&radiograph("1.3", "1").bytes());
    shelf.judge(third, CLEAR);
    assert_eq!(state(), (true, Some(Opinion::Agree)), "it says what it said");
}

#[test]
fn a_series_that_goes_on_is_seen_until_it_says_something_else() {
    let shelf = Shelf::new();
    let judge = |n: u32, probabilities| {
        let image = shelf.take(&slice(&format!("3.{n}"), "3").bytes());
        shelf.judge(image, probabilities);
    };
    let acknowledged = || shelf.store.case("260314-0001").unwrap().case.acknowledged.is_some();
    (0..3).for_each(|n| judge(n, CLEAR));
    shelf.store.acknowledge("260314-0001", shelf.now).unwrap();
    judge(3, FLAGGED);
    assert!(acknowledged(), "one slice flags no series");
    (4..6).for_each(|n| judge(n, FLAGGED));
    assert!(!acknowledged());
    shelf.store.acknowledge("260314-0001", shelf.now).unwrap();
    judge(6, [0.01, 0.98, 0.01]);
    assert!(acknowledged(), "another slice of the same result");
}

#[test]
fn what_stands_for_a_series_says_what_the_series_amounts_to() {
    let mut shelf = Shelf::new();
    for n in 0..20 {
        let image = shelf.take(&slice(&format!("3.{n}"), "3").bytes());
        shelf.judge(image, if n == 7 { FLAGGED } else { CLEAR });
    }
    shelf.pass(60);
    shelf.store.settle(shelf.now).unwrap();
    let case = shelf.store.case("260314-0001").unwrap().case;
    let reported = shelf.store.reported(case.id, None, 4).unwrap();
    assert_eq!(reported.len(), 4);
    let first = &reported[0].finding;
    assert_eq!(first.decision.kind, DecisionKind::NoFindingFlagged);
    assert_eq!((&first.decision.label, first.decision.reasons.len()), (&None, 0));
    let series = first.series.as_ref().unwrap();
    assert_eq!((series.slices, series.slice_alone.kind), (20, DecisionKind::Flagged));
    assert_eq!(reported[1].finding.series, None);
    let [filed] = &shelf.store.to_file(9).unwrap()[..] else {
        panic!("one case")
    };
    assert_eq!(filed.results[0].finding, *first);
}

#[test]
fn the_worst_frame_of_a_radiograph_comes_first() {
    let shelf = Shelf::new();
    let image = shelf.take(&radiograph("1.1", "1").bytes());
    for (frame, probabilities) in [(0, CLEAR), (1, FLAGGED), (2, CLEAR)] {
        shelf.judge_frame(image, frame, 3, probabilities);
    }
    let case = shelf.store.case("260314-0001").unwrap().case;
    let reported = shelf.store.reported(case.id, Some(image), 4).unwrap();
    assert_eq!(
        reported.iter().map(|result| result.frame).collect::<Vec<_>>(),
        [1, 0, 2]
    );
    let [filed] = &shelf.store.to_file(9).unwrap()[..] else {
        panic!("one case")
    };
    assert_eq!((filed.results.len(), filed.results[0].frame), (1, 1));
}

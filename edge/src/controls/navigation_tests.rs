use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Cases in memory, each with whether somebody has to look at it.
#[derive(Debug, Clone, Default)]
struct Shelf(BTreeMap<CaseId, bool>);

impl Cases for Shelf {
    fn newest(&self) -> Option<CaseId> {
        self.0.keys().next_back().copied()
    }

    fn before(&self, case: CaseId) -> Option<CaseId> {
        self.0.range(..case).next_back().map(|(case, _)| *case)
    }

    fn after(&self, case: CaseId) -> Option<CaseId> {
        self.0.range(case + 1..).next().map(|(case, _)| *case)
    }

    fn contains(&self, case: CaseId) -> bool {
        self.0.contains_key(&case)
    }

    fn needs_eyes(&self, case: CaseId) -> bool {
        self.0.get(&case).copied().unwrap_or(false)
    }
}

/// A machine with its shelf and its clock.
struct Desk {
    navigation: Navigation,
    shelf: Shelf,
    now: Duration,
}

impl Desk {
    fn new() -> Self {
        Self {
            navigation: Navigation::new(Times::default()),
            shelf: Shelf::default(),
            now: Duration::from_secs(1_000),
        }
    }

    /// With three cases and the newest on the screen, which needs nobody.
    fn with_three() -> Self {
        let mut desk = Self::new();
        for case in 1..=3 {
            desk.arrive(case, false);
            desk.wait(1.0);
        }
        desk
    }

    fn arrive(&mut self, case: CaseId, needs_eyes: bool) {
        self.shelf.0.insert(case, needs_eyes);
        self.navigation.arrived(case, &self.shelf, self.now);
    }

    fn press(&mut self, action: Action) -> Option<Effect> {
        let effect = self.navigation.press(action, &self.shelf, self.now);
        if let Some(Effect::Acknowledge(case) | Effect::Verdict(case, _)) = effect {
            self.shelf.0.insert(case, false);
        }
        effect
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.navigation.tick(&self.shelf, self.now);
    }

    fn place(&self) -> Place {
        self.navigation.place()
    }
}

#[test]
fn a_new_result_is_shown_and_rests_after_a_while() {
    let mut desk = Desk::new();
    desk.wait(1.0);
    assert_eq!(desk.place(), Place::Home);
    desk.arrive(1, false);
    assert_eq!(desk.place(), Place::Case(1));
    desk.wait(299.0);
    assert_eq!(desk.place(), Place::Case(1));
    desk.wait(2.0);
    assert_eq!(desk.place(), Place::Home);
}

#[test]
fn what_needs_eyes_stays_until_somebody_has_seen_it() {
    let mut desk = Desk::new();
    desk.arrive(1, true);
    desk.wait(3_600.0);
    assert_eq!(desk.place(), Place::Case(1));
    assert_eq!(desk.press(Action::Acknowledge), Some(Effect::Acknowledge(1)));
    desk.wait(0.1);
    assert_eq!(desk.place(), Place::Home);
}

#[test]
fn what_needs_eyes_is_not_swept_away_by_the_next_result() {
    let mut desk = Desk::new();
    desk.arrive(1, true);
    desk.wait(1.0);
    desk.arrive(2, false);
    desk.arrive(3, false);
    assert_eq!((desk.place(), desk.navigation.news()), (Place::Case(1), Some(3)));
    desk.wait(10.0);
    assert_eq!((desk.place(), desk.navigation.news()), (Place::Case(3), None));
}

#[test]
fn a_new_result_never_steals_the_screen_from_somebody() {
    let mut desk = Desk::with_three();
    desk.press(Action::Previous);
    assert_eq!((desk.place(), desk.navigation.is_browsing()), (Place::Case(2), true));
    desk.arrive(4, true);
    desk.wait(29.0);
    assert_eq!((desk.place(), desk.navigation.news()), (Place::Case(2), Some(4)));
    desk.press(Action::Next);
    assert_eq!((desk.place(), desk.navigation.news()), (Place::Case(3), Some(4)));
    desk.press(Action::Next);
    assert_eq!((desk.place(), desk.navigation.news()), (Place::Case(4), None));
    desk.press(Action::Next);
    assert_eq!(desk.place(), Place::Case(4), "there is none newer");
}

#[test]
fn the_newest_result_comes_back_after_a_while() {
    let mut desk = Desk::with_three();
    for _ in 0..5 {
        desk.press(Action::Previous);
    }
    assert_eq!(desk.place(), Place::Case(1), "there is none older");
    desk.wait(31.0);
    assert_eq!((desk.place(), desk.navigation.is_attended()), (Place::Case(3), false));
    desk.press(Action::List);
    desk.press(Action::Previous);
    assert_eq!(desk.place(), Place::List(2));
    desk.wait(31.0);
    assert_eq!(desk.place(), Place::Case(3));
}

#[test]
fn looks_are_counted_and_start_anew_with_each_case() {
    let mut desk = Desk::with_three();
    desk.press(Action::Heatmap);
    desk.press(Action::Heatmap);
    assert_eq!((desk.navigation.look(), desk.navigation.is_browsing()), (2, false));
    desk.arrive(4, false);
    assert_eq!(desk.place(), Place::Case(3), "somebody looks at it");
    assert_eq!(desk.press(Action::Agree), Some(Effect::Verdict(3, Verdict::Agree)));
    desk.wait(0.1);
    assert_eq!(
        (desk.place(), desk.navigation.look()),
        (Place::Case(4), 0),
        "they are done with it"
    );
}

#[test]
fn a_press_that_was_meant_for_the_case_before_judges_nothing() {
    let mut desk = Desk::with_three();
    desk.wait(5.0);
    desk.arrive(4, true);
    desk.now += Duration::from_millis(300);
    assert_eq!(desk.press(Action::Disagree), None);
    desk.now += Duration::from_millis(500);
    assert_eq!(
        desk.press(Action::Disagree),
        Some(Effect::Verdict(4, Verdict::Disagree))
    );
}

#[test]
fn a_press_that_was_meant_for_another_result_of_the_case_judges_nothing() {
    let mut desk = Desk::with_three();
    for attended in [false, true] {
        if attended {
            desk.press(Action::Heatmap);
        }
        desk.wait(2.0);
        desk.navigation.changed(desk.now);
        assert_eq!(desk.press(Action::Agree), None, "attended: {attended}");
        desk.wait(0.6);
        assert_eq!(desk.press(Action::Acknowledge), None);
        desk.wait(0.2);
        assert_eq!(desk.press(Action::Agree), Some(Effect::Verdict(3, Verdict::Agree)));
    }
}

#[test]
fn nothing_is_judged_where_no_result_stands() {
    let mut desk = Desk::new();
    for action in Action::ALL {
        let effect = desk.press(action);
        assert_eq!(effect, (action == Action::Night).then_some(Effect::Night));
        assert_eq!(desk.place(), Place::Home);
    }
    let mut desk = Desk::with_three();
    desk.press(Action::List);
    assert_eq!(desk.place(), Place::List(3));
    for action in [Action::Acknowledge, Action::Agree, Action::Disagree] {
        assert_eq!(desk.press(action), None);
    }
    desk.press(Action::Previous);
    desk.press(Action::Heatmap);
    assert_eq!(desk.place(), Place::Case(2), "the chosen one is shown");
}

#[test]
fn a_case_that_retention_removed_gives_way_to_its_neighbour() {
    let mut desk = Desk::with_three();
    for _ in 0..3 {
        desk.press(Action::Previous);
    }
    desk.shelf.0.remove(&1);
    desk.wait(0.1);
    assert_eq!(desk.place(), Place::Case(2));
    desk.shelf.0.clear();
    desk.wait(0.1);
    assert_eq!(desk.place(), Place::Home);
}

#[derive(Debug, Clone)]
enum Event {
    Arrive(bool),
    Press(Action),
    Wait(u64),
    Remove(prop::sample::Index),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        any::<bool>().prop_map(Event::Arrive),
        prop::sample::select(Action::ALL.to_vec()).prop_map(Event::Press),
        prop_oneof![0u64..900, 5_000u64..40_000, 290_000u64..310_000].prop_map(Event::Wait),
        any::<prop::sample::Index>().prop_map(Event::Remove),
    ];
    prop::collection::vec(event, 1..120)
}

proptest! {
    /// Whatever happens: a case on the screen is there; a judgement is about the case that stood there, and either a
    /// press brought it or it had stood long enough; nothing but a press moves the screen while somebody is at it; no
    /// news is older than what is shown; and in the end the screen rests, or shows what needs eyes.
    #[test]
    fn the_screen_belongs_to_whoever_is_at_it(events in events()) {
        let mut desk = Desk::new();
        let times = Times::default();
        let (mut newest, mut moved_by_itself, mut last_press) = (0, desk.now, None::<Duration>);
        for event in events {
            let (place, attended) = (desk.place(), desk.navigation.is_attended());
            let removed = matches!(event, Event::Remove(_));
            match event {
                Event::Arrive(needs_eyes) => {
                    newest += 1;
                    desk.arrive(newest, needs_eyes);
                    prop_assert!(!attended || desk.place() == place);
                    prop_assert!(desk.place() == Place::Case(newest) || desk.navigation.news() == Some(newest));
                }
                Event::Press(action) => {
                    match desk.press(action) {
                        Some(Effect::Acknowledge(case) | Effect::Verdict(case, _)) => {
                            prop_assert_eq!(Place::Case(case), place);
                            prop_assert!(attended || desk.now >= moved_by_itself + times.guard);
                        }
                        Some(Effect::Night) => prop_assert_eq!(action, Action::Night),
                        None => {}
                    }
                    last_press = Some(desk.now);
                }
                Event::Wait(milliseconds) => {
                    desk.now += Duration::from_millis(milliseconds);
                    desk.navigation.tick(&desk.shelf, desk.now);
                    let at_it = last_press.is_some_and(|press| desk.now < press + times.back);
                    prop_assert!(!(attended && at_it) || desk.place() == place);
                }
                Event::Remove(index) => {
                    let cases: Vec<CaseId> = desk.shelf.0.keys().copied().collect();
                    if !cases.is_empty() {
                        desk.shelf.0.remove(index.get(&cases));
                        desk.navigation.tick(&desk.shelf, desk.now);
                    }
                }
            }
            let pressed = last_press == Some(desk.now);
            if desk.place() != place && (!pressed || removed) {
                moved_by_itself = desk.now;
            }
            if let Place::Case(case) | Place::List(case) = desk.place() {
                prop_assert!(desk.shelf.contains(case));
                prop_assert!(desk.navigation.news().is_none_or(|news| news > case || desk.place() == Place::List(case)));
            }
        }
        for _ in 0..4 {
            desk.wait(times.rest.as_secs_f64());
        }
        prop_assert!(!desk.navigation.is_attended() && desk.navigation.news().is_none());
        match desk.place() {
            Place::Home => {}
            Place::Case(case) => prop_assert!(desk.shelf.needs_eyes(case)),
            Place::List(_) => prop_assert!(false, "nobody is there to read a list"),
        }
    }
}

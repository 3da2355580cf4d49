//! The service with a display, buttons, lights and a watchdog that the test owns: what people see, and what comes of
//! what they press.

mod inside;
mod service;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use embedded_graphics::geometry::Size;
use hardware::display::Canvas;
use hardware::leds::LedState;
use inside::tampered::Tampered;
use inside::{Running, Setup, body, count, picture, receive, site, slots, text};
use scanside_edge::controls::Action;
use scanside_edge::daemon::Ended;
use scanside_edge::presentation::notices;
use scanside_edge::screens::layout::Layout;
use scanside_edge::screens::{NoticeView, Screens, View};
use scanside_edge::text::words::Language;
use service::Site;
use support::{code, program, stderr, stdout};

const SIZE: Size = Size::new(800, 480);

/// The service with a display that shows what moves.
fn moving(site: &Site) -> Running<'_> {
    let setup = Setup {
        moves: Some(Duration::ZERO),
        ..Setup::new(site)
    };
    setup.start()
}

fn brightness(canvas: &Canvas) -> u64 {
    canvas.rgb().iter().map(|value| u64::from(*value)).sum()
}

#[test]
fn cases_are_leafed_through_and_a_verdict_is_that_of_the_case_on_the_screen() {
    let Some(site) = site() else { return };
    let running = Setup::new(&site).start();
    let idle = running.settled();
    let numbers: Vec<String> = ["a.png", "b.png", "c.png"].map(|name| running.image(name)).to_vec();
    for _ in 0..3 {
        running.press(Action::Previous);
    }
    let first = running.settled();
    let second = running.after(Action::Next);
    let third = running.after(Action::Next);
    for (one, other) in [(&idle, &first), (&first, &second), (&second, &third), (&first, &third)] {
        assert!(body(one) != body(other), "each case has its number");
    }
    assert!(
        body(&running.after(Action::Next)) == body(&third),
        "there is no newer one"
    );
    assert!(body(&running.after(Action::Previous)) == body(&second), "back again");

    assert!(picture(&running.after(Action::Heatmap)) == picture(&second));
    assert!(body(&running.canvas()) != body(&second), "without the overlay");
    let judged = running.after(Action::Agree);
    assert!(body(&judged) != body(&second), "it is marked");
    let list = running.after(Action::List);
    assert!(
        body(&running.after(Action::Previous)) != body(&list),
        "another one is chosen"
    );
    running.press(Action::Heatmap);
    running.after(Action::Disagree);
    let said = |n: usize| {
        let number = &numbers[n];
        text(
            &site,
            &format!(
                "SELECT coalesce((SELECT verdict FROM verdicts WHERE case_id = cases.id), '-') FROM cases WHERE number = '{number}'"
            ),
        )
    };
    assert_eq!([said(0), said(1), said(2)], ["disagree", "agree", "-"]);
    assert_eq!(count(&site, "SELECT count(*) FROM audit WHERE event = 'verdict'"), 2);
    assert_eq!(running.stop(), Ended::Stopped);

    let mut export = program();
    export.args(["cases", "export", "--labelled", "--json", "--config"]);
    let output = export.arg(site.path("edge.toml")).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let exported = stdout(&output);
    assert!(
        exported.contains(&numbers[0]) && exported.contains(&numbers[1]),
        "{exported}"
    );
    assert!(!exported.contains(&numbers[2]), "{exported}");
}

#[test]
fn a_new_result_is_shown_unless_somebody_looks_at_another_one_and_then_it_is_announced() {
    let Some(site) = site() else { return };
    let running = Setup::new(&site).start();
    let idle = running.settled();
    let first = running.image("a.png");
    let alone = running.settled();
    assert!(body(&alone) != body(&idle), "the result is shown by itself");
    let browsing = running.after(Action::Previous);
    running.image("b.png");
    let announced = running.settled();
    assert!(picture(&announced) == picture(&browsing), "it does not take the screen");
    assert!(announced.rgb() != browsing.rgb(), "it is announced");
    running.after(Action::Acknowledge);
    let seen = text(&site, "SELECT number FROM cases WHERE acknowledged IS NOT NULL");
    assert_eq!(seen, first);
    assert!(
        picture(&running.after(Action::Next)) != picture(&browsing),
        "the new one is next"
    );
    assert_eq!(running.stop(), Ended::Stopped);
    let measured = count(&site, "SELECT count(*) FROM images WHERE latency_ms IS NOT NULL");
    assert_eq!(measured, 1, "the latency of a result that nobody saw is not known");
}

#[test]
fn lights_say_what_somebody_has_to_look_at() {
    let Some(site) = site() else { return };
    let running = Setup::new(&site).start();
    running.settled();
    assert_eq!(running.leds.states().last(), Some(&LedState::Ready));
    running.image("a.png");
    let shines = |state| {
        running.site.wait("the light", || {
            (running.leds.states().last() == Some(&state)).then_some(())
        });
    };
    shines(LedState::Flagged);
    running.settled();
    running.press(Action::Acknowledge);
    shines(LedState::Ready);
    let leds = running.leds.clone();
    running.stop();
    assert_eq!(leds.states().last(), Some(&LedState::Off));
}

#[test]
fn the_screen_is_seen_to_live_and_is_dimmed_at_night() {
    let Some(site) = site() else { return };
    let running = moving(&site);
    let beat = Layout::new(SIZE, 1).beat;
    running.site.wait("a mark that moves in its own few pixels", || {
        running.glass.dirty.lock().unwrap().clear();
        let before = running.canvas();
        thread::sleep(Duration::from_millis(900));
        let dirty = running.glass.dirty.lock().unwrap().clone();
        let own = dirty.iter().all(|area| area.intersection(&beat) == *area);
        (dirty.len() >= 3 && own && before.rgb() != running.canvas().rgb()).then_some(())
    });
    let day = brightness(&running.canvas());
    running.press(Action::Night);
    running.site.wait("the night", || {
        (brightness(&running.canvas()) * 10 < day * 9).then_some(())
    });
    running.press(Action::Night);
    running.site.wait("the day", || {
        (brightness(&running.canvas()) * 20 > day * 19).then_some(())
    });
    running.stop();
}

/// The notice stands on the display while the serving thread waits to read a model, and is gone when it has one.
fn is_shown_while_loading(site: &Site, notice: &NoticeView) {
    let held = Arc::new(AtomicBool::new(true));
    let holds = held.clone();
    let before_read = move |_| {
        while holds.load(Ordering::SeqCst) && thread::current().name() == Some("serving") {
            thread::sleep(Duration::from_millis(10));
        }
    };
    let setup = Setup {
        parts: Box::new(move |parts| Tampered::put(parts, true, before_read)),
        ..Setup::new(site)
    };
    let running = setup.start();
    let mut drawn = Canvas::new(SIZE);
    let Ok(()) = Screens::new(Language::English).draw(View::Notice(notice), &mut drawn);
    assert!(body(&running.settled()) == body(&drawn), "{}", notice.headline);
    held.store(false, Ordering::SeqCst);
    running
        .site
        .wait("the model", || (body(&running.canvas()) != body(&drawn)).then_some(()));
    running.stop();
}

#[test]
fn nobody_is_told_that_there_is_no_model_while_one_is_loaded() {
    let Some(site) = site() else { return };
    let words = Language::English.words();
    is_shown_while_loading(&site, &notices::starting(words));
    let new = site.bundle(|_| ());
    let mut slots = slots(&site);
    receive(&mut slots, &new);
    for verification in slots.verifications() {
        let hash = site.hash(&new).try_into().unwrap();
        let _ = slots.finish_verification(verification.run(|_| Ok(hash))).unwrap();
    }
    slots.request(&site.hash(&new), false).unwrap();
    drop(slots);
    is_shown_while_loading(&site, &notices::self_test(0, 0, words));
}

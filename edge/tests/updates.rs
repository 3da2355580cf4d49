//! What the display of the service shows of an update that the engineer's tool brings.

mod desk;
mod service;
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use desk::Desk;
use embedded_graphics::geometry::Size;
use hardware::display::Canvas;
use hardware::smp::{Outcome, OutcomeKind};
use image::RgbImage;
use scanside_edge::daemon::models::ON_TRIAL;
use scanside_edge::presentation::notices::{no_model, outcome, receiving, self_test, verifying};
use scanside_edge::screens::layout::Layout;
use scanside_edge::screens::{NoticeView, Screens, View};
use scanside_edge::text::words::{Language, Words};

const SIZE: Size = Size::new(800, 480);
/// What the cable lets through in a second: a bundle is on its way for a while.
const BYTES_A_SECOND: u32 = 300_000;
/// What the tests' bundles are called, without their version.
const NAME: &str = "example-triage";

fn words() -> &'static Words {
    Language::English.words()
}

/// Everything that stands on the display for a while, the oldest first.
struct Film {
    seen: Arc<Mutex<Vec<RgbImage>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Film {
    fn of(desk: &Desk) -> Self {
        let (seen, stop) = (Arc::<Mutex<Vec<RgbImage>>>::default(), Arc::new(AtomicBool::new(false)));
        let (screen, shots, stopped) = (desk.site.path("screen.png"), seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                if let Ok(picture) = image::open(&screen).map(|picture| picture.to_rgb8()) {
                    let mut shots = shots.lock().unwrap();
                    if shots.last() != Some(&picture) {
                        shots.push(picture);
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { seen, stop, thread }
    }

    /// Waits until a notice stands on the display.
    fn wait_for(&self, desk: &Desk, notice: &Notice) {
        desk.site.wait(notice.name, || {
            let stands = |picture: &RgbImage| notice.stands_on(picture);
            self.seen.lock().unwrap().last().is_some_and(stands).then_some(())
        });
    }

    /// What was seen; kept as pictures where `SCANSIDE_FILM` names a folder.
    fn end(self, name: &str) -> Vec<RgbImage> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        if let Some(folder) = std::env::var_os("SCANSIDE_FILM") {
            for (number, picture) in seen.iter().enumerate() {
                let file = Path::new(&folder).join(format!("{name}-{number:03}.png"));
                picture.save(file).unwrap();
            }
        }
        seen
    }
}

/// A notice as the display shows it, but for the upper and lower edge and how far the bar is.
struct Notice {
    name: &'static str,
    drawn: Canvas,
    /// Rows that are the same with another progress.
    rows: Vec<u32>,
}

impl Notice {
    fn new(name: &'static str, view: &NoticeView) -> Self {
        let layout = Layout::new(SIZE, 1);
        let draw = |progress: (f32, &str)| {
            let progress = view.progress.as_ref().map(|_| (progress.0, progress.1.to_owned()));
            let view = NoticeView {
                progress,
                ..view.clone()
            };
            let mut canvas = Canvas::new(SIZE);
            let Ok(()) = Screens::new(Language::English).draw(View::Notice(&view), &mut canvas);
            canvas
        };
        let (drawn, other) = (draw((0.2, "1 of 5")), draw((0.9, "99.9 of 100.0 MB, 99 %")));
        let body = layout.status.size.height..layout.footer.top_left.y as u32;
        let same = |y: &u32| drawn.row(*y, 0, SIZE.width) == other.row(*y, 0, SIZE.width);
        let rows = body.filter(same).collect();
        Self { name, drawn, rows }
    }

    fn stands_on(&self, picture: &RgbImage) -> bool {
        let row = |y: u32| {
            let pixels = picture.rows().nth(y as usize).unwrap();
            pixels.flat_map(|pixel| pixel.0).collect::<Vec<u8>>()
        };
        self.rows.iter().all(|y| self.drawn.row(*y, 0, SIZE.width) == row(*y))
    }
}

fn ended(kind: OutcomeKind, reason: &str, serving: &str) -> NoticeView {
    let reason = reason.to_owned();
    outcome(&Outcome { image: 0, kind, reason }, Some(serving), words())
}

/// Asserts that the notices stood there in this order.
#[track_caller]
fn assert_order(seen: &[RgbImage], notices: &[Notice]) {
    let mut rest = seen.iter();
    for notice in notices {
        let found = rest.any(|picture| notice.stands_on(picture));
        let anywhere = seen.iter().filter(|picture| notice.stands_on(picture)).count();
        assert!(
            found,
            "{} is not in its place; {anywhere} of {} pictures show it",
            notice.name,
            seen.len()
        );
    }
}

#[track_caller]
fn assert_never(seen: &[RgbImage], notice: &Notice) {
    assert!(
        !seen.iter().any(|picture| notice.stands_on(picture)),
        "{} was shown",
        notice.name
    );
}

fn desk_with_slow_bundle() -> Option<(Desk, String)> {
    let desk = Desk::paced(BYTES_A_SECOND)?;
    let path = desk.site.path("slow.scanside");
    std::fs::write(&path, desk.site.slow(|_| ())).unwrap();
    Some((desk, path.to_string_lossy().into_owned()))
}

#[test]
fn a_first_model_is_seen_to_arrive_and_to_be_tried_and_confirmed() {
    let Some((desk, slow)) = desk_with_slow_bundle() else {
        return;
    };
    let _service = desk.site.spawn();
    let seen = Film::of(&desk);
    let none = Notice::new("no model", &no_model(words()));
    seen.wait_for(&desk, &none);
    desk.done(&["upload", &slow, "--confirm", "--wait"]);
    let confirmed = ended(
        OutcomeKind::Confirmed,
        "confirmed with its self-test, as was asked for",
        "",
    );
    let confirmed = Notice::new("confirmed", &confirmed);
    seen.wait_for(&desk, &confirmed);
    let seen = seen.end("first");
    let shown = [
        none,
        Notice::new("receiving", &receiving(0, 1, false, words())),
        Notice::new("verifying", &verifying(0, 1, words())),
        Notice::new("self-test", &self_test(0, 1, words())),
        confirmed,
    ];
    assert_order(&seen, &shown);
    assert_never(&seen, &Notice::new("a present model", &receiving(0, 1, true, words())));
    // From the first byte on, nobody is told that nothing is on its way.
    let first = seen.iter().position(|picture| shown[1].stands_on(picture)).unwrap();
    assert_never(&seen[first..], &shown[0]);
}

#[test]
fn a_trial_that_is_taken_back_is_seen_with_the_model_that_goes_on() {
    let Some((desk, slow)) = desk_with_slow_bundle() else {
        return;
    };
    let first = desk.site.file("first.scanside");
    let _service = desk.site.spawn();
    desk.done(&["upload", &first, "--confirm", "--wait"]);
    let seen = Film::of(&desk);
    desk.done(&["upload", &slow, "--full", "--test", "--wait"]);
    let trial = Notice::new("trial", &ended(OutcomeKind::Passed, ON_TRIAL, ""));
    seen.wait_for(&desk, &trial);
    desk.done(&["revert"]);
    let taken_back = |model: &str| {
        let view = ended(
            OutcomeKind::Reverted,
            "taken back by an engineer",
            &format!("{NAME} {model}"),
        );
        Notice::new("taken back", &view)
    };
    let (old, new) = ("1.1.0", "1.0.0");
    seen.wait_for(&desk, &taken_back(old));
    let seen = seen.end("taken-back");
    let shown = [
        Notice::new("receiving", &receiving(0, 1, true, words())),
        Notice::new("verifying", &verifying(0, 1, words())),
        Notice::new("stored", &ended(OutcomeKind::Stored, "not asked for yet", "")),
        Notice::new("self-test", &self_test(0, 1, words())),
        trial,
        taken_back(old),
    ];
    assert_order(&seen, &shown);
    // From the first byte on there is always something to see of it.
    let first = |notice: &Notice| seen.iter().position(|picture| notice.stands_on(picture)).unwrap();
    let way = &seen[first(&shown[0])..first(&shown[2])];
    let told = |picture: &RgbImage| shown[..2].iter().any(|notice| notice.stands_on(picture));
    assert!(way.iter().all(told), "something else was shown on the way");
    assert_never(&seen, &taken_back(new));
    assert_never(&seen, &Notice::new("no model", &no_model(words())));
}

#[test]
fn a_model_that_fails_its_self_test_is_seen_with_the_reason() {
    let Some(desk) = Desk::paced(BYTES_A_SECOND) else {
        return;
    };
    let first = desk.site.file("first.scanside");
    let failing = desk.site.path("failing.scanside");
    std::fs::write(&failing, desk.site.failing()).unwrap();
    let _service = desk.site.spawn();
    desk.done(&["upload", &first, "--confirm", "--wait"]);
    let run = desk.run(&["upload", failing.to_str().unwrap(), "--test", "--wait"]);
    assert_ne!(run.code, Some(0), "{}", run.text);
    let status = desk.done(&["status"]).event("status").clone();
    let outcome = &status["outcomes"][0];
    let reason = outcome["reason"].as_str().unwrap();
    assert!(
        outcome["outcome"] == "failed" && reason.contains("golden cases differ"),
        "{status}"
    );
    let failed = ended(OutcomeKind::Failed, reason, &format!("{NAME} 1.0.0"));
    Film::of(&desk).wait_for(&desk, &Notice::new("failed", &failed));
}

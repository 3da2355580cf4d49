//! Screens of an update against recorded pictures, as `screens.rs` does it for results.
//!
//! `SCANSIDE_RECORD=1 cargo test -p scanside-edge --test notices` records them anew.

mod pictures;

use bundle::BundleError;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::prelude::{OriginDimensions, PointsIter};
use embedded_graphics::primitives::Rectangle;
use hardware::display::Canvas;
use hardware::smp::{Outcome, OutcomeKind};
use pictures::{SIZES, compare};
use scanside_edge::daemon::gatekeeper::refusal;
use scanside_edge::daemon::models::{ON_TRIAL, ServeError};
use scanside_edge::presentation::notices::{no_model, outcome, receiving, self_test, starting, verifying};
use scanside_edge::screens::{NoticeView, Screens, View, layout::Layout, palette};
use scanside_edge::text::words::{Language, Words};

const SERVING: &str = "chest-xray 1.3.0";
/// What the slots say of a trial that the power ended; `run.rs` sees it told.
const CRASHED: &str =
    "the service ended during the trial without being stopped in order (power cut, crash or watchdog)";

fn words() -> &'static Words {
    Language::English.words()
}

fn ended(kind: OutcomeKind, reason: impl ToString) -> NoticeView {
    let reason = reason.to_string();
    outcome(&Outcome { image: 0, kind, reason }, Some(SERVING), words())
}

/// Every state of an update, with the words that the service says in it.
fn notices() -> Vec<(&'static str, NoticeView)> {
    let wrong_case = ServeError::SelfTest {
        failed: 1,
        cases: 4,
        first: "a drawn case".to_owned(),
        difference: 0.1234,
    };
    let too_old = refusal(&BundleError::SecurityCounter { found: 3, lowest: 5 });
    vec![
        ("starting", starting(words())),
        ("no-model", no_model(words())),
        ("receiving", receiving(12_100_000, 18_400_000, true, words())),
        ("verifying", verifying(3_000_000, 18_400_000, words())),
        ("self-test", self_test(1, 4, words())),
        ("trial", ended(OutcomeKind::Passed, ON_TRIAL)),
        ("confirmed", ended(OutcomeKind::Confirmed, "by an engineer")),
        ("reverted", ended(OutcomeKind::Reverted, CRASHED)),
        ("failed", ended(OutcomeKind::Failed, wrong_case)),
        ("refused", ended(OutcomeKind::Refused, too_old)),
    ]
}

fn drawn(notice: &NoticeView, size: Size) -> Canvas {
    let mut canvas = Canvas::new(size);
    let view = NoticeView {
        model: SERVING.to_owned(),
        time: "14:32".to_owned(),
        ..notice.clone()
    };
    let Ok(()) = Screens::new(Language::English).draw(View::Notice(&view), &mut canvas);
    canvas
}

#[test]
fn notices_look_as_recorded() {
    let mut failures = Vec::new();
    for (name, notice) in notices() {
        for (width, height) in SIZES {
            let size = Size::new(width, height);
            let picture = format!("update-{name}-{width}x{height}.png");
            failures.extend(compare(&mut drawn(&notice, size), &picture, size).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn no_two_states_look_alike() {
    let size = Size::new(320, 240);
    let drawn: Vec<_> = notices()
        .iter()
        .map(|(name, notice)| (*name, drawn(notice, size)))
        .collect();
    for (index, (name, one)) in drawn.iter().enumerate() {
        for (other_name, other) in &drawn[index + 1..] {
            let differing = one.rgb().iter().zip(other.rgb()).filter(|(a, b)| a.abs_diff(**b) > 24);
            assert!(differing.count() > 500, "{name} and {other_name}");
        }
    }
}

#[test]
fn however_long_the_reason_is_the_footer_and_the_status_line_stay_clear() {
    let long =
        "cannot write the record chest-xray: Pneumonoultramicroscopicsilicovolcanoconiosis of the medium ".repeat(9);
    for (width, height) in SIZES {
        let size = Size::new(width, height);
        let layout = Layout::new(size, 1);
        for (name, notice) in notices() {
            let mut view = notice.clone();
            view.headline = long.clone();
            view.lines = vec![long.clone(); 3];
            view.progress = view.progress.map(|(share, _)| (share, long.clone()));
            let canvas = drawn(&view, size);
            let top = layout.status.size.height as i32;
            let bottom = layout.footer.top_left.y;
            let empty = drawn(
                &NoticeView {
                    lines: Vec::new(),
                    headline: String::new(),
                    progress: None,
                    ..notice
                },
                size,
            );
            for at in Rectangle::new(Point::zero(), canvas.size()).points() {
                let outside = at.y < top || at.y >= bottom;
                let beside = at.x < layout.margin || at.x >= width as i32 - layout.margin;
                if outside {
                    assert_eq!(canvas.pixel(at), empty.pixel(at), "{name} {width}x{height}: {at:?}");
                } else if beside {
                    assert_eq!(
                        canvas.pixel(at),
                        Some(palette::GROUND),
                        "{name} {width}x{height}: {at:?}"
                    );
                }
            }
        }
    }
}

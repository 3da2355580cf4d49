//! What the running service puts on its display, from its start to the night, at two sizes and in two languages; with
//! `SCANSIDE_VIEWS=all` at both sizes in every language. Each picture is left in `views` of the build's temporary folder
//! for people to look at.

mod inside;
mod service;
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded_graphics::geometry::Size;
use embedded_graphics::primitives::Rectangle;
use hardware::display::Canvas;
use inside::tampered::Tampered;
use inside::{CONTROLS, Running, Setup, count, pixels_of};
use scanside_edge::controls::Action;
use scanside_edge::daemon::network::{Sender, outgoing};
use scanside_edge::screens::{ResultState, layout::Layout, palette};
use service::Site;
use support::{CHEST, HEAVY, Said};

const LARGE: (u32, u32) = (800, 480);
const SMALL: (u32, u32) = (320, 240);
const LANGUAGES: [&str; 3] = ["en", "fr", "es"];
/// Slices of the series.
const SLICES: usize = 6;

/// Sizes and languages that are looked at.
fn chosen() -> Vec<((u32, u32), &'static str)> {
    if std::env::var_os("SCANSIDE_VIEWS").is_some_and(|value| value == "all") {
        return [LARGE, SMALL]
            .into_iter()
            .flat_map(|size| LANGUAGES.map(|language| (size, language)))
            .collect();
    }
    vec![(LARGE, "en"), (SMALL, "fr")]
}

/// A service with a display of a size and language whose pictures are kept.
struct Views<'a> {
    running: Running<'a>,
    ending: String,
}

impl Views<'_> {
    /// Waits for a screen, keeps its picture, and gives it.
    fn take(&self, name: &str, is: impl Fn(&Canvas) -> bool) -> Canvas {
        let canvas = self.running.wait_for_screen(name, is);
        self.keep(name, &canvas);
        canvas
    }

    /// The screen once it stays as it is.
    fn settled(&self, name: &str) -> Canvas {
        let canvas = self.running.settled();
        self.keep(name, &canvas);
        canvas
    }

    fn keep(&self, name: &str, canvas: &Canvas) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("views");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}-{}.png", self.ending));
        inside::write(canvas, &path);
    }
}

fn has(canvas: &Canvas, state: ResultState) -> bool {
    pixels_of(canvas, palette::accent(state)) > 200
}

/// How many different grey values, but for the colours of the screen itself, an area holds: a picture has many.
fn greys(canvas: &Canvas, area: Rectangle) -> usize {
    let mut seen = [false; 256];
    for y in area.rows() {
        for pixel in canvas
            .row(y as u32, area.top_left.x as u32, area.size.width)
            .chunks_exact(3)
        {
            if pixel[0] == pixel[1] && pixel[1] == pixel[2] {
                seen[usize::from(pixel[0])] = true;
            }
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

fn put(site: &Site, name: &str, said: Said<'_>) {
    fs::write(site.path("arriving"), said.bytes()).unwrap();
    fs::rename(site.path("arriving"), site.path("inbox").join(name)).unwrap();
}

#[test]
fn every_screen_of_a_day_is_what_happens_then() {
    for (size, language) in chosen() {
        let Some(mut site) = Site::new() else { return };
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        site.display = size;
        site.display_lines = match language {
            "fr" => "language = \"fr\"\n",
            "es" => "language = \"es\"\n",
            _ => "",
        };
        site.work = HEAVY;
        site.modalities = vec!["DX", "CT"];
        site.extra = format!(
            "{CONTROLS}[appliance.store]\nseries_quiet_seconds = 1\n[appliance.outbox]\nretry_first_seconds = 1\n\
             [appliance.outbox.archive]\naddress = \"{nobody}\"\nae_title = \"ARCHIVE\"\n"
        );
        site.with_confirmed_model().stop();
        day(&site, &format!("{}x{}-{language}", size.0, size.1));
    }
}

fn day(site: &Site, ending: &str) {
    let loads = Arc::new(AtomicBool::new(true));
    let stalls = loads.clone();
    let setup = Setup {
        parts: Box::new(|parts| Tampered::stall(parts, stalls)),
        outgoing: Some(Box::new(|config| outgoing(config.outbox.as_ref().unwrap()))),
        tasks: Box::new(|config| vec![Box::new(Sender::new(config.outbox.as_ref().unwrap()))]),
        ..Setup::new(site)
    };
    let views = Views {
        running: setup.start(),
        ending: ending.to_owned(),
    };
    let size = Size::new(site.display.0, site.display.1);
    let layout = Layout::new(size, 1);
    let starting = views.take("starting", |canvas| pixels_of(canvas, palette::BRAND) > 100);
    assert_eq!(pixels_of(&starting, palette::SETBACK), 0, "a start is no setback");
    loads.store(false, Ordering::SeqCst);
    let healthy = |canvas: &Canvas| pixels_of(canvas, palette::HEALTHY);
    views
        .running
        .wait_for_screen("the model", |canvas| healthy(canvas) > healthy(&starting) + 10);
    views.settled("idle");

    let series = |n: usize| format!("1.2.3.{n}.9");
    let radiograph = Said {
        series: &series(1),
        ..CHEST
    };
    put(site, "chest.dcm", radiograph);
    let body = layout.body();
    let panel = Rectangle::new(body.top_left, Size::new(body.size.width / 3, body.size.height));
    let working = views.take("working", |canvas| {
        greys(canvas, panel) > 60 && ResultState::ALL.iter().all(|state| !has(canvas, *state))
    });
    assert!(pixels_of(&working, palette::BRAND) > 20, "its step is marked");
    views
        .running
        .wait_for_screen("the result", |canvas| has(canvas, ResultState::Flagged));
    views.settled("flagged");
    // It is held until somebody has seen it.
    views.running.after(Action::Acknowledge);

    put(
        site,
        "knee.dcm",
        Said {
            uid: "1.2.3.2",
            study: "1.2.4",
            body_part: "KNEE",
            series: &series(2),
            ..CHEST
        },
    );
    let knee = views.take("no-model", |canvas| has(canvas, ResultState::NoModel));
    assert!(greys(&knee, layout.image) > 60, "it is shown");

    for number in 0..SLICES {
        put(
            site,
            &format!("{number}.dcm"),
            Said {
                uid: &format!("1.2.3.3.{number}"),
                study: "1.2.5",
                modality: "CT",
                series: &series(3),
                ..CHEST
            },
        );
    }
    site.wait("the series", || {
        (count(site, "SELECT count(*) FROM results") == 1 + SLICES as i64).then_some(())
    });
    let strip = views.settled("series");
    let place = Layout::with_strip(size, 1).strip;
    if !place.is_zero_sized() {
        assert!(
            greys(&strip, place) > 60,
            "the slices that weigh most are below the image"
        );
        assert!(greys(&knee, place) < 60, "of a single image there are none");
    }
    site.wait("an attempt to send", || {
        (count(
            site,
            "SELECT count(*) FROM outbox WHERE state = 'waiting' AND attempts > 0",
        ) > 0)
            .then_some(())
    });
    views.settled("unsent");
    for _ in 0..2 {
        views.running.press(Action::Previous);
    }
    views.settled("browsed");
    views.running.press(Action::List);
    views.settled("cases");
    views.running.press(Action::List);
    let day = views.running.settled();
    views.running.press(Action::Night);
    let night = views.settled("night");
    let brightness = |canvas: &Canvas| canvas.rgb().iter().map(|byte| u64::from(*byte)).sum::<u64>();
    assert!(brightness(&night) * 10 < brightness(&day) * 9);
    views.running.stop();
}

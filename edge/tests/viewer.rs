//! The service with a display, buttons, lights and a watchdog that the test owns: what people see, and what comes of
//! what they press.

mod service;
mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bundle::Policy;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::primitives::Rectangle;
use hardware::buttons::{Hand, Length, SimulatedButtons};
use hardware::clock::Clock;
use hardware::display::{Canvas, Display, DisplayError};
use hardware::leds::{LedState, SimulatedLeds};
use hardware::slots::{FileCounter, Folder, Storage};
use hardware::smp::{Identity, Information};
use hardware::watchdog::{News, SimulatedWatchdog};
use onnx::runtime::SessionOptions;
use rusqlite::Connection;
use scanside_edge::appliance::Appliance;
use scanside_edge::config::Config;
use scanside_edge::controls::{Action, Panel};
use scanside_edge::daemon::models::Loading;
use scanside_edge::daemon::service::Description;
use scanside_edge::daemon::tasks::{MadeObjects, ObjectMaker, Owing};
use scanside_edge::daemon::{self, DaemonError, Ended, Outgoing, Parts};
use scanside_edge::outbox::Kind;
use scanside_edge::screens::layout::Layout;
use service::Site;
use support::{code, program, stderr, stdout};

const SIZE: Size = Size::new(800, 480);
/// Longer than anything that the display does by itself once a second.
const SETTLED: Duration = Duration::from_millis(1300);
/// Nobody's attention ends within a test.
const CONTROLS: &str = "[appliance.controls]\nkind = \"terminal\"\nreturn_seconds = 3600\n";

/// A display that a test looks at.
#[derive(Clone)]
struct Glass {
    shown: Arc<Mutex<Canvas>>,
    dirty: Arc<Mutex<Vec<Rectangle>>>,
    moves: bool,
}

impl Display for Glass {
    fn describe(&self) -> String {
        "glass".to_owned()
    }

    fn size(&self) -> Size {
        SIZE
    }

    fn flush(&mut self, canvas: &Canvas, dirty: &[Rectangle]) -> Result<(), DisplayError> {
        *self.shown.lock().unwrap() = canvas.clone();
        self.dirty.lock().unwrap().extend(dirty);
        Ok(())
    }

    fn shows_motion(&self) -> bool {
        self.moves
    }
}

/// A maker that brings its thread down.
struct Bomb;

impl ObjectMaker for Bomb {
    fn make(&mut self, _: &Owing<'_>) -> Result<MadeObjects, Box<dyn std::error::Error + Send + Sync>> {
        panic!("the test wants this thread to end");
    }
}

/// The service on a thread of the test.
struct Running<'a> {
    site: &'a Site,
    hand: Hand,
    glass: Glass,
    leds: SimulatedLeds,
    watchdog: SimulatedWatchdog,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Ended, DaemonError>>,
}

/// Starts the service in this process, on what a service before left.
fn start(site: &Site, moves: bool, has_bomb: bool) -> Running<'_> {
    site.write_config();
    let (buttons, hand) = SimulatedButtons::new();
    let glass = Glass {
        shown: Arc::new(Mutex::new(Canvas::new(SIZE))),
        dirty: Arc::default(),
        moves,
    };
    let leds = SimulatedLeds::default();
    let watchdog = SimulatedWatchdog::with_interval(Duration::from_millis(400));
    let stop = Arc::new(AtomicBool::new(false));
    let parts = (glass.clone(), leds.clone(), watchdog.clone(), stop.clone());
    let (path, trusted) = (site.path("edge.toml"), site.trusted());
    let thread = thread::spawn(move || {
        let (glass, leds, watchdog, stop) = parts;
        let (_, config) = Config::load_appliance(&path).unwrap();
        let folder = |path: &Path| -> Arc<dyn Storage> { Arc::new(Folder::open(path).unwrap()) };
        let monotonic = folder(&config.monotonic());
        let meanings = Action::ALL.iter().map(|action| [Some(*action), None]).collect();
        let parts = Parts {
            slots: folder(&config.slots()),
            deltas: folder(&config.deltas()),
            counter: Arc::new(FileCounter::new(monotonic.clone())),
            clock: Clock::open(monotonic.clone(), Duration::ZERO),
            monotonic,
            line: None,
            display: Some(Box::new(glass)),
            panel: Some(Panel::new(Box::new(buttons), meanings)),
            leds: Some(Box::new(leds)),
            watchdog: Box::new(watchdog),
            thermal: path.join("no-sensors"),
            loading: Loading {
                keys: trusted,
                policy: Policy::default(),
                onnxruntime: None,
                session: SessionOptions::default(),
                appliance: Appliance::here(&[]),
            },
            tasks: Vec::new(),
            outgoing: has_bomb.then(|| Outgoing {
                kinds: vec![Kind::Json],
                maker: Box::new(Bomb),
            }),
        };
        let description = Description {
            roles: config.roles.clone(),
            identity: Identity::default(),
            information: Information::default(),
            trial_inferences: None,
        };
        daemon::run(&config, parts, description, &|| stop.load(Ordering::SeqCst))
    });
    Running {
        site,
        hand,
        glass,
        leds,
        watchdog,
        stop,
        thread,
    }
}

impl Running<'_> {
    fn press(&self, action: Action) {
        let button = Action::ALL.iter().position(|one| *one == action).unwrap();
        self.hand.press(button, Length::Short);
    }

    fn canvas(&self) -> Canvas {
        self.glass.shown.lock().unwrap().clone()
    }

    /// The screen, once it stays as it is.
    fn settled(&self) -> Canvas {
        self.site.wait("the screen to come to rest", || {
            let before = self.canvas();
            thread::sleep(SETTLED);
            (body(&before) == body(&self.canvas())).then_some(before)
        })
    }

    /// Presses a button, and gives the screen that comes of it.
    fn after(&self, action: Action) -> Canvas {
        self.press(action);
        self.settled()
    }

    /// Lets an image arrive and waits for its result; gives the number of its case.
    fn image(&self, name: &str) -> String {
        let before = count(self.site, "SELECT count(*) FROM results");
        self.site.image(name);
        self.site.wait("the result", || {
            (count(self.site, "SELECT count(*) FROM results") > before).then_some(())
        });
        text(self.site, "SELECT number FROM cases ORDER BY id DESC LIMIT 1")
    }

    fn stop(self) -> Ended {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().unwrap()
    }
}

/// Everything between the upper and the lower edge, where the time and the queue do not stand.
fn body(canvas: &Canvas) -> Vec<u8> {
    let layout = Layout::new(canvas.size(), 1);
    let rows = layout.status.size.height..layout.footer.top_left.y as u32;
    rows.flat_map(|y| canvas.row(y, 0, SIZE.width).to_vec()).collect()
}

/// The left third of that: the picture of a result.
fn picture(canvas: &Canvas) -> Vec<u8> {
    let layout = Layout::new(canvas.size(), 1);
    let rows = layout.status.size.height..layout.footer.top_left.y as u32;
    rows.flat_map(|y| canvas.row(y, 0, SIZE.width / 3).to_vec()).collect()
}

fn brightness(canvas: &Canvas) -> u64 {
    canvas.rgb().iter().map(|value| u64::from(*value)).sum()
}

fn database(site: &Site) -> Connection {
    Connection::open(site.path("state/store.sqlite")).unwrap()
}

fn count(site: &Site, sql: &str) -> i64 {
    database(site).query_row(sql, [], |row| row.get(0)).unwrap()
}

fn text(site: &Site, sql: &str) -> String {
    database(site).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// A place with a model that serves, and no service.
fn site() -> Option<Site> {
    let mut site = Site::new()?;
    site.extra = CONTROLS.to_owned();
    site.with_confirmed_model().stop();
    Some(site)
}

#[test]
fn cases_are_leafed_through_and_a_verdict_is_that_of_the_case_on_the_screen() {
    let Some(site) = site() else { return };
    let running = start(&site, false, false);
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
    let running = start(&site, false, false);
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
    let running = start(&site, false, false);
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
    let running = start(&site, true, false);
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

#[test]
fn the_watchdog_is_told_until_a_thread_is_lost() {
    let Some(site) = site() else { return };
    let running = start(&site, false, true);
    let mut told = Vec::new();
    running.site.wait("signs of life", || {
        told.extend(running.watchdog.told());
        (told.iter().filter(|news| **news == News::Alive).count() >= 3).then_some(())
    });
    assert_eq!(told[0], News::Ready);
    let serves = |news: &News| matches!(news, News::Status(line) if line.starts_with("serving "));
    running.site.wait("what goes on", || {
        told.extend(running.watchdog.told());
        told.iter().any(serves).then_some(())
    });
    // Its object for the outbox ends the filing thread.
    site.image("a.png");
    let watchdog = running.watchdog.clone();
    let lost = running.thread.join().unwrap().unwrap_err();
    assert!(matches!(lost, DaemonError::Lost), "{lost}");
    let _ = watchdog.told();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(watchdog.told(), [], "nothing lives");
}

#[test]
fn a_service_manager_hears_that_it_is_ready_also_after_a_restart() {
    let Some(mut site) = Site::new() else { return };
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    site.environment = vec![("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "2000000".into())];
    let hear = |wanted: &str| {
        let mut heard = Vec::new();
        site.wait(wanted, || {
            let mut message = [0; 1024];
            while let Ok(length) = socket.recv(&mut message) {
                heard.push(String::from_utf8_lossy(&message[..length]).trim().to_owned());
            }
            heard.iter().any(|one| one == wanted).then_some(())
        });
        heard
    };
    let mut service = site.start();
    hear("READY=1");
    hear("WATCHDOG=1");
    service.restart();
    let heard = hear("READY=1");
    assert!(
        !heard.contains(&"STOPPING=1".to_owned()),
        "a restart is no stop: {heard:?}"
    );
    hear("WATCHDOG=1");
    assert_eq!(service.stop(), 0);
    hear("STOPPING=1");
}

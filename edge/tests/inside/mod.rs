//! The service on a thread of the test, with display, buttons, lights, watchdog, clock and sensors that the test owns.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod tampered;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bundle::Policy;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use hardware::buttons::{Hand, Length, SimulatedButtons};
use hardware::clock::{Clock, Machine, ThisMachine};
use hardware::display::{Canvas, Display, DisplayError, PngDisplay, present};
use hardware::leds::SimulatedLeds;
use hardware::slots::{Chunk, FileCounter, Folder, Slots, Storage};
use hardware::smp::{Identity, Information};
use hardware::watchdog::SimulatedWatchdog;
use onnx::runtime::SessionOptions;
use rusqlite::Connection;
use scanside_edge::appliance::Appliance;
use scanside_edge::config::Config;
use scanside_edge::controls::{Action, Panel};
use scanside_edge::daemon::config::ApplianceConfig;
use scanside_edge::daemon::display::surface::Surface;
use scanside_edge::daemon::gatekeeper::BundleGate;
use scanside_edge::daemon::models::Loading;
use scanside_edge::daemon::pulse::Patience;
use scanside_edge::daemon::service::Description;
use scanside_edge::daemon::tasks::Task;
use scanside_edge::daemon::{self, DaemonError, Ended, Outgoing, Parts};
use scanside_edge::screens::layout::Layout;

use crate::service::Site;

/// Longer than anything that the display does by itself once a second.
pub const SETTLED: Duration = Duration::from_millis(1300);
/// Nobody's attention ends within a test.
pub const CONTROLS: &str = "[appliance.controls]\nkind = \"terminal\"\nreturn_seconds = 3600\n";

/// A display that a test looks at, and can unplug.
#[derive(Clone)]
pub struct Glass {
    size: Arc<Mutex<Size>>,
    shown: Arc<Mutex<Canvas>>,
    pub dirty: Arc<Mutex<Vec<Rectangle>>>,
    pub is_plugged: Arc<AtomicBool>,
    moves: Option<Duration>,
}

impl Glass {
    fn new(size: Size, moves: Option<Duration>) -> Self {
        Self {
            size: Arc::new(Mutex::new(size)),
            shown: Arc::new(Mutex::new(Canvas::new(size))),
            dirty: Arc::default(),
            is_plugged: Arc::new(AtomicBool::new(true)),
            moves,
        }
    }

    pub fn unplug(&self) {
        self.is_plugged.store(false, Ordering::SeqCst);
        let size = *self.size.lock().unwrap();
        *self.shown.lock().unwrap() = Canvas::new(size);
    }

    /// Plugs in a display of a size, which shows nothing by itself.
    pub fn plug_in(&self, size: Size) {
        *self.size.lock().unwrap() = size;
        *self.shown.lock().unwrap() = Canvas::new(size);
        self.is_plugged.store(true, Ordering::SeqCst);
    }

    /// What it shows.
    pub fn shown(&self) -> Canvas {
        self.shown.lock().unwrap().clone()
    }

    fn check(&self) -> Result<(), DisplayError> {
        if self.is_plugged.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(DisplayError::Io {
            path: "/dev/glass".into(),
            action: "write",
            source: std::io::Error::from_raw_os_error(libc::ENODEV),
        })
    }
}

impl Display for Glass {
    fn describe(&self) -> String {
        "glass".to_owned()
    }

    fn size(&self) -> Size {
        *self.size.lock().unwrap()
    }

    /// As a device does it: only what is dirty changes.
    fn flush(&mut self, canvas: &Canvas, dirty: &[Rectangle]) -> Result<(), DisplayError> {
        self.check()?;
        for area in dirty {
            copy(canvas, &mut self.shown.lock().unwrap(), *area);
        }
        self.dirty.lock().unwrap().extend(dirty);
        Ok(())
    }

    fn moves_every(&self) -> Option<Duration> {
        self.moves
    }
}

/// The machine's clocks, and what a test does to them.
#[derive(Clone, Default)]
pub struct Clocks {
    real: Arc<ThisMachine>,
    passed: Arc<Mutex<Duration>>,
    set: Arc<Mutex<Option<Duration>>>,
}

impl Clocks {
    /// Time passes, on both clocks.
    pub fn pass(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }

    /// Somebody sets the system's clock to a time since 1970.
    pub fn set_system(&self, time: Duration) {
        *self.set.lock().unwrap() = Some(time);
    }
}

impl Machine for Clocks {
    fn system(&self) -> Duration {
        let set = *self.set.lock().unwrap();
        set.unwrap_or_else(|| self.real.system() + *self.passed.lock().unwrap())
    }

    fn steady(&self) -> Duration {
        self.real.steady() + *self.passed.lock().unwrap()
    }
}

/// Makes something of the config, on the service's thread.
pub type FromConfig<T> = Box<dyn FnOnce(&ApplianceConfig) -> T + Send>;

/// What the service in the test runs on.
pub struct Setup<'a> {
    pub site: &'a Site,
    /// How often the display shows what moves, if it does.
    pub moves: Option<Duration>,
    /// Clocks other than the machine's.
    pub clocks: Option<Clocks>,
    /// A folder like the kernel's with temperatures.
    pub thermal: PathBuf,
    /// What results owe, and who makes it.
    pub outgoing: Option<FromConfig<Outgoing>>,
    /// What runs beside the rest.
    pub tasks: FromConfig<Vec<Box<dyn Task>>>,
    /// How long a step may take.
    pub patience: Patience,
    /// Changes anything else.
    pub parts: Box<dyn FnOnce(&mut Parts) + Send>,
}

/// The service on a thread of the test.
pub struct Running<'a> {
    pub site: &'a Site,
    pub hand: Hand,
    pub glass: Glass,
    pub leds: SimulatedLeds,
    pub watchdog: SimulatedWatchdog,
    stop: Arc<AtomicBool>,
    pub thread: JoinHandle<Result<Ended, DaemonError>>,
}

impl<'a> Setup<'a> {
    pub fn new(site: &'a Site) -> Self {
        Self {
            site,
            moves: None,
            clocks: None,
            thermal: site.path("no-sensors"),
            outgoing: None,
            tasks: Box::new(|_| Vec::new()),
            patience: Patience::default(),
            parts: Box::new(|_| ()),
        }
    }

    /// Starts the service in this process, on what a service before left.
    pub fn start(self) -> Running<'a> {
        let Self { site, moves, .. } = self;
        site.write_config();
        let (buttons, hand) = SimulatedButtons::new();
        let glass = Glass::new(Size::new(site.display.0, site.display.1), moves);
        let leds = SimulatedLeds::default();
        let watchdog = SimulatedWatchdog::with_interval(Duration::from_millis(400));
        let stop = Arc::new(AtomicBool::new(false));
        let owned = (glass.clone(), leds.clone(), watchdog.clone(), stop.clone());
        let (path, keys, patience) = (site.path("edge.toml"), site.trusted(), self.patience);
        let (clocks, thermal, outgoing, tasks, change) =
            (self.clocks, self.thermal, self.outgoing, self.tasks, self.parts);
        let thread = thread::spawn(move || {
            let (glass, leds, watchdog, stop) = owned;
            let (_, config) = Config::load_appliance(&path).unwrap();
            std::fs::create_dir_all(&config.state).unwrap();
            let folder = |path: &Path| -> Arc<dyn Storage> { Arc::new(Folder::open(path).unwrap()) };
            let monotonic = folder(&config.monotonic());
            let meanings = Action::ALL.iter().map(|action| [Some(*action), None]).collect();
            let machine: Box<dyn Machine> = match clocks {
                Some(clocks) => Box::new(clocks),
                None => Box::new(ThisMachine::default()),
            };
            let mut parts = Parts {
                slots: folder(&config.slots()),
                deltas: folder(&config.deltas()),
                counter: Arc::new(FileCounter::new(monotonic.clone())),
                clock: Clock::open_on(machine, monotonic.clone(), Duration::ZERO),
                monotonic,
                line: None,
                panel: Some(Panel::new(Box::new(buttons), meanings)),
                leds: Some(Box::new(leds)),
                watchdog: Box::new(watchdog),
                patience,
                thermal,
                loading: Loading {
                    keys,
                    policy: Policy::default(),
                    onnxruntime: None,
                    session: SessionOptions::default(),
                    appliance: Appliance::here(&[]),
                },
                tasks: tasks(&config),
                outgoing: outgoing.map(|outgoing| outgoing(&config)),
            };
            change(&mut parts);
            let description = Description {
                roles: config.roles.clone(),
                identity: Identity::default(),
                information: Information::default(),
                trial_inferences: None,
            };
            let open = move || glass.check().map(|()| Box::new(glass.clone()) as Box<dyn Display>);
            let mut surface = Surface::new(Some(Box::new(open)), config.display.language);
            daemon::run(&config, parts, description, &mut surface, &|| {
                stop.load(Ordering::SeqCst)
            })
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
}

impl Running<'_> {
    pub fn press(&self, action: Action) {
        let button = Action::ALL.iter().position(|one| *one == action).unwrap();
        self.hand.press(button, Length::Short);
    }

    pub fn canvas(&self) -> Canvas {
        self.glass.shown()
    }

    /// The screen, once it stays as it is.
    pub fn settled(&self) -> Canvas {
        self.site.wait("the screen to come to rest", || {
            let before = self.canvas();
            thread::sleep(SETTLED);
            (body(&before) == body(&self.canvas())).then_some(before)
        })
    }

    /// Presses a button, and gives the screen that comes of it.
    pub fn after(&self, action: Action) -> Canvas {
        self.press(action);
        self.settled()
    }

    /// Waits until the screen is as it should be, and gives it.
    pub fn wait_for_screen(&self, what: &str, is: impl Fn(&Canvas) -> bool) -> Canvas {
        self.site.wait(what, || Some(self.canvas()).filter(&is))
    }

    /// Lets an image arrive and waits for its result; gives the number of its case.
    pub fn image(&self, name: &str) -> String {
        let before = count(self.site, "SELECT count(*) FROM results");
        self.site.image(name);
        self.site.wait("the result", || {
            (count(self.site, "SELECT count(*) FROM results") > before).then_some(())
        });
        text(self.site, "SELECT number FROM cases ORDER BY id DESC LIMIT 1")
    }

    pub fn stop(self) -> Ended {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().unwrap()
    }

    /// How the service ended by itself.
    pub fn ended(self) -> DaemonError {
        self.thread.join().unwrap().unwrap_err()
    }
}

/// Everything between the upper and the lower edge, where the time and the queue do not stand.
pub fn body(canvas: &Canvas) -> Vec<u8> {
    part(canvas, canvas.size().width)
}

/// The left third of that: the picture of a result.
pub fn picture(canvas: &Canvas) -> Vec<u8> {
    part(canvas, canvas.size().width / 3)
}

fn part(canvas: &Canvas, width: u32) -> Vec<u8> {
    let layout = Layout::new(canvas.size(), 1);
    let rows = layout.status.size.height..layout.footer.top_left.y as u32;
    rows.flat_map(|y| canvas.row(y, 0, width).to_vec()).collect()
}

/// Copies an area of a canvas.
fn copy(from: &Canvas, to: &mut Canvas, area: Rectangle) {
    let colours = area.points().map(|at| from.pixel(at).unwrap_or(Rgb888::BLACK));
    let Ok(()) = to.fill_contiguous(&area, colours);
}

/// Writes a canvas into a PNG file.
pub fn write(canvas: &Canvas, path: &Path) {
    let size = canvas.size();
    let mut whole = Canvas::new(size);
    copy(canvas, &mut whole, Rectangle::new(Point::zero(), size));
    present(&mut whole, &mut PngDisplay::new(path, size)).unwrap();
}

/// How many pixels have a colour.
pub fn pixels_of(canvas: &Canvas, colour: Rgb888) -> usize {
    let wanted = [colour.r(), colour.g(), colour.b()];
    canvas.rgb().chunks_exact(3).filter(|pixel| **pixel == wanted).count()
}

pub fn database(site: &Site) -> Connection {
    Connection::open(site.path("state/store.sqlite")).unwrap()
}

pub fn count(site: &Site, sql: &str) -> i64 {
    database(site).query_row(sql, [], |row| row.get(0)).unwrap()
}

pub fn text(site: &Site, sql: &str) -> String {
    database(site).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// A place with a model that serves, and no service.
pub fn site() -> Option<Site> {
    let mut site = Site::new()?;
    site.extra = CONTROLS.to_owned();
    site.with_confirmed_model().stop();
    Some(site)
}

/// The slots of a service that does not run.
pub fn slots(site: &Site) -> Slots {
    let folder = |name: &str| Arc::new(Folder::open(site.path(name)).unwrap());
    let gate = BundleGate::new(site.trusted(), Policy::default(), Appliance::here(&[]));
    let counter = Arc::new(FileCounter::new(folder("state/monotonic")));
    let roles = [bundle::example::manifest().role];
    Slots::open(folder("state/slots"), &roles, Arc::new(gate), counter).unwrap()
}

/// Lets a bundle arrive that nobody has read back.
pub fn receive(slots: &mut Slots, bundle: &[u8]) {
    let chunk = Chunk {
        image: 0,
        offset: 0,
        data: bundle,
        length: Some(bundle.len() as u64),
        sha: None,
        upgrade: false,
    };
    assert_eq!(slots.upload(&chunk).unwrap().offset, bundle.len() as u64);
}

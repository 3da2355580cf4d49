//! The service on a thread of the test, with a display, buttons, lights and a watchdog that the test owns.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io;
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
use hardware::leds::SimulatedLeds;
use hardware::slots::{Chunk, FileCounter, Folder, Slots, Storage};
use hardware::smp::{Identity, Information};
use hardware::watchdog::SimulatedWatchdog;
use onnx::runtime::SessionOptions;
use rusqlite::Connection;
use scanside_edge::appliance::Appliance;
use scanside_edge::config::Config;
use scanside_edge::controls::{Action, Panel};
use scanside_edge::daemon::gatekeeper::BundleGate;
use scanside_edge::daemon::models::Loading;
use scanside_edge::daemon::service::Description;
use scanside_edge::daemon::{self, DaemonError, Ended, Parts};
use scanside_edge::screens::layout::Layout;

use crate::service::Site;

pub const SIZE: Size = Size::new(800, 480);
/// Longer than anything that the display does by itself once a second.
const SETTLED: Duration = Duration::from_millis(1300);
/// Nobody's attention ends within a test.
const CONTROLS: &str = "[appliance.controls]\nkind = \"terminal\"\nreturn_seconds = 3600\n";

/// A place with a model that serves, and no service.
pub fn site() -> Option<Site> {
    let mut site = Site::new()?;
    site.extra = CONTROLS.to_owned();
    site.with_confirmed_model().stop();
    Some(site)
}

/// A display that a test looks at.
#[derive(Clone)]
pub struct Glass {
    pub shown: Arc<Mutex<Canvas>>,
    pub dirty: Arc<Mutex<Vec<Rectangle>>>,
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

/// The service on a thread of the test.
pub struct Running<'a> {
    pub site: &'a Site,
    hand: Hand,
    pub glass: Glass,
    pub leds: SimulatedLeds,
    pub watchdog: SimulatedWatchdog,
    stop: Arc<AtomicBool>,
    pub thread: JoinHandle<Result<Ended, DaemonError>>,
}

/// Starts the service in this process, on what a service before left, and on other parts if a test wants that.
pub fn start(site: &Site, moves: bool, change: impl FnOnce(&mut Parts) + Send + 'static) -> Running<'_> {
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
        let mut parts = Parts {
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
            outgoing: None,
        };
        change(&mut parts);
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
    pub fn press(&self, action: Action) {
        let button = Action::ALL.iter().position(|one| *one == action).unwrap();
        self.hand.press(button, Length::Short);
    }

    pub fn canvas(&self) -> Canvas {
        self.glass.shown.lock().unwrap().clone()
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
}

/// Everything between the upper and the lower edge, where the time and the queue do not stand.
pub fn body(canvas: &Canvas) -> Vec<u8> {
    let layout = Layout::new(canvas.size(), 1);
    let rows = layout.status.size.height..layout.footer.top_left.y as u32;
    rows.flat_map(|y| canvas.row(y, 0, SIZE.width).to_vec()).collect()
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

/// The folder of the slots, with something that is done before each read, and without renames if no record is to be
/// written.
pub struct Tampered {
    folder: Folder,
    before_read: Box<dyn Fn() + Send + Sync>,
    renames: bool,
}

impl Tampered {
    /// Takes the place of the folder itself, whose lock the parts hold.
    pub fn put(parts: &mut Parts, path: &Path, renames: bool, before_read: impl Fn() + Send + Sync + 'static) {
        parts.slots = parts.deltas.clone();
        parts.slots = Arc::new(Self {
            folder: Folder::open(path).unwrap(),
            before_read: Box::new(before_read),
            renames,
        });
    }
}

impl Storage for Tampered {
    fn create(&self, name: &str) -> io::Result<()> {
        self.folder.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.folder.write_at(name, offset, bytes)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (self.before_read)();
        self.folder.read_at(name, offset, buffer)
    }
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.folder.length(name)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.folder.sync(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match self.renames {
            true => self.folder.rename(from, to),
            false => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }
    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_folder()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }
}

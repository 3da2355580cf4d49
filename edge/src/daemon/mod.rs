//! The service: images in, results on the display, new models over the serial line.
//!
//! ```text
//! main thread      display and lights: results, cases, what goes on; watchdog; stop and restart
//! buttons thread   presses -> main thread
//! serving thread   slots -> models; store -> decode -> examine -> store, display; wishes
//! filing thread    JSON, pictures, outbox objects, retention, audit head
//! tasks            intakes (folder, media, DICOM port), the outbox's sender: a thread each
//! serial thread    SMP server -> service -> slots, board, wishes
//! verifier thread  slots -> read back -> slots, board
//! ```
//! Port, clock, storage, buttons, lights, watchdog and tasks come in as [`Parts`], display and stop signal beside them, so
//! that tests own them.

pub mod board;
mod buttons;
pub mod config;
pub mod delta;
pub mod display;
pub mod files;
pub mod filing;
pub mod gatekeeper;
mod liveness;
pub mod main_loop;
pub mod models;
pub mod network;
mod places;
pub mod pulse;
pub mod routing;
mod self_test;
pub mod service;
pub mod serving;
pub mod shared;
pub mod site;
pub mod tasks;
pub mod triage;
pub mod verifier;

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hardware::clock::Clock;
use hardware::leds::Leds;
use hardware::slots::{SecurityCounter, SlotError, Slots, Storage};
use hardware::smp::{Parameters, Server};
use hardware::watchdog::Watchdog;

use crate::calibration::CalibrationFolder;
use crate::controls::{Panel, Times};
use crate::intake::folder::FolderIntake;
use crate::intake::media::MediaIntake;
use crate::intake::watch_folder::WatchError;
use crate::outbox::Kind;
use crate::store::audit::{AuditHead, Event};
use crate::store::{Store, StoreError};
use board::Part;
use config::ApplianceConfig;
use delta::Inbox;
use display::surface::Surface;
use display::{Fittings, Viewer};
use files::ReadableFiles;
use filing::Filing;
use gatekeeper::BundleGate;
use liveness::{Keeper, Liveness};
use models::{Loading, Models};
use pulse::{Doing, Patience};
use serde_json::json;
use service::{Description, Service};
use serving::Serving;
use shared::Shared;
use site::Site;
use tasks::{ObjectMaker, Surroundings, Task};
use triage::Triage;

/// How long to leave a line alone that failed.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(500);

/// A serial line; its reads end after a while, and what was unplugged may come back.
pub trait Line: Read + Write + Send {}

impl<T: Read + Write + Send> Line for T {}

/// What the service runs on.
pub struct Parts {
    /// Where the slots lie.
    pub slots: Arc<dyn Storage>,
    /// Where deltas arrive, on the medium of the slots.
    pub deltas: Arc<dyn Storage>,
    /// The security counter, apart from the slots.
    pub counter: Arc<dyn SecurityCounter>,
    /// Where what must never go back is kept, apart from slots and database.
    pub monotonic: Arc<dyn Storage>,
    /// The clock.
    pub clock: Clock,
    /// The serial line; without one no model can be flashed.
    pub line: Option<Box<dyn Line>>,
    /// What people press.
    pub panel: Option<Panel>,
    /// What shines.
    pub leds: Option<Box<dyn Leds>>,
    /// Whoever starts the service again when it hangs.
    pub watchdog: Box<dyn Watchdog>,
    /// How long a step of a thread may take before the thread is held to hang.
    pub patience: Patience,
    /// Where the kernel shows temperatures: [`hardware::thermal::SYSFS`].
    pub thermal: PathBuf,
    /// What models are loaded with.
    pub loading: Loading,
    /// What runs beside the rest: the DICOM port, the sender of the outbox. The watched folder and media are made from the
    /// config.
    pub tasks: Vec<Box<dyn Task>>,
    /// What each result owes the outbox, and who makes it.
    pub outgoing: Option<Outgoing>,
}

/// What leaves the appliance.
pub struct Outgoing {
    /// The objects of each result.
    pub kinds: Vec<Kind>,
    /// Who makes them.
    pub maker: Box<dyn ObjectMaker>,
}

/// How the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// A restart was asked for over the serial line.
    Restart,
}

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// A folder cannot be made.
    #[error("cannot make the folder {}: {source}; check that it may be written", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The slots cannot be opened.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The watched folder cannot be used.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The store cannot be opened.
    #[error("the case store: {0}")]
    Store(#[from] StoreError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A thread ended that the appliance cannot do without.
    #[error("a thread of the service was lost; its log says why, and a supervisor starts the service again")]
    Lost,
    /// A thread hangs that the appliance cannot do without.
    #[error(
        "the {thread} thread hangs: {doing} without an end for {seconds} s{}; a supervisor starts the service again",
        case.as_ref().map(|case| format!(", at case {case}")).unwrap_or_default()
    )]
    Stuck {
        /// Its name.
        thread: &'static str,
        /// What it is at.
        doing: Doing,
        /// How long nothing came of it.
        seconds: u64,
        /// The case at work, if it is the thread that works on cases.
        case: Option<String>,
    },
}

/// Serves until `stop` says so or a restart is asked for over the line.
///
/// # Errors
/// [`DaemonError`] if it cannot begin, which `surface` shows too; once it runs, nothing that happens to an image or a
/// model ends it.
pub fn run(
    config: &ApplianceConfig,
    parts: Parts,
    description: Description,
    surface: &mut Surface,
    stop: &dyn Fn() -> bool,
) -> Result<Ended, DaemonError> {
    serve(config, parts, description, surface, stop)
        .inspect_err(|error| display::show_failure(surface, error, &error.to_string()))
}

fn serve(
    config: &ApplianceConfig,
    parts: Parts,
    description: Description,
    surface: &mut Surface,
    stop: &dyn Fn() -> bool,
) -> Result<Ended, DaemonError> {
    for folder in [config.results(), config.logs()] {
        fs::create_dir_all(&folder).map_err(|source| DaemonError::Folder { path: folder, source })?;
    }
    let Loading {
        keys,
        policy,
        appliance,
        ..
    } = parts.loading.clone();
    let gate = BundleGate::new(keys.clone(), policy.clone(), appliance);
    let slots = Slots::open(parts.slots, &config.roles, Arc::new(gate), parts.counter)?;
    let shared = Arc::new(Shared::new(slots, parts.clock));
    let (kinds, maker) = parts
        .outgoing
        .map_or((Vec::new(), None), |out| (out.kinds, Some(out.maker)));
    let fittings = Fittings {
        times: config
            .controls
            .as_ref()
            .map_or_else(Times::default, |controls| controls.times()),
        night: config.display.night,
        keys: parts.panel.as_ref().map_or_else(Vec::new, Panel::actions),
        leds: parts.leds,
        thermal: parts.thermal,
        sends: !kinds.is_empty(),
        roles: u32::try_from(config.roles.len()).unwrap_or(u32::MAX),
    };
    let head = AuditHead::open(parts.monotonic);
    let store = open_store(config, &shared, kinds, &head)?;
    let head = Arc::new(Mutex::new(head));
    if let Err(error) = filing::begin_head(&store, &head) {
        // The filing thread goes on trying, and tells it.
        tracing::error!("{error}");
    }

    let mut threads = Threads::default();
    if let Some(line) = parts.line {
        let files = ReadableFiles::new(
            vec![("logs", config.logs()), ("results", config.results())],
            vec![("doctor.json", config.doctor())],
        );
        let service = Service::new(shared.clone(), files, Inbox::new(parts.deltas), description);
        threads.add_vital(serve_line(shared.clone(), service, line))?;
    }
    // What was asked for before a power cut must be read back before the start decides.
    // A medium that fails is told; what is confirmed serves without it.
    let _ = verifier::verify_waiting(&shared, &keys, &policy);
    threads.add_vital(verifier::spawn(shared.clone(), keys, policy))?;

    let (filing, tray) = Filing::new(shared.clone(), store.clone(), head.clone(), maker);
    let site = Site::new(CalibrationFolder::new(config.calibration()), config.serving());
    let models = Models::new(shared.clone(), parts.loading, site, store.clone());
    let trial_inferences = config.update.trial_inferences;
    let triage = Triage::new(
        shared.clone(),
        store.clone(),
        config.roles.len(),
        tray,
        trial_inferences,
    );
    let serving = Serving::new(shared.clone(), store.clone(), models, triage, config.doctor());
    let tasks = intakes(config)?.into_iter().chain(parts.tasks);
    threads.add_vital(spawn("serving", move || serving.run()))?;
    threads.add_vital(spawn("filing", move || filing.run()))?;
    for task in tasks {
        threads.add(tasks::spawn(task, Surroundings::new(store.clone(), shared.clone())))?;
    }
    if let Some(panel) = parts.panel {
        threads.add(buttons::spawn(shared.clone(), panel))?;
    }
    let mut keeper = Keeper::new(parts.patience);
    let mut check = || match threads.are_well() {
        true => keeper.look(&shared),
        false => Err(DaemonError::Lost),
    };
    let mut liveness = Liveness::new(parts.watchdog);
    let mut viewer = Viewer::new(surface, shared.clone(), store.clone(), fittings);
    liveness.ready();
    let ended = main_loop::run(&shared, &mut viewer, &mut liveness, stop, &mut check);
    // After a restart the same process goes on: for whoever watches it nothing stops.
    if !matches!(ended, Ok(Ended::Restart)) {
        liveness.stopping();
    }
    viewer.end();
    if matches!(ended, Err(DaemonError::Stuck { .. })) {
        // Whoever hangs is not waited for, nor what it may hold: the next start finds what a power cut leaves.
        shared.end();
    } else {
        end(&shared, &store, &head, threads);
    }
    // A trial that lost one of its threads has crashed: the next start takes it back.
    if ended.is_ok()
        && let Err(error) = shared.slots().stop_in_order()
    {
        tracing::error!("the stop cannot be written down, so that a trial will revert: {error}");
    }
    ended
}

fn open_store(
    config: &ApplianceConfig,
    shared: &Shared,
    kinds: Vec<Kind>,
    head: &AuditHead,
) -> Result<Arc<Store>, DaemonError> {
    let now = shared.now();
    let (store, damaged) = Store::open_or_renew(&config.state, config.store.clone(), kinds, now, head.head().ok())?;
    if let Some(damaged) = damaged {
        let problem = format!("the database was damaged; it was put aside as {}", damaged.display());
        shared.board().set_fault(Part::Store, problem);
    }
    let detail = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "clock": format!("{:?}", shared.clock().origin()),
        // Rows that were written down apart; without any, the head is begun anew and no longer tells of what went before.
        "head": head.head().ok().map(|head| head.rows),
    });
    let noted = store.note(now, Event::ServiceStarted, "service", &detail);
    let found = noted.and_then(|()| store.recover(now)).inspect_err(|error| {
        if error.is_damaged() {
            store.suspect();
        }
    })?;
    tracing::info!(
        waiting = found.waiting,
        removed = found.removed,
        lost = found.lost,
        "the store was opened"
    );
    Ok(Arc::new(store))
}

/// The intakes that need nothing but the config.
fn intakes(config: &ApplianceConfig) -> Result<Vec<Box<dyn Task>>, DaemonError> {
    let mut intakes: Vec<Box<dyn Task>> = Vec::new();
    if let Some(intake) = &config.intake {
        let folder = FolderIntake::open(&intake.folder, intake.quiet(), intake.finished)?;
        intakes.push(Box::new(folder));
    }
    if let Some(media) = &config.media {
        intakes.push(Box::new(MediaIntake::new(media)));
    }
    Ok(intakes)
}

/// The threads of the service.
#[derive(Default)]
struct Threads {
    /// Without one of these, nobody gets a result, or no engineer a new model in.
    vital: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Threads {
    fn add_vital(&mut self, spawned: io::Result<JoinHandle<()>>) -> Result<(), DaemonError> {
        self.vital.push(spawned.map_err(DaemonError::Thread)?);
        Ok(())
    }

    fn add(&mut self, spawned: io::Result<JoinHandle<()>>) -> Result<(), DaemonError> {
        self.others.push(spawned.map_err(DaemonError::Thread)?);
        Ok(())
    }

    fn are_well(&self) -> bool {
        !self.vital.iter().any(JoinHandle::is_finished)
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Lets the threads end first: nothing may change store and slots behind it.
fn end(shared: &Shared, store: &Store, head: &Mutex<AuditHead>, threads: Threads) {
    shared.end();
    for thread in threads.vital.into_iter().chain(threads.others) {
        if thread.join().is_err() {
            tracing::error!("a thread of the service panicked");
        }
    }
    let noted = store.note(shared.now(), Event::ServiceStopped, "service", &json!({}));
    if let Err(error) = noted.and_then(|()| filing::keep_head(store, head)) {
        tracing::error!("{error}");
    }
    if let Err(error) = shared.clock().keep() {
        tracing::error!("the time cannot be written down: {error}");
    }
}

fn serve_line(shared: Arc<Shared>, mut service: Service, line: Box<dyn Line>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("serial".to_owned()).spawn(move || {
        let mut server = Server::new(line, Parameters::default());
        let mut told = String::new();
        while !shared.is_ending() {
            let Err(error) = server.serve(&mut service, &mut || shared.is_ending()) else {
                continue;
            };
            // A line that stays away is told once.
            let problem = error.to_string();
            if problem != told {
                tracing::warn!("serial line: {problem}");
                told = problem;
            }
            thread::sleep(PAUSE_AFTER_FAULT);
        }
    })
}

//! The service: images from a folder, results on the display, new models over the serial line.
//!
//! ```text
//! serial thread    SMP server -> service -> slots, board, wishes
//! verifier thread  slots -> read back -> slots, board
//! serving thread   slots -> models; folder -> examination -> results, display; wishes
//! ```
//! Port, clock, storage, display and stop signal come in as [`Parts`], so that tests own them.

pub mod board;
pub mod config;
pub mod delta;
pub mod files;
pub mod gatekeeper;
pub mod main_loop;
pub mod models;
pub mod screen;
pub mod service;
pub mod shared;
pub mod site;
pub mod triage;
pub mod verifier;

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hardware::clock::Clock;
use hardware::display::Display;
use hardware::slots::{SecurityCounter, SlotError, Slots, Storage};
use hardware::smp::{Parameters, Server};

use crate::calibration::CalibrationFolder;
use crate::intake::watch_folder::{WatchError, WatchFolder};
use config::ApplianceConfig;
use delta::Inbox;
use files::ReadableFiles;
use gatekeeper::BundleGate;
use main_loop::MainLoop;
use models::{Loading, Models};
use screen::Screen;
use service::{Description, Service};
use shared::Shared;
use site::Site;
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
    /// The security counter, apart from the slots.
    pub counter: Arc<dyn SecurityCounter>,
    /// The clock.
    pub clock: Clock,
    /// The serial line; without one no model can be flashed.
    pub line: Option<Box<dyn Line>>,
    /// The display.
    pub display: Option<Box<dyn Display>>,
    /// What models are loaded with.
    pub loading: Loading,
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
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Serves until `stop` says so or a restart is asked for over the line.
///
/// # Errors
/// [`DaemonError`] if it cannot begin; once it runs, nothing that happens to an image or a model ends it.
pub fn run(
    config: &ApplianceConfig,
    parts: Parts,
    description: Description,
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
    let triage = triage(config, &shared)?;
    let mut threads = Vec::new();
    if let Some(line) = parts.line {
        let files = ReadableFiles::new(
            vec![("logs", config.logs()), ("results", config.results())],
            vec![("doctor.json", config.doctor())],
        );
        let service = Service::new(shared.clone(), files, Inbox::new(config.deltas()), description);
        threads.push(serve_line(shared.clone(), service, line).map_err(DaemonError::Thread)?);
    }
    // What was asked for before a power cut must be read back before the start decides.
    verifier::verify_waiting(&shared, &keys, &policy);
    threads.push(verifier::spawn(shared.clone(), keys, policy).map_err(DaemonError::Thread)?);

    let site = Site::new(CalibrationFolder::new(config.calibration()), config.serving());
    let models = Models::new(shared.clone(), parts.loading, site);
    let screen = Screen::new(parts.display, config.roles.clone());
    let ended = MainLoop::new(shared.clone(), models, triage, screen, config.doctor()).run(stop);
    end(&shared, threads);
    Ok(ended)
}

fn triage(config: &ApplianceConfig, shared: &Arc<Shared>) -> Result<Option<Triage>, DaemonError> {
    let Some(intake) = &config.intake else {
        return Ok(None);
    };
    let folder = WatchFolder::open(&intake.folder, intake.quiet())?;
    let after = config.update.trial_inferences;
    Ok(Some(Triage::new(shared.clone(), folder, config.results(), after)))
}

/// The threads end first: nothing may change the slots behind the orderly stop.
fn end(shared: &Shared, threads: Vec<JoinHandle<()>>) {
    shared.end();
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the service panicked");
        }
    }
    if let Err(error) = shared.clock().keep() {
        tracing::error!("the time cannot be written down: {error}");
    }
    if let Err(error) = shared.slots().stop_in_order() {
        tracing::error!("the stop cannot be written down, so that a trial will revert: {error}");
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

//! `run`: the service.

use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bundle::Policy;
use bundle::cli::TrustArgs;
use clap::Args;
use hardware::clock::Clock;
use hardware::display::{FramebufferDisplay, PngDisplay};
use hardware::slots::{FileCounter, Folder, Storage};
use hardware::smp::port::{FlowControl, Port, PortOptions, Pty};
use hardware::smp::{Identity, Information};
use hardware::thermal;
use hardware::watchdog::SystemdWatchdog;
use onnx::runtime::SessionOptions;

use super::logging;
use crate::appliance::Appliance;
use crate::config::Config;
use crate::controls::{LedsConfig, Panel};
use crate::daemon::config::{ApplianceConfig, DisplayKind, SerialConfig};
use crate::daemon::display::show_failure;
use crate::daemon::display::surface::{OpenDisplay, Surface};
use crate::daemon::models::Loading;
use crate::daemon::network::{self, DicomPort, Sender};
use crate::daemon::pulse::Patience;
use crate::daemon::service::Description;
use crate::daemon::tasks::Task;
use crate::daemon::{self, DaemonError, Ended, Line, Parts};
use crate::exit::Exit;

/// No appliance was there before 2026: a clock that says so was never set.
pub(super) const NOT_BEFORE: Duration = Duration::from_secs(1_767_225_600);

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Config file (TOML, see docs/appliance.md) with the section [appliance]
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Serves until SIGINT or SIGTERM; begins anew when a restart is asked for over the serial line.
///
/// # Errors
/// What keeps the service from beginning: config, keys, folders.
pub fn run(args: &RunArgs) -> Result<Exit> {
    let (config, appliance) = Config::load_appliance(&args.config)?;
    let stopped = stop_signal()?;
    let mut surface = Surface::new(display(&appliance.display.kind), appliance.display.language);
    let parts = loading(args, &config)
        .and_then(|loading| parts(&appliance, loading).context("the service cannot begin"))
        .inspect_err(|error| show_failure(&mut surface, error.as_ref(), &format!("{error:#}")))?;
    let log = logging::begin(&appliance.logs());
    let parts = Parts {
        panel: appliance
            .controls
            .as_ref()
            .and_then(|controls| there(Panel::open(controls))),
        leds: appliance.leds.as_ref().map(LedsConfig::leds),
        ..parts
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the service begins");
    let description = description(&appliance, &parts);
    let stop = || stopped.load(Ordering::SeqCst);
    let ended = daemon::run(&appliance, parts, description, &mut surface, &stop);
    if let Err(error @ DaemonError::Stuck { .. }) = &ended {
        tracing::error!("{error}");
        drop(log);
        leave_at_once();
    }
    let ended = ended?;
    tracing::info!(?ended, "the service ends");
    match ended {
        Ended::Stopped => Ok(Exit::Done),
        Ended::Restart => Err(begin_anew()),
    }
}

/// Ends this process though a thread of it hangs, which an end in order would wait for: in a library's code, say.
fn leave_at_once() -> ! {
    // SAFETY: _exit takes any number, and nothing of this process runs after it.
    unsafe { libc::_exit(Exit::Failed as i32) }
}

/// Buttons that cannot be had keep nobody from a result.
fn there<T>(opened: Result<T, impl std::fmt::Display>) -> Option<T> {
    opened.inspect_err(|error| tracing::error!("{error}")).ok()
}

/// The same program with the same arguments, in the same process: a supervisor sees no end.
fn begin_anew() -> anyhow::Error {
    let mut arguments = std::env::args_os();
    let itself = std::env::current_exe()
        .ok()
        .or_else(|| arguments.next().map(PathBuf::from));
    let error = Command::new(itself.unwrap_or_default())
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context("the service cannot begin anew; start it again")
}

fn stop_signal() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).context("cannot listen for signals")?;
    Ok(stopped)
}

fn loading(args: &RunArgs, config: &Config) -> Result<Loading> {
    let mut session = SessionOptions::default();
    if let Some(threads) = config.threads {
        session.intra_threads = threads;
    }
    if !config.providers.is_empty() {
        session.providers.clone_from(&config.providers);
    }
    Ok(Loading {
        keys: args.trust.trusted(config.trusted_keys.as_deref())?,
        policy: Policy {
            lowest_security_counter: config.lowest_security_counter,
            ..Policy::default()
        },
        onnxruntime: config.onnxruntime.clone(),
        appliance: Appliance::here(&session.providers),
        session,
    })
}

fn parts(config: &ApplianceConfig, loading: Loading) -> Result<Parts> {
    std::fs::create_dir_all(&config.state).with_context(|| format!("folder {}", config.state.display()))?;
    let slots = folder(config.slots())?;
    let monotonic = folder(config.monotonic())?;
    Ok(Parts {
        slots,
        deltas: folder(config.deltas())?,
        counter: Arc::new(FileCounter::new(monotonic.clone())),
        clock: Clock::open(monotonic.clone(), NOT_BEFORE),
        monotonic,
        line: config.serial.as_ref().map(line).transpose()?,
        panel: None,
        leds: None,
        watchdog: Box::new(SystemdWatchdog),
        patience: Patience::default(),
        thermal: PathBuf::from(thermal::SYSFS),
        loading,
        tasks: network_tasks(config),
        outgoing: config.outbox.as_ref().map(network::outgoing),
    })
}

/// What the config wants of the network.
fn network_tasks(config: &ApplianceConfig) -> Vec<Box<dyn Task>> {
    let port = config.dicom.clone().map(DicomPort::new);
    let sender = config.outbox.as_ref().map(Sender::new);
    let port = port.into_iter().map(|port| Box::new(port) as Box<dyn Task>);
    port.chain(sender.into_iter().map(|sender| Box::new(sender) as Box<dyn Task>))
        .collect()
}

fn folder(path: PathBuf) -> Result<Arc<dyn Storage>> {
    let opened = Folder::open(&path).with_context(|| {
        format!(
            "folder {}: it cannot be used, or another service uses it already",
            path.display()
        )
    })?;
    Ok(Arc::new(opened))
}

/// `pty:LINK` stands for a cable on a desk: a pseudo-terminal, and a link to the end that a client opens.
const PTY: &str = "pty:";

fn line(config: &SerialConfig) -> Result<Box<dyn Line>> {
    if let Some(link) = config.port.strip_prefix(PTY) {
        return pseudo_terminal(Path::new(link)).with_context(|| format!("serial line {}", config.port));
    }
    let mut options = PortOptions::new(config.port.as_str());
    options.baud = config.baud;
    if config.hardware_flow_control {
        options.flow_control = FlowControl::Hardware;
    }
    Ok(Box::new(Port::new(options)))
}

fn pseudo_terminal(link: &Path) -> Result<Box<dyn Line>> {
    let pty = Pty::open()?;
    // Only a link of an earlier start is replaced.
    if std::fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink()) {
        std::fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(pty.path(), link).with_context(|| format!("cannot make the link {}", link.display()))?;
    Ok(Box::new(pty))
}

fn display(kind: &DisplayKind) -> Option<OpenDisplay> {
    match kind.clone() {
        DisplayKind::None => None,
        DisplayKind::Framebuffer { device } => Some(Box::new(move || Ok(Box::new(FramebufferDisplay::open(&device)?)))),
        DisplayKind::Png { path, width, height } => {
            let size = embedded_graphics::geometry::Size::new(width, height);
            Some(Box::new(move || Ok(Box::new(PngDisplay::new(path.clone(), size)))))
        }
    }
}

fn description(config: &ApplianceConfig, parts: &Parts) -> Description {
    let software = format!("scanside-edge {}", env!("CARGO_PKG_VERSION"));
    let providers: Vec<String> = parts
        .loading
        .session
        .providers
        .iter()
        .map(ToString::to_string)
        .collect();
    let details = [
        ("display", config.display.kind.to_string()),
        ("providers", providers.join(", ")),
    ];
    Description {
        roles: config.roles.clone(),
        identity: Identity {
            product: "Scanside".to_owned(),
            serial: serial_number(),
            software,
            run: RandomState::new().hash_one(()),
            roles: config.roles.clone(),
            details: details.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        },
        information: information(),
        trial_inferences: config.update.trial_inferences,
    }
}

/// The board's serial number from the device tree, else the machine's id.
fn serial_number() -> String {
    let files = ["/proc/device-tree/serial-number", "/etc/machine-id"];
    let read = |path: &&str| std::fs::read_to_string(path).ok();
    let clean = |text: String| text.trim_matches(['\0', '\n', ' ']).to_owned();
    files
        .iter()
        .find_map(read)
        .map(clean)
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The git revision of the sources and the time of the build, if whoever built it told them.
const REVISION: Option<&str> = option_env!("SCANSIDE_GIT_REVISION");
const BUILD: Option<&str> = option_env!("SCANSIDE_BUILD");

fn information() -> Information {
    let [kernel_name, node, _, _, machine] = uname();
    Information {
        kernel: "Scanside".to_owned(),
        node,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        version: REVISION.unwrap_or("unknown").to_owned(),
        build: BUILD.unwrap_or("development").to_owned(),
        machine: machine.clone(),
        processor: machine,
        platform: std::fs::read_to_string("/proc/device-tree/model")
            .map_or_else(|_| "generic".to_owned(), |text| text.trim_end_matches('\0').to_owned()),
        os: kernel_name,
    }
}

/// sysname, nodename, release, version, machine.
fn uname() -> [String; 5] {
    // SAFETY: utsname is plain bytes, for which zeros are valid, and uname fills it with C strings.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        name
    };
    [
        &name.sysname,
        &name.nodename,
        &name.release,
        &name.version,
        &name.machine,
    ]
    .map(|field| {
        let bytes: Vec<u8> = field.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect();
        CString::new(bytes)
            .map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default()
    })
}

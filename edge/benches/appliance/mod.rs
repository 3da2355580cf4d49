//! The whole service in this process, with the benches' model: what `scanside-edge run` is, but for a display in memory,
//! as a framebuffer is.

#![allow(dead_code, reason = "each bench uses its part")]

pub mod cpu;

use std::error::Error;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scanside_edge::controls::Action;
use scanside_edge::daemon::Ended;
use scanside_edge::daemon::network::DicomPort;
use scanside_edge::daemon::tasks::Task;

use crate::inside::{self, Setup};
use crate::peers::servers::free_port;
use crate::service::Site;
use crate::{model, scanner};

const PATIENCE: Duration = Duration::from_secs(120);
/// No image of a bench has its number.
const FIRST_IMAGE: usize = 1_000_000;

/// A service that was set up once, and can be started as often as one likes, each time with an empty store.
pub struct Appliance {
    pub site: Site,
    pub port: u16,
    bundle: Vec<u8>,
    set_up: PathBuf,
}

impl Appliance {
    /// `None` where ONNX Runtime or dcmtk is absent. The queue takes so many images.
    pub fn set_up(queue: usize) -> Result<Option<Self>, Box<dyn Error>> {
        let Some(mut site) = Site::new() else {
            return Ok(None);
        };
        let port = free_port();
        site.extra = format!("{}[appliance.store]\nqueue = {queue}\n", scanner::section(port));
        let (mut manifest, files) = model::resnet18()?;
        manifest.intended_use.modalities = ["CR", "DX", "CT"].map(str::to_owned).to_vec();
        let bundle = site.bundle_of(manifest, &files);
        let mut service = site.start();
        service.serve(0, &bundle);
        service.stop();
        let set_up = site.path("set-up");
        fs::rename(site.path("state"), &set_up)?;
        Ok(Some(Self {
            site,
            port,
            bundle,
            set_up,
        }))
    }

    /// The bundle that it serves.
    pub fn bundle(&self) -> &[u8] {
        &self.bundle
    }

    /// As it was when it had been set up.
    pub fn renew(&self) -> Result<(), Box<dyn Error>> {
        let state = self.site.path("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        copy(&self.set_up, &state)
    }

    /// Starts it, and lets it examine an image, so that it is warm.
    pub fn start(&self) -> Result<Running<'_>, Box<dyn Error>> {
        self.renew()?;
        let mut setup = Setup::new(&self.site);
        setup.tasks = Box::new(|config| {
            let port = config.dicom.clone().map(DicomPort::new);
            port.into_iter().map(|port| Box::new(port) as Box<dyn Task>).collect()
        });
        let running = Running {
            appliance: self,
            service: setup.start(),
        };
        running.wait("the port", || TcpStream::connect(("127.0.0.1", self.port)).is_ok())?;
        let folder = self.site.path("first");
        let first = scanner::write(&folder, [FIRST_IMAGE], scanner::SMALL);
        let output = scanner::push("storescu", &[], self.port, &first);
        if !output.status.success() {
            return Err(format!("the first image was not taken: {output:?}").into());
        }
        running.wait("the first result", || {
            self.site.count("SELECT count(*) FROM images WHERE latency_ms > 0") == 1
        })?;
        Ok(running)
    }
}

/// The service at work.
pub struct Running<'a> {
    appliance: &'a Appliance,
    service: inside::Running<'a>,
}

impl Running<'_> {
    /// Looks until it is so.
    pub fn wait(&self, what: &str, mut is: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
        let begin = Instant::now();
        while !is() {
            if begin.elapsed() > PATIENCE {
                return Err(format!("waited for {what}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Somebody has seen the result that stands there: the next one may take its place.
    pub fn acknowledge(&self) {
        self.service.press(Action::Acknowledge);
    }

    /// Results that are stored, but for that of the first image.
    pub fn results(&self) -> usize {
        let results = self.appliance.site.count("SELECT count(*) FROM results");
        usize::try_from(results - 1).unwrap_or(0)
    }

    pub fn stop(self) -> Result<(), Box<dyn Error>> {
        match self.service.stop() {
            Ended::Stopped => Ok(()),
            Ended::Restart => Err("the service wants to begin anew".into()),
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

//! The twin at the end of a line: a thread that serves it on a pseudo-terminal.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::Simulated;
use crate::smp::port::Pty;
use crate::smp::server::{Parameters, ServeError, Server};
use crate::smp::shared::lock;
use crate::smp::statistics::LinkStatistics;

/// A twin that any client can open by the path of a pseudo-terminal. A restart that is asked for takes no time.
#[derive(Debug)]
pub struct SimulatedLine {
    device: Arc<Mutex<Simulated>>,
    path: std::path::PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<LinkStatistics, ServeError>>,
}

impl SimulatedLine {
    /// Serves a twin until [`SimulatedLine::stop`].
    ///
    /// # Errors
    /// The system's reason if there is no pseudo-terminal.
    pub fn start(device: Simulated, parameters: Parameters) -> io::Result<Self> {
        let pty = Pty::open()?;
        let path = pty.path().to_owned();
        let device = Arc::new(Mutex::new(device));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (device.clone(), stop.clone());
        let thread = std::thread::spawn(move || serve(pty, parameters, shared, &stopping));
        Ok(Self {
            device,
            path,
            stop,
            thread,
        })
    }

    /// What a client opens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device, to look and interfere; no request is answered while it is held.
    pub fn device(&self) -> std::sync::MutexGuard<'_, Simulated> {
        lock(&self.device)
    }

    /// Stops serving and tells what the link counted.
    ///
    /// # Errors
    /// [`ServeError`] if the port had failed.
    pub fn stop(self) -> Result<LinkStatistics, ServeError> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked").into()))
    }
}

fn serve(
    pty: Pty,
    parameters: Parameters,
    mut device: Arc<Mutex<Simulated>>,
    stopping: &AtomicBool,
) -> Result<LinkStatistics, ServeError> {
    let mut server = Server::new(pty, parameters);
    let asked = device.clone();
    while !stopping.load(Ordering::Relaxed) {
        server.serve(&mut device, &mut || {
            stopping.load(Ordering::Relaxed) || lock(&asked).restart.is_some()
        })?;
        let mut device = lock(&device);
        if device.restart.is_some() {
            device.restart_now();
        }
    }
    Ok(server.statistics())
}

//! The demo's appliance: the service on a pseudo-terminal, and the engineer who flashes the bundle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Places, Programs};
use crate::command::{heading, run as run_command};

/// How long the service may take until its line is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running service; it ends with this.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // Its state is durable at every moment: pulling the plug is an orderly end for a demo.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the service, flashes the bundle over its line, and gives the file in the slot.
pub fn flash(programs: &Programs, places: &Places) -> Result<PathBuf> {
    heading("flash the bundle over a serial line (a pseudo-terminal)");
    let folder = &places.appliance;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let line = folder.join("line");
    let service = start(programs, places, &line, &role(programs, places)?)?;
    wait_for(&line, &folder.join("log"))?;
    let mut flash = Command::new(&programs.flash);
    flash.arg("--port").arg(&line);
    flash.arg("upload").arg("--no-cache").arg(places.bundle());
    flash
        .arg("--key")
        .arg(places.public_key())
        .args(["--confirm", "--wait"]);
    run_command(&mut flash)?;
    drop(service);
    slot(&folder.join("state/slots"))
}

/// The role that the recipe gave the bundle: the appliance gets slots for it.
fn role(programs: &Programs, places: &Places) -> Result<String> {
    let mut inspect = Command::new(&programs.trainer);
    inspect.args(["bundle", "inspect", "--json"]).arg(places.bundle());
    let output = inspect.arg("--key").arg(places.public_key()).output()?;
    if !output.status.success() {
        bail!(
            "the bundle cannot be inspected: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).context("bundle inspect --json")?;
    let role = value["manifest"]["role"].as_str();
    Ok(role.context("the bundle names no role")?.to_owned())
}

fn start(programs: &Programs, places: &Places, line: &Path, role: &str) -> Result<Service> {
    let folder = &places.appliance;
    let config = folder.join("edge.toml");
    let text = format!(
        "trusted_keys = {keys:?}\n\n[appliance]\nstate = {state:?}\nroles = [{role:?}]\n\n[appliance.serial]\n\
         port = \"pty:{line}\"\n\n[appliance.display]\nkind = \"png\"\npath = {screen:?}\nwidth = 800\nheight = 480\n",
        keys = places.keys,
        state = folder.join("state"),
        line = line.display(),
        screen = folder.join("screen.png"),
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let log = File::create(folder.join("log"))?;
    let mut service = Command::new(&programs.edge);
    service.arg("run").arg("--config").arg(&config).stderr(log);
    let child = service.spawn().context("cannot start the service")?;
    Ok(Service(child))
}

fn wait_for(line: &Path, log: &Path) -> Result<()> {
    let start = Instant::now();
    while !line.exists() {
        if start.elapsed() > PATIENCE {
            bail!("the service does not open its line; its log is {}", log.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The one slot that holds something: the appliance had no model before.
fn slot(slots: &Path) -> Result<PathBuf> {
    let mut largest = None;
    for entry in fs::read_dir(slots).with_context(|| format!("cannot read {}", slots.display()))? {
        let entry = entry?;
        largest = largest.max(Some((entry.metadata()?.len(), entry.path())));
    }
    largest.map(|(_, path)| path).context("nothing was flashed")
}

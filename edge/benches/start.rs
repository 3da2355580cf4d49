//! From the start of the program until its model serves, after the first start: `cargo bench -p scanside-edge --bench start`.
//!
//! The program itself tells systemd's socket what it is at (`sd_notify`), as it does on the device. Its model is an INT8
//! ResNet-18 that was confirmed before. Ends with an error above a second.

mod appliance;
#[path = "../tests/inside/mod.rs"]
mod inside;
mod model;
#[path = "../tests/peers/mod.rs"]
mod peers;
#[path = "../tests/scanner/mod.rs"]
mod scanner;
#[path = "../tests/service/mod.rs"]
mod service;
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use appliance::Appliance;
use support::program;

const ROUNDS: usize = 11;
const LIMIT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let Some(appliance) = Appliance::set_up(100)? else {
        return Ok(());
    };
    appliance.renew()?;
    appliance.site.write_config();
    let socket = UnixDatagram::bind(appliance.site.path("notify"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut times = (0..ROUNDS)
        .map(|_| start(&appliance, &socket))
        .collect::<Result<Vec<_>, _>>()?;
    times.sort();
    let median = times[ROUNDS / 2];
    println!(
        "from the start of the program until its model serves: {:.0} ms at best, {:.0} ms in the middle of {ROUNDS}",
        times[0].as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3
    );
    match median < LIMIT {
        true => Ok(()),
        false => Err("more than a second".into()),
    }
}

fn start(appliance: &Appliance, socket: &UnixDatagram) -> Result<Duration, Box<dyn Error>> {
    let begin = Instant::now();
    let mut service = program()
        .args(["run", "--config"])
        .arg(appliance.site.path("edge.toml"))
        .env("NOTIFY_SOCKET", appliance.site.path("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut message = [0; 4096];
    let took = loop {
        let length = socket.recv(&mut message)?;
        if String::from_utf8_lossy(&message[..length]).contains("STATUS=serving") {
            break begin.elapsed();
        }
    };
    // SAFETY: a call with plain values.
    unsafe { libc::kill(service.id() as i32, libc::SIGTERM) };
    let ended = service.wait()?;
    // What it said on its way out is not the next one's.
    socket.set_nonblocking(true)?;
    while socket.recv(&mut message).is_ok() {}
    socket.set_nonblocking(false)?;
    match ended.success() {
        true => Ok(took),
        false => Err(format!("the service ended with {ended}").into()),
    }
}

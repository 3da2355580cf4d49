//! A device that is only simulated, at the end of a pseudo-terminal, to try clients on:
//!
//! ```text
//! cargo run -p scanside-hardware --example simulated_device
//! /dev/pts/7
//! smpmgr --port /dev/pts/7 os echo hello
//! ```
//!
//! It prints the path that clients open, and serves until standard input ends.

use std::error::Error;
use std::io::Read;

use scanside_hardware::smp::{Parameters, Simulated, SimulatedLine};

fn main() -> Result<(), Box<dyn Error>> {
    let line = SimulatedLine::start(Simulated::new(), Parameters::default())?;
    println!("{}", line.path().display());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for (name, value) in line.stop()?.fields() {
        eprintln!("{name} {value}");
    }
    Ok(())
}

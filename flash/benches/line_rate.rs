//! How much of a line the program uses: uploads over a pseudo-terminal that lets bytes through at a line's rate.
//!
//! Raw is compared with the line's capacity, console with the framing's own ceiling: 93 bytes on a line of 127.

#[path = "../tests/support/mod.rs"]
mod support;

use support::pump::{Paced, Pump};
use support::{Bundle, device, flash};

/// Bytes of a message on a full console line, and the length of that line.
const CONSOLE: (f64, f64) = (93.0, 127.0);
/// Seconds of an upload at full rate.
const SECONDS: f64 = 8.0;

fn main() {
    println!(
        "{:>9}  {:<8} {:>10} {:>9}  of its ceiling",
        "baud", "framing", "bytes/s", "of line"
    );
    for baud in [115_200, 921_600, 3_000_000_u32] {
        for (framing, ceiling) in [("raw", 1.0), ("console", CONSOLE.0 / CONSOLE.1)] {
            let capacity = f64::from(baud) / 10.0;
            let bundle = Bundle::new((capacity * ceiling * SECONDS) as usize, 1);
            let rate = rate(&bundle, baud, framing);
            let share = rate / capacity;
            println!(
                "{baud:>9}  {framing:<8} {rate:>10.0} {share:>9.3}  {:.3}",
                share / ceiling
            );
        }
    }
}

/// Bytes a second of an upload, from the first question to the last answer.
fn rate(bundle: &Bundle, baud: u32, framing: &str) -> f64 {
    let device = device(|_| ());
    let pump = Pump::new(device.path(), Paced::new(baud), Paced::new(baud));
    let speed = baud.to_string();
    let arguments = [
        "upload",
        bundle.file(),
        "--framing",
        framing,
        "--baud",
        &speed,
        "--json",
    ];
    let sent = flash(pump.port(), &arguments).expect(0).event("sent");
    let number = |key: &str| sent[key].as_f64().unwrap_or_default();
    number("bytes") / number("seconds")
}

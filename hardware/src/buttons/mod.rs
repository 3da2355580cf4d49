//! Push buttons: a [`Buttons`] tells which one was pressed, and whether for long.
//!
//! What a button means is not known here. A program gives the list of what is wired (keys of an input device, lines of
//! a GPIO chip, keys of a terminal) and gets indices into that list back. Contacts bounce: [`contacts`] makes presses
//! of edges, for every backend alike.
//!
//! ```
//! use std::time::Duration;
//! use scanside_hardware::buttons::{Buttons, Length, Press, SimulatedButtons};
//!
//! let (mut buttons, hand) = SimulatedButtons::new();
//! hand.press(2, Length::Short);
//! assert_eq!(buttons.poll(Duration::ZERO)?, [Press { button: 2, length: Length::Short }]);
//! # Ok::<(), scanside_hardware::buttons::ButtonsError>(())
//! ```

mod connection;
pub mod contacts;
mod evdev;
mod gpio;
#[cfg(test)]
mod kernel_tests;
mod simulated;
mod terminal;

use std::io;
use std::time::Duration;

pub use contacts::{Contacts, Timing};
pub use evdev::{EvdevButtons, key_code};
pub use gpio::{GpioButtons, GpioWiring};
pub use simulated::{Hand, SimulatedButtons};
pub use terminal::{TerminalButtons, terminal_key};

/// How long a button was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    /// Told when the button goes down; where it has a long press too, when it comes up before that.
    Short,
    /// Told while the button is still held.
    Long,
}

/// A button was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    /// Which one, as an index into the list that the backend was opened with.
    pub button: usize,
    /// For how long.
    pub length: Length,
}

/// A button as it is wired: `wire` is an evdev key code, the offset of a GPIO line or a terminal's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wired<W> {
    /// Where it is.
    pub wire: W,
    /// Whether a long press is told apart. A button without one answers when it goes down.
    pub has_long: bool,
}

/// Push buttons.
///
/// Poll them from a thread of their own: a press is timed when it is read.
pub trait Buttons: Send {
    /// What they are and where, for people: "buttons on /dev/gpiochip0, lines 17, 27".
    fn describe(&self) -> String;

    /// The presses since the last call, the oldest first; waits up to `timeout` for one.
    ///
    /// # Errors
    /// Why the device cannot be opened, once, and [`ButtonsError::Lost`] once when it goes away; later calls look for it
    /// and give no presses until it is there. A terminal that hung up does not come back.
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Press>, ButtonsError>;
}

/// Why buttons cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ButtonsError {
    /// There is no such device, or it may not be opened.
    #[error("buttons {device}: cannot {action}: {source}; check the device and that this user may read it")]
    Io {
        /// Path or name.
        device: String,
        /// What was tried: "open".
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// No input device has the name.
    #[error("buttons {device}: no input device has this name; {}", present(.found))]
    NoSuchDevice {
        /// The name that was looked for.
        device: String,
        /// Path and name of those that may be opened.
        found: Vec<String>,
    },
    /// The device has none of the keys that are configured.
    #[error("buttons {device}: it has no key {}; `evtest` shows those that it has", .keys.join(", "))]
    NoSuchKey {
        /// Path or name.
        device: String,
        /// The keys that it lacks.
        keys: Vec<String>,
    },
    /// The GPIO lines cannot be had.
    #[error("buttons {device}: {reason}; check chip and lines with `gpioinfo`, and that nothing else holds them")]
    Gpio {
        /// The chip.
        device: String,
        /// The system's reason.
        reason: String,
    },
    /// There is no terminal.
    #[error("buttons: {0} is no terminal; start the program in one, or configure other buttons")]
    NoTerminal(String),
    /// The device went away.
    #[error("buttons {device}: the device went away ({source}); it is looked for until it is back")]
    Lost {
        /// Path or name.
        device: String,
        /// The system's reason.
        source: io::Error,
    },
}

fn present(found: &[String]) -> String {
    if found.is_empty() {
        return "there is none that this user may read in /dev/input".to_owned();
    }
    format!("there are {}", found.join(", "))
}

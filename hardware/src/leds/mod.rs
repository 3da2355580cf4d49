//! Lights that say from across the room what the appliance does: [`Leds`] shows one [`LedState`].
//!
//! Up to three lamps, green, amber and red. A state has a lamp and a way to shine ([`lights`]); where its lamp is
//! missing another one takes its place and shines differently, so that one lamp alone tells every state apart. As on
//! the screens red stands for a fault of the device only. No lamp flashes at 1.4 to 2.8 Hz, which IEC 60601-1-8
//! (6.3.2.2) keeps for alarms that need an immediate response.

mod gpio;
mod pattern;
mod simulated;
mod sysfs;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use gpio::{GpioLamps, GpioLeds};
pub use pattern::{Lamps, Light, lights};
pub use simulated::SimulatedLeds;
pub use sysfs::{SYSFS, SysfsLeds};

/// What the lights say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LedState {
    /// All dark: the service has ended.
    Off,
    /// Waits for images.
    Ready,
    /// An image is examined, or a model received.
    Busy,
    /// Somebody has to look at a result: flagged or uncertain, and not acknowledged.
    Flagged,
    /// The appliance does not work.
    Fault,
}

impl LedState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Off, Self::Ready, Self::Busy, Self::Flagged, Self::Fault];
}

/// Lights.
pub trait Leds: Send {
    /// What they are and where, for people.
    fn describe(&self) -> String;

    /// Shows a state. `now` is any steady time; call this several times a second, because some lamps blink by it.
    ///
    /// # Errors
    /// [`LedsError`] if a lamp cannot be switched; it is tried again with the next call.
    fn show(&mut self, state: LedState, now: Duration) -> Result<(), LedsError>;
}

/// Why a lamp cannot be switched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedsError {
    /// A lamp of the kernel's LED class.
    #[error("LED {}: cannot {action}: {source}; check its name in /sys/class/leds and that this user may write there", path.display())]
    Io {
        /// Its file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A GPIO line.
    #[error("LEDs on {}: {reason}; check chip and lines with `gpioinfo`, and that nothing else holds them", chip.display())]
    Gpio {
        /// The chip.
        chip: PathBuf,
        /// The system's reason.
        reason: String,
    },
}

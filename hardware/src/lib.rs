//! What is attached to the appliance, each with a simulated twin.
//!
//! - [`buttons`]: push buttons by evdev, GPIO lines or a terminal's keys
//! - [`clock`]: the time, set over the line and never going back
//! - [`display`]: a canvas to draw on and the places that show it (PNG file, Linux framebuffer, window)
//! - [`leds`]: lights that say what the appliance does, by sysfs or GPIO lines
//! - [`slots`]: two places for each model, switched so that no power cut leaves the appliance without one
//! - [`smp`]: the serial line that engineers flash models over, by the Simple Management Protocol
//! - [`thermal`]: how warm it is, and whether the processor is slowed
//! - [`watchdog`]: whoever starts the program again when it hangs
//! - [`whole_file`]: files that are whole or absent, as `display` and scanside-flash need them
//!
//! Each is a cargo feature of its name; all are on unless a program wants fewer.

#[cfg(feature = "buttons")]
pub mod buttons;
#[cfg(feature = "slots")]
pub mod clock;
#[cfg(feature = "display")]
pub mod display;
#[cfg(feature = "leds")]
pub mod leds;
#[cfg(feature = "slots")]
pub mod slots;
#[cfg(feature = "smp")]
pub mod smp;
#[cfg(feature = "thermal")]
pub mod thermal;
#[cfg(feature = "watchdog")]
pub mod watchdog;
#[cfg(feature = "whole_file")]
pub mod whole_file;

//! What is attached to the appliance, each with a simulated twin.
//!
//! - [`clock`]: the time, set over the line and never going back
//! - [`display`]: a canvas to draw on and the places that show it (PNG file, Linux framebuffer, window)
//! - [`slots`]: two places for each model, switched so that no power cut leaves the appliance without one
//! - [`smp`]: the serial line that engineers flash models over, by the Simple Management Protocol

pub mod clock;
pub mod display;
pub mod slots;
pub mod smp;

//! What is attached to the appliance, each with a simulated twin.
//!
//! - [`display`]: a canvas to draw on and the places that show it (PNG file, Linux framebuffer, window)
//! - [`slots`]: two places for each model, switched so that no power cut leaves the appliance without one

pub mod display;
pub mod slots;

//! What is attached to the appliance, each with a simulated twin.
//!
//! - [`display`]: a canvas to draw on and the places that show it (PNG file, Linux framebuffer, window)

pub mod display;

//! How images reach the appliance.
//!
//! - [`arrival`]: an image that arrived whole, and the [`arrival::Acceptor`] that every intake hands it to
//! - [`facts`]: what such an image says about itself
//! - [`watch_folder`]: files that people or scanners put into a folder

pub mod arrival;
pub mod facts;
pub mod watch_folder;

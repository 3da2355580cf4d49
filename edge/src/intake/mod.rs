//! How images reach the appliance.
//!
//! - [`arrival`]: an image that arrived whole, and the [`arrival::Acceptor`] that every intake hands it to
//! - [`watch_folder`]: files that people or scanners put into a folder

pub mod arrival;
pub mod watch_folder;

//! How images reach the appliance.
//!
//! - [`watch_folder`]: files that people or scanners put into a folder

pub mod watch_folder;

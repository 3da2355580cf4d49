//! How images reach the appliance.
//!
//! - [`arrival`]: an image that arrived whole, and the [`arrival::Acceptor`] that every intake hands it to
//! - [`facts`]: what such an image says about itself
//! - [`dicom_scp`]: objects that scanners push
//! - [`folder`], [`media`]: files that people or scanners put into a folder, and those on removable media
//! - [`watch_folder`]: which files of a folder are whole, and where they go when they are finished

pub mod arrival;
pub mod dicom_scp;
pub mod facts;
pub mod folder;
pub mod media;
mod unread;
pub mod watch_folder;

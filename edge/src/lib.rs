//! The appliance: from an image to a finding on a display.
//!
//! - [`examination`]: a file into a finding: decode, quality gate, intended use, network, decision
//! - [`appliance`]: what this machine has, and whether a bundle can run on it
//! - [`inference`]: a verified bundle as a model that is ready to run
//! - [`intended_use`], [`decision`], [`codes`]: what may be said of an image, and why not more
//! - [`finding`]: what was found, as JSON
//! - [`calibration`]: operating points of this site
//! - [`served`]: which model serves each role
//! - [`golden`]: whether this appliance computes what the bundle's maker computed
//! - [`memory`]: giving freed memory back
//! - [`presentation`]: a finding in words and pictures
//! - [`screens`]: what the display shows
//! - [`store`]: cases, images, results, and what was done with them
//! - [`text`]: anti-aliased text behind embedded-graphics' `TextRenderer`
//! - [`controls`]: what people press, and what comes of it
//! - [`outbox`]: what leaves the appliance: DICOM to the archive, JSON to a folder
//! - [`intake`], [`daemon`]: images from a folder or scanner, new models over the serial line
//! - [`dimse`]: command sets of DICOM messages, read and written
//! - [`implementation`]: how this program calls itself in DICOM
//! - [`cli`], [`config`], [`exit`]: the program

pub mod appliance;
pub mod calibration;
pub mod cli;
pub mod codes;
pub mod config;
pub mod controls;
pub mod daemon;
pub mod decision;
pub mod dimse;
pub mod examination;
pub mod exit;
pub mod finding;
pub mod golden;
pub mod implementation;
pub mod inference;
pub mod intake;
pub mod intended_use;
pub mod memory;
pub mod outbox;
pub mod presentation;
pub mod screens;
pub mod served;
pub mod store;
pub mod text;

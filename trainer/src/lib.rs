//! The trainer: from a folder of images to a signed bundle.
//!
//! | module | what it holds |
//! |---|---|
//! | [`autograd`] | runs a network's graph in libtorch, with gradients |
//! | [`export`] | from a checkpoint to a signed bundle |
//! | [`report`] | plots and the report of a run |
//! | [`explain`] | where a network looked |
//! | [`turing`] | whether people tell generated images from real ones |
//! | [`training`] | from batches to a checkpoint, in a run folder |
//! | [`data`] | from a manifest or folder to batches of tensors; phantoms |
//! | [`recipes`] | the TOML file that says how a model is made |
//! | [`progress`] | how long work tells where it is |
//! | [`interrupt`] | a request to stop, from Ctrl-C or a test |
//! | [`metrics`] | figures of merit, with their intervals |
//! | [`replace`] | files that are replaced whole |
//! | [`seed`] | one seed for every random draw |
//! | [`assess`] | how far generated images are from real ones, and whether they are copies |
//! | [`utility`] | what generated images are worth to a classifier |
//! | [`native`] | devices, autocast and determinism of libtorch |

pub mod assess;
pub mod autograd;
pub mod data;
pub mod explain;
pub mod export;
pub mod interrupt;
pub mod metrics;
pub mod native;
pub mod progress;
pub mod recipes;
pub mod replace;
pub mod report;
pub mod seed;
pub mod training;
pub mod turing;
pub mod utility;

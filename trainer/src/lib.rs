//! The trainer: from a folder of images to a signed bundle.
//!
//! | module | what it holds |
//! |---|---|
//! | [`autograd`] | runs a network's graph in libtorch, with gradients |
//! | [`progress`] | how long work tells where it is |
//! | [`interrupt`] | a request to stop, from Ctrl-C or a test |
//! | [`metrics`] | figures of merit, with their intervals |
//! | [`seed`] | one seed for every random draw |
//! | [`native`] | devices, autocast and determinism of libtorch |

pub mod autograd;
pub mod interrupt;
pub mod metrics;
pub mod native;
pub mod progress;
pub mod seed;

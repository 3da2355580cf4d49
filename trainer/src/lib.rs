//! The trainer: from a folder of images to a signed bundle.
//!
//! | module | what it holds |
//! |---|---|
//! | [`progress`] | how long work tells where it is |
//! | [`interrupt`] | a request to stop, from Ctrl-C or a test |
//! | [`native`] | devices, autocast and determinism of libtorch |

pub mod interrupt;
pub mod native;
pub mod progress;

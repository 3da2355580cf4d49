//! Site calibration: operating points chosen anew on cases of this scanner whose truth is known.
//!
//! A scanner, a clinic's patients and the images that a model was made from differ, and a threshold that gave a wanted
//! sensitivity there may not give it here. The network stays as it is; only the probabilities from which a finding is
//! flagged move. They hold for one bundle: the file bears its digest, and another model never runs with them.
//!
//! - [`cases`]: the labelled cases of a CSV file
//! - [`derive`](mod@derive): operating points from cases, with intervals and warnings
//! - [`file`](mod@file): what is kept, by the digest of its bundle

pub mod cases;
pub mod derive;
pub mod file;

pub use cases::{CaseError, LabelledCases};
pub use derive::{DeriveError, derive};
pub use file::{CalibrationFolder, FileError, SiteCalibration};

//! Data: from a manifest or folder to batches of tensors.
//!
//! | module | what it holds |
//! |---|---|
//! | [`manifest`], [`scan`], [`table`] | the rows of a manifest CSV or of a folder of class folders; writing one |
//! | [`check`] | corrupt and missing files, duplicates, patients in two classes |
//! | [`dataset`] | the rows as a recipe sees them: sources chosen, labels mapped to classes |
//! | [`split`] | training, validation and test by patient or group, from a seed |
//! | [`order`] | the order of an epoch, balanced or not |
//! | [`expansion`] | 17 named transforms of every training image of chosen classes |
//! | [`generated`] | generated images beside the data, as many as are wanted |
//! | [`augment`] | what training does to an image before it is prepared |
//! | [`loader`] | batches of tensors from worker threads |
//! | [`phantom`] | made-up chest X-rays with known lesions, made-up CT patches with known signs |
//! | [`patches`] | squares cut around boxes and masks |
//! | [`filter`] | blur and noise |
//!
//! Nothing here knows libtorch: tensors are `ndarray`s.

pub mod augment;
pub mod check;
pub mod dataset;
pub mod error;
pub mod expansion;
pub mod filter;
pub mod generated;
pub mod loader;
pub mod manifest;
pub mod order;
pub mod patches;
pub mod phantom;
pub mod scan;
pub mod split;
pub mod table;

pub use dataset::{Dataset, Sample};
pub use error::DataError;
pub use loader::{Batch, Batches, Loader, LoaderOptions, Pass};
pub use manifest::{Manifest, Provenance};
pub use split::{Part, Sides, Split};

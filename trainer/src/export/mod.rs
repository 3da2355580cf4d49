//! From the best checkpoint of a run to a signed bundle, in four steps that can be taken one by one.
//!
//! | step | module | reads | writes into the run folder |
//! |---|---|---|---|
//! | export | [`model`] | `checkpoints/best.safetensors` | `model.onnx` |
//! | quantize | [`calibration_set`] | `model.onnx`, training images | `model.int8.onnx`, `quantization.json` |
//! | gate | [`operating`], [`novelty`], [`parity`], [`gate`] | both files, validation images | `calibration.json`, `gate.json`; sets temperature and novelty statistics in `model.int8.onnx` |
//! | pack | [`golden`], [`evaluation`], [`pack`] | all of it, test images | `evaluation.json`, `model.scanside` |
//!
//! Everything that decides on the appliance (temperature, operating points, conformal quantiles, novelty) is found on
//! the outputs of the INT8 file, because that file runs there. [`finish_run`] takes all steps. A bundle is not written
//! if the gate does not hold. [`appliance`] runs a
//! finished bundle on any labelled images.

pub mod appliance;
pub mod calibration_set;
pub mod context;
pub mod error;
pub mod evaluation;
pub mod finish;
pub mod gate;
pub mod golden;
pub mod images;
pub mod model;
pub mod novelty;
pub mod observe;
pub mod operating;
pub mod pack;
pub mod parity;
pub mod signing;

pub use error::{ExportError, Kind};
pub use finish::{Finished, finish_run};
pub use signing::SigningKey;

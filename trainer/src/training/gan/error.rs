//! What can end the training of a GAN.

use tch::TchError;

use crate::autograd::{InterpreterError, ParameterError};
use crate::data::DataError;
use crate::native::NativeError;
use crate::report::plots::PlotError;
use crate::report::sheet::SheetError;
use crate::training::checkpoint::CheckpointError;
use crate::training::network::NetworkError;
use crate::training::optimizer::OptimizerError;
use crate::training::run::RunError;

/// Why training ended before its time, or could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GanError {
    /// A network cannot be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A network cannot be run.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// Parameters cannot be made or set.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// An optimizer cannot step.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is one of another recipe.
    #[error("the checkpoint does not fit the recipe: {name:?} is missing or of another shape")]
    State {
        /// Name of the tensor.
        name: String,
    },
    /// The run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A sheet of samples cannot be written.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Too few images of a label to learn from.
    #[error(
        "the label `{label}` has {found} training image(s); a GAN needs {needed} or more of each label: add images, or leave the label out of data.labels"
    )]
    TooFew {
        /// The label.
        label: String,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Nothing to tell apart in the images.
    #[error(
        "all images looked at, or all of one label, are (nearly) of one grey value: nothing can be learnt from them; look at the files, and at preprocess.window"
    )]
    Flat,
    /// A number is not finite.
    #[error(
        "training diverged at step {step}: {what} is {value}, also after {back_offs} return(s) to an earlier checkpoint with half the rates; try smaller rates, discriminator.spectral_norm = true or discriminator.r1 = 10"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Which figure.
        what: String,
        /// Its value.
        value: f64,
        /// How often training went back.
        back_offs: u32,
    },
    /// The generator gives the same image whatever it is given.
    #[error(
        "the generator collapsed by step {step}: its images differ {ratio:.2} times as much as real ones, also after {back_offs} return(s) to an earlier checkpoint with half the rates; try discriminator.diff_augment, discriminator.r1 = 10 or a smaller generator_rate"
    )]
    Collapsed {
        /// The step.
        step: u64,
        /// Mean distance of generated images over that of real ones.
        ratio: f64,
        /// How often training went back.
        back_offs: u32,
    },
    /// The generator cannot be exported.
    #[error(transparent)]
    Export(#[from] onnx::export::ExportError),
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
    /// libtorch refused a call of the shim.
    #[error(transparent)]
    Native(#[from] NativeError),
}

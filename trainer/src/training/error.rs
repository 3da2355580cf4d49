//! What can end the training of a classifier.

use tch::TchError;

use super::batches::SourceError;
use super::checkpoint::CheckpointError;
use super::network::NetworkError;
use super::optimizer::OptimizerError;
use super::run::RunError;
use crate::autograd::{InterpreterError, ParameterError};
use crate::report::plots::PlotError;

/// Why training ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The network cannot be run.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// Parameters cannot be set.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The optimizer cannot step.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// No next batch.
    #[error("no next batch: {0}")]
    Source(SourceError),
    /// An epoch without a batch.
    #[error("there is no training batch: train.batch is larger than the number of training rows, or there are none")]
    NoBatches,
    /// The loss is not finite.
    #[error("the loss is {loss}: training diverged; try a smaller train.learning_rate or train.clip_norm")]
    Diverged {
        /// The loss.
        loss: f64,
    },
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

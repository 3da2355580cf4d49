//! Training: from batches to a checkpoint, in a run folder that says how it came to be.
//!
//! | module | what it holds |
//! |---|---|
//! | [`classifier`] | the loop: epochs, steps, evaluation, stopping, resuming |
//! | [`error`] | what can end it |
//! | [`step`] | one step; figures over the validation rows |
//! | [`stages`] | trainings that come before the main one |
//! | [`folds`] | cross-validation |
//! | [`fusion`] | the parameters of a fusion, and the ratio between its members |
//! | [`base`] | fine-tuning: a run that begins where an earlier one ended |
//! | [`network`] | a recipe's network as a graph, with modes and first weights |
//! | [`batches`], [`source`] | where the loop's batches come from |
//! | [`optimizer`], [`schedule`] | AdamW and SGD; the learning rate |
//! | [`weights`] | tensors from safetensors and torch files, and which of them were taken |
//! | [`checkpoint`] | parameters and the whole state of a run, written atomically |
//! | [`run`] | the run folder |
//! | [`history`] | figures by epoch: JSON lines, TensorBoard events, plots |
//! | [`pace`] | how long it will take, from its first steps |

pub mod base;
pub mod batches;
pub mod checkpoint;
pub mod classifier;
pub mod error;
pub mod folds;
pub mod fusion;
pub mod gan;
pub mod history;
pub mod network;
pub mod optimizer;
pub mod pace;
mod precision;
pub mod run;
pub mod schedule;
pub mod source;
pub mod stages;
pub mod step;
pub mod weights;

//! Where the training loop's batches come from. The loop knows nothing of files; a test hands in its own batches.

use ndarray::Array4;
use tch::{TchError, Tensor};

/// Why a source has no next batch.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Images and labels that go through the network together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[N,C,H,W]`, as `PreprocessSpec::apply` makes them.
    pub images: Array4<f32>,
    /// Class of each image.
    pub labels: Vec<i64>,
}

impl Batch {
    /// Images `[N,C,H,W]` and labels `[N]` on the CPU.
    ///
    /// # Errors
    /// When libtorch has no memory.
    pub fn tensors(&self) -> Result<(Tensor, Tensor), TchError> {
        Ok((images_tensor(&self.images)?, Tensor::f_from_slice(&self.labels)?))
    }
}

/// Images `[N,C,H,W]` as a tensor on the CPU.
///
/// # Errors
/// When libtorch has no memory.
pub fn images_tensor(images: &Array4<f32>) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = images.shape().iter().map(|extent| *extent as i64).collect();
    let flat = match images.as_slice() {
        Some(values) => Tensor::f_from_slice(values)?,
        None => Tensor::f_from_slice(&images.iter().copied().collect::<Vec<f32>>())?,
    };
    flat.f_reshape(shape)
}

/// Batches one after another.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Batch, SourceError>> + 'a>;

/// Gives the batches of a run. What it gives depends on its arguments (and its own seed) only, never on what it gave
/// before: a resumed run sees what an uninterrupted one would have seen.
pub trait BatchSource {
    /// Training images by class.
    fn class_counts(&self) -> Vec<usize>;

    /// Batches of one training epoch.
    fn training_batches(&self) -> u64;

    /// The batches of training epoch `epoch` (from 0), without the first `skip`.
    fn training(&self, epoch: u64, skip: u64) -> Batches<'_>;

    /// Batches of the validation rows; 0 where there are none.
    fn validation_batches(&self) -> u64;

    /// The validation rows, each once, without augmentation.
    fn validation(&self) -> Batches<'_>;
}

//! Where a network looked: Grad-CAM by autograd, at any layer that the architecture names.

pub mod gradcam;

pub use gradcam::{ExplainError, Explanation, explain};

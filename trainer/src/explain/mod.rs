//! Where a network looked: Grad-CAM by autograd, at any layer that the architecture names.
//!
//! | module | what it holds |
//! |---|---|
//! | [`gradcam`] | a classifier's class |
//! | [`judgement`] | a discriminator's score |

pub mod gradcam;
pub mod judgement;

pub use gradcam::{ExplainError, Explanation, explain};
pub use judgement::{Judgement, explain_judgement};

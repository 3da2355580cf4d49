//! Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) without a backward pass.
//!
//! After global average pooling and one linear layer with weight `w`, at every place of feature map
//! k the gradient is `d logit_c / d A_k = w[c,k] / (height width)`. The map of class c is therefore
//! `ReLU(sum_k w[c,k] A_k) / (height width)`: rows of the linear layer times the features, and no backward
//! pass. Only the most probable classes get one.

use ndarray::arr0;

use crate::graph::{Classifier, Dim, GraphBuilder, GraphError, Operator, Shape, ValueId};

/// Name of the intermediate `[N,k,h,w]` that holds the maps before ReLU, by whose norm errors are
/// measured.
pub const SIGNED: &str = "cam_signed";

/// Values of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maps {
    /// Maps before ReLU, `[N,k,h,w]`.
    pub signed: ValueId,
    /// Maps, `[N,k,h,w]`.
    pub cam: ValueId,
    /// Their classes, i64 `[N,k]`, by falling logit.
    pub classes: ValueId,
}

/// Adds the maps of the `top_k` classes with the largest logits.
///
/// # Errors
/// [`GraphError::Shape`] if `top_k` is 0 or more than there are classes.
pub fn gradcam(b: &mut GraphBuilder, parts: &Classifier, top_k: usize) -> Result<Maps, GraphError> {
    let top = b.node_with_outputs(
        "head.gradcam.top",
        Operator::TopK { k: top_k, axis: 1 },
        &[parts.logits],
    )?;
    let classes = top[1];
    let rows = b.node(
        "head.gradcam.rows",
        Operator::Gather { axis: 0 },
        &[parts.weight, classes],
    )?;
    let [channels, height, width] = extents(b, parts.features);
    let flat = Operator::Reshape {
        shape: Shape::batch(&[channels, height * width]),
    };
    let features = b.node("head.gradcam.features", flat, &[parts.features])?;
    let sums = b.node("head.gradcam.sums", Operator::MatMul, &[rows, features])?;
    // The gradient of the mean: each cell counts one part in h w.
    let share = b.constant("head.gradcam.share", arr0(1.0 / (height * width) as f32).into_dyn())?;
    let scaled = b.node("head.gradcam.scaled", Operator::Mul, &[sums, share])?;
    let grid = Operator::Reshape {
        shape: Shape::batch(&[top_k, height, width]),
    };
    let signed = b.node("head.gradcam.signed", grid, &[scaled])?;
    let cam = b.relu("head.gradcam.relu", signed)?;
    Ok(Maps { signed, cam, classes })
}

/// Channels, height and width of a value `[N,C,h,w]`.
fn extents(b: &GraphBuilder, features: ValueId) -> [usize; 3] {
    let mut known = b.shape(features).iter().skip(1).map(|dim| match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Batch => 1,
    });
    std::array::from_fn(|_| known.next().unwrap_or(1))
}

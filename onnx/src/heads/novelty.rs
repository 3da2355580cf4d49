//! How far an image lies from the training images: the Mahalanobis distance of its pooled
//! features to the nearest class (Lee et al. 2018, arXiv 1807.03888), in a reduced space.
//!
//! With the covariance Σ shared by the classes and P a projection for which PᵀΣP is the identity,
//! the distance to class m is the Euclidean one: |(f - mean) P - centre_m|.

use ndarray::{Array1, Array2, ArrayD};

use crate::graph::operator::Reduction;
use crate::graph::{GraphBuilder, GraphError, Operator, ValueId};
use crate::proto::ModelProto;

/// Initializer `[C]`: mean of the training features.
pub const MEAN: &str = "novelty.mean";
/// Initializer `[C,R]`: whitening projection.
pub const PROJECTION: &str = "novelty.projection";
/// Initializer `[M,R]`: centres of the classes after the projection.
pub const CENTERS: &str = "novelty.centers";

/// The node whose first input is the pooled features, as they are in the file at hand.
const CENTERED: &str = "head.novelty.centered";

/// Statistics of the training features.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    /// Mean of the pooled features, `[C]`.
    pub mean: Array1<f32>,
    /// Whitening projection, `[C,R]`.
    pub projection: Array2<f32>,
    /// Centres of the classes, (class mean - mean) projection, `[M,R]`.
    pub centers: Array2<f32>,
}

impl Novelty {
    /// Statistics of these extents, all zero: the features of the INT8 file are known only once
    /// the file exists, so calibration sets the initializers afterwards.
    pub fn placeholder(features: usize, components: usize, classes: usize) -> Self {
        Self {
            mean: Array1::zeros(features),
            projection: Array2::zeros((features, components)),
            centers: Array2::zeros((classes, components)),
        }
    }

    /// The three initializers with their names, to be set in a finished file.
    pub fn initializers(&self) -> [(&'static str, ArrayD<f32>); 3] {
        [
            (MEAN, self.mean.clone().into_dyn()),
            (PROJECTION, self.projection.clone().into_dyn()),
            (CENTERS, self.centers.clone().into_dyn()),
        ]
    }
}

/// Adds the distance `[N]` of the pooled features `[N,C]` to the nearest centre.
///
/// # Errors
/// [`GraphError::Shape`] if the statistics have other extents than the features.
pub fn novelty(b: &mut GraphBuilder, pooled: ValueId, statistics: &Novelty) -> Result<ValueId, GraphError> {
    let [mean, projection, centers] = statistics.initializers();
    let mean = b.constant(mean.0, mean.1)?;
    let centered = b.node(CENTERED, Operator::Sub, &[pooled, mean])?;
    let projection = b.constant(projection.0, projection.1)?;
    let reduced = b.node("head.novelty.reduced", Operator::MatMul, &[centered, projection])?;
    let reduced = b.node("head.novelty.row", Operator::Unsqueeze { axes: vec![1] }, &[reduced])?;
    let centers = b.constant(centers.0, centers.1)?;
    let offsets = b.node("head.novelty.offsets", Operator::Sub, &[reduced, centers])?;
    let squares = b.node("head.novelty.squares", Operator::Mul, &[offsets, offsets])?;
    let along = |reduction, axis| Operator::Reduce {
        reduction,
        axes: vec![axis],
        keep_dims: false,
    };
    let distances = b.node("head.novelty.distances", along(Reduction::Sum, 2), &[squares])?;
    let nearest = b.node("head.novelty.nearest", along(Reduction::Min, 1), &[distances])?;
    b.node("head.novelty.distance", Operator::Sqrt, &[nearest])
}

/// Name of the pooled features `[N,C]` that the novelty head of this file reads: in a quantized
/// file the dequantized ones. None if the file has no such head.
pub fn features_value(model: &ModelProto) -> Option<&str> {
    let nodes = &model.graph.as_ref()?.node;
    let node = nodes.iter().find(|node| node.name == CENTERED)?;
    node.input.first().map(String::as_str)
}

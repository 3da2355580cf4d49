//! Heads: what the appliance reads beside the logits, computed inside the exported graph.
//!
//! All nodes of the heads have names that begin with [`FLOAT_PREFIX`] and stay in float when the
//! network is quantized: they are a few percent of the work, and their errors would be seen.

pub mod gradcam;
pub mod novelty;

pub use novelty::Novelty;

use ndarray::arr0;

use crate::graph::{Graph, GraphBuilder, GraphError, Operator};

/// Nodes of this prefix stay in float when a network is quantized.
pub const FLOAT_PREFIX: &str = "head.";
/// Output `[N,K]`: class probabilities, softmax(logits / temperature).
pub const PROBABILITIES: &str = "probabilities";
/// Output `[N,k,h,w]`: Grad-CAM maps of the k most probable classes, not negative.
pub const CAM: &str = "cam";
/// Output `[N,k]` i64: the classes of the maps, most probable first.
pub const CAM_CLASS: &str = "cam_class";
/// Output `[N]`: Mahalanobis distance of the pooled features from the training images.
pub const NOVELTY: &str = "novelty";
/// Initializer, a scalar: the temperature. Calibration sets it in the finished file.
pub const TEMPERATURE: &str = "temperature";

/// Which heads a classifier gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Heads {
    /// Divides the logits before the softmax; above 0. 1 until calibration has found it.
    pub temperature: f32,
    /// For how many of the most probable classes a Grad-CAM map is made; at most all classes.
    pub top_k: usize,
    /// Statistics of the training features, if novelty is wanted.
    pub novelty: Option<Novelty>,
}

/// Adds the heads to a classifier: outputs `logits`, `probabilities`, `cam`, `cam_class` and, if
/// asked for, `novelty`. All values of the graph keep their numbers.
///
/// # Errors
/// [`GraphError::NotAClassifier`], [`GraphError::Config`] for a temperature or k out of range, or
/// [`GraphError::Shape`] for novelty statistics of another width than the features.
pub fn classifier(graph: Graph, heads: &Heads) -> Result<Graph, GraphError> {
    let parts = graph.classifier()?.clone();
    if !heads.temperature.is_finite() || heads.temperature <= 0.0 {
        return Err(GraphError::Config {
            what: "temperature",
            found: heads.temperature.to_string(),
            allowed: "numbers above 0".to_owned(),
        });
    }
    let mut b = GraphBuilder::extend(graph);
    let temperature = b.constant(TEMPERATURE, arr0(heads.temperature).into_dyn())?;
    let scaled = b.node("head.scaled_logits", Operator::Div, &[parts.logits, temperature])?;
    let probabilities = b.node("head.probabilities", Operator::Softmax { axis: 1 }, &[scaled])?;
    b.output(PROBABILITIES, probabilities)?;
    let maps = gradcam::gradcam(&mut b, &parts, heads.top_k)?;
    b.output(CAM, maps.cam)?;
    b.output(CAM_CLASS, maps.classes)?;
    b.intermediate(gradcam::SIGNED, maps.signed)?;
    if let Some(statistics) = &heads.novelty {
        let distance = novelty::novelty(&mut b, parts.pooled, statistics)?;
        b.output(NOVELTY, distance)?;
    }
    b.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::{ImageClassifier, resnet};

    fn network() -> Graph {
        resnet(
            18,
            &ImageClassifier {
                classes: 3,
                channels: 3,
                size: [224, 160],
            },
        )
        .unwrap()
    }

    #[test]
    fn the_outputs_are_those_of_the_contract() {
        let heads = Heads {
            temperature: 1.5,
            top_k: 2,
            novelty: Some(Novelty::placeholder(512, 16, 3)),
        };
        let graph = classifier(network(), &heads).unwrap();
        let outputs = graph.outputs().iter().map(|id| graph.value(*id));
        let described: Vec<_> = outputs.map(|value| format!("{} {}", value.name, value.shape)).collect();
        assert_eq!(
            described,
            [
                "logits [N, 3]",
                "probabilities [N, 3]",
                "cam [N, 2, 7, 5]",
                "cam_class [N, 2]",
                "novelty [N]"
            ]
        );
        let network_nodes = network().nodes().len();
        assert!(
            graph.nodes()[network_nodes..]
                .iter()
                .all(|node| node.name.starts_with(FLOAT_PREFIX))
        );
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let heads = Heads {
            temperature: 1.0,
            top_k: 4,
            novelty: None,
        };
        assert!(
            classifier(network(), &heads)
                .unwrap_err()
                .to_string()
                .contains("k is 4")
        );
        let heads = Heads {
            temperature: 0.0,
            top_k: 1,
            novelty: None,
        };
        assert!(
            classifier(network(), &heads)
                .unwrap_err()
                .to_string()
                .contains("temperature is 0")
        );
        let heads = Heads {
            temperature: 1.0,
            top_k: 1,
            novelty: Some(Novelty::placeholder(64, 4, 1)),
        };
        assert!(
            classifier(network(), &heads)
                .unwrap_err()
                .to_string()
                .contains("head.novelty")
        );
    }
}

//! Trained parameters by name.

use indexmap::IndexMap;
use ndarray::ArrayD;

use crate::graph::Graph;

/// Parameters by torchvision's name, in the order of the graph or file they come from.
pub type Parameters = IndexMap<String, ArrayD<f32>>;

/// Why parameters do not suit a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// A parameter of the graph is not there.
    #[error("the parameters lack `{name}` of shape {shape:?}; was another architecture trained?")]
    Missing {
        /// Name of the parameter.
        name: String,
        /// Its shape in the graph.
        shape: Vec<usize>,
    },
    /// A parameter has another shape than in the graph.
    #[error("parameter `{name}` has shape {found:?}, the graph wants {wanted:?}")]
    Shape {
        /// Name of the parameter.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// Its shape in the graph.
        wanted: Vec<usize>,
    },
    /// A parameter holds a NaN or an infinity.
    #[error("parameter `{name}` holds {value} at element {index}; did training diverge?")]
    NotFinite {
        /// Name of the parameter.
        name: String,
        /// Position in row-major order.
        index: usize,
        /// The value.
        value: f32,
    },
}

/// Checks that every parameter of the graph is there, has its shape and is finite.
///
/// # Errors
/// The first [`ParameterError`] in the graph's order.
pub fn check(graph: &Graph, parameters: &Parameters) -> Result<(), ParameterError> {
    graph.parameters().iter().try_for_each(|wanted| {
        let name = wanted.name.clone();
        let Some(found) = parameters.get(&name) else {
            return Err(ParameterError::Missing {
                name,
                shape: wanted.shape.clone(),
            });
        };
        if found.shape() != wanted.shape {
            let (found, wanted) = (found.shape().to_vec(), wanted.shape.clone());
            return Err(ParameterError::Shape { name, found, wanted });
        }
        match found.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((index, value)) => Err(ParameterError::NotFinite {
                name,
                index,
                value: *value,
            }),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ElementType, GraphBuilder, Shape};
    use ndarray::IxDyn;

    #[test]
    fn misfits_are_named() {
        let mut b = GraphBuilder::new("g");
        let x = b.input("x", ElementType::F32, Shape::batch(&[2])).unwrap();
        let y = b.linear("fc", x, 3).unwrap();
        b.output("y", y).unwrap();
        let graph = b.finish().unwrap();
        let mut parameters = Parameters::new();
        parameters.insert("fc.weight".into(), ArrayD::ones(IxDyn(&[3, 2])));
        assert!(
            check(&graph, &parameters)
                .unwrap_err()
                .to_string()
                .contains("lack `fc.bias`")
        );
        parameters.insert("fc.bias".into(), ArrayD::ones(IxDyn(&[2])));
        assert!(matches!(check(&graph, &parameters), Err(ParameterError::Shape { .. })));
        parameters.insert("fc.bias".into(), ArrayD::ones(IxDyn(&[3])));
        check(&graph, &parameters).unwrap();
        parameters["fc.weight"][[1, 0]] = f32::NAN;
        assert!(matches!(
            check(&graph, &parameters),
            Err(ParameterError::NotFinite { index: 2, .. })
        ));
    }
}

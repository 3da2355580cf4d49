//! A graph with trained parameters as an ONNX file: operator set 17, IR version 8, the batch
//! dynamic under the name `N`. Equal graphs and parameters give equal bytes.

mod fold;
mod node;
pub mod patch;

pub use fold::fold_batch_norm;

use ndarray::ArrayD;

use crate::graph::{ConstantData, Dim, Graph, GraphError, Value};
use crate::parameters::{ParameterError, Parameters, check};
use crate::proto::{
    Dimension, GraphProto, IR_VERSION, ModelProto, OPSET_VERSION, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

/// Name of the batch axis in files.
pub const BATCH_AXIS: &str = "N";

/// Why a graph could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The parameters do not suit the graph.
    #[error("cannot export `{graph}`: {source}")]
    Parameters {
        /// Name of the graph.
        graph: String,
        /// What does not fit.
        source: ParameterError,
    },
    /// The graph without BatchNorm could not be built.
    #[error("cannot fold BatchNorm: {0}")]
    Fold(#[from] GraphError),
}

/// The ONNX file of a trained network: BatchNorm folded, then encoded.
///
/// # Errors
/// [`ExportError`] if parameters are missing, have the wrong shape or are not finite.
pub fn export(graph: &Graph, parameters: &Parameters) -> Result<Vec<u8>, ExportError> {
    let (graph, parameters) = fold_batch_norm(graph, parameters)?;
    to_model(&graph, &parameters).map(|model| model.to_bytes())
}

/// The graph as it stands, with types and shapes of all values.
///
/// # Errors
/// [`ExportError::Parameters`].
pub fn to_model(graph: &Graph, parameters: &Parameters) -> Result<ModelProto, ExportError> {
    check(graph, parameters).map_err(|source| ExportError::Parameters {
        graph: graph.name().to_owned(),
        source,
    })?;
    let mut nodes = Vec::with_capacity(graph.nodes().len());
    let mut initializers = initializers(graph, parameters);
    for node in graph.nodes() {
        let encoded = node::encode(graph, node);
        nodes.push(encoded.node);
        initializers.extend(encoded.initializers);
    }
    let file_graph = GraphProto {
        name: graph.name().to_owned(),
        value_info: intermediate_values(graph),
        node: nodes,
        initializer: initializers,
        input: graph.inputs().iter().map(|id| value_info(graph.value(*id))).collect(),
        output: graph.outputs().iter().map(|id| value_info(graph.value(*id))).collect(),
        ..Default::default()
    };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET_VERSION,
        }],
        producer_name: "scanside".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(file_graph),
        ..Default::default()
    })
}

/// Parameters, then constants, each in the graph's order.
fn initializers(graph: &Graph, parameters: &Parameters) -> Vec<TensorProto> {
    let trained = graph.parameters().iter().map(|parameter| {
        let array = &parameters[&parameter.name];
        float_tensor(&graph.value(parameter.value).name, array)
    });
    let constants = graph.constants().iter().map(|constant| {
        let name = &graph.value(constant.value).name;
        match &constant.data {
            ConstantData::F32(array) => float_tensor(name, array),
            ConstantData::I64(array) => {
                let elements: Vec<i64> = array.iter().copied().collect();
                TensorProto::from_i64(name, array.shape(), &elements)
            }
        }
    });
    trained.chain(constants).collect()
}

fn float_tensor(name: &str, array: &ArrayD<f32>) -> TensorProto {
    match array.as_slice() {
        Some(elements) => TensorProto::from_f32(name, array.shape(), elements),
        None => TensorProto::from_f32(name, array.shape(), &array.iter().copied().collect::<Vec<_>>()),
    }
}

/// What is known of the values between nodes.
fn intermediate_values(graph: &Graph) -> Vec<ValueInfoProto> {
    let ids = graph.nodes().iter().flat_map(|node| &node.outputs);
    ids.filter(|id| !graph.outputs().contains(id))
        .map(|id| value_info(graph.value(*id)))
        .collect()
}

fn value_info(value: &Value) -> ValueInfoProto {
    let dims = value.shape.iter().map(|dim| match dim {
        Dim::Batch => Dimension::symbolic(BATCH_AXIS),
        Dim::Fixed(extent) => Dimension::fixed(*extent as i64),
    });
    ValueInfoProto::tensor(&value.name, value.element, dims.collect())
}

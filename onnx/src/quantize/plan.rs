//! Which part of a graph runs in 8 bits, and where its tensors are rounded.
//!
//! ONNX Runtime replaces `DequantizeLinear -> operator -> QuantizeLinear` by an 8-bit operator. So
//! every tensor that an 8-bit operator reads or writes is rounded once, where it is written, and a
//! ReLU behind a convolution or addition needs no operator: with unsigned numbers whose zero point
//! is 0, rounding cuts off what is negative.

use std::collections::{HashMap, HashSet};

use super::affine::ActivationType;
use super::{HeadPrecision, QuantizeError, QuantizeOptions};
use crate::heads::FLOAT_PREFIX;
use crate::proto::{GraphProto, NodeProto};

/// A tensor that is rounded to 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundedTensor {
    /// Its name in the float graph.
    pub name: String,
    /// The tensor whose scale and zero point it has: its own name, or that of the tensor it was
    /// only picked from (max pooling, reshaping).
    pub range_of: String,
}

/// A node whose constant weights become 8-bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedLayer {
    /// Position of the node in the float graph.
    pub node: usize,
    /// The tensor that the layer reads.
    pub input: String,
    /// The tensor that leaves the layer: behind the ReLU where one is folded in.
    pub output: String,
}

/// What is to be done with a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tensors in the order in which the graph writes them.
    pub tensors: Vec<RoundedTensor>,
    /// Layers with weights, in order.
    pub layers: Vec<WeightedLayer>,
    /// Positions of the ReLU nodes whose work rounding does.
    pub folded_relus: HashSet<usize>,
    /// What those read -> what they wrote.
    pub folded_outputs: HashMap<String, String>,
    /// Positions of nodes that read rounded tensors.
    pub quantized_nodes: HashSet<usize>,
    /// Names of the graph's inputs and outputs.
    pub ends: HashSet<String>,
}

impl Plan {
    /// Plans the quantization of a float graph.
    ///
    /// # Errors
    /// [`QuantizeError::NothingToQuantize`] if the graph has no convolution with constant weights.
    pub fn new(graph: &GraphProto, options: &QuantizeOptions) -> Result<Self, QuantizeError> {
        let mut planner = Planner::new(graph, options);
        for index in 0..graph.node.len() {
            planner.visit(index);
        }
        let ends = graph.input.iter().chain(&graph.output);
        planner.plan.ends = ends.map(|value| value.name.clone()).collect();
        match planner.plan.layers.is_empty() {
            true => Err(QuantizeError::NothingToQuantize),
            false => Ok(planner.plan),
        }
    }
}

struct Planner<'a> {
    graph: &'a GraphProto,
    options: &'a QuantizeOptions,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    constants: HashMap<&'a str, usize>,
    /// Rounded tensors, each with the tensor that has its range.
    rounded: HashMap<String, String>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a GraphProto, options: &'a QuantizeOptions) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                readers.entry(input).or_default().push(index);
            }
        }
        Self {
            graph,
            options,
            readers,
            outputs: graph.output.iter().map(|output| output.name.as_str()).collect(),
            constants: graph
                .initializer
                .iter()
                .map(|t| (t.name.as_str(), t.dims.len()))
                .collect(),
            rounded: HashMap::new(),
            plan: Plan::default(),
        }
    }

    fn visit(&mut self, index: usize) {
        let node = &self.graph.node[index];
        if node.name.starts_with(FLOAT_PREFIX) {
            return;
        }
        match node.op_type.as_str() {
            "Conv" if self.has_constant_weights(node) => self.add_layer(index),
            "Add" if self.reads_only_rounded(node) => {
                let output = self.fold_relu(&node.output[0]);
                self.round(&output, None);
                self.plan.quantized_nodes.insert(index);
            }
            "MaxPool" if node.output.len() == 1 && self.reads_only_rounded(node) => self.pass(index),
            "GlobalAveragePool" if self.head_in_8_bits() && self.reads_only_rounded(node) => {
                self.round(&node.output[0], None);
                self.plan.quantized_nodes.insert(index);
            }
            "Flatten" if self.head_in_8_bits() && self.reads_only_rounded(node) => self.pass(index),
            "Gemm" if self.head_in_8_bits() && self.is_linear_layer(node) => {
                self.plan.layers.push(WeightedLayer {
                    node: index,
                    input: node.input[0].clone(),
                    output: node.output[0].clone(),
                });
                self.plan.quantized_nodes.insert(index);
            }
            _ => {}
        }
    }

    fn head_in_8_bits(&self) -> bool {
        self.options.head == HeadPrecision::Int8
    }

    fn add_layer(&mut self, index: usize) {
        let node = &self.graph.node[index];
        // An image, or what a float operator left.
        self.round(&node.input[0], None);
        let output = self.fold_relu(&node.output[0]);
        self.round(&output, None);
        self.plan.quantized_nodes.insert(index);
        self.plan.layers.push(WeightedLayer {
            node: index,
            input: node.input[0].clone(),
            output,
        });
    }

    /// An operator that picks or moves numbers but makes no new ones.
    fn pass(&mut self, index: usize) {
        let node = &self.graph.node[index];
        let range_of = self.rounded[&node.input[0]].clone();
        self.round(&node.output[0], Some(range_of));
        self.plan.quantized_nodes.insert(index);
    }

    fn round(&mut self, name: &str, range_of: Option<String>) {
        if self.rounded.contains_key(name) {
            return;
        }
        let range_of = range_of.unwrap_or_else(|| name.to_owned());
        self.rounded.insert(name.to_owned(), range_of.clone());
        self.plan.tensors.push(RoundedTensor {
            name: name.to_owned(),
            range_of,
        });
    }

    /// The tensor to round behind a node that writes `output`: that of the ReLU, if only a ReLU reads it.
    fn fold_relu(&mut self, output: &str) -> String {
        let readers = self.readers.get(output).map(Vec::as_slice).unwrap_or_default();
        let &[reader] = readers else {
            return output.to_owned();
        };
        let node = &self.graph.node[reader];
        if node.op_type != "Relu" || self.outputs.contains(output) {
            return output.to_owned();
        }
        // With signed numbers the ReLU stays, between the layer and the rounding.
        if self.options.activations == ActivationType::U8 {
            self.plan.folded_relus.insert(reader);
            self.plan
                .folded_outputs
                .insert(output.to_owned(), node.output[0].clone());
        }
        node.output[0].clone()
    }

    fn has_constant_weights(&self, node: &NodeProto) -> bool {
        let constant = |name: &String| self.constants.contains_key(name.as_str());
        let bias = node.input.get(2).filter(|name| !name.is_empty());
        node.input.get(1).is_some_and(constant) && bias.is_none_or(constant)
    }

    fn is_linear_layer(&self, node: &NodeProto) -> bool {
        let plain = |name: &str| node.attribute_named(name).is_none_or(|a| a.f == Some(1.0));
        let transposed = node.attribute_named("transA").is_some_and(|a| a.i.unwrap_or(0) != 0);
        let bias = node.input.get(2).and_then(|name| self.constants.get(name.as_str()));
        self.rounded.contains_key(&node.input[0])
            && self.has_constant_weights(node)
            && bias.is_none_or(|rank| *rank == 1)
            && plain("alpha")
            && plain("beta")
            && !transposed
    }

    fn reads_only_rounded(&self, node: &NodeProto) -> bool {
        node.input.iter().all(|name| self.rounded.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::testing::residual_graph;

    fn names(plan: &Plan) -> Vec<(&str, &str)> {
        plan.tensors
            .iter()
            .map(|t| (t.name.as_str(), t.range_of.as_str()))
            .collect()
    }

    #[test]
    fn a_residual_network_is_covered_from_the_image_to_the_features() {
        let plan = Plan::new(&residual_graph(1), &QuantizeOptions::default()).unwrap();
        assert_eq!(
            names(&plan),
            [
                ("image", "image"),
                ("stem_relu", "stem_relu"),
                ("pool", "stem_relu"),
                ("a_relu", "a_relu"),
                ("b", "b"),
                ("shortcut", "shortcut"),
                ("features", "features"),
            ]
        );
        assert_eq!(plan.layers.len(), 4);
        assert_eq!(plan.folded_relus.len(), 3);
    }

    #[test]
    fn signed_numbers_keep_the_relus() {
        let options = QuantizeOptions {
            activations: ActivationType::S8,
            ..QuantizeOptions::default()
        };
        let plan = Plan::new(&residual_graph(1), &options).unwrap();
        assert!(plan.folded_relus.is_empty());
        assert_eq!(names(&plan)[6], ("features", "features"));
    }

    #[test]
    fn the_head_is_taken_in_on_request() {
        let options = QuantizeOptions {
            head: HeadPrecision::Int8,
            ..QuantizeOptions::default()
        };
        let plan = Plan::new(&residual_graph(1), &options).unwrap();
        let tail = &names(&plan)[7..];
        assert_eq!(tail, [("pooled", "pooled"), ("flat", "pooled")]);
        assert_eq!(plan.layers.last().unwrap().output, "logits");
    }

    #[test]
    fn a_relu_whose_input_is_read_elsewhere_is_not_folded() {
        let mut graph = residual_graph(1);
        graph.output.push(
            graph
                .value_named("stem")
                .cloned()
                .unwrap_or_else(|| crate::proto::ValueInfoProto {
                    name: "stem".into(),
                    ..Default::default()
                }),
        );
        let plan = Plan::new(&graph, &QuantizeOptions::default()).unwrap();
        assert!(names(&plan).contains(&("stem", "stem")));
        assert!(!names(&plan).contains(&("stem_relu", "stem_relu")));
    }

    #[test]
    fn a_graph_without_convolutions_is_refused() {
        let mut graph = residual_graph(1);
        graph.node.retain(|node| node.op_type != "Conv");
        let error = Plan::new(&graph, &QuantizeOptions::default()).unwrap_err();
        assert!(matches!(error, QuantizeError::NothingToQuantize));
    }
}

//! BatchNorm folded into the convolution before it.
//!
//! In eval mode BatchNorm is y = (x - mean) scale + bias with scale = weight / sqrt(var + epsilon):
//! a change of the convolution's weight and bias.

use std::collections::{HashMap, HashSet};

use ndarray::{Array1, ArrayD, Axis};

use super::ExportError;
use crate::graph::{
    Classifier, ConstantData, Graph, GraphBuilder, GraphError, Initializer, Node, Operator, Origin, ParameterKind,
    ValueId,
};
use crate::parameters::{Parameters, check};

/// The same network without the BatchNorms that follow a convolution of their own, and its
/// parameters: changed weights, and biases named `<conv>.bias`. Sums are made in double precision.
///
/// # Errors
/// [`ExportError`] if the parameters do not suit the graph.
pub fn fold_batch_norm(graph: &Graph, parameters: &Parameters) -> Result<(Graph, Parameters), ExportError> {
    check(graph, parameters).map_err(|source| ExportError::Parameters {
        graph: graph.name().to_owned(),
        source,
    })?;
    let pairs = foldable(graph);
    let mut folded = Parameters::new();
    let graph_without = Rebuild::new(graph, &pairs).run()?;
    for (conv, norm) in &pairs {
        let (conv, norm) = (&graph.nodes()[*conv], &graph.nodes()[*norm]);
        let [weight, bias] = fold_one(graph, parameters, conv, norm);
        folded.insert(parameter_name(graph, conv.inputs[1]), weight);
        folded.insert(bias_name(graph, conv), bias);
    }
    let ordered = graph_without.parameters().iter().map(|parameter| {
        let name = &parameter.name;
        (
            name.clone(),
            folded.get(name).unwrap_or_else(|| &parameters[name]).clone(),
        )
    });
    let ordered = ordered.collect();
    Ok((graph_without, ordered))
}

/// Numbers of the convolutions and of the BatchNorms that alone read them.
fn foldable(graph: &Graph) -> Vec<(usize, usize)> {
    let mut readers: HashMap<ValueId, usize> = HashMap::new();
    for id in graph.nodes().iter().flat_map(|node| &node.inputs) {
        *readers.entry(*id).or_default() += 1;
    }
    let is_parameter = |id: &ValueId| matches!(graph.value(*id).origin, Origin::Parameter(_));
    let own = |id: &ValueId| is_parameter(id) && readers.get(id) == Some(&1);
    let named = |id: &ValueId| graph.outputs().contains(id) || graph.intermediates().values().any(|v| v == id);
    let norms = graph.nodes().iter().enumerate().filter_map(|(number, norm)| {
        let Operator::BatchNormalization { .. } = norm.operator else {
            return None;
        };
        let Origin::Node(conv_number, _) = graph.value(norm.inputs[0]).origin else {
            return None;
        };
        let conv = &graph.nodes()[conv_number];
        let convolves = matches!(conv.operator, Operator::Conv { .. } | Operator::ConvTranspose { .. });
        let alone = readers.get(&conv.outputs[0]) == Some(&1) && !named(&conv.outputs[0]);
        let tensors = conv.inputs[1..].iter().chain(&norm.inputs[1..]).all(own);
        (convolves && alone && tensors).then_some((conv_number, number))
    });
    norms.collect()
}

/// The weight and bias of the convolution with the BatchNorm in them.
fn fold_one(graph: &Graph, parameters: &Parameters, conv: &Node, norm: &Node) -> [ArrayD<f32>; 2] {
    let tensor = |id: ValueId| &parameters[&parameter_name(graph, id)];
    let epsilon = match norm.operator {
        Operator::BatchNormalization { epsilon, .. } => f64::from(epsilon),
        _ => 0.0,
    };
    let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|input| tensor(norm.inputs[input]));
    let scale: Vec<f64> = gamma
        .iter()
        .zip(var)
        .map(|(gamma, var)| f64::from(*gamma) / (f64::from(*var) + epsilon).sqrt())
        .collect();
    let mut weight = tensor(conv.inputs[1]).clone();
    scale_outputs(&mut weight, &conv.operator, &scale);
    let old_bias = conv.inputs.get(2).map(|id| tensor(*id));
    let bias = (0..scale.len()).map(|channel| {
        let old = old_bias.map_or(0.0, |bias| f64::from(bias[[channel]]));
        (f64::from(beta[[channel]]) + (old - f64::from(mean[[channel]])) * scale[channel]) as f32
    });
    [weight, Array1::from_iter(bias).into_dyn()]
}

/// Multiplies the part of the weight that makes each output channel.
fn scale_outputs(weight: &mut ArrayD<f32>, operator: &Operator, scale: &[f64]) {
    let multiply = |value: &mut f32, factor: f64| *value = (f64::from(*value) * factor) as f32;
    match operator {
        // [C, O / groups, kh, kw]: the inputs of one group make the outputs of that group.
        Operator::ConvTranspose { groups, .. } => {
            let inputs_per_group = weight.shape()[0] / groups;
            let outputs_per_group = weight.shape()[1];
            for (input, mut filters) in weight.axis_iter_mut(Axis(0)).enumerate() {
                let first = input / inputs_per_group * outputs_per_group;
                for (output, mut filter) in filters.axis_iter_mut(Axis(0)).enumerate() {
                    filter.map_inplace(|value| multiply(value, scale[first + output]));
                }
            }
        }
        // [O, C / groups, kh, kw]
        _ => {
            for (mut filter, factor) in weight.axis_iter_mut(Axis(0)).zip(scale) {
                filter.map_inplace(|value| multiply(value, *factor));
            }
        }
    }
}

fn parameter_name(graph: &Graph, id: ValueId) -> String {
    graph.value(id).name.clone()
}

/// Name of the bias that the convolution has or gets.
fn bias_name(graph: &Graph, conv: &Node) -> String {
    match conv.inputs.get(2) {
        Some(id) => parameter_name(graph, *id),
        None => format!("{}.bias", conv.name),
    }
}

/// Writes the graph anew without the folded nodes.
struct Rebuild<'a> {
    graph: &'a Graph,
    builder: GraphBuilder,
    /// New number of each old value.
    places: HashMap<ValueId, ValueId>,
    convs: HashSet<usize>,
    norms: HashSet<usize>,
}

impl<'a> Rebuild<'a> {
    fn new(graph: &'a Graph, pairs: &[(usize, usize)]) -> Self {
        Self {
            graph,
            builder: GraphBuilder::new(graph.name()),
            places: HashMap::new(),
            convs: pairs.iter().map(|pair| pair.0).collect(),
            norms: pairs.iter().map(|pair| pair.1).collect(),
        }
    }

    fn run(mut self) -> Result<Graph, GraphError> {
        let graph = self.graph;
        let gone: HashSet<ValueId> = self
            .norms
            .iter()
            .flat_map(|norm| &graph.nodes()[*norm].inputs[1..])
            .copied()
            .collect();
        for (index, value) in graph.values().iter().enumerate() {
            let old = ValueId(index);
            let new = match value.origin {
                _ if gone.contains(&old) => continue,
                Origin::Input => self.builder.input(&value.name, value.element, value.shape.clone())?,
                Origin::Parameter(number) => {
                    let p = &graph.parameters()[number];
                    self.builder.parameter(&p.name, &p.shape, p.kind, p.initializer)?
                }
                Origin::Constant(number) => match &graph.constants()[number].data {
                    ConstantData::F32(data) => self.builder.constant(&value.name, data.clone())?,
                    ConstantData::I64(data) => self.builder.index_constant(&value.name, data.clone())?,
                },
                Origin::Node(number, 0) => {
                    self.node(number)?;
                    continue;
                }
                // Written together with the node's first output.
                Origin::Node(..) => continue,
            };
            self.places.insert(old, new);
        }
        self.names()
    }

    fn node(&mut self, number: usize) -> Result<(), GraphError> {
        let node = &self.graph.nodes()[number];
        if self.norms.contains(&number) {
            self.places.insert(node.outputs[0], self.places[&node.inputs[0]]);
            return Ok(());
        }
        let mut inputs: Vec<ValueId> = node.inputs.iter().map(|id| self.places[id]).collect();
        if self.convs.contains(&number) && inputs.len() == 2 {
            let channels = self.graph.value(node.outputs[0]).shape[1].fixed().unwrap_or(0);
            let name = format!("{}.bias", node.name);
            let bias = self
                .builder
                .parameter(&name, &[channels], ParameterKind::Trainable, Initializer::Zeros)?;
            inputs.push(bias);
        }
        let outputs = self
            .builder
            .node_with_outputs(&node.name, node.operator.clone(), &inputs)?;
        self.places.extend(node.outputs.iter().copied().zip(outputs));
        Ok(())
    }

    /// Outputs, intermediates, stages and the classifier's parts, at their new places.
    fn names(mut self) -> Result<Graph, GraphError> {
        for id in self.graph.outputs() {
            self.builder.output(&self.graph.value(*id).name, self.places[id])?;
        }
        for (name, id) in self.graph.intermediates() {
            self.builder.intermediate(name, self.places[id])?;
        }
        for stage in self.graph.stages() {
            let modules: Vec<&str> = stage.modules.iter().map(String::as_str).collect();
            self.builder.stage(&stage.name, &modules);
        }
        if let Ok(parts) = self.graph.classifier() {
            let place = |id: ValueId| self.places[&id];
            let parts = Classifier {
                features: place(parts.features),
                pooled: place(parts.pooled),
                logits: place(parts.logits),
                weight: place(parts.weight),
                linear: parts.linear.clone(),
            };
            self.builder.classifier(parts);
        }
        self.builder.finish()
    }
}

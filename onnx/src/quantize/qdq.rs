//! Writing the quantized graph: QuantizeLinear and DequantizeLinear around 8-bit operators.

use std::collections::{HashMap, HashSet};

use super::QuantizeError;
use super::affine::{ActivationType, Affine};
use super::plan::{Plan, WeightedLayer};
use super::report::{Comparison, decibels};
use super::weights::{ChannelLayout, QuantizedWeights, mean_shift, quantize_bias, quantize_weights};
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// What is needed beside the graph to write it in 8 bits.
pub struct Numbers<'a> {
    /// Scale and zero point by tensor that has its own range.
    pub affine: &'a HashMap<String, Affine>,
    /// Mean of each channel by tensor, for bias correction; empty for none.
    pub means: &'a HashMap<String, Vec<f32>>,
}

/// Rewrites `graph` in place and returns the weights' signal to noise ratio in dB by layer output.
///
/// # Errors
/// [`QuantizeError::Tensor`] for weights that are no float tensors, [`QuantizeError::Weights`] for
/// weights whose shape is not that of their operator.
pub fn rewrite(
    graph: &mut GraphProto,
    plan: &Plan,
    numbers: &Numbers<'_>,
) -> Result<HashMap<String, f64>, QuantizeError> {
    let nodes = std::mem::take(&mut graph.node);
    let mut writer = Writer {
        inputs: graph.input.iter().map(|input| input.name.clone()).collect(),
        rounded: plan
            .tensors
            .iter()
            .map(|t| (t.name.clone(), t.range_of.clone()))
            .collect(),
        old: &graph.initializer,
        plan,
        numbers,
        nodes: Vec::with_capacity(nodes.len() * 3),
        new: Vec::new(),
        weight_ratios: HashMap::new(),
    };
    writer.write_ranges();
    for tensor in &plan.tensors {
        // An input keeps its name, so its rounded values get another.
        if writer.inputs.contains(&tensor.name) {
            writer.round(&tensor.name, &tensor.name, &dequantized_input(&tensor.name));
        }
    }
    for (index, node) in nodes.into_iter().enumerate() {
        writer.write(index, node)?;
    }
    let Writer {
        nodes,
        new,
        weight_ratios,
        ..
    } = writer;
    graph.node = nodes;
    drop_unused(graph, new);
    Ok(weight_ratios)
}

fn dequantized_input(name: &str) -> String {
    format!("{name}/dequantized")
}

struct Writer<'a> {
    inputs: HashSet<String>,
    rounded: HashMap<String, String>,
    old: &'a [TensorProto],
    plan: &'a Plan,
    numbers: &'a Numbers<'a>,
    nodes: Vec<NodeProto>,
    new: Vec<TensorProto>,
    weight_ratios: HashMap<String, f64>,
}

impl Writer<'_> {
    fn affine(&self, tensor: &str) -> Option<Affine> {
        let range_of = self.rounded.get(tensor)?;
        self.numbers.affine.get(range_of).copied()
    }

    /// Scale and zero point of every range, as scalars.
    fn write_ranges(&mut self) {
        for tensor in self.plan.tensors.iter().filter(|t| t.name == t.range_of) {
            let Some(affine) = self.affine(&tensor.name) else {
                continue;
            };
            let zero_point = format!("{}/zero_point", tensor.name);
            self.new.push(TensorProto::from_f32(
                &format!("{}/scale", tensor.name),
                &[],
                &[affine.scale],
            ));
            self.new.push(match affine.numbers {
                ActivationType::U8 => TensorProto::from_u8(&zero_point, &[], &[affine.zero_point as u8]),
                ActivationType::S8 => TensorProto::from_i8(&zero_point, &[], &[affine.zero_point as i8]),
            });
        }
    }

    /// Rounds the float value `from` with the numbers of `tensor`, into the float value `to`.
    fn round(&mut self, tensor: &str, from: &str, to: &str) {
        let range_of = &self.rounded[tensor];
        let (scale, zero_point) = (format!("{range_of}/scale"), format!("{range_of}/zero_point"));
        let quantized = format!("{tensor}/quantized");
        self.nodes
            .push(node("QuantizeLinear", &[from, &scale, &zero_point], &quantized));
        self.nodes
            .push(node("DequantizeLinear", &[&quantized, &scale, &zero_point], to));
    }

    fn write(&mut self, index: usize, mut node: NodeProto) -> Result<(), QuantizeError> {
        if self.plan.folded_relus.contains(&index) {
            return Ok(());
        }
        if self.plan.quantized_nodes.contains(&index) {
            for input in &mut node.input {
                if self.inputs.contains(input) && self.rounded.contains_key(input) {
                    *input = dequantized_input(input);
                }
            }
        }
        if let Some(layer) = self.plan.layers.iter().find(|layer| layer.node == index) {
            self.write_weights(layer, &mut node)?;
        }
        // What a folded ReLU wrote, its layer writes now.
        let folded = self.plan.folded_outputs.get(&node.output[0]);
        let name = folded.unwrap_or(&node.output[0]).clone();
        if !self.rounded.contains_key(&name) {
            self.nodes.push(node);
            return Ok(());
        }
        let float = format!("{name}/float");
        node.output[0].clone_from(&float);
        self.nodes.push(node);
        self.round(&name, &float, &name);
        Ok(())
    }

    fn write_weights(&mut self, layer: &WeightedLayer, node: &mut NodeProto) -> Result<(), QuantizeError> {
        let Some(input) = self.affine(&layer.input) else {
            return Ok(());
        };
        let tensor = self.constant(&node.input[1])?;
        let weights = tensor.to_f32()?;
        let (layout, axis) = layout(node, &tensor.extents(), &weights)?;
        let extents = tensor.extents();
        let bias_name = node.input.get(2).filter(|name| !name.is_empty()).cloned();
        let bias = match &bias_name {
            Some(name) => Some(self.constant(name)?.to_f32()?),
            None => None,
        };
        let quantized = quantize_weights(&weights, layout, bias.as_deref(), input.scale);
        self.weight_ratios
            .insert(layer.output.clone(), ratio(&weights, layout, &quantized));
        let shift = self.shift(layer, node, axis, &weights, &quantized);
        let name = node.input[1].clone();
        let prefix = format!("{}/{name}", layer.output);
        node.input[1] = self.write_quantized(&prefix, &extents, axis, &quantized);
        let corrected = corrected(bias, shift);
        if let Some(bias) = corrected {
            let prefix = format!("{}/bias", layer.output);
            let bias_input = self.write_bias(&prefix, &bias, input, &quantized.scales);
            node.input.truncate(2);
            node.input.push(bias_input);
        }
        Ok(())
    }

    fn constant(&self, name: &str) -> Result<&TensorProto, QuantizeError> {
        let found = self.old.iter().find(|tensor| tensor.name == name);
        found.ok_or_else(|| QuantizeError::Weights {
            name: name.to_owned(),
            shape: Vec::new(),
        })
    }

    /// What bias correction takes off each output channel.
    fn shift(
        &self,
        layer: &WeightedLayer,
        node: &NodeProto,
        axis: i64,
        weights: &[f32],
        quantized: &QuantizedWeights,
    ) -> Option<Vec<f32>> {
        let means = self.numbers.means.get(&layer.input).filter(|means| !means.is_empty())?;
        let groups = node.attribute_named("group").and_then(|a| a.i).unwrap_or(1);
        let groups = usize::try_from(groups).unwrap_or(1).max(1);
        (axis == 0).then(|| mean_shift(weights, quantized, groups, means))
    }

    fn write_quantized(&mut self, prefix: &str, extents: &[usize], axis: i64, quantized: &QuantizedWeights) -> String {
        let names = ["quantized", "scale", "zero_point"].map(|part| format!("{prefix}/{part}"));
        let channels = quantized.scales.len();
        self.new
            .push(TensorProto::from_i8(&names[0], extents, &quantized.values));
        self.new
            .push(TensorProto::from_f32(&names[1], &[channels], &quantized.scales));
        self.new
            .push(TensorProto::from_i8(&names[2], &[channels], &vec![0; channels]));
        let mut dequantize = node("DequantizeLinear", &[&names[0], &names[1], &names[2]], prefix);
        dequantize.attribute = vec![AttributeProto::int("axis", axis)];
        self.nodes.push(dequantize);
        prefix.to_owned()
    }

    fn write_bias(&mut self, prefix: &str, bias: &[f32], input: Affine, scales: &[f32]) -> String {
        // TensorRT adds biases in float.
        if input.numbers == ActivationType::S8 {
            self.new.push(TensorProto::from_f32(prefix, &[bias.len()], bias));
            return prefix.to_owned();
        }
        let names = ["quantized", "scale", "zero_point"].map(|part| format!("{prefix}/{part}"));
        let steps: Vec<f32> = scales.iter().map(|scale| input.scale * scale).collect();
        let integers = quantize_bias(bias, input.scale, scales);
        self.new
            .push(TensorProto::from_i32(&names[0], &[bias.len()], &integers));
        self.new.push(TensorProto::from_f32(&names[1], &[bias.len()], &steps));
        self.new
            .push(TensorProto::from_i32(&names[2], &[bias.len()], &vec![0; bias.len()]));
        let mut dequantize = node("DequantizeLinear", &[&names[0], &names[1], &names[2]], prefix);
        dequantize.attribute = vec![AttributeProto::int("axis", 0)];
        self.nodes.push(dequantize);
        prefix.to_owned()
    }
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: format!("{output}/{op_type}"),
        op_type: op_type.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

/// Where a layer's output channels lie, and on which axis.
fn layout(node: &NodeProto, extents: &[usize], weights: &[f32]) -> Result<(ChannelLayout, i64), QuantizeError> {
    let last = node.op_type == "Gemm"
        && node
            .attribute_named("transB")
            .is_none_or(|attribute| attribute.i != Some(1));
    let axis = usize::from(last);
    let channels = extents.get(axis).copied().unwrap_or(0);
    if channels == 0 || weights.is_empty() || (last && extents.len() != 2) {
        return Err(QuantizeError::Weights {
            name: node.input[1].clone(),
            shape: extents.to_vec(),
        });
    }
    let stride = if last { 1 } else { weights.len() / channels };
    Ok((ChannelLayout { channels, stride }, axis as i64))
}

fn corrected(bias: Option<Vec<f32>>, shift: Option<Vec<f32>>) -> Option<Vec<f32>> {
    let Some(shift) = shift else { return bias };
    let bias = bias.unwrap_or_else(|| vec![0.0; shift.len()]);
    Some(bias.iter().zip(&shift).map(|(bias, shift)| bias - shift).collect())
}

fn ratio(weights: &[f32], layout: ChannelLayout, quantized: &QuantizedWeights) -> f64 {
    let mut comparison = Comparison::default();
    for (index, weight) in weights.iter().enumerate() {
        let back = f32::from(quantized.values[index]) * quantized.scales[layout.channel(index)];
        comparison.add(*weight, back);
    }
    decibels(comparison.signal, comparison.noise)
}

/// Leaves only what the rewritten nodes read, and what they write.
fn drop_unused(graph: &mut GraphProto, new: Vec<TensorProto>) {
    let read: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| &node.input)
        .map(String::as_str)
        .collect();
    let written: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .collect();
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    graph
        .initializer
        .retain(|t| read.contains(t.name.as_str()) || outputs.contains(t.name.as_str()));
    graph.value_info.retain(|value| written.contains(value.name.as_str()));
    graph.initializer.extend(new);
}

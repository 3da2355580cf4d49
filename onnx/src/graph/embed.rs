//! A finished graph as a part of another one, under a prefix.

use std::collections::HashSet;

use super::{ConstantData, Graph, GraphBuilder, GraphError, Origin, ValueId, is_under};

impl GraphBuilder {
    /// Adds what `graph` computes for the values `wanted`: nodes, parameters, constants and intermediates under
    /// `<prefix>.<name>`, and its stages with them. The graph reads `inputs` in place of its own; its outputs become
    /// plain values. Gives the wanted values at their new places.
    ///
    /// # Errors
    /// [`GraphError::Config`] if `inputs` are not as many as the graph has, [`GraphError::DuplicateName`] for a prefix
    /// that is taken, or [`GraphError::Shape`] if an input does not fit.
    pub fn embed(
        &mut self,
        graph: &Graph,
        prefix: &str,
        inputs: &[ValueId],
        wanted: &[ValueId],
    ) -> Result<Vec<ValueId>, GraphError> {
        if inputs.len() != graph.inputs().len() {
            return Err(GraphError::Config {
                what: "number of inputs of an embedded graph",
                found: inputs.len().to_string(),
                allowed: graph.inputs().len().to_string(),
            });
        }
        let needed = needed(graph, wanted);
        let named = |name: &str| format!("{prefix}.{name}");
        // Values that are not needed keep a place that nothing reads.
        let mut places = vec![None; graph.values().len()];
        for (own, given) in graph.inputs().iter().zip(inputs) {
            places[own.index()] = Some(*given);
        }
        for (index, value) in graph.values().iter().enumerate() {
            if !needed.contains(&ValueId(index)) {
                continue;
            }
            let place = match value.origin {
                Origin::Input => continue,
                Origin::Parameter(number) => {
                    let p = &graph.parameters()[number];
                    self.parameter(&named(&p.name), &p.shape, p.kind, p.initializer)?
                }
                Origin::Constant(number) => match &graph.constants()[number].data {
                    ConstantData::F32(data) => self.constant(&named(&value.name), data.clone())?,
                    ConstantData::I64(data) => self.index_constant(&named(&value.name), data.clone())?,
                },
                Origin::Node(number, 0) => {
                    let node = &graph.nodes()[number];
                    let read: Vec<ValueId> = node.inputs.iter().filter_map(|id| places[id.index()]).collect();
                    let outputs = self.node_with_outputs(&named(&node.name), node.operator.clone(), &read)?;
                    for (old, new) in node.outputs.iter().zip(outputs) {
                        places[old.index()] = Some(new);
                    }
                    continue;
                }
                // Placed together with the node's first output.
                Origin::Node(..) => continue,
            };
            places[index] = Some(place);
        }
        for (name, id) in graph.intermediates() {
            if let Some(place) = places[id.index()] {
                self.intermediate(&named(name), place)?;
            }
        }
        self.embed_stages(graph, prefix);
        Ok(wanted.iter().filter_map(|id| places[id.index()]).collect())
    }

    /// The stages of an embedded graph, as far as its nodes and parameters are here.
    fn embed_stages(&mut self, graph: &Graph, prefix: &str) {
        for stage in graph.stages() {
            let modules: Vec<String> = stage
                .modules
                .iter()
                .map(|module| format!("{prefix}.{module}"))
                .collect();
            let present: Vec<&str> = modules
                .iter()
                .map(String::as_str)
                .filter(|module| self.has_module(module))
                .collect();
            if !present.is_empty() {
                self.stage(&format!("{prefix}.{}", stage.name), &present);
            }
        }
    }

    fn has_module(&self, module: &str) -> bool {
        let graph = self.graph();
        let nodes = graph.nodes().iter().map(|node| &node.name);
        let mut names = nodes.chain(graph.parameters().iter().map(|parameter| &parameter.name));
        names.any(|name| is_under(name, module))
    }
}

/// The values that `wanted` follow from, themselves among them.
fn needed(graph: &Graph, wanted: &[ValueId]) -> HashSet<ValueId> {
    let mut needed: HashSet<ValueId> = HashSet::new();
    let mut open: Vec<ValueId> = wanted.to_vec();
    while let Some(id) = open.pop() {
        if !needed.insert(id) {
            continue;
        }
        if let Origin::Node(number, _) = graph.value(id).origin {
            let node = &graph.nodes()[number];
            // The first output stands for its node.
            open.extend(node.inputs.iter().chain(node.outputs.first()));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layers::Conv2d;
    use crate::graph::{ElementType, Operator, Shape};

    /// An image through a convolution; from there a ReLU and a Tanh.
    fn part() -> Graph {
        let mut b = GraphBuilder::new("part");
        let image = b.input("image", ElementType::F32, Shape::batch(&[1, 8, 8])).unwrap();
        let x = b.conv2d("conv", image, Conv2d::new(2, 3).with_bias()).unwrap();
        b.intermediate("early", x).unwrap();
        let relu = b.relu("relu", x).unwrap();
        let tanh = b.node("tanh", Operator::Tanh, &[x]).unwrap();
        b.stage("body", &["conv", "relu"]);
        b.stage("head", &["tanh"]);
        b.output("a", relu).unwrap();
        b.output("b", tanh).unwrap();
        b.finish().unwrap()
    }

    #[test]
    fn only_what_is_wanted_comes_along_under_the_prefix() {
        let part = part();
        let mut b = GraphBuilder::new("whole");
        let image = b.input("image", ElementType::F32, Shape::batch(&[1, 8, 8])).unwrap();
        let wanted = [part.find("a").unwrap()];
        let first = b.embed(&part, "m.0", &[image], &wanted).unwrap();
        let second = b.embed(&part, "m.1", &[image], &wanted).unwrap();
        let sum = b.node("sum", Operator::Add, &[first[0], second[0]]).unwrap();
        b.output("sum", sum).unwrap();
        let whole = b.finish().unwrap();
        let nodes: Vec<&str> = whole.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(nodes, ["m.0.conv", "m.0.relu", "m.1.conv", "m.1.relu", "sum"]);
        let parameters: Vec<&str> = whole.parameters().iter().map(|p| p.name.as_str()).collect();
        let wanted = ["m.0.conv.weight", "m.0.conv.bias", "m.1.conv.weight", "m.1.conv.bias"];
        assert_eq!(parameters, wanted);
        let stages: Vec<&str> = whole.stages().iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(stages, ["m.0.body", "m.1.body"], "the head did not come along");
        assert!(whole.find("m.1.early").is_ok());
    }

    #[test]
    fn a_taken_prefix_and_a_wrong_number_of_inputs_are_refused() {
        let part = part();
        let mut b = GraphBuilder::new("whole");
        let image = b.input("image", ElementType::F32, Shape::batch(&[1, 8, 8])).unwrap();
        let wanted = [part.find("a").unwrap()];
        b.embed(&part, "m", &[image], &wanted).unwrap();
        assert!(
            b.embed(&part, "m", &[image], &wanted)
                .unwrap_err()
                .to_string()
                .contains("m.conv")
        );
        let error = b.embed(&part, "n", &[], &wanted).unwrap_err().to_string();
        assert_eq!(error, "number of inputs of an embedded graph is 0; allowed: 1");
    }
}

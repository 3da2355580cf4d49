//! Builds a [`Graph`] node by node; every step checks names and shapes.

use std::collections::HashSet;

use indexmap::IndexMap;
use ndarray::ArrayD;

use super::shape::{Typed, infer};
use super::{
    Classifier, Constant, ConstantData, ElementType, Graph, GraphError, Initializer, Node, Operator, Origin, Parameter,
    ParameterKind, Shape, Stage, Value, ValueId,
};

/// A graph under construction. Since a node can only read values that exist, the nodes are in
/// topological order.
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    graph: Graph,
    value_names: HashSet<String>,
    node_names: HashSet<String>,
}

impl GraphBuilder {
    /// An empty graph with the architecture's name.
    pub fn new(name: &str) -> Self {
        let graph = Graph {
            name: name.to_owned(),
            values: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            parameters: Vec::new(),
            constants: Vec::new(),
            intermediates: IndexMap::new(),
            stages: Vec::new(),
            classifier: None,
        };
        Self::extend(graph)
    }

    /// Goes on with a finished graph: all its values keep their numbers.
    pub fn extend(graph: Graph) -> Self {
        let value_names = graph.values.iter().map(|value| value.name.clone()).collect();
        let node_names = graph.nodes.iter().map(|node| node.name.clone()).collect();
        Self {
            graph,
            value_names,
            node_names,
        }
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> &Shape {
        &self.graph.value(id).shape
    }

    /// Adds an input that the caller gives.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`].
    pub fn input(&mut self, name: &str, element: ElementType, shape: Shape) -> Result<ValueId, GraphError> {
        let id = self.value(name, Typed { element, shape }, Origin::Input)?;
        self.graph.inputs.push(id);
        Ok(id)
    }

    /// Adds a parameter under torchvision's name.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`].
    pub fn parameter(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: ParameterKind,
        initializer: Initializer,
    ) -> Result<ValueId, GraphError> {
        let origin = Origin::Parameter(self.graph.parameters.len());
        let value = self.value(name, Typed::f32(Shape::fixed(shape)), origin)?;
        let shape = shape.to_vec();
        self.graph.parameters.push(Parameter {
            name: name.to_owned(),
            shape,
            kind,
            initializer,
            value,
        });
        Ok(value)
    }

    /// Adds a float constant.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`].
    pub fn constant(&mut self, name: &str, data: ArrayD<f32>) -> Result<ValueId, GraphError> {
        let typed = Typed::f32(Shape::fixed(data.shape()));
        self.add_constant(name, typed, ConstantData::F32(data))
    }

    /// Adds a constant of indices.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`].
    pub fn index_constant(&mut self, name: &str, data: ArrayD<i64>) -> Result<ValueId, GraphError> {
        let typed = Typed::i64(Shape::fixed(data.shape()));
        self.add_constant(name, typed, ConstantData::I64(data))
    }

    fn add_constant(&mut self, name: &str, typed: Typed, data: ConstantData) -> Result<ValueId, GraphError> {
        let value = self.value(name, typed, Origin::Constant(self.graph.constants.len()))?;
        self.graph.constants.push(Constant { value, data });
        Ok(value)
    }

    /// Adds a node and gives its first output, a value of the node's name.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`], or [`GraphError::Shape`] if the inputs do not fit.
    pub fn node(&mut self, name: &str, operator: Operator, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        self.node_with_outputs(name, operator, inputs).map(|outputs| outputs[0])
    }

    /// Adds a node and gives all its outputs: values named like the node, the second and later
    /// ones with `.1`, `.2` appended.
    ///
    /// # Errors
    /// As [`GraphBuilder::node`].
    pub fn node_with_outputs(
        &mut self,
        name: &str,
        operator: Operator,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, GraphError> {
        let typed = |id: &ValueId| {
            let value = self.graph.value(*id);
            Typed {
                element: value.element,
                shape: value.shape.clone(),
            }
        };
        let inferred =
            infer(&operator, &inputs.iter().map(typed).collect::<Vec<_>>()).map_err(|source| GraphError::Shape {
                node: name.to_owned(),
                operator: operator.name(),
                source,
            })?;
        if !self.node_names.insert(name.to_owned()) {
            return Err(GraphError::DuplicateName { name: name.to_owned() });
        }
        let number = self.graph.nodes.len();
        let outputs = inferred.into_iter().enumerate().map(|(slot, typed)| {
            let name = if slot == 0 {
                name.to_owned()
            } else {
                format!("{name}.{slot}")
            };
            self.value(&name, typed, Origin::Node(number, slot))
        });
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        self.graph.nodes.push(Node {
            name: name.to_owned(),
            operator,
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        });
        Ok(outputs)
    }

    /// Makes a value an output under this name, which becomes the value's own.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`] if another value has the name.
    pub fn output(&mut self, name: &str, id: ValueId) -> Result<(), GraphError> {
        let current = &mut self.graph.values[id.0].name;
        if current != name {
            if !self.value_names.insert(name.to_owned()) {
                return Err(GraphError::DuplicateName { name: name.to_owned() });
            }
            self.value_names.remove(current);
            name.clone_into(current);
        }
        if self.graph.outputs.contains(&id) {
            return Err(GraphError::DuplicateName { name: name.to_owned() });
        }
        self.graph.outputs.push(id);
        Ok(())
    }

    /// Names a value for the world, as explanations and perceptual losses ask for it; the value's
    /// own name stays.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`] if another intermediate has the name.
    pub fn intermediate(&mut self, name: &str, id: ValueId) -> Result<(), GraphError> {
        match self.graph.intermediates.insert(name.to_owned(), id) {
            Some(_) => Err(GraphError::DuplicateName { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Declares the next stage: these modules are frozen together.
    pub fn stage(&mut self, name: &str, modules: &[&str]) {
        let modules = modules.iter().map(|module| (*module).to_owned()).collect();
        self.graph.stages.push(Stage {
            name: name.to_owned(),
            modules,
        });
    }

    /// Declares the next stage, and takes its modules out of the stages before it; one that is left without any goes.
    pub fn stage_taking(&mut self, name: &str, modules: &[&str]) {
        for stage in &mut self.graph.stages {
            stage.modules.retain(|module| !modules.contains(&module.as_str()));
        }
        self.graph.stages.retain(|stage| !stage.modules.is_empty());
        self.stage(name, modules);
    }

    /// Declares the graph a classifier with these parts.
    pub fn classifier(&mut self, parts: Classifier) {
        self.graph.classifier = Some(parts);
    }

    /// The finished graph.
    ///
    /// # Errors
    /// [`GraphError::NoOutputs`].
    pub fn finish(self) -> Result<Graph, GraphError> {
        if self.graph.outputs.is_empty() {
            return Err(GraphError::NoOutputs { graph: self.graph.name });
        }
        Ok(self.graph)
    }

    fn value(&mut self, name: &str, typed: Typed, origin: Origin) -> Result<ValueId, GraphError> {
        if !self.value_names.insert(name.to_owned()) {
            return Err(GraphError::DuplicateName { name: name.to_owned() });
        }
        let id = ValueId(self.graph.values.len());
        let Typed { element, shape } = typed;
        self.graph.values.push(Value {
            name: name.to_owned(),
            element,
            shape,
            origin,
        });
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> (GraphBuilder, ValueId) {
        let mut b = GraphBuilder::new("g");
        let x = b.input("x", ElementType::F32, Shape::batch(&[4])).unwrap();
        (b, x)
    }

    #[test]
    fn names_are_unique() {
        let (mut b, x) = builder();
        b.node("relu", Operator::Relu, &[x]).unwrap();
        let again = b.node("relu", Operator::Relu, &[x]).unwrap_err();
        assert_eq!(again.to_string(), "the name `relu` is already taken in this graph");
        assert!(b.input("x", ElementType::F32, Shape::batch(&[4])).is_err());
        assert!(b.output("relu", x).is_err());
    }

    #[test]
    fn a_misfit_names_its_node() {
        let (mut b, x) = builder();
        let w = b
            .parameter("fc.weight", &[2, 5], ParameterKind::Trainable, Initializer::Ones)
            .unwrap();
        let error = b.node("fc", Operator::Gemm, &[x, w]).unwrap_err().to_string();
        assert_eq!(error, "node `fc` (Gemm): input 1 has shape [2, 5], wanted [O, 4]");
    }

    #[test]
    fn a_finished_graph_can_be_extended() {
        let (mut b, x) = builder();
        let y = b.node("relu", Operator::Relu, &[x]).unwrap();
        b.intermediate("early", y).unwrap();
        assert!(matches!(b.clone().finish(), Err(GraphError::NoOutputs { .. })));
        b.output("y", y).unwrap();
        let mut b = GraphBuilder::extend(b.finish().unwrap());
        let z = b.node("top", Operator::TopK { k: 2, axis: 1 }, &[y]).unwrap();
        b.output("z", z).unwrap();
        let graph = b.finish().unwrap();
        assert_eq!(graph.find("y").unwrap(), y);
        assert_eq!(graph.find("early").unwrap(), y);
        assert_eq!(graph.value(graph.find("top.1").unwrap()).element, ElementType::I64);
        assert!(graph.find("relu").unwrap_err().to_string().contains("`relu`"));
        assert_eq!(graph.outputs(), [y, z]);
    }
}
